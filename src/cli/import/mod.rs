//! `doorward import`: a configuration made from that of another gate.
//!
//! Promises: nothing is asked of anybody and nothing is changed; no secret is printed; what the other gate did not open is
//! not opened; and what has no equal stands as a comment that says what to do instead.

mod authentik;
mod expression;
mod imported;
mod toml_text;
mod written;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;

use super::{
    output::print_status,
    printable::{escaped, escaped_except_newlines},
};

/// Length limit of a file that is read, in bytes.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// Subcommands of `doorward import`.
#[derive(Debug, Subcommand)]
pub(super) enum ImportCommand {
    /// Write a configuration from the proxy providers that authentik lists at /api/v3/outposts/proxy/
    Authentik {
        /// The answer as JSON: a page, a list, or several of them one after another
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
}

/// Text of a file, and the name that messages call it by.
#[derive(Debug)]
struct ImportFile {
    name: String,
    text: String,
}

/// Error that leaves nothing to write.
#[derive(Debug, thiserror::Error)]
enum ImportError {
    /// A file cannot be read.
    #[error("{0} cannot be read: {1}")]
    Unreadable(String, String),
    /// A file is in a format that is not read.
    #[error("{0}: {1}")]
    Format(String, String),
    /// A value that everything depends on is missing.
    #[error("{0}")]
    Incomplete(String),
}

/// Writes the configuration on standard output, warnings on standard error.
pub(super) fn run(command: &ImportCommand) -> ExitCode {
    let imported = match command {
        ImportCommand::Authentik { files } => read_all(files).and_then(|files| authentik::import(&files)),
    };
    match imported {
        Ok(imported) => {
            for warning in &imported.warnings {
                eprintln!("warning: {}", escaped(warning));
            }
            print_status(&escaped_except_newlines(&written::write(&imported)))
        }
        Err(error) => {
            eprintln!("error: {}", escaped(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

fn read_all(paths: &[PathBuf]) -> Result<Vec<ImportFile>, ImportError> {
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Result<ImportFile, ImportError> {
    let name = path.display().to_string();
    let unreadable = |problem: String| ImportError::Unreadable(name.clone(), problem);
    let length = fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if length > MAX_FILE {
        return Err(unreadable(format!("it is longer than {} MiB", MAX_FILE / 1024 / 1024)));
    }
    let text = fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    // Editors on Windows write one.
    let text = text.strip_prefix('\u{feff}').map_or_else(|| text.clone(), ToOwned::to_owned);
    Ok(ImportFile { name, text })
}

#[cfg(test)]
mod tests;
