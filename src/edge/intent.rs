//! The client's intent: opening a page, also inside a frame, sending a form, or fetching.
//!
//! Promises: a script is never taken for a page, so that it is not redirected blindly.

use http::{HeaderMap, HeaderName, header};

/// Use that the client is about to make of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// A page is being opened: a redirect will be followed and shown.
    Page,
    /// A page is being opened inside a frame: sign-in pages refuse to be shown there.
    Frame,
    /// A form is being sent: a redirect would lose what was typed.
    Form,
    /// A script, a socket or a program: a redirect would be followed blindly.
    Fetch,
}

static SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
static SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
static X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// Returns the intent of a request. An unknown method counts as GET: an nginx that does not send it serves pages too.
#[must_use]
pub fn intent(method: Option<&str>, headers: &HeaderMap) -> Intent {
    let reads = matches!(method, None | Some("GET" | "HEAD"));
    match (navigates(headers), reads) {
        (Some(true), false) => Intent::Form,
        (Some(true), true) if is_framed(headers) => Intent::Frame,
        (None, true) if shows_html(headers) && is_framed(headers) => Intent::Frame,
        (Some(true), true) => Intent::Page,
        (None, true) if shows_html(headers) => Intent::Page,
        _ => Intent::Fetch,
    }
}

/// Returns `true` if a request has a header that tells pages from scripts. Every browser sends one of them.
#[must_use]
pub fn tells_intent(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ACCEPT) || headers.contains_key(&SEC_FETCH_MODE)
}

/// Returns `true` where the answer will be shown inside another page. Scripts cannot set the header.
fn is_framed(headers: &HeaderMap) -> bool {
    let mut destinations = headers.get_all(&SEC_FETCH_DEST).iter();
    destinations.any(|dest| matches!(dest.as_bytes(), b"iframe" | b"frame" | b"embed" | b"object"))
}

/// Returns `true` where `Sec-Fetch-Mode` says that a page is being opened, `None` without that header. Scripts cannot set it.
fn navigates(headers: &HeaderMap) -> Option<bool> {
    let mut lines = headers.get_all(&SEC_FETCH_MODE).iter();
    let mode = lines.next()?;
    Some(mode == "navigate" && lines.next().is_none())
}

fn shows_html(headers: &HeaderMap) -> bool {
    accepts_html(headers) && !is_script(headers) && !headers.contains_key(header::UPGRADE)
}

/// Returns `true` for the value that script libraries send. Apps with a web view send their own name in the same header.
fn is_script(headers: &HeaderMap) -> bool {
    headers.get_all(&X_REQUESTED_WITH).iter().any(|word| word.as_bytes().eq_ignore_ascii_case(b"XMLHttpRequest"))
}

fn accepts_html(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|media| media.trim_ascii().eq_ignore_ascii_case("text/html"))
}
