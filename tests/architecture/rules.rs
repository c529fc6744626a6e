//! The rules that the source is held to. Each returns what breaks it, by file.

use std::collections::{BTreeMap, BTreeSet};

use super::{FLOORS, WALL, circles::Circles, source::Tree};

/// The one file that lets in.
const GRANTING: &str = "flow/check.rs";

fn floors() -> BTreeMap<&'static str, u8> {
    FLOORS.iter().flat_map(|(floor, modules)| modules.iter().map(|module| (*module, *floor))).collect()
}

/// The tree is read as the compiler reads it.
pub(crate) fn everything_is_read(tree: &Tree) -> Vec<String> {
    let gone = (tree.sources.len() <= 30).then(|| "the source has gone missing".to_owned());
    tree.unreadable.iter().cloned().chain(gone).collect()
}

/// Imports point down only, and neighbours on a floor are strangers.
pub(crate) fn imports_point_down(tree: &Tree) -> Vec<String> {
    let floors = floors();
    let mut wrong = Vec::new();
    for (source, facts) in tree.production().filter(|(source, _)| source.top() != "lib") {
        let Some(own) = floors.get(source.top()) else { continue };
        for path in &facts.paths {
            let module = path.first().map_or("", String::as_str);
            match floors.get(module) {
                Some(_) if module == source.top() => {}
                Some(other) if other < own => {}
                Some(other) => {
                    wrong.push(format!("{} (floor {own}) imports {module} (floor {other})", source.name()));
                }
                None => wrong.push(format!("{} takes `{}` from the crate's root", source.name(), path.join("::"))),
            }
        }
    }
    wrong
}

/// Every module has a floor and is on the map of `lib.rs`, and the map shows no others.
pub(crate) fn every_module_has_a_floor(tree: &Tree) -> Vec<String> {
    let floors = floors();
    let there: BTreeSet<_> =
        tree.production().map(|(source, _)| source.top()).filter(|module| *module != "lib").collect();
    let homeless = there.iter().filter(|module| !floors.contains_key(**module));
    let missing = floors.keys().filter(|module| !there.contains(**module));
    let lib = tree.sources.iter().find(|source| source.top() == "lib").expect("there is a lib.rs");
    let hidden = floors.keys().filter(|module| **module != "main" && !lib.text.contains(&format!("pub mod {module};")));
    homeless
        .map(|module| format!("{module}: on which floor is it?"))
        .chain(missing.map(|module| format!("{module} has a floor and is not there")))
        .chain(hidden.map(|module| format!("{module} is not on the map")))
        .collect()
}

/// Every file says what it is.
pub(crate) fn every_file_says_what_it_is(tree: &Tree) -> Vec<String> {
    let silent = tree.sources.iter().filter(|source| !source.text.starts_with("//!"));
    silent.map(|source| format!("{} does not begin with //!", source.name())).collect()
}

/// No file has more production code than the wall is high.
pub(crate) fn no_file_grows_past_the_wall(tree: &Tree) -> Vec<String> {
    let long = tree.production().filter(|(_, facts)| facts.lines > WALL);
    long.map(|(source, facts)| {
        format!("{} has {} lines of production code, the wall is {WALL}", source.name(), facts.lines)
    })
    .collect()
}

/// `Admission::grant` is called once, nobody makes an `Admission` without it, and a verdict that lets in is made there only.
pub(crate) fn one_place_lets_in(tree: &Tree) -> Vec<String> {
    let (mut wrong, mut grants, mut verdicts) = (Vec::new(), 0, 0);
    for (source, facts) in tree.production() {
        let found = &facts.permissions;
        if source.name() == GRANTING {
            (grants, verdicts) = (found.grants, found.verdicts);
            continue;
        }
        let complaints = [
            (found.grants, "calls Admission::grant"),
            (found.verdicts, "makes a Verdict::Allow"),
            (found.literals, "makes an Admission without grant"),
        ];
        wrong.extend(
            complaints.iter().filter(|(many, _)| *many > 0).map(|(_, text)| format!("{} {text}", source.name())),
        );
    }
    if (grants, verdicts) != (1, 1) {
        wrong.push(format!("{GRANTING} calls Admission::grant {grants} times and makes {verdicts} verdicts with it"));
    }
    wrong
}

/// No two files import from each other, directly or round a ring. A module and those inside it are not held against each other.
pub(crate) fn no_files_form_a_circle(tree: &Tree) -> Vec<String> {
    Circles::of(tree).into_iter().map(|files| format!("a circle of files: {}", files.join(", "))).collect()
}

/// Type names that many modules may have, because the module is part of the name: `oidc::Error`, `server::Settings`.
const SHARED: &[&str] = &["Error", "Settings"];

/// A type's name says which type it is.
pub(crate) fn no_type_name_is_used_twice(tree: &Tree) -> Vec<String> {
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for source in &tree.sources {
        for name in source.types.iter().filter(|name| !SHARED.contains(&name.as_str())) {
            places.entry(name).or_default().push(source.name());
        }
    }
    let twice = places.into_iter().filter(|(_, files)| files.len() > 1);
    twice.map(|(name, files)| format!("{} types are called {name}: in {}", files.len(), files.join(", "))).collect()
}

/// Go to the definition of a type, and its methods are there.
pub(crate) fn methods_stand_with_their_types(tree: &Tree) -> Vec<String> {
    let elsewhere = tree.production().flat_map(|(source, facts)| {
        let name = source.name();
        facts.foreign_impls.iter().map(move |of| format!("{name} has methods of {of}, which is defined elsewhere"))
    });
    elsewhere.collect()
}

/// Secrets are exposed in at most five files, and ARCHITECTURE.md names each.
pub(crate) fn secrets_are_exposed_in_five_places(tree: &Tree) -> Vec<String> {
    let architecture = tree.architecture();
    let exposing = tree.production().filter(|(_, facts)| facts.exposes).map(|(source, _)| source.name());
    let exposing: Vec<_> = exposing.collect();
    let unnamed = exposing.iter().filter(|file| !architecture.contains(&format!("`src/{file}`")));
    let unnamed = unnamed.map(|file| format!("ARCHITECTURE.md does not say why src/{file} exposes a secret"));
    let crowd = (exposing.len() > 5).then(|| format!("more than five files expose secrets: {}", exposing.join(", ")));
    unnamed.chain(crowd).collect()
}

/// Every rule.
pub(crate) const ALL: &[fn(&Tree) -> Vec<String>] = &[
    everything_is_read,
    imports_point_down,
    every_module_has_a_floor,
    every_file_says_what_it_is,
    no_file_grows_past_the_wall,
    one_place_lets_in,
    no_files_form_a_circle,
    no_type_name_is_used_twice,
    methods_stand_with_their_types,
    secrets_are_exposed_in_five_places,
];
