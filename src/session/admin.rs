//! The register of sessions, for operators: who is signed in, and ending it.
//!
//! Speaks to the store alone, so that it works with no replica running; those that run hear of it. Promises: no token
//! and no cookie ever leaves it. It must not know how things are printed.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    clock::{Clock, Timestamp},
    crypto::Keyring,
    metrics,
    session::{
        Backend, Settings,
        cookie::SessionId,
        record::Record,
        store::{ObservedStore, Row, Selection, Store as _, Unavailable},
        upkeep::reencryption::RotationStatus,
    },
};

/// How many rows are read or removed at once.
const PAGE: u32 = 500;

/// All sessions in the store.
pub struct Register {
    settings: Settings,
    keyring: Arc<Keyring>,
    clock: Clock,
    store: ObservedStore,
}

/// One session, without what is secret in it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The hash of its id in hexadecimal digits; logs show the first six.
    pub id: String,
    /// The configured name of the provider.
    pub provider: String,
    /// The provider's name for the person.
    pub subject: String,
    /// The provider's name for its session.
    pub sid: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last used, to the minute.
    pub last_seen: Timestamp,
    /// When it ends even if it is used until then.
    pub ends: Timestamp,
    /// What is sealed in it; `None` where the configured secrets do not open it.
    pub person: Option<Person>,
}

/// Who a session belongs to.
#[derive(Clone, Debug)]
pub struct Person {
    /// The name for applications.
    pub user: String,
    /// The e-mail address, or nothing.
    pub email: String,
    /// The name for people, or nothing.
    pub name: String,
    /// The groups at the last sign-in or renewal.
    pub groups: Vec<String>,
    /// Whether it can be renewed.
    pub has_refresh_token: bool,
}

/// Where reading goes on.
#[derive(Clone, Copy, Debug)]
pub struct Place(Option<SessionId>);

/// What to look for.
#[derive(Clone, Debug)]
pub enum Search {
    /// Every session.
    Everybody,
    /// Those of whoever has this user name, e-mail address or subject.
    User(String),
}

/// Why one session could not be told from the others.
#[derive(Debug, thiserror::Error)]
pub enum Unclear {
    /// The store did not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Not the beginning of any hash.
    #[error("`{0}` is not the beginning of an id: ids are hexadecimal digits, as `doorward sessions list` shows them")]
    Malformed(String),
    /// Nobody's.
    #[error("there is no session whose id begins with `{0}`")]
    Nothing(String),
    /// More than one.
    #[error("more than one session's id begins with `{0}`; give more digits")]
    Several(String),
}

impl Register {
    /// Opens the store, which has to be there.
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
            // Opening would make it.
            Backend::Sqlite(path) if !path.exists() => {
                Err(Unavailable::Unusable(format!("{} is not there: nobody has signed in yet", path.display())))
            }
            _ => Ok(()),
        }?;
        let store = crate::session::store::open::open(&settings.backend, metrics).await?;
        store.ping().await?;
        Ok(Self { settings, keyring, clock, store })
    }

    /// What is left to be done before older secrets can be dropped.
    pub async fn left(&self) -> Result<RotationStatus, Unavailable> {
        RotationStatus::of(&self.store, &self.keyring).await
    }

    /// Reads on: what there is among the next rows, perhaps nothing; `None` when all have been read.
    pub async fn next(&self, search: &Search, place: &mut Place) -> Result<Option<Vec<Entry>>, Unavailable> {
        let Some(from) = place.0 else { return Ok(None) };
        let rows = self.store.page(&from, &SessionId::ENDS.1, PAGE).await?;
        let full = rows.len() as u64 >= u64::from(PAGE);
        place.0 = rows.last().and_then(|row| row.key.next()).filter(|_| full);
        let now = self.clock.now();
        let entries = rows.iter().filter(|row| self.lives(row, now)).map(|row| self.entry(row));
        Ok(Some(entries.filter(|entry| search.finds(entry)).collect()))
    }

    /// The one session whose id begins with `prefix`.
    pub async fn find(&self, prefix: &str) -> Result<Entry, Unclear> {
        Ok(self.entry(&self.row(prefix).await?))
    }

    /// Ends the one session whose id begins with `prefix`, and says how many that were.
    pub async fn revoke(&self, prefix: &str) -> Result<u64, Unclear> {
        let row = self.row(prefix).await?;
        Ok(self.end(&Selection::from(row.key)).await?)
    }

    /// Ends every session of whoever a search finds, and says how many.
    pub async fn revoke_all(&self, search: &Search) -> Result<u64, Unavailable> {
        if matches!(search, Search::Everybody) {
            return self.end(&Selection::Everything).await;
        }
        let (mut people, mut place) = (BTreeSet::new(), Place::first());
        while let Some(entries) = self.next(search, &mut place).await? {
            people.extend(entries.into_iter().map(|entry| (entry.provider, entry.subject)));
        }
        let mut ended = 0;
        // By subject, so that sessions count whose names have changed since.
        for (provider, subject) in people {
            ended += self.end(&Selection::Subject { provider, subject }).await?;
        }
        Ok(ended)
    }

    async fn end(&self, selection: &Selection) -> Result<u64, Unavailable> {
        let mut ended = 0;
        loop {
            let gone = self.store.delete(selection, PAGE).await?.len() as u64;
            if gone > 0 {
                self.store.add_uncounted(gone).await?;
            }
            ended += gone;
            if gone < u64::from(PAGE) {
                return Ok(ended);
            }
        }
    }

    async fn row(&self, prefix: &str) -> Result<Row, Unclear> {
        let range = SessionId::range(prefix).filter(|_| !prefix.is_empty());
        let (from, to) = range.ok_or_else(|| Unclear::Malformed(prefix.to_owned()))?;
        let mut rows = self.store.page(&from, &to, 2).await?;
        match (rows.pop(), rows.pop()) {
            (None, _) => Err(Unclear::Nothing(prefix.to_owned())),
            (Some(_), Some(_)) => Err(Unclear::Several(prefix.to_owned())),
            (Some(row), None) => Ok(row),
        }
    }

    fn lives(&self, row: &Row, now: Timestamp) -> bool {
        now.since(row.created) < self.settings.lifetime && now.since(row.last_seen) < self.settings.idle_timeout
    }

    fn entry(&self, row: &Row) -> Entry {
        let person = |record: Record| Person {
            user: record.identity.user,
            email: record.identity.email,
            name: record.identity.name,
            groups: record.identity.groups,
            has_refresh_token: record.tokens.refresh.is_some(),
        };
        Entry {
            id: row.key.hex(),
            provider: row.provider.clone(),
            subject: row.subject.clone(),
            sid: row.sid.clone(),
            created: row.created,
            last_seen: row.last_seen,
            ends: row.created.plus(self.settings.lifetime),
            person: Record::open(&self.keyring, row.key, &row.sealed).ok().map(person),
        }
    }
}

impl Place {
    /// Before the first session.
    #[must_use]
    pub fn first() -> Self {
        Self(Some(SessionId::ENDS.0))
    }
}

impl Search {
    fn finds(&self, entry: &Entry) -> bool {
        let Self::User(wanted) = self else { return true };
        let is_person = |person: &Person| person.user == *wanted || person.email.eq_ignore_ascii_case(wanted.as_str());
        !wanted.is_empty() && (entry.subject == *wanted || entry.person.as_ref().is_some_and(is_person))
    }
}
