//! Configurations of other gates, each with the expected output beside it, which the real validators take.

use std::path::Path;

use super::{imported::Imported, *};
use crate::config::{self, ConfigFile, Environment};

/// Variable with which the expected outputs are written anew.
const WRITE: &str = "DOORWARD_WRITE_IMPORTS";

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import/authentik")
}

fn imported(name: &str) -> Imported {
    let text = fs::read_to_string(folder().join(name)).unwrap();
    authentik::import(&[ImportFile { name: name.to_owned(), text }]).unwrap_or_else(|error| panic!("{name}: {error}"))
}

const INPUTS: [&str; 4] = ["forward_single.json", "forward_domain.json", "proxy.json", "pages.json"];

#[test]
fn every_configuration_is_written_as_expected_and_is_valid() {
    let secrets = tempfile::tempdir().unwrap();
    let is_writing = std::env::vars_os().any(|(name, _)| name == WRITE);
    for name in INPUTS {
        let written = written::write(&imported(name));
        let expected = folder().join(name).with_extension("toml");
        if is_writing {
            fs::write(&expected, &written).unwrap();
        }
        assert_eq!(written, fs::read_to_string(&expected).unwrap(), "{name}: set {WRITE}=1 to write it anew");
        for hidden in ["secret-of", "cookie-secret"] {
            assert!(!written.contains(hidden), "{name}");
        }
        let folder = format!("{}/", secrets.path().display());
        for part in written.split("file = \"/run/secrets/").skip(1) {
            let file = part.split('"').next().unwrap();
            fs::write(secrets.path().join(file), "0123456789abcdefghijklmnopqrstuvwxyz").unwrap();
        }
        let text = written.replace("/run/secrets/", &folder);
        let source = ConfigFile { path: expected, text };
        let result = config::load_from(Some(&source), &Environment::new());
        assert!(result.is_ok(), "{name}:\n{}", config::report_text(&result));
    }
}
