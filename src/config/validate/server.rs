//! `[server]`: the listeners, the prefix, trusted proxies and service hosts.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::super::{
    diagnostic::ValueError,
    reader::{self, Cursor, Reader},
};
use super::upstream;
use crate::{
    clock::{Clock, Timestamp},
    cookie::SiteScheme,
    edge::{Namespace, TrustedProxies},
    flow::CompatSettings,
    host::Authority,
    policy::headers::HeaderBudget,
    server,
};

/// Values of the section.
pub(super) struct ServerSection {
    pub(super) listeners: server::Settings,
    pub(super) prefix: String,
    pub(super) trusted_proxies: TrustedProxies,
    pub(super) service_hosts: Vec<String>,
    pub(super) header_budget: HeaderBudget,
    pub(super) compat: CompatSettings,
}

pub(super) fn read(reader: &mut Reader<'_>, root: &Cursor<'_>, section: &Cursor<'_>) -> Option<ServerSection> {
    let listen = reader.parsed(section.at("listen").as_ref(), reader::address);
    let management = reader.parsed(section.at("management").as_ref(), reader::address);
    let mut proxy_listen = None;
    if let (Some(listen), Some(management)) = (listen, management) {
        refuse_same_port(reader, section, listen, management);
        let others = [("server.listen", listen), ("server.management", management)];
        proxy_listen = upstream::listen(reader, root, others);
    }
    let prefix = reader.parsed(section.at("prefix").as_ref(), prefix);
    let trusted_proxies = trusted_proxies(reader, section, listen);
    let services = section.at("service_hosts");
    let service_hosts = reader.list(services.as_ref(), service_host);
    reader.refuse_duplicates(&services.map(|list| list.items()).unwrap_or_default(), None);
    let compat = section.at("compat");
    let compat_items = compat.map(|list| list.items()).unwrap_or_default();
    reader.refuse_duplicates(&compat_items, None);
    let namespaces = compat_items.iter().filter_map(|item| namespace(item.text()?)).collect::<Vec<_>>();
    let compat = CompatSettings {
        authentik: namespaces.contains(&Namespace::Authentik),
        oauth2_proxy: namespaces.contains(&Namespace::OAuth2Proxy),
        registered: namespaces.first().copied().unwrap_or_default(),
    };
    let header_budget = reader.parsed(section.at("header_budget").as_ref(), header_budget);
    let shutdown_grace = reader.duration(section.at("shutdown_grace").as_ref());
    let tls = section.at("tls");
    let tls_settings = tls.as_ref().and_then(|tls| tls_settings(reader, tls));
    let is_unread = section.at("proxy_listen").is_some() && proxy_listen.is_none();
    if (tls.is_some() && tls_settings.is_none()) || is_unread {
        return None;
    }
    Some(ServerSection {
        listeners: server::Settings {
            listen: listen?,
            management: management?,
            proxy_listen,
            tls: tls_settings,
            shutdown_grace: shutdown_grace?,
        },
        prefix: prefix?,
        trusted_proxies: trusted_proxies?,
        service_hosts,
        header_budget: header_budget?,
        compat,
    })
}

fn namespace(name: &str) -> Option<Namespace> {
    match name {
        "authentik" => Some(Namespace::Authentik),
        "oauth2-proxy" => Some(Namespace::OAuth2Proxy),
        _ => None,
    }
}

/// Returns `server.scheme`, or the stricter one where it is invalid.
pub(super) fn transport(root: &Cursor<'_>) -> SiteScheme {
    let scheme = root.at("server").and_then(|section| section.at("scheme"));
    match scheme.and_then(|scheme| scheme.text()) {
        Some("http") => SiteScheme::Http,
        _ => SiteScheme::Https,
    }
}

/// Returns `server.prefix`, for checking that no rule is about the gate's own paths.
pub(super) fn prefix_of<'t>(root: &Cursor<'t>) -> Option<&'t str> {
    root.at("server")?.at("prefix")?.text()
}

/// Returns `server.service_hosts`, for checking that no app has one of them.
pub(super) fn service_hosts_of(root: &Cursor<'_>) -> Vec<String> {
    let items = root.at("server").and_then(|section| section.at("service_hosts")).map(|list| list.items());
    items.unwrap_or_default().iter().filter_map(|item| service_host(item.text()?).ok()).collect()
}

/// Returns `server.header_budget`, for the plans of apps.
pub(super) fn header_budget_of(root: &Cursor<'_>) -> HeaderBudget {
    let written = root.at("server").and_then(|section| section.at("header_budget"));
    written.and_then(|cursor| header_budget(cursor.text()?).ok()).unwrap_or_default()
}

