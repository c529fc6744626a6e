//! A server and its only client on one thread, so that instructions and allocations can be counted without anything else.

use std::{net::SocketAddr, sync::mpsc, thread};

use doorward::shutdown::Signal;
use http::HeaderMap;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::{Builder, Runtime},
};

use super::{gate::Bench, servers, subrequest::Subrequest};

/// Number of signed-in people.
const PEOPLE: usize = 64;

/// Server that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerKind {
    /// The complete Doorward, from the socket to the verdict.
    Doorward,
    /// hyper with a constant response.
    Hyper,
    /// hyper with only a status.
    Silent,
}

/// Connection of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionUse {
    /// The existing connection.
    Persistent,
    /// A new connection.
    Fresh,
}

/// A server and a connected client on the same thread.
pub(crate) struct Solo {
    runtime: Runtime,
    address: SocketAddr,
    client: TcpStream,
    questions: Vec<Vec<u8>>,
    answer: Vec<u8>,
    /// A sleeping thread: calls of the C library cost more with a second thread, which any server has.
    _sleeper: mpsc::Sender<()>,
}

impl Solo {
    /// A server that has responded to everybody once.
    pub(crate) fn of(kind: ServerKind) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let bench = runtime.block_on(Bench::with(PEOPLE));
        let address = runtime.block_on(serve(kind, &bench));
        let client = runtime.block_on(connect(address));
        let questions = bench.cookies.iter().map(|cookie| Subrequest::dashboard(Some(cookie)).bytes()).collect();
        let (sleeper, asleep) = mpsc::channel();
        thread::spawn(move || asleep.recv());
        let mut solo = Self { runtime, address, client, questions, answer: vec![0; 4_096], _sleeper: sleeper };
        solo.ask(PEOPLE, ConnectionUse::Persistent);
        solo
    }

    /// Sends a number of requests, for everybody in turn, one after the other.
    pub(crate) fn ask(&mut self, times: usize, on: ConnectionUse) {
        self.runtime.block_on(async {
            for question in self.questions.iter().cycle().take(times) {
                if on == ConnectionUse::Fresh {
                    self.client = connect(self.address).await;
                }
                self.client.write_all(question).await.expect("the server reads");
                // The response of an allowed request is short and arrives in one piece: headers without a body.
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

async fn serve(kind: ServerKind, bench: &Bench) -> SocketAddr {
    match kind {
        ServerKind::Doorward => servers::doorward(bench, Signal::default()).await,
        ServerKind::Hyper => servers::bare(servers::constant(bench).await).await,
        ServerKind::Silent => servers::bare(HeaderMap::new()).await,
    }
}
