//! The certified provider in `tests/neighbours/provider.mjs` as a process.

use std::path::{Path, PathBuf};

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use super::{
    Transport, ports,
    process::{self, Process, Signal},
    tls, visitor,
};

/// The provider's client secret for the gate.
pub(crate) const CLIENT_SECRET: &str = "the-secret-of-one-test-and-no-other";

/// A provider, running or stopped. Its address stays the same.
pub(crate) struct Provider {
    /// Port.
    pub(crate) port: u16,
    /// Transport.
    pub(crate) wire: Transport,
    dir: PathBuf,
    settings: Value,
    process: Option<Process>,
}

impl Provider {
    /// A provider with the gate registered at these origins, not yet started. `more` overrides its settings; with
    /// `"tls": true` it uses the certificate in `dir`, with `"outpost": true` it knows the addresses of an outpost alone, with `"oauth2_proxy": true` those
    /// of that gate.
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
        // As they are registered for other gates: no other address is accepted.
        let (outpost, oauth2_proxy) = (settings["outpost"] == json!(true), settings["oauth2_proxy"] == json!(true));
        if outpost || oauth2_proxy {
            let (prefix, callback) = if outpost {
                ("outpost.goauthentik.io", "callback?X-authentik-auth-callback=true")
            } else {
                ("oauth2", "callback")
            };
            let below = |path: &str| origins.iter().map(|origin| format!("{origin}/{prefix}/{path}")).collect();
            settings["redirect_uris"] = below(callback);
            settings["post_logout_redirect_uris"] = below("signed_out");
        }
        let mut wire = Transport::Plain;
        if settings["tls"] == json!(true) {
            settings["tls"] = json!({ "cert": dir.join("tls.pem"), "key": dir.join("tls.key") });
            wire = Transport::Tls;
        }
        Self { port, wire, dir: dir.to_owned(), settings, process: None }
    }

    /// Issuer identifier.
    pub(crate) fn issuer(&self) -> String {
        format!("{}://127.0.0.1:{}", self.wire.scheme(), self.port)
    }

    /// Starts it without any state and waits until it responds.
    pub(crate) async fn start(&mut self) {
        let mut command = process::tool("node");
        command.arg(process::neighbours().join("provider.mjs")).arg(self.settings.to_string());
        // For back-channel logout to the gate through an edge.
        command.env("NODE_EXTRA_CA_CERTS", self.dir.join("ca.pem"));
        let (dir, discovery) = (self.dir.clone(), format!("{}/.well-known/openid-configuration", self.issuer()));
        let process = self.process.insert(Process::start("provider", &mut command, &dir));
        process.until(|| visitor::routes(&dir, &discovery)).await;
    }

    /// Calls one of its test endpoints below `/test/`, such as `slow?seconds=3`, and returns its counters.
    pub(crate) async fn control(&self, what: &str) -> Value {
        let request = Request::get(format!("{}/test/{what}", self.issuer())).body(Full::default()).unwrap();
        let tls = (self.wire == Transport::Tls).then(|| tls::client(&self.dir));
        visitor::exchange(request, tls.as_ref()).await.expect("the provider listens").json()
    }

    /// Returns the number of redeemed refresh tokens.
    pub(crate) async fn refreshes(&self) -> u64 {
        self.control("grants").await["refresh_token"].as_u64().unwrap_or_default()
    }

    /// Returns the number of valid refresh tokens of a user.
    pub(crate) async fn redeemable(&self, user: &str) -> u64 {
        self.control("grants").await["redeemable"][user].as_u64().unwrap_or_default()
    }

    /// Returns the number of token requests, answered or not.
    pub(crate) async fn token_requests(&self) -> usize {
        self.control("grants").await["asked"].as_array().map_or(0, Vec::len)
    }

    /// Kills it.
    pub(crate) async fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::Kill);
            process.exited().await;
        }
    }
}
