//! The real program before a provider of which one field or one document is odd: people sign in and are renewed over plain HTTP,
//! many at once, and each is judged by the table.
//!
//! The table and the provider are those of `oidc::tests::matrix`, which runs all of it below the program. Here each field has every
//! fourth variant.

#[path = "../../src/oidc/tests/matrix/deviations.rs"]
mod deviations;
#[path = "../../src/oidc/tests/matrix/fields.rs"]
mod fields;
#[path = "../../src/oidc/tests/matrix/odd_provider.rs"]
mod odd_provider;
#[path = "../../src/oidc/tests/matrix/variants.rs"]
mod variants;

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use tempfile::TempDir;
use url::Url;

use self::{
    deviations::{Deviation, Edit},
    fields::{AnswerDocument, Expected, Moment, Need},
    odd_provider::{CLIENT_ID, FIRST_GROUP, OddProvider, RENEWED_GROUP},
    variants::Variant,
};
use crate::world::{
    Gate,
    raw::{self, OriginalRequest, RawResponse},
};

/// People who are on their way at once.
const CROWD: usize = 48;
/// One variant in so many of each field.
const SLICE: usize = 4;
/// Looks at a session until its renewal shows. A bound of a failing case, not an expectation.
const MOST_LOOKS: usize = 400;
/// Looks at a session that stays as it was.
const FEW_LOOKS: usize = 5;
const PAUSE: Duration = Duration::from_millis(25);
const PEOPLES_ISSUERS: [&str; 3] = ["plain", "userinfo", "userinfo-with-groups"];

/// A gate, and the provider that it asks.
struct OddWorld {
    gate: Gate,
    provider: OddProvider,
    people: AtomicUsize,
    _dir: TempDir,
}

/// Somebody who comes from an address of their own.
struct Comer<'w> {
    world: &'w OddWorld,
    code: String,
    host: String,
    lines: String,
}

impl OddWorld {
    /// Starts a gate with an app and a provider for each issuer, of which some are odd.
    async fn start(issuers: &[String], odd: &[(Deviation, String)]) -> Self {
        let (dir, provider) = (tempfile::tempdir().unwrap(), OddProvider::start(None).await);
        for (deviation, issuer) in odd {
            provider.set_issuer(issuer, Some(*deviation));
        }
        let mut gate = Gate::new(dir.path());
        let mut text = format!(
            "[server]\nlisten = \"127.0.0.1:{}\"\nmanagement = \"127.0.0.1:{}\"\nscheme = \"http\"\n\
             [session]\nsecrets = [\"the first secret of one test, which is long enough\"]\nrenew_before = \"1h\"\n\
             [store]\nurl = \"memory:\"\n",
            gate.port, gate.management
        );
        for name in issuers {
            let issuer = provider.issuer(name);
            write!(
                text,
                "[[providers]]\nname = \"{name}\"\nissuer = \"{issuer}\"\nclient_id = \"{CLIENT_ID}\"\n\
                 client_secret = \"the-secret-of-one-test-and-no-other\"\n\
                 [[apps]]\nname = \"{name}\"\nhosts = [\"{name}.example.test\"]\nprovider = \"{name}\"\n\
                 [[apps.rules]]\npath = \"/groups\"\nallow = {{ groups = [\"{FIRST_GROUP}\", \"{RENEWED_GROUP}\"] }}\n"
            )
            .unwrap();
        }
        gate.configure(&text);
        gate.start().await;
        Self { gate, provider, people: AtomicUsize::new(0), _dir: dir }
    }

