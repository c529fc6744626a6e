//! From what the configuration asks for to a plan: presets, own names, templates.

use std::collections::HashMap;

use http::HeaderName;

use super::{Piece, Plan, Separator, Source, value};

/// What `headers = […]` of an app may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spec {
    /// A preset by its name.
    Preset(Preset),
    /// An own header: its name, and a template such as `"{claims.team}"`.
    Own(String, String),
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

/// What a plan is made for.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The app's name.
    pub app: &'a str,
    /// The name of its provider.
    pub provider: &'a str,
    /// Doorward's version.
    pub version: &'a str,
    /// The provider's JWKS address, empty where it is not known when the configuration is read. It only fills
    /// `X-authentik-meta-jwks`, which is then empty too, and present all the same.
    pub keys: &'a str,
    /// The tokens that the configuration lets out.
    pub passed: &'a [Passed],
}

/// A token that the configuration lets out to the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// `pass_access_token = true`.
    AccessToken,
    /// `pass_id_token = true`.
    IdToken,
}

/// What is wrong with a list of headers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The name cannot stand in a header.
    #[error("`{0}` is no header name; use letters, digits, `-` and `_`")]
    Name(String),
    /// The name means something to the edge or to HTTP.
    #[error("`{0}` is not for apps: it steers the edge or the connection")]
    Reserved(String),
    /// Two headers that an app could not tell apart.
    #[error("`{0}` is set twice (case does not matter, nor does `_` for `-`); leave one out")]
    Clash(String),
    /// The template cannot be read.
    #[error("the template of `{header}` {problem}; write it like \"{{claims.team}}\"")]
    Template {
        /// The header.
        header: String,
        /// What is wrong, as the end of a sentence.
        problem: &'static str,
    },
    /// The constants alone take too much of an answer.
    #[error("app and provider names are too long to be sent in headers; shorten them")]
    TooLong,
}

/// The constants of a plan may take this much, names included.
const CONSTANTS: usize = 512;

/// Headers that an own name must not be: an edge, a proxy or a browser acts on them.
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

impl Preset {
    /// Every preset.
    pub const ALL: &'static [Self] = &[Self::Remote, Self::Authentik, Self::OAuth2Proxy];

    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Remote => "remote",
            Self::Authentik => "authentik",
            Self::OAuth2Proxy => "oauth2-proxy",
        }
    }

    /// The preset of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|preset| preset.name() == name)
    }

    pub(super) fn fields(self, passed: &[Passed]) -> Vec<(HeaderName, Source)> {
        let token = |token, source| if passed.contains(&token) { source } else { Source::Nothing };
        let fields = match self {
            Self::Remote => vec![
                ("remote-user", Source::User),
                ("remote-email", Source::Email),
                ("remote-name", Source::Name),
                ("remote-groups", Source::Groups(Separator::Comma)),
            ],
            Self::Authentik => vec![
                ("x-authentik-username", Source::User),
                ("x-authentik-email", Source::Email),
                ("x-authentik-name", Source::Name),
                ("x-authentik-uid", Source::Subject),
                ("x-authentik-groups", Source::Groups(Separator::Bar)),
                ("x-authentik-entitlements", Source::ClaimList("entitlements".to_owned(), Separator::Bar)),
                ("x-authentik-jwt", token(Passed::IdToken, Source::IdToken)),
            ],
            // oauth2-proxy's user is the subject; the name people know is in the header beside it.
            Self::OAuth2Proxy => vec![
                ("x-auth-request-user", Source::Subject),
                ("x-auth-request-email", Source::Email),
                (
                    "x-auth-request-preferred-username",
                    Source::Template(vec![Piece::Claim("preferred_username".to_owned())]),
                ),
                ("x-auth-request-groups", Source::Groups(Separator::Comma)),
                ("x-auth-request-access-token", token(Passed::AccessToken, Source::AccessToken)),
            ],
        };
        fields.into_iter().map(|(name, source)| (HeaderName::from_static(name), source)).collect()
    }

    fn constants(self, about: &About<'_>) -> Vec<(&'static str, String)> {
        match self {
            Self::Remote | Self::OAuth2Proxy => Vec::new(),
            Self::Authentik => vec![
                ("x-authentik-meta-jwks", about.keys.to_owned()),
                ("x-authentik-meta-outpost", "doorward".to_owned()),
                ("x-authentik-meta-provider", about.provider.to_owned()),
                ("x-authentik-meta-app", about.app.to_owned()),
                ("x-authentik-meta-version", format!("doorward/{}", about.version)),
            ],
        }
    }
}

