//! Loading: from the file and the environment to a validated configuration or diagnostics.

use std::path::{Path, PathBuf};

use super::{
    diagnostic::{Diagnostic, Diagnostics, Origin, Severity},
    environment::{self, Environment},
    files::SourceFiles,
    known_providers,
    settings::Config,
    shape,
    source::{self, ConfigFile, process_environment},
    tree, validate,
};

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
pub(super) fn read(file: &mut Option<PathBuf>, files: &mut SourceFiles) -> Result<Config, Diagnostics> {
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
    known_providers::apply_defaults(&mut root);
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
