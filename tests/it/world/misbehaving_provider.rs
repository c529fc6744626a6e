//! A provider that does what a test says: an HTTP server with any number of issuers, each with a script of its own.
//!
//! An issuer follows the protocol, signs everybody in as one person, and deviates only where its script says so. Each has
//! its own metadata, keys and counters, so that one server, one gate and one edge serve a table of cases.

use std::{
    collections::HashMap,
    convert::Infallible,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use openidconnect::{
    JsonWebKeyId, PrivateSigningKey as _,
    core::{CoreJwsSigningAlgorithm, CoreRsaPrivateSigningKey},
};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;

use super::{Registration, app::spawn, ports, provider::CLIENT_SECRET};

/// Access token of every grant.
pub(crate) const ACCESS_TOKEN: &str = "an-access-token";

/// A running server. It lives as long as the test's runtime.
#[derive(Clone)]
pub(crate) struct MisbehavingProvider {
    port: u16,
    issuers: Arc<Mutex<HashMap<String, Issuer>>>,
}

/// An issuer as it runs.
#[derive(Default)]
struct Issuer {
    script: Script,
    /// Requests so far, by endpoint.
    requests: HashMap<String, usize>,
    /// Nonces by authorization code.
    nonces: HashMap<String, Value>,
}

/// Deviations of one issuer from the protocol. Objects override single fields, and `null` removes one.
#[derive(Clone, Default)]
pub(crate) struct Script {
    /// Fields of the metadata document.
    pub(crate) metadata: Value,
    /// The whole key set.
    pub(crate) jwks: Option<Value>,
    /// Parameters of the redirect to the callback.
    pub(crate) callback: Value,
    /// Fields of the token response, at sign-in and at renewals.
    pub(crate) tokens: Value,
    /// Fields of the token response at renewals, on top.
    pub(crate) renewed_tokens: Value,
    /// Fields of the ID token's header.
    pub(crate) header: Value,
    /// Claims of the ID token, at sign-in and at renewals.
    pub(crate) claims: Value,
    /// Claims of the ID token at renewals, on top.
    pub(crate) renewed_claims: Value,
    /// Claims at the userinfo endpoint, which there is only where this is an object.
    pub(crate) userinfo: Value,
    /// Signature of the ID token.
    pub(crate) signature: Signature,
    /// A change to the text of the ID token's claims that no JSON value can express, such as a claim given twice.
    pub(crate) claims_text: Option<fn(String) -> String>,
    /// Answers in place of an endpoint's own, by its name: `openid-configuration`, `jwks`, `token`, `userinfo`.
    pub(crate) answers: HashMap<&'static str, RawAnswer>,
    /// Members of the answers about tokens, by token; all others are not active.
    pub(crate) introspected: HashMap<String, Value>,
    /// App passwords by user name.
    pub(crate) app_passwords: HashMap<String, String>,
    /// Time that each request takes.
    pub(crate) delay: Duration,
}

/// A whole answer.
#[derive(Clone)]
pub(crate) struct RawAnswer {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    /// The answer's text, made of what the endpoint would have answered.
    pub(crate) text: fn(String) -> String,
}

/// Signature of an ID token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Signature {
    /// RS256 by the published key.
    #[default]
    Genuine,
    /// RS256 by the published key, which the header does not name.
    WithoutKeyId,
    /// RS256 by a key that is published nowhere, under its own name.
    Unpublished,
    /// RS256 by that key, under the name of the published one.
    Forged,
    /// None: `alg` is `none`.
    Absent,
    /// HS256 with the client's secret.
    ClientSecret,
    /// HS256 with the text of the published key as the secret.
    PublicKeyAsSecret,
}

