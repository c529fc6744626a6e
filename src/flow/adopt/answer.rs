//! The answer of an old outpost, and the identity that it tells.
//!
//! Promises: nothing but 200 with a subject and a user name is an identity; where a token can be verified it has to be, and what it
//! says counts for more than the headers.

use std::{borrow::Cow, collections::HashSet};

use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};

use crate::{
    clock::Timestamp,
    identity::{ClaimsStanding, Identity, Subject, names_service_token},
    oidc::{self, UnverifiedEmail, outpost_token},
};

/// The longest subject, in bytes: stores index it.
const MAX_SUBJECT: usize = 255;

/// Answer of an old outpost.
#[derive(Debug)]
pub(super) enum Answer {
    /// These cookies are a session there.
    SignedIn(Box<OldSession>),
    /// They are none.
    Refused,
    /// It lets anybody pass, and does not say who these cookies are.
    Anybody,
    /// It says who they are in a way that is not believed: the reason, as a sentence.
    Invalid(Cow<'static, str>),
    /// It did not answer the question.
    Unavailable,
}

/// Session at an old outpost.
#[derive(Debug)]
pub(super) struct OldSession {
    pub(super) identity: Identity,
    /// The provider's own name for its session.
    pub(super) sid: Option<String>,
}

/// Reads an answer about somebody who signed in at this provider.
pub(super) fn read(status: StatusCode, headers: &HeaderMap, provider: &oidc::Settings, now: Timestamp) -> Answer {
    match status {
        StatusCode::OK => identity(headers, provider, now),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => Answer::Unavailable,
        other if other.is_redirection() || other.is_client_error() => Answer::Refused,
        other if other.is_server_error() => Answer::Unavailable,
        other => Answer::Invalid(format!("it answered {}, which is no answer of an outpost", other.as_u16()).into()),
    }
}

fn identity(headers: &HeaderMap, provider: &oidc::Settings, now: Timestamp) -> Answer {
    let told = match Told::read(headers) {
        Ok(told) => told,
        Err(problem) => return Answer::Invalid(problem),
    };
    if told.subject.is_empty() && told.user.is_empty() {
        return Answer::Anybody;
    }
    match told.verified(provider, now) {
        Ok(session) => Answer::SignedIn(Box::new(session)),
        Err(problem) => Answer::Invalid(problem),
    }
}

/// What the headers say.
struct Told<'a> {
    subject: &'a str,
    user: &'a str,
    email: &'a str,
    name: &'a str,
    groups: Vec<&'a str>,
    entitlements: Vec<&'a str>,
    token: &'a str,
}

impl<'a> Told<'a> {
    fn read(headers: &'a HeaderMap) -> Result<Self, Cow<'static, str>> {
        let list = |name| text(headers, name).map(|text| text.split('|').filter(|item| !item.is_empty()).collect());
        Ok(Self {
            subject: text(headers, "x-authentik-uid")?,
            user: text(headers, "x-authentik-username")?,
            email: text(headers, "x-authentik-email")?,
            name: text(headers, "x-authentik-name")?,
            groups: list("x-authentik-groups")?,
            entitlements: list("x-authentik-entitlements")?,
            token: text(headers, "x-authentik-jwt")?,
        })
    }

    fn verified(&self, provider: &oidc::Settings, now: Timestamp) -> Result<OldSession, Cow<'static, str>> {
        let is_subject = (1..=MAX_SUBJECT).contains(&self.subject.len());
        if !is_subject || self.user.is_empty() {
            return Err("it named no subject (X-authentik-uid), or no user (X-authentik-username)".into());
        }
        let token = match &provider.client_secret {
            Some(secret) if !self.token.is_empty() => {
                let verified = outpost_token::verify(self.token, provider, secret, now);
                Some(verified.map_err(|error| format!("its X-authentik-jwt {error}"))?)
            }
            _ => None,
        };
        if token.as_ref().is_some_and(|token| token.subject != self.subject) {
            return Err("its X-authentik-jwt is about somebody else than X-authentik-uid".into());
        }
        let (sid, claims) = token.map(|token| (token.sid, token.claims)).unwrap_or_default();
        let identity = self.identity(claims, provider, now);
        if [identity.user.as_str(), &identity.subject.0].into_iter().any(names_service_token) {
            return Err("it named somebody as service tokens are named".into());
        }
        Ok(OldSession { identity, sid })
    }

    /// The identity. What verified claims say counts; the headers say the rest.
    fn identity(&self, mut claims: Map<String, Value>, provider: &oidc::Settings, now: Timestamp) -> Identity {
        let vouched = claims.get("email_verified") == Some(&Value::Bool(true));
        let groups = provider.groups_claim.find(&claims).cloned().unwrap_or_else(|| Value::from(self.groups.clone()));
        for (name, told) in
            [("sub", self.subject), ("preferred_username", self.user), ("email", self.email), ("name", self.name)]
        {
            if !told.is_empty() && !claims.contains_key(name) {
                claims.insert(name.to_owned(), Value::from(told));
            }
        }
        for (name, told) in [("groups", &self.groups), ("entitlements", &self.entitlements)] {
            if !told.is_empty() && !claims.contains_key(name) {
                claims.insert(name.to_owned(), Value::from(told.clone()));
            }
        }
        let claim = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (email, email_verified) = match (vouched, provider.unverified_email) {
            (true, _) | (false, UnverifiedEmail::Trust) => (claim("email"), true),
            (false, UnverifiedEmail::Pass) => (claim("email"), false),
            (false, UnverifiedEmail::Drop) => (String::new(), false),
        };
        let (user, name) = (claim("preferred_username"), claim("name"));
        if email.is_empty() {
            claims.remove("email");
        }
        let mut known = HashSet::new();
        let named = crate::identity::strings(&groups).into_iter().filter(|group| known.insert(*group));
        Identity {
            provider: provider.name.clone(),
            subject: Subject(self.subject.to_owned()),
            user: if user.is_empty() { self.user.to_owned() } else { user },
            email_verified: email_verified && !email.is_empty(),
            email,
            name,
            groups: named.map(ToOwned::to_owned).collect(),
            claims,
            standing: ClaimsStanding { told: now, ..ClaimsStanding::default() },
        }
    }
}

/// Returns a header's text, empty where it is absent.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Cow<'static, str>> {
    let mut lines = headers.get_all(name).iter();
    let Some(line) = lines.next() else { return Ok("") };
    if lines.next().is_some() {
        return Err(format!("it sent {name} more than once").into());
    }
    let text = std::str::from_utf8(line.as_bytes()).ok().filter(|text| !text.chars().any(char::is_control));
    text.map(str::trim).ok_or_else(|| format!("its {name} is not text").into())
}

#[cfg(test)]
mod tests;
