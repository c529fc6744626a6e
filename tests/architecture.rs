//! Holds the source to the house's floors: imports point down only, neighbours do not know each other, every file says
//! what it is, none grows past the wall, one place lets in, no files form a circle, and names and comments say what they mean.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "architecture/circles.rs"]
mod circles;
#[path = "architecture/facts.rs"]
mod facts;
#[path = "architecture/paths.rs"]
mod paths;
#[path = "architecture/planted.rs"]
mod planted;
#[path = "architecture/rules.rs"]
mod rules;
#[path = "architecture/source.rs"]
mod source;
#[path = "architecture/words.rs"]
mod words;

use std::{fs, path::Path};

use self::source::Tree;

/// Every module and its floor. A module that is not here is a failure: decide where it belongs.
const FLOORS: &[(u8, &[&str])] = &[
    (9, &["main"]),
    (8, &["cli"]),
    (7, &["app"]),
    (6, &["config"]),
    (5, &["server"]),
    (4, &["flow"]),
    (3, &["session", "oidc", "upstream", "pages", "emergency"]),
    (2, &["edge", "policy"]),
    (1, &["crypto", "identity", "metrics"]),
    (0, &["client_tls", "cookie", "host", "clock", "shutdown"]),
];

/// Lines of production code that a file may have.
const WALL: usize = 400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn assert_kept(rule: fn(&Tree) -> Vec<String>) {
    let wrong = rule(&Tree::read(root()));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_is_read_whole() {
    assert_kept(rules::everything_is_read);
}

#[test]
fn imports_point_down_and_neighbours_are_strangers() {
    assert_kept(rules::imports_point_down);
}

#[test]
fn every_module_has_a_floor_and_is_on_the_map() {
    assert_kept(rules::every_module_has_a_floor);
}

#[test]
fn every_file_says_what_it_is_and_stays_below_the_wall() {
    assert_kept(rules::every_file_says_what_it_is);
    assert_kept(rules::no_file_grows_past_the_wall);
}

#[test]
fn one_place_lets_in() {
    assert_kept(rules::one_place_lets_in);
}

#[test]
fn no_files_form_a_circle() {
    assert_kept(rules::no_files_form_a_circle);
}

#[test]
fn no_type_name_is_used_twice() {
    assert_kept(rules::no_type_name_is_used_twice);
}

#[test]
fn methods_stand_with_their_types() {
    assert_kept(rules::methods_stand_with_their_types);
}

#[test]
fn secrets_are_exposed_in_at_most_five_places() {
    assert_kept(rules::secrets_are_exposed_in_five_places);
}

/// The texts of the Rust files below a folder.
fn texts(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        // What the neighbours bring is not ours.
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| !path.is_symlink()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

/// Words in backticks that are names of tests.
fn cited(page: &str) -> Vec<&str> {
    let is_sentence = |word: &&str| {
        word.matches('_').count() > 2
            && word.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    page.split('`').filter(is_sentence).collect()
}

#[test]
fn every_test_that_the_documents_cite_is_there() {
    let code: String = ["src", "tests"].iter().flat_map(|folder| texts(folder)).collect();
    for page in ["ARCHITECTURE.md", "docs/operations.md", "docs/security-model.md"] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let cited = cited(&text).into_iter().filter(|name| name.matches('_').count() > 4);
        // A metric is no test.
        let cited: Vec<_> = cited.filter(|name| !name.starts_with("doorward_")).collect();
        assert!(cited.len() > 5, "{page}: {cited:?}");
        for test in cited {
            assert!(code.contains(&format!("fn {test}(")), "{page} cites {test}, which is not there");
        }
    }
}

#[test]
fn every_attack_of_the_security_model_has_a_test() {
    let text = fs::read_to_string(root().join("docs/security-model.md")).unwrap();
    let (_, attacks) = text.split_once("## Attacks, and what stops each").unwrap();
    let (attacks, _) = attacks.split_once("## What the operator has to see to").unwrap();
    let rows: Vec<_> = attacks.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| attack")).collect();
    assert!(rows.len() > 40, "{}", rows.len());
    for row in rows {
        let proof = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        assert!(!cited(proof).is_empty(), "no test proves this row: {row}");
    }
}
