//! Provider metadata (`OpenID` Connect Discovery 1.0, section 3).
//!
//! Promises: metadata of another issuer, or with a needed endpoint that is not https, do not parse; a field that the gate can
//! do without counts as absent where it cannot be used, and is named.

use openidconnect::core::CoreJwsSigningAlgorithm;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use url::Url;

use super::{
    client_auth::ClientAuthMethod,
    error::{Error, printable},
    json::{JsonObject, ReadObject},
    odd_fields::OddFields,
    settings::{IssuerUse, Settings},
};

/// Name of the document in the log.
const SOURCE: &str = "metadata";

/// Every algorithm that the gate can verify with a public key, for a provider that does not list its own.
const VERIFIABLE: &[CoreJwsSigningAlgorithm] = &[
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// The part of the metadata document that the gate uses. The rest is not read, so that a mistake in it harms nobody.
#[derive(Clone, Debug)]
pub(super) struct ProviderMetadata {
    /// The issuer identifier as the provider's tokens state it, byte for byte.
    pub(super) issuer: String,
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    pub(super) jwks_uri: Url,
    pub(super) userinfo_endpoint: Option<Url>,
    pub(super) end_session_endpoint: Option<Url>,
    pub(super) revocation_endpoint: Option<Url>,
    pub(super) introspection_endpoint: Option<Url>,
    /// The algorithms of ID tokens, as they are written; absent where they are not told.
    signing_algorithms: Option<Vec<String>>,
    client_auth_methods: Option<Vec<String>>,
    code_challenge_methods: Option<Vec<String>>,
    scopes: Option<Vec<String>>,
    acr_values: Option<Vec<String>>,
    sends_iss: bool,
}

/// The fields without which nobody can sign in.
const NEEDED: &[&str] = &["issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"];
/// The fields that the gate can do without.
const OPTIONAL: [&str; 10] = [
    "userinfo_endpoint",
    "end_session_endpoint",
    "revocation_endpoint",
    "introspection_endpoint",
    "id_token_signing_alg_values_supported",
    "token_endpoint_auth_methods_supported",
    "code_challenge_methods_supported",
    "scopes_supported",
    "acr_values_supported",
    "authorization_response_iss_parameter_supported",
];

/// Party that asks an endpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asker {
    Browser,
    Gate,
}

/// Reader of the fields of one document.
struct MetadataReader<'a> {
    members: JsonObject,
    settings: &'a Settings,
    odd: &'a OddFields,
}

impl ProviderMetadata {
    /// Parses and checks a metadata document; names in `odd` what counts as absent.
    pub(super) fn parse(body: &[u8], settings: &Settings, odd: &OddFields) -> Result<Self, Error> {
        let ReadObject { members, odd: unreadable } = ReadObject::parse(body, NEEDED).map_err(|error| {
            let text =
                format!("its metadata are not an OpenID provider's: the document {error}; mend: check the issuer");
            Error::InvalidMessage(text)
        })?;
        for name in OPTIONAL.into_iter().filter(|name| unreadable.contains(*name)) {
            odd.name_once(SOURCE, name, "there once, and valid JSON");
        }
        let read = MetadataReader { members, settings, odd };
        let issuer: String = read.needed("issuer")?;
        check_issuer(&issuer, settings)?;
        Ok(Self {
            issuer,
            authorization_endpoint: read.sign_in_endpoint("authorization_endpoint", Asker::Browser)?,
            token_endpoint: read.sign_in_endpoint("token_endpoint", Asker::Gate)?,
            jwks_uri: read.needed_endpoint("jwks_uri", Asker::Gate)?,
            userinfo_endpoint: read.endpoint("userinfo_endpoint", Asker::Gate),
            end_session_endpoint: read.endpoint("end_session_endpoint", Asker::Browser),
            revocation_endpoint: read.endpoint("revocation_endpoint", Asker::Gate),
            introspection_endpoint: read.endpoint("introspection_endpoint", Asker::Gate),
            signing_algorithms: read.texts("id_token_signing_alg_values_supported"),
            client_auth_methods: read.texts("token_endpoint_auth_methods_supported"),
            code_challenge_methods: read.texts("code_challenge_methods_supported"),
            scopes: read.texts("scopes_supported"),
            acr_values: read.texts("acr_values_supported"),
            sends_iss: read
                .optional("authorization_response_iss_parameter_supported", "true or false")
                .unwrap_or(false),
        })
    }

