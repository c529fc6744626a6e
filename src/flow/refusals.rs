//! The log of refusals: the first of a kind at once, its repetitions as one line a minute with a count.
//!
//! Promises: strangers decide neither how many lines there are nor how long they are; memory is bounded; a request that is
//! let in comes nowhere near. Every id that an answer quotes is one that a line names: what is folded into a line answers with
//! the id of that line.

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::context::RequestId;
use crate::{
    clock::{Clock, Timestamp},
    edge::Reason,
    identity::PackedIdentity,
    policy::Denial,
    shutdown,
};

/// The time that repetitions are counted for, before a line says how many there were.
const WINDOW: Duration = Duration::from_mins(1);
/// Pause between looks for windows that have ended.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Kinds that are told apart at once. Beyond them, refusals are counted by their reason alone.
const MOST_KINDS: usize = 1_024;
/// Kinds a minute that strangers may make up, for each reason.
const MOST_FIRSTS: u32 = 20;
/// The most characters of a value in a line.
const MOST_CHARACTERS: usize = 256;

/// How an operator lets somebody in whose address the provider does not vouch for.
pub(super) const VERIFY_EMAIL: &str = "have the provider verify the address (email_verified), name the subject in place of the \
                                       address, or set providers[].unverified_email = \"trust\"";

/// Prints what refused somebody, as it is configured.
pub(super) struct Needs<'p>(pub(super) Denial<'p>);

impl fmt::Display for Needs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Denial::Rule => f.write_str("access = \"deny\""),
            Denial::NotAllowed(allow) => allow.fmt(f),
        }
    }
}

/// Prints somebody's groups.
pub(super) struct Groups<'p>(pub(super) &'p PackedIdentity);

impl fmt::Display for Groups<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "groups = {:?}", self.0.unpack().groups)
    }
}

/// A refusal, as far as it is known whose.
#[derive(Clone, Copy, Default)]
pub(super) struct Refused<'a> {
    pub(super) app: Option<&'a str>,
    pub(super) host: Option<&'a str>,
    pub(super) client: Option<IpAddr>,
    /// Whoever is connected, where that is not known to be an edge.
    pub(super) peer: Option<IpAddr>,
    pub(super) user: Option<&'a str>,
    pub(super) subject: Option<&'a str>,
    pub(super) path: Option<&'a str>,
    /// The rule or `allow` that did not let in, as configured.
    pub(super) needs: Option<&'a dyn fmt::Display>,
    /// The person's groups.
    pub(super) has: Option<&'a dyn fmt::Display>,
    /// More about the cause, such as an error.
    pub(super) detail: Option<&'a dyn fmt::Display>,
    pub(super) mend: Option<&'a str>,
}

/// Which refusals have been logged lately.
pub(super) struct RefusalLog {
    clock: Clock,
    hasher: RandomState,
    kinds: Mutex<Kinds>,
}

#[derive(Default)]
struct Kinds {
    known: HashMap<u64, Kind>,
    /// Firsts of this minute, by reason.
    firsts: HashMap<Reason, (Timestamp, u32)>,
}

/// Refusals that repeat.
struct Kind {
    line: Line,
    /// When its window ends.
    ends: Timestamp,
    /// Repetitions in this window.
    count: u64,
}

/// One line, each value cut.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    reason: Reason,
    id: String,
    app: Option<String>,
    host: Option<String>,
    client: Option<IpAddr>,
    peer: Option<IpAddr>,
    user: Option<String>,
    subject: Option<String>,
    path: Option<String>,
    needs: Option<String>,
    has: Option<String>,
    detail: Option<String>,
    mend: Option<String>,
}

/// What becomes of one refusal.
#[derive(Debug, PartialEq)]
enum Fate {
    /// It is a line of its own.
    First(Box<Line>),
    /// It is counted in the line of this id.
    Counted(String),
}

