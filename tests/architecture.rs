//! Holds the source to the house's floors: imports point down only, neighbours do not know each other, every file says
//! what it is, none grows past the wall, and one place lets in.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Every module and its floor. A module that is not here is a failure: decide where it belongs.
const FLOORS: &[(u8, &[&str])] = &[
    (9, &["main"]),
    (8, &["cli"]),
    (7, &["app"]),
    (6, &["config"]),
    (5, &["server"]),
    (4, &["flow"]),
    (3, &["session", "oidc", "pages"]),
    (2, &["edge", "policy"]),
    (1, &["crypto", "identity", "metrics"]),
    (0, &["cookie", "host", "clock", "failure", "shutdown"]),
];

/// Lines of production code that a file may have: those before its test module.
const WALL: usize = 400;

struct Source {
    path: PathBuf,
    module: String,
    production: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files below a folder, and what is in them.
fn files(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        // What the neighbours bring is not ours.
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| !path.is_symlink()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found
}

fn sources() -> Vec<Source> {
    let source = |(path, text): (PathBuf, String)| {
        let inside = path.strip_prefix(root().join("src")).unwrap().to_owned();
        let module = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let production = text.split("\n#[cfg(test)]").next().unwrap().to_owned();
        Source { path: inside, module, production }
    };
    let found: Vec<_> = files("src").into_iter().map(source).collect();
    assert!(found.len() > 30, "the source has gone missing");
    found
}

fn is_test(source: &Source) -> bool {
    source.path.iter().any(|part| part == "tests.rs" || part == "tests")
}

fn floors() -> BTreeMap<&'static str, u8> {
    FLOORS.iter().flat_map(|(floor, modules)| modules.iter().map(|module| (*module, *floor))).collect()
}

/// The modules of the crate that a text imports: `crate::x`, also inside `use crate::{x, y::z}`.
fn imports(text: &str) -> Vec<String> {
    let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => found.push(word(rest)),
            Some(group) => {
                let (mut depth, mut start) = (0usize, true);
                for (at, letter) in group.char_indices() {
                    match letter {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        letter if start && letter.is_alphabetic() => {
                            found.push(word(&group[at..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    found
}

fn word(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

#[test]
fn imports_are_read_as_they_are_written() {
    let text =
        "use crate::{\n    a::{b, c},\n    d,\n};\nuse crate::e::f;\nlet x = crate::g::h();\n// crate::ignored\n";
    assert_eq!(imports(text), ["a", "d", "e", "g"]);
}

#[test]
fn imports_point_down_and_neighbours_are_strangers() {
    let floors = floors();
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.module != "lib") {
        let own =
            *floors.get(source.module.as_str()).unwrap_or_else(|| panic!("{}: on which floor is it?", source.module));
        for module in imports(&source.production) {
            let Some(other) = floors.get(module.as_str()) else { continue };
            if module != source.module && *other >= own {
                wrong.push(format!("{} (floor {own}) imports {module} (floor {other})", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_and_stays_below_the_wall() {
    let mut wrong = Vec::new();
    for source in sources() {
        if !source.production.starts_with("//!") {
            wrong.push(format!("{} does not begin with //!", source.path.display()));
        }
        let lines = source.production.lines().count();
        if lines > WALL && !is_test(&source) {
            wrong.push(format!("{} has {lines} lines of production code, the wall is {WALL}", source.path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Occurrences of a text in production code, by file.
fn places(text: &str) -> Vec<String> {
    sources()
        .iter()
        .filter(|source| !is_test(source))
        .flat_map(|source| {
            let code = source.production.lines().filter(|line| !line.trim_start().starts_with("//"));
            let many = code.filter(|line| line.contains(text)).count();
            std::iter::repeat_n(source.path.display().to_string(), many)
        })
        .collect()
}

#[test]
fn one_place_lets_in() {
    assert_eq!(places("Admission::grant("), ["flow/check.rs"]);
    assert_eq!(places("Verdict::Allow(Admission"), ["flow/check.rs"]);
}

#[test]
fn secrets_are_exposed_in_at_most_five_places() {
    let places = places("expose_secret");
    let architecture = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).unwrap();
    let mut files = places.clone();
    files.dedup();
    assert!(files.len() <= 5, "{files:?}");
    for file in files {
        assert!(
            architecture.contains(&format!("`src/{file}`")),
            "ARCHITECTURE.md does not say why src/{file} exposes a secret"
        );
    }
}

#[test]
fn every_test_that_the_architecture_cites_is_there() {
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let code: String = ["src", "tests"].iter().flat_map(|folder| files(folder)).map(|(_, text)| text).collect();
    let is_sentence =
        |word: &&str| word.matches('_').count() > 4 && word.bytes().all(|b| b == b'_' || b.is_ascii_lowercase());
    let cited: Vec<_> = architecture.split('`').filter(is_sentence).collect();
    assert!(cited.len() > 15, "{cited:?}");
    for test in cited {
        assert!(code.contains(&format!("fn {test}(")), "ARCHITECTURE.md cites {test}, which is not there");
    }
}

#[test]
fn the_map_lists_every_module() {
    let map = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    for (module, floor) in floors() {
        assert!(
            module == "main" || map.contains(&format!("pub mod {module};")),
            "{module} (floor {floor}) is not on the map"
        );
    }
}
