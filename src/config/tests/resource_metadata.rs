//! `resource_metadata`: the issuers that clients are told, and rules that no request would reach.

use super::{GOOD, loaded, refused};

const API: &str = "resource_metadata = true\nrules = [{ path = '/a', access = 'bearer' }]";

#[test]
fn clients_are_told_the_issuers_of_api_tokens_and_else_the_one_of_the_apps_provider() {
    let told = |bearer: &str| {
        let good = GOOD.replace("client_id = \"doorward\"", "client_id = \"doorward\"\nclient_secret = \"a secret\"");
        let config = loaded(&format!("{good}{API}\n[bearer]\n{bearer}"));
        config.policy.apps[0].resource_metadata.clone().unwrap().authorization_servers
    };
    let issuers = "[{ issuer = 'https://b.example.com', audience = 'x' }, { issuer = 'https://a.example.com/o/', audience = 'x' }]";
    assert_eq!(told(&format!("issuers = {issuers}")), ["https://b.example.com", "https://a.example.com/o/"]);
    assert_eq!(told("introspection = true"), ["https://auth.example.com/o/x/"]);
    // The tokens of another provider count at its own apps.
    let both = "[{ issuer = 'https://work.example.com/', audience = 'x' }, { issuer = 'https://auth.example.com/o/x/', audience = 'x' }]";
    let other = "[[providers]]\nname = 'work'\nissuer = 'https://work.example.com/'\nclient_id = 'x'";
    assert_eq!(told(&format!("issuers = {both}\n{other}")), ["https://auth.example.com/o/x/"]);
}

#[test]
fn an_app_whose_rules_are_for_the_path_of_the_metadata_does_not_publish_any_by_the_gate() {
    for path in [
        "'/.well-known/oauth-protected-resource'",
        "'/.well-known/oauth-protected-resource/mcp'",
        "{ prefix = '/.well-known/oauth-protected-resource/' }",
    ] {
        let rules = format!("[{{ path = {path}, access = 'public' }}, {{ path = '/a', access = 'bearer' }}]");
        let bearer = "[bearer]\nissuers = [{ issuer = 'https://a.example.com', audience = 'x' }]";
        let diagnostics = refused(&format!("{GOOD}resource_metadata = true\nrules = {rules}\n{bearer}\n"));
        assert_eq!(diagnostics.len(), 1, "{diagnostics:#?}");
        assert!(diagnostics[0].contains("no request reaches rules[0]"), "{diagnostics:#?}");
        loaded(&format!("{GOOD}rules = {rules}\n{bearer}\n"));
    }
}
