//! A provider that knows nothing but its metadata and a token endpoint: as fast as a provider can be, so that what is
//! measured is the gate. It counts what it was asked for, and vouches for nobody: an answer without an ID token leaves the
//! claims as they are.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::support::servers;

/// A running provider.
pub(crate) struct Provider {
    issuer: String,
    redeemed: Arc<AtomicU64>,
    _runtime: Runtime,
}

impl Provider {
    /// Starts it on a thread of its own.
    pub(crate) fn start() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let redeemed = Arc::new(AtomicU64::default());
        let counted = Arc::clone(&redeemed);
        let server = runtime.block_on(servers::small(move |request| answer(Arc::clone(&counted), request)));
        Self { issuer: format!("http://{}", server.address), redeemed, _runtime: runtime }
    }

    /// What it calls itself.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Refresh tokens redeemed so far.
    pub(crate) fn redeemed(&self) -> u64 {
        self.redeemed.load(Ordering::Relaxed)
    }
}

async fn answer(redeemed: Arc<AtomicU64>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let said = match parts.uri.path() {
        "/.well-known/openid-configuration" => {
            let host = parts.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
            metadata(&format!("http://{host}"))
        }
        "/keys" => keys(),
        "/token" => {
            let form = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
            let is_refresh = String::from_utf8_lossy(&form).contains("grant_type=refresh_token");
            assert!(is_refresh, "nothing else is asked for");
            tokens(redeemed.fetch_add(1, Ordering::Relaxed))
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

/// The example of RFC 7517: it verifies nothing here.
fn keys() -> Value {
    json!({ "keys": [{
        "kty": "EC",
        "crv": "P-256",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        "use": "sig",
        "kid": "1",
    }] })
}

/// As long as real ones are, and new every time.
fn tokens(number: u64) -> Value {
    json!({
        "access_token": format!("access-{number:0>900}"),
        "refresh_token": format!("refresh-{number:0>250}"),
        "token_type": "Bearer",
        "expires_in": 3_600,
    })
}
