//! The fields of a provider's answers: which the gate needs, and what it makes of each.
//!
//! One line a field. A *needed* one has to be right; a *checked* one may be absent, and has to be right where it is there; an
//! *optional* one is read as it is meant or is absent, and is named in the log; an *ignored* one is not read at all. What is
//! not needed refuses nobody, whatever it holds.

use super::variants::Variant::{
    self, Absent, AsText, Blank, Control, Deep, Empty, EmptyList, EmptyObject, False, Fraction, Huge, List,
    ListOfRight, LoneSurrogate, LongText, Negative, Null, Number, Object, Text, True, Twice, TwiceOther,
};

/// A document that a provider sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerDocument {
    /// Claims of the ID token.
    IdToken,
    /// Header of the ID token.
    Header,
    /// Successful answer of the token endpoint.
    TokenResponse,
    /// Userinfo, where the ID token has the groups.
    Userinfo,
    /// Userinfo, where it alone has the groups.
    UserinfoWithGroups,
    /// Metadata (discovery).
    Metadata,
    /// The key set.
    KeySet,
    /// A key in it.
    Key,
}

/// What the gate makes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// It has to be there and right.
    Needed,
    /// It has to be right where it is there.
    Checked,
    /// It is read as it is meant, or is absent and named in the log.
    Optional,
    /// It is not read.
    Ignored,
}

/// A field of a document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnswerField {
    pub(crate) name: &'static str,
    pub(crate) need: Need,
    /// JSON of the right value with placeholders; empty where a right document does not have the field.
    pub(crate) right: &'static str,
    /// Variants of a needed field that are right as well.
    fine: &'static [Variant],
    fine_at_sign_in: &'static [Variant],
    fine_at_renewal: &'static [Variant],
    /// Variants that are a fault of a field which is not needed otherwise.
    refused: &'static [Variant],
    /// Variants that may be refused or not, for what they mean is open.
    either: &'static [Variant],
    either_at_renewal: &'static [Variant],
}

/// Moment at which a field is odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    SignIn,
    Renewal,
}

/// What a variant has to lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Accepted,
    Refused,
    Either,
}

impl AnswerField {
    const fn new(need: Need, name: &'static str, right: &'static str) -> Self {
        const NONE: &[Variant] = &[];
        Self {
            name,
            need,
            right,
            fine: NONE,
            fine_at_sign_in: NONE,
            fine_at_renewal: NONE,
            refused: NONE,
            either: NONE,
            either_at_renewal: NONE,
        }
    }

    const fn fine(self, fine: &'static [Variant]) -> Self {
        Self { fine, ..self }
    }

    const fn at_sign_in(self, fine_at_sign_in: &'static [Variant]) -> Self {
        Self { fine_at_sign_in, ..self }
    }

    const fn at_renewal(self, fine_at_renewal: &'static [Variant]) -> Self {
        Self { fine_at_renewal, ..self }
    }

    const fn but(self, refused: &'static [Variant]) -> Self {
        Self { refused, ..self }
    }

    const fn either(self, either: &'static [Variant]) -> Self {
        Self { either, ..self }
    }

    const fn either_at_renewal(self, either_at_renewal: &'static [Variant]) -> Self {
        Self { either_at_renewal, ..self }
    }

    /// Returns what a variant has to lead to.
    pub(crate) fn expected(&self, variant: Variant, moment: Moment) -> Expected {
        let fine_now = if moment == Moment::SignIn { self.fine_at_sign_in } else { self.fine_at_renewal };
        let is_fine = variant == Variant::Right || self.fine.contains(&variant) || fine_now.contains(&variant);
        match self.need {
            _ if self.either.contains(&variant) => Expected::Either,
            _ if moment == Moment::Renewal && self.either_at_renewal.contains(&variant) => Expected::Either,
            _ if is_fine => Expected::Accepted,
            Need::Checked if matches!(variant, Absent | Null) => Expected::Accepted,
            Need::Needed | Need::Checked => Expected::Refused,
            Need::Optional | Need::Ignored if self.refused.contains(&variant) => Expected::Refused,
            Need::Optional | Need::Ignored => Expected::Accepted,
        }
    }
}

