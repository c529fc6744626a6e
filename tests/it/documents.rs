//! Files that no test runs: those of `deploy/` have to agree with the gate and the documentation, and test vectors have to be
//! read.

use std::{
    fs,
    path::{Path, PathBuf},
};

const BLUEPRINT: &str = include_str!("../../deploy/authentik/blueprint.yaml");
const PROVIDERS: &str = include_str!("../../docs/providers.md");
const CONFIGURATION: &str = include_str!("../../docs/configuration.md");

/// Returns the text after `key` on each line that has it, without comments.
fn values<'t>(text: &'t str, key: &str) -> Vec<&'t str> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.filter_map(|line| Some(line.split_once(key)?.1.trim())).collect()
}

#[test]
fn the_blueprint_for_authentik_asks_for_what_the_gate_needs() {
    // The gate's default scopes, each with authentik's own mapping of that name.
    let section = CONFIGURATION.split("### `scopes`").nth(1).expect("the key is documented");
    let list = section.split("default `").nth(1).unwrap().split('`').next().unwrap();
    let scopes: Vec<String> = serde_json::from_str(list).unwrap();
    assert!(scopes.iter().any(|scope| scope == "offline_access"), "{list}");
    for scope in scopes {
        let mapping = format!(
            "- !Find [authentik_providers_oauth2.scopemapping, [managed, goauthentik.io/providers/oauth2/scope-{scope}]]"
        );
        assert!(BLUEPRINT.lines().any(|line| line.trim() == mapping), "{mapping}");
    }
    assert_eq!(values(BLUEPRINT, "grant_types: "), ["[authorization_code, refresh_token]"]);
    assert_eq!(values(BLUEPRINT, "signing_key: ").len(), 1, "needed for every sign-in");

    let hosts: Vec<_> = values(BLUEPRINT, "url: \"https://");
    for (page, kind) in [("callback", "authorization"), ("signed_out", "logout")] {
        let ending = format!("/_doorward/{page}\", redirect_uri_type: {kind} }}");
        assert!(hosts.iter().any(|line| line.ends_with(&ending)), "{page}: {hosts:?}");
    }
    assert!(values(BLUEPRINT, "logout_uri: https://")[0].ends_with("/_doorward/backchannel_logout"));
    assert_eq!(values(BLUEPRINT, "logout_method: "), ["backchannel"]);
}

#[test]
fn the_blueprint_for_authentik_and_its_documentation_use_the_same_names() {
    let example = PROVIDERS.split("## authentik").nth(1).unwrap().split("## Keycloak").next().unwrap();
    let (client, slug) = (values(BLUEPRINT, "client_id: ")[0], values(BLUEPRINT, "slug: ")[0]);
    assert!(example.contains(&format!("client_id = \"{client}\"")), "{client}");
    assert!(example.contains(&format!("/application/o/{slug}/\"")), "{slug}");
    for (key, name) in [("access_token_validity: ", "Access token"), ("refresh_token_validity: ", "refresh token")] {
        let validity = values(BLUEPRINT, key)[0];
        assert!(example.contains(&format!("{name} validity** `{validity}`")), "{name}: {validity}");
    }
    let variable = values(BLUEPRINT, "client_secret: !Env ")[0];
    assert!(BLUEPRINT.contains(&format!("as the variable {variable}.")), "{variable}");
    for entry in values(BLUEPRINT, "!KeyOf ") {
        assert!(values(BLUEPRINT, "- id: ").contains(&entry), "!KeyOf {entry}");
    }
}

#[test]
fn every_file_of_test_vectors_is_read_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    let mut folders = vec![root.join("src"), root.join("tests/it")];
    while let Some(folder) = folders.pop() {
        for path in files(&folder) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources += &fs::read_to_string(path).unwrap();
            }
        }
    }
    let vectors = files(&root.join("tests/fixtures/vectors"));
    let names = vectors.iter().map(|path| path.file_name().unwrap().to_str().unwrap());
    let unread: Vec<_> = names.filter(|name| *name != "README.md" && !sources.contains(*name)).collect();
    assert_eq!(unread, [""; 0]);
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}
