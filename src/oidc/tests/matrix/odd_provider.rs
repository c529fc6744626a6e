//! A provider that sends every field of every document right, but one: an HTTP server whose documents are made of the table.
//!
//! Each person has a deviation of their own, so that any number of sign-ins and renewals may run at once. Deviations of the
//! metadata and of the keys belong to an issuer.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
};

use data_encoding::BASE64URL_NOPAD;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use openidconnect::{
    AccessToken, AccessTokenHash, AuthorizationCode, AuthorizationCodeHash, JsonWebKeyId, PrivateSigningKey as _,
    core::{CoreEdDsaPrivateSigningKey, CoreJsonWebKey, CoreJwsSigningAlgorithm},
};
use tokio::net::TcpListener;

use super::{
    deviations::{Deviation, Edit},
    fields::{AnswerDocument, Moment},
    variants::{Variant, WholeVariant},
};

pub(crate) const CLIENT_ID: &str = "doorward";
pub(crate) const SUBJECT: &str = "subject-1";
/// The group of everybody at the sign-in.
pub(crate) const FIRST_GROUP: &str = "admins";
/// The group of everybody at a renewal.
pub(crate) const RENEWED_GROUP: &str = "renewed";

/// Somebody who signs in with a code of their own.
#[derive(Clone, Debug)]
struct Person {
    nonce: String,
    deviation: Option<Deviation>,
    renewals: usize,
}

/// The running server. It ends with the test's runtime.
#[derive(Clone)]
pub(crate) struct OddProvider {
    origin: String,
    /// Seconds since 1970; `None` for the time of the machine.
    now: Option<u64>,
    people: Arc<Mutex<HashMap<String, Person>>>,
    issuers: Arc<Mutex<HashMap<String, Deviation>>>,
    keys: Arc<[CoreEdDsaPrivateSigningKey; 2]>,
}

/// A request that is answered: about whom, by which issuer, with which tokens.
struct Exchange<'a> {
    provider: &'a OddProvider,
    issuer: &'a str,
    code: &'a str,
    moment: Moment,
    nonce: &'a str,
    deviation: Option<Deviation>,
}

impl OddProvider {
    /// Starts the server.
    pub(crate) async fn start(now: Option<u64>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let key =
            |pem| CoreEdDsaPrivateSigningKey::from_ed25519_pem(pem, Some(JsonWebKeyId::new("one".to_owned()))).unwrap();
        let keys = [key(include_str!("../fixtures/ed25519-one.pem")), key(include_str!("../fixtures/ed25519-two.pem"))];
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let provider = Self { origin, now, people: Arc::default(), issuers: Arc::default(), keys: Arc::new(keys) };
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

    /// Returns the address of an issuer. One whose name begins with `userinfo` has such an endpoint.
    pub(crate) fn issuer(&self, name: &str) -> String {
        format!("{}/{name}", self.origin)
    }

    /// Sets what is not right about an issuer.
    pub(crate) fn set_issuer(&self, name: &str, deviation: Option<Deviation>) {
        let mut issuers = locked(&self.issuers);
        match deviation {
            Some(deviation) => drop(issuers.insert(name.to_owned(), deviation)),
            None => drop(issuers.remove(name)),
        }
    }

    /// Lets somebody sign in with `code`, who was sent here with `nonce`.
    pub(crate) fn expect(&self, code: &str, nonce: &str, deviation: Option<Deviation>) {
        locked(&self.people).insert(code.to_owned(), Person { nonce: nonce.to_owned(), deviation, renewals: 0 });
    }

    /// Returns how often the tokens of somebody were refreshed.
    pub(crate) fn renewals(&self, code: &str) -> usize {
        locked(&self.people).get(code).map_or(0, |person| person.renewals)
    }

    async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let path = head.uri.path().trim_start_matches('/');
        let (name, endpoint) = path.split_once('/').unwrap_or((path, ""));
        let endpoint = endpoint.rsplit('/').next().unwrap_or_default();
        let form: HashMap<_, _> = url::form_urlencoded::parse(&body).into_owned().collect();
        let bearer = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (code, moment) = match (endpoint, form.get("code"), form.get("refresh_token")) {
            ("token", Some(code), _) => (code.clone(), Moment::SignIn),
            ("token", None, Some(refresh)) => (code_of(refresh), Moment::Renewal),
            _ if bearer.ends_with(".renewed") => (code_of(bearer), Moment::Renewal),
            _ => (code_of(bearer), Moment::SignIn),
        };
        let person = locked(&self.people).get_mut(&code).map(|person| {
            person.renewals += usize::from(endpoint == "token" && moment == Moment::Renewal);
            person.clone()
        });
        let of_issuer = locked(&self.issuers).get(name).copied();
        let is_about_a_person = ["token", "userinfo"].contains(&endpoint);
        let (nonce, deviation) = match person {
            Some(Person { nonce, deviation, .. }) if is_about_a_person => (nonce, deviation),
            None if is_about_a_person => return respond(400, Some("application/json"), r#"{"error":"invalid_grant"}"#),
            _ => (String::new(), of_issuer),
        };
        let exchange = Exchange { provider: self, issuer: name, code: &code, moment, nonce: &nonce, deviation };
        match endpoint {
            "openid-configuration" => exchange.answer(AnswerDocument::Metadata),
            "jwks" => exchange.answer(AnswerDocument::KeySet),
            "token" => exchange.answer(AnswerDocument::TokenResponse),
            "userinfo" if name.starts_with("userinfo-with-groups") => {
                exchange.answer(AnswerDocument::UserinfoWithGroups)
            }
            "userinfo" => exchange.answer(AnswerDocument::Userinfo),
            _ => respond(404, Some("text/html"), "<h1>no</h1>"),
        }
    }

    fn now(&self) -> u64 {
        self.now.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap().as_secs())
    }

