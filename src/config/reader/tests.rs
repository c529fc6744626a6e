//! What values are read as, and where secrets are found.

use std::{io::Write, path::Path};

use secrecy::ExposeSecret;

use super::{super::tree, *};

fn secret_of(toml: &str, variables: &[(&str, &str)]) -> Result<String, String> {
    let root = tree::parse(Path::new("f"), &format!("s = {toml}")).ok().unwrap();
    let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut files = Files::default();
    let mut reader = Reader::new(&environment, &mut files);
    let secret = reader.secret(Spot::root(&root).at("s").as_ref());
    let complaint = reader.into_complaints().iter().map(ToString::to_string).collect();
    secret.map(|secret| secret.expose_secret().to_owned()).ok_or(complaint)
}

#[test]
fn a_secret_is_found_where_it_is_kept() {
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
fn a_secret_that_is_not_there_is_complained_about_without_being_shown() {
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
        let complaint = secret_of(&toml, &[("EMPTY", "")]).unwrap_err();
        assert!(complaint.starts_with(expected), "{toml}: {complaint}");
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
fn networks_are_written_without_doubt() {
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
