//! Rendering of the demo's pages: one inline style sheet, no scripts, nothing loaded from elsewhere.

use std::sync::LazyLock;

use askama::Template;
use data_encoding::BASE64;
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::web::{self, FullResponse};
use crate::crypto;

/// Style sheet that the templates inline.
pub(super) const STYLE: &str = include_str!("demo.css");

/// CSP source expression that allows exactly [`STYLE`] (Content Security Policy Level 3, section 2.3.1).
static STYLE_SOURCE: LazyLock<String> =
    LazyLock::new(|| format!("'sha256-{}'", BASE64.encode(&crypto::digest(STYLE.as_bytes()))));

/// Renders a page without forms.
pub(super) fn page(status: StatusCode, template: &impl Template) -> FullResponse {
    page_with_form(status, template, "'none'")
}

/// Renders a page whose forms may be sent, and redirected, to `form_action`: a list of CSP source expressions.
pub(super) fn page_with_form(status: StatusCode, template: &impl Template, form_action: &str) -> FullResponse {
    let html = match template.render() {
        Ok(html) => html,
        Err(error) => return web::text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    };
    let mut answer = web::response(status, "text/html; charset=utf-8", html);
    let policy = format!(
        "default-src 'none'; img-src data:; style-src {}; form-action {form_action}; base-uri 'none'; frame-ancestors 'none'",
        *STYLE_SOURCE
    );
    let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    let headers: [(HeaderName, HeaderValue); 3] = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    ];
    answer.headers_mut().extend(headers);
    answer
}
