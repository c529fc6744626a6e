//! The gate beside another relying party, `mod_auth_openidc`, before providers that deviate from the protocol (contract C9).
//!
//! Both judge the same answers. The gate refuses whatever the other refuses, or the table says why it need not.

use std::{collections::HashMap, fmt::Write as _};

use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    postgres::{EDGE, ask, refused},
    world::{
        CLIENT_SECRET, MisbehavingProvider, ModAuthOpenidc, Visitor, World, WorldBuilder, eventually,
        misbehaving_provider::{RawAnswer, Script, Signature, public},
    },
};

/// End of a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The page is reached.
    Accepted,
    /// It is not.
    Refused,
}

use Outcome::{Accepted, Refused};

/// A deviation, the outcomes at the gate and at `mod_auth_openidc`, and the reason of a difference.
type Case = (&'static str, Script, Outcome, Outcome, &'static str);

fn claims(claims: Value) -> Script {
    Script { claims, ..Script::default() }
}

fn header(header: Value) -> Script {
    Script { header, ..Script::default() }
}

fn signature(signature: Signature) -> Script {
    Script { signature, ..Script::default() }
}

fn tokens(tokens: Value) -> Script {
    Script { tokens, ..Script::default() }
}

fn userinfo(userinfo: Value) -> Script {
    Script { userinfo, ..Script::default() }
}

fn callback(callback: Value) -> Script {
    Script { callback, ..Script::default() }
}

fn jwks(keys: &[Value]) -> Script {
    Script { jwks: Some(json!({ "keys": keys })), ..Script::default() }
}

/// Returns a script with a whole answer of one endpoint, and with an ID token that leaves something to userinfo.
fn answer(endpoint: &'static str, status: u16, content_type: &'static str, text: fn(String) -> String) -> Script {
    let answers = HashMap::from([(endpoint, RawAnswer { status, content_type, text })]);
    Script { answers, claims: json!({ "groups": null }), userinfo: json!({ "groups": [] }), ..Script::default() }
}

/// Answers that are somebody else's, forged or of another time.
fn dangerous(now: u64) -> Vec<Case> {
    const STRICTER: &str = "the other does not look at it, or leaves it to TLS";
    const SKEW: &str = "a minute of clock skew";
    // Asked only for what the ID token lacks.
    let of_another = Script { claims: json!({ "groups": null }), ..userinfo(json!({ "sub": "subject-2" })) };
    vec![
        ("unsigned", signature(Signature::Absent), Refused, Accepted, STRICTER),
        ("signed-with-the-client-secret", signature(Signature::ClientSecret), Refused, Accepted, STRICTER),
        ("signed-with-the-public-key-as-a-secret", signature(Signature::PublicKeyAsSecret), Refused, Refused, ""),
        ("signed-by-an-unknown-key", signature(Signature::Unpublished), Refused, Refused, ""),
        ("signed-by-an-unknown-key-under-a-known-name", signature(Signature::Forged), Refused, Refused, ""),
        ("another-algorithm-than-it-says", header(json!({ "alg": "RS512" })), Refused, Refused, ""),
        ("unknown-critical-header", header(json!({ "crit": ["b64"], "b64": false })), Refused, Accepted, STRICTER),
        ("a-logout-token", header(json!({ "typ": "logout+jwt" })), Refused, Accepted, STRICTER),
        ("an-access-token", header(json!({ "typ": "at+jwt" })), Refused, Accepted, STRICTER),
        ("another-audience", claims(json!({ "aud": "another" })), Refused, Refused, ""),
        ("no-audience", claims(json!({ "aud": null })), Refused, Refused, ""),
        ("further-audiences", claims(json!({ "aud": ["doorward", "another"] })), Refused, Accepted, STRICTER),
        ("another-authorized-party", claims(json!({ "azp": "another" })), Refused, Refused, ""),
        ("another-issuer", claims(json!({ "iss": "https://evil.example.test" })), Refused, Refused, ""),
        ("no-issuer", claims(json!({ "iss": null })), Refused, Refused, ""),
        ("expired", claims(json!({ "iat": now - 300, "exp": now - 120 })), Refused, Refused, ""),
        ("expired-a-moment-ago", claims(json!({ "exp": now - 30 })), Accepted, Refused, SKEW),
        ("no-expiry", claims(json!({ "exp": null })), Refused, Refused, ""),
        ("expiry-as-text", claims(json!({ "exp": (now + 300).to_string() })), Refused, Refused, ""),
        ("issued-in-an-hour", claims(json!({ "iat": now + 3600, "exp": now + 7200 })), Refused, Refused, ""),
        ("issued-an-hour-ago", claims(json!({ "iat": now - 3600 })), Accepted, Refused, "it has not expired"),
        ("no-time-of-issue", claims(json!({ "iat": null })), Refused, Refused, ""),
        ("not-valid-yet", claims(json!({ "nbf": now + 3600 })), Refused, Accepted, STRICTER),
        ("another-nonce", claims(json!({ "nonce": "another" })), Refused, Refused, ""),
        ("no-nonce", claims(json!({ "nonce": null })), Refused, Refused, ""),
        ("another-access-token", claims(json!({ "at_hash": "AAAAAAAAAAAAAAAAAAAAAA" })), Refused, Refused, ""),
        ("another-code", claims(json!({ "c_hash": "AAAAAAAAAAAAAAAAAAAAAA" })), Refused, Refused, ""),
        ("no-subject", claims(json!({ "sub": null })), Refused, Refused, ""),
        ("empty-subject", claims(json!({ "sub": "" })), Refused, Accepted, STRICTER),
        ("subject-as-a-number", claims(json!({ "sub": 7 })), Refused, Refused, ""),
        ("another-subject-at-userinfo", of_another, Refused, Accepted, "the other goes on without these claims"),
        (
            "another-issuer-at-the-callback",
            callback(json!({ "iss": "https://evil.example.test" })),
            Refused,
            Refused,
            "",
        ),
        ("no-id-token", tokens(json!({ "id_token": null })), Refused, Refused, ""),
        ("id-token-that-is-none", tokens(json!({ "id_token": "a.b.c" })), Refused, Refused, ""),
        ("token-of-another-type", tokens(json!({ "token_type": "mac" })), Refused, Accepted, STRICTER),
    ]
}

