//! A gate in reverse-proxy mode and the app behind it, without an edge and without a provider.

use tempfile::TempDir;

use super::{gate::Gate, ports};

/// A gate that passes requests on to an app.
///
/// Hosts: `open.example.test` is public, `closed.example.test` takes service tokens. The client is a stranger, unless the gate is
/// told to trust it.
pub(crate) struct ForwardingGate {
    pub(crate) gate: Gate,
    /// Port of `server.proxy_listen`.
    pub(crate) port: u16,
    // Dropped last: the gate writes into it.
    _dir: TempDir,
}

impl ForwardingGate {
    /// Starts a gate in front of this port. `trusted` are the networks of the proxies in front, `tables` further tables, in which
    /// `GATE` stands for the gate's own address.
    pub(crate) async fn start(upstream: u16, trusted: &str, tables: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (mut gate, port) = (Gate::new(dir.path()), ports::free());
        gate.configure(&format!(
            r#"
[server]
listen = "127.0.0.1:{listen}"
management = "127.0.0.1:{management}"
proxy_listen = "127.0.0.1:{port}"
trusted_proxies = [{trusted:?}]
scheme = "http"

[session]
secrets = ["the first secret of one test, which is long enough"]

[store]
url = "sqlite:{store}"

[[providers]]
name = "nowhere"
issuer = "http://127.0.0.1:{nowhere}/"
client_id = "doorward"

[tokens]
header = "X-Device-Token"

[[apps]]
name = "open"
hosts = ["open.example.test"]
headers = ["remote", {{ "X-Team" = "{{claims.team}}" }}]
upstream = "http://127.0.0.1:{upstream}"

[[apps.rules]]
path = {{ prefix = "/never/" }}
access = "deny"

[[apps.rules]]
path = {{ prefix = "/assets/" }}
access = "public"
cache_control = "public, max-age=60"

[[apps.rules]]
access = "public"

[[apps]]
name = "closed"
hosts = ["closed.example.test"]
upstream = {{ url = "http://127.0.0.1:{upstream}", first_byte_timeout = "20s" }}

{tables}
"#,
            listen = gate.port,
            management = gate.management,
            store = dir.path().join("sessions.db").display(),
            nowhere = ports::free(),
            tables = tables.replace("GATE", &format!("127.0.0.1:{port}")),
        ));
        gate.start().await;
        Self { gate, port, _dir: dir }
    }
}
