//! The identity headers that apps receive: presets and own names, rendered once for each session and plan.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::identity::{Identity, Tokens};

/// The headers of an app: always all of them, empty where there is no value (contract C7).
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which of the distinct rendered sets this is, dense from 0: apps with equal `fields` share one.
    pub index: usize,
    /// Headers whose values come from the identity.
    pub fields: Vec<(HeaderName, Source)>,
    /// Headers that are the same for everybody, such as `X-authentik-meta-app`.
    pub constants: Vec<(HeaderName, HeaderValue)>,
}

/// Where a header's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// [`Identity::user`].
    User,
    /// [`Identity::email`].
    Email,
    /// [`Identity::name`].
    Name,
    /// [`Identity::subject`].
    Subject,
    /// [`Identity::groups`], joined.
    Groups(Separator),
    /// A claim of strings, joined.
    ClaimList(String, Separator),
    /// Text with `{claims.path}` placeholders, as pieces.
    Template(Vec<Piece>),
    /// The access token, only ever configured by `pass_access_token`.
    AccessToken,
    /// The ID token, only ever configured by `pass_id_token`.
    IdToken,
    /// Always empty: the name is blanked so that a client's own copy cannot pass.
    Nothing,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it stands.
    Text(String),
    /// The claim at this dotted path.
    Claim(String),
}

/// What stands between the members of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separator {
    /// `,`
    Comma,
    /// `|`
    Bar,
}

impl Plan {
    /// The values for one identity: one line each, safe ASCII or percent-encoded UTF-8, all of `fields` present.
    #[must_use]
    pub fn render(&self, identity: &Identity, tokens: &Tokens) -> HeaderMap {
        let _ = (identity, tokens);
        HeaderMap::new()
    }

    /// The same headers for nobody: all present, all empty.
    #[must_use]
    pub fn blank(&self) -> HeaderMap {
        HeaderMap::new()
    }
}