/// Answers that are untidy, and clear in all that matters.
fn untidy() -> Vec<Case> {
    const CLEAR: &str = "it is clear what is meant";
    let mut unknown = public("one");
    unknown["kty"] = json!("a kind of tomorrow");
    unknown["kid"] = json!("tomorrow");
    vec![
        ("genuine", Script::default(), Accepted, Accepted, ""),
        ("audience-as-a-list", claims(json!({ "aud": ["doorward"] })), Accepted, Accepted, ""),
        (
            "further-audiences-with-azp",
            claims(json!({ "aud": ["doorward", "another"], "azp": "doorward" })),
            Accepted,
            Accepted,
            "",
        ),
        ("the-key-is-not-named", signature(Signature::WithoutKeyId), Accepted, Accepted, ""),
        ("a-key-of-an-unknown-kind-beside", jwks(&[unknown, public("one")]), Accepted, Accepted, ""),
        ("a-fractional-expiry", claims(json!({ "exp": 4_000_000_000.5 })), Accepted, Accepted, ""),
        ("no-refresh-token", tokens(json!({ "refresh_token": null })), Accepted, Accepted, ""),
        ("another-case-of-bearer", tokens(json!({ "token_type": "bEARER" })), Accepted, Accepted, ""),
        ("a-type-in-lower-case", header(json!({ "typ": "jwt" })), Accepted, Accepted, ""),
        ("no-type", header(json!({ "typ": null })), Accepted, Accepted, ""),
        ("claims-as-plain-text", answer("userinfo", 200, "text/plain", |text| text), Accepted, Accepted, ""),
        ("an-address-that-is-a-list", claims(json!({ "address": [] })), Accepted, Accepted, ""),
        ("methods-as-text", claims(json!({ "amr": "pwd", "acr": 1 })), Accepted, Accepted, ""),
        ("a-time-of-sign-in-as-text", claims(json!({ "auth_time": "2024-01-02" })), Accepted, Accepted, ""),
        ("a-picture-that-is-an-object", claims(json!({ "picture": {}, "name": 5 })), Accepted, Accepted, ""),
        ("a-life-as-text", tokens(json!({ "expires_in": "3600" })), Accepted, Accepted, ""),
        ("a-fractional-life", tokens(json!({ "expires_in": 3600.0 })), Accepted, Accepted, ""),
        ("scopes-as-a-list", tokens(json!({ "scope": ["openid"] })), Accepted, Accepted, ""),
        ("an-empty-refresh-token", tokens(json!({ "refresh_token": "" })), Accepted, Accepted, ""),
        ("no-type-of-token", tokens(json!({ "token_type": null })), Accepted, Refused, CLEAR),
        ("tokens-as-plain-text", answer("token", 200, "text/plain", |text| text), Accepted, Accepted, ""),
        ("tokens-as-created", answer("token", 201, "application/json", |text| text), Accepted, Accepted, ""),
        ("userinfo-forbidden", answer("userinfo", 403, "text/plain", |_| String::new()), Accepted, Accepted, ""),
        ("userinfo-as-a-page", answer("userinfo", 200, "text/html", |_| "<p>no".to_owned()), Accepted, Accepted, ""),
        ("the-same-key-twice", jwks(&[public("one"), public("one")]), Accepted, Accepted, ""),
        ("keys-without-names", jwks(&[unnamed("two"), unnamed("one")]), Accepted, Refused, CLEAR),
        (
            "an-optional-address-that-is-none",
            Script { metadata: json!({ "end_session_endpoint": "" }), ..Script::default() },
            Accepted,
            Accepted,
            "",
        ),
    ]
}

