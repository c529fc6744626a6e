//! What the client will do with the answer.

use http::{HeaderMap, HeaderName, header};

use super::Intent;

static SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
static X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// The intent of a request. An unknown method counts as GET, because an nginx that does not say is asked for pages too.
#[must_use]
pub fn intent(method: Option<&str>, headers: &HeaderMap) -> Intent {
    let reads = matches!(method, None | Some("GET" | "HEAD"));
    match (navigates(headers), reads) {
        (Some(true), true) => Intent::Page,
        (Some(true), false) => Intent::Form,
        (None, true) if shows_html(headers) => Intent::Page,
        _ => Intent::Fetch,
    }
}

/// What the browser itself says; scripts cannot set this header. `None` where it says nothing.
fn navigates(headers: &HeaderMap) -> Option<bool> {
    let mut lines = headers.get_all(&SEC_FETCH_MODE).iter();
    let mode = lines.next()?;
    Some(mode == "navigate" && lines.next().is_none())
}

fn shows_html(headers: &HeaderMap) -> bool {
    accepts_html(headers) && !is_script(headers) && !headers.contains_key(header::UPGRADE)
}

/// The word that script libraries send. Apps that show pages inside themselves send their own name under the same header.
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
