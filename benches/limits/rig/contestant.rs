//! Who takes part: a server, how to ask it, and what its answers have to be.

use std::{any::Any, net::SocketAddr, sync::Arc, time::Duration};

use doorward::shutdown::Signal;
use http::HeaderMap;
use tokio::runtime::{Builder, Runtime};

use super::{
    account::Account,
    cores,
    line::Wire,
    nginx::{self, Buffers, Nginx},
};
use crate::support::{
    gate::{Bench, FIRST_PERSON, Size},
    question::Question,
    servers,
};

/// Whom the answers of a server are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// Whoever asks.
    Asker,
    /// The first person, whoever asks.
    First,
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A gate, by an edge.
    Gate,
    /// An edge, by a browser.
    Edge,
}

/// A server that answers.
pub(crate) struct Contestant {
    /// What the tables call it.
    pub(crate) name: String,
    /// Where it answers.
    pub(crate) address: SocketAddr,
    /// What is spoken there.
    pub(crate) wire: Wire,
    /// Who is asked.
    pub(crate) asked: Asked,
    /// Whom its answers are about.
    pub(crate) about: About,
    /// The session cookies of those who ask.
    pub(crate) cookies: Arc<Vec<String>>,
    /// Whose time on a core is the server's.
    pub(crate) accounts: Vec<Account>,
    /// What goes down with it.
    pub(crate) _keep: Box<dyn Any + Send + Sync>,
}

/// A runtime with one worker on the servers' core. What it serves goes down with it.
pub(crate) struct Host {
    /// Where to spawn.
    pub(crate) runtime: Runtime,
    /// Raised when it goes.
    pub(crate) stop: Signal,
}

impl About {
    /// The number in the answer to a person's question.
    pub(crate) fn number(self, person: usize) -> usize {
        match self {
            Self::Asker => FIRST_PERSON + person,
            Self::First => FIRST_PERSON,
        }
    }
}

impl Contestant {
    /// Doorward with a gate of this size, and the constant with which it lets its first person in.
    pub(crate) fn doorward(name: &str, size: Size) -> (Self, HeaderMap) {
        let host = Host::new();
        let bench = host.runtime.block_on(Bench::of(size));
        let constant = host.runtime.block_on(servers::constant(&bench));
        (Self::serving(name, host, &bench), constant)
    }

    /// Doorward with this gate, on a host of its own.
    pub(crate) fn serving(name: &str, host: Host, bench: &Bench) -> Self {
        let address = host.runtime.block_on(servers::doorward(bench, host.stop.clone()));
        Self::on(name, host, address, &bench.cookies)
    }

    /// The bare hyper server with a constant.
    pub(crate) fn hyper(constant: &HeaderMap, cookies: &Arc<Vec<String>>) -> Self {
        let host = Host::new();
        let address = host.runtime.block_on(servers::bare(constant.clone()));
        Self { about: About::First, ..Self::on("bare hyper", host, address, cookies) }
    }

    /// nginx with a constant and one worker.
    pub(crate) fn nginx(constant: &HeaderMap, cookies: &Arc<Vec<String>>, buffers: Buffers) -> Self {
        let address = nginx::free_address();
        let nginx = Nginx::start(1, &nginx::constant(constant, address, buffers), address);
        let worker = nginx.worker();
        cores::keep(worker, cores::SERVERS);
        let name = match buffers {
            Buffers::AsTheyCome => "nginx",
            Buffers::Roomy => "nginx, 8 KiB buffer",
        };
        Self {
            name: name.to_owned(),
            address,
            wire: Wire::Plain,
            asked: Asked::Gate,
            about: About::First,
            cookies: Arc::clone(cookies),
            accounts: vec![Account::Process(worker)],
            _keep: Box::new(nginx),
        }
    }

    /// Whatever a host serves, about whoever asks.
    pub(crate) fn on(name: &str, host: Host, address: SocketAddr, cookies: &Arc<Vec<String>>) -> Self {
        Self {
            name: name.to_owned(),
            address,
            wire: Wire::Plain,
            asked: Asked::Gate,
            about: About::Asker,
            cookies: Arc::clone(cookies),
            accounts: vec![host.account()],
            _keep: Box::new(host),
        }
    }

    /// What the first person asks.
    pub(crate) fn question(&self) -> Vec<u8> {
        let question = Question::dashboard(self.cookies.first().map(String::as_str));
        match self.asked {
            Asked::Gate => question.bytes(),
            Asked::Edge => question.of_a_browser(),
        }
    }

    /// How long the server has been on a core.
    pub(crate) fn busy(&self) -> Duration {
        self.accounts.iter().map(Account::busy).sum()
    }
}

impl Host {
    /// An idle one.
    pub(crate) fn new() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let host = Self { runtime, stop: Signal::default() };
        cores::keep(host.worker(), cores::SERVERS);
        host
    }

    fn account(&self) -> Account {
        Account::Thread(self.worker())
    }

    fn worker(&self) -> u32 {
        let own = self.runtime.spawn(async { cores::this_thread() });
        self.runtime.block_on(own).expect("the worker works")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.raise();
    }
}
