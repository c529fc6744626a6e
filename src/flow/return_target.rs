//! Return targets: where a browser goes after sign-in. `state` carries a short one. A long one is kept by the browser, in cookies
//! for a path of its own below the callback, and the callback redirects there.
//!
//! Promises: nothing is stored here. `state` stays short enough for every provider, and no request carries the kept target of more
//! than one sign-in, however many tabs begin one at once. What is not kept is logged, and the browser ends at the same page without its
//! query.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;
use serde::{Deserialize, Serialize};

use super::{context::RequestContext, log_interval::LogInterval, refusal::redirect, refusal_log::truncate};
use crate::{
    clock::Clock,
    cookie::{self, GateCookies},
    crypto::{self, Keyring, Purpose},
    edge::{Reason, Redirect, Verdict},
    policy::{
        Policy,
        redirect::{self as redirect_policy, RedirectTarget},
    },
};

/// Endpoint below which a kept target's cookies are sent.
const ENDPOINT: &str = "/callback/";
/// The longest target that `state` carries, in bytes: with it, an authorization request fits the 2,048 bytes of query that AD FS
/// takes, and `state` the 4,000 that Keycloak takes.
const MAX_IN_STATE: usize = 512;
/// Lifetime of a kept target's cookies: as long as an attempt's.
const LIFETIME: Duration = Duration::from_hours(1);
/// Bytes of a value in one cookie: with name and attributes below the 4,096 that browsers keep.
const CHUNK: usize = 3_600;
/// The most cookies of one kept target.
const MAX_CHUNKS: usize = 7;
/// Level of compression: beyond it time doubles and addresses become hardly shorter.
const COMPRESSION: u8 = 6;
/// Interval between log lines about targets that are not kept.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// Random id of a kept target, as text: part of its cookies' names and of their path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct KeptTargetId(String);

impl KeptTargetId {
    const BYTES: usize = 6;

    fn new() -> Self {
        Self(crypto::encode(&crypto::random::<{ Self::BYTES }>()))
    }

    fn parse(text: &str) -> Option<Self> {
        crypto::decode_exact::<{ Self::BYTES }>(text.as_bytes()).map(|_| Self(text.to_owned()))
    }
}

/// Where a browser goes after sign-in, as far as an attempt knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReturnTarget {
    /// The whole address.
    Whole(RedirectTarget),
    /// An address that the browser keeps.
    Kept {
        /// Names the cookies.
        id: KeptTargetId,
        /// Where to go if the cookies are gone.
        fallback: RedirectTarget,
    },
}

impl ReturnTarget {
    /// Returns what `state` carries of it.
    pub(super) fn in_state(&self) -> (&RedirectTarget, Option<&KeptTargetId>) {
        match self {
            Self::Whole(target) => (target, None),
            Self::Kept { id, fallback } => (fallback, Some(id)),
        }
    }

    /// Returns the URL that tries once more after a sign-in that failed.
    pub(super) fn retry_url(&self, context: &RequestContext<'_>) -> String {
        match self {
            Self::Whole(target) => context.sign_in_url(target.as_str()),
            // Redirects to the address itself, which begins a sign-in.
            Self::Kept { id, fallback } => kept_url(context, id, fallback),
        }
    }
}

/// Keeps return targets in browsers.
pub(super) struct ReturnTargets {
    policy: Arc<Policy>,
    keyring: Arc<Keyring>,
    jar: Arc<GateCookies>,
    clock: Clock,
    too_long: LogInterval,
    lost: LogInterval,
}

impl ReturnTargets {
    pub(super) fn new(policy: Arc<Policy>, keyring: Arc<Keyring>, jar: Arc<GateCookies>, clock: Clock) -> Self {
        let [too_long, lost] = [LOG_INTERVAL; 2].map(LogInterval::new);
        Self { policy, keyring, jar, clock, too_long, lost }
    }