    fn comer(&self, issuer: &str) -> Comer<'_> {
        let number = self.people.fetch_add(1, Ordering::Relaxed);
        let lines = format!("X-Forwarded-For: 198.18.{}.{}\r\n", number / 250 % 250, number % 250 + 1);
        Comer { world: self, code: format!("code{number}"), host: format!("{issuer}.example.test"), lines }
    }

    /// Runs deviations, many at once, and returns those that came out wrong.
    async fn run(&self, deviations: &[(Deviation, String)]) -> Vec<String> {
        let cases = deviations.iter().map(|(deviation, issuer)| async move {
            let failure = match deviation.moment {
                Moment::SignIn => self.at_sign_in(*deviation, issuer).await,
                Moment::Renewal => self.at_renewal(*deviation, issuer).await,
            };
            failure.err().map(|outcome| format!("{deviation}: {outcome}"))
        });
        stream::iter(cases).buffer_unordered(CROWD).filter_map(|failure| async move { failure }).collect().await
    }

    async fn at_sign_in(&self, deviation: Deviation, issuer: &str) -> Result<(), String> {
        let comer = self.comer(issuer);
        let answer = match comer.sign_in(Some(deviation)).await {
            Ok(session) => {
                if deviation.expected() == Expected::Refused {
                    return Err("signed in".to_owned());
                }
                comer.is_let_in(&session, &deviation, FIRST_GROUP).await?;
                None
            }
            Err(answer) => Some(answer),
        };
        if let Some(answer) = answer {
            if deviation.expected() == Expected::Accepted {
                return Err(format!("refused: {} {}", answer.status, answer.reason()));
            }
            let is_told = ["sign_in_failed", "provider_unavailable"].contains(&answer.reason());
            if !is_told || !answer.header("content-type").starts_with("text/html") {
                return Err(format!("refused, and not with the page: {} {}", answer.status, answer.reason()));
            }
        }
        if AnswerDocument::OF_A_PERSON.contains(&deviation.document) {
            // One person's odd answer is not the provider's health.
            let next = self.comer(issuer).sign_in(None).await;
            next.map_err(|answer| format!("the next person: {} {}", answer.status, answer.reason()))?;
        }
        Ok(())
    }

    async fn at_renewal(&self, deviation: Deviation, issuer: &str) -> Result<(), String> {
        let comer = self.comer(issuer);
        let session = comer.sign_in(Some(deviation)).await;
        let session = session.map_err(|answer| format!("no session: {} {}", answer.status, answer.reason()))?;
        let (mut looks, mut after) = (0, 0);
        while looks < MOST_LOOKS && after < FEW_LOOKS {
            let answer = comer.ask("/", &session).await;
            let groups = answer.header("remote-groups").to_owned();
            let is_asked = self.provider.renewals(&comer.code) > 0;
            match (answer.status, deviation.expected()) {
                (StatusCode::OK, Expected::Refused) if groups == RENEWED_GROUP => {
                    return Err("let in by what is not vouched for".to_owned());
                }
                (StatusCode::OK, Expected::Accepted | Expected::Either) if groups == RENEWED_GROUP => break,
                (StatusCode::OK, _) => {}
                (StatusCode::UNAUTHORIZED, Expected::Refused | Expected::Either) => break,
                (status, _) => return Err(format!("{status} {} behind the renewal", answer.reason())),
            }
            (looks, after) = (looks + 1, after + usize::from(is_asked));
            tokio::time::sleep(PAUSE).await;
        }
        if looks == MOST_LOOKS {
            return Err("never renewed".to_owned());
        }
        let next = self.comer(issuer).sign_in(None).await;
        next.map(drop).map_err(|answer| format!("the next person: {} {}", answer.status, answer.reason()))
    }

    /// Fails if the program has stumbled, or has not named a field.
    fn has_named(&self, deviations: &[(Deviation, String)], failures: &mut Vec<String>) {
        let log = self.gate.log();
        failures.extend(log.lines().filter(|line| line.contains("panicked")).map(ToOwned::to_owned));
        for (deviation, _) in deviations {
            let Edit::Member(field, _) = deviation.edit else { continue };
            let is_refusal = deviation.moment == Moment::SignIn && deviation.expected() == Expected::Refused;
            if is_refusal && field.need != Need::Optional && !log.contains(deviation.spoken_name()) {
                failures.push(format!("{deviation}: the log does not name the field"));
            }
        }
    }
}

