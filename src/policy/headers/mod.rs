//! Identity headers that apps receive: presets and own names, rendered once for each plan of a session in use.
//!
//! Promises: every configured header is always there, so that an edge overwrites a client's own copy. The fields of a plan take at
//! most [`BUDGET`] bytes of an answer whatever the provider says. What does not fit is left out in the safe direction: a
//! single value is whole or empty, never cut (a cut name could be somebody else's), and a list loses whole members from
//! its end, so that it never names a group that the person is not in.

mod spec;
mod value;

use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_LENGTH};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

pub use self::{
    spec::{HeaderFault, HeaderSpec, PassedToken, PlanContext, Preset, default_plan, plan},
    value::Separator,
};
use crate::{
    crypto,
    identity::{Identity, PlanId, Principal, RenderedHeaders, Tokens, strings},
};

/// The most bytes that the fields of a plan take of an answer, names included. With the constants (at most 512) and the status
/// line, the head of an answer fits the 4 KiB that nginx has room for.
pub const BUDGET: usize = 3_400;

/// Identity headers of an app: always all of them, empty where there is no value.
#[derive(Clone, Debug)]
pub struct HeaderPlan {
    id: PlanId,
    /// Headers whose values come from the identity.
    fields: Vec<(HeaderName, HeaderSource)>,
    /// Headers that are the same for everybody, such as `X-authentik-meta-app`.
    constants: Vec<(HeaderName, HeaderValue)>,
    /// The headers without an identity: first the fields, empty, then the constants.
    blank: HeaderMap,
}

/// Source of a header's value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HeaderSource {
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
    Template(Vec<TemplatePiece>),
    /// The access token, only ever configured by `pass_access_token`.
    AccessToken,
    /// The ID token, only ever configured by `pass_id_token`.
    IdToken,
    /// Always empty: the name is blanked so that a client's own copy cannot pass.
    Nothing,
}

/// Piece of a template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TemplatePiece {
    /// Literal text.
    Text(String),
    /// The claim at this dotted path.
    Claim(String),
}

impl HeaderPlan {
    /// A plan of these headers.
    #[must_use]
    pub fn new(fields: Vec<(HeaderName, HeaderSource)>, constants: Vec<(HeaderName, HeaderValue)>) -> Self {
        let empty = fields.iter().map(|(name, _)| (name.clone(), EMPTY.clone()));
        // An admission has no body. The line is part of the plan, so that no answer has to grow its map for it.
        let no_body = (CONTENT_LENGTH, HeaderValue::from_static("0"));
        let blank = empty.chain(constants.iter().cloned()).chain([no_body]).collect();
        Self { id: digest(&fields), fields, constants, blank }
    }

    /// Returns the key of its renderings.
    #[must_use]
    pub fn id(&self) -> PlanId {
        self.id
    }

    /// Returns `true` if it needs tokens that the provider issued.
    #[must_use]
    pub fn passes_tokens(&self) -> bool {
        self.fields.iter().any(|(_, source)| matches!(source, HeaderSource::AccessToken | HeaderSource::IdToken))
    }

    /// Returns the headers whose values come from the identity.
    #[must_use]
    pub fn fields(&self) -> &[(HeaderName, HeaderSource)] {
        &self.fields
    }

    /// Returns the headers that are the same for everybody.
    #[must_use]
    pub fn constants(&self) -> &[(HeaderName, HeaderValue)] {
        &self.constants
    }

    /// Renders the values for one identity: one line for every field, safe ASCII or percent-encoded UTF-8.
    #[must_use]
    pub fn render(&self, identity: &Identity, tokens: &Tokens) -> RenderedHeaders {
        let names = self.fields.iter().map(|(name, _)| line_length(name, 0)).sum();
        let mut room = BUDGET.saturating_sub(names);
        // Values that cannot be cut come first; the lists share the rest.
        let singles = self.fields.iter().map(|(_, source)| {
            let value = source.single(identity, tokens).filter(|value| value.len() <= room);
            room -= value.as_ref().map_or(0, HeaderValue::len);
            value.unwrap_or(EMPTY)
        });
        let mut values: Vec<_> = singles.collect();
        let places = self.fields.iter().zip(&mut values);
        let lists: Vec<_> = places.filter_map(|((_, source), place)| Some((place, source.list(identity)?))).collect();
        let many = lists.len();
        for (done, (place, (members, separator))) in lists.into_iter().enumerate() {
            let share = room / (many - done);
            *place = value::line(&value::join(members.iter().copied(), separator, share));
            room -= place.len();
        }
        RenderedHeaders::new(&values)
    }

