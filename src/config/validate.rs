//! Validation: from the completed tree to the modules' settings, section by section, with every diagnostic.
//!
//! Each file reads the keys of its own sections; checks across sections are here and in `audience` and `networks`.

mod adopt;
mod apps;
mod attributes;
mod audience;
mod bearer;
mod brand;
mod cache_control;
mod cookie_domains;
mod cross_site;
mod delegate;
mod emergency;
mod entropy;
mod headers;
mod limits;
mod networks;
mod people;
mod providers;
mod resource_metadata;
mod rules;
mod server;
mod session;
mod shadowing;
mod step_up;
mod store;
mod tokens;
mod upstream;

use std::time::Duration;

use super::{
    diagnostic::Diagnostic,
    effective,
    environment::Environment,
    files::SourceFiles,
    reader::{Cursor, Reader},
    settings::Config,
    tree::Node,
};
use crate::{flow, oidc, policy, session::Settings};

/// Returns the settings, or else at least one error.
pub(super) fn settings(
    root: &Node,
    environment: &Environment,
    files: &mut SourceFiles,
) -> (Option<Config>, Vec<Diagnostic>) {
    let mut reader = Reader::new(environment, files);
    let config = read(&mut reader, &Cursor::root(root));
    let diagnostics = reader.into_diagnostics();
    // Last, because it includes the fingerprints of the files that were read.
    let effective = effective::list(root, files);
    let config = config.map(|config| Config { hash: effective::hash(&effective), effective, ..config });
    (config, diagnostics)
}

fn read(reader: &mut Reader<'_>, root: &Cursor<'_>) -> Option<Config> {
    // Every section is read before any failure returns, so that all diagnostics are reported at once.
    let server = root.at("server").and_then(|section| server::read(reader, root, &section));
    let session = root.at("session").and_then(|section| session::read(reader, &section, root));
    let limits = limits::read(reader, root);
    let transport = server::transport(root);
    let providers = providers::read(reader, root, transport);
    let apps = apps::read(reader, root);
    let delegates = delegate::read(reader, root);
    let upstreams = upstream::read(reader, root);
    let bearer = bearer::read(reader, root, transport, providers.as_deref());
    let emergency = emergency::read(reader, root, apps.as_deref());
    let adopt = adopt::read(reader, root, providers.as_deref(), apps.as_deref());
    audience::warn_of_surprises(reader, root);
    if let Some(apps) = &apps {
        cookie_domains::warn_of_unused(reader, root, apps);
    }
    networks::warn_of_unknown_clients(reader, root);
    let brand = root.at("brand").map(|section| brand::brand(reader, &section));
    let service_token_header = tokens::read(reader, root, apps.as_deref().unwrap_or_default());
    // What cannot be read must not be treated as absent.
    (root.at("bearer").is_some() == bearer.is_some()).then_some(())?;
    (root.at("adopt").is_some() == adopt.is_some()).then_some(())?;
    let adopted_lifetime = adopt.as_ref().map(|adopt| adopt.lifetime);
    let (server, session, limits, brand, delegates) = (server?, session?, limits?, brand?, delegates?);
    let upstreams = upstreams?;
    let apps = with_emergency_header(apps?, emergency.as_ref());
    let bearer = bearer.map(|bearer| bearer.keeping(&attributes::needed(&apps)));
    let mut providers = with_use_of_groups(providers?, &apps, session.settings.outage_grace);
    for provider in &mut providers {
        // What an outpost verified by its client's secret is not signed otherwise on the day of a move.
        provider.id_tokens_by_secret = server.compat.authentik;
    }
    step_up::warn_of_known_providers(reader, root, &providers, &apps);
    // The session's own for apps that have none; hosts that no app names are among those.
    let default = session.settings.reauthorize;
    let shortest = apps.iter().filter_map(|app| app.reauthorize).chain(default).min();
    let passes_tokens = apps.iter().any(|app| app.headers.passes_tokens());
    Some(Config {
        server: server.listeners,
        gate: flow::Settings {
            prefix: server.prefix,
            transport,
            trusted_proxies: server.trusted_proxies,
            compat: server.compat,
            service_hosts: server.service_hosts,
            cookie_name: session.cookie_name,
            cookie_domains: session.cookie_domains,
            own_cookies: session.own_cookies,
            legacy_cookies: session.legacy_cookies,
            reauthorize: default,
            bearer,
            limits,
            service_token_header,
            emergency,
            delegates,
            adopt: adopt.map(|adopt| adopt.settings),
            upstreams,
        },
        secrets: session.secrets,
        session: Settings { passes_tokens, reauthorize: shortest, adopted_lifetime, ..session.settings },
        providers,
        policy: policy::Settings { default: brand::default_access(root), header_budget: server.header_budget, apps },
        brand,
        log: brand::log(root),
        hash: String::new(),
        warnings: Vec::new(),
        effective: Vec::new(),
    })
}

/// Has the apps at whose hosts an emergency sign-in may be told of it, and of nothing that a client claims about it.
fn with_emergency_header(apps: Vec<policy::App>, emergency: Option<&crate::emergency::Settings>) -> Vec<policy::App> {
    let Some(emergency) = emergency else { return apps };
    let told = |app: policy::App| {
        if !app.has_host_among(&emergency.hosts) {
            return app;
        }
        policy::App { headers: app.headers.removing(&policy::headers::DOORWARD_EMERGENCY), ..app }
    };
    apps.into_iter().map(told).collect()
}

/// Tells each provider whether the apps that it is for have rules by group, and for how long groups count that it does not tell
/// again.
fn with_use_of_groups(
    mut providers: Vec<oidc::Settings>,
    apps: &[policy::App],
    outage_grace: Duration,
) -> Vec<oidc::Settings> {
    for (place, provider) in providers.iter_mut().enumerate() {
        provider.groups_grace = outage_grace;
        if apps.iter().any(|app| app.provider == place && app.names_groups()) {
            provider.groups_use = oidc::GroupsUse::InRules;
        }
        provider.kept_attributes = attributes::needed(apps.iter().filter(|app| app.provider == place));
        let own = apps.iter().filter(|app| app.provider == place);
        provider.acr_in_rules = own.flat_map(step_up::classes).cloned().collect();
    }
    providers
}
