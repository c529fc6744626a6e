//! The configuration: default < file < environment, checked as a whole, every complaint at once.
//!
//! It sits above all that it configures and makes their `Settings`; none of them knows it.

use std::{fmt, path::Path};

use secrecy::SecretString;

use crate::{cookie::Transport, edge::TrustedProxies, oidc, pages, policy, server, session};

/// A configuration that has been checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The listeners.
    pub server: server::Settings,
    /// `server.prefix`: begins with a slash, never ends with one.
    pub prefix: String,
    /// `server.scheme`.
    pub transport: Transport,
    /// `server.trusted_proxies`.
    pub trusted_proxies: TrustedProxies,
    /// `session.secrets`: the first seals, all open. At least one, each long enough.
    pub secrets: Vec<SecretString>,
    /// `session.cookie_name`.
    pub cookie_name: String,
    /// `session.cookie_domain`.
    pub cookie_domain: Option<String>,
    /// `session.legacy_cookies`: names, with `*`, that `/reset` clears too.
    pub legacy_cookies: Vec<String>,
    /// Lifetimes and store.
    pub session: session::Settings,
    /// The providers in their order; at least one.
    pub providers: Vec<oidc::Settings>,
    /// The apps and rules.
    pub policy: policy::Settings,
    /// How pages look.
    pub brand: pages::Settings,
    /// Logging.
    pub log: Log,
    /// Every value in force and where it came from, secrets masked, in the order of the reference.
    pub effective: Vec<Effective>,
    /// A short hash of all values but the secrets, to tell replicas apart.
    pub hash: String,
}

/// How to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// The form of a line.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people.
    Text,
}

/// A value in force.
#[derive(Clone, Debug)]
pub struct Effective {
    /// Its key, such as `apps[0].hosts`.
    pub key: String,
    /// Its value as TOML, or asterisks.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// A file and the line in it.
    File(std::path::PathBuf, usize),
    /// An environment variable.
    Environment(String),
}

/// One complaint: what, where, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The key.
    pub key: String,
    /// Where it stands.
    pub origin: Origin,
    /// What is wrong.
    pub problem: String,
    /// How to mend it.
    pub hint: String,
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug)]
pub struct Complaints(pub Vec<Complaint>);

impl fmt::Display for Complaints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = &self.0;
        f.write_str("")
    }
}

impl std::error::Error for Complaints {}

/// Loads and checks the configuration: `file`, else `$DOORWARD_CONFIG`, else `./doorward.toml`, else
/// `/etc/doorward/doorward.toml`; then the environment on top.
pub fn load(file: Option<&Path>) -> Result<Config, Complaints> {
    let _ = file;
    Err(Complaints(Vec::new()))
}
