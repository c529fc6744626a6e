//! Identity headers that apps receive: presets and own names, rendered once for each plan of a session in use.
//!
//! Promises: every configured header is always there, so that an edge overwrites a client's own copy, and all of them stay within
//! [`HeaderBudget`] whatever the provider says. [`HeaderCut`] says what did not fit.

mod attributes;
mod budget;
mod render;
mod spec;
mod spelling;
mod value;

use std::{fmt, sync::OnceLock};

use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_LENGTH};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

pub use self::{
    attributes::BasicCredential,
    budget::HeaderBudget,
    render::{HeaderCut, ListCut, RenderedPlan},
    spec::{HeaderFault, HeaderSpec, PassedToken, PlanContext, Preset, default_plan, plan, steers},
    spelling::{begins_like, is_identity_name, is_spelling_of},
    value::Separator,
};
use self::{
    render::Renderer,
    spec::{MAX_CONSTANTS, META_JWKS},
};
use crate::{
    crypto,
    identity::{Identity, PlanId, Principal, RenderedHeaders, Tokens, strings},
};

/// Header that marks an admission by an emergency password, with `true`.
pub static DOORWARD_EMERGENCY: HeaderName = HeaderName::from_static("doorward-emergency");

/// Identity headers of an app: always all of them, empty where there is no value.
#[derive(Clone, Debug)]
pub struct HeaderPlan {
    /// Key of complete renderings: apps with equal fields share them.
    id: PlanId,
    /// Key of renderings of which a part did not fit: the app's own, because its rules say which groups come first.
    cut_id: PlanId,
    /// The most bytes that the fields take of an answer, names included.
    room: usize,
    /// Groups that come first: those that the app's rules name.
    named_groups: Vec<String>,
    /// Headers whose values come from the identity.
    fields: Vec<(HeaderName, HeaderSource)>,
    /// Headers that are the same for everybody, such as `X-authentik-meta-app`.
    constants: Vec<(HeaderName, HeaderValue)>,
    /// The headers without an identity: first the fields, empty, then the constants.
    blank: HeaderMap,
    /// The same with the provider's JWKS URL, once that is known.
    with_jwks_url: OnceLock<HeaderMap>,
}

