//! Specification of identity headers in the configuration: presets, own names, templates.
//!
//! Promises: a plan is made only where an app can tell all of its headers apart, and none of them steers the edge.

use std::collections::HashMap;

use http::{HeaderName, HeaderValue, header::AUTHORIZATION};

use super::{
    BasicCredential, HeaderBudget, HeaderPlan, HeaderSource, PlanLimits, TemplatePiece,
    value::{self, Separator},
};

/// Entry of an app's `headers = […]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderSpec {
    /// Preset by its name.
    Preset(Preset),
    /// Own header: its name, and a template such as `"{claims.team}"`.
    Own(String, String),
    /// Header that a person's `additionalHeaders` may fill.
    Additional(String),
    /// `Authorization`, of two attributes of the person.
    Basic(BasicCredential),
}

/// Headers that apps know from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// `Remote-User` and its like.
    Remote,
    /// `X-authentik-*` as authentik's proxy outpost sends them.
    Authentik,
    /// `X-Auth-Request-*` as oauth2-proxy sends them.
    OAuth2Proxy,
}

/// App and provider that a plan is made for.
#[derive(Clone, Copy, Debug)]
pub struct PlanContext<'a> {
    /// The app's name.
    pub app: &'a str,
    /// The name of its provider.
    pub provider: &'a str,
    /// Doorward's version.
    pub version: &'a str,
    /// The tokens that the configuration passes on.
    pub passed: &'a [PassedToken],
    /// The budget of an answer.
    pub budget: HeaderBudget,
    /// The groups that rules of the app name.
    pub named_groups: &'a [String],
}

/// Token that the configuration passes on to the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassedToken {
    /// `pass_access_token = true`.
    AccessToken,
    /// `pass_id_token = true`.
    IdToken,
}

/// Error in a list of headers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// The name cannot stand in a header.
    #[error("`{0}` is no header name; use letters, digits, `-` and `_`")]
    Name(String),
    /// The name means something to the edge or to HTTP.
    #[error("`{0}` is not for apps: it steers the edge or the connection")]
    Reserved(String),
    /// The name is one of the gate's, and no attribute of a person may fill it.
    #[error("`{0}` is the gate's own; attributes of a person fill only headers that nothing else does")]
    Own(String),
    /// Two headers that an app could not tell apart.
    #[error("`{0}` is set twice (case does not matter, nor does `_` for `-`); leave one out")]
    Clash(String),
    /// The template cannot be read.
    #[error("the template of `{header}` {problem}; write it like \"{{claims.team}}\"")]
    Template {
        /// The header.
        header: String,
        /// The problem, as the end of a sentence.
        problem: &'static str,
    },
    /// The constants alone take too much of an answer.
    #[error("app and provider names are too long to be sent in headers; shorten them")]
    TooLong,
}

/// The most bytes that the constants of a plan take, names included.
pub(super) const MAX_CONSTANTS: usize = 512;

/// Header with the provider's JWKS URL: a constant, empty until the provider's metadata are known.
pub(super) const META_JWKS: &str = "x-authentik-meta-jwks";

/// Names that own headers must not have: an edge, a proxy or a browser acts on them.
const RESERVED: [&str; 24] = [
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "host",
    "keep-alive",
    "location",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "www-authenticate",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-method",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-uri",
];

/// Plan of an app whose configuration lists no headers.
#[must_use]
pub fn default_plan() -> HeaderPlan {
    HeaderPlan::new(Preset::Remote.fields(&[]), Vec::new())
}

impl Preset {
    /// Every preset.
    pub const ALL: &'static [Self] = &[Self::Remote, Self::Authentik, Self::OAuth2Proxy];

    /// The name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Remote => "remote",
            Self::Authentik => "authentik",
            Self::OAuth2Proxy => "oauth2-proxy",
        }
    }

    /// Returns the preset of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|preset| preset.name() == name)
    }

    pub(super) fn fields(self, passed: &[PassedToken]) -> Vec<(HeaderName, HeaderSource)> {
        let token = |token, source| if passed.contains(&token) { source } else { HeaderSource::Nothing };
        let fields = match self {
            Self::Remote => vec![
                ("remote-user", HeaderSource::User),
                ("remote-email", HeaderSource::Email),
                ("remote-name", HeaderSource::Name),
                ("remote-groups", HeaderSource::Groups(Separator::Comma)),
            ],
            Self::Authentik => vec![
                ("x-authentik-username", HeaderSource::User),
                ("x-authentik-email", HeaderSource::Email),
                ("x-authentik-name", HeaderSource::Name),
                ("x-authentik-uid", HeaderSource::Subject),
                ("x-authentik-groups", HeaderSource::Groups(Separator::Bar)),
                ("x-authentik-entitlements", HeaderSource::ClaimList("entitlements".to_owned(), Separator::Bar)),
                ("x-authentik-jwt", token(PassedToken::IdToken, HeaderSource::IdToken)),
            ],
            // oauth2-proxy's user is the subject; the name people know is in the header beside it.
            Self::OAuth2Proxy => vec![
                ("x-auth-request-user", HeaderSource::Subject),
                ("x-auth-request-email", HeaderSource::Email),
                (
                    "x-auth-request-preferred-username",
                    HeaderSource::Template(vec![TemplatePiece::Claim("preferred_username".to_owned())]),
                ),
                ("x-auth-request-groups", HeaderSource::Groups(Separator::Comma)),
                ("x-auth-request-access-token", token(PassedToken::AccessToken, HeaderSource::AccessToken)),
            ],
        };
        fields.into_iter().map(|(name, source)| (HeaderName::from_static(name), source)).collect()
    }

    fn constants(self, context: &PlanContext<'_>) -> Vec<(&'static str, String)> {
        match self {
            Self::Remote | Self::OAuth2Proxy => Vec::new(),
            Self::Authentik => vec![
                (META_JWKS, String::new()),
                ("x-authentik-meta-outpost", "doorward".to_owned()),
                ("x-authentik-meta-provider", context.provider.to_owned()),
                ("x-authentik-meta-app", context.app.to_owned()),
                ("x-authentik-meta-version", format!("doorward/{}", context.version)),
            ],
        }
    }
}