impl MisbehavingProvider {
    /// Starts the server.
    pub(crate) async fn start() -> Self {
        let provider = Self { port: ports::free(), issuers: Arc::default() };
        let listener = TcpListener::bind(ports::loopback(provider.port)).await.unwrap();
        let own = provider.clone();
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let own = own.clone();
                let service = service_fn(move |request| {
                    let own = own.clone();
                    async move { Ok::<_, Infallible>(own.handle(request).await) }
                });
                spawn(async move { drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await) });
            }
        });
        provider
    }

    /// Adds an issuer, and returns the gate's registration with it.
    pub(crate) fn issuer(&self, name: &str, script: Script) -> Registration {
        self.issuers().insert(name.to_owned(), Issuer { script, ..Issuer::default() });
        Registration { issuer: self.address(name), lines: String::new() }
    }

    /// Changes the script of an issuer.
    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut Script)) {
        change(&mut self.issuers().get_mut(name).expect("the issuer was added").script);
    }

    /// Returns the number of requests to an endpoint of an issuer, by the names of [`Script::answers`].
    pub(crate) fn requests(&self, name: &str, endpoint: &str) -> usize {
        self.issuers()[name].requests.get(endpoint).copied().unwrap_or_default()
    }

    /// Returns a token that an issuer has signed.
    pub(crate) fn signed(&self, name: &str, claims: &Value) -> String {
        self.issuers()[name].script.signed(claims)
    }

    /// Returns the identifier of an issuer.
    pub(crate) fn address(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}", self.port)
    }

    fn issuers(&self) -> MutexGuard<'_, HashMap<String, Issuer>> {
        self.issuers.lock().unwrap()
    }

    async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let path = head.uri.path().trim_start_matches('/');
        let (name, endpoint) = path.split_once('/').unwrap_or((path, ""));
        let endpoint = endpoint.rsplit('/').next().unwrap_or_default();
        let delay = self.issuers().get(name).map(|issuer| issuer.script.delay).unwrap_or_default();
        tokio::time::sleep(delay).await;
        let parameters = |text: &[u8]| url::form_urlencoded::parse(text).into_owned().collect::<HashMap<_, _>>();
        let mut issuers = self.issuers();
        let Some(issuer) = issuers.get_mut(name) else { return respond(404, "text/plain", String::new()) };
        *issuer.requests.entry(endpoint.to_owned()).or_default() += 1;
        if endpoint == "authorize" {
            return issuer.authorize(&parameters(head.uri.query().unwrap_or_default().as_bytes()));
        }
        let answer = match endpoint {
            "openid-configuration" => issuer.script.metadata(&self.address(name)),
            "jwks" => issuer.script.jwks.clone().unwrap_or_else(|| json!({ "keys": [public("one")] })),
            "token" if parameters(&body).get("grant_type").is_some_and(|grant| grant == "client_credentials") => {
                match issuer.redeemed(&self.address(name), &parameters(&body)) {
                    Some(tokens) => tokens,
                    None => return respond(400, "application/json", json!({ "error": "invalid_grant" }).to_string()),
                }
            }
            "introspect" => issuer.introspected(&parameters(&body)),
            "token" => issuer.tokens(&self.address(name), &parameters(&body)),
            "userinfo" if issuer.script.userinfo.is_object() => {
                overridden(json!({ "sub": "subject-1", "preferred_username": "ann" }), &issuer.script.userinfo)
            }
            _ => return respond(404, "text/plain", String::new()),
        };
        match issuer.script.answers.get(endpoint) {
            Some(raw) => respond(raw.status, raw.content_type, (raw.text)(answer.to_string())),
            None => respond(200, "application/json", answer.to_string()),
        }
    }
}

impl Issuer {
    /// Sends the browser back at once.
    fn authorize(&mut self, asked: &HashMap<String, String>) -> Response<Full<Bytes>> {
        let code = format!("code-{}", self.nonces.len());
        self.nonces.insert(code.clone(), json!(asked.get("nonce")));
        let parameters = overridden(json!({ "code": code, "state": asked.get("state") }), &self.script.callback);
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(parameters.as_object().unwrap().iter().map(|(name, value)| (name, value.as_str().unwrap())))
            .finish();
        let mut response = respond(302, "text/plain", String::new());
        let location = format!("{}?{query}", asked["redirect_uri"]);
        response.headers_mut().insert(header::LOCATION, location.parse().unwrap());
        response
    }

    /// Returns tokens for an app password.
    fn redeemed(&self, issuer: &str, asked: &HashMap<String, String>) -> Option<Value> {
        let (user, password) = (asked.get("username")?, asked.get("password")?);
        self.script.app_passwords.get(user).filter(|own| *own == password)?;
        let mut tokens = self.tokens(issuer, asked);
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let claims = json!({
            "iss": issuer, "sub": format!("subject-of-{user}"), "aud": "doorward", "exp": now + 300, "iat": now,
            "preferred_username": user, "email": format!("{user}@example.test"), "name": user, "groups": ["staff"],
        });
        tokens["id_token"] = self.script.signed(&claims).into();
        Some(tokens)
    }