impl Comer<'_> {
    /// Signs in, and returns the session's cookie, or the answer that is none.
    async fn sign_in(&self, deviation: Option<Deviation>) -> Result<String, RawResponse> {
        let lines = format!("{}Accept: text/html\r\nSec-Fetch-Mode: navigate\r\n", self.lines);
        let begin = OriginalRequest { method: "GET", host: &self.host, target: "/", lines: &lines };
        let sent = self.answered(&begin.in_dialect("traefik")).await;
        let Some(location) = sent.headers.get("location") else { return Err(sent) };
        let location = Url::parse(location.to_str().unwrap()).unwrap();
        let parameter = |name| location.query_pairs().find(|(own, _)| own == name).unwrap().1.into_owned();
        self.world.provider.expect(&self.code, &parameter("nonce"), deviation);
        let state: String = url::form_urlencoded::byte_serialize(parameter("state").as_bytes()).collect();
        let callback = format!(
            "GET /_doorward/callback?code={}&state={state} HTTP/1.1\r\nHost: {}\r\n{lines}Cookie: {}\r\n",
            self.code,
            self.host,
            cookies(&sent).join("; ")
        );
        let back = self.answered(&callback).await;
        let session = cookies(&back)
            .into_iter()
            .find(|cookie| cookie.split_once('=').is_some_and(|(name, value)| name == "doorward" && !value.is_empty()));
        match session {
            Some(session) if back.status.is_redirection() => Ok(session),
            _ => Err(back),
        }
    }

    async fn ask(&self, target: &str, session: &str) -> RawResponse {
        let lines = format!("{}Cookie: {session}\r\n", self.lines);
        let asked = OriginalRequest { method: "GET", host: &self.host, target, lines: &lines };
        self.answered(&asked.in_dialect("traefik")).await
    }

    /// Fails unless the session is that of the person, in the group, but for what the deviation is about.
    async fn is_let_in(&self, session: &str, deviation: &Deviation, group: &str) -> Result<(), String> {
        let answer = self.ask("/", session).await;
        let is_about = |names: &[&str]| names.iter().any(|name| deviation.is_of(name));
        let user = answer.header("remote-user");
        let is_named = user == "ann" || is_about(&["preferred_username"]);
        if answer.status != StatusCode::OK || !is_named || user.is_empty() {
            return Err(format!("signed in, and then: {} {} as {user:?}", answer.status, answer.reason()));
        }
        let by_group = self.ask("/groups", session).await.status;
        let has_no_group = is_about(&["groups"])
            && deviation.document != AnswerDocument::Userinfo
            && matches!(deviation.edit, Edit::Member(_, variant) if !matches!(variant, Variant::Right | Variant::Twice | Variant::AsText));
        let is_right = by_group == if has_no_group { StatusCode::FORBIDDEN } else { StatusCode::OK };
        is_right.then_some(()).ok_or_else(|| format!("a rule for {group} says {by_group}"))
    }

    async fn answered(&self, head: &str) -> RawResponse {
        let answer = raw::request(self.world.gate.port, head);
        tokio::time::timeout(Duration::from_mins(1), answer).await.expect("the gate answers")
    }
}

fn cookies(answer: &RawResponse) -> Vec<String> {
    answer.cookies().iter().map(|line| line.split(';').next().unwrap_or_default().to_owned()).collect()
}

/// Returns every [`SLICE`]th variant of each field, beginning with another one for each, and all variants of whole documents.
fn slice(document: AnswerDocument, moment: Moment) -> impl Iterator<Item = Deviation> {
    let all = Deviation::all(document, moment).into_iter().enumerate();
    all.filter(|(place, deviation)| matches!(deviation.edit, Edit::Whole(_)) || place % SLICE == 0).map(|(_, one)| one)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_odd_answer_about_a_person_stops_or_lets_in_the_wrong_one() {
    let mut deviations = Vec::new();
    for document in AnswerDocument::OF_A_PERSON {
        let issuer = match document {
            AnswerDocument::Userinfo => "userinfo",
            AnswerDocument::UserinfoWithGroups => "userinfo-with-groups",
            _ => "plain",
        };
        for moment in [Moment::SignIn, Moment::Renewal] {
            deviations.extend(slice(document, moment).map(|deviation| (deviation, issuer.to_owned())));
        }
    }
    let world = OddWorld::start(&PEOPLES_ISSUERS.map(ToOwned::to_owned), &[]).await;
    let mut failures = world.run(&deviations).await;
    world.has_named(&deviations, &mut failures);
    println!("people: {} cases", deviations.len());
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), deviations.len(), failures.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_odd_metadata_and_keys_stop_a_sign_in_that_does_not_need_them() {
    let documents = AnswerDocument::OF_THE_PROVIDER.into_iter();
    let deviations: Vec<_> = documents
        .flat_map(|document| slice(document, Moment::SignIn))
        .enumerate()
        .map(|(number, deviation)| (deviation, format!("issuer{number}")))
        .collect();
    let issuers: Vec<_> = deviations.iter().map(|(_, issuer)| issuer.clone()).collect();
    let world = OddWorld::start(&issuers, &deviations).await;
    let mut failures = world.run(&deviations).await;
    world.has_named(&deviations, &mut failures);
    println!("providers: {} cases", deviations.len());
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), deviations.len(), failures.join("\n"));
}
