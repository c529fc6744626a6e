//! The certified provider of `tests/neighbours/provider.mjs`, as a process.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    ports,
    process::{self, Process, Signal},
    visitor,
};

/// The provider's client secret for the gate.
pub(crate) const CLIENT_SECRET: &str = "the-secret-of-one-test-and-no-other";

/// A provider, running or away. Its address stays the same.
pub(crate) struct Provider {
    /// Where it listens.
    pub(crate) port: u16,
    settings: Value,
    process: Option<Process>,
}

impl Provider {
    /// A provider that knows the gate at these origins; not yet started. `more` is put over its settings.
    pub(crate) fn new(origins: &[String], more: &Value) -> Self {
        let port = ports::free();
        let at = |path: &str| origins.iter().map(|origin| format!("{origin}/_doorward/{path}")).collect::<Vec<_>>();
        let mut settings = json!({
            "port": port,
            "client_secret": CLIENT_SECRET,
            "redirect_uris": at("callback"),
            "post_logout_redirect_uris": at("signed_out"),
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            settings[key] = value.clone();
        }
        Self { port, settings, process: None }
    }

    /// Where it is.
    pub(crate) fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts it and waits until it answers. It has forgotten everything that it knew before.
    pub(crate) async fn start(&mut self, dir: &Path) {
        let mut command = process::tool("node");
        command.arg(process::neighbours().join("provider.mjs")).arg(self.settings.to_string());
        let discovery = format!("{}/.well-known/openid-configuration", self.issuer());
        let process = self.process.insert(Process::start("provider", &mut command, dir));
        process.until(|| visitor::answers(&discovery)).await;
    }

    /// Ends it at once.
    pub(crate) async fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::Kill);
            process.ended().await;
        }
    }
}
