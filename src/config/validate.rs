//! Validation: from the completed tree to the modules' settings, section by section, with every diagnostic.
//!
//! Each file reads the keys of its own sections; checks across sections are here and in `audience` and `networks`.

mod apps;
mod audience;
mod brand;
mod entropy;
mod headers;
mod networks;
mod providers;
mod rules;
mod server;
mod session;
mod store;

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
    let server = root.at("server").and_then(|section| server::read(reader, &section));
    let session = root.at("session").and_then(|section| session::read(reader, &section, root));
    let transport = server::transport(root);
    let providers = providers::read(reader, root, transport);
    let apps = apps::read(reader, root);
    audience::warn_of_surprises(reader, root);
    networks::warn_of_unknown_clients(reader, root);
    let brand = root.at("brand").map(|section| brand::brand(reader, &section));
    let (server, session, brand, apps) = (server?, session?, brand?, apps?);
    let providers = with_use_of_groups(providers?, &apps, session.settings.outage_grace);
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
            service_hosts: server.service_hosts,
            cookie_name: session.cookie_name,
            cookie_domain: session.cookie_domain,
            own_cookies: session.own_cookies,
            legacy_cookies: session.legacy_cookies,
            reauthorize: default,
        },
        secrets: session.secrets,
        session: Settings { passes_tokens, reauthorize: shortest, ..session.settings },
        providers,
        policy: policy::Settings { default: brand::default_access(root), header_budget: server.header_budget, apps },
        brand,
        log: brand::log(root),
        hash: String::new(),
        warnings: Vec::new(),
        effective: Vec::new(),
    })
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
    }
    providers
}
