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
fn one_newline_at_the_end_of_a_secret_file_is_not_part_of_the_secret() {
    for (content, secret) in [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a \n", " a ")] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        let toml = format!("{{ file = '{}' }}", file.path().display());
        assert_eq!(secret_of(&toml, &[]).unwrap(), secret, "{content:?}");
    }
}

#[test]
fn a_missing_secret_is_an_error_that_does_not_show_it() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    for (toml, expected) in [
        ("''".to_owned(), "f:1: s: the secret is empty"),
        ("{ env = 'UNSET' }".to_owned(), "f:1: s.env: the variable UNSET is not set"),
        ("{ env = 'EMPTY' }".to_owned(), "f:1: s.env: the secret is empty"),
        (format!("{{ file = '{}' }}", empty.path().display()), "f:1: s.file: the secret is empty"),
        (format!("{{ file = '{}' }}", directory.path().display()), "f:1: s.file: "),
        ("{ file = '/does/not/exist' }".to_owned(), "f:1: s.file: /does/not/exist cannot be read: No such file"),
    ] {
        let diagnostic = secret_of(&toml, &[("EMPTY", "")]).unwrap_err();
        assert!(diagnostic.starts_with(expected), "{toml}: {diagnostic}");
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
