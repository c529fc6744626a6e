//! Log of refusals: the first of a kind at once, its repetitions as one line a minute with a count.
//!
//! Promises: clients decide neither how many lines there are nor how long they are; memory is bounded; allowed requests do not
//! come here. Every id that an answer quotes is in a line: a refusal that is counted in a line answers with the id of that line.

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

/// Window in which repetitions are counted, before a line says how many there were.
const WINDOW: Duration = Duration::from_mins(1);
/// Interval between sweeps for windows that have ended.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// The most kinds that are told apart. Beyond them, refusals are counted by their reason alone.
const MAX_KINDS: usize = 1_024;
/// The most new kinds a minute for each reason whose kinds clients can make up.
const MAX_NEW_KINDS: u32 = 20;
/// The most characters of a value in a line.
const MAX_CHARACTERS: usize = 256;

/// Returns advice to the operator about a denial for which the provider's answer is the cause.
pub(super) fn mend(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::EmailUnverified => Some(
            "have the provider verify the address (email_verified), name the subject in place of the address, or set \
             providers[].unverified_email = \"trust\"",
        ),
        Reason::GroupsIncomplete => Some(
            "have the provider send only the groups assigned to the application, or app roles with groups_claim = \"roles\"; \
             where its userinfo endpoint fails, see the warning about that",
        ),
        _ => None,
    }
}

/// Prints the rule or `allow` of a denial, as it is configured.
pub(super) struct RequiredAccess<'p>(pub(super) Denial<'p>);

impl fmt::Display for RequiredAccess<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Denial::Rule => f.write_str("access = \"deny\""),
            Denial::NotAllowed(allow) | Denial::StepUp(allow) => allow.fmt(f),
            Denial::Narrowed(narrowing) => narrowing.fmt(f),
        }
    }
}

/// Prints what an identity has of what a denial is about: its groups, and for a step-up how it signed in.
pub(super) struct HeldGrants<'p>(pub(super) &'p PackedIdentity, pub(super) Denial<'p>);

impl fmt::Display for HeldGrants<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "groups = {:?}", self.0.unpack().groups)?;
        if matches!(self.1, Denial::StepUp(_)) {
            let claims = self.0.claims();
            for name in ["acr", "auth_time"] {
                match claims.get(name) {
                    Some(value) => write!(f, ", {name} = {value}")?,
                    None => write!(f, ", no {name}")?,
                }
            }
        }
        Ok(())
    }
}

/// Details of a refusal, as far as they are known.
#[derive(Clone, Copy, Default)]
pub(super) struct RefusalDetails<'a> {
    pub(super) app: Option<&'a str>,
    pub(super) host: Option<&'a str>,
    pub(super) client: Option<IpAddr>,
    /// The other end of the connection, where it is no trusted proxy.
    pub(super) peer: Option<IpAddr>,
    pub(super) user: Option<&'a str>,
    pub(super) subject: Option<&'a str>,
    pub(super) path: Option<&'a str>,
    /// The rule or `allow` that refused, as configured.
    pub(super) needs: Option<&'a dyn fmt::Display>,
    /// What of that the person has.
    pub(super) has: Option<&'a dyn fmt::Display>,
    /// More about the cause, such as an error.
    pub(super) detail: Option<&'a dyn fmt::Display>,
    /// Advice to the operator.
    pub(super) mend: Option<&'a str>,
}

/// Refusals that were logged lately.
pub(super) struct RefusalLog {
    clock: Clock,
    hasher: RandomState,
    kinds: Mutex<RefusalKinds>,
}

#[derive(Default)]
struct RefusalKinds {
    known: HashMap<u64, RefusalKind>,
    /// New kinds of this minute, by reason.
    new_kinds: HashMap<Reason, (Timestamp, u32)>,
}

/// Refusals that are repetitions of each other.
struct RefusalKind {
    line: RefusalLine,
    /// End of its window.
    ends: Timestamp,
    /// Repetitions in this window.
    count: u64,
}

