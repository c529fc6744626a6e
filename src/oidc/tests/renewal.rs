//! Renewing a session: what a good answer becomes, what an outage costs, and which answers end it.

use std::{sync::atomic::Ordering, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use super::{
    Bench, Error, assert_discreet,
    provider::{CLIENT, FakeProvider, Key, NONCE, NOW, Signer, Sin, spawn},
    settings, wire,
};
use crate::{
    clock::Timestamp,
    metrics,
    oidc::{Refreshed, Renewal, SignedIn},
};

/// Somebody who has signed in a while ago.
struct Guest {
    signed_in: SignedIn,
    bench: Bench,
}

impl Guest {
    async fn of(bench: Bench) -> Self {
        Self { signed_in: bench.redeem().await.unwrap(), bench }
    }

    async fn at(fake: &FakeProvider) -> Self {
        Self::of(Bench::at(fake)).await
    }

    async fn refresh(&self) -> Result<Refreshed, Error> {
        let SignedIn { identity, tokens, .. } = &self.signed_in;
        let renewal = Renewal { refresh: tokens.refresh.as_ref().unwrap(), id: tokens.id.as_ref(), identity };
        self.bench.provider.refresh(&renewal).await
    }
}

fn text(secret: Option<&SecretString>) -> &str {
    secret.unwrap().expose_secret()
}

#[tokio::test]
async fn a_renewal_replaces_the_tokens_the_groups_and_the_claims() {
    let fake = FakeProvider::start().await;
    fake.claims(json!({ "department": "ops" }));
    let guest = Guest::at(&fake).await;
    fake.script().renewed = json!({
        "nonce": null, "department": null, "groups": ["staff"], "name": "Ann Other", "sid": "sid-2", "exp": NOW + 900,
    });
    fake.script().renewal = json!({ "access_token": "an-access-token", "expires_in": 600 });
    guest.bench.hand.fetch_add(200, Ordering::Relaxed);

    let Refreshed { identity, tokens, sid } = guest.refresh().await.unwrap();
    let identity = identity.unwrap();
    assert_eq!(identity.groups, ["staff"]);
    assert_eq!((identity.user.as_str(), identity.name.as_str()), ("ann", "Ann Other"));
    assert_eq!(identity.claim("department"), None, "what the provider no longer says is gone");
    assert_eq!(sid.as_deref(), Some("sid-2"));
    assert_eq!(tokens.access_ends, Some(Timestamp::from_unix(NOW + 800)));
    assert_eq!(text(tokens.refresh.as_ref()), "a-refresh-token-in-its-place");
    assert_ne!(text(tokens.id.as_ref()), text(guest.signed_in.tokens.id.as_ref()));

    let (authorization, form) = fake.script().last_exchange.clone();
    assert!(authorization.unwrap().starts_with("Basic "));
    assert_eq!(form["grant_type"], "refresh_token");
    assert_eq!(form["refresh_token"], "a-refresh-token");
    assert_eq!(form.len(), 2, "{form:?}");
}

#[tokio::test]
async fn a_token_that_does_not_come_again_is_kept() {
    let fake = FakeProvider::start().await;
    let guest = Guest::at(&fake).await;
    fake.script().renewal = json!({ "refresh_token": null, "id_token": null, "expires_in": null });
    let Refreshed { identity, tokens, sid } = guest.refresh().await.unwrap();
    let before = &guest.signed_in.tokens;
    assert_eq!(text(tokens.refresh.as_ref()), "a-refresh-token");
    assert_eq!(text(tokens.id.as_ref()), text(before.id.as_ref()));
    assert_eq!(
        (tokens.access_ends, sid),
        (Some(Timestamp::from_unix(NOW + 300)), None),
        "and it is renewed again in a while"
    );
    assert!(identity.is_none(), "nobody said anything about the person");
}

#[tokio::test]
async fn without_an_id_token_userinfo_says_what_has_changed() {
    let fake = FakeProvider::start().await;
    fake.claims(json!({ "department": "ops" }));
    let guest = Guest::at(&fake).await;
    fake.script().renewal = json!({ "id_token": null });
    fake.script().userinfo =
        Some(json!({ "sub": "subject-1", "groups": ["staff"], "email": "ann@new.example", "name": "" }));
    guest.bench.provider.ask().await.unwrap();
    let identity = guest.refresh().await.unwrap().identity.unwrap();
    assert_eq!(identity.groups, ["staff"]);
    assert_eq!(identity.email, "ann@new.example");
    assert_eq!(identity.name, "Ann Example", "what it does not say stays");
    assert_eq!(identity.claim("department"), Some(&json!("ops")));
    assert_eq!(identity.claim("groups"), Some(&json!(["staff"])));

    fake.script().userinfo = Some(json!({ "sub": "subject-1" }));
    assert_eq!(guest.refresh().await.unwrap().identity.unwrap().groups, ["admins", "users"]);
}

#[tokio::test]
async fn groups_that_userinfo_gave_at_sign_in_come_from_there_again() {
    let fake = FakeProvider::start().await;
    fake.claims(json!({ "groups": null }));
    fake.script().userinfo = Some(json!({ "sub": "subject-1", "groups": ["staff"] }));
    let guest = Guest::at(&fake).await;
    fake.script().renewed = json!({ "nonce": null, "groups": null });
    fake.script().userinfo = Some(json!({ "sub": "subject-1", "groups": [] }));
    assert!(guest.refresh().await.unwrap().identity.unwrap().groups.is_empty());
}

#[tokio::test]
async fn an_id_token_of_a_renewal_passes_every_check_but_may_leave_out_the_nonce() {
    for (claims, reason) in [
        (json!({ "nonce": null }), None),
        (json!({ "nonce": NONCE }), None),
        (json!({ "nonce": null, "c_hash": "AAAA" }), None),
        (json!({ "nonce": "another" }), Some("nonce")),
        (json!({ "sub": "subject-2" }), Some("subject")),
        (json!({ "iss": "https://evil.example/" }), Some("issuer")),
        (json!({ "aud": "another" }), Some("audience")),
        (json!({ "azp": "another" }), Some("azp")),
        (json!({ "exp": NOW - 61 }), Some("expired")),
        // A token of another time tells nothing new, and is no reason to end the session; but not one about somebody else.
        (json!({ "iat": NOW + 61 }), None),
        (json!({ "iat": NOW - 7200, "exp": NOW - 3600 }), None),
        (json!({ "iat": NOW + 61, "sub": "subject-2" }), Some("subject")),
        (json!({ "iat": NOW + 61, "aud": "another" }), Some("audience")),
        (json!({ "at_hash": "AAAA" }), Some("at_hash")),
        (json!({ "sid": 7 }), Some("sid")),
    ] {
        let fake = FakeProvider::start().await;
        let guest = Guest::at(&fake).await;
        fake.script().renewed = claims.clone();
        match (guest.refresh().await, reason) {
            (Ok(_), None) => {}
            (Err(error), Some(reason)) => {
                assert!(matches!(error, Error::Unbelievable(_)), "{claims}: {error:?}");
                assert!(error.to_string().to_lowercase().contains(reason), "{claims}: {error}");
                assert_eq!(error.renewal(), metrics::RenewalResult::Rejected);
                assert_discreet(&error);
            }
            (result, _) => panic!("{claims}: {result:?}"),
        }
    }
}

#[tokio::test]
async fn a_provider_that_never_repeated_the_nonce_may_begin_to() {
    let fake = FakeProvider::start().await;
    let mut guest = Guest::at(&fake).await;
    guest.signed_in.tokens = guest.refresh().await.unwrap().tokens;
    fake.script().renewed = json!({ "nonce": NONCE });
    assert!(guest.refresh().await.is_ok());
    guest.signed_in.tokens.id = None;
    assert!(guest.refresh().await.is_ok());
}

#[tokio::test]
async fn an_unsigned_or_forged_id_token_of_a_renewal_is_refused() {
    for signer in [Signer::Nobody, Signer::HmacWithPublicKey, Signer::As(Key::Two, Key::One)] {
        let fake = FakeProvider::start().await;
        let guest = Guest::at(&fake).await;
        fake.script().signer = signer;
        let error = guest.refresh().await.unwrap_err();
        assert!(matches!(error, Error::Unbelievable(_)), "{signer:?}: {error:?}");
    }
}

#[tokio::test]
async fn userinfo_about_somebody_else_is_refused() {
    let fake = FakeProvider::start().await;
    let guest = Guest::at(&fake).await;
    fake.script().renewal = json!({ "id_token": null });
    fake.script().userinfo = Some(json!({ "sub": "subject-2", "groups": ["admins"] }));
    guest.bench.provider.ask().await.unwrap();
    let error = guest.refresh().await.unwrap_err();
    assert!(matches!(error, Error::Unbelievable(_)), "{error:?}");
}

#[tokio::test]
async fn what_the_token_endpoint_says_decides_what_becomes_of_the_session() {
    use metrics::RenewalResult::{Rejected, Unavailable};
    let says = |status, code: &str| Sin::Says(status, json!({ "error": code }).to_string());
    for (sin, kind, counted) in [
        (says(400, "invalid_grant"), "GrantRefused", Rejected),
        (says(400, "interaction_required"), "GrantRefused", Rejected),
        (says(401, "invalid_client"), "ClientRefused", Unavailable),
        (says(400, "unauthorized_client"), "ClientRefused", Unavailable),
        (says(400, "temporarily_unavailable"), "Unavailable", Unavailable),
        (says(500, "invalid_grant"), "Unavailable", Unavailable),
        (Sin::Status(503), "Unavailable", Unavailable),
        (Sin::Status(429), "Unavailable", Unavailable),
        (Sin::Redirects("https://evil.example/token".into()), "Unavailable", Unavailable),
        // Whatever stands before a provider that is being replaced.
        (Sin::Status(404), "Unavailable", Unavailable),
        (Sin::Status(403), "Unavailable", Unavailable),
        (Sin::Says(404, String::new()), "Unavailable", Unavailable),
        (Sin::Says(200, "<h1>We will be back</h1>".into()), "Unavailable", Unavailable),
        (Sin::Says(200, json!({ "access_token": "a", "token_type": "mac" }).to_string()), "Unbelievable", Rejected),
    ] {
        let fake = FakeProvider::start().await;
        let guest = Guest::at(&fake).await;
        fake.sin("token", sin.clone());
        let error = guest.refresh().await.unwrap_err();
        assert!(format!("{error:?}").starts_with(kind), "{sin:?}: {error:?}");
        assert_eq!(error.renewal(), counted, "{sin:?}");
        assert_discreet(&error);
        assert_eq!(fake.asked("token"), 2, "a refresh token is never sent twice: {sin:?}");
    }
}

#[tokio::test]
async fn a_rotated_refresh_token_is_not_lost_when_nothing_else_can_be_learned() {
    let rotated = |refreshed: Refreshed| {
        assert_eq!(text(refreshed.tokens.refresh.as_ref()), "a-refresh-token-in-its-place");
        assert!(refreshed.identity.is_none(), "the groups stay as they were");
        refreshed.tokens
    };
    for sin in [Sin::Status(503), Sin::Status(404), Sin::Stalls] {
        let fake = FakeProvider::start().await;
        fake.claims(json!({ "groups": null }));
        fake.script().userinfo = Some(json!({ "sub": "subject-1", "groups": ["admins"] }));
        let mut settings = settings(&fake.issuer());
        settings.timeout = Duration::from_millis(300);
        let guest = Guest::of(Bench::new(settings)).await;
        fake.sin("userinfo", sin);
        rotated(guest.refresh().await.unwrap());
    }

    let fake = FakeProvider::start().await;
    let guest = Guest::at(&fake).await;
    fake.script().signer = Signer::Honest(Key::Two);
    fake.sin("jwks", Sin::Status(503));
    let tokens = rotated(guest.refresh().await.unwrap());
    let held = text(guest.signed_in.tokens.id.as_ref());
    assert_eq!(text(tokens.id.as_ref()), held, "an ID token that nobody could verify is not kept");

    // Somebody else's token has just caused a fetch of the keys, and then the provider changes them.
    let fake = FakeProvider::start().await;
    let guest = Guest::at(&fake).await;
    fake.script().signer = Signer::As(Key::One, Key::Rsa);
    guest.bench.redeem().await.unwrap_err();
    fake.script().signer = Signer::Honest(Key::Two);
    fake.script().published = vec![Key::Two];
    rotated(guest.refresh().await.unwrap());
    guest.bench.hand.fetch_add(10, Ordering::Relaxed);
    assert!(guest.refresh().await.unwrap().identity.is_some(), "and with the next renewal it is believed again");
}

#[tokio::test]
async fn a_provider_that_disowns_its_own_fresh_token_has_ended_the_session() {
    for status in [401, 403] {
        let fake = FakeProvider::start().await;
        fake.claims(json!({ "groups": null }));
        fake.script().userinfo = Some(json!({ "sub": "subject-1" }));
        let guest = Guest::at(&fake).await;
        fake.sin("userinfo", Sin::Status(status));
        let error = guest.refresh().await.unwrap_err();
        assert!(matches!(error, Error::GrantRefused), "{status}: {error:?}");
    }
}

#[tokio::test]
async fn a_provider_that_does_not_answer_is_left_in_peace_until_one_request_finds_it_back() {
    let fake = FakeProvider::start().await;
    let guest = Guest::at(&fake).await;
    fake.sin("token", Sin::Status(503));
    for _ in 0..20 {
        let error = guest.refresh().await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    }
    assert_eq!(fake.asked("token"), 1 + 3);

    guest.bench.hand.fetch_add(2, Ordering::Relaxed);
    fake.repent();
    guest.refresh().await.unwrap();
    let all = futures_util::future::join_all((0..5).map(|_| guest.refresh())).await;
    assert!(all.iter().all(Result::is_ok));
}

#[tokio::test]
async fn somebody_s_refusal_is_nobody_else_s_outage() {
    let fake = FakeProvider::start().await;
    let guest = Guest::at(&fake).await;
    fake.sin("token", Sin::Says(400, json!({ "error": "invalid_grant" }).to_string()));
    for _ in 0..20 {
        assert!(matches!(guest.refresh().await, Err(Error::GrantRefused)));
    }
    assert_eq!(fake.asked("token"), 1 + 20);
}

#[tokio::test]
async fn a_token_endpoint_that_stalls_is_given_up() {
    let fake = FakeProvider::start().await;
    let mut settings = settings(&fake.issuer());
    settings.timeout = Duration::from_millis(100);
    let guest = Guest::of(Bench::new(settings)).await;
    fake.sin("token", Sin::Stalls);
    let error = guest.refresh().await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(text) if text.contains("100ms")), "{error:?}");
    assert_eq!(guest.bench.provider.refreshes_within(), Duration::from_millis(3_200));
}

