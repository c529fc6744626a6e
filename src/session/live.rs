//! A session in memory: what of it answers requests.
//!
//! Promises: what every request looks at stands together; headers are rendered once. It must not know how a session is kept,
//! nor who may keep it.

use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::HeaderMap;

use super::{
    record::Record,
    store::Row,
    token::{Key, Token},
    trust::{Asked, Voucher},
};
use crate::{
    clock::Timestamp,
    crypto,
    identity::{Packed, Tokens},
    policy::headers::{Plan, PlanId, Rendered},
};

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
    use secrecy::SecretString;

    use super::{
        super::{record::NewSession, trust::Hearing},
        *,
    };
    use crate::crypto::Keyring;

    fn live() -> Live {
        let ring = Keyring::new(&[SecretString::from("a".repeat(32))]).unwrap();
        let token = Token::fresh(&ring);
        let identity = serde_json::from_value(serde_json::json!({
            "provider": "p", "subject": "s", "user": "u", "email": "", "name": "", "groups": [], "claims": {}
        }));
        let new = NewSession { identity: identity.unwrap(), tokens: Tokens::default(), sid: None };
        let record = Record::new(new, Timestamp::from_unix(1_000));
        let row = record.seal(&ring, token.key());
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
    fn debug_output_holds_no_token_and_no_tag() {
        let mut live = live();
        live.tokens.refresh = Some(SecretString::from("very-secret"));
        let printed = format!("{live:?}");
        assert!(!printed.contains("very-secret") && !printed.contains("tag"), "{printed}");
    }
}
