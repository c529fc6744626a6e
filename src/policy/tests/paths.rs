//! Paths with one reading, and ambiguous ones.

use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use serde_json::Value;
use url::Url;

use super::vectors;
use crate::policy::path::is_ambiguous;

#[test]
fn a_path_is_ambiguous_where_two_servers_could_disagree() {
    for plain in [
        "/",
        "/a",
        "/a/",
        "/a/b.c/d",
        "/...",
        "/.well-known/x",
        "/a..b/..c/d..",
        "/foo%20bar/%E2%9C%93",
        "/a%7Cb",
        "/a|b",
        "/a+b",
        "/a%2Bb",
        "/*",
        "/caf%C3%A9",
        "/x:y@z,w=1&2'()!$",
        "/https:/x",
    ] {
        assert!(!is_ambiguous(plain), "{plain}");
    }
    for odd in [
        "",
        "a",
        "*",
        "//",
        "//a",
        "/a//b",
        "/a//",
        "/.",
        "/..",
        "/a/.",
        "/a/../b",
        "/a/./b",
        "/a/..",
        "/a/%2e%2e/b",
        "/a/.%2E/b",
        "/%2e",
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/a\\b",
        "/a%00b",
        "/a\0b",
        "/a;b=1/c",
        "/public/..;/admin",
        "/a%3bb",
        "/a%23b",
        "/a#b",
        "/a%3Fb",
        "/a?b",
        "/a%252e%252e/b",
        "/a%25b",
        "/%61dmin",
        "/ADM%49N",
        "/a%zzb",
        "/a%",
        "/a%2",
        "/a%+1",
        "/a%é",
        "/a%0d%0ab",
        "/a%7f",
        "/a b",
        "/café",
        "/%c0%ae%c0%ae/b",
        "/a%ff",
    ] {
        assert!(is_ambiguous(odd), "{odd}");
    }
}

#[test]
fn every_path_that_a_peer_has_to_clean_is_ambiguous() {
    let file: Value = serde_json::from_str(&vectors("path-normalisation.json")).unwrap();
    for case in file["groups"].as_array().unwrap().iter().flat_map(|group| group["cases"].as_array().unwrap()) {
        let have = case["have"].as_str().unwrap();
        let target = have.splitn(4, '/').nth(3).unwrap();
        let raw = format!("/{}", target.split('?').next().unwrap());
        let clean = case["path_clean"].as_str().unwrap().split('?').next().unwrap();
        assert_eq!(is_ambiguous(&raw), raw != clean, "{have}");
    }
}

/// A server that decodes first, then cleans.
fn decoded_then_cleaned(path: &str) -> String {
    let decoded = percent_decode_str(path).decode_utf8_lossy().replace('\\', "/");
    let cut: Vec<_> = decoded.split('/').map(|segment| segment.split(';').next().unwrap_or_default()).collect();
    let mut kept: Vec<&str> = Vec::new();
    for segment in cut.iter().skip(1) {
        match *segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    let slash = if decoded.len() > 1 && decoded.ends_with('/') { "/" } else { "" };
    format!("/{}{slash}", kept.join("/"))
}

proptest! {
    #[test]
    fn a_path_with_one_reading_is_the_same_to_a_browser_and_to_servers_that_decode_and_clean(
        pieces in prop::collection::vec(
            prop_oneof![
                Just("/".to_owned()), Just(".".to_owned()), Just("..".to_owned()), Just(";".to_owned()),
                Just("%".to_owned()), Just("\\".to_owned()), "%[0-9a-fA-F]{2}", "[a-zA-Z|+ ]{1,3}", "\\PC",
            ],
            0..8,
        ),
    ) {
        let path = format!("/{}", pieces.concat());
        if !is_ambiguous(&path) {
            let once = percent_decode_str(&path).decode_utf8().unwrap().into_owned();
            prop_assert_eq!(decoded_then_cleaned(&path), once.clone());
            prop_assert_eq!(percent_decode_str(&once).decode_utf8().unwrap(), once.clone(), "decoding twice is decoding once");
            let browser = Url::parse(&format!("https://a.example{path}")).unwrap();
            prop_assert_eq!(percent_decode_str(browser.path()).decode_utf8().unwrap(), once);
        }
    }

    #[test]
    fn no_path_makes_it_fail(path in any::<String>()) {
        let _ = is_ambiguous(&path);
    }
}
