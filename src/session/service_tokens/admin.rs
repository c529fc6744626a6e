//! Administration of service tokens: making, listing and revoking them, for operators.
//!
//! It speaks to the store alone, so that no replica has to run; those that run are notified. Promises: a token leaves it once, when
//! it is made.

use std::{sync::Arc, time::Duration};

use super::{record::ServiceTokenRecord, value};
use crate::{
    clock::{Clock, Timestamp},
    crypto::Keyring,
    metrics,
    session::{
        cookie::SessionId,
        settings::Backend,
        store::{
            self, ObservedStore, Store as _, Unavailable,
            service_tokens::{ServiceTokenRow, ServiceTokenRows as _, ServiceTokenSelection},
        },
    },
};

/// Rows that are read at once.
const PAGE: u32 = 500;

/// The longest name, in bytes: it is in headers and log lines.
const MAX_NAME: usize = 64;

/// The service tokens in the store.
pub struct ServiceTokenAdmin {
    keyring: Arc<Keyring>,
    clock: Clock,
    store: ObservedStore,
}

/// Service token to be made.
#[derive(Clone, Debug)]
pub struct NewServiceToken {
    /// Its name: apps see it, and operators revoke it by it.
    pub name: String,
    /// The apps at which it counts, by name.
    pub apps: Vec<String>,
    /// Groups that rules judge and apps are told.
    pub groups: Vec<String>,
    /// Time for which it counts; `None`: until it is revoked.
    pub lifetime: Option<Duration>,
}

/// One service token, without its secret.
#[derive(Clone, Debug)]
pub struct ServiceTokenEntry {
    /// Its name.
    pub name: String,
    /// Creation time.
    pub created: Timestamp,
    /// Time of its last use, to the minute; `None` before the first.
    pub last_used: Option<Timestamp>,
    /// Its scope; `None` where the configured secrets do not open its record.
    pub scope: Option<ServiceTokenScope>,
}

/// What a service token is for.
#[derive(Clone, Debug)]
pub struct ServiceTokenScope {
    /// The apps at which it counts, by name.
    pub apps: Vec<String>,
    /// Groups that rules judge and apps are told.
    pub groups: Vec<String>,
    /// First moment at which it does not count any more; `None` for never.
    pub expires: Option<Timestamp>,
}

/// The reason why a service token could not be made or revoked.
#[derive(Debug, thiserror::Error)]
pub enum ServiceTokenError {
    /// The store did not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Not a name that fits a header and a command line.
    #[error("`{0}` cannot be a token's name: use 1 to {MAX_NAME} letters, digits, `-`, `_` and `.`")]
    Name(String),
    /// There is one of this name.
    #[error(
        "there is a service token called `{0}` already: choose another name, or revoke that one first \
         (`doorward token revoke --name {0}`)"
    )]
    NameTaken(String),
    /// There is none of this name.
    #[error("there is no service token called `{0}`; `doorward token list` shows those that there are")]
    Unknown(String),
}

impl ServiceTokenAdmin {
    /// Opens the store, which has to be available.
    pub async fn open(
        backend: &Backend,
        keyring: Arc<Keyring>,
        clock: Clock,
        metrics: metrics::StoreMetrics,
    ) -> Result<Self, Unavailable> {
        match backend {
            Backend::Memory => Err(Unavailable::Unusable(
                "service tokens need a store that another process can write to and that outlives a restart: set \
                 store.url to sqlite: or postgres:"
                    .to_owned(),
            )),
            // Opening would create it, for the user who runs this command.
            Backend::Sqlite(path) if !path.exists() => Err(Unavailable::Unusable(format!(
                "{} is not there: start the gate first, which creates it",
                path.display()
            ))),
            _ => Ok(()),
        }?;
        let store = store::open::open(backend, metrics).await?;
        store.ping().await?;
        Ok(Self::over(store, keyring, clock))
    }

    /// Works on a store that is open.
    pub(in crate::session) fn over(store: ObservedStore, keyring: Arc<Keyring>, clock: Clock) -> Self {
        Self { keyring, clock, store }
    }

    /// Makes a token and returns its text, which is not kept.
    pub async fn create(&self, new: NewServiceToken) -> Result<String, ServiceTokenError> {
        let NewServiceToken { name, apps, groups, lifetime } = new;
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if name.is_empty() || name.len() > MAX_NAME || !is_plain {
            return Err(ServiceTokenError::Name(name));
        }
        let created = self.clock.now();
        let expires = lifetime.map(|lifetime| created.plus(lifetime));
        let (token, text) = value::fresh(&self.keyring);
        let record = ServiceTokenRecord { name, apps, groups, created, expires };
        if self.store.insert_token(&record.seal(&self.keyring, token.id())).await? {
            Ok(text)
        } else {
            Err(ServiceTokenError::NameTaken(record.name))
        }
    }

    /// Returns every token, by name.
    pub async fn list(&self) -> Result<Vec<ServiceTokenEntry>, Unavailable> {
        let (mut entries, mut next) = (Vec::new(), Some(SessionId::FIRST));
        while let Some(from) = next {
            let rows = self.store.page_tokens(&from, PAGE).await?;
            let is_full = rows.len() >= PAGE as usize;
            next = rows.last().and_then(|row| row.key.next()).filter(|_| is_full);
            entries.extend(rows.into_iter().map(|row| self.entry(row)));
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    /// Revokes the token of this name.
    pub async fn revoke(&self, name: &str) -> Result<(), ServiceTokenError> {
        match self.store.delete_tokens(&ServiceTokenSelection::Name(name.to_owned())).await? {
            0 => Err(ServiceTokenError::Unknown(name.to_owned())),
            _ => Ok(()),
        }
    }

    /// Revokes every token, and returns their number.
    pub async fn revoke_all(&self) -> Result<u64, Unavailable> {
        self.store.delete_tokens(&ServiceTokenSelection::Everything).await
    }

    fn entry(&self, row: ServiceTokenRow) -> ServiceTokenEntry {
        let scope = |record: ServiceTokenRecord| ServiceTokenScope {
            apps: record.apps,
            groups: record.groups,
            expires: record.expires,
        };
        ServiceTokenEntry {
            scope: ServiceTokenRecord::open(&self.keyring, &row).ok().map(scope),
            name: row.name,
            created: row.created,
            last_used: row.last_used,
        }
    }
}
