//! The report of `doorward check`: every value in force with its origin, or every error.

use std::{fmt::Write as _, str::FromStr};

use serde_json::{Value, json};

use super::{
    client_addresses::{self, ClientAddresses},
    diagnostic::{Diagnostic, Diagnostics, Origin},
    effective::EffectiveValue,
    settings::Config,
};

/// Returns the report as text: a line for each value, a block for each provider and each warning, or a block for each error.
#[must_use]
pub fn report_text(result: &Result<Config, Diagnostics>) -> String {
    let mut text = String::new();
    match result {
        Ok(config) => {
            for EffectiveValue { key, value, origin, .. } in &config.effective {
                let kind = if matches!(origin, Origin::Environment(_)) { "environment " } else { "" };
                let _ = writeln!(text, "{key} = {value}  # {kind}{origin}");
            }
            for addresses in client_addresses::list(config) {
                let _ = write!(text, "\n{}", addresses.text());
            }
            for warning in &config.warnings {
                let _ = write!(text, "\n{warning}\n");
            }
            let _ = writeln!(text, "\nThe configuration is valid; its hash is {}.", config.hash);
        }
        Err(diagnostics) => {
            let number = diagnostics.0.len();
            let noun = if number == 1 { "error" } else { "errors" };
            let _ = writeln!(text, "{diagnostics}\n\n{number} {noun}.");
        }
    }
    text
}

/// Returns the report as one JSON object with `ok`, `hash`, `values`, `register` (addresses for the providers), `warnings` and
/// `errors`.
#[must_use]
pub fn report_json(result: &Result<Config, Diagnostics>) -> Value {
    match result {
        Ok(config) => json!({
            "ok": true,
            "hash": config.hash,
            "values": config.effective.iter().map(value).collect::<Vec<_>>(),
            "register": client_addresses::list(config).iter().map(ClientAddresses::json).collect::<Vec<_>>(),
            "warnings": config.warnings.iter().map(diagnostic).collect::<Vec<_>>(),
            "errors": [],
        }),
        Err(diagnostics) => json!({
            "ok": false,
            "values": [],
            "register": [],
            "warnings": [],
            "errors": diagnostics.0.iter().map(diagnostic).collect::<Vec<_>>(),
        }),
    }
}

fn value(effective: &EffectiveValue) -> Value {
    // The mask of a secret is not TOML and is printed as a string.
    let value = toml::Value::from_str(&effective.value).ok().and_then(|value| serde_json::to_value(value).ok());
    let value = value.unwrap_or_else(|| Value::from(effective.value.as_str()));
    json!({ "key": effective.key, "value": value, "origin": origin(&effective.origin) })
}

fn diagnostic(diagnostic: &Diagnostic) -> Value {
    json!({
        "key": diagnostic.key,
        "origin": origin(&diagnostic.origin),
        "problem": diagnostic.problem,
        "hint": diagnostic.hint,
    })
}

fn origin(origin: &Origin) -> Value {
    match origin {
        Origin::File(path, line) => json!({ "kind": "file", "file": path.display().to_string(), "line": line }),
        Origin::Environment(variable) => json!({ "kind": "environment", "variable": variable }),
        Origin::SecretFile(path) => json!({ "kind": "secret_file", "file": path.display().to_string() }),
        Origin::Default => json!({ "kind": "default" }),
        Origin::DefaultFor(provider) => json!({ "kind": "default", "for": provider }),
    }
}
