//! Token refresh: renewals, outages, and responses that end a session.

use std::{sync::atomic::Ordering, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use super::{
    CapturedLog, Error, RelyingParty, assert_discreet,
    fake_provider::{CLIENT, FakeProvider, InjectedFault, NONCE, NOW, Signer, TestKey, spawn},
    settings, transport,
};
use crate::{
    clock::Timestamp,
    metrics,
    oidc::{PreviousSid, RefreshRequest, Refreshed, RenewedSid, SignedIn},
};

/// A session, and the relying party that renews it.
pub(super) struct SessionHolder {
    signed_in: SignedIn,
    rp: RelyingParty,
}

impl SessionHolder {
    pub(super) async fn of(rp: RelyingParty) -> Self {
        Self { signed_in: rp.redeem().await.unwrap(), rp }
    }

    async fn at(fake: &FakeProvider) -> Self {
        Self::of(RelyingParty::of(fake)).await
    }

    pub(super) async fn refresh(&self) -> Result<Refreshed, Error> {
        let SignedIn { identity, tokens, sid } = &self.signed_in;
        let renewal = RefreshRequest {
            refresh_token: tokens.refresh.as_ref().unwrap(),
            id_token: tokens.id.as_ref(),
            identity,
            sid: PreviousSid { sid: sid.as_deref(), was_repeated: false },
        };
        self.rp.provider.refresh(&renewal).await
    }
}

fn text(secret: Option<&SecretString>) -> &str {
    secret.unwrap().expose_secret()
}

#[tokio::test]
async fn a_renewal_replaces_the_tokens_the_groups_and_the_claims() {
    let fake = FakeProvider::start().await;
    fake.claims(json!({ "department": "ops" }));
    let holder = SessionHolder::at(&fake).await;
    fake.script().renewed = json!({
        "nonce": null, "department": null, "groups": ["staff"], "name": "Ann Other", "sid": "sid-2", "exp": NOW + 900,
    });
    fake.script().renewal = json!({ "access_token": "an-access-token", "expires_in": 600 });
    holder.rp.now.fetch_add(200, Ordering::Relaxed);

    let Refreshed { identity, tokens, sid } = holder.refresh().await.unwrap();
    let identity = identity.unwrap();
    assert_eq!(identity.groups, ["staff"]);
    assert_eq!((identity.user.as_str(), identity.name.as_str()), ("ann", "Ann Other"));
    assert_eq!(identity.claim("department"), None, "a claim that is no longer sent is gone");
    assert_eq!(sid, RenewedSid::Unconfirmed, "another sid, at a provider that was not seen to keep it");
    assert_eq!(tokens.access_ends, Some(Timestamp::from_unix(NOW + 800)));
    assert_eq!(text(tokens.refresh.as_ref()), "a-refresh-token-in-its-place");
    assert_ne!(text(tokens.id.as_ref()), text(holder.signed_in.tokens.id.as_ref()));

    let (authorization, form) = fake.script().last_exchange.clone();
    assert!(authorization.unwrap().starts_with("Basic "));
    assert_eq!(form["grant_type"], "refresh_token");
    assert_eq!(form["refresh_token"], "a-refresh-token");
    assert_eq!(form.len(), 2, "{form:?}");
}

#[tokio::test]
async fn a_token_that_does_not_come_again_is_kept() {
    let fake = FakeProvider::start().await;
    let holder = SessionHolder::at(&fake).await;
    fake.script().renewal = json!({ "refresh_token": null, "id_token": null, "expires_in": null });
    let Refreshed { identity, tokens, sid } = holder.refresh().await.unwrap();
    let before = &holder.signed_in.tokens;
    assert_eq!(text(tokens.refresh.as_ref()), "a-refresh-token");
    assert_eq!(text(tokens.id.as_ref()), text(before.id.as_ref()));
    assert_eq!(
        (tokens.access_ends, sid),
        (Some(Timestamp::from_unix(NOW + 300)), RenewedSid::Unconfirmed),
        "and it is renewed again in a while"
    );
    assert!(identity.is_none(), "there are no new claims");
}

#[tokio::test]
async fn without_an_id_token_the_claims_come_from_userinfo() {
    let fake = FakeProvider::start().await;
    fake.claims(json!({ "department": "ops" }));
    let holder = SessionHolder::at(&fake).await;
    fake.script().renewal = json!({ "id_token": null });
    fake.script().userinfo =
        Some(json!({ "sub": "subject-1", "groups": ["staff"], "email": "ann@new.example", "name": "" }));
    holder.rp.provider.poll().await.unwrap();
    let identity = holder.refresh().await.unwrap().identity.unwrap();
    assert_eq!(identity.groups, ["staff"]);
    assert_eq!(identity.email, "ann@new.example");
    assert_eq!(identity.name, "Ann Example", "a claim that it lacks stays");
    assert_eq!(identity.claim("department"), Some(&json!("ops")));
    assert_eq!(identity.claim("groups"), Some(&json!(["staff"])));

    fake.script().userinfo = Some(json!({ "sub": "subject-1" }));
    assert_eq!(holder.refresh().await.unwrap().identity.unwrap().groups, ["admins", "users"]);
}

#[tokio::test]
async fn groups_that_userinfo_gave_at_sign_in_come_from_there_again() {
    let fake = FakeProvider::start().await;
    fake.claims(json!({ "groups": null }));
    fake.script().userinfo = Some(json!({ "sub": "subject-1", "groups": ["staff"] }));
    let holder = SessionHolder::at(&fake).await;
    fake.script().renewed = json!({ "nonce": null, "groups": null });
    fake.script().userinfo = Some(json!({ "sub": "subject-1", "groups": [] }));
    assert!(holder.refresh().await.unwrap().identity.unwrap().groups.is_empty());
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
        // A token of another time changes nothing and ends no session, unless it is about somebody else.
        (json!({ "iat": NOW + 61 }), None),
        (json!({ "iat": NOW - 7200, "exp": NOW - 3600 }), None),
        (json!({ "iat": NOW + 61, "sub": "subject-2" }), Some("subject")),
        (json!({ "iat": NOW + 61, "aud": "another" }), Some("audience")),
        (json!({ "at_hash": "AAAA", "exp": NOW + 301 }), Some("at_hash")),
        (json!({ "sid": 7 }), Some("sid")),
    ] {
        let fake = FakeProvider::start().await;
        let holder = SessionHolder::at(&fake).await;
        fake.script().renewed = claims.clone();
        match (holder.refresh().await, reason) {
            (Ok(_), None) => {}
            (Err(error), Some(reason)) => {
                assert!(matches!(error, Error::InvalidMessage(_)), "{claims}: {error:?}");
                assert!(error.to_string().to_lowercase().contains(reason), "{claims}: {error}");
                assert_eq!(error.renewal_result(), metrics::RenewalResult::Rejected);
                assert_discreet(&error);
            }
            (result, _) => panic!("{claims}: {result:?}"),
        }
    }
}

