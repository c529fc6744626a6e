//! `[server]`: the listeners, the prefix and whom the gate believes.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::super::{
    complaint::Fault,
    reader::{self, Reader, Spot},
};
use crate::{cookie::SiteScheme, edge::TrustedProxies, host::Authority, server};

/// What the section says.
pub(super) struct Server {
    pub(super) listeners: server::Settings,
    pub(super) prefix: String,
    pub(super) trusted_proxies: TrustedProxies,
    pub(super) service_hosts: Vec<String>,
}

pub(super) fn read(reader: &mut Reader<'_>, section: &Spot<'_>) -> Option<Server> {
    let listen = reader.parsed(section.at("listen").as_ref(), reader::address);
    let management = reader.parsed(section.at("management").as_ref(), reader::address);
    if let (Some(listen), Some(management)) = (listen, management) {
        refuse_same_port(reader, section, listen, management);
    }
    let prefix = reader.parsed(section.at("prefix").as_ref(), prefix);
    let trusted_proxies = trusted_proxies(reader, section, listen);
    let services = section.at("service_hosts");
    let service_hosts = reader.list(services.as_ref(), service_host);
    reader.refuse_repeats(&services.map(|list| list.items()).unwrap_or_default(), None);
    let shutdown_grace = reader.duration(section.at("shutdown_grace").as_ref());
    let tls = section.at("tls");
    let tls_settings = tls.as_ref().and_then(|tls| tls_settings(reader, tls));
    if tls.is_some() && tls_settings.is_none() {
        return None;
    }
    Some(Server {
        listeners: server::Settings {
            listen: listen?,
            management: management?,
            tls: tls_settings,
            shutdown_grace: shutdown_grace?,
        },
        prefix: prefix?,
        trusted_proxies: trusted_proxies?,
        service_hosts,
    })
}

/// `server.scheme`. The stricter one where it cannot be read.
pub(super) fn transport(root: &Spot<'_>) -> SiteScheme {
    let scheme = root.at("server").and_then(|section| section.at("scheme"));
    match scheme.and_then(|scheme| scheme.text()) {
        Some("http") => SiteScheme::Http,
        _ => SiteScheme::Https,
    }
}

/// `server.prefix`, for those who have to know which paths are the gate's own.
pub(super) fn prefix_of<'t>(root: &Spot<'t>) -> Option<&'t str> {
    root.at("server")?.at("prefix")?.text()
}

/// `server.service_hosts`, for those who have to know which names are the gate's own.
pub(super) fn service_hosts_of(root: &Spot<'_>) -> Vec<String> {
    let items = root.at("server").and_then(|section| section.at("service_hosts")).map(|list| list.items());
    items.unwrap_or_default().iter().filter_map(|item| service_host(item.text()?).ok()).collect()
}

fn service_host(text: &str) -> Result<String, Fault> {
    let hint = "write the name alone, such as \"doorward.auth.svc.cluster.local\": any port is meant";
    match Authority::parse(text) {
        Ok(authority) if authority.port().is_none() => Ok(authority.host().to_owned()),
        Ok(_) => Err(Fault::new(format!("`{text}` has a port"), hint)),
        Err(error) => Err(Fault::new(format!("`{text}`: {error}"), hint)),
    }
}

fn refuse_same_port(reader: &mut Reader<'_>, section: &Spot<'_>, listen: SocketAddr, management: SocketAddr) {
    let overlap = listen.ip() == management.ip() || listen.ip().is_unspecified() || management.ip().is_unspecified();
    // Port 0 is a different free port each time.
    if listen.port() == management.port() && listen.port() != 0 && overlap {
        let spot = section.at("management").filter(Spot::is_written).or_else(|| section.at("listen"));
        let hint = "give the two listeners different ports; metrics are not for the public";
        reader.complain(
            &spot.unwrap_or_else(|| section.clone()),
            "`server.listen` and `server.management` are the same",
            hint,
        );
    }
}

fn prefix(text: &str) -> Result<String, Fault> {
    let fault = |problem: &str| Err(Fault::new(format!("`{text}` {problem}"), "write it as \"/_doorward\""));
    let Some(rest) = text.strip_prefix('/') else { return fault("does not begin with a slash") };
    if rest.ends_with('/') {
        return fault("ends with a slash");
    }
    let plain = |segment: &str| {
        let letters = segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte));
        !segment.is_empty() && letters && segment != "." && segment != ".."
    };
    if !rest.split('/').all(plain) {
        return fault("is not made of segments of letters, digits, `-`, `_`, `.` and `~`");
    }
    Ok(text.to_owned())
}

fn trusted_proxies(reader: &mut Reader<'_>, section: &Spot<'_>, listen: Option<SocketAddr>) -> Option<TrustedProxies> {
    let spot = section.at("trusted_proxies")?;
    let networks = reader.list(Some(&spot), reader::network);
    if spot.is_written() && spot.items().is_empty() {
        reader.complain(&spot, "nobody could ask the gate anything", "name the networks of your edge");
    }
    if IpNet::aggregate(&networks).iter().any(|network| network.prefix_len() == 0) {
        let hint =
            "name the networks of your edge alone: whoever is trusted says which host, path and client a request is of";
        reader.complain(&spot, "everybody would be trusted", hint);
    }
    if !spot.is_written() && listen.is_some_and(|listen| !listen.ip().is_loopback()) {
        let hint = "name the networks that your edge asks from, such as [\"10.0.0.0/8\"], or listen on 127.0.0.1";
        reader.complain(&spot, "is missing, and `server.listen` is not on loopback", hint);
    }
    Some(TrustedProxies::new(networks))
}

fn tls_settings(reader: &mut Reader<'_>, section: &Spot<'_>) -> Option<server::TlsSettings> {
    let cert = reader.file(section.at("cert").as_ref());
    let key = reader.file(section.at("key").as_ref());
    let client_ca = section.at("client_ca");
    let authorities = reader.file(client_ca.as_ref());
    if client_ca.is_some() && authorities.is_none() {
        return None;
    }
    let settings = server::TlsSettings { cert: cert?, key: key?, client_ca: authorities };
    if let Err(server::Error::Tls { key, problem }) = settings.try_out() {
        let spot = section.entries().into_iter().find_map(|(_, spot)| (spot.key == key).then_some(spot));
        let (problem, hint) = problem.split_once("; ").unwrap_or((&problem, "name files that belong together, as PEM"));
        reader.complain(&spot.unwrap_or_else(|| section.clone()), problem, hint);
        return None;
    }
    Some(settings)
}