fn header_budget(text: &str) -> Result<HeaderBudget, ValueError> {
    let kib = text.strip_suffix("KiB").and_then(|number| number.trim_end().parse().ok());
    kib.and_then(HeaderBudget::from_kib).ok_or_else(|| {
        let (least, most) = (HeaderBudget::MIN_KIB, HeaderBudget::MAX_KIB);
        let hint = format!("write it in KiB, from \"{least}KiB\" to \"{most}KiB\"");
        ValueError::new(format!("`{text}` is no size from {least} to {most} KiB"), hint)
    })
}

fn service_host(text: &str) -> Result<String, ValueError> {
    let hint = "write the name alone, such as \"doorward.auth.svc.cluster.local\": any port is meant";
    match Authority::parse(text) {
        Ok(authority) if authority.port().is_none() => Ok(authority.host().to_owned()),
        Ok(_) => Err(ValueError::new(format!("`{text}` has a port"), hint)),
        Err(error) => Err(ValueError::new(format!("`{text}`: {error}"), hint)),
    }
}

fn refuse_same_port(reader: &mut Reader<'_>, section: &Cursor<'_>, listen: SocketAddr, management: SocketAddr) {
    let overlap = listen.ip() == management.ip() || listen.ip().is_unspecified() || management.ip().is_unspecified();
    // Port 0 is another free port for each listener.
    if listen.port() == management.port() && listen.port() != 0 && overlap {
        let cursor = section.at("management").filter(Cursor::is_written).or_else(|| section.at("listen"));
        let hint = "give the two listeners different ports; metrics are not for the public";
        reader.error(
            &cursor.unwrap_or_else(|| section.clone()),
            "`server.listen` and `server.management` are the same",
            hint,
        );
    }
}

fn prefix(text: &str) -> Result<String, ValueError> {
    let error = |problem: &str| Err(ValueError::new(format!("`{text}` {problem}"), "write it as \"/_doorward\""));
    let Some(rest) = text.strip_prefix('/') else { return error("does not begin with a slash") };
    if rest.ends_with('/') {
        return error("ends with a slash");
    }
    let plain = |segment: &str| {
        let letters = segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte));
        !segment.is_empty() && letters && segment != "." && segment != ".."
    };
    if !rest.split('/').all(plain) {
        return error("is not made of segments of letters, digits, `-`, `_`, `.` and `~`");
    }
    Ok(text.to_owned())
}

fn trusted_proxies(
    reader: &mut Reader<'_>,
    section: &Cursor<'_>,
    listen: Option<SocketAddr>,
) -> Option<TrustedProxies> {
    let cursor = section.at("trusted_proxies")?;
    let networks = reader.list(Some(&cursor), reader::network);
    if cursor.is_written() && cursor.items().is_empty() {
        reader.error(&cursor, "nobody could ask the gate anything", "name the networks of your edge");
    }
    if IpNet::aggregate(&networks).iter().any(|network| network.prefix_len() == 0) {
        let hint =
            "name the networks of your edge alone: whoever is trusted says which host, path and client a request is of";
        reader.error(&cursor, "everybody would be trusted", hint);
    }
    if !cursor.is_written() && listen.is_some_and(|listen| !listen.ip().is_loopback()) {
        let hint = "name the networks that your edge asks from, such as [\"10.0.0.0/8\"], or listen on 127.0.0.1";
        reader.error(&cursor, "is missing, and `server.listen` is not on loopback", hint);
    }
    Some(TrustedProxies::new(networks))
}

fn tls_settings(reader: &mut Reader<'_>, section: &Cursor<'_>) -> Option<server::TlsSettings> {
    let cert = reader.file(section.at("cert").as_ref());
    let key = reader.file(section.at("key").as_ref());
    let client_ca = section.at("client_ca");
    let authorities = reader.file(client_ca.as_ref());
    if client_ca.is_some() && authorities.is_none() {
        return None;
    }
    let settings = server::TlsSettings { cert: cert?, key: key?, client_ca: authorities };
    if let Err(server::Error::Tls { key, problem }) = settings.try_out() {
        let cursor = section.entries().into_iter().find_map(|(_, cursor)| (cursor.key == key).then_some(cursor));
        let (problem, hint) = problem.split_once("; ").unwrap_or((&problem, "name files that belong together, as PEM"));
        reader.error(&cursor.unwrap_or_else(|| section.clone()), problem, hint);
        return None;
    }
    if let (Some(cert), Some(end)) = (section.at("cert"), settings.not_after()) {
        warn_of_expiry(reader, &cert, end);
    }
    Some(settings)
}

/// Warns of a certificate that has ended or soon will: edges then refuse the gate, and every app is down.
fn warn_of_expiry(reader: &mut Reader<'_>, cert: &Cursor<'_>, end: Timestamp) {
    let now = Clock::System.now();
    let problem = if end <= now {
        format!("the certificate has been over since {end}")
    } else if end.since(now) < server::EXPIRY_NOTICE {
        format!("the certificate ends at {end}")
    } else {
        return;
    };
    reader.warn(cert, problem, "renew it; the gate reads the file again when it changes");
}
