//! A fake identity provider: a real HTTP server on loopback with fault injection.
//!
//! Follows the protocol until its `Script` is changed.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use openidconnect::{
    JsonWebKeyId, PrivateSigningKey as _,
    core::{CoreEdDsaPrivateSigningKey, CoreJsonWebKey, CoreJwsSigningAlgorithm, CoreRsaPrivateSigningKey},
};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;

pub(super) const CLIENT: &str = "doorward";
pub(super) const NONCE: &str = "a-nonce";
pub(super) const CODE: &str = "a-code";
pub(super) const NOW: u64 = 1_800_000_000;

/// A signing key with its own `kid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TestKey {
    One,
    Two,
    Rsa,
}

/// Signer of the tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signer {
    /// The key, under its own `kid`.
    Genuine(TestKey),
    /// The key, under the `kid` of another.
    As(TestKey, TestKey),
    /// The key, without a `kid`.
    WithoutKid(TestKey),
    /// No key: `alg` is `none`.
    Unsigned,
    /// HS256 with the text of the published RSA key.
    HmacWithPublicKey,
    /// HS256 with this client secret.
    HmacWithSecret(&'static str),
}

/// Fault of an endpoint.
#[derive(Clone, Debug)]
pub(super) enum InjectedFault {
    Status(u16),
    Body(u16, String),
    Redirect(String),
    Stall,
    HugeBody,
}

/// Behaviour of the provider; `null` among overrides removes.
pub(super) struct Script {
    pub(super) metadata: Value,
    pub(super) claims: Value,
    pub(super) header: Value,
    /// Members of the claims as they are written, behind the others.
    pub(super) raw_claims: &'static str,
    /// Bytes before the claims.
    pub(super) before_claims: &'static str,
    pub(super) tokens: Value,
    /// Overrides of the response to a refresh token.
    pub(super) renewal: Value,
    /// Overrides of the claims of the ID token in that response.
    pub(super) renewed: Value,
    pub(super) userinfo: Option<Value>,
    pub(super) signer: Signer,
    pub(super) published: Vec<TestKey>,
    /// Entity tag of the metadata.
    pub(super) entity_tag: Option<String>,
    /// Methods of client authentication that the token endpoint accepts: `Basic`, `Post`.
    pub(super) accepts: Vec<&'static str>,
    /// Status and `Content-Type` of a successful token response.
    pub(super) success: (u16, &'static str),
    pub(super) faults: HashMap<&'static str, InjectedFault>,
    /// Requests so far, by endpoint.
    pub(super) requests: HashMap<String, usize>,
    /// `Authorization` and form of the last request to the token or revocation endpoint.
    pub(super) last_exchange: (Option<String>, HashMap<String, String>),
    /// Headers of the last request.
    pub(super) last_headers: http::HeaderMap,
    pub(super) issuer: String,
}

/// The running server. Ends with the test's runtime.
#[derive(Clone)]
pub(super) struct FakeProvider {
    script: Arc<Mutex<Script>>,
    pub(super) address: SocketAddr,
}

impl FakeProvider {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::serve(listener)
    }

    /// A provider at a given address.
    pub(super) fn serve(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let provider = Self { script: Arc::new(Mutex::new(Script::new(address))), address };
        let own = provider.clone();
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let own = own.clone();
                let service = service_fn(move |request| {
                    let own = own.clone();
                    async move { Ok::<_, Infallible>(own.handle(request).await) }
                });
                spawn(async move {
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        provider
    }

    pub(super) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// Changes claims of the ID token; `null` removes one.
    pub(super) fn claims(&self, overrides: Value) {
        self.script().claims = overrides;
    }

    pub(super) fn inject(&self, endpoint: &'static str, fault: InjectedFault) {
        self.script().faults.insert(endpoint, fault);
    }

    pub(super) fn clear_faults(&self) {
        self.script().faults.clear();
    }

    pub(super) fn requests(&self, endpoint: &str) -> usize {
        self.script().requests.get(endpoint).copied().unwrap_or_default()
    }

    pub(super) fn issuer(&self) -> String {
        self.script().issuer.clone()
    }

    async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let endpoint = path.rsplit('/').next().unwrap_or_default().to_owned();
        let authorization = request.headers().get(header::AUTHORIZATION).map(|v| v.to_str().unwrap().to_owned());
        let known = request.headers().get(header::IF_NONE_MATCH).map(|v| v.to_str().unwrap().to_owned());
        self.script().last_headers = request.headers().clone();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let fault = {
            let mut script = self.script();
            *script.requests.entry(endpoint.clone()).or_default() += 1;
            script.faults.get(endpoint.as_str()).cloned()
        };
        match fault {
            Some(InjectedFault::Stall) => std::future::pending().await,
            Some(InjectedFault::Status(status)) => respond(status, "text/html", "<h1>no</h1>".into()),
            Some(InjectedFault::Body(status, body)) => respond(status, "application/json", body),
            Some(InjectedFault::HugeBody) => respond(200, "application/json", " ".repeat(2 * 1024 * 1024)),
            Some(InjectedFault::Redirect(to)) => {
                let mut response = respond(302, "text/html", String::new());
                response.headers_mut().insert(header::LOCATION, to.parse().unwrap());
                response
            }
            None if endpoint == "openid-configuration" => self.script().tagged_metadata(known.as_deref()),
            None => self.script().respond(&endpoint, authorization, &body),
        }
    }
}

impl Script {
    fn new(address: SocketAddr) -> Self {
        Self {
            metadata: json!({}),
            claims: json!({}),
            header: json!({}),
            raw_claims: "",
            before_claims: "",
            tokens: json!({}),
            renewal: json!({}),
            renewed: json!({ "nonce": null }),
            userinfo: None,
            signer: Signer::Genuine(TestKey::One),
            published: vec![TestKey::One, TestKey::Rsa],
            entity_tag: None,
            accepts: vec!["Basic", "Post"],
            success: (200, "application/json"),
            faults: HashMap::new(),
            requests: HashMap::new(),
            last_exchange: (None, HashMap::new()),
            last_headers: http::HeaderMap::new(),
            issuer: format!("http://{address}/o/doorward/"),
        }
    }