/// Makes the plan of an app's headers, or returns every error in them.
pub fn plan(specs: &[HeaderSpec], context: &PlanContext<'_>) -> Result<HeaderPlan, Vec<HeaderFault>> {
    let (mut fields, mut constants, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for spec in specs {
        match spec {
            HeaderSpec::Preset(preset) => {
                fields.extend(preset.fields(context.passed));
                let same = preset.constants(context).into_iter();
                constants.extend(
                    same.map(|(name, text)| (HeaderName::from_static(name), value::line(&value::encode(&text)))),
                );
            }
            HeaderSpec::Own(name, template) => match own(name, template) {
                Ok(field) => fields.push(field),
                Err(fault) => faults.push(fault),
            },
            HeaderSpec::Additional(name) => match additional(name) {
                Ok(field) => fields.push(field),
                Err(fault) => faults.push(fault),
            },
            HeaderSpec::Basic(credential) => fields.push((AUTHORIZATION, HeaderSource::Basic(credential.clone()))),
        }
    }
    let plan = HeaderPlan::new(fields, constants);
    faults.extend(clashes(&plan));
    if length(&plan.constants) > MAX_CONSTANTS {
        faults.push(HeaderFault::TooLong);
    }
    let PlanContext { app, budget, named_groups, .. } = *context;
    let limits = PlanLimits { app, budget, named_groups: named_groups.to_owned() };
    if faults.is_empty() { Ok(plan.limited(limits)) } else { Err(faults) }
}

/// Bytes that constants take of an answer.
pub(super) fn length(constants: &[(HeaderName, HeaderValue)]) -> usize {
    constants.iter().map(|(name, value)| super::line_length(name, value.len())).sum()
}

fn own(name: &str, template: &str) -> Result<(HeaderName, HeaderSource), HeaderFault> {
    let header = own_name(name)?;
    let pieces = pieces(template).map_err(|problem| HeaderFault::Template { header: name.to_owned(), problem })?;
    Ok((header, HeaderSource::Template(pieces)))
}

/// Returns the field of an entry of `additional_headers`.
fn additional(name: &str) -> Result<(HeaderName, HeaderSource), HeaderFault> {
    let header = own_name(name)?;
    let folded = fold(&header);
    if ["x-forwarded-", "x-original-"].iter().any(|start| folded.starts_with(start)) {
        return Err(HeaderFault::Reserved(name.to_owned()));
    }
    let identities = ["x-authentik-", "x-auth-request-", "remote-"];
    if identities.iter().any(|start| folded.starts_with(start)) {
        return Err(HeaderFault::Own(name.to_owned()));
    }
    let source = HeaderSource::Additional(header.as_str().to_owned());
    Ok((header, source))
}

/// Parses the name of a header that is no preset's.
fn own_name(name: &str) -> Result<HeaderName, HeaderFault> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let header =
        HeaderName::try_from(name).ok().filter(|_| is_plain).ok_or_else(|| HeaderFault::Name(name.to_owned()))?;
    if steers(&header) || fold(&header).starts_with("doorward-") {
        return Err(HeaderFault::Reserved(name.to_owned()));
    }
    Ok(header)
}

/// Returns `true` for a header that an edge, a proxy or a browser acts on.
#[must_use]
pub fn steers(header: &HeaderName) -> bool {
    RESERVED.contains(&fold(header).as_str())
}

/// Folds a name: apps behind CGI, WSGI and similar interfaces cannot tell `_` from `-`.
pub(super) fn fold(name: &HeaderName) -> String {
    name.as_str().replace('_', "-")
}

fn clashes(plan: &HeaderPlan) -> Vec<HeaderFault> {
    let names = plan.fields.iter().map(|(name, _)| name).chain(plan.constants.iter().map(|(name, _)| name));
    let mut seen = HashMap::new();
    for name in names {
        *seen.entry(fold(name)).or_insert(0_usize) += 1;
    }
    let mut twice: Vec<_> = seen.into_iter().filter(|(_, times)| *times > 1).map(|(name, _)| name).collect();
    twice.sort_unstable();
    twice.into_iter().map(HeaderFault::Clash).collect()
}

/// Parses a template: text, and claims in braces.
fn pieces(template: &str) -> Result<Vec<TemplatePiece>, &'static str> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((text, behind)) = rest.split_once('{') {
        let (placeholder, behind) = behind.split_once('}').ok_or("has a brace that is not closed")?;
        let claim = placeholder.strip_prefix("claims.").ok_or("names something that is no claim")?;
        if claim.is_empty() {
            return Err("names no claim");
        }
        pieces.extend(literal(text)?);
        pieces.push(TemplatePiece::Claim(claim.to_owned()));
        rest = behind;
    }
    pieces.extend(literal(rest)?);
    Ok(pieces)
}

fn literal(text: &str) -> Result<Option<TemplatePiece>, &'static str> {
    if text.contains('}') {
        return Err("has a brace that was not opened");
    }
    Ok((!text.is_empty()).then(|| TemplatePiece::Text(text.to_owned())))
}
