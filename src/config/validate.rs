//! From the completed tree to the modules' settings, section by section, with every complaint.
//!
//! Each file reads the keys of its own sections; what concerns several of them is judged here.

mod apps;
mod emails;
mod headers;
mod look;
mod networks;
mod providers;
mod rules;
mod server;
mod session;
mod store;

use super::{
    Config, Log,
    complaint::Complaint,
    effective,
    environment::Environment,
    files::Files,
    reader::{Reader, Spot},
    tree::Node,
};
use crate::{flow, pages, policy, session::Settings};

/// The settings, or what is wrong: never neither.
pub(super) fn settings(root: &Node, environment: &Environment, files: &mut Files) -> (Option<Config>, Vec<Complaint>) {
    let mut reader = Reader::new(environment, files);
    let config = read(&mut reader, &Spot::root(root));
    let complaints = reader.into_complaints();
    // Last, because it tells what was in the files as well.
    let effective = effective::list(root, files);
    let config = config.map(|config| Config { hash: effective::hash(&effective), effective, ..config });
    (config, complaints)
}

fn read(reader: &mut Reader<'_>, root: &Spot<'_>) -> Option<Config> {
    // Everything is read before anything is given up, so that all complaints come at once.
    let server = root.at("server").and_then(|section| server::read(reader, &section));
    let session = root.at("session").and_then(|section| session::read(reader, &section, root));
    let transport = server::transport(root);
    let providers = providers::read(reader, root, transport);
    let apps = apps::read(reader, root);
    emails::warn_of_unverified(reader, root);
    networks::warn_of_unknown_clients(reader, root);
    let brand = root.at("brand").map(|section| look::brand(reader, &section));
    let (server, session, brand, apps) = (server?, session?, brand?, apps?);
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
        },
        secrets: session.secrets,
        session: Settings { passes_tokens, ..session.settings },
        providers: providers?,
        policy: policy::Settings { default: look::default_access(root), apps },
        brand,
        log: look::log(root),
        hash: String::new(),
        warnings: Vec::new(),
        effective: Vec::new(),
    })
}
