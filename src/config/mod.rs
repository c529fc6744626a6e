//! The configuration: default < file < environment, checked as a whole, every complaint at once.
//!
//! It sits above all that it configures and makes their `Settings`; none of them knows it. The way of a value: `source`
//! finds the text, `tree` reads it, `environment` puts the variables on top, `shape` holds it against the `schema`
//! and fills in defaults, `validate` makes settings of it. Whatever goes wrong on the way becomes a `Complaint`.

mod change;
mod complaint;
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
mod watch;

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use self::files::Files;
pub use self::{
    change::Difference,
    complaint::{Complaint, Complaints, Origin, Severity},
    effective::Effective,
    environment::Environment,
    reference::reference,
    report::{report_json, report_text},
    source::{Source, process_environment},
    watch::Watch,
};
use crate::{flow, oidc, pages, policy, server, session};

/// A configuration that has been checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The listeners.
    pub server: server::Settings,
    /// How the gate is reached, and what it leaves behind in browsers.
    pub gate: flow::Settings,
    /// `session.secrets`: the first seals, all open. At least one, each long enough.
    pub secrets: Vec<SecretString>,
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
    /// What is valid and most likely not meant, by file and line.
    pub warnings: Vec<Complaint>,
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

/// Loads and checks the configuration: `file`, else `$DOORWARD_CONFIG`, else `./doorward.toml`, else
/// `/etc/doorward/doorward.toml`; then the environment on top.
pub fn load(file: Option<&Path>) -> Result<Config, Complaints> {
    read(&mut file.map(ToOwned::to_owned), &mut Files::default())
}

/// The same for a text and variables at hand. Reads nothing but the files that they name.
pub fn load_from(source: Option<&Source>, environment: &Environment) -> Result<Config, Complaints> {
    made_of(source, environment, &mut Files::default())
}

/// Remembers what was read, be it a configuration or not, and where the file was found.
fn read(file: &mut Option<PathBuf>, files: &mut Files) -> Result<Config, Complaints> {
    let environment = process_environment()?;
    let source = source::find(file.as_deref(), &environment, files)?;
    if let Some(source) = &source {
        *file = Some(source.path.clone());
    }
    made_of(source.as_ref(), &environment, files)
}

fn made_of(source: Option<&Source>, environment: &Environment, files: &mut Files) -> Result<Config, Complaints> {
    let mut root = match source {
        Some(source) => tree::parse(&source.path, &source.text).map_err(sorted)?,
        None => tree::Node::table(Origin::Default),
    };
    let mut complaints = environment::overlay(&mut root, environment);
    complaints.extend(shape::complete(&mut root));
    let (config, more) = validate::settings(&root, environment, files);
    complaints.extend(more);
    let (warnings, errors): (Vec<_>, Vec<_>) =
        complaints.into_iter().partition(|complaint| complaint.severity == Severity::Warning);
    match config {
        Some(config) if errors.is_empty() => Ok(Config { warnings: sorted(warnings).0, ..config }),
        _ => Err(sorted(errors)),
    }
}

fn sorted(mut complaints: Vec<Complaint>) -> Complaints {
    complaints.sort_by(|one, other| one.origin.cmp(&other.origin));
    Complaints(complaints)
}
