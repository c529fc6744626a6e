//! Protected-resource metadata (RFC 9728): where clients of an API, such as MCP clients, find its authorization servers by
//! themselves.
//!
//! Promises: only an app that publishes them has them, and only over a direct route; inside a subrequest a 2xx would let in. They
//! hold nothing that a client has not sent or the configuration does not say.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body_util::Full;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::json;

use super::{context::RequestContext, refusal::Refusals, refusal_log::RefusalDetails};
use crate::{
    edge::{Reason, Refusal, Response, Verdict, write_direct},
    pages::Page,
    policy::{ResourceMetadata, path},
};

/// Path of the metadata of a host; the path of a resource follows it (RFC 9728, section 3.1).
pub const PATH: &str = "/.well-known/oauth-protected-resource";

/// The longest path that a challenge repeats, in bytes. Behind a longer one it names the metadata of the host.
const MAX_PATH: usize = 512;

/// Bytes that would end a quoted string (RFC 9110, section 5.6.4), or that no URL has.
const IN_QUOTES: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'\\').add(b'<').add(b'>');

static ANY_ORIGIN: HeaderValue = HeaderValue::from_static("*");

/// Returns the path of the resource whose metadata are at this path; empty for those of the whole host.
///
/// Only a path that every server reads the same way counts; any other is the app's and is judged as such.
#[must_use]
pub fn resource_path(path: &str) -> Option<&str> {
    let resource = path.strip_prefix(PATH)?;
    ((resource.is_empty() || resource.starts_with('/')) && !path::is_ambiguous(path)).then_some(resource)
}

/// Returns the URL of the metadata of the resource at a requested address, for the challenge of a 401; `None` where the app
/// publishes none.
///
/// The metadata at this URL name the very address that was requested, without its query (RFC 9728, section 3.3).
pub(super) fn metadata_url(context: &RequestContext<'_>, requested: &str) -> Option<String> {
    context.site.app.resource_metadata.as_ref()?;
    let origin = format!("{}://{}", context.origin.scheme, context.authority);
    let path = requested.strip_prefix(&origin).and_then(|target| target.split('?').next()).unwrap_or_default();
    let path = if path == "/" || path.len() > MAX_PATH || path::is_ambiguous(path) { "" } else { path };
    Some(format!("{origin}{PATH}{}", utf8_percent_encode(path, IN_QUOTES)))
}

/// Returns headers that let a client in a page of another origin read a challenge (CORS). Without a credential of its own that
/// page has nothing to gain here: browsers add none.
pub(super) fn readable_challenge() -> [(HeaderName, HeaderValue); 2] {
    [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN.clone()),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("WWW-Authenticate")),
    ]
}

/// Answers over a direct route.
pub(super) fn answer_direct(context: &RequestContext<'_>, refusals: &Refusals, target: &str) -> Response {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let published = context.site.app.resource_metadata.as_ref().zip(resource_path(path));
    let mut response = match (context.method, published) {
        (_, None) => refused(context, refusals.refuse(context, Reason::NotFound, &Page::NotFound)),
        (Some("GET" | "HEAD"), Some((metadata, path))) => document(&body(context, metadata, path, query)),
        (Some("OPTIONS"), Some(_)) => preflight(),
        (_, Some(_)) => refused(context, method_not_allowed(context, refusals)),
    };
    // Clients in browsers read them from other origins. No cookie changes the answer.
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN.clone());
    response
}

/// Refuses inside a subrequest.
pub(super) fn refuse_subrequest(context: &RequestContext<'_>, refusals: &Refusals) -> Verdict {
    let mend = Some("route what is below /.well-known/oauth-protected-resource to the gate itself");
    let details = RefusalDetails { path: Some(PATH), mend, ..RefusalDetails::default() };
    Verdict::Refuse(refusals.refuse_with(context, Reason::NeedsRoute, &Page::NotFound, details))
}

/// Returns the metadata (RFC 9728, section 2). `resource` is the URL from which the client derived the one that it requested.
fn body(context: &RequestContext<'_>, metadata: &ResourceMetadata, path: &str, query: Option<&str>) -> String {
    let mut resource = format!("{}://{}{path}", context.origin.scheme, context.authority);
    if let Some(query) = query {
        resource.push('?');
        resource.push_str(query);
    }
    json!({
        "resource": resource,
        "authorization_servers": metadata.authorization_servers,
        "bearer_methods_supported": ["header"],
        "resource_name": context.site.app.name,
    })
    .to_string()
}

fn document(body: &str) -> Response {
    let mut response = Response::new(Full::new(Bytes::from(body.to_owned())));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Short: they change with the configuration.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// CORS preflight: MCP clients send a header of their own.
fn preflight() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ANY_ORIGIN.clone());
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn method_not_allowed(context: &RequestContext<'_>, refusals: &Refusals) -> Refusal {
    let page = Page::BadRequest { detail: "These metadata are read, not written." };
    let mut refusal = refusals.refuse(context, Reason::BadRequest, &page);
    refusal.status = StatusCode::METHOD_NOT_ALLOWED;
    refusal.headers.push((header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS")));
    refusal
}

fn refused(context: &RequestContext<'_>, refusal: Refusal) -> Response {
    write_direct(Verdict::Refuse(refusal), context.id.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_what_follows_a_path_that_every_server_reads_alike() {
        for (path, resource) in [
            ("/.well-known/oauth-protected-resource", Some("")),
            ("/.well-known/oauth-protected-resource/", Some("/")),
            ("/.well-known/oauth-protected-resource/mcp", Some("/mcp")),
            ("/.well-known/oauth-protected-resource/a%20b/c/", Some("/a%20b/c/")),
            ("/.well-known/oauth-protected-resources", None),
            ("/.well-known/oauth-protected-resource.json", None),
            ("/.well-known/oauth-protected-resource//mcp", None),
            ("/.well-known/oauth-protected-resource/../admin", None),
            ("/.well-known/oauth-protected-resource/%2e%2e/admin", None),
            ("/.well-known/oauth-protected-resource%2fmcp", None),
            ("/.Well-Known/oauth-protected-resource", None),
            ("//.well-known/oauth-protected-resource", None),
            ("/x/.well-known/oauth-protected-resource", None),
        ] {
            assert_eq!(resource_path(path), resource, "{path}");
        }
    }
}