    /// Returns the asymmetric algorithms that the provider signs with and the gate can verify. One that lists none signs with
    /// what its published keys are for.
    pub(super) fn algorithms(&self) -> Vec<CoreJwsSigningAlgorithm> {
        let Some(names) = &self.signing_algorithms else { return VERIFIABLE.to_vec() };
        let known = names.iter().filter_map(|name| Deserialize::deserialize(Value::from(name.as_str())).ok());
        // Not `none` and not the HMACs, for which anyone who knows the verifying key could sign.
        known.filter(|algorithm| VERIFIABLE.contains(algorithm)).collect()
    }

    /// Returns `true` if it signs this client's ID tokens with the client's secret, and nothing with any other key, and that is
    /// agreed to.
    pub(super) fn signs_by_secret(&self, settings: &Settings) -> bool {
        let offers_it = self.signing_algorithms.iter().flatten().any(|name| name == "HS256");
        settings.id_tokens_by_secret && offers_it && self.algorithms().is_empty()
    }

    /// Returns the method of client authentication that is offered, Basic before Post; `None` where neither is named.
    pub(super) fn client_auth_method(&self) -> Option<ClientAuthMethod> {
        let offers =
            |method: &ClientAuthMethod| self.client_auth_methods.iter().flatten().any(|name| name == method.name());
        [ClientAuthMethod::Basic, ClientAuthMethod::Post].into_iter().find(offers)
    }

    /// Returns `true` if every authorization response of this provider carries `iss` (RFC 9207).
    pub(super) fn sends_iss(&self) -> bool {
        self.sends_iss
    }

    /// Returns warnings for the operator, to be logged before the first person signs in.
    pub(super) fn warnings(&self, settings: &Settings) -> Vec<&'static str> {
        let lacks =
            |list: &Option<Vec<String>>, word: &str| list.as_ref().is_some_and(|l| !l.iter().any(|w| w == word));
        let wants_refresh = settings.scopes.iter().any(|scope| scope == "offline_access");
        let all = [
            (
                wants_refresh && lacks(&self.scopes, "offline_access"),
                "it does not offer the scope offline_access, so it may give no refresh token and sessions may not be \
                 renewed; mend: allow offline_access for this client at the provider",
            ),
            (
                settings.issuer_use == IssuerUse::SignIn && lacks(&self.code_challenge_methods, "S256"),
                "it does not list PKCE with S256; mend: enable it at the provider",
            ),
            (
                self.algorithms().is_empty() && !self.signs_by_secret(settings),
                "it lists no signing algorithm that can be verified with a public key, so nobody can sign in; mend: choose \
                 a signing key at this provider (RS256, ES256 or EdDSA)",
            ),
        ];
        all.into_iter().filter_map(|(applies, text)| applies.then_some(text)).collect()
    }

    /// Returns the authentication context classes that rules ask for and the provider does not list, where it lists any.
    pub(super) fn unlisted_acr<'s>(&self, settings: &'s Settings) -> Vec<&'s str> {
        let Some(listed) = &self.acr_values else { return Vec::new() };
        settings.acr_in_rules.iter().filter(|class| !listed.contains(*class)).map(String::as_str).collect()
    }
}