#[tokio::test]
async fn a_provider_that_never_repeated_the_nonce_may_begin_to() {
    let fake = FakeProvider::start().await;
    let mut holder = SessionHolder::at(&fake).await;
    holder.signed_in.tokens = holder.refresh().await.unwrap().tokens;
    fake.script().renewed = json!({ "nonce": NONCE });
    assert!(holder.refresh().await.is_ok());
    holder.signed_in.tokens.id = None;
    assert!(holder.refresh().await.is_ok());
}

#[tokio::test]
async fn an_unsigned_or_forged_id_token_of_a_renewal_is_refused() {
    for signer in [Signer::Unsigned, Signer::HmacWithPublicKey, Signer::As(TestKey::Two, TestKey::One)] {
        let fake = FakeProvider::start().await;
        let holder = SessionHolder::at(&fake).await;
        fake.script().signer = signer;
        let error = holder.refresh().await.unwrap_err();
        assert!(matches!(error, Error::InvalidMessage(_)), "{signer:?}: {error:?}");
    }
}

#[tokio::test]
async fn userinfo_about_somebody_else_is_refused() {
    let fake = FakeProvider::start().await;
    let holder = SessionHolder::at(&fake).await;
    fake.script().renewal = json!({ "id_token": null });
    fake.script().userinfo = Some(json!({ "sub": "subject-2", "groups": ["admins"] }));
    holder.rp.provider.poll().await.unwrap();
    let error = holder.refresh().await.unwrap_err();
    assert!(matches!(error, Error::InvalidMessage(_)), "{error:?}");
}

