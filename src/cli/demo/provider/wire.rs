//! The provider's responses on the wire: metadata, keys, ID tokens and userinfo, in the types of `openidconnect`.
//!
//! The key is generated at start and never leaves the process. Signing is `openidconnect`'s.

use std::time::Duration;

use anyhow::Context;
use ed25519_dalek::pkcs8::{EncodePrivateKey, spki::der::pem::LineEnding};
use openidconnect::{
    AccessToken, AdditionalProviderMetadata, Audience, AuthUrl, ClientId, EmptyExtraTokenFields, EndUserEmail,
    EndUserName, EndUserUsername, IdToken, IdTokenClaims, IdTokenFields, IssuerUrl, JsonWebKeyId, JsonWebKeySetUrl,
    Nonce, PrivateSigningKey, ProviderMetadata, RefreshToken, ResponseTypes, Scope, StandardClaims,
    StandardTokenResponse, SubjectIdentifier, TokenUrl, UserInfoClaims, UserInfoUrl,
    core::{
        CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClientAuthMethod, CoreEdDsaPrivateSigningKey,
        CoreGenderClaim, CoreGrantType, CoreJsonWebKey, CoreJsonWebKeySet, CoreJweContentEncryptionAlgorithm,
        CoreJweKeyManagementAlgorithm, CoreJwsSigningAlgorithm, CoreResponseMode, CoreResponseType,
        CoreSubjectIdentifierType, CoreTokenType,
    },
};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{state::ProviderSession, users::User};
use crate::{clock::Timestamp, crypto};

/// Lifetime of an ID token.
const ID_TOKEN_LIFETIME: Duration = Duration::from_mins(5);

/// Additional claims of the demo.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DemoClaims {
    groups: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
}

impl openidconnect::AdditionalClaims for DemoClaims {}

type OurIdToken = IdToken<DemoClaims, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;

type OurIdTokenFields = IdTokenFields<
    DemoClaims,
    EmptyExtraTokenFields,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;

/// Response of the token endpoint.
pub(super) type TokenEndpointResponse = StandardTokenResponse<OurIdTokenFields, CoreTokenType>;

/// Response of the userinfo endpoint.
pub(super) type UserInfoDocument = UserInfoClaims<DemoClaims, CoreGenderClaim>;

/// Metadata without a field in the library.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ExtraMetadata {
    /// `OpenID` Connect RP-Initiated Logout 1.0, section 2.1.
    end_session_endpoint: Url,
    /// RFC 8414, section 2.
    code_challenge_methods_supported: Vec<String>,
    /// RFC 9207, section 3.
    authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for ExtraMetadata {}

/// The discovery document.
pub(super) type DiscoveryDocument = ProviderMetadata<
    ExtraMetadata,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// Parameters of the tokens in one response.
pub(super) struct TokenParameters<'a> {
    /// Client ID, the audience.
    pub(super) client_id: &'a str,
    /// Session in which they are issued.
    pub(super) sign_in: &'a ProviderSession,
    /// `nonce` of the authorization request; a renewal has none.
    pub(super) nonce: Option<String>,
    /// The access token.
    pub(super) access: String,
    /// Lifetime of the access token.
    pub(super) expires_in: Duration,
    /// The refresh token, for offline access.
    pub(super) refresh: Option<String>,
}

/// Creates the documents and signs ID tokens.
pub(super) struct TokenSigner {
    issuer: Url,
    key: CoreEdDsaPrivateSigningKey,
}

impl TokenSigner {
    /// A signer with a new key. `issuer` ends with a slash, so that it is the same as text and as a URL.
    pub(super) fn new(issuer: Url) -> anyhow::Result<Self> {
        let key = ed25519_dalek::SigningKey::from_bytes(&crypto::random());
        let pem = key.to_pkcs8_pem(LineEnding::LF).context("writing the provider's key as PEM")?;
        let key = CoreEdDsaPrivateSigningKey::from_ed25519_pem(&pem, Some(JsonWebKeyId::new("demo".to_owned())))
            .map_err(|problem| anyhow::anyhow!("reading the provider's key from PEM: {problem}"))?;
        Ok(Self { issuer, key })
    }

    /// Returns the issuer identifier.
    pub(super) fn issuer(&self) -> &Url {
        &self.issuer
    }