impl MetadataReader<'_> {
    /// Reads a field without which nobody can sign in.
    fn needed<T: DeserializeOwned>(&self, name: &'static str) -> Result<T, Error> {
        let value = self.members.get(name).and_then(|value| T::deserialize(value).ok());
        value.ok_or_else(|| {
            Error::InvalidMessage(format!(
                "its metadata are not an OpenID provider's: `{name}` is missing or cannot be read; mend: check the issuer"
            ))
        })
    }

    /// Reads an endpoint for signing in. An issuer of which only the keys are wanted need not have one (Kubernetes, the CI
    /// systems): its own address stands in its place, and nothing is ever sent there.
    fn sign_in_endpoint(&self, name: &'static str, asker: Asker) -> Result<Url, Error> {
        match self.settings.issuer_use {
            IssuerUse::SignIn => self.needed_endpoint(name, asker),
            IssuerUse::Tokens => Ok(self.settings.issuer.clone()),
        }
    }

    fn needed_endpoint(&self, name: &'static str, asker: Asker) -> Result<Url, Error> {
        let url = self.needed(name)?;
        if self.is_safe(&url, asker) {
            return Ok(url);
        }
        let url = printable(url.as_str());
        Err(Error::InvalidMessage(format!("its metadata name an endpoint that is not https: {name} is {url}")))
    }

    fn optional<T: DeserializeOwned>(&self, name: &'static str, expected: &'static str) -> Option<T> {
        let value = T::deserialize(self.members.get(name).filter(|value| !value.is_null())?).ok();
        if value.is_none() {
            self.odd.name_once(SOURCE, name, expected);
        }
        value
    }

    fn endpoint(&self, name: &'static str, asker: Asker) -> Option<Url> {
        const EXPECTED: &str = "an absolute https address, or to be left out";
        let url: Url = self.optional(name, EXPECTED)?;
        if self.is_safe(&url, asker) {
            return Some(url);
        }
        self.odd.name_once(SOURCE, name, EXPECTED);
        None
    }

    /// Reads a list of texts, without elements that are none; one without any text says nothing.
    fn texts(&self, name: &'static str) -> Option<Vec<String>> {
        let all: Vec<Value> = self.optional(name, "a list of texts")?;
        let texts: Vec<_> = all.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        if texts.len() < all.len() {
            self.odd.name_once(SOURCE, name, "a list of texts");
        }
        Some(texts).filter(|texts| !texts.is_empty())
    }

    /// Returns `true` for https; for http where the issuer is http, a lab, or where the gate asks at its internal address.
    fn is_safe(&self, url: &Url, asker: Asker) -> bool {
        let is_internal = |internal: &Url| asker == Asker::Gate && url.origin() == internal.origin();
        match url.scheme() {
            "https" => true,
            "http" => {
                self.settings.issuer.scheme() == "http" || self.settings.internal_url.as_ref().is_some_and(is_internal)
            }
            _ => false,
        }
    }
}

