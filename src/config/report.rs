//! What `doorward check` prints: every value in force and its origin, or every complaint.

use std::{fmt::Write as _, str::FromStr};

use serde_json::{Value, json};

use super::{Complaint, Complaints, Config, Effective, Origin};

/// The report for people: one line a value and one block a warning, or one block an error.
#[must_use]
pub fn report_text(result: &Result<Config, Complaints>) -> String {
    let mut text = String::new();
    match result {
        Ok(config) => {
            for Effective { key, value, origin, .. } in &config.effective {
                let kind = if matches!(origin, Origin::Environment(_)) { "environment " } else { "" };
                let _ = writeln!(text, "{key} = {value}  # {kind}{origin}");
            }
            for warning in &config.warnings {
                let _ = write!(text, "\n{warning}\n");
            }
            let _ = writeln!(text, "\nThe configuration is valid; its hash is {}.", config.hash);
        }
        Err(complaints) => {
            let number = complaints.0.len();
            let noun = if number == 1 { "error" } else { "errors" };
            let _ = writeln!(text, "{complaints}\n\n{number} {noun}.");
        }
    }
    text
}

/// The report for programs: one JSON object with `ok`, `hash`, `values`, `warnings` and `errors`.
#[must_use]
pub fn report_json(result: &Result<Config, Complaints>) -> Value {
    match result {
        Ok(config) => json!({
            "ok": true,
            "hash": config.hash,
            "values": config.effective.iter().map(value).collect::<Vec<_>>(),
            "warnings": config.warnings.iter().map(complaint).collect::<Vec<_>>(),
            "errors": [],
        }),
        Err(complaints) => json!({
            "ok": false,
            "values": [],
            "warnings": [],
            "errors": complaints.0.iter().map(complaint).collect::<Vec<_>>(),
        }),
    }
}

fn value(effective: &Effective) -> Value {
    // Asterisks are no TOML, and go out as the text that they are.
    let value = toml::Value::from_str(&effective.value).ok().and_then(|value| serde_json::to_value(value).ok());
    let value = value.unwrap_or_else(|| Value::from(effective.value.as_str()));
    json!({ "key": effective.key, "value": value, "origin": origin(&effective.origin) })
}

fn complaint(complaint: &Complaint) -> Value {
    json!({
        "key": complaint.key,
        "origin": origin(&complaint.origin),
        "problem": complaint.problem,
        "hint": complaint.hint,
    })
}

fn origin(origin: &Origin) -> Value {
    match origin {
        Origin::File(path, line) => json!({ "kind": "file", "file": path.display().to_string(), "line": line }),
        Origin::Environment(variable) => json!({ "kind": "environment", "variable": variable }),
        Origin::SecretFile(path) => json!({ "kind": "secret_file", "file": path.display().to_string() }),
        Origin::Default => json!({ "kind": "default" }),
    }
}
