//! The identity headers that apps receive: presets and own names, rendered once for each plan of a session in use.
//!
//! Every configured header is always there, so that an edge overwrites a client's own copy. The fields of a plan take at
//! most [`BUDGET`] bytes of an answer whatever the provider says. What does not fit is left out in the safe direction: a
//! single value is whole or empty, never cut (a cut name could be somebody else's), and a list loses whole members from
//! its end, so that it never names a group that the person is not in.

mod spec;
mod value;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_LENGTH};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

pub use self::spec::{About, Fault, Passed, Preset, Spec, plan};
use crate::{
    crypto,
    identity::{Identity, Tokens, strings},
};

/// What the fields of a plan may take of an answer, names included. With the constants (at most 512) and what HTTP itself
/// needs, the head of an answer stays below the 4 KiB that nginx has room for.
pub const BUDGET: usize = 3_400;

/// The headers of an app: always all of them, empty where there is no value.
#[derive(Clone, Debug)]
pub struct Plan {
    id: PlanId,
    /// Headers whose values come from the identity.
    fields: Vec<(HeaderName, Source)>,
    /// Headers that are the same for everybody, such as `X-authentik-meta-app`.
    constants: Vec<(HeaderName, HeaderValue)>,
    /// What is answered for nobody: the fields first and empty, then what is the same for everybody.
    blank: HeaderMap,
}

/// Tells plans with different fields apart, and is the same for equal ones in whichever configuration they stand: what was
/// rendered under it is never taken for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanId([u8; 16]);

/// The values of a plan's fields for one identity, in the plan's order. The texts lie side by side in one piece of
/// memory: a session that is asked for after a while is in no core's cache, and each piece of its own is one more wait.
#[derive(Debug)]
pub struct Rendered(Box<[HeaderValue]>);

/// Where a header's value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Piece {
    /// As it stands.
    Text(String),
    /// The claim at this dotted path.
    Claim(String),
}

/// What stands between the members of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Separator {
    /// `,`
    Comma,
    /// `|`
    Bar,
}

impl Plan {
    /// The preset that apps get when the configuration names none.
    #[must_use]
    pub fn remote() -> Self {
        Self::new(Preset::Remote.fields(&[]), Vec::new())
    }

    /// A plan with these lines.
    #[must_use]
    pub fn new(fields: Vec<(HeaderName, Source)>, constants: Vec<(HeaderName, HeaderValue)>) -> Self {
        let empty = fields.iter().map(|(name, _)| (name.clone(), EMPTY.clone()));
        // An answer that lets in has no body. Said here, so that no answer has to make room for one line more.
        let no_body = (CONTENT_LENGTH, HeaderValue::from_static("0"));
        let blank = empty.chain(constants.iter().cloned()).chain([no_body]).collect();
        Self { id: PlanId::of(&fields), fields, constants, blank }
    }

    /// What its renderings are told from others by.
    #[must_use]
    pub fn id(&self) -> PlanId {
        self.id
    }

    /// Whether it needs what the provider issued.
    #[must_use]
    pub fn passes_tokens(&self) -> bool {
        self.fields.iter().any(|(_, source)| matches!(source, Source::AccessToken | Source::IdToken))
    }

    /// Headers whose values come from the identity.
    #[must_use]
    pub fn fields(&self) -> &[(HeaderName, Source)] {
        &self.fields
    }

    /// Headers that are the same for everybody.
    #[must_use]
    pub fn constants(&self) -> &[(HeaderName, HeaderValue)] {
        &self.constants
    }

    /// The values for one identity: one line each, safe ASCII or percent-encoded UTF-8, one for every field.
    #[must_use]
    pub fn render(&self, identity: &Identity, tokens: &Tokens) -> Rendered {
        let names = self.fields.iter().map(|(name, _)| line_length(name, 0)).sum();
        let mut room = BUDGET.saturating_sub(names);
        // What cannot be cut goes first; the lists share what it leaves.
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
        Rendered::side_by_side(&values)
    }

    /// The headers of an answer for whom `rendered` is about.
    #[must_use]
    pub fn headers(&self, rendered: &Rendered) -> HeaderMap {
        let mut headers = self.blank.clone();
        for (place, value) in headers.values_mut().zip(&rendered.0) {
            place.clone_from(value);
        }
        headers
    }

    /// The same headers for nobody: all present, all empty but the constants.
    #[must_use]
    pub fn blank(&self) -> HeaderMap {
        self.blank.clone()
    }
}

const EMPTY: HeaderValue = HeaderValue::from_static("");

impl Rendered {
    fn side_by_side(values: &[HeaderValue]) -> Self {
        let texts = Bytes::from(values.iter().flat_map(HeaderValue::as_bytes).copied().collect::<Box<[u8]>>());
        let mut rest = texts;
        let moved = values.iter().map(|value| {
            let text = rest.split_to(value.len());
            let mut moved = HeaderValue::from_maybe_shared(text).expect("it was a value before");
            moved.set_sensitive(value.is_sensitive());
            moved
        });
        Self(moved.collect())
    }
}

impl PlanId {
    /// A digest: numbers would have to be remembered for as long as anything that was rendered under them is.
    fn of(fields: &[(HeaderName, Source)]) -> Self {
        let digest = crypto::digest(format!("{fields:?}").as_bytes());
        let (short, _) = digest.split_first_chunk().expect("SHA-256 gives 32 bytes");
        Self(*short)
    }
}

impl Source {
    /// The value, where it is one that is whole or not there at all.
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

    /// The members, where it is a list.
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

fn fill(pieces: &[Piece], identity: &Identity) -> String {
    let texts = pieces.iter().map(|piece| match piece {
        Piece::Text(text) => value::escape(text),
        Piece::Claim(path) => identity.claim(path).map(claim).unwrap_or_default(),
    });
    value::keep_edges(&texts.collect::<String>())
}

/// A claim as text. A list is joined with commas, and none of its members holds one.
fn claim(claim: &Value) -> String {
    match claim {
        Value::String(text) => value::escape(text),
        Value::Number(_) | Value::Bool(_) => claim.to_string(),
        Value::Array(_) => value::join(strings(claim), Separator::Comma, BUDGET),
        Value::Null | Value::Object(_) => String::new(),
    }
}

/// A token goes out as it is or not at all: an encoded one would be another token.
fn token(token: Option<&SecretString>) -> Option<HeaderValue> {
    let text = token?.expose_secret();
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What a header takes of an answer: name, colon, space, value, CR LF.
fn line_length(name: &HeaderName, value: usize) -> usize {
    name.as_str().len() + value + 4
}