    fn respond(&mut self, endpoint: &str, authorization: Option<String>, body: &[u8]) -> Response<Full<Bytes>> {
        let answer = match endpoint {
            "jwks" => json!({ "keys": self.published.iter().map(|key| key.public()).collect::<Vec<_>>() }),
            "token" => {
                let form: HashMap<_, _> = url::form_urlencoded::parse(body).into_owned().collect();
                let is_renewal = form["grant_type"] == "refresh_token";
                let method = if authorization.is_some() { "Basic" } else { "Post" };
                self.last_exchange = (authorization, form);
                if !self.accepts.contains(&method) {
                    return respond(401, "application/json", json!({ "error": "invalid_client" }).to_string());
                }
                let tokens = if is_renewal { self.refresh_response() } else { self.token_response() };
                return respond(self.success.0, self.success.1, tokens.to_string());
            }
            "revoke" => {
                self.last_exchange = (authorization, url::form_urlencoded::parse(body).into_owned().collect());
                return respond(200, "text/plain", String::new());
            }
            "userinfo" => match (&self.userinfo, authorization.as_deref()) {
                (Some(claims), Some("Bearer an-access-token")) => claims.clone(),
                _ => return respond(401, "application/json", "{}".into()),
            },
            _ => return respond(404, "text/html", String::new()),
        };
        respond(200, "application/json", answer.to_string())
    }

    fn tagged_metadata(&mut self, known: Option<&str>) -> Response<Full<Bytes>> {
        if known.is_some() && known == self.entity_tag.as_deref() {
            *self.requests.entry("304".into()).or_default() += 1;
            return respond(304, "application/json", String::new());
        }
        let mut response = respond(200, "application/json", self.metadata_document().to_string());
        if let Some(tag) = &self.entity_tag {
            response.headers_mut().insert(header::ETAG, tag.parse().unwrap());
        }
        response
    }