/// Line of the log, each value truncated.
#[derive(Clone, Debug, PartialEq)]
struct RefusalLine {
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

/// Treatment of one refusal.
#[derive(Debug, PartialEq)]
enum Recorded {
    /// Logged as a line of its own.
    First(Box<RefusalLine>),
    /// Counted in the line of this id.
    Counted(String),
}

impl RefusalLog {
    /// An empty log.
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, hasher: RandomState::new(), kinds: Mutex::default() }
    }

    /// Logs or counts a refusal. `id` becomes that of the line in which it is counted, unless it has been used already.
    pub(super) fn record(&self, id: &RequestId, reason: Reason, details: &RefusalDetails<'_>) {
        match self.classify(id, reason, details) {
            Recorded::First(line) => line.write(None),
            Recorded::Counted(first) => id.adopt(first),
        }
    }

    /// Logs once a minute how often refusals were repeated, until asked to stop; then logs the rest.
    pub(super) async fn run(&self, stop: shutdown::Signal) {
        loop {
            tokio::select! { () = tokio::time::sleep(SWEEP_INTERVAL) => {}, () = stop.raised() => break }
            self.write_ended(|ends, now| ends <= now);
        }
        self.write_ended(|_, _| true);
    }

    fn write_ended(&self, is_over: impl Fn(Timestamp, Timestamp) -> bool) {
        for (line, count) in self.take_ended(is_over) {
            line.write(Some(count));
        }
    }

    /// Takes the kinds that were repeated in a window that is over, and forgets those that were not.
    fn take_ended(&self, is_over: impl Fn(Timestamp, Timestamp) -> bool) -> Vec<(RefusalLine, u64)> {
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

    fn classify(&self, id: &RequestId, reason: Reason, details: &RefusalDetails<'_>) -> Recorded {
        let now = self.clock.now();
        let mut kinds = self.kinds();
        let kind = self.kind_of(reason, details);
        if let Some(first) = kinds.count(kind, now) {
            return Recorded::Counted(first);
        }
        let has_room =
            kinds.known.len() < MAX_KINDS && (!is_chosen_by_client(reason) || kinds.has_room_for_new(reason, now));
        let kind = if has_room { kind } else { self.hasher.hash_one(reason) };
        if !has_room && let Some(first) = kinds.count(kind, now) {
            return Recorded::Counted(first);
        }
        let line = if has_room { RefusalLine::of(id, reason, details) } else { RefusalLine::of_the_rest(id, reason) };
        kinds.known.insert(kind, RefusalKind { line: line.clone(), ends: now.plus(WINDOW), count: 0 });
        Recorded::First(Box::new(line))
    }

    /// Hash of what makes refusals repetitions of each other. Keyed, so that clients cannot choose values that collide.
    fn kind_of(&self, reason: Reason, details: &RefusalDetails<'_>) -> u64 {
        let host = details.host.filter(|_| reason == Reason::UnknownHost);
        let detail = match (reason, details.detail) {
            (Reason::BadRequest | Reason::SignInFailed | Reason::Overloaded | Reason::RateLimited, Some(detail)) => {
                truncate(detail)
            }
            _ => String::new(),
        };
        self.hasher.hash_one((reason, details.app, details.subject, host, details.peer, detail))
    }

    fn kinds(&self) -> MutexGuard<'_, RefusalKinds> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RefusalKinds {
    /// Counts a repetition and returns the id of the first line. After a window without repetitions it is none.
    fn count(&mut self, kind: u64, now: Timestamp) -> Option<String> {
        let known = self.known.get_mut(&kind).filter(|known| now < known.ends || known.count > 0)?;
        known.count += 1;
        Some(known.line.id.clone())
    }

    fn has_room_for_new(&mut self, reason: Reason, now: Timestamp) -> bool {
        let (since, count) = self.new_kinds.entry(reason).or_insert((now, 0));
        if now.since(*since) >= WINDOW || now < *since {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= MAX_NEW_KINDS
    }
}

/// Returns `true` if clients choose the values that tell these refusals apart.
fn is_chosen_by_client(reason: Reason) -> bool {
    matches!(reason, Reason::UnknownHost | Reason::UntrustedPeer | Reason::BadRequest)
}

/// Returns `true` if refusals for this reason are logged: not those that only ask for a sign-in or a confirmation.
pub(super) fn is_logged(reason: Reason) -> bool {
    !matches!(
        reason,
        Reason::NoSession
            | Reason::SessionEnded
            | Reason::Reauthorize
            | Reason::SigningIn
            | Reason::SignedIn
            | Reason::SignedOut
            | Reason::ConfirmSignOut
            | Reason::Reset
            | Reason::NotFound
    )
}

impl RefusalLine {
    fn of(id: &RequestId, reason: Reason, details: &RefusalDetails<'_>) -> Self {
        let short = |text: Option<&str>| text.map(|text| truncate(&text));
        Self {
            reason,
            id: id.as_str().to_owned(),
            app: short(details.app),
            host: short(details.host),
            client: details.client,
            peer: details.peer,
            user: short(details.user),
            subject: short(details.subject),
            path: short(details.path),
            needs: details.needs.map(truncate),
            has: details.has.map(truncate),
            detail: details.detail.map(truncate),
            mend: short(details.mend),
        }
    }

    /// Line for all refusals that there is no room to tell apart.
    fn of_the_rest(id: &RequestId, reason: Reason) -> Self {
        let detail = "more of them than are told apart: the rest is counted together";
        Self::of(id, reason, &RefusalDetails { detail: Some(&detail), ..RefusalDetails::default() })
    }

    fn write(&self, count: Option<u64>) {
        let Self { reason, id, app, host, client, peer, user, subject, path, needs, has, detail, mend } = self;
        let (reason, message) = (reason.code(), message(*reason));
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
                    "{message}"
                )
            };
        }
        if is_alarming(self.reason) { line!(warn) } else { line!(info) }
    }
}

