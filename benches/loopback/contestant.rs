//! Who takes part: a server with one worker, how to ask it, and what its answers have to be.

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc};

use doorward::shutdown::Signal;
use http::HeaderMap;
use tokio::runtime::{Builder, Runtime};

use crate::{
    cores,
    nginx::Nginx,
    support::{
        gate::{Bench, Size},
        servers,
    },
};

/// Whom the answers of a server are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// Whoever asks.
    Asker,
    /// The first person, whoever asks.
    First,
}

/// A server that answers.
pub(crate) struct Contestant {
    /// What the tables call it.
    pub(crate) name: &'static str,
    /// Where it answers.
    pub(crate) address: SocketAddr,
    /// Whom its answers are about.
    pub(crate) about: About,
    /// The session cookies of those who ask.
    pub(crate) cookies: Arc<Vec<String>>,
    constant: HeaderMap,
    /// The scheduler's account of the thread that serves.
    account: PathBuf,
    _keep: Keep,
}

/// What goes down with a contestant.
enum Keep {
    Runtime { _runtime: Runtime, stop: Signal },
    Process { _nginx: Nginx },
}

impl Contestant {
    /// Doorward with a gate of this size.
    pub(crate) fn doorward(size: Size) -> Self {
        let runtime = runtime();
        let bench = runtime.block_on(Bench::of(size));
        let constant = runtime.block_on(servers::constant(&bench));
        let stop = Signal::default();
        let address = runtime.block_on(servers::doorward(&bench, stop.clone()));
        Self {
            name: "Doorward",
            address,
            about: About::Asker,
            cookies: bench.cookies,
            constant,
            account: account_of(&runtime),
            _keep: Keep::Runtime { _runtime: runtime, stop },
        }
    }

    /// The bare hyper server.
    pub(crate) fn hyper(like: &Self) -> Self {
        let runtime = runtime();
        let address = runtime.block_on(servers::bare(like.constant.clone()));
        Self {
            name: "bare hyper",
            address,
            about: About::First,
            cookies: Arc::clone(&like.cookies),
            constant: like.constant.clone(),
            account: account_of(&runtime),
            _keep: Keep::Runtime { _runtime: runtime, stop: Signal::default() },
        }
    }

    /// nginx, returning 200.
    pub(crate) fn nginx(like: &Self) -> Self {
        let nginx = Nginx::start(&like.constant);
        let worker = nginx.worker();
        cores::keep(worker, cores::SERVERS);
        Self {
            name: "nginx",
            address: nginx.address(),
            about: About::First,
            cookies: Arc::clone(&like.cookies),
            constant: like.constant.clone(),
            account: format!("/proc/{worker}/schedstat").into(),
            _keep: Keep::Process { _nginx: nginx },
        }
    }

    /// Nanoseconds that its worker has spent on a core.
    pub(crate) fn busy(&self) -> u64 {
        let account = fs::read_to_string(&self.account).expect("the kernel keeps account of threads");
        account.split_whitespace().next().and_then(|word| word.parse().ok()).expect("nanoseconds come first")
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        if let Self::Runtime { stop, .. } = self {
            stop.raise();
        }
    }
}

/// A runtime with one worker.
fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// Keeps a runtime's only worker on the servers' core and says where the kernel keeps account of it.
fn account_of(runtime: &Runtime) -> PathBuf {
    let own = runtime.spawn(async { cores::this_thread() });
    let thread = runtime.block_on(own).expect("the worker works");
    cores::keep(thread, cores::SERVERS);
    PathBuf::from(format!("/proc/{thread}/schedstat"))
}
