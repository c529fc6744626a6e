//! Headers of attributes that authentik keeps of a person: `additional_headers` and `basic_auth` of an app.
//!
//! Promises: a credential is whole or not there at all.

use data_encoding::BASE64;
use http::HeaderValue;
use serde_json::Value;

use super::value;
use crate::identity::{Identity, additional_header, attribute};

/// Attributes that an app takes a person's name and password from (RFC 7617).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BasicCredential {
    /// Attribute of the name; absent, or not there for somebody: the e-mail address.
    pub user_attribute: Option<String>,
    /// Attribute of the password.
    pub password_attribute: String,
}

impl BasicCredential {
    /// Returns the value of `Authorization` for somebody who has a password.
    pub(super) fn value(&self, identity: &Identity) -> Option<HeaderValue> {
        let text =
            |path: &str| attribute(&identity.claims, path).and_then(Value::as_str).filter(|text| !text.is_empty());
        let user = self.user_attribute.as_deref().and_then(text).unwrap_or(&identity.email);
        let password = text(&self.password_attribute)?;
        // A colon ends the name, and a control character has no place in either.
        if user.is_empty() || user.contains(':') || user.chars().chain(password.chars()).any(char::is_control) {
            return None;
        }
        let mut value =
            HeaderValue::try_from(format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()))).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// Returns the value that a person's `additionalHeaders` have for a header.
pub(super) fn additional(identity: &Identity, name: &str) -> Option<HeaderValue> {
    let text = match additional_header(&identity.claims, name)? {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Some(value::line(&value::encode(&text)))
}
