//! Providers whose settings change at a reload.

use std::sync::Arc;

use futures_util::FutureExt as _;
use secrecy::SecretString;
use url::Url;

use super::{RelyingParty, fake_provider::FakeProvider, settings};
use crate::{
    client_tls::Pem,
    identity::ClaimPath,
    oidc::{GroupsUse, HttpTransport, Settings},
};

type SettingsEdit = Box<dyn Fn(&mut Settings)>;

#[test]
fn settings_are_the_same_only_where_nothing_differs() {
    let pem = |content: &[u8]| Pem { path: "/ca.pem".into(), content: content.into() };
    let plain = || settings("https://id.example/");
    let with_ca = || Settings { ca: Some(pem(b"one")), ..plain() };
    assert_eq!(plain(), plain());
    assert_eq!(with_ca(), with_ca());
    let changes: Vec<(&str, SettingsEdit)> = vec![
        ("name", Box::new(|it| it.name.push('x'))),
        ("issuer", Box::new(|it| it.issuer = Url::parse("https://other.example/").unwrap())),
        ("client_id", Box::new(|it| it.client_id.push('x'))),
        ("client_secret", Box::new(|it| it.client_secret = Some(SecretString::from("another")))),
        ("no client_secret", Box::new(|it| it.client_secret = None)),
        ("scopes", Box::new(|it| it.scopes.truncate(1))),
        ("groups_claim", Box::new(|it| it.groups_claim = ClaimPath::Steps(vec!["groups".to_owned()]))),
        ("groups_separator", Box::new(|it| it.groups_separator = Some(",".to_owned()))),
        ("groups in rules", Box::new(|it| it.groups_use = GroupsUse::Unused)),
        ("outage_grace", Box::new(|it| it.groups_grace *= 2)),
        ("no ca_file", Box::new(|it| it.ca = None)),
        ("what is in the ca_file", Box::new(move |it| it.ca = Some(pem(b"two")))),
        ("timeout", Box::new(|it| it.timeout *= 2)),
        ("parameters", Box::new(|it| drop(it.extra_authorize_params.insert("a".into(), "b".into())))),
        ("end_session", Box::new(|it| it.end_session = !it.end_session)),
    ];
    for (what, change) in changes {
        let mut other = with_ca();
        change(&mut other);
        assert_ne!(other, with_ca(), "{what}");
    }
}

#[tokio::test]
async fn a_provider_with_another_secret_keeps_its_metadata_and_availability() {
    let fake = FakeProvider::start().await;
    let rp = RelyingParty::of(&fake);
    rp.provider.poll().await.unwrap();
    let with_secret = Settings { client_secret: Some(SecretString::from("another")), ..settings(&fake.issuer()) };
    let same = rp.provider.with_settings(with_secret.clone(), HttpTransport::new(&with_secret).unwrap());
    let known = rp.provider.discovery.metadata().unwrap();
    assert!(same.is_available() && Arc::ptr_eq(&same.discovery.metadata().unwrap(), &known));
    assert_eq!(same.jwks_url().now_or_never(), Some(known.jwks_uri.clone()));

    let elsewhere = settings("https://other.example/");
    let other = rp.provider.with_settings(elsewhere.clone(), HttpTransport::new(&elsewhere).unwrap());
    assert!(!other.is_available() && other.jwks_url().now_or_never().is_none());
}
