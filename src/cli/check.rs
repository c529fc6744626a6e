//! `doorward check`: is the configuration valid, and what is in force?
//!
//! It asks nobody but the files that the configuration names; `doctor` is for what is outside. Only while a secret is being
//! rotated it asks the store as well, because nothing else knows when the old one can be dropped.

use std::{path::Path, process::ExitCode};

use serde_json::{Value, json};

use super::{
    printable::{escaped_but_for_lines, escaped_json},
    serve, sessions,
};
use crate::{
    config::{self, Config},
    session::{Backend, RotationStatus},
};

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
    let rotation = result.as_ref().ok().and_then(rotation);
    let report = match format {
        Format::Text => config::report_text(&result) + &rotation.as_ref().map(in_words).unwrap_or_default(),
        Format::Json => {
            let mut report = config::report_json(&result);
            report.as_object_mut().map(|report| report.insert("rotation".to_owned(), in_numbers(rotation.as_ref())));
            format!("{report:#}\n")
        }
    };
    let printed = super::print(&match format {
        Format::Text => escaped_but_for_lines(&report),
        Format::Json => escaped_json(&report),
    });
    if result.is_ok() { printed } else { ExitCode::FAILURE }
}

/// What the store says of a rotation that is under way. That it says nothing is no fault of the configuration.
fn rotation(config: &Config) -> Option<anyhow::Result<RotationStatus>> {
    let under_way = config.secrets.len() > 1 && config.session.backend != Backend::Memory;
    under_way.then(|| serve::block_on(async { Ok(sessions::register(config.clone()).await?.rotation_status().await?) }))
}

fn in_words(rotation: &anyhow::Result<RotationStatus>) -> String {
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

fn in_numbers(rotation: Option<&anyhow::Result<RotationStatus>>) -> Value {
    match rotation {
        None => Value::Null,
        Some(Ok(RotationStatus { older, unknown, .. })) => json!({ "older": older, "unknown": unknown }),
        Some(Err(error)) => json!({ "unavailable": format!("{error:#}") }),
    }
}
