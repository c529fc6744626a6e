//! Original request in the form that all dialects have in common.
//!
//! Promises: only the source of a dialect fills it.

use http::HeaderName;

use crate::{edge::field::Field, host::Authority};

/// `X-Forwarded-For`.
pub(super) static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Original request as the source of a dialect describes it. It has no scheme: that is configuration.
pub(super) struct Original<'r> {
    pub(super) method: Option<&'r str>,
    pub(super) authority: Authority<'r>,
    pub(super) target: &'r str,
    /// `X-Forwarded-For`, which all dialects have in common.
    pub(super) client: Field<'r>,
    /// Authority that the edge routed by, in dialects that send it beside their source.
    pub(super) routed: Option<Authority<'r>>,
}
