//! What a session is: the record that is sealed into the store, and the live form that answers requests.
//!
//! Promises: tokens leave their wrapping in one function, on their way into the seal; a row that was moved, changed or
//! sealed by somebody else does not open. It must not know how rows are kept.

use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde::{Deserialize, Serialize};

use super::{
    store::Row,
    token::{Key, Token},
    trust::{Asked, Voucher},
};
use crate::{
    clock::Timestamp,
    crypto::{self, Keyring, Purpose},
    identity::{Identity, Packed, Tokens},
    policy::headers::{Plan, PlanId, Rendered},
};

/// What a sign-in yields.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Who signed in.
    pub identity: Identity,
    /// What the provider issued.
    pub tokens: Tokens,
    /// The provider's own name for its session (`sid`), for its sign-out.
    pub sid: Option<String>,
}

/// A session as it is kept.
#[derive(Clone, Debug)]
pub struct Record {
    /// Who signed in.
    pub identity: Identity,
    /// What the provider issued.
    pub tokens: Tokens,
    /// The provider's own name for its session.
    pub sid: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When its tokens were last renewed; when it was made, before that.
    pub renewed: Timestamp,
}

/// Why a sealed record could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It does not open: changed, moved, or sealed with a secret that is configured no more. It never will.
    Sealed,
    /// A newer version of the program wrote it, and can read it.
    Newer,
    /// It opens, and does not hold a record. A defect of ours.
    Garbled,
}

/// The form of the sealed part. Readers ignore fields that they do not know and writers keep those that older readers
/// need, so the number changes only where that is impossible.
const FORM: u8 = 1;

/// The record on its way into the seal.
#[derive(Serialize)]
struct Exposed<'a> {
    identity: &'a Identity,
    sid: Option<&'a str>,
    created: u64,
    renewed: u64,
    access: Option<&'a str>,
    access_ends: Option<u64>,
    refresh: Option<&'a str>,
    id: Option<&'a str>,
}

/// The record on its way out of the seal. Owns its strings, because JSON may have escaped them.
#[derive(Deserialize)]
struct Opened {
    identity: Identity,
    sid: Option<String>,
    created: u64,
    renewed: u64,
    access: Option<String>,
    access_ends: Option<u64>,
    refresh: Option<String>,
    id: Option<String>,
}

impl Record {
    /// A session that begins now.
    pub(super) fn new(new: NewSession, now: Timestamp) -> Self {
        let NewSession { identity, tokens, sid } = new;
        Self { identity, tokens, sid, created: now, renewed: now }
    }

    /// The row that keeps it under `key`.
    pub(super) fn seal(&self, keyring: &Keyring, key: Key) -> Row {
        Row {
            key,
            provider: self.identity.provider.clone(),
            subject: self.identity.subject.0.clone(),
            sid: self.sid.clone(),
            generation: 1,
            created: self.created,
            last_seen: self.created,
            sealed: keyring.seal(Purpose::SessionRow, &key.0, &self.expose()),
        }
    }

    /// Reads what [`Record::seal`] wrote under `key`.
    pub(super) fn open(keyring: &Keyring, key: Key, sealed: &[u8]) -> Result<Self, Unreadable> {
        let plain = keyring.open(Purpose::SessionRow, &key.0, sealed).ok_or(Unreadable::Sealed)?;
        let plain = Zeroizing::new(plain);
        match plain.split_first() {
            Some((&FORM, json)) => {
                serde_json::from_slice::<Opened>(json).map(Self::from).map_err(|_| Unreadable::Garbled)
            }
            Some((&form, _)) if form > FORM => Err(Unreadable::Newer),
            _ => Err(Unreadable::Garbled),
        }
    }

    /// The only place where a session's tokens leave their wrapping.
    fn expose(&self) -> Zeroizing<Vec<u8>> {
        let Tokens { access, access_ends, refresh, id } = &self.tokens;
        let exposed = Exposed {
            identity: &self.identity,
            sid: self.sid.as_deref(),
            created: self.created.unix(),
            renewed: self.renewed.unix(),
            access: access.as_ref().map(ExposeSecret::expose_secret),
            access_ends: access_ends.map(Timestamp::unix),
            refresh: refresh.as_ref().map(ExposeSecret::expose_secret),
            id: id.as_ref().map(ExposeSecret::expose_secret),
        };
        let mut plain = Zeroizing::new(vec![FORM]);
        serde_json::to_writer(&mut *plain, &exposed)
            .expect("a record holds nothing that JSON cannot, and memory takes it");
        plain
    }
}

