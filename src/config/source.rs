//! Where the configuration comes from: the file that is found and the variables of the process.
//!
//! The only place that reads the environment.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use super::{
    complaint::{Complaint, Complaints, Fault, Origin},
    environment::{CONFIG_FILE, Environment, PREFIX, sets_keys},
    files::Files,
};

/// Where a file is looked for when none is named.
const USUAL_PLACES: [&str; 2] = ["doorward.toml", "/etc/doorward/doorward.toml"];

/// A file that has been read.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path, as complaints name it.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// The file to load: the one that is named, else `$DOORWARD_CONFIG`, else the first of the usual places that exists.
/// `None` where there is no file but the environment sets keys.
pub(super) fn find(
    named: Option<&Path>,
    environment: &Environment,
    files: &mut Files,
) -> Result<Option<Source>, Complaints> {
    if let Some(path) = named {
        return read(path, &Origin::Default, files).map(Some);
    }
    if let Some(path) = environment.get(CONFIG_FILE) {
        return read(Path::new(path), &Origin::Environment(CONFIG_FILE.to_owned()), files).map(Some);
    }
    for path in USUAL_PLACES.map(Path::new) {
        // A file that is there and cannot be read is not skipped: the next one would be a surprise.
        match path.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => files.miss(path),
            _ => return read(path, &Origin::Default, files).map(Some),
        }
    }
    if sets_keys(environment) { Ok(None) } else { Err(nothing_found().into()) }
}

fn read(path: &Path, named_by: &Origin, files: &mut Files) -> Result<Source, Complaints> {
    let content = files.read(path);
    match content.and_then(|content| String::from_utf8(content).map_err(|_| io::Error::other("it is not UTF-8"))) {
        Ok(text) => Ok(Source { path: path.to_owned(), text }),
        Err(error) => {
            let problem = format!("the configuration {} cannot be read: {error}", path.display());
            Err(Fault::new(problem, "name a file of UTF-8 text that is there and that the gate may read")
                .at("", named_by)
                .into())
        }
    }
}

fn nothing_found() -> Complaint {
    let places = USUAL_PLACES.join(" and ");
    Fault::new(
        format!("there is no configuration: no --config, no {CONFIG_FILE}, and nothing at {places}"),
        "begin with a copy of config/minimal.toml, or see the gate at work with `doorward demo`",
    )
    .at("", &Origin::Default)
}

/// The variables of the process. One of ours that is not UTF-8 cannot be a value; others are left out.
pub fn process_environment() -> Result<Environment, Complaints> {
    let mut environment = Environment::new();
    let mut complaints = Vec::new();
    // `vars` would panic at somebody else's variable that is not UTF-8.
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => drop(environment.insert(name, value)),
            Err(_) if name.starts_with(PREFIX) => {
                complaints.push(Fault::new("the value is not UTF-8", "set it anew").at("", &Origin::Environment(name)));
            }
            Err(_) => {}
        }
    }
    if complaints.is_empty() { Ok(environment) } else { Err(Complaints(complaints)) }
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
            let complaints = find(named, &environment, &mut Files::default()).err().unwrap().to_string();
            assert!(complaints.contains("/does/not/exist.toml cannot be read: No such file"), "{complaints}");
        }
    }

    #[test]
    fn the_named_file_wins_over_the_variable() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let environment = Environment::from([(CONFIG_FILE.to_owned(), "/does/not/exist.toml".to_owned())]);
        assert_eq!(find(Some(file.path()), &environment, &mut Files::default()).unwrap().unwrap().path, file.path());
    }

    #[test]
    fn without_any_file_the_places_and_a_way_to_begin_are_named() {
        // The tests run in the project's root and not on a machine with a gate: there is no file at the usual places.
        let complaint = find(None, &Environment::new(), &mut Files::default()).err().unwrap().to_string();
        for expected in [
            "--config",
            CONFIG_FILE,
            "doorward.toml",
            "/etc/doorward/doorward.toml",
            "doorward demo",
            "config/minimal.toml",
        ] {
            assert!(complaint.contains(expected), "{complaint}");
        }
    }

    #[test]
    fn the_environment_alone_is_enough() {
        let environment = Environment::from([("DOORWARD_STORE__URL".to_owned(), "memory:".to_owned())]);
        assert!(find(None, &environment, &mut Files::default()).unwrap().is_none());
    }
}
