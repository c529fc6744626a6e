//! Reverse-proxy mode: the original request is the request itself.
//!
//! Trusted because the gate passes on what it reads here: the method, the host and the target that are judged are those that the
//! app gets.

use http::{request::Parts, uri::PathAndQuery};

use super::original::{FORWARDED_FOR, Original};
use crate::edge::field::{BadRequest, Field, is_method, request_host, target};

/// Reads the request.
pub(super) fn read(request: &Parts) -> Result<Original<'_>, BadRequest> {
    let fault = |problem| BadRequest { header: "the request line", problem };
    let method = request.method.as_str();
    if !is_method(method) {
        return Err(fault("has a method that is not in capitals"));
    }
    let line = request.uri.path_and_query().map_or("", PathAndQuery::as_str);
    Ok(Original {
        method: Some(method),
        authority: request_host(request)?,
        client: Field::of(&request.headers, &FORWARDED_FOR, "X-Forwarded-For"),
        routed: None,
        target: target(line).map_err(fault)?,
    })
}
