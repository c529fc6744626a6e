//! The kinds of check that there are, each ready to be made again and again in this process.

use doorward::edge::Response;
use futures_util::FutureExt as _;
use http::{StatusCode, request::Parts};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::{gate::Bench, question::Question};

/// A kind of check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// Somebody who is signed in, one after the other.
    Hit,
    /// The same person every time.
    OneSession,
    /// A path that is open to everybody.
    Public,
    /// Nobody, by a script.
    NoSession,
    /// A cookie that looks like one of ours.
    MadeUp,
    /// A host that no app names.
    UnknownHost,
    /// Somebody who is signed in and may not.
    Forbidden,
    /// A session that is not in memory: a look-up in an SQLite file, and the record is opened.
    Miss,
}

/// A gate and what it is asked in one case.
pub(crate) struct Drill {
    case: Case,
    bench: Bench,
    questions: Vec<Parts>,
    next: usize,
    runtime: Runtime,
    _folder: TempDir,
}

impl Case {
    /// All of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::Hit,
        Self::OneSession,
        Self::Public,
        Self::NoSession,
        Self::MadeUp,
        Self::UnknownHost,
        Self::Forbidden,
        Self::Miss,
    ];

    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::OneSession => "one-session",
            Self::Public => "public",
            Self::NoSession => "no-session",
            Self::MadeUp => "made-up-cookie",
            Self::UnknownHost => "unknown-host",
            Self::Forbidden => "forbidden",
            Self::Miss => "miss",
        }
    }

    /// The one that is called so.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|case| case.name() == name)
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Hit | Self::OneSession | Self::Public | Self::Miss => StatusCode::OK,
            Self::NoSession | Self::MadeUp => StatusCode::UNAUTHORIZED,
            Self::UnknownHost | Self::Forbidden => StatusCode::FORBIDDEN,
        }
    }

    /// What is asked, given the cookies of those who are signed in.
    fn questions(self, cookies: &[String]) -> Vec<Parts> {
        let first = cookies.first().map(String::as_str);
        let everybody = || cookies.iter().map(|cookie| Question::dashboard(Some(cookie)).parts()).collect();
        let one = |question: Question<'_>| vec![question.parts()];
        match self {
            Self::Hit | Self::Miss => everybody(),
            Self::OneSession => one(Question::dashboard(first)),
            Self::Public => one(Question { uri: "/public/logo.svg", ..Question::dashboard(None) }),
            Self::NoSession => one(Question { mode: "cors", ..Question::dashboard(None) }),
            Self::MadeUp => {
                let made_up: String = first.unwrap_or_default().chars().rev().collect();
                one(Question { mode: "cors", ..Question::dashboard(Some(&made_up)) })
            }
            Self::UnknownHost => one(Question { host: "nobody.example.com", ..Question::dashboard(first) }),
            Self::Forbidden => one(Question { uri: "/vault/", ..Question::dashboard(first) }),
        }
    }
}

impl Drill {
    /// A gate at which `people` are signed in. For [`Case::Miss`] it has forgotten them: that many checks can be made.
    pub(crate) fn of(case: Case, people: usize) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let folder = in_memory();
        let bench = runtime.block_on(async {
            if case != Case::Miss {
                return Bench::with(people).await;
            }
            let store = format!("sqlite:{}", folder.path().join("sessions.db").display());
            let mut before = Bench::on(&store, 1).await;
            before.sign_in(people).await;
            Bench { cookies: before.cookies, ..Bench::on(&store, 1).await }
        });
        let questions = case.questions(&bench.cookies);
        Self { case, bench, questions, next: 0, runtime, _folder: folder }
    }

    /// Has everybody asked once, so that nothing is done for the first time.
    pub(crate) fn warm(&mut self) {
        for _ in 0..self.questions.len() {
            self.ask();
        }
    }

    /// Makes the next check.
    pub(crate) fn ask(&mut self) -> Response {
        let question = self.questions.get(self.next).expect("there is always a question");
        self.next = (self.next + 1) % self.questions.len();
        let answer = self.bench.ask(question);
        let answer = match self.case {
            // Memory answers: no runtime takes part, as in the server.
            Case::Hit | Case::OneSession | Case::Public => answer.now_or_never().expect("nothing is waited for"),
            _ => self.runtime.block_on(answer),
        };
        assert_eq!(answer.status(), self.case.status(), "{:?}", self.case);
        answer
    }
}

/// A folder where a disk is not asked to make every single sign-in safe.
pub(crate) fn in_memory() -> TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("a folder for a store")
}