#[tokio::test]
async fn the_token_error_response_decides_whether_the_session_ends() {
    use metrics::RenewalResult::{Rejected, Unavailable};
    let oauth_error = |status, code: &str| InjectedFault::Body(status, json!({ "error": code }).to_string());
    for (fault, kind, counted) in [
        (oauth_error(400, "invalid_grant"), "GrantRefused", Rejected),
        (oauth_error(400, "interaction_required"), "GrantRefused", Rejected),
        // Dex, about a refresh token that it does not know.
        (oauth_error(400, "invalid_request"), "GrantRefused", Rejected),
        (oauth_error(400, "access_denied"), "GrantRefused", Rejected),
        (oauth_error(401, "invalid_client"), "ClientRefused", Unavailable),
        (oauth_error(400, "unauthorized_client"), "ClientRefused", Unavailable),
        (oauth_error(400, "unsupported_grant_type"), "ClientRefused", Unavailable),
        (oauth_error(400, "invalid_scope"), "ClientRefused", Unavailable),
        (oauth_error(400, "temporarily_unavailable"), "Unavailable", Unavailable),
        (oauth_error(500, "invalid_grant"), "Unavailable", Unavailable),
        (InjectedFault::Status(503), "Unavailable", Unavailable),
        (InjectedFault::Status(429), "Unavailable", Unavailable),
        (InjectedFault::Redirect("https://evil.example/token".into()), "Unavailable", Unavailable),
        // A proxy before a provider that is being replaced.
        (InjectedFault::Status(404), "UnreadableAnswer", Unavailable),
        (InjectedFault::Status(403), "UnreadableAnswer", Unavailable),
        (InjectedFault::Body(404, String::new()), "UnreadableAnswer", Unavailable),
        (InjectedFault::Body(200, "<h1>We will be back</h1>".into()), "UnreadableAnswer", Unavailable),
        (
            InjectedFault::Body(200, json!({ "access_token": "a", "token_type": "mac" }).to_string()),
            "InvalidMessage",
            Rejected,
        ),
    ] {
        let fake = FakeProvider::start().await;
        let holder = SessionHolder::at(&fake).await;
        fake.inject("token", fault.clone());
        let error = holder.refresh().await.unwrap_err();
        assert!(format!("{error:?}").starts_with(kind), "{fault:?}: {error:?}");
        assert_eq!(error.renewal_result(), counted, "{fault:?}");
        assert_discreet(&error);
        let tries = if error.to_string().contains("invalid_client") { 2 } else { 1 };
        assert_eq!(
            fake.requests("token"),
            1 + tries,
            "one that may have been looked at is never sent twice: {fault:?}"
        );
    }
}