    /// Returns the address of the original request, or of its page without the query where the address is too long.
    pub(super) fn original(&self, context: &RequestContext<'_>, target: &str) -> RedirectTarget {
        let read = |target: &str| RedirectTarget::original(target, context.redirect_base(), &self.policy);
        if let Some(original) = read(target) {
            return original;
        }
        let path = target.split('?').next().unwrap_or_default();
        if let Some(count) = self.too_long.count_if_due(self.clock.now()) {
            tracing::warn!(
                request_id = %context.id,
                app = context.site.app.name,
                path = truncate(path),
                length = target.len(),
                count,
                "the address to return to after sign-in is not kept: it is too long, or no URL"
            );
        }
        read(path).unwrap_or_else(|| RedirectTarget::root(context.redirect_base()))
    }

    /// Returns `true` if `state` cannot carry a target.
    pub(super) fn is_long(target: &RedirectTarget) -> bool {
        target.as_str().len() > MAX_IN_STATE
    }

    /// Prepares a target for `state`, and makes the cookies that keep it where it is long.
    pub(super) fn keep(
        &self,
        context: &RequestContext<'_>,
        target: &RedirectTarget,
    ) -> (ReturnTarget, Vec<HeaderValue>) {
        if !Self::is_long(target) {
            return (ReturnTarget::Whole(target.clone()), Vec::new());
        }
        let id = KeptTargetId::new();
        let compressed = miniz_oxide::deflate::compress_to_vec(target.as_str().as_bytes(), COMPRESSION);
        let value = crypto::encode(&self.keyring.seal(Purpose::KeptTarget, &seal_context(context, &id), &compressed));
        let path = cookie_path(context, &id);
        let chunks = value.as_bytes().chunks(CHUNK).filter_map(|chunk| std::str::from_utf8(chunk).ok()).enumerate();
        let cookies = chunks
            .map(|(index, chunk)| self.jar.set_at(&path, &self.cookie_name(&id, index), chunk, LIFETIME))
            .collect();
        let fallback = Some(target.without_query()).filter(|page| !Self::is_long(page));
        let fallback = fallback.unwrap_or_else(|| RedirectTarget::root(context.redirect_base()));
        (ReturnTarget::Kept { id, fallback }, cookies)
    }

    /// Returns the target of an attempt, checked again: the apps may have changed since it began.
    pub(super) fn of_attempt(
        &self,
        context: &RequestContext<'_>,
        target: &str,
        kept: Option<&KeptTargetId>,
    ) -> ReturnTarget {
        let target = RedirectTarget::again(target, context.redirect_base(), &self.policy)
            .unwrap_or_else(|| RedirectTarget::root(context.redirect_base()));
        match kept {
            None => ReturnTarget::Whole(target),
            Some(id) => ReturnTarget::Kept { id: id.clone(), fallback: target },
        }
    }

    /// Redirects to a target, by way of its cookies' path where the browser keeps it.
    pub(super) fn redirect(
        &self,
        context: &RequestContext<'_>,
        target: &ReturnTarget,
        mut cookies: Vec<HeaderValue>,
    ) -> Verdict {
        let (id, fallback) = match target {
            ReturnTarget::Whole(target) => return redirect(Reason::SignedIn, target, cookies),
            ReturnTarget::Kept { id, fallback } => (id, fallback),
        };
        // A client without cookie paths has sent them already.
        if let Some((target, clear)) = self.open(context, id) {
            cookies.extend(clear);
            return redirect(Reason::SignedIn, &target, cookies);
        }
        match HeaderValue::try_from(kept_url(context, id, fallback)) {
            Ok(location) => Verdict::Redirect(Redirect { reason: Reason::SignedIn, location, cookies }),
            Err(_) => redirect(Reason::SignedIn, fallback, cookies),
        }
    }

    /// `/callback/ID`: redirects to the target in this request's cookies, and clears them. Without them, to `rd`.
    pub(super) fn resume(&self, context: &RequestContext<'_>, id: &str, rd: Option<&str>) -> Verdict {
        if let Some((target, clear)) = KeptTargetId::parse(id).and_then(|id| self.open(context, &id)) {
            return redirect(Reason::SignedIn, &target, clear);
        }
        if let Some(count) = self.lost.count_if_due(self.clock.now()) {
            tracing::warn!(
                request_id = %context.id,
                app = context.site.app.name,
                client = context.client_text(),
                count,
                "the address to return to after sign-in is lost: the browser did not send the cookies that keep it"
            );
        }
        let target = rd.and_then(|rd| RedirectTarget::parse(rd, context.redirect_base(), &self.policy));
        redirect(Reason::SignedIn, &target.unwrap_or_else(|| RedirectTarget::root(context.redirect_base())), Vec::new())
    }

