//! Sources of the configuration: the file, wherever it is found, and the variables of the process.
//!
//! The only place that reads the process environment.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use super::{
    diagnostic::{Diagnostic, Diagnostics, Origin, ValueError},
    environment::{Environment, sets_keys},
    files::SourceFiles,
    variable::{CONFIG_FILE, PREFIX},
};

/// Paths that are tried in this order when no file is named.
const DEFAULT_PATHS: [&str; 2] = ["doorward.toml", "/etc/doorward/doorward.toml"];

/// A configuration file that has been read.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// Path as diagnostics print it.
    pub path: PathBuf,
    /// Content.
    pub text: String,
}

/// Reads the file to load: the one that is named, else `$DOORWARD_CONFIG`, else the first default path that exists.
/// Returns `None` where there is no file but the environment sets keys.
pub(super) fn find(
    named: Option<&Path>,
    environment: &Environment,
    files: &mut SourceFiles,
) -> Result<Option<ConfigFile>, Diagnostics> {
    if let Some(path) = named {
        return read(path, &Origin::Default, files).map(Some);
    }
    if let Some(path) = environment.get(CONFIG_FILE) {
        return read(Path::new(path), &Origin::Environment(CONFIG_FILE.to_owned()), files).map(Some);
    }
    for path in DEFAULT_PATHS.map(Path::new) {
        // An unreadable file is an error rather than skipped: loading the next one would be a surprise.
        match path.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => files.record_missing(path),
            _ => return read(path, &Origin::Default, files).map(Some),
        }
    }
    if sets_keys(environment) { Ok(None) } else { Err(nothing_found().into()) }
}

fn read(path: &Path, named_by: &Origin, files: &mut SourceFiles) -> Result<ConfigFile, Diagnostics> {
    let content = files.read(path);
    match content.and_then(|content| String::from_utf8(content).map_err(|_| io::Error::other("it is not UTF-8"))) {
        Ok(text) => Ok(ConfigFile { path: path.to_owned(), text }),
        Err(error) => {
            let problem = format!("the configuration {} cannot be read: {error}", path.display());
            Err(ValueError::new(problem, "name a file of UTF-8 text that is there and that the gate may read")
                .at("", named_by)
                .into())
        }
    }
}

fn nothing_found() -> Diagnostic {
    let places = DEFAULT_PATHS.join(" and ");
    ValueError::new(
        format!("there is no configuration: no --config, no {CONFIG_FILE}, and nothing at {places}"),
        "begin with a copy of config/minimal.toml, or see the gate at work with `doorward demo`",
    )
    .at("", &Origin::Default)
}

/// Returns the variables of the process. One of ours that is not UTF-8 is an error; others that are not are left out.
pub fn process_environment() -> Result<Environment, Diagnostics> {
    let mut environment = Environment::new();
    let mut diagnostics = Vec::new();
    // `vars` would panic at any variable that is not UTF-8, ours or not.
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => drop(environment.insert(name, value)),
            Err(_) if name.starts_with(PREFIX) => {
                diagnostics
                    .push(ValueError::new("the value is not UTF-8", "set it anew").at("", &Origin::Environment(name)));
            }
            Err(_) => {}
        }
    }
    if diagnostics.is_empty() { Ok(environment) } else { Err(Diagnostics(diagnostics)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_file_has_to_be_there() {
        for (named, environment) in [
            (Some(Path::new("/does/not/exist.toml")), Environment::new()),
            (None, Environment::from([(CONFIG_FILE.to_owned(), "/does/not/exist.toml".to_owned())])),
        ] {
            let diagnostics = find(named, &environment, &mut SourceFiles::default()).err().unwrap().to_string();
            assert!(diagnostics.contains("/does/not/exist.toml cannot be read: No such file"), "{diagnostics}");
        }
    }

    #[test]
    fn the_named_file_wins_over_the_variable() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let environment = Environment::from([(CONFIG_FILE.to_owned(), "/does/not/exist.toml".to_owned())]);
        assert_eq!(
            find(Some(file.path()), &environment, &mut SourceFiles::default()).unwrap().unwrap().path,
            file.path()
        );
    }

    #[test]
    fn without_any_file_the_default_paths_and_a_way_to_begin_are_named() {
        // Tests run in the project's root, on a machine without a gate: there is no file at the default paths.
        let diagnostic = find(None, &Environment::new(), &mut SourceFiles::default()).err().unwrap().to_string();
        for expected in [
            "--config",
            CONFIG_FILE,
            "doorward.toml",
            "/etc/doorward/doorward.toml",
            "doorward demo",
            "config/minimal.toml",
        ] {
            assert!(diagnostic.contains(expected), "{diagnostic}");
        }
    }

    #[test]
    fn the_environment_alone_is_enough() {
        let environment = Environment::from([("DOORWARD_STORE__URL".to_owned(), "memory:".to_owned())]);
        assert!(find(None, &environment, &mut SourceFiles::default()).unwrap().is_none());
    }
}
