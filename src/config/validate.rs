//! From the completed tree to the modules' settings, section by section, with every complaint.
//!
//! Each file reads the keys of its own sections; what concerns several of them is judged here.

mod apps;
mod headers;
mod look;
mod providers;
mod rules;
mod server;
mod session;
mod store;

use super::{
    Config, Effective, Log,
    complaint::Complaint,
    effective,
    environment::Environment,
    reader::{Reader, Spot},
    tree::Node,
};
use crate::{flow, pages, policy};

/// The settings, or what is wrong: never neither.
pub(super) fn settings(root: &Node, environment: &Environment) -> (Option<Config>, Vec<Complaint>) {
    let mut reader = Reader::new(environment);
    let config = read(&mut reader, &Spot::root(root), effective::list(root));
    (config, reader.into_complaints())
}

fn read(reader: &mut Reader<'_>, root: &Spot<'_>, effective: Vec<Effective>) -> Option<Config> {
    // Everything is read before anything is given up, so that all complaints come at once.
    let server = root.at("server").and_then(|section| server::read(reader, &section));
    let session = root.at("session").and_then(|section| session::read(reader, &section, root));
    let transport = server::transport(root);
    let providers = providers::read(reader, root, transport);
    let apps = apps::read(reader, root);
    let brand = root.at("brand").map(|section| look::brand(reader, &section));
    let (server, session, brand) = (server?, session?, brand?);
    Some(Config {
        server: server.listeners,
        gate: flow::Settings {
            prefix: server.prefix,
            transport,
            trusted_proxies: server.trusted_proxies,
            cookie_name: session.cookie_name,
            cookie_domain: session.cookie_domain,
            legacy_cookies: session.legacy_cookies,
        },
        secrets: session.secrets,
        session: session.settings,
        providers: providers?,
        policy: policy::Settings { default: look::default_access(root), apps: apps? },
        brand,
        log: look::log(root),
        hash: effective::hash(&effective),
        effective,
    })
}