#[tokio::test]
async fn a_rotated_refresh_token_is_not_lost_where_the_claims_cannot_be_read() {
    for fault in [InjectedFault::Status(503), InjectedFault::Status(401), InjectedFault::Stall] {
        let fake = FakeProvider::start().await;
        fake.claims(json!({ "groups": null }));
        fake.script().userinfo = Some(json!({ "sub": "subject-1", "groups": ["admins"] }));
        let mut settings = settings(&fake.issuer());
        settings.timeout = Duration::from_millis(300);
        let holder = SessionHolder::of(RelyingParty::new(settings)).await;
        fake.inject("userinfo", fault);
        let Refreshed { identity, tokens, .. } = holder.refresh().await.unwrap();
        assert_eq!(text(tokens.refresh.as_ref()), "a-refresh-token-in-its-place");
        assert!(identity.is_none_or(|identity| identity.groups == ["admins"]), "the groups stay as they were");
    }

    let fake = FakeProvider::start().await;
    let holder = SessionHolder::at(&fake).await;
    fake.script().signer = Signer::Genuine(TestKey::Two);
    fake.inject("jwks", InjectedFault::Status(503));
    let Refreshed { identity, tokens, .. } = holder.refresh().await.unwrap();
    let held = text(holder.signed_in.tokens.id.as_ref());
    assert_eq!(text(tokens.refresh.as_ref()), "a-refresh-token-in-its-place");
    assert_eq!(text(tokens.id.as_ref()), held, "an ID token that nobody could verify is not kept");
    assert!(identity.is_none(), "the groups stay as they were");

    holder.rp.now.fetch_add(3_601, Ordering::Relaxed);
    let identity = holder.refresh().await.unwrap().identity.unwrap();
    assert!(identity.groups.is_empty() && identity.standing.groups_incomplete, "but not for ever");

    fake.clear_faults();
    fake.script().published = vec![TestKey::Two];
    fake.script().renewed = json!({ "nonce": null, "exp": NOW + 7200, "iat": NOW + 3600 });
    let identity = holder.refresh().await.unwrap().identity.unwrap();
    assert_eq!(identity.groups, ["admins", "users"], "the next renewal reads them again");
}

#[tokio::test]
async fn the_id_token_of_the_sign_in_that_comes_again_proves_nothing_and_ends_nothing() {
    let fake = FakeProvider::start().await;
    let log = CapturedLog::begin();
    let holder = SessionHolder::at(&fake).await;
    let first = text(holder.signed_in.tokens.id.as_ref()).to_owned();
    fake.script().renewal = json!({ "id_token": first });
    for later in [0, 200, 3_600, 86_400] {
        holder.rp.now.store(NOW + later, Ordering::Relaxed);
        let Refreshed { identity, tokens, sid } = holder.refresh().await.unwrap();
        assert!(identity.is_none() && sid == RenewedSid::Unconfirmed, "{later}");
        assert_eq!(text(tokens.id.as_ref()), first);
    }
    assert_eq!(log.warnings(&["repeats the ID token", "mend"]), 1);
    assert_eq!(log.warnings(&["claims stay as they were:"]), 0, "and nothing is said of clocks");

    // Where there is a userinfo endpoint, that one knows what is new.
    fake.script().userinfo = Some(json!({ "sub": "subject-1", "groups": ["staff"] }));
    holder.rp.provider.poll().await.unwrap();
    assert_eq!(holder.refresh().await.unwrap().identity.unwrap().groups, ["staff"]);
}

#[tokio::test]
async fn a_repeated_id_token_that_is_signed_anew_is_one_all_the_same_but_not_somebody_elses() {
    for (claims, reason) in [
        // Same `iat` and `exp`: the nonce was left out.
        (json!({ "nonce": null }), None),
        (json!({ "nonce": null, "at_hash": "AAAA" }), None),
        (json!({ "nonce": null, "groups": ["root"] }), None),
        (json!({ "sub": "subject-2" }), Some("subject")),
        (json!({ "nonce": "another" }), Some("nonce")),
        (json!({ "azp": "another" }), Some("azp")),
        (json!({ "aud": "another" }), Some("audience")),
        (json!({ "nonce": null, "exp": NOW + 301 }), None),
    ] {
        let fake = FakeProvider::start().await;
        let holder = SessionHolder::at(&fake).await;
        fake.script().renewed = claims.clone();
        holder.rp.now.fetch_add(3_600, Ordering::Relaxed);
        match (holder.refresh().await, reason) {
            (Ok(refreshed), None) => assert!(refreshed.identity.is_none(), "{claims}"),
            (Err(error), Some(reason)) => assert!(error.to_string().contains(reason), "{claims}: {error}"),
            (result, _) => panic!("{claims}: {result:?}"),
        }
    }
}

