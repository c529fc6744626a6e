//! The test of the test: a copy of the source in which one thing is wrong, and each is found, by name and alone.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{root, rules, source::Tree};

/// A copy of the source and of ARCHITECTURE.md that can be spoiled.
struct Spoilable(tempfile::TempDir);

impl Spoilable {
    fn new() -> Self {
        let copy = Self(tempfile::tempdir().unwrap());
        duplicate(&root().join("src"), &copy.path("src"));
        fs::copy(root().join("ARCHITECTURE.md"), copy.path("ARCHITECTURE.md")).unwrap();
        copy
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    /// Puts code behind the head of a file, as whoever is in a hurry does.
    fn plant(&self, path: &str, code: &str) {
        let path = &format!("src/{path}");
        let text = self.text(path);
        let head: usize = text.lines().take_while(|line| line.starts_with("//!")).map(|line| line.len() + 1).sum();
        self.write(path, &format!("{}\n{code}\n{}", &text[..head], &text[head..]));
    }

    fn replace(&self, path: &str, old: &str, new: &str) {
        let text = self.text(path);
        assert!(text.contains(old), "{path} holds no {old}");
        self.write(path, &text.replace(old, new));
    }

    fn complaints(&self) -> Vec<String> {
        let tree = Tree::read(self.0.path());
        rules::ALL.iter().flat_map(|rule| rule(&tree)).collect()
    }
}

fn duplicate(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            duplicate(&path, &to);
        } else {
            fs::copy(path, to).unwrap();
        }
    }
}

/// One thing that is done to a copy.
type Harm = fn(&Spoilable);

/// Asserts that each spoiled copy has one complaint, and that it is this one.
fn assert_found(spoiled: &[(Harm, &str)]) {
    for (spoil, expected) in spoiled {
        let copy = Spoilable::new();
        spoil(&copy);
        assert_eq!(copy.complaints(), [*expected]);
    }
}

#[test]
fn a_copy_of_the_source_has_nothing_wrong() {
    assert!(Spoilable::new().complaints().is_empty(), "{:?}", Spoilable::new().complaints());
}

#[test]
fn imports_that_do_not_point_down_are_found_wherever_they_hide() {
    assert_found(&[
        (
            |copy| copy.plant("cookie/jar.rs", "#[cfg(test)]\nuse std::fmt;\n\nuse crate::edge::Edge;"),
            "cookie/jar.rs (floor 0) imports edge (floor 2)",
        ),
        (
            |copy| copy.plant("edge/mod.rs", "struct A {\n    #[cfg(test)]\n    a: u8,\n    b: crate::flow::Gate,\n}"),
            "edge/mod.rs (floor 2) imports flow (floor 4)",
        ),
        (
            |copy| {
                copy.plant("session/mod.rs", "use crate::{\n    clock::{self as c},\n    oidc::{Provider as P},\n};");
            },
            "session/mod.rs (floor 3) imports oidc (floor 3)",
        ),
        (
            |copy| copy.plant("edge/address.rs", "use super::super::policy::App;"),
            "edge/address.rs (floor 2) imports policy (floor 2)",
        ),
        (
            |copy| copy.plant("oidc/jwt.rs", "mod inner {\n    use super::{super::{super::pages::Pages}};\n}"),
            "oidc/jwt.rs (floor 3) imports pages (floor 3)",
        ),
        (
            |copy| copy.plant("host.rs", "fn a() -> String {\n    format!(\"{}\", crate::clock::a())\n}"),
            "host.rs (floor 0) imports clock (floor 0)",
        ),
        (
            |copy| copy.plant("policy/rule.rs", "macro_rules! a {\n    () => { $crate::app::gone() };\n}"),
            "policy/rule.rs (floor 2) imports app (floor 7)",
        ),
        (|copy| copy.plant("policy/allow.rs", "use crate::*;"), "policy/allow.rs takes `*` from the crate's root"),
        (|copy| copy.plant("policy/allow.rs", "use crate as all;"), "policy/allow.rs takes `` from the crate's root"),
        (
            |copy| {
                copy.replace("src/lib.rs", "pub mod shutdown;", "pub mod shutdown;\npub use flow::Gate;");
                copy.plant("shutdown.rs", "use crate::Gate;");
            },
            "shutdown.rs takes `Gate` from the crate's root",
        ),
    ]);
}

#[test]
fn imports_of_tests_are_left_alone() {
    let copy = Spoilable::new();
    copy.plant("cookie/mod.rs", "#[cfg(test)]\nuse crate::app;\n#[cfg(all(test, unix))]\nmod odd;");
    copy.write("src/cookie/odd.rs", "//! A test.\nmod deeper;\nuse crate::app;\n");
    copy.write("src/cookie/odd/deeper.rs", "//! A test.\nuse crate::cli;\n");
    assert!(copy.complaints().is_empty(), "{:?}", copy.complaints());
}

