//! `[tokens]`: the header, and names that it must not have.

use super::*;

#[test]
fn the_section_switches_service_tokens_on() {
    assert_eq!(loaded(GOOD).gate.service_token_header, None);
    for (section, expected) in [("[tokens]", "doorward-token"), ("[tokens]\nheader = 'X-Device'", "x-device")] {
        let header = loaded(&format!("{GOOD}\n{section}")).gate.service_token_header;
        assert_eq!(header.unwrap().as_str(), expected);
    }
}

#[test]
fn a_header_that_somebody_else_reads_is_refused_with_a_hint() {
    for (name, problem) in [
        ("Authorization", "has another meaning"),
        ("cookie", "has another meaning"),
        ("Host", "has another meaning"),
        ("Connection", "has another meaning"),
        ("Transfer-Encoding", "has another meaning"),
        ("Proxy-Authorization", "has another meaning"),
        ("X-Forwarded-For", "has another meaning"),
        ("x-forwarded-whatever", "has another meaning"),
        ("X-Original-URL", "has another meaning"),
        ("Sec-Fetch-Mode", "has another meaning"),
        ("Accept", "has another meaning"),
        ("Doorward-Reason", "has another meaning"),
        ("Remote-User", "is an identity header of the app `grafana`"),
        ("remote-groups", "is an identity header of the app `grafana`"),
        ("X_Device", "is no name of a header for tokens"),
        ("X Device", "is no name of a header for tokens"),
        ("X-Device:", "is no name of a header for tokens"),
    ] {
        let diagnostics = refused(&format!("{GOOD}[tokens]\nheader = \"{name}\"\n"));
        assert_eq!(diagnostics.len(), 1, "{name}: {diagnostics:?}");
        assert!(diagnostics[0].starts_with("doorward.toml:14: tokens.header: "), "{name}: {}", diagnostics[0]);
        assert!(diagnostics[0].contains(problem) && diagnostics[0].contains("\n    "), "{name}: {}", diagnostics[0]);
    }
    let long = "x".repeat(65);
    assert!(refused(&format!("{GOOD}[tokens]\nheader = \"{long}\"\n"))[0].contains("1 to 64 letters"));
    // An app's own header, as apps that cannot tell `_` from `-` see it; of an app whose other values are wrong nothing is said.
    let own = GOOD.replace("[[apps]]", "[[apps]]\nheaders = [{ \"X_Device\" = \"{claims.x}\" }]");
    let diagnostics = refused(&format!("{own}[tokens]\nheader = \"X-Device\"\n"));
    assert!(diagnostics.len() == 1 && diagnostics[0].contains("identity header"), "{diagnostics:?}");
}

#[test]
fn a_mistake_is_reported_beside_those_of_other_sections() {
    let text = format!("{}[tokens]\nheader = \"Cookie\"\n", GOOD.replace("10.0.0.0/8", "0.0.0.0/0"));
    assert_eq!(refused(&text).len(), 2);
}

#[test]
fn a_store_in_memory_is_warned_of() {
    let text = format!("{GOOD}[store]\nurl = \"memory:\"\n[tokens]\n");
    let warnings = loaded(&text).warnings;
    assert!(
        warnings.iter().any(|warning| warning.to_string().contains("no service token can be made")),
        "{warnings:?}"
    );
}
