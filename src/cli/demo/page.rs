//! How the demo's pages become answers: one style sheet, no scripts, nothing from anywhere else.

use std::sync::LazyLock;

use askama::Template;
use data_encoding::BASE64;
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::site::{self, Whole};
use crate::crypto;

/// The style sheet that the templates hold in line.
pub(super) const STYLE: &str = include_str!("demo.css");

/// The source expression that allows exactly [`STYLE`] (Content Security Policy Level 3, section 2.3.1).
static STYLE_SOURCE: LazyLock<String> =
    LazyLock::new(|| format!("'sha256-{}'", BASE64.encode(&crypto::digest(STYLE.as_bytes()))));

/// A page without forms.
pub(super) fn page(status: StatusCode, template: &impl Template) -> Whole {
    page_with_form(status, template, "'none'")
}

/// A page whose forms may be sent, and be redirected, to `form_action`: a list of CSP source expressions.
pub(super) fn page_with_form(status: StatusCode, template: &impl Template, form_action: &str) -> Whole {
    let html = match template.render() {
        Ok(html) => html,
        Err(error) => return site::line(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    };
    let mut answer = site::answer(status, "text/html; charset=utf-8", html);
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
