//! A server and its one client on one thread: what happens there can be counted, because nothing else does.

use std::{net::SocketAddr, sync::mpsc, thread};

use doorward::shutdown::Signal;
use http::HeaderMap;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::{Builder, Runtime},
};

use super::{gate::Bench, question::Question, servers};

/// How many people are signed in.
const PEOPLE: usize = 64;

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Doorward, with all that it has between a socket and a verdict.
    Doorward,
    /// hyper, with a constant.
    Hyper,
    /// hyper, with nothing but a status.
    Silent,
}

/// On what a question is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    /// The connection that was there before.
    Kept,
    /// A connection of its own.
    Fresh,
}

/// A server, a client that is connected to it, and the thread that both run on.
pub(crate) struct Solo {
    runtime: Runtime,
    address: SocketAddr,
    client: TcpStream,
    questions: Vec<Vec<u8>>,
    answer: Vec<u8>,
    /// A thread that sleeps: the C library's calls cost more where there is a second one, as there is in any server.
    _sleeper: mpsc::Sender<()>,
}

impl Solo {
    /// A server that has answered everybody once.
    pub(crate) fn of(who: Who) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let bench = runtime.block_on(Bench::with(PEOPLE));
        let address = runtime.block_on(serve(who, &bench));
        let client = runtime.block_on(connect(address));
        let questions = bench.cookies.iter().map(|cookie| Question::dashboard(Some(cookie)).bytes()).collect();
        let (sleeper, asleep) = mpsc::channel();
        thread::spawn(move || asleep.recv());
        let mut solo = Self { runtime, address, client, questions, answer: vec![0; 4_096], _sleeper: sleeper };
        solo.ask(PEOPLE, On::Kept);
        solo
    }

    /// Asks so many times, for everybody in turn, one question after the other.
    pub(crate) fn ask(&mut self, times: usize, on: On) {
        self.runtime.block_on(async {
            for question in self.questions.iter().cycle().take(times) {
                if on == On::Fresh {
                    self.client = connect(self.address).await;
                }
                self.client.write_all(question).await.expect("the server reads");
                // An answer that lets in is short and comes in one piece: its header, and no body.
                let length = self.client.read(&mut self.answer).await.expect("the server answers");
                let answer = self.answer.get(..length).unwrap_or_default();
                assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n") && answer.ends_with(b"\r\n\r\n"), "let in");
            }
        });
    }
}

async fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).await.expect("the server listens");
    client.set_nodelay(true).expect("a socket has the option");
    client
}

async fn serve(who: Who, bench: &Bench) -> SocketAddr {
    match who {
        Who::Doorward => servers::doorward(bench, Signal::default()).await,
        Who::Hyper => servers::bare(servers::constant(bench).await).await,
        Who::Silent => servers::bare(HeaderMap::new()).await,
    }
}