/// Limits of a plan's renderings.
#[derive(Clone, Debug)]
pub struct PlanLimits<'a> {
    /// Name of the app: what does not fit is rendered, and reported, for each app.
    pub app: &'a str,
    /// Budget of an answer.
    pub budget: HeaderBudget,
    /// Groups that come first.
    pub named_groups: Vec<String>,
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
    /// What the person's `additionalHeaders` have for the header of this name (`additional_headers`).
    Additional(String),
    /// `basic_auth`.
    Basic(BasicCredential),
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
    /// A plan of these headers, within the default budget.
    #[must_use]
    pub fn new(fields: Vec<(HeaderName, HeaderSource)>, constants: Vec<(HeaderName, HeaderValue)>) -> Self {
        let empty = fields.iter().map(|(name, _)| (name.clone(), EMPTY.clone()));
        // An admission has no body. The line is part of the plan, so that no answer has to grow its map for it.
        let no_body = (CONTENT_LENGTH, HeaderValue::from_static("0"));
        let blank = empty.chain(constants.iter().cloned()).chain([no_body]).collect();
        let id = digest(&fields);
        let unlimited = Self {
            id,
            cut_id: id,
            room: 0,
            named_groups: Vec::new(),
            fields,
            constants,
            blank,
            with_jwks_url: OnceLock::new(),
        };
        unlimited.limited(PlanLimits { app: "", budget: HeaderBudget::default(), named_groups: Vec::new() })
    }

    /// Returns the plan within these limits.
    #[must_use]
    pub fn limited(self, limits: PlanLimits<'_>) -> Self {
        let PlanLimits { app, budget, named_groups } = limits;
        // The same for every app, although their names differ in length: otherwise they could not share renderings.
        let constants = if self.constants.is_empty() { 0 } else { MAX_CONSTANTS };
        let room = budget.for_identity() - constants;
        let id = digest(&(&self.fields, room));
        Self { id, cut_id: digest(&(id, app, &named_groups)), room, named_groups, ..self }
    }

    /// Returns the plan with a header of requests that no app is to see as clients send it: on every answer it is empty, unless an
    /// admission fills it in.
    #[must_use]
    pub fn removing(mut self, header: &HeaderName) -> Self {
        self.blank.insert(header, EMPTY);
        self.room = self.room.saturating_sub(line_length(header, 0));
        let id = digest(&(self.id, header));
        Self { id, cut_id: digest(&(self.cut_id, header)), ..self }
    }

    /// Returns `true` if an app that cannot tell `_` from `-` would take a header for one of the plan's.
    #[must_use]
    pub fn clashes_with(&self, header: &HeaderName) -> bool {
        let own = self.fields.iter().map(|(name, _)| name).chain(self.constants.iter().map(|(name, _)| name));
        own.into_iter().any(|name| spec::fold(name) == spec::fold(header))
    }

    /// Returns the key of its complete renderings.
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

    /// Returns the headers that are the same for everybody, as far as the configuration says them.
    #[must_use]
    pub fn constants(&self) -> &[(HeaderName, HeaderValue)] {
        &self.constants
    }

    /// Fills `X-authentik-meta-jwks` in, where the plan has it, from the next answer on; only the first call counts. Returns
    /// `false` if there is no room for the URL.
    pub fn set_jwks_url(&self, url: &str) -> bool {
        if !self.blank.contains_key(META_JWKS) {
            return true;
        }
        let value = value::line(&value::encode(url));
        if spec::length(&self.constants) + value.len() > MAX_CONSTANTS {
            return false;
        }
        self.with_jwks_url.get_or_init(|| {
            let mut headers = self.blank.clone();
            headers.insert(META_JWKS, value);
            headers
        });
        true
    }

    /// Renders the values for one identity: one line for every field, safe ASCII or percent-encoded UTF-8.
    #[must_use]
    pub fn render(&self, identity: &Identity, tokens: &Tokens) -> RenderedPlan {
        Renderer::new(&self.fields, self.room).render(identity, tokens, &self.named_groups)
    }

    /// Returns the headers of an answer for a principal: rendered once, then copied. `on_cut` is called when they are rendered
    /// and a part does not fit.
    #[must_use]
    pub fn headers_for(&self, principal: &Principal<'_>, on_cut: impl Fn(&HeaderCut)) -> HeaderMap {
        let complete = |identity: &Identity, tokens: &Tokens| {
            let RenderedPlan { headers, cut } = self.render(identity, tokens);
            if cut.is_none() { headers } else { RenderedHeaders::none() }
        };
        let read = |rendered: &RenderedHeaders| (!rendered.is_empty()).then(|| self.headers(rendered));
        principal.with_headers(self.id, complete, read).unwrap_or_else(|| self.cut_headers_for(principal, on_cut))
    }

    #[cold]
    fn cut_headers_for(&self, principal: &Principal<'_>, on_cut: impl Fn(&HeaderCut)) -> HeaderMap {
        let render = |identity: &Identity, tokens: &Tokens| {
            let RenderedPlan { headers, cut } = self.render(identity, tokens);
            if let Some(cut) = &cut {
                on_cut(cut);
            }
            headers
        };
        principal.with_headers(self.cut_id, render, |rendered| self.headers(rendered))
    }

    /// Returns the headers of an answer with these values.
    #[must_use]
    pub fn headers(&self, rendered: &RenderedHeaders) -> HeaderMap {
        let mut headers = self.blank();
        for (place, value) in headers.values_mut().zip(rendered.values()) {
            place.clone_from(value);
        }
        headers
    }

    /// Returns the headers with the values that an outpost told: each of the plan's is there, as without an identity where it told
    /// none, several, or more than there is room for. Nothing else that it told is.
    #[must_use]
    pub fn relayed(&self, told: &HeaderMap) -> HeaderMap {
        let mut headers = self.blank();
        let mut room = self.room;
        let is_ours = |name: &HeaderName| *name == CONTENT_LENGTH || *name == DOORWARD_EMERGENCY;
        for (name, place) in headers.iter_mut().filter(|(name, _)| !is_ours(name)) {
            let mut values = told.get_all(name).iter();
            let only = values.next().filter(|_| values.next().is_none()).map(value::relayed);
            if let Some(line) = only.filter(|value| line_length(name, value.len()) <= room) {
                *place = line;
            }
            room = room.saturating_sub(line_length(name, place.len()));
        }
        headers
    }

    /// Returns the headers without an identity: all present, all empty but the constants.
    #[must_use]
    pub fn blank(&self) -> HeaderMap {
        self.with_jwks_url.get().unwrap_or(&self.blank).clone()
    }
}

