//! Contestants: servers, the requests to them, and the expected responses.

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
    servers,
    subrequest::Subrequest,
};

/// Person whom the responses of a server name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerSubject {
    /// The person who sends the request.
    Requester,
    /// Always the first person.
    First,
}

/// Receiver of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A gate, which receives subrequests.
    Gate,
    /// An edge, which receives original requests.
    Edge,
}

/// A server that takes part.
pub(crate) struct Contestant {
    /// Name in the tables.
    pub(crate) name: String,
    /// Address.
    pub(crate) address: SocketAddr,
    /// Protocol of the connections.
    pub(crate) wire: Wire,
    /// Receiver of the requests.
    pub(crate) asked: Endpoint,
    /// Person whom its responses name.
    pub(crate) about: AnswerSubject,
    /// Session cookies of the people.
    pub(crate) cookies: Arc<Vec<String>>,
    /// Threads and processes whose CPU time is the server's.
    pub(crate) accounts: Vec<Account>,
    /// Dropped together with the contestant.
    pub(crate) _keep: Box<dyn Any + Send + Sync>,
}

/// A runtime with one worker on the servers' core. Its servers stop when it is dropped.
pub(crate) struct Host {
    /// Runtime of the servers.
    pub(crate) runtime: Runtime,
    /// Raised when it is dropped.
    pub(crate) stop: Signal,
}

impl AnswerSubject {
    /// Returns the number in the response to a person's request.
    pub(crate) fn number(self, person: usize) -> usize {
        match self {
            Self::Requester => FIRST_PERSON + person,
            Self::First => FIRST_PERSON,
        }
    }
}

impl Contestant {
    /// Doorward with a gate of this size, and the headers of its response to the first person.
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

    /// The bare hyper server with a constant response.
    pub(crate) fn hyper(constant: &HeaderMap, cookies: &Arc<Vec<String>>) -> Self {
        let host = Host::new();
        let address = host.runtime.block_on(servers::bare(constant.clone()));
        Self { about: AnswerSubject::First, ..Self::on("bare hyper", host, address, cookies) }
    }

    /// nginx with a constant response and one worker.
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
            asked: Endpoint::Gate,
            about: AnswerSubject::First,
            cookies: Arc::clone(cookies),
            accounts: vec![Account::Process(worker)],
            _keep: Box::new(nginx),
        }
    }

    /// A server on a host whose responses name the requester.
    pub(crate) fn on(name: &str, host: Host, address: SocketAddr, cookies: &Arc<Vec<String>>) -> Self {
        Self {
            name: name.to_owned(),
            address,
            wire: Wire::Plain,
            asked: Endpoint::Gate,
            about: AnswerSubject::Requester,
            cookies: Arc::clone(cookies),
            accounts: vec![host.account()],
            _keep: Box::new(host),
        }
    }

    /// Returns the request of the first person.
    pub(crate) fn question(&self) -> Vec<u8> {
        let question = Subrequest::dashboard(self.cookies.first().map(String::as_str));
        match self.asked {
            Endpoint::Gate => question.bytes(),
            Endpoint::Edge => question.original_bytes(),
        }
    }

    /// Returns the server's CPU time.
    pub(crate) fn busy(&self) -> Duration {
        self.accounts.iter().map(Account::busy).sum()
    }
}

impl Host {
    /// An idle host.
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
