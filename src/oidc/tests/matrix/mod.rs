//! Every field of every document that a provider sends, in every variant, at the sign-in and at a renewal.
//!
//! The table is in [`fields`]. What is not needed stops nobody; a fault of what is needed is refused by name, and lets nobody
//! in at a renewal; and neither is the provider's health.

mod deviations;
mod fields;
mod odd_provider;
mod people;
mod providers;
mod reads;
mod variants;

use std::{fmt, future::Future, time::Duration};

use tokio::time::timeout;

use self::{
    deviations::{Deviation, Edit},
    fields::{AnswerDocument, Expected, Moment},
    odd_provider::{FIRST_GROUP, OddProvider, RENEWED_GROUP, SUBJECT},
    variants::Variant,
};
use super::{CALLBACK, CapturedLog, RelyingParty, VERIFIER, fake_provider::NOW, settings};
use crate::{
    identity::Identity,
    oidc::{Error, HttpTransport, PreviousSid, Redemption, RefreshRequest, Refreshed, SignedIn},
};

const NONCE: &str = "the-nonce-of-the-matrix";

/// Longer than any answer may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// Of the outcome of a case.
const MOST_CHARACTERS: usize = 240;

/// One run of the table: how many cases there were, and those that came out wrong.
#[derive(Default)]
struct Tally {
    cases: usize,
    failures: Vec<String>,
}

impl Tally {
    fn fail(&mut self, deviation: &Deviation, outcome: impl fmt::Display) {
        let outcome: String = outcome.to_string().chars().take(MOST_CHARACTERS).collect();
        self.failures.push(format!("{deviation}: {outcome}"));
    }

    fn check(&mut self, deviation: &Deviation, is_right: bool, outcome: impl FnOnce() -> String) {
        if !is_right {
            self.fail(deviation, outcome());
        }
    }

    /// Prints the number of cases; fails with all that came out wrong.
    #[track_caller]
    fn conclude(self, what: &str) {
        let Self { cases, failures } = self;
        println!("{what}: {cases} cases");
        assert!(failures.is_empty(), "{what}: {} of {cases} cases:\n{}", failures.len(), failures.join("\n"));
    }
}

/// Returns a relying party that knows nothing yet, with a transport of others: to make one costs more than a case.
fn relying_party(issuer: &str, transport: &HttpTransport) -> RelyingParty {
    RelyingParty::with(settings(issuer), transport.clone())
}

fn transport_to(issuer: &str) -> HttpTransport {
    HttpTransport::new(&settings(issuer)).unwrap()
}

async fn sign_in(rp: &RelyingParty, code: &str) -> Result<SignedIn, Error> {
    let redemption = Redemption { code, iss: None, redirect_uri: CALLBACK, nonce: NONCE, code_verifier: VERIFIER };
    in_time(Box::pin(rp.provider.redeem(&redemption))).await
}

async fn renew(rp: &RelyingParty, session: &SignedIn) -> Result<Refreshed, Error> {
    let SignedIn { identity, tokens, .. } = session;
    let refresh_token = tokens.refresh.as_ref().unwrap();
    let sid = PreviousSid::default();
    in_time(Box::pin(rp.provider.refresh(&RefreshRequest {
        refresh_token,
        id_token: tokens.id.as_ref(),
        identity,
        sid,
    })))
    .await
}

async fn in_time<T>(answer: impl Future<Output = T>) -> T {
    timeout(DEADLINE, answer).await.expect("the gate answers")
}

/// Returns `true` if the identity is that of the person, with `group` alone, but for what the deviation is about.
fn is_right(identity: &Identity, group: &str, deviation: &Deviation) -> bool {
    // Beside the groups of an ID token those at userinfo count for nothing.
    let about_groups = deviation.is_of("groups") && deviation.document != AnswerDocument::Userinfo;
    (deviation.is_of("sub") || identity.subject.0 == SUBJECT)
        && (about_groups || identity.groups == [group])
        && (deviation.is_of("preferred_username") || identity.user == "ann")
        && (deviation.is_of("email") || deviation.is_of("email_verified") || identity.email == "ann@example.com")
}

/// Returns `true` if only variants that mean the right list have its group.
fn has_meant_groups(identity: &Identity, group: &str, deviation: &Deviation) -> bool {
    let Edit::Member(field, variant) = deviation.edit else { return true };
    let is_list = matches!(variant, Variant::Right | Variant::Twice | Variant::AsText);
    deviation.document == AnswerDocument::Userinfo
        || field.name != "groups"
        || identity.groups.iter().any(|own| own == group) == is_list
}

/// Returns `true` if an address counts as verified only where the provider says so, or does not tell.
fn is_verified_as_told(identity: &Identity, deviation: &Deviation) -> bool {
    let Edit::Member(field, variant) = deviation.edit else { return true };
    let says_yes = matches!(
        variant,
        Variant::Right | Variant::Absent | Variant::Null | Variant::True | Variant::AsText | Variant::Twice
    );
    deviation.document != AnswerDocument::IdToken
        || field.name != "email_verified"
        || identity.email_verified == says_yes
}

/// Fails if an error tells a token or a code.
fn tells_no_secret(error: &Error) -> bool {
    let texts = format!("{error} {error:?}");
    ["at.", "rt.", NONCE, "s3cret", "eyJ"].iter().all(|secret| !texts.contains(secret))
}
