//! An issuer of access tokens in this process: its metadata, its keys, and tokens of a kilobyte.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use data_encoding::BASE64URL_NOPAD;
use doorward::clock::Clock;
use openidconnect::{
    JsonWebKeyId, PrivateSigningKey as _,
    core::{CoreEdDsaPrivateSigningKey, CoreJwsSigningAlgorithm},
};
use serde_json::json;

use super::gate::FIRST_PERSON;

/// Host of the app for API clients.
pub(crate) const API_HOST: &str = "api.example.com";

/// An issuer. It serves until the process ends.
pub(crate) struct TokenIssuer {
    address: String,
    key: CoreEdDsaPrivateSigningKey,
}

impl TokenIssuer {
    /// Starts an issuer on a free port.
    pub(crate) fn start() -> Self {
        let pem = include_str!("../../src/oidc/tests/fixtures/ed25519-one.pem");
        let id = JsonWebKeyId::new("one".to_owned());
        let key = CoreEdDsaPrivateSigningKey::from_ed25519_pem(pem, Some(id)).expect("the fixture is a key");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("it listens"));
        let metadata = json!({
            "issuer": address, "authorization_endpoint": format!("{address}/authorize"),
            "token_endpoint": format!("{address}/token"), "jwks_uri": format!("{address}/jwks"),
            "id_token_signing_alg_values_supported": ["EdDSA"],
        });
        let keys = json!({ "keys": [key.as_verification_key()] });
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut request = [0; 4096];
                let read = stream.read(&mut request).unwrap_or_default();
                let asks_for_keys = request.get(..read).is_some_and(|request| request.starts_with(b"GET /jwks"));
                let body = if asks_for_keys { keys.to_string() } else { metadata.to_string() };
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                // A client that has gone away asks again.
                let _gone = stream.write_all(format!("{head}{body}").as_bytes());
            }
        });
        Self { address, key }
    }

    /// Returns the tables of a gate that lets clients with its tokens in, to an app like the one for sessions.
    pub(crate) fn tables(&self) -> String {
        format!(
            r#"
[bearer]
issuers = [{{ issuer = "{}", audience = "api" }}]

[limits.credentials]
per_minute = 1000000
burst = 1000000

[[apps]]
name = "api"
hosts = ["{API_HOST}"]
headers = ["remote", {{ "X-Team" = "{{claims.team}}", "X-Office" = "{{claims.office}}", "X-Locale" = "{{claims.locale}}", "X-Tier" = "staff" }}]

[[apps.rules]]
path = {{ prefix = "/public/" }}
access = "public"

[[apps.rules]]
access = "bearer"
"#,
            self.address
        )
    }

    /// Returns the token of a person, of a kilobyte.
    pub(crate) fn token(&self, person: usize) -> String {
        let number = FIRST_PERSON + person;
        let claims = json!({
            "iss": self.address, "sub": format!("4f1c8a1e-5b7d-4c3e-8a9f-{number:012}"), "aud": "api",
            "exp": Clock::System.now().unix() + 86_400, "preferred_username": format!("person{number}"),
            "email": format!("person{number}@example.com"), "email_verified": true, "name": format!("Person {number}"),
            "groups": ["staff", "engineering", "on-call", "grafana-editors", "vpn"], "scope": "x".repeat(260),
            "team": "observability", "office": "Ljubljana", "locale": "sl-SI",
        });
        let encoded = |part: String| BASE64URL_NOPAD.encode(part.as_bytes());
        let header = json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": "one" });
        let input = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        let signature = self.key.sign(&CoreJwsSigningAlgorithm::EdDsa, input.as_bytes()).expect("the key signs");
        format!("{input}.{}", BASE64URL_NOPAD.encode(&signature))
    }
}
