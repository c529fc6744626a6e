//! Opening connections to PostgreSQL: the host, the password, and the server's timeouts.
//!
//! Promises: password and root certificates are read for every connection, so that they can be rotated; of several
//! hosts the one that takes writes is found; no attempt waits for long.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use deadpool_postgres::ClientWrapper;
use secrecy::zeroize::Zeroizing;
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{
    crypto::secret_text,
    session::store::{
        Unavailable,
        postgres::{
            connection::{ConnectionDriver, spawn_driver},
            error::PostgresError,
            tls,
            url::PostgresUrl,
        },
    },
};

/// Timeout of a login at one host: less than half of a request's deadline, so that a second host can be tried.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Timeouts at the server for statements that nobody waits for any more. The URL's own `options` come later and win.
const SERVER_TIMEOUTS: &str = "-c statement_timeout=5s -c lock_timeout=3s -c idle_in_transaction_session_timeout=5s";

/// Connection factory of one server.
pub(super) struct Connector {
    hosts: Vec<Config>,
    url: PostgresUrl,
    password_file: Option<PathBuf>,
    /// Password of the last connection whose file could be read.
    last_password: ArcSwapOption<Zeroizing<String>>,
    tls: MakeRustlsConnect,
    /// Index of the host of the last connection.
    last_host: AtomicUsize,
    /// A pooler has refused [`SERVER_TIMEOUTS`].
    without_options: AtomicBool,
}

impl Connector {
    /// Creates the connector; connects later. A password from the file overrides the URL's own.
    pub(super) fn new(url: &PostgresUrl, password_file: Option<PathBuf>) -> Result<Self, Unavailable> {
        let tls = tls::connector(url).map_err(|why| Unavailable::Unusable(format!("store.url: {why}")))?;
        Ok(Self {
            hosts: url.hosts(),
            url: url.clone(),
            password_file,
            last_password: ArcSwapOption::empty(),
            tls,
            last_host: AtomicUsize::new(0),
            without_options: AtomicBool::new(false),
        })
    }

    /// Opens a connection and returns its halves.
    pub(super) async fn open(&self) -> Result<(Client, ConnectionDriver), PostgresError> {
        match self.try_hosts().await {
            Err(error) if error.are_options_refused() && !self.without_options.swap(true, Ordering::Relaxed) => {
                tracing::warn!(
                    "a pooler before the session store refuses the startup parameter `options`: statements are limited \
                     by doorward alone; `ignore_startup_parameters = options` and timeouts at the server mend that"
                );
                self.try_hosts().await
            }
            // The password may have been rotated since it was read.
            Err(error) if error.is_login_refused() && self.password_file.is_some() => self.try_hosts().await,
            outcome => outcome,
        }
    }

    async fn try_hosts(&self) -> Result<(Client, ConnectionDriver), PostgresError> {
        let (password, tls) = (self.password().await?, self.tls().await?);
        let first = self.last_host.load(Ordering::Relaxed);
        let mut last_error = PostgresError::Closed;
        for index in (0..self.hosts.len()).map(|turn| (first + turn) % self.hosts.len()) {
            let Some(host) = self.hosts.get(index) else { continue };
            let config = self.configure(host, password.as_ref().map(|password| password.as_str()));
            // On the heap, because it is large and part of the future of every statement.
            let opening = Box::pin(config.connect(tls.clone()));
            let late = |_| PostgresError::Timeout("connecting", LOGIN_TIMEOUT);
            match tokio::time::timeout(LOGIN_TIMEOUT, opening).await.map_err(late).and_then(|opened| Ok(opened?)) {
                Ok(halves) => {
                    self.last_host.store(index, Ordering::Relaxed);
                    return Ok(halves);
                }
                // Other hosts would answer the same, and the caller can do something about it.
                Err(refused) if refused.are_options_refused() || refused.is_login_refused() => return Err(refused),
                Err(other) => last_error = other,
            }
        }
        Err(last_error)
    }

    /// Returns the TLS connector, with the root certificates read anew: they may have been rotated.
    async fn tls(&self) -> Result<MakeRustlsConnect, PostgresError> {
        if self.url.root_certificates.is_none() {
            return Ok(self.tls.clone());
        }
        let url = self.url.clone();
        let reading = tokio::task::spawn_blocking(move || tls::connector(&url)).await;
        reading.map_err(|_| PostgresError::Closed)?.map_err(PostgresError::RootCertificates)
    }

    /// Returns the password in the file. While that holds none that can be used, the last one stays in use.
    async fn password(&self) -> Result<Option<Arc<Zeroizing<String>>>, PostgresError> {
        let Some(path) = &self.password_file else { return Ok(None) };
        let reading = tokio::fs::read_to_string(path).await.map(Zeroizing::new);
        let password = reading.and_then(|text| {
            let password = secret_text(&text).map_err(io::Error::other)?;
            Ok(Arc::new(Zeroizing::new(password.to_owned())))
        });
        match (password, self.last_password.load_full()) {
            (Ok(password), _) => {
                self.last_password.store(Some(Arc::clone(&password)));
                Ok(Some(password))
            }
            (Err(error), Some(last)) => {
                let path = path.display();
                tracing::warn!(%path, %error, "store.password cannot be used; the last password stays in use");
                Ok(Some(last))
            }
            (Err(error), None) => Err(PostgresError::Password(path.clone(), error)),
        }
    }

    fn configure(&self, host: &Config, password: Option<&str>) -> Config {
        let mut config = host.clone();
        password.map(|password| config.password(password));
        if !self.without_options.load(Ordering::Relaxed) {
            let options =
                host.get_options().map_or_else(|| SERVER_TIMEOUTS.to_owned(), |own| format!("{SERVER_TIMEOUTS} {own}"));
            config.options(&options);
        }
        config
    }
}

/// For the pool, which gets the gate's own errors this way: `deadpool-postgres`'s manager passes on the driver's alone.
impl Manager for Connector {
    type Type = ClientWrapper;
    type Error = PostgresError;

    async fn create(&self) -> Result<ClientWrapper, PostgresError> {
        let (client, driver) = self.open().await?;
        Ok(ClientWrapper::new(client, spawn_driver(driver).0))
    }

    async fn recycle(&self, client: &mut ClientWrapper, _: &Metrics) -> RecycleResult<PostgresError> {
        if client.is_closed() { Err(RecycleError::message("the server closed it")) } else { Ok(()) }
    }
}
