//! The configuration: default < file < environment, validated as a whole, with every diagnostic at once.
//!
//! It sits above the modules that it configures and makes their `Settings`; none of them imports it. The path of a value:
//! `source` finds the text, `tree` parses it, `environment` puts the variables on top, `shape` checks it against the
//! `schema` and fills in defaults, `validate` turns it into settings. Every mistake on the way becomes a `Diagnostic`.

mod diagnostic;
mod diff;
mod effective;
mod environment;
mod files;
mod reader;
mod reference;
mod report;
mod schema;
mod shape;
mod source;
mod suggest;
#[cfg(test)]
mod tests;
mod tree;
mod validate;
mod variable;
mod watcher;

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use self::files::SourceFiles;
pub use self::{
    diagnostic::{Diagnostic, Diagnostics, Origin, Severity},
    diff::ConfigDiff,
    effective::EffectiveValue,
    environment::Environment,
    reference::reference,
    report::{report_json, report_text},
    source::{ConfigFile, process_environment},
    watcher::ConfigWatcher,
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

/// Loads and validates the configuration: `file`, else `$DOORWARD_CONFIG`, else `./doorward.toml`, else
/// `/etc/doorward/doorward.toml`; then the environment on top.
pub fn load(file: Option<&Path>) -> Result<Config, Diagnostics> {
    read(&mut file.map(ToOwned::to_owned), &mut SourceFiles::default())
}

/// Loads and validates a given text and given variables. Reads only the files that they name.
pub fn load_from(source: Option<&ConfigFile>, environment: &Environment) -> Result<Config, Diagnostics> {
    assemble(source, environment, &mut SourceFiles::default())
}

/// Loads the configuration. Records in `files` every file that was read, even where it fails, and in `file` the path at
/// which the configuration file was found.
fn read(file: &mut Option<PathBuf>, files: &mut SourceFiles) -> Result<Config, Diagnostics> {
    let environment = process_environment()?;
    let source = source::find(file.as_deref(), &environment, files)?;
    if let Some(source) = &source {
        *file = Some(source.path.clone());
    }
    assemble(source.as_ref(), &environment, files)
}

fn assemble(
    source: Option<&ConfigFile>,
    environment: &Environment,
    files: &mut SourceFiles,
) -> Result<Config, Diagnostics> {
    let mut root = match source {
        Some(source) => tree::parse(&source.path, &source.text).map_err(sorted)?,
        None => tree::Node::table(Origin::Default),
    };
    let mut diagnostics = environment::overlay(&mut root, environment);
    diagnostics.extend(shape::complete(&mut root));
    let (config, more) = validate::settings(&root, environment, files);
    diagnostics.extend(more);
    let (warnings, errors): (Vec<_>, Vec<_>) =
        diagnostics.into_iter().partition(|diagnostic| diagnostic.severity == Severity::Warning);
    match config {
        Some(config) if errors.is_empty() => Ok(Config { warnings: sorted(warnings).0, ..config }),
        _ => Err(sorted(errors)),
    }
}

fn sorted(mut diagnostics: Vec<Diagnostic>) -> Diagnostics {
    diagnostics.sort_by(|one, other| one.origin.cmp(&other.origin));
    Diagnostics(diagnostics)
}
