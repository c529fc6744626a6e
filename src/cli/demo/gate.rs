//! The gate of the demo: the one of `serve`, with a configuration made for the addresses at hand.

use anyhow::Context;
use url::Url;

use super::names::App;
use crate::config::{self, Config};

/// What the configuration depends on.
pub(super) struct Wiring<'a> {
    /// The provider.
    pub(super) issuer: &'a Url,
    /// The gate's name there.
    pub(super) client_id: &'a str,
    /// The gate's password there.
    pub(super) client_secret: &'a str,
    /// The sealing secret.
    pub(super) secret: &'a str,
}

/// The configuration, read as any other is. The environment of the caller has no say in it.
pub(super) fn config(wiring: &Wiring<'_>) -> anyhow::Result<Config> {
    let file = text(wiring);
    config::load(None).context(file)
}

fn text(wiring: &Wiring<'_>) -> String {
    let (notes, admin) = (App::Notes.host(), App::Admin.host());
    let Wiring { issuer, client_id, client_secret, secret } = wiring;
    format!(
        r#"
[server]
listen = "127.0.0.1:0"
management = "127.0.0.1:0"
scheme = "http"

[session]
secrets = ["{secret}"]

[store]
url = "memory:"

[[providers]]
name = "demo"
issuer = "{issuer}"
client_id = "{client_id}"
client_secret = "{client_secret}"

[[apps]]
name = "notes"
hosts = ["{notes}"]

[[apps]]
name = "admin"
hosts = ["{admin}"]
allow = {{ groups = ["admins"] }}
"#
    )
}
