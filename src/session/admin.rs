//! Administration of sessions: listing, showing and revoking them, for operators.
//!
//! It speaks to the store alone, so that no replica has to run; those that run are notified. Promises: no token and no
//! cookie leaves it.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    clock::{Clock, Timestamp},
    crypto::Keyring,
    metrics,
    session::{
        cookie::{SessionId, is_adopted},
        record::Record,
        settings::{Backend, Settings},
        store::{self, ObservedStore, Row, Selection, Store as _, Unavailable},
        upkeep::reencryption::RotationStatus,
    },
};

/// Rows that are read or deleted at once.
const PAGE: u32 = 500;

/// The sessions in the store.
pub struct SessionAdmin {
    settings: Settings,
    keyring: Arc<Keyring>,
    clock: Clock,
    store: ObservedStore,
}

/// One session, without its secrets.
#[derive(Clone, Debug)]
pub struct SessionEntry {
    /// The hash of its id in hexadecimal digits; logs show the first six.
    pub id: String,
    /// The configured name of the provider.
    pub provider: String,
    /// The provider's name for the person (`sub`).
    pub subject: String,
    /// The provider's name for its session (`sid`).
    pub sid: Option<String>,
    /// Creation time.
    pub created: Timestamp,
    /// Time of the last use, to the minute.
    pub last_seen: Timestamp,
    /// End of its lifetime, however much it is used.
    pub ends: Timestamp,
    /// `true` if it was made of an old gate's cookies.
    pub adopted: bool,
    /// The person it belongs to; `None` where the configured secrets do not open its record.
    pub owner: Option<SessionOwner>,
}

/// The person that a session belongs to.
#[derive(Clone, Debug)]
pub struct SessionOwner {
    /// The name for applications.
    pub user: String,
    /// The e-mail address; empty for none.
    pub email: String,
    /// The name for people; empty for none.
    pub name: String,
    /// The groups at the last sign-in or renewal.
    pub groups: Vec<String>,
    /// `true` if the session can be renewed.
    pub has_refresh_token: bool,
}

/// The position from which the next page is read.
#[derive(Clone, Copy, Debug)]
pub struct PageCursor(Option<SessionId>);

/// A filter for sessions.
#[derive(Clone, Debug)]
pub enum SessionFilter {
    /// Every session.
    All,
    /// Sessions of the person with this user name, e-mail address or subject.
    User(String),
}

/// The reason why an id prefix does not select one session.
#[derive(Debug, thiserror::Error)]
pub enum PrefixError {
    /// The store did not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Not the beginning of any id.
    #[error("`{0}` is not the beginning of an id: ids are hexadecimal digits, as `doorward sessions list` shows them")]
    Malformed(String),
    /// No session.
    #[error("there is no session whose id begins with `{0}`")]
    NoMatch(String),
    /// More than one.
    #[error("more than one session's id begins with `{0}`; give more digits")]
    Ambiguous(String),
}

impl SessionAdmin {
    /// Opens the store, which has to be available.
    pub async fn open(
        settings: Settings,
        keyring: Arc<Keyring>,
        clock: Clock,
        metrics: metrics::StoreMetrics,
    ) -> Result<Self, Unavailable> {
        match &settings.backend {
            Backend::Memory => Err(Unavailable::Unusable(
                "sessions in memory are known to the process that serves alone, and end with it: restart it to end \
                 them all, or set store.url to sqlite: or postgres:"
                    .to_owned(),
            )),
            // Opening would create it.
            Backend::Sqlite(path) if !path.exists() => {
                Err(Unavailable::Unusable(format!("{} is not there: nobody has signed in yet", path.display())))
            }
            _ => Ok(()),
        }?;
        let store = store::open::open(&settings.backend, metrics).await?;
        store.ping().await?;
        Ok(Self { settings, keyring, clock, store })
    }

    /// State of a key rotation.
    pub async fn rotation_status(&self) -> Result<RotationStatus, Unavailable> {
        RotationStatus::of(&self.store, &self.keyring).await
    }

