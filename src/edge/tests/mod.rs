//! The dialects against captures of real edges, test vectors of other projects, and malformed requests.

mod answers;
mod captures;
mod properties;
mod requests;

use std::{path::PathBuf, sync::LazyLock};

use http::{HeaderName, HeaderValue, Request, request::Parts};

use super::{BadRequest, TrustedProxies};

pub(super) fn fixtures(folder: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder)
}

/// A request with these header lines, their values as bytes.
fn request(method: &str, lines: &[(&str, &[u8])]) -> Parts {
    let (mut parts, ()) = Request::builder().method(method).uri("/").body(()).unwrap().into_parts();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        parts.headers.append(name, HeaderValue::from_bytes(value).unwrap());
    }
    parts
}

static LOOPBACK: LazyLock<TrustedProxies> = LazyLock::new(|| {
    TrustedProxies::new(vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap(), "10.0.0.0/8".parse().unwrap()])
});

fn why(fault: BadRequest) -> String {
    fault.to_string()
}