/// Checks the issuer. It is compared as a URL, because a configured `https://id.example.com` and the provider's own spelling
/// of it may differ in the slash of the root; tokens are compared with the provider's spelling.
fn check_issuer(found: &str, settings: &Settings) -> Result<(), Error> {
    let url = Url::parse(found);
    if url.as_ref() == Ok(&settings.issuer) {
        return Ok(());
    }
    let is_internal = |internal: &Url| url.as_ref().is_ok_and(|url| url.origin() == internal.origin());
    let mend = if found.contains(['{', '}']) {
        "this address stands for many tenants, and has no issuer of its own; mend: write the issuer of your own tenant, with \
         its id"
    } else if settings.internal_url.as_ref().is_some_and(is_internal) {
        "it calls itself by its internal address; mend: have it believe X-Forwarded-Host and X-Forwarded-Proto, or tell it \
         its public address"
    } else {
        "mend: write the issuer exactly so, slash included"
    };
    let (found, issuer) = (printable(found), &settings.issuer);
    Err(Error::InvalidMessage(format!("its metadata name the issuer `{found}` instead of `{issuer}`; {mend}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::oidc::tests::settings;

    const ISSUER: &str = "https://id.example.com/";

    fn document(fields: &Value) -> Value {
        let mut whole = json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://id.example.com/authorize",
            "token_endpoint": "https://id.example.com/token",
            "jwks_uri": "https://id.example.com/jwks",
        });
        whole.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        whole
    }

    fn parse(body: &str, settings: &Settings) -> Result<ProviderMetadata, Error> {
        ProviderMetadata::parse(body.as_bytes(), settings, &OddFields::new("authentik"))
    }

    fn parsed(fields: &Value) -> ProviderMetadata {
        parse(&document(fields).to_string(), &settings(ISSUER)).unwrap_or_else(|error| panic!("{fields}: {error}"))
    }

    #[test]
    fn an_optional_field_that_cannot_be_used_is_absent() {
        for odd in [
            json!(""),
            json!("/revoke"),
            json!("javascript:alert(1)"),
            json!(7),
            json!([]),
            json!("http://id.example.com/"),
        ] {
            let fields = json!({ "end_session_endpoint": odd, "revocation_endpoint": odd, "userinfo_endpoint": odd });
            let metadata = parsed(&fields);
            assert_eq!(metadata.end_session_endpoint, None, "{odd}");
            assert_eq!(metadata.revocation_endpoint, None, "{odd}");
            assert_eq!(metadata.userinfo_endpoint, None, "{odd}");
        }
        for odd in [json!("openid profile"), json!(true), json!({}), json!(null)] {
            let metadata = parsed(&json!({
                "scopes_supported": odd, "code_challenge_methods_supported": odd,
                "token_endpoint_auth_methods_supported": odd, "id_token_signing_alg_values_supported": odd,
            }));
            assert!(metadata.warnings(&settings(ISSUER)).is_empty(), "{odd}");
            assert_eq!(metadata.client_auth_method(), None, "{odd}");
            assert_eq!(metadata.algorithms(), VERIFIABLE, "{odd}");
        }
        assert!(!parsed(&json!({ "authorization_response_iss_parameter_supported": "true" })).sends_iss());
        let body = document(&json!({})).to_string();
        let body = body.replacen('{', r#"{"other":1e999,"other":"\ud800","scopes_supported":1e999,"#, 1);
        parse(&body, &settings(ISSUER)).expect("what is not needed is read past");
    }

    #[test]
    fn what_is_needed_is_read_strictly_and_named() {
        for (field, value) in [
            ("issuer", json!(7)),
            ("authorization_endpoint", json!("")),
            ("token_endpoint", json!("/token")),
            ("token_endpoint", json!("ftp://id.example.com/token")),
            ("token_endpoint", json!("http://id.example.com/token")),
            ("jwks_uri", json!(null)),
        ] {
            let error = parse(&document(&json!({ field: value })).to_string(), &settings(ISSUER)).unwrap_err();
            assert!(error.to_string().contains(field), "{value}: {error}");
        }
    }

    #[test]
    fn classes_that_rules_ask_for_and_the_provider_does_not_list_are_told() {
        let mut settings = settings(ISSUER);
        settings.acr_in_rules = ["gold", "silver"].map(str::to_owned).into();
        for (listed, missing) in [
            (json!(["silver", "bronze"]), ["gold"].as_slice()),
            (json!(["gold", "silver"]), &[]),
            (json!(["Gold"]), &["gold", "silver"]),
            (json!([]), &[]),
            (json!(null), &[]),
        ] {
            let metadata = parsed(&json!({ "acr_values_supported": listed }));
            assert_eq!(metadata.unlisted_acr(&settings), missing, "{listed}");
        }
    }

    #[test]
    fn only_asymmetric_algorithms_count() {
        let algorithms = |list: Value| parsed(&json!({ "id_token_signing_alg_values_supported": list }));
        let listed = algorithms(json!(["HS256", "none", 7, "ES256", "XX999"]));
        assert_eq!(listed.algorithms(), [CoreJwsSigningAlgorithm::EcdsaP256Sha256]);
        let symmetric = algorithms(json!(["HS256"]));
        assert!(symmetric.algorithms().is_empty());
        let warnings = symmetric.warnings(&settings(ISSUER)).join(" ");
        assert!(warnings.contains("choose a signing key at this provider"), "{warnings}");
        let agreed = Settings { id_tokens_by_secret: true, ..settings(ISSUER) };
        assert!(symmetric.signs_by_secret(&agreed) && symmetric.warnings(&agreed).is_empty());
        for (other, settings) in [(&symmetric, &settings(ISSUER)), (&listed, &agreed), (&parsed(&json!({})), &agreed)] {
            assert!(!other.signs_by_secret(settings), "a public key that is offered is the one that counts");
        }
    }

    #[test]
    fn an_issuer_for_many_tenants_does_not_lead_in_a_circle() {
        let issuer = "https://login.microsoftonline.com/{tenantid}/v2.0";
        let error = parse(&document(&json!({ "issuer": issuer })).to_string(), &settings(ISSUER)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("your own tenant") && !text.contains("exactly so"), "{text}");
    }

    #[test]
    fn endpoints_inside_are_for_the_gate_alone() {
        let mut settings = settings(ISSUER);
        settings.internal_url = Some("http://authentik.auth.svc:9000".parse().unwrap());
        let inside = |path: &str| json!(format!("http://authentik.auth.svc:9000{path}"));
        let fields = json!({ "token_endpoint": inside("/token"), "end_session_endpoint": inside("/end") });
        let metadata = parse(&document(&fields).to_string(), &settings).unwrap();
        assert_eq!(metadata.end_session_endpoint, None, "a browser could not go there");
        let browser = json!({ "authorization_endpoint": inside("/authorize") });
        parse(&document(&browser).to_string(), &settings).unwrap_err();
        let named = parse(&document(&json!({ "issuer": inside("/") })).to_string(), &settings).unwrap_err();
        assert!(named.to_string().contains("X-Forwarded-Host"), "{named}");
    }
}