/// Returns `true` if the operator has something to mend.
fn is_alarming(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::UntrustedPeer
            | Reason::StoreUnavailable
            | Reason::ProviderUnavailable
            | Reason::UpstreamUnavailable
            | Reason::UpstreamTimeout
            | Reason::SignInFailed
            | Reason::SignInLoop
            | Reason::EmergencyRefused
            | Reason::NoSuchEdge
            | Reason::Overloaded
            | Reason::Internal
    )
}

fn message(reason: Reason) -> &'static str {
    match reason {
        Reason::UntrustedPeer => "refused: the peer is not in server.trusted_proxies",
        Reason::UnknownHost => "refused: no app names this host",
        Reason::BadRequest => "refused: not a request that an edge or a browser makes",
        Reason::StoreUnavailable => "refused: session store unavailable",
        Reason::ProviderUnavailable => "refused: provider unavailable",
        Reason::UpstreamUnavailable => "refused: upstream unavailable",
        Reason::UpstreamTimeout => "refused: upstream too slow",
        Reason::NeedsRoute => "refused: this page needs a direct route to the gate",
        Reason::SignInFailed => "refused: sign-in is not possible",
        Reason::SignInLoop => {
            "refused: redirect loop of sign-ins; the browser keeps no cookies, the edge does not pass them to the check, or replicas do \
             not share a store"
        }
        Reason::EmergencyRefused => "refused: wrong name or password of the emergency sign-in",
        Reason::NoSuchEdge => "refused: no edge asks at this path",
        Reason::Overloaded => "refused: too many requests at once, or answers take too long",
        Reason::RateLimited => "refused: more attempts from one network than [limits] allows",
        _ => "refused",
    }
}

/// Truncates a value to [`MAX_CHARACTERS`], and appends its length where that is not all.
pub(super) fn truncate(value: &(impl fmt::Display + ?Sized)) -> String {
    let mut kept = Truncated { text: String::new(), characters: 0 };
    // A value that fails to print is logged as far as it got.
    let _as_far_as_it_got = write!(kept, "{value}");
    if kept.characters > MAX_CHARACTERS {
        let _never_fails = write!(kept.text, "… (cut, {} characters)", kept.characters);
    }
    kept.text
}

struct Truncated {
    text: String,
    characters: usize,
}

impl fmt::Write for Truncated {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text.extend(text.chars().take(MAX_CHARACTERS.saturating_sub(self.characters)));
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
    use crate::{
        identity::{ClaimsStanding, Identity, Subject},
        policy::Allow,
    };

    /// A log, and its clock.
    fn log() -> (RefusalLog, Arc<AtomicU64>) {
        let (clock, hand) = Clock::manual(Timestamp::from_unix(1_000_000));
        (RefusalLog::new(clock), hand)
    }

    /// Records one refusal; `true` if it is a line of its own.
    fn is_first(log: &RefusalLog, reason: Reason, details: &RefusalDetails<'_>) -> bool {
        matches!(log.classify(&RequestId::default(), reason, details), Recorded::First(_))
    }

    fn ended(log: &RefusalLog) -> Vec<u64> {
        let mut counts: Vec<_> = log.take_ended(|ends, now| ends <= now).into_iter().map(|(_, count)| count).collect();
        counts.sort_unstable();
        counts
    }

