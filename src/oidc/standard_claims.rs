//! Standard claims about a person, and the types that they should have (`OpenID` Connect Core, sections 2 and 5.1).
//!
//! Promises: one of another type is absent and is named in the log; `email_verified` is then no, because its absence means that
//! the provider does not tell.

use serde_json::Value;

use super::{
    json::{JsonObject, ReadObject},
    odd_fields::OddFields,
};

pub(super) const EMAIL_VERIFIED: &str = "email_verified";

/// A claim's name, the check of its type, and that type's name.
type StandardClaim = (&'static str, fn(&Value) -> bool, &'static str);

const TEXT: &str = "text (mend: have the provider send it so, or not at all)";
const FLAG: &str = "true or false (mend: have the provider send it so, or not at all)";

/// What is not here may be of any type: rules and headers read it as they can.
const STANDARD_CLAIMS: &[StandardClaim] = &[
    ("acr", is_text_or_number, "text or a number"),
    ("address", |value| value.is_object() || value.is_string(), "an object of texts, or text"),
    ("amr", is_texts, "a list of texts, or text"),
    ("auth_time", is_moment, "a number of seconds since 1970"),
    ("birthdate", Value::is_string, TEXT),
    ("email", Value::is_string, TEXT),
    (EMAIL_VERIFIED, is_flag, FLAG),
    ("family_name", Value::is_string, TEXT),
    ("gender", Value::is_string, TEXT),
    ("given_name", Value::is_string, TEXT),
    ("locale", Value::is_string, TEXT),
    ("middle_name", Value::is_string, TEXT),
    ("name", Value::is_string, TEXT),
    ("nickname", Value::is_string, TEXT),
    ("phone_number", is_text_or_number, "text"),
    ("phone_number_verified", is_flag, FLAG),
    ("picture", Value::is_string, "the text of a URL"),
    ("preferred_username", Value::is_string, TEXT),
    ("profile", Value::is_string, "the text of a URL"),
    ("updated_at", is_time, "a number of seconds since 1970, or the text of a time (RFC 3339)"),
    ("website", Value::is_string, "the text of a URL"),
    ("zoneinfo", Value::is_string, TEXT),
];

/// Returns the claims of a source without the odd ones, each of which is named.
pub(super) fn without_odd(read: ReadObject, source: &'static str, odd: &OddFields) -> JsonObject {
    let ReadObject { members: mut claims, odd: unreadable } = read;
    for (name, fits, expected) in STANDARD_CLAIMS {
        let Some(value) = claims.get(*name).filter(|value| !value.is_null() && !fits(value)) else { continue };
        // An empty text is how some write that there is none.
        if value.as_str() != Some("") {
            odd.name_once(source, *name, expected);
        }
        // Of any other type than it should be it is a no, and a no is kept.
        if *name != EMAIL_VERIFIED {
            claims.remove(*name);
        }
    }
    if unreadable.contains(EMAIL_VERIFIED) {
        claims.insert(EMAIL_VERIFIED.to_owned(), Value::Bool(false));
    }
    for name in unreadable {
        odd.name_once(source, name, "there once, and valid JSON of a few levels (mend: have the provider send it so)");
    }
    claims
}

fn is_flag(value: &Value) -> bool {
    let is_word = |text: &str| ["true", "false"].iter().any(|word| text.eq_ignore_ascii_case(word));
    value.is_boolean() || value.as_str().is_some_and(is_word)
}

fn is_texts(value: &Value) -> bool {
    value.is_string() || value.as_array().is_some_and(|many| many.iter().all(Value::is_string))
}

fn is_text_or_number(value: &Value) -> bool {
    value.is_string() || value.is_number()
}

fn is_moment(value: &Value) -> bool {
    value.as_f64().is_some_and(|seconds| seconds >= 0.0)
}

/// Auth0 and Cognito write times as texts.
fn is_time(value: &Value) -> bool {
    is_moment(value) || value.as_str().is_some_and(|text| humantime::parse_rfc3339(text).is_ok() || is_digits(text))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kept(claims: &Value) -> Value {
        let read = ReadObject::parse(claims.to_string().as_bytes(), &[]).unwrap();
        without_odd(read, "ID token", &OddFields::new("main")).into()
    }

    #[test]
    fn a_standard_claim_of_another_type_is_absent() {
        for odd in [
            json!({ "address": [] }),
            json!({ "amr": 7 }),
            json!({ "amr": ["pwd", 1] }),
            json!({ "acr": ["a"] }),
            json!({ "auth_time": "yesterday" }),
            json!({ "updated_at": "2024-01-02 03:04:05" }),
            json!({ "picture": {} }),
            json!({ "name": 5 }),
            json!({ "email": ["a@example.com"] }),
            json!({ "phone_number_verified": "maybe" }),
        ] {
            assert_eq!(kept(&odd), json!({}), "{odd}");
        }
    }

    #[test]
    fn a_claim_that_reads_as_it_is_meant_is_kept() {
        for sound in [
            json!({ "address": { "formatted": "Berne" } }),
            json!({ "address": "Berne" }),
            json!({ "amr": "pwd" }),
            json!({ "amr": ["pwd", "otp"] }),
            json!({ "acr": 1 }),
            json!({ "auth_time": 1_800_000_000.5 }),
            json!({ "updated_at": "2024-01-02T03:04:05.678Z" }),
            json!({ "name": null }),
            json!({ "email_verified": "TRUE" }),
            json!({ "department": [{ "any": ["thing"] }], "level": 5 }),
        ] {
            assert_eq!(kept(&sound), sound);
        }
    }

    #[test]
    fn an_odd_email_verified_stays_a_no() {
        assert_eq!(kept(&json!({ "email_verified": [true] })), json!({ "email_verified": [true] }));
        for odd in [r#"{"email_verified": 1e999}"#, r#"{"email_verified": true, "email_verified": false}"#] {
            let read = ReadObject::parse(odd.as_bytes(), &[]).unwrap();
            let claims = without_odd(read, "ID token", &OddFields::new("main"));
            assert_eq!(Value::from(claims), json!({ "email_verified": false }), "{odd}");
        }
    }
}
