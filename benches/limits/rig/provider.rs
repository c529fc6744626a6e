//! A provider with only metadata, a key and a token endpoint: as fast as possible, so that the gate is measured. It has no
//! sign-in page: a code is the nonce of an attempt, and its redemption gives an ID token of a new user. Redeemed refresh tokens
//! are counted and give no ID token, which leaves the claims unchanged.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::body::Incoming;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, SigningKey as _};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use url::form_urlencoded;

use crate::support::servers;

/// A running provider.
pub(crate) struct Provider {
    issuer: String,
    redeemed: Arc<AtomicU64>,
    _runtime: Runtime,
}

/// State of its responses.
struct Desk {
    key: KeyPair,
    redeemed: Arc<AtomicU64>,
}

impl Provider {
    /// Starts it on a thread of its own.
    pub(crate) fn start() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let redeemed = Arc::new(AtomicU64::default());
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("the system has random numbers");
        let desk = Arc::new(Desk { key, redeemed: Arc::clone(&redeemed) });
        let server = runtime.block_on(servers::minimal(move |request| answer(Arc::clone(&desk), request)));
        Self { issuer: format!("http://{}", server.address), redeemed, _runtime: runtime }
    }

    /// Issuer identifier.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the number of redeemed refresh tokens.
    pub(crate) fn redeemed(&self) -> u64 {
        self.redeemed.load(Ordering::Relaxed)
    }
}

async fn answer(desk: Arc<Desk>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let host = parts.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let issuer = format!("http://{host}");
    let said = match parts.uri.path() {
        "/.well-known/openid-configuration" => metadata(&issuer),
        "/keys" => desk.keys(),
        "/token" => {
            let form = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
            desk.redeem(&issuer, &form)
        }
        _ => Value::Null,
    };
    let mut response = Response::new(Full::from(said.to_string()));
    if said.is_null() {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

impl Desk {
    fn redeem(&self, issuer: &str, form: &[u8]) -> Value {
        let field = |name| form_urlencoded::parse(form).find_map(|(key, value)| (key == name).then_some(value));
        match field("grant_type").as_deref() {
            Some("refresh_token") => tokens(self.redeemed.fetch_add(1, Ordering::Relaxed)),
            Some("authorization_code") => {
                let nonce = field("code").map(Cow::into_owned).expect("a code");
                json!({ "access_token": "a".repeat(900), "token_type": "Bearer", "id_token": self.vouch(issuer, &nonce) })
            }
            other => panic!("nothing else is asked for: {other:?}"),
        }
    }

    /// Returns an ID token of a new user.
    #[expect(clippy::disallowed_methods, reason = "a provider has a clock of its own")]
    fn vouch(&self, issuer: &str, nonce: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
        let claims = json!({
            "iss": issuer, "aud": "bench", "sub": nonce, "nonce": nonce, "iat": now, "exp": now + 300,
            "preferred_username": "newcomer", "email": "newcomer@example.com", "name": "New Comer",
            "groups": ["staff", "engineering", "on-call", "grafana-editors", "vpn"],
        });
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let text = format!("{}.{}", part(&json!({ "alg": "ES256", "kid": "1" })), part(&claims));
        let signature = self.key.sign(text.as_bytes()).expect("the key signs");
        format!("{text}.{}", BASE64URL_NOPAD.encode(&fixed(&signature)))
    }

    fn keys(&self) -> Value {
        let point = self.key.public_key_raw();
        let part =
            |from: usize| BASE64URL_NOPAD.encode(point.get(from..from + HALF).expect("a point that is not compressed"));
        json!({ "keys": [
            { "kty": "EC", "crv": "P-256", "x": part(1), "y": part(1 + HALF), "use": "sig", "alg": "ES256", "kid": "1" },
        ] })
    }
}

/// Bytes of a coordinate of the curve.
const HALF: usize = 32;

/// Converts a signature from DER to the form of RFC 7518, section 3.4: two numbers of fixed length.
fn fixed(der: &[u8]) -> Vec<u8> {
    let mut rest = der.get(2..).expect("a sequence");
    let mut signature = Vec::new();
    for _ in 0..2 {
        let [_, length, after @ ..] = rest else { panic!("two numbers") };
        let (number, others) = after.split_at(usize::from(*length));
        // Without the leading zero of DER that marks a positive number, and padded with those that DER omits.
        let digits = number.strip_prefix(&[0]).unwrap_or(number);
        signature.resize(signature.len() + HALF - digits.len(), 0);
        signature.extend(digits);
        rest = others;
    }
    signature
}

fn metadata(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
    })
}

/// Returns tokens of realistic length, different every time.
fn tokens(number: u64) -> Value {
    json!({
        "access_token": format!("access-{number:0>900}"),
        "refresh_token": format!("refresh-{number:0>250}"),
        "token_type": "Bearer",
        "expires_in": 3_600,
    })
}
