//! The certified provider of `tests/neighbours/provider.mjs`, as a process.

use std::path::{Path, PathBuf};

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use super::{
    Wire, ports,
    process::{self, Process, Signal},
    tls, visitor,
};

/// The provider's client secret for the gate.
pub(crate) const CLIENT_SECRET: &str = "the-secret-of-one-test-and-no-other";

/// A provider, running or away. Its address stays the same.
pub(crate) struct Provider {
    /// Where it listens.
    pub(crate) port: u16,
    /// How it speaks.
    pub(crate) wire: Wire,
    dir: PathBuf,
    settings: Value,
    process: Option<Process>,
}

impl Provider {
    /// A provider that knows the gate at these origins; not yet started. `more` is put over its settings; `"tls": true`
    /// has it speak with the certificate in `dir`.
    pub(crate) fn new(dir: &Path, origins: &[String], more: &Value) -> Self {
        let port = ports::free();
        let at = |path: &str| origins.iter().map(|origin| format!("{origin}/_doorward/{path}")).collect::<Vec<_>>();
        let mut settings = json!({
            "port": port,
            "client_secret": CLIENT_SECRET,
            "redirect_uris": at("callback"),
            "post_logout_redirect_uris": at("signed_out"),
            "backchannel_logout_uri": at("backchannel_logout").first(),
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            settings[key] = value.clone();
        }
        let mut wire = Wire::Plain;
        if settings["tls"] == json!(true) {
            settings["tls"] = json!({ "cert": dir.join("tls.pem"), "key": dir.join("tls.key") });
            wire = Wire::Tls;
        }
        Self { port, wire, dir: dir.to_owned(), settings, process: None }
    }

    /// Where it is.
    pub(crate) fn issuer(&self) -> String {
        format!("{}://127.0.0.1:{}", self.wire.scheme(), self.port)
    }

    /// Starts it and waits until it answers. It has forgotten everything that it knew before.
    pub(crate) async fn start(&mut self) {
        let mut command = process::tool("node");
        command.arg(process::neighbours().join("provider.mjs")).arg(self.settings.to_string());
        // For what it sends to the gate through an edge.
        command.env("NODE_EXTRA_CA_CERTS", self.dir.join("ca.pem"));
        let (dir, discovery) = (self.dir.clone(), format!("{}/.well-known/openid-configuration", self.issuer()));
        let process = self.process.insert(Process::start("provider", &mut command, &dir));
        process.until(|| visitor::routes(&dir, &discovery)).await;
    }

    /// Has it do one of the things below `/test/`, such as `slow?seconds=3`, and gives what it has counted so far.
    pub(crate) async fn steer(&self, what: &str) -> Value {
        let request = Request::get(format!("{}/test/{what}", self.issuer())).body(Full::default()).unwrap();
        let tls = (self.wire == Wire::Tls).then(|| tls::client(&self.dir));
        visitor::exchange(request, tls.as_ref()).await.expect("the provider listens").json()
    }

    /// How many refresh tokens it has redeemed.
    pub(crate) async fn refreshes(&self) -> u64 {
        self.steer("grants").await["refresh_token"].as_u64().unwrap_or_default()
    }

    /// How many refresh tokens of somebody it would still redeem.
    pub(crate) async fn redeemable(&self, user: &str) -> u64 {
        self.steer("grants").await["redeemable"][user].as_u64().unwrap_or_default()
    }

    /// How often its token endpoint was asked, answered or not.
    pub(crate) async fn asked(&self) -> usize {
        self.steer("grants").await["asked"].as_array().map_or(0, Vec::len)
    }

    /// Ends it at once.
    pub(crate) async fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::Kill);
            process.ended().await;
        }
    }
}
