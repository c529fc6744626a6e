//! The documents about one person: ID token, token response, userinfo.

use std::collections::BTreeMap;

use super::{
    AnswerDocument, CapturedLog, Deviation, Edit, Error, Expected, FIRST_GROUP, Moment, NONCE, NOW, OddProvider,
    RENEWED_GROUP, Refreshed, SignedIn, Tally, Variant, fields::Need, has_meant_groups, is_right, is_verified_as_told,
    tells_no_secret,
};

/// Runs all deviations of a document at a moment. Each field has a relying party of its own, which has named nothing yet.
async fn run(document: AnswerDocument, moment: Moment) -> Tally {
    let provider = OddProvider::start(Some(NOW)).await;
    let issuer = match document {
        AnswerDocument::Userinfo => "userinfo",
        AnswerDocument::UserinfoWithGroups => "userinfo-with-groups",
        _ => "plain",
    };
    let issuer = provider.issuer(issuer);
    let transport = super::transport_to(&issuer);
    let mut by_field = BTreeMap::<_, Vec<_>>::new();
    for deviation in Deviation::all(document, moment) {
        by_field.entry(deviation.name()).or_default().push(deviation);
    }
    let mut tally = Tally::default();
    for deviations in by_field.into_values() {
        let (rp, log) = (super::relying_party(&issuer, &transport), CapturedLog::begin());
        provider.expect("good", NONCE, None);
        let session = super::sign_in(&rp, "good").await.unwrap_or_else(|error| panic!("{document:?}: {error}"));
        for deviation in &deviations {
            tally.cases += 1;
            match moment {
                Moment::SignIn => {
                    provider.expect("odd", NONCE, Some(*deviation));
                    judge_sign_in(&mut tally, deviation, &super::sign_in(&rp, "odd").await);
                }
                Moment::Renewal => {
                    provider.expect("good", NONCE, Some(*deviation));
                    judge_renewal(&mut tally, deviation, &super::renew(&rp, &session).await, &session);
                    tally.check(deviation, provider.renewals("good") > 0, || "the provider was not asked".to_owned());
                }
            }
            let is_up = rp.provider.health.sign_in_outage().is_none();
            tally.check(deviation, is_up, || "the provider counts as unavailable".to_owned());
        }
        provider.expect("next", NONCE, None);
        let next = super::sign_in(&rp, "next").await;
        let (last, is_named) = (deviations[deviations.len() - 1], names(&log, &deviations));
        tally.check(&last, next.is_ok(), || format!("the next person cannot sign in: {:?}", next.err()));
        tally.check(&last, is_named, || "the log does not name the field".to_owned());
    }
    tally
}

/// Returns `true` if the log names a field that is read as it can be. That of a needed one is in the refusal.
fn names(log: &CapturedLog, deviations: &[Deviation]) -> bool {
    match deviations[0].edit {
        Edit::Member(field, _) if field.need == Need::Optional => {
            let quoted = serde_json::Value::from(field.name).to_string();
            log.warnings(&["taken as absent", &format!("\"field\":{quoted}")]) >= 1
        }
        _ => true,
    }
}

fn judge_sign_in(tally: &mut Tally, deviation: &Deviation, outcome: &Result<SignedIn, Error>) {
    match (deviation.expected(), outcome) {
        (Expected::Refused, Ok(_)) => tally.fail(deviation, "signed in"),
        (_, Ok(SignedIn { identity, tokens, .. })) => {
            let is_right =
                is_right(identity, FIRST_GROUP, deviation) && has_meant_groups(identity, FIRST_GROUP, deviation);
            tally.check(deviation, is_right, || format!("signed in as {identity:?}"));
            tally.check(deviation, is_verified_as_told(identity, deviation), || "verified address".to_owned());
            tally.check(deviation, tokens.access_ends.is_some(), || "never renewed".to_owned());
        }
        (Expected::Accepted, Err(error)) => tally.fail(deviation, format!("refused: {error}")),
        (Expected::Refused | Expected::Either, Err(error)) => {
            let names = error.to_string().contains(deviation.spoken_name());
            tally.check(deviation, names, || format!("refused without its name: {error}"));
            tally.check(deviation, tells_no_secret(error), || format!("tells a secret: {error}"));
        }
    }
}

