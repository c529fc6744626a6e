//! `networks` of rules and `server.trusted_proxies` together: warns of clients whose address the rules cannot know.

use ipnet::IpNet;

use super::super::reader::{Cursor, Reader};

/// Prefix lengths (IPv4, IPv6) below which a trusted network is wider than the machines of an edge.
const NARROW_PREFIX: (u8, u8) = (24, 64);

/// Warns if rules match client networks while clients may be inside a trusted network, where their address is unknown; and
/// if such a rule opens a path, since an edge may pass on an `X-Forwarded-For` that the client chose.
pub(super) fn warn_of_unknown_clients(reader: &mut Reader<'_>, root: &Cursor<'_>) {
    let rules = root.at("apps").map(|list| list.items()).unwrap_or_default().into_iter().flat_map(|app| {
        let rules = app.at("rules").map(|list| list.items()).unwrap_or_default();
        rules.into_iter().filter(|rule| rule.at("networks").is_some())
    });
    let rules: Vec<_> = rules.collect();
    if rules.is_empty() {
        return;
    }
    warn_of_wide_trust(reader, root);
    for rule in rules {
        let opens = rule.at("preset").is_some()
            || rule.at("access").is_some_and(|access| matches!(access.text(), Some("public" | "optional")));
        if let (true, Some(networks)) = (opens, rule.at("networks")) {
            reader.warn(
                &networks,
                "this opens to whoever can choose what the edge says in X-Forwarded-For",
                "see to it that the edge writes that line itself, as the files in deploy/ do (nginx: proxy_set_header \
                 X-Forwarded-For $remote_addr)",
            );
        }
    }
}

fn warn_of_wide_trust(reader: &mut Reader<'_>, root: &Cursor<'_>) {
    let Some(trusted) = root.at("server").and_then(|section| section.at("trusted_proxies")) else { return };
    for item in trusted.items() {
        let Some(network) = item.text().and_then(|text| text.parse::<IpNet>().ok()) else { continue };
        let is_wide = match network {
            IpNet::V4(network) => network.prefix_len() < NARROW_PREFIX.0 && !network.network().is_loopback(),
            IpNet::V6(network) => network.prefix_len() < NARROW_PREFIX.1,
        };
        if is_wide {
            let problem = format!(
                "clients inside {network} are unknown to the rules that name `networks`: they count as trusted proxies"
            );
            reader.warn(
                &item,
                problem,
                "name the addresses of the edges alone, such as \"10.1.2.0/24\" or \"10.1.2.3\"",
            );
        }
    }
}