/// Returns a key without its name.
fn unnamed(name: &str) -> Value {
    let mut key = public(name);
    key.as_object_mut().unwrap().remove("kid");
    key
}

/// Starts a gate and an Apache with an issuer and a host for each case.
async fn world_of(provider: &MisbehavingProvider, cases: &[Case]) -> (World, ModAuthOpenidc) {
    let (mut tables, mut hosts) = (String::new(), Vec::new());
    let own = provider.issuer("own", Script::default());
    for (name, script, ..) in cases {
        let issuer = provider.issuer(name, script.clone()).issuer;
        write!(
            tables,
            "[[providers]]\nname = \"{name}\"\nissuer = \"{issuer}\"\nclient_id = \"doorward\"\n\
             client_secret = \"{CLIENT_SECRET}\"\n\
             [[apps]]\nname = \"{name}\"\nhosts = [\"{name}.example.test\"]\nprovider = \"{name}\"\n"
        )
        .unwrap();
        hosts.push((format!("{name}.example.test"), issuer));
    }
    let world = WorldBuilder::with(EDGE).tables(&tables).registered(own).start().await;
    let other = ModAuthOpenidc::start(world.dir(), world.app.port, &hosts).await;
    (world, other)
}

/// Signs in with a browser of its own.
async fn sign_in(browser: &Visitor, url: &str) -> (Outcome, String) {
    let answer = browser.visit(url).await;
    // The other explains refusals on pages with the status 200.
    let is_of_the_app = answer.status == StatusCode::OK && answer.header("content-type") == "application/json";
    let outcome = if is_of_the_app { Accepted } else { Refused };
    (outcome, format!("{} {}", answer.status, answer.reason()))
}

/// Runs a table, and returns the rows that came out differently.
async fn differences(cases: Vec<Case>) -> Vec<String> {
    let provider = MisbehavingProvider::start().await;
    let (world, other) = world_of(&provider, &cases).await;
    let mut differences = Vec::new();
    for (name, _, at_gate, at_other, why) in cases {
        let (gate, said) = sign_in(&world.visitor(), &world.at(name, "/")).await;
        let (apache, told) = sign_in(&world.visitor(), &other.at(&format!("{name}.example.test"), "/")).await;
        if (gate, apache) != (at_gate, at_other) {
            differences.push(format!("{name}: the gate {gate:?} ({said}), mod_auth_openidc {apache:?} ({told})"));
        }
        assert_eq!(why.is_empty(), at_gate == at_other, "{name}: a difference has a reason");
    }
    if !differences.is_empty() {
        eprintln!("{}\n{}", world.gate.log(), other.log());
    }
    differences
}

#[tokio::test]
async fn the_gate_refuses_all_that_another_relying_party_refuses_for_good_reason() {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert_eq!(differences(dangerous(now)).await, [] as [String; 0]);
}

#[tokio::test]
async fn the_gate_takes_untidy_answers_as_another_relying_party_does() {
    assert_eq!(differences(untidy()).await, [] as [String; 0]);
}

#[tokio::test]
async fn a_renewal_whose_id_token_is_forged_or_of_another_person_ends_the_session() {
    let provider = MisbehavingProvider::start().await;
    let genuine = tokens(json!({ "expires_in": 4 }));
    let own = provider.issuer("own", genuine.clone());
    let world = WorldBuilder::with(EDGE).session("renew_before = \"2s\"").registered(own).start().await;
    let forged = Script { signature: Signature::Forged, ..genuine.clone() };
    let of_another = Script { renewed_claims: json!({ "sub": "subject-2" }), ..genuine.clone() };
    for deviation in [forged, of_another] {
        provider.change("own", |script| *script = genuine.clone());
        let ann = world.visitor();
        ann.visit(&world.at("app", "/")).await.echo();
        let before = provider.requests("own", "token");
        eventually("it is renewed", async || {
            assert_eq!(ask(&world, &world.gate, &ann).await.status, StatusCode::OK);
            (provider.requests("own", "token") > before).then_some(())
        })
        .await;
        provider.change("own", |script| *script = deviation);
        refused(&world, &[&world.gate], &ann).await;
    }
}