fn judge_renewal(tally: &mut Tally, deviation: &Deviation, outcome: &Result<Refreshed, Error>, session: &SignedIn) {
    let is_over = |error: &Error| matches!(error, Error::GrantRefused | Error::InvalidMessage(_) | Error::ClockSkew(_));
    match (deviation.expected(), outcome) {
        // What it says counts for nothing.
        (Expected::Refused, Ok(Refreshed { identity: Some(identity), .. })) => {
            let is_unchanged =
                identity.groups == session.identity.groups && identity.subject == session.identity.subject;
            tally.check(deviation, is_unchanged, || format!("renewed as {identity:?}"));
        }
        (Expected::Refused, Ok(_)) => {}
        (_, Ok(Refreshed { identity: Some(identity), tokens, .. })) => {
            let is_about_userinfo =
                matches!(deviation.document, AnswerDocument::Userinfo | AnswerDocument::UserinfoWithGroups);
            let stays = is_about_userinfo && is_right(identity, FIRST_GROUP, deviation);
            let is_right = stays || is_right(identity, RENEWED_GROUP, deviation);
            tally.check(deviation, is_right, || format!("renewed as {identity:?}"));
            tally.check(deviation, has_meant_groups(identity, RENEWED_GROUP, deviation), || {
                format!("renewed with {:?}", identity.groups)
            });
            tally.check(deviation, is_verified_as_told(identity, deviation), || "verified address".to_owned());
            tally.check(deviation, tokens.refresh.is_some(), || "the refresh token is lost".to_owned());
        }
        (_, Ok(Refreshed { identity: None, tokens, .. })) => {
            let is_without = deviation.is_of("id_token") && tokens.refresh.is_some() && tokens.id.is_some();
            tally.check(deviation, is_without, || "the new ID token was not read".to_owned());
        }
        (Expected::Accepted, Err(error)) => tally.fail(deviation, format!("not renewed: {error}")),
        (Expected::Refused | Expected::Either, Err(error)) => {
            tally.check(deviation, tells_no_secret(error), || format!("tells a secret: {error}"));
            let is_of_all =
                matches!(deviation.edit, Edit::Whole(_)) && deviation.document == AnswerDocument::TokenResponse;
            tally.check(deviation, !(is_of_all && is_over(error)), || format!("the session ends: {error}"));
            let names = error.to_string().contains(deviation.spoken_name()) || !is_over(error);
            tally.check(deviation, names, || format!("ended without its name: {error}"));
        }
    }
}

#[tokio::test]
async fn every_claim_of_an_id_token_at_sign_in() {
    run(AnswerDocument::IdToken, Moment::SignIn).await.conclude("ID token at sign-in");
}

#[tokio::test]
async fn every_claim_of_an_id_token_at_a_renewal() {
    run(AnswerDocument::IdToken, Moment::Renewal).await.conclude("ID token at a renewal");
}

#[tokio::test]
async fn every_field_of_an_id_tokens_header() {
    run(AnswerDocument::Header, Moment::SignIn).await.conclude("header at sign-in");
    run(AnswerDocument::Header, Moment::Renewal).await.conclude("header at a renewal");
}

#[tokio::test]
async fn every_field_of_a_token_response_at_sign_in() {
    run(AnswerDocument::TokenResponse, Moment::SignIn).await.conclude("token response at sign-in");
}

#[tokio::test]
async fn every_field_of_a_token_response_at_a_renewal() {
    run(AnswerDocument::TokenResponse, Moment::Renewal).await.conclude("token response at a renewal");
}

#[tokio::test]
async fn every_claim_at_userinfo_at_sign_in() {
    run(AnswerDocument::Userinfo, Moment::SignIn).await.conclude("userinfo at sign-in");
}

#[tokio::test]
async fn every_claim_at_userinfo_at_a_renewal() {
    run(AnswerDocument::Userinfo, Moment::Renewal).await.conclude("userinfo at a renewal");
}

#[tokio::test]
async fn every_claim_at_a_userinfo_that_alone_has_the_groups() {
    run(AnswerDocument::UserinfoWithGroups, Moment::SignIn).await.conclude("userinfo with the groups at sign-in");
    run(AnswerDocument::UserinfoWithGroups, Moment::Renewal).await.conclude("userinfo with the groups at a renewal");
}

#[test]
fn a_variant_is_what_its_name_says() {
    let of = |variant: Variant| variant.members("a", "300").join(",");
    assert_eq!(of(Variant::Right), r#""a":300"#);
    assert_eq!(of(Variant::Absent), "");
    assert_eq!(of(Variant::AsText), r#""a":"300""#);
    assert_eq!(of(Variant::Twice), r#""a":300,"a":300"#);
    assert_eq!(of(Variant::TwiceOther), r#""a":300,"a":"odd text""#);
    assert_eq!(of(Variant::ListOfRight), r#""a":[300]"#);
}
