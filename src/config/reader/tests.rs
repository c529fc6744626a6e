//! Tests of parsing values and of finding secrets.

use std::{io::Write, path::Path};

use secrecy::ExposeSecret;

use super::{super::tree, *};

fn secret_of(toml: &str, variables: &[(&str, &str)]) -> Result<String, String> {
    let root = tree::parse(Path::new("f"), &format!("s = {toml}")).ok().unwrap();
    let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut files = SourceFiles::default();
    let mut reader = Reader::new(&environment, &mut files);
    let secret = reader.secret(Cursor::root(&root).at("s").as_ref());
    let diagnostic = reader.into_diagnostics().iter().map(ToString::to_string).collect();
    secret.map(|secret| secret.expose_secret().to_owned()).ok_or(diagnostic)
}

#[test]
fn a_secret_is_read_from_the_text_or_a_variable() {
    assert_eq!(secret_of("'here'", &[]).unwrap(), "here");
    assert_eq!(secret_of("{ env = 'KEPT' }", &[("KEPT", "there")]).unwrap(), "there");
}

#[test]
fn line_ends_behind_a_secret_are_no_part_of_it_wherever_it_is_kept() {
    for content in ["a", "a\n", "a\r\n", "a\n\n"] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        let toml = format!("{{ file = '{}' }}", file.path().display());
        let inline = serde_json::Value::from(content).to_string();
        for (toml, variables) in
            [(toml, vec![]), ("{ env = 'KEPT' }".to_owned(), vec![("KEPT", content)]), (inline, vec![])]
        {
            assert_eq!(secret_of(&toml, &variables).unwrap(), "a", "{toml} {content:?}");
        }
    }
}

#[test]
fn a_faulty_secret_is_an_error_that_names_its_place_and_does_not_show_it() {
    for (content, fault) in [
        ("", "is empty"),
        ("\u{feff}hidden", "begins with a byte order mark"),
        ("hidden\nmore\n", "has a line break inside"),
        ("hid\tden", "holds a control character or an invisible one"),
        ("hidden ", "has blanks around it"),
        ("\"hidden\"\n", "has quotes around it"),
        ("${hidden}", "holds a placeholder that nothing has replaced"),
    ] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        let path = file.path().display();
        let inline = serde_json::Value::from(content).to_string();
        for (toml, place) in [
            (format!("{{ file = '{path}' }}"), format!("f:1: s.file: the secret in {path}")),
            ("{ env = 'KEPT' }".to_owned(), "f:1: s.env: the secret in the variable KEPT".to_owned()),
            (inline, "f:1: s: the secret".to_owned()),
        ] {
            let diagnostic = secret_of(&toml, &[("KEPT", content)]).unwrap_err();
            assert!(diagnostic.starts_with(&format!("{place} {fault}\n    ")), "{toml}: {diagnostic}");
            assert!(!diagnostic.contains("hidden"), "{diagnostic}");
        }
    }
}

#[test]
fn a_secret_that_cannot_be_read_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"\xff\xfeh\0i\0").unwrap();
    for (toml, expected) in [
        ("{ env = 'UNSET' }".to_owned(), "f:1: s.env: the variable UNSET is not set".to_owned()),
        (format!("{{ file = '{}' }}", directory.path().display()), "f:1: s.file: ".to_owned()),
        (
            format!("{{ file = '{}' }}", file.path().display()),
            format!("f:1: s.file: the secret in {} is not UTF-8", file.path().display()),
        ),
        ("{ file = '/does/not/exist' }".to_owned(), "f:1: s.file: /does/not/exist cannot be read: No such".to_owned()),
    ] {
        let diagnostic = secret_of(&toml, &[]).unwrap_err();
        assert!(diagnostic.starts_with(&expected), "{toml}: {diagnostic}");
    }
}

#[test]
fn durations_are_positive_and_have_a_unit() {
    for (text, expected) in [
        ("2s", Some(Duration::from_secs(2))),
        ("28d", Some(Duration::from_hours(28 * 24))),
        ("1h 30m", Some(Duration::from_mins(90))),
        ("0s", None),
        ("20", None),
        ("-5s", None),
        ("", None),
        ("99999999999y", None),
    ] {
        assert_eq!(duration(text).ok(), expected, "{text}");
    }
}

#[test]
fn an_ambiguous_network_is_an_error() {
    for (text, expected) in [
        ("10.0.0.0/8", Some("10.0.0.0/8")),
        ("192.168.1.7", Some("192.168.1.7/32")),
        ("::1", Some("::1/128")),
        ("0.0.0.0/0", Some("0.0.0.0/0")),
        ("10.0.0.1/8", None),
        ("::ffff:10.0.0.0/104", None),
        ("10.0.0.0/33", None),
        ("lan", None),
    ] {
        assert_eq!(network(text).ok().map(|network| network.to_string()).as_deref(), expected, "{text}");
    }
}
