//! Envoy `ext_authz` over HTTP: the original request line behind the `path_prefix`, and the original `Host`.
//!
//! Trusted because Envoy repeats both as it routed them.

use http::request::Parts;

use super::original::{FORWARDED_FOR, Original};
use crate::edge::field::{BadRequest, Field, is_method, request_host, target};

/// Passes the client's cookies to the check.
pub(super) const MEND_COOKIES: &str = "in ext_authz: allowed_headers with { exact: cookie }; Istio: includeRequestHeadersInCheck; Envoy Gateway: headersToExtAuth";

/// Passes on what the gate reads.
pub(super) const MEND_HEADERS: &str = "in ext_authz: allowed_headers with accept, authorization, cookie, doorward-token, origin, purpose, referer, sec-fetch-dest, sec-fetch-mode, \
     sec-fetch-site, sec-purpose, sec-websocket-version, upgrade, x-forwarded-for, x-requested-with; Istio: includeRequestHeadersInCheck; Envoy Gateway: \
     headersToExtAuth";

/// Reads the original request. `original_target` is the request target behind `/auth/envoy`.
pub(super) fn read<'r>(request: &'r Parts, original_target: &'r str) -> Result<Original<'r>, BadRequest> {
    let fault = |problem| BadRequest { header: "the request line", problem };
    let client = Field::of(&request.headers, &FORWARDED_FOR, "X-Forwarded-For");
    let method = request.method.as_str();
    if !is_method(method) {
        return Err(fault("has a method that is not in capitals"));
    }
    Ok(Original {
        method: Some(method),
        authority: request_host(request)?,
        client,
        routed: None,
        target: target(original_target).map_err(|problem| match original_target {
            "" => fault("ends where the original target should stand"),
            _ => fault(problem),
        })?,
    })
}
