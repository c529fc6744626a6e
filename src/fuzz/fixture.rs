//! The configuration of the fuzzed gate, and an oracle for it that shares no code with the gate.

use std::{net::IpAddr, sync::LazyLock};

use percent_encoding::percent_decode_str;

use crate::{
    config::{self, Config, ConfigFile},
    policy::Policy,
};

/// Configuration of a gate whose rules open some paths and close the rest.
pub(super) static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let source = ConfigFile { path: "fuzz.toml".into(), text: include_str!("gate.toml").to_owned() };
    config::load_from(Some(&source), &config::Environment::new()).expect("gate.toml is valid")
});

pub(super) static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy::new(CONFIG.policy.clone()));

/// Parses one address of `X-Forwarded-For`. An IPv6 address may have a zone, which says nothing about the client.
pub(super) fn hop(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let bare = bare.split_once('%').map_or(bare, |(address, _)| if address.contains(':') { address } else { bare });
    let address = bare.parse().ok().or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address| address.to_canonical())
}

/// Independent oracle: returns `true` if gate.toml opens this path to everybody. It shares no code with the rules.
pub(super) fn is_open(raw: &str, method: Option<&str>, is_at_home: bool) -> bool {
    let path = percent_decode_str(raw).decode_utf8_lossy();
    let odd = ["//", "\\", ";", "%2f", "%5c", "%2e", "%00", "%25", "#"];
    let spelled = raw.to_ascii_lowercase();
    let climbs = path.split('/').any(|segment| matches!(segment, "." | ".."));
    if climbs || odd.iter().any(|odd| spelled.contains(odd)) || path.eq_ignore_ascii_case("/public/closed") {
        return false;
    }
    let image = path.strip_prefix("/img/").and_then(|rest| rest.strip_suffix(".png"));
    path.starts_with("/public/")
        || path == "/open"
        || image.is_some_and(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase()))
        || (path == "/post" && method == Some("POST"))
        || (is_at_home && (path == "/net" || path.starts_with("/net/")))
}
