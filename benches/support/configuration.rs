//! Configuration of the measured gates: an app with headers, a group and two rules, one of which allows nobody, and any number
//! of further apps.

use std::fmt::Write as _;

const APPS: &str = r#"
[session]
secrets = ["a secret of a bench, which is no secret at all"]

[[apps]]
name = "grafana"
hosts = ["grafana.example.com"]
headers = ["remote", { "X-Team" = "{claims.team}", "X-Office" = "{claims.office}", "X-Locale" = "{claims.locale}", "X-Tier" = "staff" }]
allow = { groups = ["staff"] }

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
    /// Number of hosts, each with an app of its own. Subrequests are for the first one.
    pub(crate) hosts: usize,
    /// Issuer of the provider.
    pub(crate) issuer: String,
    /// Port of the listener.
    pub(crate) port: u16,
    /// Port for metrics and health.
    pub(crate) management: u16,
    /// Further lines of `[server]`.
    pub(crate) server: String,
}

impl Configuration {
    /// One host, no provider, free ports.
    pub(crate) fn of(store: &str) -> Self {
        Self {
            store: store.to_owned(),
            hosts: 1,
            issuer: "https://127.0.0.1:9/".to_owned(),
            port: 0,
            management: 0,
            server: String::new(),
        }
    }

    /// Returns the text of the file.
    pub(crate) fn text(&self) -> String {
        let Self { store, hosts, issuer, port, management, server } = self;
        let mut text = format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\nmanagement = \"127.0.0.1:{management}\"\n{server}\n\
             [store]\nurl = \"{store}\"\n\
             [[providers]]\nname = \"none\"\nissuer = \"{issuer}\"\nclient_id = \"bench\"\n{APPS}"
        );
        for other in 1..*hosts {
            write!(text, "\n[[apps]]\nname = \"app{other}\"\nhosts = [\"app{other}.example.com\"]\n")
                .expect("memory takes text");
        }
        text
    }
}