    fn introspected(&self, asked: &HashMap<String, String>) -> Value {
        let members = asked.get("token").and_then(|token| self.script.introspected.get(token));
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        members.map_or_else(
            || json!({ "active": false }),
            |members| {
                let whole = json!({
                    "active": true, "client_id": "doorward", "sub": "subject-1", "username": "ann",
                    "exp": now + 300, "groups": ["staff"],
                });
                overridden(whole, members)
            },
        )
    }

    fn tokens(&self, issuer: &str, asked: &HashMap<String, String>) -> Value {
        let is_renewal = asked.get("grant_type").is_some_and(|grant| grant == "refresh_token");
        let nonce = asked.get("code").and_then(|code| self.nonces.get(code)).cloned().unwrap_or_default();
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let claims = json!({
            "iss": issuer,
            "sub": "subject-1",
            "aud": "doorward",
            "exp": now + 300,
            "iat": now,
            "nonce": nonce,
            "preferred_username": "ann",
            "email": "ann@example.test",
            "name": "Ann Example",
            "groups": ["staff"],
        });
        let mut claims = overridden(claims, &self.script.claims);
        let mut tokens = json!({
            "access_token": ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": 300,
            "refresh_token": "a-refresh-token",
        });
        if is_renewal {
            claims = overridden(claims, &self.script.renewed_claims);
        }
        tokens["id_token"] = self.script.signed(&claims).into();
        let tokens = overridden(tokens, &self.script.tokens);
        if is_renewal { overridden(tokens, &self.script.renewed_tokens) } else { tokens }
    }
}

impl Script {
    fn metadata(&self, issuer: &str) -> Value {
        let at = |path: &str| format!("{issuer}/{path}");
        let mut metadata = json!({
            "issuer": issuer,
            "authorization_endpoint": at("authorize"),
            "token_endpoint": at("token"),
            "jwks_uri": at("jwks"),
            "introspection_endpoint": at("introspect"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "code_challenge_methods_supported": ["S256"],
        });
        if self.userinfo.is_object() {
            metadata["userinfo_endpoint"] = at("userinfo").into();
        }
        overridden(metadata, &self.metadata)
    }

    fn signed(&self, claims: &Value) -> String {
        let (algorithm, kid) = match self.signature {
            Signature::Genuine | Signature::Forged => ("RS256", Some("one")),
            Signature::WithoutKeyId => ("RS256", None),
            Signature::Unpublished => ("RS256", Some("two")),
            Signature::Absent => ("none", None),
            Signature::ClientSecret => ("HS256", None),
            Signature::PublicKeyAsSecret => ("HS256", Some("one")),
        };
        let header = overridden(json!({ "typ": "JWT", "alg": algorithm, "kid": kid }), &self.header);
        let claims = self.claims_text.map_or_else(|| claims.to_string(), |change| change(claims.to_string()));
        let encoded = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let input = format!("{}.{}", encoded(&header.to_string()), encoded(&claims));
        let rsa =
            |name: &str| key(name).sign(&CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256, input.as_bytes()).unwrap();
        let signature = match self.signature {
            Signature::Genuine | Signature::WithoutKeyId => rsa("one"),
            Signature::Unpublished | Signature::Forged => rsa("two"),
            Signature::Absent => Vec::new(),
            Signature::ClientSecret => hmac(CLIENT_SECRET, &input),
            Signature::PublicKeyAsSecret => hmac(&public("one").to_string(), &input),
        };
        format!("{input}.{}", BASE64URL_NOPAD.encode(&signature))
    }
}

/// Returns one of the two keys, `one` or `two`, as a JWK without its private parts.
pub(crate) fn public(name: &str) -> Value {
    serde_json::to_value(key(name).as_verification_key()).unwrap()
}

fn key(name: &str) -> CoreRsaPrivateSigningKey {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/keys/rsa-{name}.pem"));
    let pem = std::fs::read_to_string(path).unwrap();
    CoreRsaPrivateSigningKey::from_pem(&pem, Some(JsonWebKeyId::new(name.to_owned()))).unwrap()
}

fn hmac(secret: &str, input: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(input.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn overridden(mut base: Value, overrides: &Value) -> Value {
    let fields: &mut Map<_, _> = base.as_object_mut().unwrap();
    for (name, value) in overrides.as_object().into_iter().flatten() {
        fields.insert(name.clone(), value.clone());
    }
    fields.retain(|_, value| !value.is_null());
    base
}

fn respond(status: u16, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    Response::builder().status(status).header(header::CONTENT_TYPE, content_type).body(Full::from(text)).unwrap()
}