impl From<Opened> for Record {
    fn from(opened: Opened) -> Self {
        Self {
            identity: opened.identity,
            sid: opened.sid,
            created: Timestamp::from_unix(opened.created),
            renewed: Timestamp::from_unix(opened.renewed),
            tokens: Tokens {
                access: opened.access.map(SecretString::from),
                access_ends: opened.access_ends.map(Timestamp::from_unix),
                refresh: opened.refresh.map(SecretString::from),
                id: opened.id.map(SecretString::from),
            },
        }
    }
}

/// A session in memory: the record, and the headers that it answers with.
///
/// What every request looks at comes first and stays together: a session is in no core's cache when somebody comes back
/// after a while, and every 64 bytes are a wait of their own.
#[repr(C)]
pub struct Live {
    token: Token,
    last_seen: AtomicU64,
    /// When `last_seen` was last put forward for writing.
    noted: AtomicU64,
    created: Timestamp,
    /// Which secrets its cookie was last held against; none yet where it is 0.
    edition: AtomicU64,
    voucher: Voucher,
    who: Packed,
    headers: Shelf,
    tokens: Tokens,
    renewed: Timestamp,
    generation: u64,
    /// Until then no renewal is tried: the last one failed.
    resting: AtomicU64,
    key: Key,
    sid: Option<Box<str>>,
    size: u32,
}

impl Live {
    /// The session of `token` as its row had it when the store was asked.
    pub(super) fn new(record: Record, token: &Token, row: &Row, asked: Asked) -> Self {
        let Record { identity, tokens, sid, created, renewed } = record;
        Self {
            token: *token,
            last_seen: AtomicU64::new(row.last_seen.unix()),
            noted: AtomicU64::new(row.last_seen.unix()),
            created,
            edition: AtomicU64::new(0),
            voucher: Voucher::new(asked),
            who: Packed::new(&identity),
            headers: Shelf::default(),
            tokens,
            renewed,
            generation: row.generation,
            resting: AtomicU64::new(0),
            key: row.key,
            sid: sid.map(String::into_boxed_str),
            size: u32::try_from(row.sealed.len()).unwrap_or(u32::MAX),
        }
    }

    /// Who signed in.
    #[must_use]
    pub fn who(&self) -> &Packed {
        &self.who
    }

    /// What the provider issued.
    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The provider's own name for its session.
    #[must_use]
    pub fn sid(&self) -> Option<&str> {
        self.sid.as_deref()
    }

    /// When it was made.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// When its tokens were last renewed; when it was made, before that.
    #[must_use]
    pub fn renewed(&self) -> Timestamp {
        self.renewed
    }

    /// All of it as it is kept, in a copy: for what is not done on every request.
    #[must_use]
    pub fn record(&self) -> Record {
        Record {
            identity: self.who.unpack(),
            tokens: self.tokens.clone(),
            sid: self.sid().map(str::to_owned),
            created: self.created,
            renewed: self.renewed,
        }
    }

    /// The headers of an answer under a plan: rendered once, then copied.
    #[must_use]
    pub fn headers(&self, plan: &Plan) -> HeaderMap {
        let render = || plan.render(&self.who.unpack(), &self.tokens);
        match self.headers.rendered(plan.id(), render) {
            Some(rendered) => plan.headers(rendered),
            None => plan.headers(&render()),
        }
    }

    /// Whether `token`, which has this session's id, has its tag as well.
    pub(super) fn answers_to(&self, token: &Token) -> bool {
        crypto::same(self.token.tag(), token.tag())
    }

    /// The key of its row: what logs and look-ups call it, useless as a cookie.
    #[must_use]
    pub fn key(&self) -> Key {
        self.key
    }

    /// What its cookie holds.
    pub(super) fn token(&self) -> &Token {
        &self.token
    }

    /// Until when it is left alone after a renewal that failed.
    pub(super) fn resting_until(&self) -> Timestamp {
        Timestamp::from_unix(self.resting.load(Ordering::Relaxed))
    }

    /// Leaves it alone until then.
    pub(super) fn rest_until(&self, until: Timestamp) {
        self.resting.store(until.unix(), Ordering::Relaxed);
    }

    /// The edition of the secrets that were last found to have made its cookie.
    pub(super) fn edition(&self) -> u64 {
        self.edition.load(Ordering::Relaxed)
    }

