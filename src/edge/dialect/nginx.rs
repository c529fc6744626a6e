//! nginx `auth_request` (and `HAProxy` in its place): the whole original address in `X-Original-URL`, the method in
//! `X-Original-Method`, and `Host` as a second witness.
//!
//! nginx sends what it is configured to send. It routes by `Host`, while the address may name another host: for a request in
//! absolute form `$http_host` is what the client wrote beside it.

use http::request::Parts;

use super::original::Original;
use crate::{
    edge::field::{BadRequest, Field, request_host},
    host::Authority,
};

/// The header that holds the original address.
pub(super) const URL: &str = "X-Original-URL";

/// Sends the host that nginx routes by, in both places.
pub(super) const MEND_HOST: &str = "proxy_set_header Host $host; proxy_set_header X-Original-URL $scheme://$host$request_uri; or, where the edge \
     cannot send the host that it routes by, list its Host in server.service_hosts";

/// Sends the original method.
pub(super) const MEND_METHOD: &str = "proxy_set_header X-Original-Method $request_method;";

/// Passes the client's cookies to the check.
pub(super) const MEND_COOKIES: &str =
    "in the check's location: proxy_pass_request_headers on; and no proxy_set_header that empties Cookie";

/// Passes on what the gate reads.
pub(super) const MEND_HEADERS: &str = "in the check's location: proxy_pass_request_headers on; and no proxy_set_header that empties Accept, \
     Sec-Fetch-Dest, Sec-Fetch-Mode or Sec-Fetch-Site";

/// Reads the original request.
pub(super) fn read(request: &Parts) -> Result<Original<'_>, BadRequest> {
    let mut url = Field::named(URL);
    let mut method = Field::named("X-Original-Method");
    let mut client = Field::named("X-Forwarded-For");
    for (name, value) in &request.headers {
        match name.as_str() {
            "x-original-url" => url.add(value),
            "x-original-method" => method.add(value),
            "x-forwarded-for" => client.add(value),
            _ => {}
        }
    }
    let (authority, target) = split(&url, url.required()?)?;
    Ok(Original {
        method: method.text()?.map(|text| method.method(text)).transpose()?,
        authority,
        target,
        client,
        routed: Some(request_host(request)?),
    })
}

/// Splits an absolute address into its host and its target.
pub(super) fn split<'r>(url: &Field<'r>, address: &'r str) -> Result<(Authority<'r>, &'r str), BadRequest> {
    let rest = address
        .strip_prefix("https://")
        .or_else(|| address.strip_prefix("http://"))
        .ok_or(url.fault("is not an absolute http or https address"))?;
    // A target such as `?x` straight behind the host is on no request line, and fails the check for a slash.
    let end = rest.bytes().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    Ok((url.authority(authority)?, url.target(target)?))
}