    fn issuer_url(&self) -> IssuerUrl {
        IssuerUrl::from_url(self.issuer.clone())
    }

    fn endpoint(&self, path: &str) -> Url {
        let mut url = self.issuer.clone();
        url.set_path(path);
        url
    }

    /// Returns the discovery document (`OpenID` Connect Discovery 1.0, section 3).
    pub(super) fn metadata(&self) -> DiscoveryDocument {
        let further = ExtraMetadata {
            end_session_endpoint: self.endpoint("/end_session"),
            code_challenge_methods_supported: vec!["S256".to_owned()],
            authorization_response_iss_parameter_supported: true,
        };
        DiscoveryDocument::new(
            self.issuer_url(),
            AuthUrl::from_url(self.endpoint("/authorize")),
            JsonWebKeySetUrl::from_url(self.endpoint("/jwks")),
            vec![ResponseTypes::new(vec![CoreResponseType::Code])],
            vec![CoreSubjectIdentifierType::Public],
            vec![CoreJwsSigningAlgorithm::EdDsa],
            further,
        )
        .set_token_endpoint(Some(TokenUrl::from_url(self.endpoint("/token"))))
        .set_userinfo_endpoint(Some(UserInfoUrl::from_url(self.endpoint("/userinfo"))))
        .set_grant_types_supported(Some(vec![CoreGrantType::AuthorizationCode, CoreGrantType::RefreshToken]))
        .set_token_endpoint_auth_methods_supported(Some(vec![
            CoreClientAuthMethod::ClientSecretBasic,
            CoreClientAuthMethod::ClientSecretPost,
        ]))
        .set_scopes_supported(Some(
            ["openid", "profile", "email", "offline_access"].map(|scope| Scope::new(scope.to_owned())).to_vec(),
        ))
    }

    /// Returns the public key.
    pub(super) fn keys(&self) -> CoreJsonWebKeySet {
        CoreJsonWebKeySet::new(vec![self.key.as_verification_key()])
    }

    /// Returns the response of the token endpoint, with a signed ID token.
    pub(super) fn tokens(&self, issue: TokenParameters<'_>, now: Timestamp) -> anyhow::Result<TokenEndpointResponse> {
        let access = AccessToken::new(issue.access);
        let own = DemoClaims { groups: groups(issue.sign_in.user), sid: Some(issue.sign_in.sid.clone()) };
        let claims = IdTokenClaims::new(
            self.issuer_url(),
            vec![Audience::new(issue.client_id.to_owned())],
            now.plus(ID_TOKEN_LIFETIME).to_system().into(),
            now.to_system().into(),
            standard(issue.sign_in.user),
            own,
        )
        .set_auth_time(Some(issue.sign_in.since.to_system().into()))
        .set_authorized_party(Some(ClientId::new(issue.client_id.to_owned())))
        .set_nonce(issue.nonce.map(Nonce::new));
        let id = OurIdToken::new(claims, &self.key, CoreJwsSigningAlgorithm::EdDsa, Some(&access), None)
            .context("signing the ID token")?;
        let fields = OurIdTokenFields::new(Some(id), EmptyExtraTokenFields {});
        let mut response = TokenEndpointResponse::new(access, CoreTokenType::Bearer, fields);
        response.set_expires_in(Some(&issue.expires_in));
        response.set_refresh_token(issue.refresh.map(RefreshToken::new));
        Ok(response)
    }
}

/// Returns the response of the userinfo endpoint.
pub(super) fn user_info(user: User) -> UserInfoDocument {
    UserInfoDocument::new(standard(user), DemoClaims { groups: groups(user), sid: None })
}

fn groups(user: User) -> Vec<String> {
    user.groups().iter().map(ToString::to_string).collect()
}

fn standard(user: User) -> StandardClaims<CoreGenderClaim> {
    StandardClaims::new(SubjectIdentifier::new(user.subject().to_owned()))
        .set_preferred_username(Some(EndUserUsername::new(user.name().to_owned())))
        .set_name(Some(EndUserName::new(user.full_name().to_owned()).into()))
        .set_email(Some(EndUserEmail::new(user.email().to_owned())))
        .set_email_verified(Some(true))
}
