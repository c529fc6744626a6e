//! Kinds of checks, each repeatable in this process.

use doorward::{clock::Clock, edge::Response};
use futures_util::FutureExt as _;
use http::{StatusCode, request::Parts};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::{configuration::Configuration, gate::Bench, subrequest::Subrequest, token_issuer::TokenIssuer};

/// A kind of check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// Signed-in people in turn.
    Hit,
    /// The same signed-in person every time.
    OneSession,
    /// API clients in turn, each with a JWT of a kilobyte that was verified a moment ago.
    Bearer,
    /// The same API client every time.
    OneToken,
    /// A public path.
    Public,
    /// A script without a session.
    NoSession,
    /// A made-up cookie of the right form.
    MadeUp,
    /// A host that no app names.
    UnknownHost,
    /// A signed-in person who is not allowed.
    Forbidden,
    /// A session that is not in the cache: a look-up in an SQLite file, and unsealing of the record.
    Miss,
    /// A signed-in person at an app with one rule.
    OneRule,
    /// The same with 50 rules, beside 199 such apps with 10,000 hosts.
    ManyRules,
}

/// A gate and the subrequests of one case.
pub(crate) struct CheckRunner {
    case: Case,
    bench: Bench,
    questions: Vec<Parts>,
    next: usize,
    runtime: Runtime,
    _folder: TempDir,
}

impl Case {
    /// All cases.
    pub(crate) const ALL: [Self; 12] = [
        Self::Hit,
        Self::OneSession,
        Self::Bearer,
        Self::OneToken,
        Self::Public,
        Self::NoSession,
        Self::MadeUp,
        Self::UnknownHost,
        Self::Forbidden,
        Self::Miss,
        Self::OneRule,
        Self::ManyRules,
    ];

    /// Name of the case.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::OneSession => "one-session",
            Self::Bearer => "bearer",
            Self::OneToken => "one-token",
            Self::Public => "public",
            Self::NoSession => "no-session",
            Self::MadeUp => "made-up-cookie",
            Self::UnknownHost => "unknown-host",
            Self::Forbidden => "forbidden",
            Self::Miss => "miss",
            Self::OneRule => "one-rule",
            Self::ManyRules => "many-rules",
        }
    }

    /// Returns the case with this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|case| case.name() == name)
    }

    /// Returns the configuration of a gate in memory.
    fn configuration(self) -> Configuration {
        let base = Configuration::of("memory:");
        match self {
            Self::OneRule => Configuration { rules_each: Some(1), ..base },
            // 200 apps and 10,000 hosts, with the first app's.
            Self::ManyRules => Configuration { apps: 200, hosts_each: 51, rules_each: Some(50), ..base },
            _ => base,
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Hit
            | Self::OneSession
            | Self::Bearer
            | Self::OneToken
            | Self::Public
            | Self::Miss
            | Self::OneRule
            | Self::ManyRules => StatusCode::OK,
            Self::NoSession | Self::MadeUp => StatusCode::UNAUTHORIZED,
            Self::UnknownHost | Self::Forbidden => StatusCode::FORBIDDEN,
        }
    }

    /// Returns the subrequests, given the cookies of the signed-in people.
    fn questions(self, cookies: &[String]) -> Vec<Parts> {
        let first = cookies.first().map(String::as_str);
        let everybody = || cookies.iter().map(|cookie| Subrequest::dashboard(Some(cookie)).parts()).collect();
        let one = |question: Subrequest<'_>| vec![question.parts()];
        match self {
            Self::Hit | Self::Miss | Self::OneRule | Self::ManyRules => everybody(),
            Self::OneSession => one(Subrequest::dashboard(first)),
            Self::Bearer => cookies.iter().map(|token| Subrequest::api(token).parts()).collect(),
            Self::OneToken => one(Subrequest::api(first.unwrap_or_default())),
            Self::Public => one(Subrequest { uri: "/public/logo.svg", ..Subrequest::dashboard(None) }),
            Self::NoSession => one(Subrequest { mode: "cors", ..Subrequest::dashboard(None) }),
            Self::MadeUp => {
                let made_up: String = first.unwrap_or_default().chars().rev().collect();
                one(Subrequest { mode: "cors", ..Subrequest::dashboard(Some(&made_up)) })
            }
            Self::UnknownHost => one(Subrequest { host: "nobody.example.com", ..Subrequest::dashboard(first) }),
            Self::Forbidden => one(Subrequest { uri: "/vault/", ..Subrequest::dashboard(first) }),
        }
    }
}

impl CheckRunner {
    /// A gate at which `people` are signed in. For [`Case::Miss`] none of them is in the cache, so that many checks are possible.
    pub(crate) fn of(case: Case, people: usize) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let folder = in_memory();
        let bench = runtime.block_on(async {
            if matches!(case, Case::Bearer | Case::OneToken) {
                return Bench::for_api_clients(&TokenIssuer::start(), people).await;
            }
            if case != Case::Miss {
                let mut bench = Bench::configured(&case.configuration(), Clock::System).await;
                bench.sign_in(people).await;
                return bench;
            }
            let store = format!("sqlite:{}", folder.path().join("sessions.db").display());
            let mut before = Bench::on(&store, 1).await;
            before.sign_in(people).await;
            Bench { cookies: before.cookies, ..Bench::on(&store, 1).await }
        });
        let questions = case.questions(&bench.cookies);
        Self { case, bench, questions, next: 0, runtime, _folder: folder }
    }

    /// Sends each subrequest once, so that nothing is measured that happens only the first time.
    pub(crate) fn warm(&mut self) {
        for question in &self.questions {
            let answer = self.runtime.block_on(self.bench.ask(question));
            assert_eq!(answer.status(), self.case.status(), "{:?}", self.case);
        }
    }

    /// Asks for another path from now on.
    pub(crate) fn set_uri(&mut self, uri: &str) {
        let cookies = &self.bench.cookies;
        let question = |cookie: &String| Subrequest { uri, ..Subrequest::dashboard(Some(cookie)) }.parts();
        self.questions = cookies.iter().map(question).collect();
    }

    /// Performs the next check.
    pub(crate) fn ask(&mut self) -> Response {
        let question = self.questions.get(self.next).expect("there is always a question");
        self.next = (self.next + 1) % self.questions.len();
        let answer = self.bench.ask(question);
        let answer = match self.case {
            // A hit of the cache needs no runtime, as in the server.
            Case::Hit
            | Case::OneSession
            | Case::Bearer
            | Case::OneToken
            | Case::Public
            | Case::OneRule
            | Case::ManyRules => answer.now_or_never().expect("nothing is waited for"),
            _ => self.runtime.block_on(answer),
        };
        assert_eq!(answer.status(), self.case.status(), "{:?}", self.case);
        answer
    }
}

/// Creates a folder in memory, where sign-ins are not synced to a disk.
pub(crate) fn in_memory() -> TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("a folder for a store")
}
