//! Making connections to PostgreSQL: which host, which password, with which limits.
//!
//! Promises: the files with the password and with authorities' certificates are read for every connection; of several hosts the one that takes writes is found; no
//! attempt waits for long. It must not know what connections are used for.

use std::{
    io,
    path::PathBuf,
    pin::Pin,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use deadpool_postgres::Connect;
use secrecy::zeroize::Zeroizing;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, Error};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::session::store::{
    Unavailable,
    postgres::{
        address::Address,
        connection::{Wire, follow},
        fault::Fault,
        tls,
    },
};

/// How long one host has to let us in: less than half of what a request waits, so that a second one can be tried.
const LIMIT: Duration = Duration::from_secs(2);

/// Ends what a caller has stopped waiting for, at the server too. The URL's own `options` come later and win.
const LIMITS: &str = "-c statement_timeout=5s -c lock_timeout=3s -c idle_in_transaction_session_timeout=5s";

/// What makes connections.
pub(super) struct Connector {
    hosts: Vec<Config>,
    address: Address,
    password: Option<PathBuf>,
    tls: MakeRustlsConnect,
    /// The host that let us in last.
    last: AtomicUsize,
    /// Whether a pooler has refused the limits.
    bare: AtomicBool,
}

impl Connector {
    /// Connects to nobody yet. `password` is a file, and overrides the URL's own.
    pub(super) fn new(address: &Address, password: Option<PathBuf>) -> Result<Self, Unavailable> {
        let tls = tls::connector(address).map_err(|why| Unavailable::Unusable(format!("store.url: {why}")))?;
        let (hosts, address) = (address.hosts(), address.clone());
        Ok(Self { hosts, address, password, tls, last: AtomicUsize::new(0), bare: AtomicBool::new(false) })
    }

    /// The halves of a new connection.
    pub(super) async fn open(&self) -> Result<(Client, Wire), Fault> {
        match self.attempt().await {
            Err(fault) if fault.is_refused_options() && !self.bare.swap(true, Ordering::Relaxed) => {
                tracing::warn!(
                    "a pooler before the session store refuses the startup parameter `options`: statements are limited \
                     by doorward alone; `ignore_startup_parameters = options` and timeouts at the server mend that"
                );
                self.attempt().await
            }
            // It may have been rotated since it was read.
            Err(fault) if fault.is_refused_login() && self.password.is_some() => self.attempt().await,
            outcome => outcome,
        }
    }

    async fn attempt(&self) -> Result<(Client, Wire), Fault> {
        let (password, tls) = (self.password().await?, self.tls().await?);
        let first = self.last.load(Ordering::Relaxed);
        let mut fault = Fault::Closed;
        for place in (0..self.hosts.len()).map(|turn| (first + turn) % self.hosts.len()) {
            let Some(host) = self.hosts.get(place) else { continue };
            let config = self.complete(host, password.as_deref());
            // On the heap, because it is large and whoever waits for a statement waits for this too.
            let opening = Box::pin(config.connect(tls.clone()));
            let late = |_| Fault::Late("connecting", LIMIT);
            match tokio::time::timeout(LIMIT, opening).await.map_err(late).and_then(|opened| Ok(opened?)) {
                Ok(halves) => {
                    self.last.store(place, Ordering::Relaxed);
                    return Ok(halves);
                }
                // Others would say the same, and the caller can do something about it.
                Err(refused) if refused.is_refused_options() || refused.is_refused_login() => return Err(refused),
                Err(other) => fault = other,
            }
        }
        Err(fault)
    }

    /// The certificates of authorities may have changed since they were read.
    async fn tls(&self) -> Result<MakeRustlsConnect, Fault> {
        if self.address.authorities.is_none() {
            return Ok(self.tls.clone());
        }
        let address = self.address.clone();
        let reading = tokio::task::spawn_blocking(move || tls::connector(&address)).await;
        reading.map_err(|_| Fault::Closed)?.map_err(Fault::Authorities)
    }

    async fn password(&self) -> Result<Option<Zeroizing<Vec<u8>>>, Fault> {
        let Some(path) = &self.password else { return Ok(None) };
        let reading = async {
            let mut password = Zeroizing::new(tokio::fs::read(path).await?);
            let length = password.trim_ascii_end().len();
            password.truncate(length);
            if password.is_empty() { Err(io::Error::other("the file is empty")) } else { Ok(password) }
        };
        reading.await.map(Some).map_err(|error| Fault::Password(path.clone(), error))
    }

    fn complete(&self, host: &Config, password: Option<&Vec<u8>>) -> Config {
        let mut config = host.clone();
        password.map(|password| config.password(password));
        if !self.bare.load(Ordering::Relaxed) {
            let options = host.get_options().map_or_else(|| LIMITS.to_owned(), |own| format!("{LIMITS} {own}"));
            config.options(&options);
        }
        config
    }
}

/// What the pool makes its connections with. It asks for the driver's errors, and for a task behind each connection.
impl Connect for Connector {
    fn connect(
        &self,
        _: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        Box::pin(async {
            match self.open().await {
                Ok((client, wire)) => Ok((client, follow(wire).0)),
                Err(fault) => Err(fault.into_error().await),
            }
        })
    }
}