impl RefusalLog {
    /// Nothing has been logged yet.
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, hasher: RandomState::new(), kinds: Mutex::default() }
    }

    /// Logs or counts a refusal. `id` becomes that of the line in which it is counted, unless it has been used already.
    pub(super) fn note(&self, id: &RequestId, reason: Reason, refused: &Refused<'_>) {
        match self.fate(id, reason, refused) {
            Fate::First(line) => line.write(None),
            Fate::Counted(first) => id.adopt(first),
        }
    }

    /// Until asked to stop: says how often refusals were repeated, once a minute. Says what is left before it returns.
    pub(super) async fn work(&self, stop: shutdown::Signal) {
        loop {
            tokio::select! { () = tokio::time::sleep(LOOK_EVERY) => {}, () = stop.raised() => break }
            self.write_ended(|ends, now| ends <= now);
        }
        self.write_ended(|_, _| true);
    }

    fn write_ended(&self, is_over: impl Fn(Timestamp, Timestamp) -> bool) {
        for (line, count) in self.take_ended(is_over) {
            line.write(Some(count));
        }
    }

    /// The kinds that were repeated in a window that is over. One that was not is forgotten.
    fn take_ended(&self, is_over: impl Fn(Timestamp, Timestamp) -> bool) -> Vec<(Line, u64)> {
        let now = self.clock.now();
        let (mut repeated, mut kinds) = (Vec::new(), self.kinds());
        kinds.known.retain(|_, kind| {
            if !is_over(kind.ends, now) {
                return true;
            }
            if kind.count > 0 {
                repeated.push((kind.line.clone(), std::mem::take(&mut kind.count)));
                kind.ends = now.plus(WINDOW);
                return true;
            }
            false
        });
        repeated
    }

    fn fate(&self, id: &RequestId, reason: Reason, refused: &Refused<'_>) -> Fate {
        let now = self.clock.now();
        let mut kinds = self.kinds();
        let kind = self.kind_of(reason, refused);
        if let Some(first) = kinds.count(kind, now) {
            return Fate::Counted(first);
        }
        let has_room = kinds.known.len() < MOST_KINDS && (!is_made_up(reason) || kinds.may_be_first(reason, now));
        let kind = if has_room { kind } else { self.hasher.hash_one(reason) };
        if !has_room && let Some(first) = kinds.count(kind, now) {
            return Fate::Counted(first);
        }
        let line = if has_room { Line::of(id, reason, refused) } else { Line::of_the_rest(id, reason) };
        kinds.known.insert(kind, Kind { line: line.clone(), ends: now.plus(WINDOW), count: 0 });
        Fate::First(Box::new(line))
    }

    /// What makes refusals repetitions of each other. Keyed, so that nobody can choose names that fall together.
    fn kind_of(&self, reason: Reason, refused: &Refused<'_>) -> u64 {
        let host = refused.host.filter(|_| reason == Reason::UnknownHost);
        let detail = match (reason, refused.detail) {
            (Reason::BadRequest | Reason::SignInFailed, Some(detail)) => cut(detail),
            _ => String::new(),
        };
        self.hasher.hash_one((reason, refused.app, refused.subject, host, refused.peer, detail))
    }

    fn kinds(&self) -> MutexGuard<'_, Kinds> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kinds {
    /// Counts a repetition: the id of the line that was the first. After a window without one it is no repetition.
    fn count(&mut self, kind: u64, now: Timestamp) -> Option<String> {
        let known = self.known.get_mut(&kind).filter(|known| now < known.ends || known.count > 0)?;
        known.count += 1;
        Some(known.line.id.clone())
    }

    fn may_be_first(&mut self, reason: Reason, now: Timestamp) -> bool {
        let (since, firsts) = self.firsts.entry(reason).or_insert((now, 0));
        if now.since(*since) >= WINDOW || now < *since {
            (*since, *firsts) = (now, 0);
        }
        *firsts += 1;
        *firsts <= MOST_FIRSTS
    }
}

/// Whether strangers choose what tells these refusals apart.
fn is_made_up(reason: Reason) -> bool {
    matches!(reason, Reason::UnknownHost | Reason::UntrustedPeer | Reason::BadRequest)
}

/// Whether the log tells of refusals for this reason: not where nothing is refused but a sign-in or a word is asked for, and
/// not where whoever finds out that there is no room says so.
pub(super) fn is_logged(reason: Reason) -> bool {
    !matches!(
        reason,
        Reason::NoSession
            | Reason::SessionEnded
            | Reason::SigningIn
            | Reason::SignedIn
            | Reason::SignedOut
            | Reason::ConfirmSignOut
            | Reason::Reset
            | Reason::NotFound
            | Reason::Overloaded
    )
}

