//! Requests of other sites that a session would let in (`cross_site`): who initiated them, and how they are refused.
//!
//! Promises: an app without the guard pays for one comparison; the log says what the request brought, and what mends it.

use std::fmt::{self, Write as _};

use http::{HeaderMap, HeaderName, header};

use super::{
    context::{Initiator, RequestContext, Via},
    refusal::Refusals,
    refusal_log::RefusalDetails,
};
use crate::{
    edge::{self, AuthRequest, Reason, Refusal},
    identity::PackedIdentity,
    pages::Page,
    policy::{CrossSite, RequestAttributes, Requirement, Site},
};

/// The most characters of a header's value in the log, so that there is room for the other one.
const MAX_CHARACTERS: usize = 100;
/// The most lines of a header in the log: more than one is too many.
const MAX_LINES: usize = 2;

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Returns the initiator of a request with this requirement. A session decides nothing about public paths and API clients.
#[inline]
pub(super) fn initiator(
    request: &AuthRequest<'_>,
    site: &Site<'_>,
    requirement: &Requirement<'_>,
    scheme: &str,
) -> Initiator {
    let is_guarded = site.app.cross_site.is_on();
    if is_guarded && is_refused(request, site, requirement, scheme) { Initiator::CrossSite } else { Initiator::Trusted }
}

#[inline(never)]
fn is_refused(request: &AuthRequest<'_>, site: &Site<'_>, requirement: &Requirement<'_>, scheme: &str) -> bool {
    let attributes =
        || RequestAttributes { path: request.path(), method: request.method, client: request.client.address() };
    matches!(requirement, Requirement::Optional | Requirement::Identity(_))
        && edge::is_cross_site(request, scheme)
        && site.app.cross_site.treatment(&site.app.rules.iter(), attributes()) == CrossSite::Deny
}

/// Refuses a request of another site that this identity's session would have let in.
pub(super) fn refuse(
    refusals: &Refusals,
    context: &RequestContext<'_>,
    target: &str,
    identity: &PackedIdentity,
) -> Refusal {
    let needs =
        format!("a request of {}://{} itself (cross_site = \"deny\")", context.origin.scheme, context.authority);
    let has = Provenance(context.headers);
    let details = RefusalDetails {
        user: Some(identity.user()),
        subject: Some(identity.subject()),
        path: target.split('?').next(),
        needs: Some(&needs),
        has: Some(&has),
        mend: Some(mend(context)),
        ..RefusalDetails::default()
    };
    let page = Page::CrossSite { app: &context.site.app.name };
    refusals.refuse_with(context, Reason::CrossSite, &page, details)
}

/// Returns advice to the operator.
fn mend(context: &RequestContext<'_>) -> &'static str {
    let is_null = context.headers.get_all(header::ORIGIN).iter().any(|origin| origin == "null");
    match (context.via, context.method) {
        (Via::Subrequest(edge), None) => edge::mend_method(edge),
        _ if is_null => {
            "if the app sent this itself: its pages hide their origin; have it send Referrer-Policy: same-origin in place of \
             no-referrer. If another site has to: a rule for its path and method with cross_site = \"allow\""
        }
        _ => {
            "if another site has to send this (SAML, form_post): a rule for its path and method with cross_site = \"allow\". If only \
             the port differs: have the edge pass on the port of Host"
        }
    }
}

/// Prints what a request says about its initiator.
struct Provenance<'r>(&'r HeaderMap);

impl fmt::Display for Provenance<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (label, name) in [("Sec-Fetch-Site", &SEC_FETCH_SITE), ("Origin", &header::ORIGIN)] {
            for value in self.0.get_all(name).iter().take(MAX_LINES) {
                let value = String::from_utf8_lossy(value.as_bytes());
                let kept: String = value.chars().take(MAX_CHARACTERS).collect();
                write!(f, "{between}{label} = {kept:?}")?;
                if kept.len() < value.len() {
                    f.write_char('…')?;
                }
                between = ", ";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_shows_the_beginning_of_either_header() {
        let mut headers = HeaderMap::new();
        headers.append("origin", format!("https://{}\u{e9}", "x".repeat(200)).try_into().unwrap());
        headers.append("origin", "null".parse().unwrap());
        headers.append("origin", "third".parse().unwrap());
        headers.append("sec-fetch-site", "same-site\"".parse().unwrap());
        let printed = Provenance(&headers).to_string();
        let long = format!("https://{}", "x".repeat(MAX_CHARACTERS - 8));
        assert_eq!(printed, format!("Sec-Fetch-Site = \"same-site\\\"\", Origin = {long:?}…, Origin = \"null\""));
    }
}
