//! The documents that everybody's sign-in depends on: metadata and keys.

use super::{
    AnswerDocument, Deviation, Error, Expected, FIRST_GROUP, Moment, NONCE, NOW, OddProvider, RENEWED_GROUP,
    RelyingParty, SignedIn, Tally, is_right, tells_no_secret,
};
use crate::oidc::AuthorizationRequest;

/// Runs all deviations of a document, each before a relying party that knows nothing yet: somebody is sent to the provider, and
/// comes back.
async fn run_at_sign_in(document: AnswerDocument) -> Tally {
    let (provider, mut tally) = (OddProvider::start(Some(NOW)).await, Tally::default());
    let transport = super::transport_to(&provider.issuer("plain"));
    provider.expect("good", NONCE, None);
    for deviation in Deviation::all(document, Moment::SignIn) {
        tally.cases += 1;
        provider.set_issuer("plain", Some(deviation));
        let log = super::CapturedLog::begin();
        let rp = super::relying_party(&provider.issuer("plain"), &transport);
        let outcome = sent_and_back(&rp).await;
        match (deviation.expected(), &outcome) {
            (Expected::Refused, Ok(_)) => tally.fail(&deviation, "signed in"),
            (_, Ok(SignedIn { identity, .. })) => {
                tally.check(&deviation, is_right(identity, FIRST_GROUP, &deviation), || format!("as {identity:?}"));
            }
            (Expected::Accepted, Err(error)) => tally.fail(&deviation, format!("refused: {error}")),
            (Expected::Refused | Expected::Either, Err(error)) => {
                let name = deviation.spoken_name();
                let names = error.to_string().contains(name) || log.warnings(&[name]) > 0;
                tally.check(&deviation, names, || format!("refused without its name: {error}"));
                tally.check(&deviation, tells_no_secret(error), || format!("tells a secret: {error}"));
            }
        }
        // The same relying party, once the provider is mended.
        provider.set_issuer("plain", None);
        let polled = rp.provider.poll().await;
        let after = sent_and_back(&rp).await;
        tally.check(&deviation, after.is_ok(), || format!("mended, and still: {polled:?} {:?}", after.err()));
    }
    tally
}

/// Runs all deviations of a document behind a session: what is odd now replaces nothing that was good.
async fn run_at_renewal(document: AnswerDocument) -> Tally {
    let (provider, mut tally) = (OddProvider::start(Some(NOW)).await, Tally::default());
    let transport = super::transport_to(&provider.issuer("plain"));
    provider.expect("good", NONCE, None);
    for deviation in Deviation::all(document, Moment::Renewal) {
        tally.cases += 1;
        provider.set_issuer("plain", None);
        let rp = super::relying_party(&provider.issuer("plain"), &transport);
        let session = sent_and_back(&rp).await.unwrap_or_else(|error| panic!("{document:?}: {error}"));
        provider.set_issuer("plain", Some(deviation));
        // Its health has noted the outcome.
        let _ = rp.provider.poll().await;
        match super::renew(&rp, &session).await.map(|renewed| renewed.identity) {
            Ok(Some(identity)) if is_right(&identity, RENEWED_GROUP, &deviation) => {}
            _ if deviation.expected() == Expected::Either => {}
            outcome => tally.fail(&deviation, format!("not renewed: {outcome:?}")),
        }
    }
    tally
}

async fn sent_and_back(rp: &RelyingParty) -> Result<SignedIn, Error> {
    let request = AuthorizationRequest {
        redirect_uri: super::CALLBACK,
        state: "a state",
        nonce: NONCE,
        code_verifier: super::VERIFIER,
        acr_values: &[],
        max_age: None,
        silent: None,
    };
    super::in_time(Box::pin(rp.provider.authorize(&request))).await?;
    super::sign_in(rp, "good").await
}

#[tokio::test]
async fn every_field_of_the_metadata_at_sign_in() {
    run_at_sign_in(AnswerDocument::Metadata).await.conclude("metadata at sign-in");
}

#[tokio::test]
async fn every_field_of_the_metadata_behind_a_session() {
    run_at_renewal(AnswerDocument::Metadata).await.conclude("metadata behind a session");
}

#[tokio::test]
async fn every_member_of_the_keys() {
    run_at_sign_in(AnswerDocument::KeySet).await.conclude("key set at sign-in");
    run_at_sign_in(AnswerDocument::Key).await.conclude("key at sign-in");
}