impl Line {
    fn of(id: &RequestId, reason: Reason, refused: &Refused<'_>) -> Self {
        let short = |text: Option<&str>| text.map(|text| cut(&text));
        Self {
            reason,
            id: id.as_str().to_owned(),
            app: short(refused.app),
            host: short(refused.host),
            client: refused.client,
            peer: refused.peer,
            user: short(refused.user),
            subject: short(refused.subject),
            path: short(refused.path),
            needs: refused.needs.map(cut),
            has: refused.has.map(cut),
            detail: refused.detail.map(cut),
            mend: short(refused.mend),
        }
    }

    /// Stands for all refusals that there is no room to tell apart.
    fn of_the_rest(id: &RequestId, reason: Reason) -> Self {
        let detail = "more of them than are told apart: the rest is counted together";
        Self::of(id, reason, &Refused { detail: Some(&detail), ..Refused::default() })
    }

    fn write(&self, count: Option<u64>) {
        let Self { reason, id, app, host, client, peer, user, subject, path, needs, has, detail, mend } = self;
        let (reason, said) = (reason.code(), said(*reason));
        let [client, peer] = [client, peer].map(|address| address.map(|address| address.to_string()));
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    request_id = id,
                    app,
                    host,
                    client,
                    peer,
                    user,
                    subject,
                    reason,
                    path,
                    needs,
                    has,
                    detail,
                    mend,
                    count,
                    "{said}"
                )
            };
        }
        if is_alarming(self.reason) { line!(warn) } else { line!(info) }
    }
}

/// Whether the operator has something to mend.
fn is_alarming(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::UntrustedPeer
            | Reason::StoreUnavailable
            | Reason::ProviderUnavailable
            | Reason::SignInFailed
            | Reason::SignInLoop
            | Reason::Internal
    )
}

fn said(reason: Reason) -> &'static str {
    match reason {
        Reason::UntrustedPeer => "refused: the peer is not in server.trusted_proxies",
        Reason::UnknownHost => "refused: no app names this host",
        Reason::BadRequest => "refused: not a request that an edge or a browser makes",
        Reason::StoreUnavailable => "refused: the session store does not answer",
        Reason::ProviderUnavailable => "refused: the provider does not answer",
        Reason::NeedsRoute => "refused: this page needs a direct route to the gate",
        Reason::SignInFailed => "refused: sign-in is not possible",
        Reason::SignInLoop => {
            "refused: sign-in went round too often; the browser keeps no cookies, or replicas do not share a store"
        }
        _ => "refused",
    }
}

/// The beginning of a value, and how long it was where that is not all.
pub(super) fn cut(value: &(impl fmt::Display + ?Sized)) -> String {
    let mut cut = Cut { text: String::new(), characters: 0 };
    // A value that fails to print itself is as far as it got.
    let _as_far_as_it_got = write!(cut, "{value}");
    if cut.characters > MOST_CHARACTERS {
        let _never_fails = write!(cut.text, "… (cut, {} characters)", cut.characters);
    }
    cut.text
}

struct Cut {
    text: String,
    characters: usize,
}

impl fmt::Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text.extend(text.chars().take(MOST_CHARACTERS.saturating_sub(self.characters)));
        self.characters += text.chars().count();
        Ok(())
    }
}