    pub(super) fn set_edition(&self, edition: u64) {
        self.edition.store(edition, Ordering::Relaxed);
    }

    /// How often its sealed part had been written.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// What the store said last of it.
    pub(super) fn voucher(&self) -> &Voucher {
        &self.voucher
    }

    /// Roughly what it takes in memory, in bytes: the text of the record, its headers, the tables that it stands in.
    pub(super) fn weight(&self) -> u32 {
        self.size.saturating_add(self.size / 2).saturating_add(1_200)
    }

    /// When it was last used, as far as this process knows.
    pub(super) fn last_seen(&self) -> Timestamp {
        Timestamp::from_unix(self.last_seen.load(Ordering::Relaxed))
    }

    /// Notes that it is used now.
    pub(super) fn see(&self, now: Timestamp) {
        // A plain load first: most requests come within the same second and need not take the cache line from others.
        if self.last_seen() < now {
            self.last_seen.fetch_max(now.unix(), Ordering::Relaxed);
        }
    }

    /// Whether the caller is to put its last use forward for writing: true once in `interval`, for one of all who ask.
    pub(super) fn put_forward(&self, now: Timestamp, interval: Duration) -> bool {
        let noted = self.noted.load(Ordering::Relaxed);
        let due = now.since(Timestamp::from_unix(noted)) > interval;
        due && self.noted.compare_exchange(noted, now.unix(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Takes that back: there was no room.
    pub(super) fn put_back(&self) {
        self.noted.store(0, Ordering::Relaxed);
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("key", &self.key).field("record", &self.record()).finish_non_exhaustive()
    }
}

/// How many plans' headers a session keeps: more than its apps have, and a bound for one that lives through many changes of
/// the configuration. What comes on top is rendered each time.
const MOST_PLANS: usize = 32;

/// Rendered headers, in the order in which their plans were first asked for: few, mostly one, which has its place in the
/// session itself. It only grows, so that references into it stay good.
#[derive(Default)]
struct Shelf(OnceLock<Rendering>);

struct Rendering {
    plan: PlanId,
    headers: Rendered,
    next: OnceLock<Box<Self>>,
}

impl Shelf {
    /// What is kept for a plan, rendered where it is asked for first; `None` where there is no room.
    fn rendered(&self, plan: PlanId, render: impl Fn() -> Rendered) -> Option<&Rendered> {
        let new = || Rendering { plan, headers: render(), next: OnceLock::new() };
        let mut kept = self.0.get_or_init(new);
        for _ in 1..MOST_PLANS {
            if kept.plan == plan {
                break;
            }
            // Another plan may be faster at the free place: then the next one is tried.
            kept = kept.next.get_or_init(|| Box::new(new()));
        }
        (kept.plan == plan).then_some(&kept.headers)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::{super::trust::Hearing, *};
    use crate::identity::Subject;

    fn ring() -> Keyring {
        Keyring::new(&[SecretString::from("a".repeat(32))]).unwrap()
    }

    fn claims() -> impl Strategy<Value = Map<String, Value>> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        let value = leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        });
        prop::collection::btree_map(any::<String>(), value, 0..6).prop_map(|map| map.into_iter().collect())
    }

    fn identity() -> impl Strategy<Value = Identity> {
        (any::<[String; 5]>(), prop::collection::vec(any::<String>(), 0..5), claims()).prop_map(
            |([provider, subject, user, email, name], groups, claims)| Identity {
                provider,
                subject: Subject(subject),
                user,
                email,
                name,
                groups,
                claims,
            },
        )
    }

    fn record() -> impl Strategy<Value = Record> {
        (identity(), any::<[Option<String>; 4]>(), any::<Option<u64>>(), any::<u64>()).prop_map(
            |(identity, [access, refresh, id, sid], access_ends, created)| Record {
                renewed: Timestamp::from_unix(created),
                identity,
                sid,
                created: Timestamp::from_unix(created),
                tokens: Tokens {
                    access: access.map(SecretString::from),
                    access_ends: access_ends.map(Timestamp::from_unix),
                    refresh: refresh.map(SecretString::from),
                    id: id.map(SecretString::from),
                },
            },
        )
    }

    fn live() -> Live {
        let token = Token::fresh(&ring());
        let identity = serde_json::from_value(serde_json::json!({
            "provider": "p", "subject": "s", "user": "u", "email": "", "name": "", "groups": [], "claims": {}
        }));
        let new = NewSession { identity: identity.unwrap(), tokens: Tokens::default(), sid: None };
        let record = Record::new(new, Timestamp::from_unix(1_000));
        let row = record.seal(&ring(), token.key());
        Live::new(record, &token, &row, Hearing::of_nobody().asking(Timestamp::from_unix(1_000)))
    }

    /// A plan of one header with a name of its own.
    fn plan(number: usize) -> Plan {
        let name = http::HeaderName::try_from(format!("x-{number}")).unwrap();
        Plan::new(vec![(name, crate::policy::headers::Source::User)], Vec::new())
    }

    #[test]
    fn headers_are_rendered_once_for_each_plan() {
        let live = live();
        let at = |number| {
            let render = || plan(number).render(&live.who.unpack(), &live.tokens);
            live.headers.rendered(plan(number).id(), render).map(std::ptr::from_ref)
        };
        let first: Vec<_> = (0..MOST_PLANS).map(at).collect();
        assert!(first.iter().all(Option::is_some));
        assert_eq!(first, (0..MOST_PLANS).map(at).collect::<Vec<_>>());
        assert_eq!(at(MOST_PLANS), None, "a session does not grow for ever");
    }

    #[test]
    fn a_session_answers_under_each_of_many_plans_with_that_plans_headers() {
        let live = live();
        for number in (0..3 * MOST_PLANS).chain(0..3) {
            assert_eq!(live.headers(&plan(number))[format!("x-{number}")], "u");
        }
    }

    #[test]
    fn last_seen_never_goes_back_and_is_due_for_one_of_many() {
        let (live, minute) = (live(), Duration::from_mins(1));
        let at = Timestamp::from_unix;
        live.see(at(1_050));
        live.see(at(1_020));
        assert_eq!(live.last_seen(), at(1_050));
        assert!(!live.put_forward(at(1_060), minute));
        assert!(live.put_forward(at(1_061), minute));
        assert!(!live.put_forward(at(1_061), minute));
        live.put_back();
        assert!(live.put_forward(at(1_061), minute));
    }

    #[test]
    fn a_record_of_a_newer_form_is_told_from_a_garbled_one() {
        let token = Token::fresh(&ring());
        let mut row = live().record().seal(&ring(), token.key());
        for (plain, expected) in [
            ([FORM + 1, b'{'].as_slice(), Unreadable::Newer),
            (&[FORM, b'{'], Unreadable::Garbled),
            (&[0], Unreadable::Garbled),
            (&[], Unreadable::Garbled),
        ] {
            row.sealed = ring().seal(Purpose::SessionRow, &token.key().0, plain);
            assert_eq!(Record::open(&ring(), row.key, &row.sealed).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_field_of_a_later_version_does_not_make_a_record_unreadable() {
        let token = Token::fresh(&ring());
        let record = live().record();
        let mut row = record.seal(&ring(), token.key());
        let mut json: Value = serde_json::from_slice(&record.expose()[1..]).unwrap();
        json["added_later"] = Value::from(1);
        let plain = [&[FORM], json.to_string().as_bytes()].concat();
        row.sealed = ring().seal(Purpose::SessionRow, &token.key().0, &plain);
        assert_eq!(Record::open(&ring(), row.key, &row.sealed).unwrap().identity, record.identity);
    }

    #[test]
    fn debug_output_holds_no_token_and_no_tag() {
        let mut live = live();
        live.tokens.refresh = Some(SecretString::from("very-secret"));
        let printed = format!("{live:?}");
        assert!(!printed.contains("very-secret") && !printed.contains("tag"), "{printed}");
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_was_under_its_own_key_alone(record in record(), other: [u8; 32]) {
            let key = Token::fresh(&ring()).key();
            let mut row = record.seal(&ring(), key);
            let back = Record::open(&ring(), row.key, &row.sealed).unwrap();
            prop_assert_eq!(&back.identity, &record.identity);
            prop_assert_eq!(&back.sid, &record.sid);
            prop_assert_eq!(back.created, record.created);
            prop_assert_eq!(back.tokens.access_ends, record.tokens.access_ends);
            prop_assert!(back.expose() == record.expose());
            row.key = Key(other);
            prop_assert_eq!(Record::open(&ring(), row.key, &row.sealed).unwrap_err(), Unreadable::Sealed);
        }
    }
}