const fn needed(name: &'static str, right: &'static str) -> AnswerField {
    AnswerField::new(Need::Needed, name, right)
}

const fn checked(name: &'static str, right: &'static str) -> AnswerField {
    AnswerField::new(Need::Checked, name, right)
}

const fn optional(name: &'static str, right: &'static str) -> AnswerField {
    AnswerField::new(Need::Optional, name, right)
}

const fn ignored(name: &'static str, right: &'static str) -> AnswerField {
    AnswerField::new(Need::Ignored, name, right)
}

/// Not readable as JSON, or nested too deeply.
const UNREADABLE: &[Variant] = &[LoneSurrogate, Huge, Deep, TwiceOther];
/// Other texts than the right one.
const TEXTS: &[Variant] = &[Blank, Text, LongText, Control, AsText];
/// Whatever names no key.
const NO_KEY_ID: &[Variant] =
    &[Absent, Null, Empty, Number, Negative, Fraction, True, False, EmptyList, List, ListOfRight, EmptyObject, Object];
/// Whatever is read, rightly or not.
const READABLE: &[Variant] = &[
    Absent,
    Null,
    Empty,
    Blank,
    Text,
    LongText,
    Control,
    Number,
    Negative,
    Fraction,
    True,
    False,
    EmptyList,
    List,
    ListOfRight,
    EmptyObject,
    Object,
    AsText,
];
/// Whatever says nothing about whom a userinfo response is.
const ABOUT_NOBODY: &[Variant] = &[
    Absent,
    Null,
    Empty,
    LoneSurrogate,
    Number,
    Negative,
    Fraction,
    Huge,
    True,
    False,
    EmptyList,
    List,
    ListOfRight,
    EmptyObject,
    Object,
    Deep,
    Twice,
    TwiceOther,
];

/// An ID token that is none: a renewal goes on without.
const NO_ID_TOKEN: &[Variant] = &[
    Absent,
    Null,
    Empty,
    Blank,
    LoneSurrogate,
    Number,
    Negative,
    Fraction,
    Huge,
    True,
    False,
    EmptyList,
    List,
    ListOfRight,
    EmptyObject,
    Object,
    Deep,
];
/// A type of token that is none.
const NOT_A_TYPE: &[Variant] = &[
    Empty,
    Blank,
    LoneSurrogate,
    Number,
    Negative,
    Fraction,
    Huge,
    True,
    False,
    EmptyList,
    List,
    ListOfRight,
    EmptyObject,
    Object,
    Deep,
];

const OTHER_SIDS: &[Variant] = &[Absent, Null, Empty, Blank, Text, AsText];