    /// Returns the headers of an answer for a principal: rendered once, then copied.
    #[must_use]
    pub fn headers_for(&self, principal: &Principal<'_>) -> HeaderMap {
        let render = |identity: &Identity, tokens: &Tokens| self.render(identity, tokens);
        principal.with_headers(self.id, render, |rendered| self.headers(rendered))
    }

    /// Returns the headers of an answer with these values.
    #[must_use]
    pub fn headers(&self, rendered: &RenderedHeaders) -> HeaderMap {
        let mut headers = self.blank.clone();
        for (place, value) in headers.values_mut().zip(rendered.values()) {
            place.clone_from(value);
        }
        headers
    }

    /// Returns the headers without an identity: all present, all empty but the constants.
    #[must_use]
    pub fn blank(&self) -> HeaderMap {
        self.blank.clone()
    }
}

const EMPTY: HeaderValue = HeaderValue::from_static("");

impl HeaderSource {
    /// Returns a value that is whole or not there at all.
    fn single(&self, identity: &Identity, tokens: &Tokens) -> Option<HeaderValue> {
        match self {
            Self::User => Some(value::line(&value::encode(&identity.user))),
            Self::Email => Some(value::line(&value::encode(&identity.email))),
            Self::Name => Some(value::line(&value::encode(&identity.name))),
            Self::Subject => Some(value::line(&value::encode(&identity.subject.0))),
            Self::Template(pieces) => Some(value::line(&fill(pieces, identity))),
            Self::AccessToken => token(tokens.access.as_ref()),
            Self::IdToken => token(tokens.id.as_ref()),
            Self::Groups(_) | Self::ClaimList(..) | Self::Nothing => None,
        }
    }

    /// Returns the members of a list.
    fn list<'i>(&self, identity: &'i Identity) -> Option<(Vec<&'i str>, Separator)> {
        match self {
            Self::Groups(separator) => Some((identity.groups.iter().map(String::as_str).collect(), *separator)),
            Self::ClaimList(path, separator) => {
                Some((identity.claim(path).map(strings).unwrap_or_default(), *separator))
            }
            _ => None,
        }
    }
}

fn fill(pieces: &[TemplatePiece], identity: &Identity) -> String {
    let texts = pieces.iter().map(|piece| match piece {
        TemplatePiece::Text(text) => value::escape(text),
        TemplatePiece::Claim(path) => identity.claim(path).map(claim).unwrap_or_default(),
    });
    value::encode_edges(&texts.collect::<String>())
}

/// Renders a claim as text. A list is joined with commas, and none of its members holds one.
fn claim(claim: &Value) -> String {
    match claim {
        Value::String(text) => value::escape(text),
        Value::Number(_) | Value::Bool(_) => claim.to_string(),
        Value::Array(_) => value::join(strings(claim), Separator::Comma, BUDGET),
        Value::Null | Value::Object(_) => String::new(),
    }
}

/// Renders a token as it is, or not at all: an encoded one would be another token.
fn token(token: Option<&SecretString>) -> Option<HeaderValue> {
    let text = token?.expose_secret();
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Digest of a plan's fields. Numbers would have to be remembered for as long as anything that was rendered under them.
fn digest(fields: &[(HeaderName, HeaderSource)]) -> PlanId {
    let digest = crypto::digest(format!("{fields:?}").as_bytes());
    let (short, _) = digest.split_first_chunk().expect("SHA-256 gives 32 bytes");
    PlanId(*short)
}

/// Bytes that a header takes of an answer: name, colon, space, value, CR LF.
fn line_length(name: &HeaderName, value: usize) -> usize {
    name.as_str().len() + value + 4
}
