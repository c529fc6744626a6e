//! Configuration of the measured gates: an app with headers, a group and rules, and any number of further apps, hosts and rules.

use std::fmt::Write as _;

const APP: &str = r#"
[session]
secrets = ["a secret of a bench, which is no secret at all"]

# All the people of a bench come from one address.
[limits]
sign_in = { per_minute = 1000000, burst = 1000000 }
callback = { per_minute = 1000000, burst = 1000000 }

[[apps]]
name = "grafana"
hosts = ["grafana.example.com"]
headers = ["remote", { "X-Team" = "{claims.team}", "X-Office" = "{claims.office}", "X-Locale" = "{claims.locale}", "X-Tier" = "staff" }]
allow = { groups = ["staff"] }
"#;

/// The app's rules, one of which allows nobody.
const RULES: &str = r#"
[[apps.rules]]
path = { prefix = "/public/" }
access = "public"

[[apps.rules]]
path = { prefix = "/vault/" }
allow = { groups = ["keepers"] }
"#;

/// Settings that differ between gates.
#[derive(Clone, Debug)]
pub(crate) struct Configuration {
    /// `store.url`.
    pub(crate) store: String,
    /// Number of apps. Subrequests are for the first one.
    pub(crate) apps: usize,
    /// Number of hosts of each further app.
    pub(crate) hosts_each: usize,
    /// Rules of each app; `None`: the two of the first.
    pub(crate) rules_each: Option<usize>,
    /// Issuer of the provider.
    pub(crate) issuer: String,
    /// Port of the listener.
    pub(crate) port: u16,
    /// Port for metrics and health.
    pub(crate) management: u16,
    /// Further lines of `[server]`.
    pub(crate) server: String,
    /// Further tables.
    pub(crate) tables: String,
}

impl Configuration {
    /// One host, no provider, free ports.
    pub(crate) fn of(store: &str) -> Self {
        Self {
            store: store.to_owned(),
            apps: 1,
            hosts_each: 1,
            rules_each: None,
            issuer: "https://127.0.0.1:9/".to_owned(),
            port: 0,
            management: 0,
            server: String::new(),
            tables: String::new(),
        }
    }

    /// Returns the text of the file.
    pub(crate) fn text(&self) -> String {
        let Self { store, apps, hosts_each, rules_each, issuer, port, management, server, tables } = self;
        let rules = rules_each.map_or_else(|| RULES.to_owned(), rules);
        let mut text = format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\nmanagement = \"127.0.0.1:{management}\"\n{server}\n\
             [store]\nurl = \"{store}\"\n\
             [[providers]]\nname = \"none\"\nissuer = \"{issuer}\"\nclient_id = \"bench\"\n{APP}{rules}\n{tables}"
        );
        let further = if rules_each.is_some() { rules.as_str() } else { "" };
        for other in 1..*apps {
            let hosts: Vec<_> = (1..*hosts_each).map(|host| format!("\"app{other}-{host}.example.com\"")).collect();
            let hosts = [vec![format!("\"app{other}.example.com\"")], hosts].concat().join(", ");
            write!(text, "\n[[apps]]\nname = \"app{other}\"\nhosts = [{hosts}]\n{further}").expect("memory takes text");
        }
        text
    }
}

/// Returns so many rules of all kinds. The last is the only one about `/vault/`.
fn rules(count: usize) -> String {
    let mut text = String::new();
    for number in 1..=count {
        let (path, access) = match number % 5 {
            _ if number == count => ("{ prefix = \"/vault/\" }".to_owned(), "allow = { groups = [\"keepers\"] }"),
            0 => (format!("{{ regex = \"/items{number}/[0-9]+/.*\" }}"), "access = \"authenticated\""),
            1 => (format!("\"/health/{number}\""), "access = \"public\""),
            2 => (format!("{{ prefix = \"/files/{number}/\" }}"), "access = \"optional\""),
            3 => (format!("\"/settings/{number}\""), "allow = { groups = [\"staff\"] }"),
            _ => (format!("{{ prefix = \"/area{number}/\" }}"), "access = \"deny\""),
        };
        write!(text, "\n[[apps.rules]]\npath = {path}\n{access}\n").expect("memory takes text");
    }
    text
}