    fn metadata_document(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.issuer);
        let mut metadata = json!({
            "issuer": self.issuer,
            "authorization_endpoint": at("authorize"),
            "token_endpoint": at("token"),
            "jwks_uri": at("jwks"),
            "end_session_endpoint": at("end-session"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["EdDSA", "RS256", "HS256", "none"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "code_challenge_methods_supported": ["S256"],
        });
        if self.userinfo.is_some() {
            metadata["userinfo_endpoint"] = at("userinfo").into();
        }
        overridden(metadata, &self.metadata)
    }

    fn token_response(&self) -> Value {
        let tokens = json!({
            "access_token": "an-access-token",
            "token_type": "Bearer",
            "expires_in": 300,
            "refresh_token": "a-refresh-token",
            "id_token": self.id_token(),
        });
        overridden(tokens, &self.tokens)
    }

    /// Returns the response to a refresh token, which it rotates.
    fn refresh_response(&self) -> Value {
        let id_token = self.signed(&json!({ "typ": "JWT" }), &overridden(self.id_token_claims(), &self.renewed));
        let tokens = json!({
            "access_token": "an-access-token",
            "token_type": "Bearer",
            "expires_in": 300,
            "refresh_token": "a-refresh-token-in-its-place",
            "id_token": id_token,
        });
        overridden(tokens, &self.renewal)
    }

    pub(super) fn id_token(&self) -> String {
        self.signed(&json!({ "typ": "JWT" }), &self.id_token_claims())
    }

    /// Returns a logout token; `null` removes a claim or a part of the header.
    pub(super) fn logout_token(&self, header: &Value, claims: &Value) -> String {
        let whole = json!({
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": NOW,
            "exp": NOW + 120,
            "jti": "logout-1",
            "sub": "subject-1",
            "sid": "sid-1",
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        });
        self.signed(&overridden(json!({ "typ": "logout+jwt" }), header), &overridden(whole, claims))
    }

    fn id_token_claims(&self) -> Value {
        let claims = json!({
            "iss": self.issuer,
            "sub": "subject-1",
            "aud": CLIENT,
            "exp": NOW + 300,
            "iat": NOW,
            "nonce": NONCE,
            "sid": "sid-1",
            "preferred_username": "ann",
            "email": "ann@example.com",
            "name": "Ann Example",
            "groups": ["admins", "users", "admins"],
        });
        overridden(claims, &self.claims)
    }

    pub(super) fn signed(&self, header: &Value, claims: &Value) -> String {
        let (key, kid, algorithm) = match self.signer {
            Signer::Genuine(key) => (Some(key), Some(key), key.algorithm()),
            Signer::As(key, other) => (Some(key), Some(other), key.algorithm()),
            Signer::WithoutKid(key) => (Some(key), None, key.algorithm()),
            Signer::Unsigned => (None, None, "none"),
            Signer::HmacWithPublicKey => (None, Some(TestKey::Rsa), "HS256"),
            Signer::HmacWithSecret(_) => (None, None, "HS256"),
        };
        let header = overridden(json!({ "alg": algorithm, "kid": kid.map(TestKey::id) }), header);
        let claims = claims.to_string();
        let members = claims.strip_suffix('}').unwrap();
        let claims = format!("{}{members}{}}}", self.before_claims, self.raw_claims);
        let header = overridden(header, &self.header).to_string();
        let input = format!("{}.{}", encoded(&header), encoded(&claims));
        let signature = match (self.signer, key) {
            (_, Some(key)) => key.sign(input.as_bytes()),
            (Signer::HmacWithPublicKey, None) => hmac(&TestKey::Rsa.public().to_string(), &input),
            (Signer::HmacWithSecret(secret), None) => hmac(secret, &input),
            (_, None) => Vec::new(),
        };
        format!("{input}.{}", BASE64URL_NOPAD.encode(&signature))
    }
}

fn hmac(key: &str, input: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(input.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

impl TestKey {
    fn id(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Two => "two",
            Self::Rsa => "rsa",
        }
    }

    fn algorithm(self) -> &'static str {
        if self == Self::Rsa { "RS256" } else { "EdDSA" }
    }

    pub(super) fn public(self) -> Value {
        let key: CoreJsonWebKey = match self {
            Self::Rsa => self.rsa().as_verification_key(),
            _ => self.ed25519().as_verification_key(),
        };
        serde_json::to_value(key).unwrap()
    }

    fn sign(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Rsa => self.rsa().sign(&CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256, message).unwrap(),
            _ => self.ed25519().sign(&CoreJwsSigningAlgorithm::EdDsa, message).unwrap(),
        }
    }

    fn rsa(self) -> CoreRsaPrivateSigningKey {
        let id = JsonWebKeyId::new(self.id().to_owned());
        CoreRsaPrivateSigningKey::from_pem(include_str!("fixtures/rsa.pem"), Some(id)).unwrap()
    }

    fn ed25519(self) -> CoreEdDsaPrivateSigningKey {
        let pem = match self {
            Self::Two => include_str!("fixtures/ed25519-two.pem"),
            _ => include_str!("fixtures/ed25519-one.pem"),
        };
        CoreEdDsaPrivateSigningKey::from_ed25519_pem(pem, Some(JsonWebKeyId::new(self.id().to_owned()))).unwrap()
    }
}

fn encoded(json: &str) -> String {
    BASE64URL_NOPAD.encode(json.as_bytes())
}

fn overridden(mut base: Value, overrides: &Value) -> Value {
    let fields: &mut Map<_, _> = base.as_object_mut().unwrap();
    for (name, value) in overrides.as_object().unwrap() {
        fields.insert(name.clone(), value.clone());
    }
    fields.retain(|_, value| !value.is_null());
    base
}

fn respond(status: u16, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert(header::CONTENT_TYPE, content_type.parse().unwrap());
    response
}

/// Spawns a server or client of a test, which ends with its runtime.
#[expect(clippy::disallowed_methods, reason = "a test has no `Tasks`; its runtime ends what it spawned")]
pub(super) fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(work);
}