impl fmt::Debug for RefusalLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefusalLog").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::AtomicU64, atomic::Ordering};

    use super::*;

    /// A log, and the hand of its clock.
    fn log() -> (RefusalLog, Arc<AtomicU64>) {
        let (clock, hand) = Clock::manual(Timestamp::from_unix(1_000_000));
        (RefusalLog::new(clock), hand)
    }

    /// Notes one refusal: whether it is a line of its own.
    fn is_first(log: &RefusalLog, reason: Reason, refused: &Refused<'_>) -> bool {
        matches!(log.fate(&RequestId::default(), reason, refused), Fate::First(_))
    }

    fn ended(log: &RefusalLog) -> Vec<u64> {
        let mut counts: Vec<_> = log.take_ended(|ends, now| ends <= now).into_iter().map(|(_, count)| count).collect();
        counts.sort_unstable();
        counts
    }

    fn of<'a>(app: &'a str, subject: &'a str) -> Refused<'a> {
        Refused { app: Some(app), subject: Some(subject), ..Refused::default() }
    }

    #[test]
    fn the_first_is_a_line_and_the_rest_is_a_count_each_minute() {
        let (log, hand) = log();
        let first = RequestId::default();
        assert!(matches!(log.fate(&first, Reason::GroupMissing, &of("a", "s")), Fate::First(_)));
        for minute in 1..=3 {
            for _ in 0..10 {
                let fate = log.fate(&RequestId::default(), Reason::GroupMissing, &of("a", "s"));
                assert_eq!(fate, Fate::Counted(first.as_str().to_owned()), "whoever asks is told the line's id");
            }
            assert_eq!(ended(&log), [0; 0], "{minute}: the minute is not over");
            hand.fetch_add(60, Ordering::Relaxed);
            assert_eq!(ended(&log), [10], "{minute}");
        }
        hand.fetch_add(60, Ordering::Relaxed);
        assert_eq!(ended(&log), [0; 0], "a minute without any is no line");
        assert!(is_first(&log, Reason::GroupMissing, &of("a", "s")), "and after it the next is a first again");
    }

    #[test]
    fn another_app_subject_or_reason_is_a_line_of_its_own() {
        let (log, _hand) = log();
        assert!(is_first(&log, Reason::GroupMissing, &of("a", "s")));
        assert!(is_first(&log, Reason::GroupMissing, &of("b", "s")));
        assert!(is_first(&log, Reason::GroupMissing, &of("a", "t")));
        assert!(is_first(&log, Reason::RuleDenied, &of("a", "s")));
        let other_path = Refused { path: Some("/other"), host: Some("h.example"), ..of("a", "s") };
        assert!(!is_first(&log, Reason::GroupMissing, &other_path), "a path or a host makes no other kind");
    }

    #[test]
    fn strangers_have_twenty_lines_a_minute_for_each_reason_and_one_for_all_the_rest() {
        let (log, hand) = log();
        for minute in 0..3_u32 {
            for (reason, key) in
                [(Reason::UnknownHost, "host"), (Reason::UntrustedPeer, "peer"), (Reason::BadRequest, "x")]
            {
                let firsts = (0..500_u32).filter(|number| {
                    let name = format!("{key}-{minute}-{number}.example");
                    let peer = std::net::Ipv4Addr::from_bits(minute * 1_000 + number).into();
                    is_first(
                        &log,
                        reason,
                        &Refused {
                            host: Some(&name),
                            peer: (reason == Reason::UntrustedPeer).then_some(peer),
                            detail: Some(&name),
                            ..Refused::default()
                        },
                    )
                });
                let firsts = firsts.count();
                assert!((20..=21).contains(&firsts), "{reason:?} in minute {minute}: {firsts}");
            }
            hand.fetch_add(60, Ordering::Relaxed);
            assert_eq!(ended(&log).len(), 3, "one count for the rest of each");
        }
    }

    #[test]
    fn memory_is_bounded_whoever_asks_for_what() {
        let (log, _hand) = log();
        for number in 0..20_000 {
            is_first(&log, Reason::GroupMissing, &of("a", &number.to_string()));
        }
        assert!(log.kinds().known.len() <= MOST_KINDS + 1, "{}", log.kinds().known.len());
        let counted: u64 = log.take_ended(|_, _| true).into_iter().map(|(_, count)| count).sum();
        assert_eq!(counted, 20_000 - MOST_KINDS as u64 - 1, "nothing is lost from the count");
    }

    #[test]
    fn a_value_is_cut_at_256_characters_and_says_so() {
        let long = "ü".repeat(60_000);
        assert_eq!(cut(&long), format!("{}… (cut, 60000 characters)", "ü".repeat(256)));
        let fits = "x".repeat(256);
        assert_eq!(cut(&fits), fits);
        let refused = Refused { path: Some(&long), host: Some(&long), needs: Some(&long), ..of(&long, &long) };
        let line = Line::of(&RequestId::default(), Reason::RuleDenied, &refused);
        assert!(format!("{line:?}").chars().count() < 5 * 300 + 400);
    }
}
