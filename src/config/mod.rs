//! The configuration: default < file < environment, validated as a whole, with every diagnostic at once.
//!
//! It sits above the modules that it configures and makes their `Settings`; none of them imports it. The path of a value:
//! `source` finds the text, `tree` parses it, `environment` puts the variables on top, `shape` checks it against the
//! `schema` and fills in defaults, `known_providers` those that depend on the issuer, `validate` turns it into settings.
//! Every mistake on the way becomes a `Diagnostic`.

mod client_addresses;
mod diagnostic;
mod diff;
mod effective;
mod environment;
mod files;
mod known_providers;
mod load;
mod reader;
mod reference;
mod report;
mod schema;
mod settings;
mod shape;
mod source;
mod suggest;
#[cfg(test)]
mod tests;
mod tree;
mod validate;
mod variable;
mod watcher;

pub use self::{
    diagnostic::{Diagnostic, Diagnostics, Origin, Severity},
    diff::ConfigDiff,
    effective::EffectiveValue,
    environment::Environment,
    load::{load, load_from},
    reference::reference,
    report::{report_json, report_text},
    settings::{Config, Log, LogFormat},
    source::{ConfigFile, process_environment},
    watcher::ConfigWatcher,
};