const ID_TOKEN: &[AnswerField] = &[
    needed("iss", r#""{issuer}""#),
    needed("sub", r#""{subject}""#).at_sign_in(&[Text, Blank, AsText]),
    needed("aud", r#""{client}""#).fine(&[ListOfRight]),
    needed("exp", "{end}"),
    needed("iat", "{now}").fine(&[Number, Negative, Fraction]),
    needed("nonce", r#""{nonce}""#).at_renewal(&[Absent, Null]),
    checked("azp", r#""{client}""#),
    checked("nbf", "{now}").fine(&[Number, Fraction]).either(&[Negative]),
    // Another one, or none, ends the session at a provider that has been seen to keep it.
    checked("sid", r#""sid-1""#).at_sign_in(&[Empty, Blank, Text, AsText]).either_at_renewal(OTHER_SIDS),
    checked("at_hash", r#""{at_hash}""#),
    checked("c_hash", r#""{c_hash}""#).at_renewal(READABLE),
    optional("jti", r#""token-1""#),
    optional("s_hash", r#""AAAA""#),
    optional("session_state", r#""state-1""#),
    optional("acr", r#""mfa""#),
    optional("amr", r#"["pwd","otp"]"#),
    optional("auth_time", "{now}"),
];

/// Claims about the person, in the ID token and at userinfo alike.
const PERSON: &[AnswerField] = &[
    optional("preferred_username", r#""ann""#),
    optional("name", r#""Ann Example""#),
    optional("email", r#""ann@example.com""#),
    optional("email_verified", "true"),
    optional("groups", r#"["{group}"]"#),
    optional("hasgroups", "false"),
    optional("_claim_names", r#"{"address":"source-1"}"#),
    optional("_claim_sources", r#"{"source-1":{"endpoint":"https://claims.example.com/"}}"#),
];

/// Standard claims about the person that no decision and no header of the presets needs, and claims of one's own.
const MORE_OF_THE_PERSON: &[AnswerField] = &[
    optional("address", r#"{"country":"DE"}"#),
    optional("birthdate", r#""2000-01-02""#),
    optional("family_name", r#""Example""#),
    optional("gender", r#""female""#),
    optional("given_name", r#""Ann""#),
    optional("locale", r#""de""#),
    optional("middle_name", r#""B.""#),
    optional("nickname", r#""annie""#),
    optional("phone_number", r#""+49 30 1""#),
    optional("phone_number_verified", "false"),
    optional("picture", r#""https://example.com/ann.png""#),
    optional("profile", r#""https://example.com/ann""#),
    optional("updated_at", "{now}"),
    optional("website", r#""https://example.com/""#),
    optional("zoneinfo", r#""Europe/Berlin""#),
    optional("realm_access", r#"{"roles":["one"]}"#),
    optional("department", r#""ops""#),
    optional("a claim.with/odd \u{fc}", "1"),
];

const HEADER: &[AnswerField] = &[
    needed("alg", r#""EdDSA""#),
    checked("kid", r#""one""#).fine(NO_KEY_ID).either(UNREADABLE),
    checked("typ", r#""JWT""#).either(&[Empty]),
    checked("cty", "").either(&[Empty]),
    checked("crit", "").either(&[Null]),
    checked("zip", "").either(&[Null]),
    checked("b64", "").either(&[Null]),
    ignored("jku", r#""https://evil.example/keys""#),
    ignored("jwk", r#"{"kty":"OKP"}"#),
    ignored("x5u", r#""https://evil.example/chain""#),
    ignored("x5c", r#"["AAAA"]"#),
    ignored("x5t", r#""AAAA""#),
    ignored("x5t#S256", r#""AAAA""#),
    ignored("custom", "1"),
];

const TOKEN_RESPONSE: &[AnswerField] = &[
    needed("access_token", r#""{access_token}""#).fine(&[Text, LongText]).either(&[Control, AsText]),
    needed("id_token", r#""{id_token}""#).at_renewal(NO_ID_TOKEN).either(&[Twice, TwiceOther]),
    checked("token_type", r#""Bearer""#).fine(NOT_A_TYPE).either(&[Twice, TwiceOther]),
    optional("refresh_token", r#""{refresh_token}""#),
    optional("expires_in", "{lifetime}"),
    ignored("scope", r#""openid profile""#),
    ignored("session_state", r#""state-1""#),
    ignored("not-before-policy", "0"),
    ignored("refresh_expires_in", "1800"),
    ignored("error", ""),
    ignored("custom", "1"),
];

const USERINFO_SUBJECT: &[AnswerField] = &[needed("sub", r#""{subject}""#).fine(ABOUT_NOBODY)];
const USERINFO_SUBJECT_WITH_GROUPS: &[AnswerField] = &[needed("sub", r#""{subject}""#).at_renewal(ABOUT_NOBODY)];

/// Claims that decide about an ID token or a signed response, in an unsigned one.
const USERINFO_PROTOCOL: &[AnswerField] = &[
    optional("iss", r#""{issuer}""#),
    optional("aud", r#""{client}""#),
    optional("exp", "{end}"),
    optional("acr", r#""mfa""#),
];

const METADATA: &[AnswerField] = &[
    needed("issuer", r#""{issuer}""#),
    needed("authorization_endpoint", r#""{issuer}/authorize""#),
    needed("token_endpoint", r#""{issuer}/token""#),
    needed("jwks_uri", r#""{issuer}/jwks""#),
    optional("userinfo_endpoint", r#""{issuer}/userinfo""#),
    optional("end_session_endpoint", r#""{issuer}/end""#),
    optional("revocation_endpoint", r#""{issuer}/revoke""#),
    optional("introspection_endpoint", r#""{issuer}/introspect""#),
    optional("id_token_signing_alg_values_supported", r#"["EdDSA","HS256"]"#).either(&[List]),
    optional("token_endpoint_auth_methods_supported", r#"["client_secret_basic"]"#),
    optional("code_challenge_methods_supported", r#"["S256"]"#),
    optional("scopes_supported", r#"["openid","offline_access"]"#),
    optional("acr_values_supported", r#"["mfa"]"#),
    optional("authorization_response_iss_parameter_supported", "false").but(&[True]),
    ignored("response_types_supported", r#"["code"]"#),
    ignored("response_modes_supported", r#"["query"]"#),
    ignored("grant_types_supported", r#"["authorization_code"]"#),
    ignored("subject_types_supported", r#"["public"]"#),
    ignored("claims_supported", r#"["sub"]"#),
    ignored("ui_locales_supported", r#"["de"]"#),
    ignored("introspection_endpoint", r#""{issuer}/introspect""#),
    ignored("check_session_iframe", r#""{issuer}/check""#),
    ignored("registration_endpoint", r#""{issuer}/register""#),
    ignored("request_parameter_supported", "false"),
    ignored("backchannel_logout_supported", "true"),
    ignored("frontchannel_logout_supported", "true"),
    ignored("mtls_endpoint_aliases", r#"{"token_endpoint":"{issuer}/mtls"}"#),
    ignored("custom", "1"),
];

const KEY_SET: &[AnswerField] = &[needed("keys", "[{key}]"), ignored("custom", "1")];

const KEY: &[AnswerField] = &[
    needed("kty", r#""OKP""#),
    needed("crv", r#""Ed25519""#),
    needed("x", r#""{x}""#),
    optional("kid", r#""one""#).but(TEXTS),
    optional("use", r#""sig""#).but(TEXTS),
    optional("alg", r#""EdDSA""#).but(TEXTS),
    ignored("key_ops", r#"["verify"]"#),
    ignored("n", ""),
    ignored("e", ""),
    ignored("y", ""),
    ignored("x5c", r#"["AAAA"]"#),
    ignored("x5t", r#""AAAA""#),
    ignored("x5t#S256", r#""AAAA""#),
    ignored("x5u", r#""https://example.com/chain""#),
    ignored("custom", "1"),
];

impl AnswerDocument {
    /// Documents about one person.
    pub(crate) const OF_A_PERSON: [Self; 5] =
        [Self::IdToken, Self::Header, Self::TokenResponse, Self::Userinfo, Self::UserinfoWithGroups];
    /// Documents that everybody's sign-in depends on.
    pub(crate) const OF_THE_PROVIDER: [Self; 3] = [Self::Metadata, Self::KeySet, Self::Key];

    /// Returns all its fields.
    pub(crate) fn fields(self) -> impl Iterator<Item = &'static AnswerField> {
        let parts: [&'static [AnswerField]; 3] = match self {
            Self::IdToken => [ID_TOKEN, PERSON, MORE_OF_THE_PERSON],
            Self::Header => [HEADER, &[], &[]],
            Self::TokenResponse => [TOKEN_RESPONSE, &[], &[]],
            Self::Userinfo => [USERINFO_SUBJECT, USERINFO_PROTOCOL, PERSON],
            Self::UserinfoWithGroups => [USERINFO_SUBJECT_WITH_GROUPS, PERSON, MORE_OF_THE_PERSON],
            Self::Metadata => [METADATA, &[], &[]],
            Self::KeySet => [KEY_SET, &[], &[]],
            Self::Key => [KEY, &[], &[]],
        };
        parts.into_iter().flatten()
    }
}