/// Puts TLS before the fake provider; where that is, and the certificate to trust.
async fn tls_before(fake: &FakeProvider) -> (String, tempfile::NamedTempFile) {
    let (acceptor, certificate) = wire::acceptor(&[b"http/1.1"]);
    let (listener, behind) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), fake.address);
    let port = listener.local_addr().unwrap().port();
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut client) = acceptor.accept(stream).await else { continue };
            spawn(async move {
                let mut server = TcpStream::connect(behind).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (format!("https://localhost:{port}/revoke"), wire::file(&certificate))
}

async fn revoking(endpoint: Value, certificate: Option<&tempfile::NamedTempFile>, fake: &FakeProvider) -> Bench {
    fake.script().metadata = json!({ "revocation_endpoint": endpoint });
    let mut settings = settings(&fake.issuer());
    settings.ca = certificate.map(wire::pem);
    let bench = Bench::new(settings);
    bench.provider.ask().await.unwrap();
    bench.provider.revoke(&SecretString::from("a-refresh-token")).await;
    bench
}

#[tokio::test]
async fn a_refresh_token_is_revoked_where_the_provider_offers_it() {
    let fake = FakeProvider::start().await;
    let (endpoint, certificate) = tls_before(&fake).await;
    let bench = revoking(endpoint.clone().into(), Some(&certificate), &fake).await;
    let (authorization, form) = fake.script().last_exchange.clone();
    assert!(authorization.unwrap().starts_with("Basic "));
    assert_eq!((form["token"].as_str(), form["token_type_hint"].as_str()), ("a-refresh-token", "refresh_token"));
    let counted = |result: &str| {
        format!(r#"doorward_provider_requests_total{{endpoint="revocation",provider="authentik",result="{result}"}} 1"#)
    };
    assert!(bench.counts(&counted("ok")));

    fake.sin("revoke", Sin::Status(503));
    let bench = revoking(endpoint.into(), Some(&certificate), &fake).await;
    assert!(bench.counts(&counted("unavailable")), "and nobody is troubled by it");
}

#[tokio::test]
async fn a_refresh_token_is_not_sent_anywhere_else() {
    let fake = FakeProvider::start().await;
    for endpoint in [Value::Null, format!("http://{}/revoke", fake.address).into()] {
        revoking(endpoint, None, &fake).await;
    }
    assert_eq!(fake.asked("revoke"), 0);
}

#[tokio::test]
async fn a_public_client_renews_by_its_name_alone() {
    let fake = FakeProvider::start().await;
    let mut settings = settings(&fake.issuer());
    settings.client_secret = None;
    let guest = Guest::of(Bench::new(settings)).await;
    guest.refresh().await.unwrap();
    let (authorization, form) = fake.script().last_exchange.clone();
    assert_eq!((authorization, form["client_id"].as_str()), (None, CLIENT));
}