    /// Opens a kept target, and makes the lines that clear its cookies.
    fn open(&self, context: &RequestContext<'_>, id: &KeptTargetId) -> Option<(RedirectTarget, Vec<HeaderValue>)> {
        let (mut value, mut count) = (Vec::new(), 0);
        while count < MAX_CHUNKS
            && let Some(chunk) = cookie::values(context.headers, &self.cookie_name(id, count)).next()
        {
            value.extend_from_slice(chunk);
            count += 1;
        }
        let sealed = crypto::decode(&value)?;
        let compressed = self.keyring.open(Purpose::KeptTarget, &seal_context(context, id), &sealed)?;
        let plain =
            miniz_oxide::inflate::decompress_to_vec_with_limit(&compressed, redirect_policy::MAX_LENGTH).ok()?;
        let target = RedirectTarget::again(std::str::from_utf8(&plain).ok()?, context.redirect_base(), &self.policy)?;
        let path = cookie_path(context, id);
        let clear =
            (0..count).map(|index| self.jar.set_at(&path, &self.cookie_name(id, index), "", Duration::ZERO)).collect();
        Some((target, clear))
    }

    fn cookie_name(&self, id: &KeptTargetId, index: usize) -> String {
        format!("{}_{}_{index}", self.jar.path_bound_name(), id.0)
    }
}

/// Returns the context that a kept target is sealed for: it opens at its own host under its own id alone.
fn seal_context(context: &RequestContext<'_>, id: &KeptTargetId) -> Vec<u8> {
    format!("{} {}", id.0, context.authority).into_bytes()
}

fn cookie_path(context: &RequestContext<'_>, id: &KeptTargetId) -> String {
    format!("{}{ENDPOINT}{}", context.origin.callback_prefix, id.0)
}