#[tokio::test]
async fn the_circuit_breaker_opens_after_three_failures_and_closes_after_one_answer() {
    let fake = FakeProvider::start().await;
    let holder = SessionHolder::at(&fake).await;
    fake.inject("token", InjectedFault::Status(503));
    for _ in 0..20 {
        let error = holder.refresh().await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    }
    assert_eq!(fake.requests("token"), 1 + 3);

    holder.rp.now.fetch_add(2, Ordering::Relaxed);
    fake.clear_faults();
    holder.refresh().await.unwrap();
    let all = futures_util::future::join_all((0..5).map(|_| holder.refresh())).await;
    assert!(all.iter().all(Result::is_ok));
}

#[tokio::test]
async fn empty_text_is_no_token() {
    let fake = FakeProvider::start().await;
    let holder = SessionHolder::at(&fake).await;
    fake.script().renewal = json!({ "refresh_token": "", "id_token": "" });
    let Refreshed { tokens, .. } = holder.refresh().await.unwrap();
    assert_eq!(text(tokens.refresh.as_ref()), "a-refresh-token");
    assert_eq!(text(tokens.id.as_ref()), text(holder.signed_in.tokens.id.as_ref()));
}

#[tokio::test]
async fn a_client_authentication_that_is_only_tried_ends_no_session() {
    let fake = FakeProvider::start().await;
    let holder = SessionHolder::at(&fake).await;
    fake.script().accepts = vec!["Post"];
    holder.refresh().await.unwrap();
    assert_eq!(fake.requests("token"), 1 + 2);
    holder.refresh().await.unwrap();
    assert_eq!(fake.requests("token"), 1 + 3, "it is remembered");
    fake.script().accepts = Vec::new();
    let error = holder.refresh().await.unwrap_err();
    assert!(matches!(error, Error::ClientRefused(_)), "{error:?}");
}

#[tokio::test]
async fn what_one_person_is_answered_puts_off_nobody_else() {
    let fake = FakeProvider::start().await;
    let holder = SessionHolder::at(&fake).await;
    let metrics_of = |result: &str| {
        format!(r#"doorward_provider_requests_total{{endpoint="token",provider="authentik",result="{result}"}} 10"#)
    };
    for odd in [
        InjectedFault::Body(200, "<h1>no</h1>".into()),
        InjectedFault::Body(200, json!({ "access_token": "" }).to_string()),
        InjectedFault::Status(404),
        InjectedFault::Body(400, json!({ "error": "slow_down" }).to_string()),
    ] {
        fake.inject("token", odd.clone());
        for _ in 0..10 {
            holder.refresh().await.unwrap_err();
        }
        fake.clear_faults();
        for _ in 0..5 {
            holder.refresh().await.unwrap_or_else(|error| panic!("{odd:?}: {error}"));
        }
    }
    assert!(!holder.rp.counts(&metrics_of("unavailable")));
    assert_eq!(fake.requests("token"), 1 + 4 * 15, "none was held back");
}

#[tokio::test]
async fn a_refused_grant_does_not_open_the_circuit_breaker() {
    let fake = FakeProvider::start().await;
    let holder = SessionHolder::at(&fake).await;
    fake.inject("token", InjectedFault::Body(400, json!({ "error": "invalid_grant" }).to_string()));
    for _ in 0..20 {
        assert!(matches!(holder.refresh().await, Err(Error::GrantRefused)));
    }
    assert_eq!(fake.requests("token"), 1 + 20);
}

#[tokio::test]
async fn a_token_endpoint_that_stalls_is_given_up() {
    let fake = FakeProvider::start().await;
    let mut settings = settings(&fake.issuer());
    settings.timeout = Duration::from_millis(100);
    let holder = SessionHolder::of(RelyingParty::new(settings)).await;
    fake.inject("token", InjectedFault::Stall);
    let error = holder.refresh().await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(text) if text.contains("100ms")), "{error:?}");
    assert_eq!(holder.rp.provider.refresh_timeout(), Duration::from_millis(3_200));
}

/// Puts TLS before the fake provider. Returns the address and the certificate to trust.
async fn tls_before(fake: &FakeProvider) -> (String, tempfile::NamedTempFile) {
    let (acceptor, certificate) = transport::acceptor(&[b"http/1.1"]);
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
    (format!("https://localhost:{port}/revoke"), transport::file(&certificate))
}

