//! Answers of old outposts, row by row.

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderName, HeaderValue};
use secrecy::SecretString;
use url::Url;

use super::*;
use crate::{
    identity::ClaimPath,
    oidc::{ClientAuth, GroupsUse, IssuerUse, ProxySetting},
};

fn provider(unverified_email: UnverifiedEmail) -> oidc::Settings {
    oidc::Settings {
        name: "authentik".into(),
        issuer_use: IssuerUse::SignIn,
        issuer: Url::parse("https://auth.example.com/application/o/app/").unwrap(),
        client_id: "app".into(),
        client_secret: Some(SecretString::from("secret")),
        scopes: Vec::new(),
        unverified_email,
        groups_claim: ClaimPath::Dotted("groups".into()),
        groups_separator: None,
        kept_attributes: crate::identity::KeptAttributes::default(),
        acr_in_rules: BTreeSet::new(),
        groups_use: GroupsUse::InRules,
        groups_grace: std::time::Duration::from_hours(1),
        id_tokens_by_secret: false,
        client_auth: ClientAuth::Auto,
        internal_url: None,
        proxy: ProxySetting::None,
        ca: None,
        timeout: std::time::Duration::from_secs(10),
        extra_authorize_params: BTreeMap::new(),
        end_session: true,
        renewals_keep_sid: None,
    }
}

fn answer(status: u16, lines: &[(&str, &str)]) -> Answer {
    let lines = lines.iter().map(|(name, value)| {
        (HeaderName::try_from(*name).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    });
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(name, value);
    }
    let now = Timestamp::from_unix(1_000_000);
    read(StatusCode::from_u16(status).unwrap(), &headers, &provider(UnverifiedEmail::Pass), now)
}

const ANN: [(&str, &str); 5] = [
    ("X-authentik-username", "ann"),
    ("X-authentik-uid", "s1"),
    ("X-authentik-email", "ann@example.com"),
    ("X-authentik-name", "Ann Ä"),
    ("X-authentik-groups", "staff|admins||staff"),
];

#[test]
fn a_200_with_a_subject_and_a_name_is_somebody() {
    let Answer::SignedIn(session) = answer(200, &ANN) else { panic!("not signed in") };
    let OldSession { identity, sid } = *session;
    assert_eq!((identity.user.as_str(), identity.subject.0.as_str(), sid), ("ann", "s1", None));
    assert_eq!((identity.email.as_str(), identity.email_verified), ("ann@example.com", false));
    assert_eq!((identity.name.as_str(), identity.provider.as_str()), ("Ann Ä", "authentik"));
    assert_eq!(identity.groups, ["staff", "admins"]);
    assert_eq!(identity.claims["preferred_username"], "ann");
}

#[test]
fn nothing_else_is() {
    for status in [301, 302, 303, 400, 401, 403, 404, 499] {
        assert!(matches!(answer(status, &ANN), Answer::Refused), "{status}");
    }
    for status in [408, 425, 429, 500, 502, 503, 504] {
        assert!(matches!(answer(status, &ANN), Answer::Unavailable), "{status}");
    }
    for status in [201, 202, 204, 206] {
        assert!(matches!(answer(status, &ANN), Answer::Invalid(_)), "{status}");
    }
    assert!(matches!(answer(200, &[]), Answer::Anybody));
    assert!(matches!(answer(200, &[("X-authentik-username", ""), ("X-authentik-uid", "")]), Answer::Anybody));
    let long = "s".repeat(256);
    for (what, lines) in [
        ("no subject", vec![("X-authentik-username", "ann")]),
        ("no name", vec![("X-authentik-uid", "s1")]),
        ("a long subject", vec![("X-authentik-username", "ann"), ("X-authentik-uid", &long)]),
        ("a name of service tokens", vec![("X-authentik-username", "Token:x"), ("X-authentik-uid", "s1")]),
        ("a subject of service tokens", vec![("X-authentik-username", "ann"), ("X-authentik-uid", "token:x")]),
        ("two subjects", [ANN.as_slice(), &[("X-authentik-uid", "s2")]].concat()),
        ("two lists of groups", [ANN.as_slice(), &[("X-authentik-groups", "admins")]].concat()),
        ("a control character", [&ANN[..2], &[("X-authentik-name", "a\tb")]].concat()),
        ("a token that does not verify", [ANN.as_slice(), &[("X-authentik-jwt", "a.b.c")]].concat()),
    ] {
        assert!(matches!(answer(200, &lines), Answer::Invalid(_)), "{what}");
    }
}

#[test]
fn bytes_that_are_no_text_are_nobody() {
    let mut headers = HeaderMap::new();
    headers.insert("x-authentik-uid", HeaderValue::from_static("s1"));
    headers.insert("x-authentik-username", HeaderValue::from_bytes(b"ann\xff").unwrap());
    let answer = read(StatusCode::OK, &headers, &provider(UnverifiedEmail::Pass), Timestamp::from_unix(1));
    assert!(matches!(answer, Answer::Invalid(_)), "{answer:?}");
}

#[test]
fn an_address_that_nobody_vouches_for_is_treated_as_the_provider_s() {
    for (treatment, expected) in [
        (UnverifiedEmail::Pass, ("ann@example.com", false)),
        (UnverifiedEmail::Trust, ("ann@example.com", true)),
        (UnverifiedEmail::Drop, ("", false)),
    ] {
        let headers: HeaderMap = ANN
            .iter()
            .map(|(name, value)| {
                (HeaderName::try_from(*name).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
            })
            .collect();
        let answer = read(StatusCode::OK, &headers, &provider(treatment), Timestamp::from_unix(1));
        let Answer::SignedIn(session) = answer else { panic!("not signed in") };
        assert_eq!((session.identity.email.as_str(), session.identity.email_verified), expected);
    }
}