    fn of<'a>(app: &'a str, subject: &'a str) -> RefusalDetails<'a> {
        RefusalDetails { app: Some(app), subject: Some(subject), ..RefusalDetails::default() }
    }

    #[test]
    fn the_first_is_a_line_and_the_rest_is_a_count_each_minute() {
        let (log, hand) = log();
        let first = RequestId::default();
        assert!(matches!(log.classify(&first, Reason::GroupMissing, &of("a", "s")), Recorded::First(_)));
        for minute in 1..=3 {
            for _ in 0..10 {
                let recorded = log.classify(&RequestId::default(), Reason::GroupMissing, &of("a", "s"));
                assert_eq!(recorded, Recorded::Counted(first.as_str().to_owned()), "the answer quotes the line's id");
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
        let other_path = RefusalDetails { path: Some("/other"), host: Some("h.example"), ..of("a", "s") };
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
                        &RefusalDetails {
                            host: Some(&name),
                            peer: (reason == Reason::UntrustedPeer).then_some(peer),
                            detail: Some(&name),
                            ..RefusalDetails::default()
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
    fn overload_and_limits_are_a_line_for_each_thing_that_is_full_and_a_count() {
        let (log, hand) = log();
        for (reason, what) in [
            (Reason::Overloaded, "authorizations"),
            (Reason::Overloaded, "the gate's own pages"),
            (Reason::RateLimited, "limits.sign_in"),
            (Reason::RateLimited, "limits.callback"),
        ] {
            let details = RefusalDetails { detail: Some(&what), ..RefusalDetails::default() };
            let firsts = (0..1_000).filter(|_| is_first(&log, reason, &details)).count();
            assert_eq!(firsts, 1, "{what}");
        }
        hand.fetch_add(60, Ordering::Relaxed);
        assert_eq!(ended(&log), [999; 4]);
    }

    #[test]
    fn memory_is_bounded_whoever_asks_for_what() {
        let (log, _hand) = log();
        for number in 0..20_000 {
            is_first(&log, Reason::GroupMissing, &of("a", &number.to_string()));
        }
        assert!(log.kinds().known.len() <= MAX_KINDS + 1, "{}", log.kinds().known.len());
        let counted: u64 = log.take_ended(|_, _| true).into_iter().map(|(_, count)| count).sum();
        assert_eq!(counted, 20_000 - MAX_KINDS as u64 - 1, "nothing is lost from the count");
    }

    #[test]
    fn a_refusal_says_how_somebody_signed_in_where_that_is_why() {
        let identity = |claims: serde_json::Value| {
            let serde_json::Value::Object(claims) = claims else { panic!("an object") };
            PackedIdentity::new(&Identity {
                provider: "home".to_owned(),
                subject: Subject("s-1".to_owned()),
                user: "ann".to_owned(),
                email: String::new(),
                email_verified: false,
                name: String::new(),
                groups: vec!["staff".to_owned()],
                claims,
                standing: ClaimsStanding::default(),
            })
        };
        let (weak, silent) = (
            identity(serde_json::json!({ "acr": "pwd", "auth_time": 1_700_000_000 })),
            identity(serde_json::json!({ "acr": "pwd" })),
        );
        let allow = Allow::default();
        for (who, denial, expected) in [
            (&weak, Denial::NotAllowed(&allow), r#"groups = ["staff"]"#),
            (&weak, Denial::StepUp(&allow), r#"groups = ["staff"], acr = "pwd", auth_time = 1700000000"#),
            (&silent, Denial::StepUp(&allow), r#"groups = ["staff"], acr = "pwd", no auth_time"#),
        ] {
            assert_eq!(HeldGrants(who, denial).to_string(), expected);
        }
    }

    #[test]
    fn a_value_is_cut_at_256_characters_and_says_so() {
        let long = "ü".repeat(60_000);
        assert_eq!(truncate(&long), format!("{}… (cut, 60000 characters)", "ü".repeat(256)));
        let fits = "x".repeat(256);
        assert_eq!(truncate(&fits), fits);
        let refused = RefusalDetails { path: Some(&long), host: Some(&long), needs: Some(&long), ..of(&long, &long) };
        let line = RefusalLine::of(&RequestId::default(), Reason::RuleDenied, &refused);
        assert!(format!("{line:?}").chars().count() < 5 * 300 + 400);
    }
}