const EMPTY: HeaderValue = HeaderValue::from_static("");

impl HeaderSource {
    /// Returns a value that is whole or not there at all.
    fn single(&self, identity: &Identity) -> Option<HeaderValue> {
        match self {
            Self::User => Some(value::line(&told(identity, value::encode(&identity.user)))),
            Self::Email => Some(value::line(&value::encode(&identity.email))),
            Self::Name => Some(value::line(&value::encode(&identity.name))),
            Self::Subject => Some(value::line(&told(identity, value::encode(&identity.subject.0)))),
            Self::Template(pieces) => Some(value::line(&fill(pieces, identity))),
            Self::Additional(name) => attributes::additional(identity, name),
            Self::Basic(credential) => credential.value(identity),
            Self::Groups(_) | Self::ClaimList(..) | Self::AccessToken | Self::IdToken | Self::Nothing => None,
        }
    }

    /// Returns a token.
    fn token(&self, tokens: &Tokens) -> Option<HeaderValue> {
        match self {
            Self::AccessToken => token(tokens.access.as_ref()),
            Self::IdToken => token(tokens.id.as_ref()),
            _ => None,
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

/// Encodes the colon of an encoded name that only a service token may have, so that nobody whose provider calls them so is taken for
/// one.
fn told(identity: &Identity, encoded: String) -> String {
    if identity.may_be_called(&encoded) { encoded } else { encoded.replacen(':', "%3A", 1) }
}

fn fill(pieces: &[TemplatePiece], identity: &Identity) -> String {
    let texts = pieces.iter().map(|piece| match piece {
        TemplatePiece::Text(text) => value::escape(text),
        TemplatePiece::Claim(path) => identity.claim(path).map(claim).unwrap_or_default(),
    });
    let text = value::encode_edges(&texts.collect::<String>());
    // What the operator has written in front of a claim is meant.
    if matches!(pieces.first(), Some(TemplatePiece::Claim(_))) { told(identity, text) } else { text }
}

/// Renders a claim as text. A list is joined with commas, and none of its members holds one.
fn claim(claim: &Value) -> String {
    match claim {
        Value::String(text) => value::escape(text),
        Value::Number(_) | Value::Bool(_) => claim.to_string(),
        Value::Array(_) => value::members(strings(claim), Separator::Comma).join(Separator::Comma.text()),
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

/// Digest of what a rendering depends on. Numbers would have to be remembered for as long as anything that was rendered under
/// them.
fn digest(parts: &impl fmt::Debug) -> PlanId {
    let digest = crypto::digest(format!("{parts:?}").as_bytes());
    let (short, _) = digest.split_first_chunk().expect("SHA-256 gives 32 bytes");
    PlanId(*short)
}

/// Bytes that a header takes of an answer: name, colon, space, value, CR LF.
fn line_length(name: &HeaderName, value: usize) -> usize {
    name.as_str().len() + value + 4
}
