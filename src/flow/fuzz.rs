//! Fuzz targets: `state`, login cookies, and forms of back-channel logout.
//!
//! Promises, asserted for any bytes: nothing panics; a `state` or a login cookie that we did not make does not open.

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use secrecy::SecretString;

use super::{
    attempt::{Attempt, LoginCookie},
    backchannel_logout::{self, LogoutForm},
    return_target::ReturnTarget,
};
use crate::{
    clock::Timestamp,
    crypto::{self, Keyring, Purpose},
    fuzz::{Case, mutated},
    host::Authority,
    identity::Registration,
    policy::redirect::{RedirectBase, RedirectTarget},
};

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

const HOST: &str = "app.test";

const OURS_THERE: Registration = Registration([1; 8]);

static KEYRING: LazyLock<Keyring> =
    LazyLock::new(|| Keyring::new(&[SecretString::from("a".repeat(32))]).expect("it is long enough"));

/// Returns a value as it comes back, and `true` if we made it so.
fn value(case: Case<'_>, ours: &str, make: impl Fn(&[u8]) -> Vec<u8>) -> (Vec<u8>, bool) {
    match case {
        Case::Raw(raw) => (raw.to_owned(), raw == ours.as_bytes()),
        Case::Made(plain) => (crypto::encode(&make(plain)).into_bytes(), true),
        Case::Mutated(edits) => {
            let value = mutated(ours.as_bytes(), edits);
            let is_ours = value == ours.as_bytes();
            (value, is_ours)
        }
    }
}

fn root() -> ReturnTarget {
    let authority = Authority::parse(HOST).expect("it is a host");
    let base = RedirectBase { scheme: "https", authority: &authority, prefixes: &["/_doorward".to_owned()] };
    ReturnTarget::Whole(RedirectTarget::root(base))
}

/// Values of `state`.
pub fn attempts(input: &[u8]) {
    static COOKIE: LazyLock<LoginCookie> = LazyLock::new(LoginCookie::new);
    static OURS: LazyLock<String> =
        LazyLock::new(|| Attempt::new(OURS_THERE, HOST.to_owned(), &root(), &COOKIE, NOW).seal(&KEYRING));
    let Some(case) = Case::of(input) else { return };
    let (value, is_ours) = value(case, &OURS, |plain| KEYRING.seal(Purpose::LoginAttempt, b"", plain));
    let Ok(state) = std::str::from_utf8(&value) else { return };
    let Some(attempt) = Attempt::open(&KEYRING, state) else {
        assert!(!is_ours || matches!(case, Case::Made(_)), "what we made does not open");
        return;
    };
    assert!(is_ours, "an attempt opens that we did not make");
    let strangers = [LoginCookie::new()];
    assert!(!attempt.belongs_to(&strangers, HOST, OURS_THERE, NOW), "it belongs to a browser that did not begin it");
    assert!(!attempt.belongs_to(&[*COOKIE], "other.test", OURS_THERE, NOW) || attempt.authority == "other.test");
    let _ = attempt.loops().incremented(NOW).is_exceeded(NOW);
}

/// Values of login cookies.
pub fn login_cookies(input: &[u8]) {
    static OURS: LazyLock<String> = LazyLock::new(|| LoginCookie::new().sign(&KEYRING, HOST));
    let Some(case) = Case::of(input) else { return };
    let tagged = |plain: &[u8]| [plain, &KEYRING.short_tag(Purpose::LoginCookie, HOST.as_bytes(), plain)].concat();
    let (value, is_ours) = value(case, &OURS, tagged);
    if let Some(cookie) = LoginCookie::open(&KEYRING, HOST, &value) {
        assert!(is_ours, "a login cookie opens that we did not make");
        let _ = cookie.loops.incremented(NOW).max(cookie.loops).is_exceeded(NOW);
    }
}

/// Forms with a logout token: a media type, a line break, the body.
pub fn notices(input: &[u8]) {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return };
    let (Some(kind), Some(form)) = (input.get(..end), input.get(end + 1..)) else { return };
    let Ok(kind) = HeaderValue::from_bytes(kind) else { return };
    let Ok(request) = Request::post("/_doorward/backchannel_logout").header(header::CONTENT_TYPE, &kind).body(())
    else {
        return;
    };
    let (mut parts, ()) = request.into_parts();
    parts.extensions.insert(LogoutForm(Bytes::copy_from_slice(form)));
    if let Some(token) = backchannel_logout::token(&parts) {
        let kind = kind.to_str().unwrap_or_default().to_ascii_lowercase();
        assert!(kind.trim_start().starts_with("application/x-www-form-urlencoded"), "{kind} is no form");
        let pairs: Vec<_> = url::form_urlencoded::parse(form).filter(|(name, _)| name == "logout_token").collect();
        assert_eq!(pairs.iter().map(|(_, value)| &**value).collect::<Vec<_>>(), [token.as_str()]);
    }
}