    fn public_key(&self) -> CoreJsonWebKey {
        self.keys[0].as_verification_key()
    }
}

impl Exchange<'_> {
    /// Answers with a document, as a whole or with the deviation in it.
    fn answer(&self, document: AnswerDocument) -> Response<Full<Bytes>> {
        const JSON: Option<&str> = Some("application/json");
        let text = self.text(document);
        let whole = match self.deviation {
            Some(Deviation { document: other, edit: Edit::Whole(whole), .. }) if self.is_odd(document, other) => whole,
            _ => WholeVariant::Genuine,
        };
        match whole {
            WholeVariant::Genuine => respond(200, JSON, text),
            WholeVariant::PlainText => respond(200, Some("text/plain"), text),
            WholeVariant::NoContentType => respond(200, None, text),
            WholeVariant::Created => respond(201, JSON, text),
            WholeVariant::ByteOrderMark => respond(200, JSON, format!("\u{feff}{text}")),
            WholeVariant::InList => respond(200, JSON, format!("[{text}]")),
            WholeVariant::CutOff => respond(200, JSON, text.trim_end_matches('}').to_owned()),
            WholeVariant::NoBody => respond(200, JSON, ""),
            WholeVariant::Html => respond(200, Some("text/html"), "<!doctype html><title>Soon</title><h1>Soon</h1>"),
            WholeVariant::Status(204) => respond(204, None, ""),
            WholeVariant::Status(status) => respond(status, Some("text/html"), "<h1>no</h1>"),
            WholeVariant::Signed => respond(200, Some("application/jwt"), self.signed(0, HEADER, &text)),
            WholeVariant::SignedByAnother => respond(200, Some("application/jwt"), self.signed(1, HEADER, &text)),
        }
    }

    /// Returns `true` where the deviation of `other` shows now in `document`.
    fn is_odd(&self, document: AnswerDocument, other: AnswerDocument) -> bool {
        let is_now = self.deviation.is_some_and(|deviation| deviation.moment == self.moment);
        document == other && (is_now || AnswerDocument::OF_THE_PROVIDER.contains(&document))
    }

    /// Makes the text of a document from the table.
    fn text(&self, document: AnswerDocument) -> String {
        let mut members = Vec::new();
        for field in document.fields().filter(|field| !self.is_left_out(document, field.name)) {
            let variant = match self.deviation {
                Some(Deviation { document: other, edit: Edit::Member(odd, variant), .. })
                    if self.is_odd(document, other) && odd.name == field.name =>
                {
                    variant
                }
                _ if field.right.is_empty() => Variant::Absent,
                _ => Variant::Right,
            };
            members.extend(variant.members(field.name, &self.filled_in(field.right)));
        }
        format!("{{{}}}", members.join(","))
    }

    /// Returns `true` for a field that has to be absent for another one to be asked for, or to be odd without a contradiction.
    fn is_left_out(&self, document: AnswerDocument, field: &str) -> bool {
        match (document, field) {
            (AnswerDocument::Metadata, "userinfo_endpoint") => {
                let is_asked_about = self.deviation.is_some_and(|deviation| deviation.document == document);
                !self.issuer.starts_with("userinfo") && !is_asked_about
            }
            (AnswerDocument::IdToken, "name") => self.issuer.starts_with("userinfo"),
            (AnswerDocument::IdToken, "groups") => self.issuer.starts_with("userinfo-with-groups"),
            // It would speak of the right access token.
            (AnswerDocument::IdToken, "at_hash") => {
                self.deviation.is_some_and(|deviation| deviation.document == AnswerDocument::TokenResponse)
            }
            _ => false,
        }
    }

    /// Fills in the placeholders of a right value.
    fn filled_in(&self, right: &str) -> String {
        let Some((_, rest)) = right.split_once('{') else { return right.to_owned() };
        let Some((placeholder, _)) = rest.split_once('}') else { return right.to_owned() };
        let now = self.provider.now();
        let suffix = if self.moment == Moment::SignIn { "first" } else { "renewed" };
        let access_token = format!("at.{}.{suffix}", self.code);
        let (algorithm, key) = (CoreJwsSigningAlgorithm::EdDsa, self.provider.public_key());
        let value = match placeholder {
            "issuer" => self.provider.issuer(self.issuer),
            "subject" => SUBJECT.to_owned(),
            "client" => CLIENT_ID.to_owned(),
            "nonce" => self.nonce.to_owned(),
            "now" => now.to_string(),
            // Another one at each renewal, whatever the clock says.
            "end" => (now + if self.moment == Moment::SignIn { 300 } else { 301 }).to_string(),
            // A test in real time waits for half of it.
            "lifetime" => if self.provider.now.is_some() { "300" } else { "2" }.to_owned(),
            "group" if self.moment == Moment::SignIn => FIRST_GROUP.to_owned(),
            "group" => RENEWED_GROUP.to_owned(),
            "at_hash" => {
                let hash = AccessTokenHash::from_token(&AccessToken::new(access_token), &algorithm, &key);
                hash.unwrap().as_str().to_owned()
            }
            "c_hash" => {
                let code = AuthorizationCode::new(self.code.to_owned());
                AuthorizationCodeHash::from_code(&code, &algorithm, &key).unwrap().as_str().to_owned()
            }
            "access_token" => access_token,
            "refresh_token" => format!("rt.{}.{suffix}", self.code),
            "id_token" => self.signed(0, &self.text(AnswerDocument::Header), &self.text(AnswerDocument::IdToken)),
            "key" => self.text(AnswerDocument::Key),
            "x" => serde_json::to_value(key).unwrap()["x"].as_str().unwrap().to_owned(),
            _ => return right.to_owned(),
        };
        right.replace(&format!("{{{placeholder}}}"), &value)
    }

    fn signed(&self, key: usize, header: &str, claims: &str) -> String {
        let encoded = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let mark = |document| match self.deviation {
            Some(Deviation { document: other, edit: Edit::Whole(WholeVariant::ByteOrderMark), .. })
                if self.is_odd(document, other) =>
            {
                "\u{feff}"
            }
            _ => "",
        };
        let (header, claims) =
            (format!("{}{header}", mark(AnswerDocument::Header)), format!("{}{claims}", mark(AnswerDocument::IdToken)));
        let input = format!("{}.{}", encoded(&header), encoded(&claims));
        let signature = self.provider.keys[key].sign(&CoreJwsSigningAlgorithm::EdDsa, input.as_bytes()).unwrap();
        format!("{input}.{}", BASE64URL_NOPAD.encode(&signature))
    }
}

/// Header of a signed userinfo response.
const HEADER: &str = r#"{"alg":"EdDSA","kid":"one"}"#;

/// Returns the code that a token was made for.
fn code_of(token: &str) -> String {
    token.split('.').nth(1).unwrap_or_default().to_owned()
}

fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap()
}

fn respond(status: u16, content_type: Option<&'static str>, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(status);
    if let Some(content_type) = content_type {
        response = response.header(header::CONTENT_TYPE, content_type);
    }
    response.body(Full::from(body.into())).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test has no `Tasks`; its runtime ends what it spawned")]
fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(work);
}