    /// Reads the next page: the sessions among the next rows that the filter matches, perhaps none; `None` after the last.
    pub async fn next_page(
        &self,
        filter: &SessionFilter,
        cursor: &mut PageCursor,
    ) -> Result<Option<Vec<SessionEntry>>, Unavailable> {
        let Some(from) = cursor.0 else { return Ok(None) };
        let rows = self.store.page(&from, &SessionId::LAST, PAGE).await?;
        let full = rows.len() as u64 >= u64::from(PAGE);
        cursor.0 = rows.last().and_then(|row| row.key.next()).filter(|_| full);
        let now = self.clock.now();
        let entries = rows.iter().filter(|row| self.is_active(row, now)).map(|row| self.entry(row));
        Ok(Some(entries.filter(|entry| entry.ends > now && filter.matches(entry)).collect()))
    }

    /// Finds the one session whose id begins with `prefix`.
    pub async fn find(&self, prefix: &str) -> Result<SessionEntry, PrefixError> {
        Ok(self.entry(&self.row(prefix).await?))
    }

    /// Ends the one session whose id begins with `prefix`. Returns the number of ended sessions.
    pub async fn revoke(&self, prefix: &str) -> Result<u64, PrefixError> {
        let row = self.row(prefix).await?;
        Ok(self.end(&Selection::from(row.key)).await?)
    }

    /// Ends every session of the people that a filter matches. Returns their number.
    pub async fn revoke_all(&self, filter: &SessionFilter) -> Result<u64, Unavailable> {
        if matches!(filter, SessionFilter::All) {
            return self.end(&Selection::Everything).await;
        }
        let (mut people, mut cursor) = (BTreeSet::new(), PageCursor::first());
        while let Some(entries) = self.next_page(filter, &mut cursor).await? {
            people.extend(entries.into_iter().map(|entry| (entry.provider, entry.subject)));
        }
        let mut ended = 0;
        // By subject, so that sessions with an older name or address are found too.
        for (provider, subject) in people {
            ended += self.end(&Selection::Subject { provider, subject }).await?;
        }
        Ok(ended)
    }

    async fn end(&self, selection: &Selection) -> Result<u64, Unavailable> {
        let mut ended = 0;
        loop {
            let deleted = self.store.delete(selection, PAGE).await?.len() as u64;
            if deleted > 0 {
                self.store.add_uncounted(deleted).await?;
            }
            ended += deleted;
            if deleted < u64::from(PAGE) {
                return Ok(ended);
            }
        }
    }

    async fn row(&self, prefix: &str) -> Result<Row, PrefixError> {
        let range = SessionId::range(prefix).filter(|_| !prefix.is_empty());
        let (from, to) = range.ok_or_else(|| PrefixError::Malformed(prefix.to_owned()))?;
        let mut rows = self.store.page(&from, &to, 2).await?;
        match (rows.pop(), rows.pop()) {
            (None, _) => Err(PrefixError::NoMatch(prefix.to_owned())),
            (Some(_), Some(_)) => Err(PrefixError::Ambiguous(prefix.to_owned())),
            (Some(row), None) => Ok(row),
        }
    }

    fn is_active(&self, row: &Row, now: Timestamp) -> bool {
        now.since(row.created) < self.settings.lifetime && now.since(row.last_seen) < self.settings.idle_timeout
    }

    fn entry(&self, row: &Row) -> SessionEntry {
        let record = Record::open(&self.keyring, row.key, &row.sealed).ok();
        let adopted = record.as_ref().is_some_and(|record| is_adopted(&record.scope.audience));
        let owner = |record: Record| SessionOwner {
            user: record.identity.user,
            email: record.identity.email,
            name: record.identity.name,
            groups: record.identity.groups,
            has_refresh_token: record.tokens.refresh.is_some(),
        };
        SessionEntry {
            id: row.key.hex(),
            provider: row.provider.clone(),
            subject: row.subject.clone(),
            sid: row.sid.clone(),
            created: row.created,
            last_seen: row.last_seen,
            ends: row.created.plus(if adopted { self.settings.adopted_lifetime() } else { self.settings.lifetime }),
            adopted,
            owner: record.map(owner),
        }
    }
}

impl PageCursor {
    /// The position before the first session.
    #[must_use]
    pub fn first() -> Self {
        Self(Some(SessionId::FIRST))
    }
}

impl SessionFilter {
    fn matches(&self, entry: &SessionEntry) -> bool {
        let Self::User(wanted) = self else { return true };
        let is_wanted =
            |owner: &SessionOwner| owner.user == *wanted || owner.email.eq_ignore_ascii_case(wanted.as_str());
        !wanted.is_empty() && (entry.subject == *wanted || entry.owner.as_ref().is_some_and(is_wanted))
    }
}