#[test]
fn a_second_way_in_is_found() {
    assert_found(&[
        (
            |copy| copy.plant("flow/login.rs", "fn a() {\n    drop(crate::edge::Admission::grant(h));\n}"),
            "flow/login.rs calls Admission::grant",
        ),
        (
            |copy| {
                copy.plant(
                    "server/router.rs",
                    "#[cfg(test)]\nuse a::b;\nfn a() {\n    assert!(Admission::grant(h).x());\n}",
                );
            },
            "server/router.rs calls Admission::grant",
        ),
        (
            |copy| copy.plant("flow/login.rs", "use crate::edge::Admission as A;"),
            "flow/login.rs calls Admission::grant",
        ),
        (
            |copy| copy.plant("flow/check.rs", "fn a() {\n    drop(Admission::grant(h));\n}"),
            "flow/check.rs calls Admission::grant 2 times and makes 1 verdicts with it",
        ),
        (
            |copy| copy.plant("flow/refusal.rs", "fn a(b: Admission) -> Verdict {\n    Verdict::Allow(b)\n}"),
            "flow/refusal.rs makes a Verdict::Allow",
        ),
        (
            |copy| {
                copy.plant(
                    "flow/refusal.rs",
                    "fn a(b: Option<Admission>) -> Option<Verdict> {\n    b.map(Verdict::Allow)\n}",
                );
            },
            "flow/refusal.rs makes a Verdict::Allow",
        ),
        (
            |copy| {
                copy.plant("edge/answer.rs", "fn a(headers: HeaderMap) -> Admission {\n    Admission { headers }\n}");
            },
            "edge/answer.rs makes an Admission without grant",
        ),
    ]);
}

#[test]
fn a_secret_that_is_exposed_elsewhere_is_found() {
    let exposure = "fn a(b: &SecretString) -> &str {\n    b.expose_secret()\n}";
    let copy = Spoilable::new();
    copy.plant("flow/login.rs", exposure);
    let found = copy.complaints();
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0], "ARCHITECTURE.md does not say why src/flow/login.rs exposes a secret");
    assert!(found[1].starts_with("more than five files expose secrets: "), "{found:?}");
    assert!(found[1].contains("flow/login.rs"), "{found:?}");

    let copy = Spoilable::new();
    copy.plant("flow/login.rs", exposure);
    copy.replace("src/oidc/authorize.rs", "expose_secret", "say");
    assert_eq!(copy.complaints(), ["ARCHITECTURE.md does not say why src/flow/login.rs exposes a secret"]);

    let copy = Spoilable::new();
    copy.replace("ARCHITECTURE.md", "`src/crypto.rs`", "crypto");
    assert_eq!(copy.complaints(), ["ARCHITECTURE.md does not say why src/crypto.rs exposes a secret"]);
}

#[test]
fn files_that_are_too_long_or_say_nothing_are_found() {
    let copy = Spoilable::new();
    let lines = "fn a() {}\n".repeat(597);
    copy.write("src/identity/packed/long.rs", &format!("//! Long.\n#[cfg(test)]\nuse a::b;\n\n{lines}"));
    copy.plant("identity/packed.rs", "mod long;");
    assert_eq!(copy.complaints(), ["identity/packed/long.rs has 599 lines of production code, the wall is 400"]);

    let copy = Spoilable::new();
    copy.write("src/identity/packed/silent.rs", "fn a() {}\n");
    copy.plant("identity/packed.rs", "mod silent;");
    assert_eq!(copy.complaints(), ["identity/packed/silent.rs does not begin with //!"]);

    let copy = Spoilable::new();
    copy.write("src/identity/packed/long.rs", &format!("//! Long.\n\n{lines}"));
    copy.plant("identity/packed.rs", "#[cfg(test)]\nmod long;");
    assert!(copy.complaints().is_empty(), "tests may be as long as they like: {:?}", copy.complaints());
}

#[test]
fn circles_of_files_are_found_directly_round_a_ring_and_through_a_module_that_passes_an_item_on() {
    assert_found(&[
        (
            |copy| {
                copy.plant("policy/path.rs", "use super::allow::Allow;");
                copy.plant("policy/allow.rs", "use crate::policy::path::Form;");
            },
            "a circle of files: policy/allow.rs, policy/path.rs",
        ),
        (
            |copy| {
                copy.plant("edge/mod.rs", "mod one;\nmod three;\nmod two;");
                copy.write("src/edge/one.rs", "//! One.\nfn a() {\n    super::two::a();\n}\n");
                copy.write("src/edge/two.rs", "//! Two.\nuse super::three::{B, C};\n");
                copy.write("src/edge/three.rs", "//! Three.\nuse super::one;\n");
            },
            "a circle of files: edge/one.rs, edge/three.rs, edge/two.rs",
        ),
        (
            |copy| copy.plant("edge/intent.rs", "use super::write;"),
            "a circle of files: edge/answer.rs, edge/intent.rs, edge/request.rs",
        ),
    ]);
}

#[test]
fn a_type_name_that_is_used_twice_is_found_in_tests_too() {
    assert_found(&[
        (|copy| copy.plant("host.rs", "struct Keyring;"), "2 types are called Keyring: in crypto.rs, host.rs"),
        (
            |copy| copy.plant("host.rs", "#[cfg(test)]\nmod odd {\n    fn a() {\n        enum Keyring {}\n    }\n}"),
            "2 types are called Keyring: in crypto.rs, host.rs",
        ),
    ]);
}

#[test]
fn methods_that_stand_in_another_file_are_found() {
    assert_found(&[(
        |copy| copy.plant("oidc/provider.rs", "impl crate::oidc::jwks::Jwks {\n    fn a() {}\n}"),
        "oidc/provider.rs has methods of Jwks, which is defined elsewhere",
    )]);
}

#[test]
fn a_module_without_a_floor_and_a_file_without_a_module_are_found() {
    assert_found(&[
        (
            |copy| {
                copy.replace("src/lib.rs", "pub mod shutdown;", "pub mod shutdown;\npub mod cellar;");
                copy.write("src/cellar.rs", "//! Where is it?\n");
            },
            "cellar: on which floor is it?",
        ),
        (|copy| copy.write("src/edge/orphan.rs", "//! Nobody's.\n"), "edge/orphan.rs: no module declares it"),
        (|copy| copy.replace("src/lib.rs", "pub mod shutdown;", "mod shutdown;"), "shutdown is not on the map"),
    ]);
}
