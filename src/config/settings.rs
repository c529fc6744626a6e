//! The validated configuration: the settings of every module, and the values that they come from.

use secrecy::SecretString;

use super::{
    diagnostic::Diagnostic,
    diff::{self, ConfigDiff},
    effective::EffectiveValue,
};
use crate::{flow, oidc, pages, policy, server, session};

/// A validated configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Settings of the listeners.
    pub server: server::Settings,
    /// Settings of the gate itself: prefix, trusted proxies, cookies.
    pub gate: flow::Settings,
    /// `session.secrets`: the first seals, all of them open. At least one, each of sufficient length.
    pub secrets: Vec<SecretString>,
    /// Session lifetimes and store.
    pub session: session::Settings,
    /// Providers in the order of the file; at least one.
    pub providers: Vec<oidc::Settings>,
    /// Apps and their rules.
    pub policy: policy::Settings,
    /// Appearance of the gate's pages.
    pub brand: pages::Settings,
    /// Logging.
    pub log: Log,
    /// Warnings: valid, but most likely not intended. Sorted by file and line.
    pub warnings: Vec<Diagnostic>,
    /// Every value in force with its origin, secrets masked, in the order of the reference page.
    pub effective: Vec<EffectiveValue>,
    /// Short hash of all values except secrets, for comparing replicas.
    pub hash: String,
}

impl Config {
    /// Returns the configuration that is in force when this one is reloaded into a process that runs with `running`: all
    /// of it except the keys that need a restart, which keep their value. Also returns the differences.
    #[must_use]
    pub fn reloaded_over(self, running: &Self) -> (Self, ConfigDiff) {
        let diff = ConfigDiff::between(&running.effective, &self.effective);
        let in_force = Self {
            server: running.server.clone(),
            session: session::Settings { backend: running.session.backend.clone(), ..self.session },
            log: Log { format: running.log.format, ..self.log },
            effective: diff::merge(&running.effective, &self.effective),
            ..self
        };
        (in_force, diff)
    }
}

/// Settings of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// Format of a line.
    pub format: LogFormat,
}

/// Format of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// Human-readable text.
    Text,
}
