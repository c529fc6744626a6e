//! Answers of an outpost, and what they are to an edge.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use crate::{
    edge::{Body, Reason, Redirect, Refusal},
    policy::headers::HeaderPlan,
    upstream,
};

/// Headers of an outpost's refusal that pass.
const PASSED: &[HeaderName] = &[header::WWW_AUTHENTICATE, header::SET_COOKIE, header::RETRY_AFTER];

/// Answer of an outpost.
#[derive(Debug)]
pub(in crate::flow) enum OutpostAnswer {
    /// It lets in, with these headers for the app.
    Admitted(HeaderMap),
    /// It sends the browser elsewhere: to sign in.
    Redirected(Redirect),
    /// It refuses.
    Refused(Refusal),
    /// It cannot be asked.
    Unavailable(upstream::Error),
}

impl OutpostAnswer {
    /// Reads an answer.
    pub(super) fn read(response: Response<Bytes>, plan: &HeaderPlan) -> Self {
        let (head, body) = response.into_parts();
        let (status, headers) = (head.status, head.headers);
        match status {
            StatusCode::OK => Self::Admitted(plan.relayed(&headers)),
            // A proxy in front of the outpost says that it does not answer.
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                Self::Unavailable(upstream::Error::Unavailable(format!("status {status}")))
            }
            _ if status.is_informational() || status.is_success() => {
                Self::Unavailable(upstream::Error::Unavailable(format!("status {status}, which lets nobody in")))
            }
            _ if status.is_redirection() => match headers.get(header::LOCATION) {
                Some(location) => Self::Redirected(Redirect {
                    reason: Reason::NoSession,
                    location: location.clone(),
                    cookies: headers.get_all(header::SET_COOKIE).iter().cloned().collect(),
                }),
                None => Self::Unavailable(upstream::Error::Unavailable(format!("status {status} without an address"))),
            },
            _ => Self::Refused(refusal(status, &headers, body)),
        }
    }
}

fn refusal(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Refusal {
    let reason = match status {
        StatusCode::UNAUTHORIZED => Reason::NoSession,
        StatusCode::FORBIDDEN => Reason::NotAllowed,
        StatusCode::NOT_FOUND => Reason::UnknownHost,
        StatusCode::TOO_MANY_REQUESTS => Reason::RateLimited,
        _ if status.is_client_error() => Reason::BadRequest,
        _ => Reason::UpstreamUnavailable,
    };
    let passed = PASSED.iter().flat_map(|name| headers.get_all(name).iter().map(|value| (name.clone(), value.clone())));
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    let media_type = headers.get(header::CONTENT_TYPE).cloned().unwrap_or(plain);
    let body = if body.is_empty() { Body::Empty } else { Body::Relayed(body, media_type) };
    Refusal { status, reason, body, headers: passed.collect() }
}
