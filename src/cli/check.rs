//! `doorward check`: is the configuration valid, and what is in force?
//!
//! It asks nobody but the files that the configuration names; `doctor` is for what is outside.

use std::{path::Path, process::ExitCode};

use crate::config;

/// How to print a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON object.
    Json,
}

/// Prints every value in force and where it came from, or every error. Fails where there is an error.
#[must_use]
pub fn run(file: Option<&Path>, format: Format) -> ExitCode {
    let result = config::load(file);
    let report = match format {
        Format::Text => config::report_text(&result),
        Format::Json => config::report_json(&result),
    };
    let printed = super::print(&report);
    if result.is_ok() { printed } else { ExitCode::FAILURE }
}