async fn revoke_at(
    endpoint: Value,
    certificate: Option<&tempfile::NamedTempFile>,
    fake: &FakeProvider,
) -> RelyingParty {
    fake.script().metadata = json!({ "revocation_endpoint": endpoint });
    let mut settings = settings(&fake.issuer());
    settings.ca = certificate.map(transport::pem);
    let rp = RelyingParty::new(settings);
    rp.provider.poll().await.unwrap();
    rp.provider.revoke(&SecretString::from("a-refresh-token")).await;
    rp
}

#[tokio::test]
async fn a_refresh_token_is_revoked_where_the_provider_offers_it() {
    let fake = FakeProvider::start().await;
    let (endpoint, certificate) = tls_before(&fake).await;
    let rp = revoke_at(endpoint.clone().into(), Some(&certificate), &fake).await;
    let (authorization, form) = fake.script().last_exchange.clone();
    assert!(authorization.unwrap().starts_with("Basic "));
    assert_eq!((form["token"].as_str(), form["token_type_hint"].as_str()), ("a-refresh-token", "refresh_token"));
    let counted = |result: &str| {
        format!(r#"doorward_provider_requests_total{{endpoint="revocation",provider="authentik",result="{result}"}} 1"#)
    };
    assert!(rp.counts(&counted("ok")));

    fake.inject("revoke", InjectedFault::Status(503));
    let rp = revoke_at(endpoint.into(), Some(&certificate), &fake).await;
    assert!(rp.counts(&counted("unavailable")), "and it is only logged");
}

#[tokio::test]
async fn a_refresh_token_is_not_sent_anywhere_else() {
    let fake = FakeProvider::start().await;
    for endpoint in [Value::Null, "ftp://127.0.0.1/revoke".into(), "/revoke".into()] {
        revoke_at(endpoint, None, &fake).await;
    }
    assert_eq!(fake.requests("revoke"), 0);
    // The issuer is http, and its endpoints may be.
    revoke_at(format!("http://{}/revoke", fake.address).into(), None, &fake).await;
    assert_eq!(fake.requests("revoke"), 1);
}

#[tokio::test]
async fn a_public_client_renews_with_its_client_id_alone() {
    let fake = FakeProvider::start().await;
    let mut settings = settings(&fake.issuer());
    settings.client_secret = None;
    let holder = SessionHolder::of(RelyingParty::new(settings)).await;
    holder.refresh().await.unwrap();
    let (authorization, form) = fake.script().last_exchange.clone();
    assert_eq!((authorization, form["client_id"].as_str()), (None, CLIENT));
}

#[tokio::test]
async fn a_renewed_id_token_without_its_sid_tells_of_a_sign_out_once_another_one_kept_it() {
    let fake = FakeProvider::start().await;
    let holder = SessionHolder::at(&fake).await;
    fake.script().renewed = json!({ "nonce": null, "sid": null });
    assert_eq!(holder.refresh().await.unwrap().sid, RenewedSid::Unconfirmed);
    fake.script().renewed = json!({ "nonce": null });
    assert_eq!(holder.refresh().await.unwrap().sid, RenewedSid::Repeated);
    assert!(holder.rp.counts(r#"doorward_provider_keeps_sid{provider="authentik"} 1"#));
    for lost in [json!(null), json!("sid-2")] {
        fake.script().renewed = json!({ "nonce": null, "sid": lost });
        let refreshed = holder.refresh().await.unwrap();
        assert_eq!(refreshed.sid, RenewedSid::Lost, "{lost}");
        let rotated = text(refreshed.tokens.refresh.as_ref()).to_owned();
        assert_eq!(rotated, "a-refresh-token-in-its-place", "to be revoked");
    }
    fake.script().renewal = json!({ "id_token": null });
    assert_eq!(holder.refresh().await.unwrap().sid, RenewedSid::Unconfirmed, "no ID token says nothing");
}