/// The plan for what an app's configuration lists, or everything that is wrong with it.
pub fn plan(specs: &[Spec], about: &About<'_>) -> Result<Plan, Vec<Fault>> {
    let (mut fields, mut constants, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for spec in specs {
        match spec {
            Spec::Preset(preset) => {
                fields.extend(preset.fields(about.passed));
                let same = preset.constants(about).into_iter();
                constants.extend(
                    same.map(|(name, text)| (HeaderName::from_static(name), value::line(&value::encode(&text)))),
                );
            }
            Spec::Own(name, template) => match own(name, template) {
                Ok(field) => fields.push(field),
                Err(fault) => faults.push(fault),
            },
        }
    }
    let plan = Plan::new(fields, constants);
    faults.extend(clashes(&plan));
    if plan.constants.iter().map(|(name, value)| super::line_length(name, value.len())).sum::<usize>() > CONSTANTS {
        faults.push(Fault::TooLong);
    }
    if faults.is_empty() { Ok(plan) } else { Err(faults) }
}

fn own(name: &str, template: &str) -> Result<(HeaderName, Source), Fault> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let header = HeaderName::try_from(name).ok().filter(|_| is_plain).ok_or_else(|| Fault::Name(name.to_owned()))?;
    let folded = fold(&header);
    if RESERVED.contains(&folded.as_str()) || folded.starts_with("doorward-") {
        return Err(Fault::Reserved(name.to_owned()));
    }
    let pieces = pieces(template).map_err(|problem| Fault::Template { header: name.to_owned(), problem })?;
    Ok((header, Source::Template(pieces)))
}

/// Apps behind CGI, WSGI and their like cannot tell `_` from `-`.
fn fold(name: &HeaderName) -> String {
    name.as_str().replace('_', "-")
}

fn clashes(plan: &Plan) -> Vec<Fault> {
    let names = plan.fields.iter().map(|(name, _)| name).chain(plan.constants.iter().map(|(name, _)| name));
    let mut seen = HashMap::new();
    for name in names {
        *seen.entry(fold(name)).or_insert(0_usize) += 1;
    }
    let mut twice: Vec<_> = seen.into_iter().filter(|(_, times)| *times > 1).map(|(name, _)| name).collect();
    twice.sort_unstable();
    twice.into_iter().map(Fault::Clash).collect()
}

/// Reads a template: text, and claims in braces.
fn pieces(template: &str) -> Result<Vec<Piece>, &'static str> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((text, behind)) = rest.split_once('{') {
        let (placeholder, behind) = behind.split_once('}').ok_or("has a brace that is not closed")?;
        let claim = placeholder.strip_prefix("claims.").ok_or("names something that is no claim")?;
        if claim.is_empty() {
            return Err("names no claim");
        }
        pieces.extend(literal(text)?);
        pieces.push(Piece::Claim(claim.to_owned()));
        rest = behind;
    }
    pieces.extend(literal(rest)?);
    Ok(pieces)
}

fn literal(text: &str) -> Result<Option<Piece>, &'static str> {
    if text.contains('}') {
        return Err("has a brace that was not opened");
    }
    Ok((!text.is_empty()).then(|| Piece::Text(text.to_owned())))
}
