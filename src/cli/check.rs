//! `doorward check`: validates the configuration and prints the values in force.
//!
//! It reads only the files that the configuration names. While a secret is being rotated, it queries the store as well,
//! which alone knows when the old secret can be removed.

use std::{path::Path, process::ExitCode};

use serde_json::{Value, json};

use super::{
    output::print_status,
    printable::{escaped_except_newlines, escaped_json},
    serve, sessions,
};
use crate::{
    config::{self, Config},
    session::{Backend, RotationStatus},
};

/// Format of the report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ReportFormat {
    /// Human-readable text.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// Prints every value in force with its origin, or every error. Fails if there is an error.
#[must_use]
pub fn run(file: Option<&Path>, format: ReportFormat) -> ExitCode {
    let result = config::load(file);
    let rotation = result.as_ref().ok().and_then(rotation);
    let report = match format {
        ReportFormat::Text => config::report_text(&result) + &rotation.as_ref().map(rotation_text).unwrap_or_default(),
        ReportFormat::Json => {
            let mut report = config::report_json(&result);
            report.as_object_mut().map(|report| report.insert("rotation".to_owned(), rotation_json(rotation.as_ref())));
            format!("{report:#}\n")
        }
    };
    let printed = print_status(&match format {
        ReportFormat::Text => escaped_except_newlines(&report),
        ReportFormat::Json => escaped_json(&report),
    });
    if result.is_ok() { printed } else { ExitCode::FAILURE }
}

/// Returns the status of a rotation, or `None` if none is in progress. An unavailable store is no error of the
/// configuration.
fn rotation(config: &Config) -> Option<anyhow::Result<RotationStatus>> {
    let is_rotating = config.secrets.len() > 1 && config.session.backend != Backend::Memory;
    is_rotating
        .then(|| serve::block_on(async { Ok(sessions::register(config.clone()).await?.rotation_status().await?) }))
}

fn rotation_text(rotation: &anyhow::Result<RotationStatus>) -> String {
    match rotation {
        Ok(RotationStatus { older: 0, unknown: 0, .. }) => {
            "The first secret has sealed every row: when every replica runs with these secrets, the others can be dropped.\n"
                .to_owned()
        }
        Ok(RotationStatus { older, unknown, .. }) => format!(
            "Not by the first secret are sealed: {older} rows of another one in the list, which must stay until the gate has \
             sealed them anew; {unknown} rows of secrets that are not in the list, which nobody can open.\n"
        ),
        Err(error) => format!("Whether older secrets can be dropped is not known: {error:#}\n"),
    }
}

fn rotation_json(rotation: Option<&anyhow::Result<RotationStatus>>) -> Value {
    match rotation {
        None => Value::Null,
        Some(Ok(RotationStatus { older, unknown, .. })) => json!({ "older": older, "unknown": unknown }),
        Some(Err(error)) => json!({ "unavailable": format!("{error:#}") }),
    }
}
