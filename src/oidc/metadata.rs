//! Provider metadata (`OpenID` Connect Discovery 1.0, section 3).
//!
//! Promises: metadata of another issuer, or with an endpoint that is not https, do not parse.

use openidconnect::core::CoreJwsSigningAlgorithm;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{
    error::{Error, printable},
    settings::Settings,
};

/// The part of the metadata document that the gate uses. The rest is not read, so that a mistake in it harms nobody.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ProviderMetadata {
    /// The issuer identifier as the provider's tokens state it, byte for byte.
    pub(super) issuer: String,
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    pub(super) jwks_uri: Url,
    pub(super) userinfo_endpoint: Option<Url>,
    pub(super) end_session_endpoint: Option<Url>,
    pub(super) revocation_endpoint: Option<Url>,
    id_token_signing_alg_values_supported: Vec<Value>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
    scopes_supported: Option<Vec<String>>,
    authorization_response_iss_parameter_supported: Option<bool>,
}

/// Client authentication at the token endpoint (`OpenID` Connect Core, section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientAuthentication {
    /// `client_secret_basic`.
    Basic,
    /// `client_secret_post`.
    Post,
}

impl ProviderMetadata {
    /// Parses and checks a metadata document.
    pub(super) fn parse(body: &[u8], settings: &Settings) -> Result<Self, Error> {
        let metadata: Self = serde_json::from_slice(body).map_err(|error| {
            let error = printable(&error.to_string());
            Error::InvalidMessage(format!("its metadata are not an OpenID provider's: {error}; mend: check the issuer"))
        })?;
        metadata.check(settings)?;
        Ok(metadata)
    }

    /// Checks the issuer and the schemes of the endpoints. The issuer is compared as a URL, because a configured
    /// `https://id.example.com` and the provider's own spelling of it may differ in the slash of the root; tokens are
    /// compared with the provider's spelling.
    fn check(&self, settings: &Settings) -> Result<(), Error> {
        if Url::parse(&self.issuer).as_ref() != Ok(&settings.issuer) {
            let found = printable(&self.issuer);
            return Err(Error::InvalidMessage(format!(
                "its metadata name the issuer `{found}` instead of `{}`; mend: write the issuer exactly so, slash included",
                settings.issuer
            )));
        }
        let browser = [Some(&self.authorization_endpoint), self.end_session_endpoint.as_ref()];
        let backend = [
            Some(&self.token_endpoint),
            Some(&self.jwks_uri),
            self.userinfo_endpoint.as_ref(),
            self.revocation_endpoint.as_ref(),
        ];
        let is_safe =
            |url: &Url| url.scheme() == "https" || (url.scheme() == "http" && settings.issuer.scheme() == "http");
        match browser.into_iter().chain(backend).flatten().find(|url| !is_safe(url)) {
            Some(url) => Err(Error::InvalidMessage(format!("its metadata name an endpoint that is not https: {url}"))),
            None => Ok(()),
        }
    }

    /// Returns the asymmetric algorithms that the provider signs with and the gate can verify.
    pub(super) fn algorithms(&self) -> Vec<CoreJwsSigningAlgorithm> {
        let known =
            self.id_token_signing_alg_values_supported.iter().filter_map(|name| Deserialize::deserialize(name).ok());
        known.filter(is_asymmetric).collect()
    }

    /// Returns `client_secret_basic` unless only `client_secret_post` is offered (Discovery 1.0: absent means basic).
    pub(super) fn client_authentication(&self) -> ClientAuthentication {
        let offers =
            |name: &str| self.token_endpoint_auth_methods_supported.iter().flatten().any(|method| method == name);
        if offers("client_secret_post") && !offers("client_secret_basic") {
            ClientAuthentication::Post
        } else {
            ClientAuthentication::Basic
        }
    }

    /// Returns `true` if every authorization response of this provider carries `iss` (RFC 9207).
    pub(super) fn sends_iss(&self) -> bool {
        self.authorization_response_iss_parameter_supported == Some(true)
    }

    /// Returns warnings for the operator, to be logged before the first person signs in.
    pub(super) fn warnings(&self, settings: &Settings) -> Vec<&'static str> {
        let lacks =
            |list: &Option<Vec<String>>, word: &str| list.as_ref().is_some_and(|l| !l.iter().any(|w| w == word));
        let wants_refresh = settings.scopes.iter().any(|scope| scope == "offline_access");
        let all = [
            (
                wants_refresh && lacks(&self.scopes_supported, "offline_access"),
                "it does not offer the scope offline_access, so it may give no refresh token and sessions may not be \
                 renewed; mend: allow offline_access for this client at the provider",
            ),
            (
                lacks(&self.code_challenge_methods_supported, "S256"),
                "it does not list PKCE with S256; mend: enable it at the provider",
            ),
            (
                self.algorithms().is_empty(),
                "it lists no signing algorithm that can be verified with a public key, so nobody can sign in; mend: give \
                 the client a signing key (RS256, ES256 or EdDSA) at the provider",
            ),
        ];
        all.into_iter().filter_map(|(applies, text)| applies.then_some(text)).collect()
    }
}

/// Returns `true` for all but `none` and the HMACs, for which anyone who knows the verifying key could sign.
fn is_asymmetric(algorithm: &CoreJwsSigningAlgorithm) -> bool {
    use CoreJwsSigningAlgorithm as Alg;
    matches!(
        algorithm,
        Alg::RsaSsaPkcs1V15Sha256
            | Alg::RsaSsaPkcs1V15Sha384
            | Alg::RsaSsaPkcs1V15Sha512
            | Alg::RsaSsaPssSha256
            | Alg::RsaSsaPssSha384
            | Alg::RsaSsaPssSha512
            | Alg::EcdsaP256Sha256
            | Alg::EcdsaP384Sha384
            | Alg::EdDsa
    )
}
