//! Answers as each edge understands them: status, headers and body of a verdict.
//!
//! Promises: only an admission is a 2xx to an edge.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body_util::Full;

use super::{
    request::Edge,
    verdict::{Admission, Body, Framing, Reason, Redirect, Refusal, Verdict},
};

/// Answer to the edge, or over a direct route to the browser.
pub type Response = http::Response<Full<Bytes>>;

/// `Doorward-Reason`: the cause of an answer, as a stable code.
pub static DOORWARD_REASON: HeaderName = HeaderName::from_static("doorward-reason");
/// `Doorward-Request-Id`: finds the request in the log.
pub static DOORWARD_REQUEST_ID: HeaderName = HeaderName::from_static("doorward-request-id");

static NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Writes the verdict as this edge understands it.
///
/// Only an admission is a 2xx. Edges differ in how they pass on statuses other than 401 and 403 (nginx turns them into its own
/// 500), but all of them refuse.
#[must_use]
pub fn write(edge: Edge, verdict: Verdict, request_id: &str) -> Response {
    match (verdict, edge) {
        (Verdict::Allow(admission), Edge::OAuth2Proxy) => admit(admission, StatusCode::ACCEPTED),
        (Verdict::Allow(admission), _) => admit(admission, StatusCode::OK),
        // Its edges go on at a path of that gate's by themselves.
        (Verdict::Redirect(to), Edge::OAuth2Proxy) => refuse(without_way(&to), request_id),
        // nginx takes any 3xx for an error; it is configured to send the browser where a 401 has a `Location`.
        (Verdict::Redirect(to), Edge::Nginx) => redirect(StatusCode::UNAUTHORIZED, to, request_id),
        (Verdict::Redirect(to), _) => redirect(StatusCode::FOUND, to, request_id),
        // The one for oauth2-proxy is nginx, mostly.
        (Verdict::Refuse(refusal), Edge::Nginx | Edge::OAuth2Proxy) => {
            refuse(without_body(with_status_for_nginx(with_error_status(refusal))), request_id)
        }
        (Verdict::Refuse(refusal), _) => refuse(with_error_status(refusal), request_id),
    }
}

/// Writes the answer of one of the gate's own endpoints over a direct route: there a page may be a 200.
#[must_use]
pub fn write_direct(verdict: Verdict, request_id: &str) -> Response {
    match verdict {
        // No subrequest, so no admission; and browsers must not see identity headers.
        Verdict::Allow(_) => refuse(
            Refusal {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                reason: Reason::Internal,
                body: Body::Empty,
                headers: Vec::new(),
            },
            request_id,
        ),
        Verdict::Redirect(to) => redirect(StatusCode::FOUND, to, request_id),
        Verdict::Refuse(refusal) => refuse(refusal, request_id),
    }
}

fn admit(admission: Admission, status: StatusCode) -> Response {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    *response.headers_mut() = admission.into_headers();
    response
}

fn redirect(status: StatusCode, to: Redirect, request_id: &str) -> Response {
    let mut response = answer(status, Bytes::new(), to.reason, request_id);
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, to.location);
    for cookie in to.cookies {
        headers.append(header::SET_COOKIE, cookie);
    }
    response
}

fn refuse(refusal: Refusal, request_id: &str) -> Response {
    let (content, describe) = describe(refusal.body);
    let mut response = answer(refusal.status, content, refusal.reason, request_id);
    let headers = response.headers_mut();
    headers.extend(describe);
    for (name, value) in refusal.headers {
        if name != header::CACHE_CONTROL {
            headers.append(name, value);
        } else if refusal.status.is_success() {
            headers.insert(name, value);
        }
    }
    // RFC 9110, section 15.5.2: a 401 needs a challenge. Browsers ignore `Bearer`, programs know it.
    if refusal.status == StatusCode::UNAUTHORIZED && !headers.contains_key(header::WWW_AUTHENTICATE) {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Builds an answer with the headers that every answer but an admission has.
fn answer(status: StatusCode, content: Bytes, reason: Reason, request_id: &str) -> Response {
    let mut response = Response::new(Full::new(content));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, NO_STORE.clone());
    if !status.is_success() {
        headers.insert(DOORWARD_REASON.clone(), HeaderValue::from_static(reason.code()));
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(DOORWARD_REQUEST_ID.clone(), id);
    }
    response
}

/// Returns the bytes of a body and the headers that describe them.
fn describe(body: Body) -> (Bytes, HeaderMap) {
    let mut headers = HeaderMap::new();
    let (content, media_type) = match body {
        Body::Empty => return (Bytes::new(), headers),
        Body::Html(content, policy, framing) => {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
            if framing == Framing::Denied {
                headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
            }
            (content, HeaderValue::from_static("text/html; charset=utf-8"))
        }
        Body::Json(content) => (content, HeaderValue::from_static("application/json")),
        Body::Asset(content, media_type) => (content, HeaderValue::from_static(media_type)),
        Body::Relayed(content, media_type) => (content, media_type),
    };
    headers.insert(header::CONTENT_TYPE, media_type);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    (content, headers)
}

/// Turns a redirect into a 401 for edges that take neither `Location` nor cookies from it.
fn without_way(to: &Redirect) -> Refusal {
    Refusal { status: StatusCode::UNAUTHORIZED, reason: to.reason, body: Body::Empty, headers: Vec::new() }
}

/// Replaces a status below 400 by 403: some edge would let in, redirect or hang.
fn with_error_status(mut refusal: Refusal) -> Refusal {
    if !(refusal.status.is_client_error() || refusal.status.is_server_error()) {
        refusal.status = StatusCode::FORBIDDEN;
    }
    refusal
}

/// Replaces 429 by 403: nginx makes a 500 of any other status than 401 and 403, and a limit is no failure of the gate.
fn with_status_for_nginx(mut refusal: Refusal) -> Refusal {
    if refusal.status == StatusCode::TOO_MANY_REQUESTS {
        refusal.status = StatusCode::FORBIDDEN;
    }
    refusal
}

/// Strips body and `Location`: nginx discards bodies and drops the connection for them, and takes the `Location` of a 401 for a
/// sign-in.
fn without_body(refusal: Refusal) -> Refusal {
    let headers = refusal.headers.into_iter().filter(|(name, _)| *name != header::LOCATION).collect();
    Refusal { body: Body::Empty, headers, ..refusal }
}