fn kept_url(context: &RequestContext<'_>, id: &KeptTargetId, fallback: &RedirectTarget) -> String {
    context.kept_url(&format!("{ENDPOINT}{}", id.0), fallback.as_str())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, header};
    use secrecy::SecretString;

    use super::*;
    use crate::{
        clock::Timestamp,
        cookie::SiteScheme,
        edge::Intent,
        flow::context::{Initiator, PublicOrigin, RequestId, Via},
        host::Authority,
        policy::{self, DefaultAccess},
    };

    /// A gate for any host, and its context of one request.
    struct Setting {
        targets: ReturnTargets,
        policy: Arc<Policy>,
        origin: PublicOrigin,
        id: RequestId,
    }

    impl Setting {
        fn new() -> Self {
            let (default, header_budget) = (DefaultAccess::Authenticated, policy::headers::HeaderBudget::default());
            let settings = policy::Settings { default, header_budget, apps: Vec::new() };
            let policy = Arc::new(Policy::new(settings));
            let keyring = Arc::new(Keyring::new(&[SecretString::from("k".repeat(32))]).unwrap());
            let jar = Arc::new(GateCookies::new("doorward", &[], &[], SiteScheme::Https));
            let (clock, _) = Clock::manual(Timestamp::from_unix(1_000_000));
            Self {
                targets: ReturnTargets::new(Arc::clone(&policy), keyring, jar, clock),
                policy,
                origin: PublicOrigin::new(SiteScheme::Https, "/_doorward".to_owned()),
                id: RequestId::default(),
            }
        }

        fn context<'a>(&'a self, host: &'a str, headers: &'a HeaderMap) -> RequestContext<'a> {
            RequestContext {
                authority: Authority::parse(host).unwrap(),
                site: self.policy.site(host).unwrap(),
                client: None,
                intent: Intent::Page,
                method: Some("GET"),
                target: "/",
                headers,
                via: Via::Direct,
                initiator: Initiator::Trusted,
                id: &self.id,
                origin: &self.origin,
            }
        }
    }

    /// Returns the request headers of a browser that has got these `Set-Cookie` lines.
    fn sent(lines: &[HeaderValue]) -> HeaderMap {
        let pairs = lines.iter().map(|line| line.to_str().unwrap().split(';').next().unwrap());
        pairs.map(|pair| (header::COOKIE, pair.parse().unwrap())).collect()
    }

    fn location(verdict: &Verdict) -> &str {
        let Verdict::Redirect(redirect) = verdict else { panic!("{verdict:?}") };
        redirect.location.to_str().unwrap()
    }

    fn long(setting: &Setting, host: &str) -> (RedirectTarget, KeptTargetId, Vec<HeaderValue>) {
        let (none, letters) = (HeaderMap::new(), crypto::encode(&crypto::random::<9_600>()));
        let context = setting.context(host, &none);
        let target = setting.targets.original(&context, &format!("/deep?{letters}"));
        let (ReturnTarget::Kept { id, fallback }, cookies) = setting.targets.keep(&context, &target) else {
            panic!("it is short")
        };
        assert_eq!(fallback.as_str(), format!("https://{host}/deep"));
        (target, id, cookies)
    }

    #[test]
    fn a_short_target_travels_in_state_and_a_long_one_in_cookies_of_its_own_path() {
        let (setting, none) = (Setting::new(), HeaderMap::new());
        let context = setting.context("app.test", &none);
        let short = setting.targets.original(&context, &format!("/{}", "a".repeat(400)));
        assert_eq!(setting.targets.keep(&context, &short), (ReturnTarget::Whole(short), Vec::new()));

        let (target, id, cookies) = long(&setting, "app.test");
        assert_eq!(target.as_str().len(), "https://app.test/deep?".len() + 12_800);
        for line in &cookies {
            let line = line.to_str().unwrap();
            assert!(line.starts_with(&format!("__Secure-doorward_login_{}_", id.0)) && line.len() < 4_000, "{line}");
            assert!(line.contains(&format!("; Path=/_doorward/callback/{};", id.0)), "{line}");
        }
        let headers = sent(&cookies);
        let verdict = setting.targets.resume(&setting.context("app.test", &headers), &id.0, None);
        assert_eq!(location(&verdict), target.as_str());
        let Verdict::Redirect(redirect) = verdict else { panic!() };
        assert_eq!(redirect.cookies.len(), cookies.len(), "all are cleared");
        assert!(redirect.cookies.iter().all(|line| line.to_str().unwrap().ends_with("Max-Age=0")));
    }

    #[test]
    fn a_kept_target_opens_at_its_own_host_under_its_own_id_alone() {
        let setting = Setting::new();
        let (_, id, cookies) = long(&setting, "app.test");
        let headers = sent(&cookies);
        let elsewhere = setting.targets.resume(&setting.context("other.test", &headers), &id.0, Some("/x"));
        assert_eq!(location(&elsewhere), "https://other.test/x");
        let other = KeptTargetId::new();
        let renamed: HeaderMap = headers
            .values()
            .map(|pair| (header::COOKIE, pair.to_str().unwrap().replace(&id.0, &other.0).parse().unwrap()))
            .collect();
        for (headers, id) in
            [(&renamed, other.0.as_str()), (&renamed, id.0.as_str()), (&headers, "../start"), (&headers, "")]
        {
            let verdict =
                setting.targets.resume(&setting.context("app.test", headers), id, Some("https://evil.example/"));
            assert_eq!(location(&verdict), "https://app.test/", "{id}");
        }
        let cut = sent(cookies.split_last().unwrap().1);
        let verdict = setting.targets.resume(&setting.context("app.test", &cut), &id.0, Some("/deep"));
        assert_eq!(location(&verdict), "https://app.test/deep");
    }

    #[test]
    fn what_is_too_long_to_keep_becomes_the_page_without_its_query() {
        let (setting, none) = (Setting::new(), HeaderMap::new());
        let context = setting.context("app.test", &none);
        for (target, expected) in [
            (format!("/deep?{}", "a".repeat(17 << 10)), "https://app.test/deep"),
            (format!("/{}", "a".repeat(17 << 10)), "https://app.test/"),
        ] {
            assert_eq!(setting.targets.original(&context, &target).as_str(), expected);
        }
        let page = setting.targets.original(&context, &format!("/{}?x", "a".repeat(1_000)));
        let (ReturnTarget::Kept { fallback, .. }, _) = setting.targets.keep(&context, &page) else { panic!() };
        assert_eq!(fallback.as_str(), "https://app.test/");
    }
}
