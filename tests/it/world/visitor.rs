//! An HTTP client that behaves like a browser: it keeps cookies, follows redirects and sends a browser's headers.
//!
//! Every host is on loopback. Targets are sent as written, without normalisation.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use cookie_store::CookieStore;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use url::Url;

use super::{app, app::Echo, ports, tls};

/// Limit of redirects, as in browsers.
const MAX_REDIRECTS: usize = 20;

/// A person with one browser. Clones are further tabs of the same browser.
#[derive(Clone)]
pub(crate) struct Visitor {
    jar: Arc<Mutex<CookieStore>>,
    tls: TlsConnector,
    /// Additional headers of every request.
    extra: HeaderMap,
    cookies: CookiePolicy,
}

/// Cookies that the browser keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CookiePolicy {
    All,
    ProviderOnly,
}

/// A response.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// URL of the last request.
    pub(crate) url: String,
    /// Status.
    pub(crate) status: StatusCode,
    /// All headers.
    pub(crate) headers: HeaderMap,
    body: Bytes,
    /// URLs of all requests up to this one.
    pub(crate) trail: Vec<String>,
}

/// Kind of request, as in a browser's `Sec-Fetch-Mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestMode {
    /// Navigation to a page.
    Page,
    /// Fetch of a script.
    Fetch,
}

impl Visitor {
    /// A browser without cookies that trusts the test's authority.
    pub(crate) fn new(dir: &Path) -> Self {
        Self { jar: Arc::default(), tls: tls::client(dir), extra: HeaderMap::new(), cookies: CookiePolicy::All }
    }

    /// Adds a header to every request.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.extra.append(name, value.parse().unwrap());
        self
    }

    /// Makes the browser keep no cookies of the protected hosts.
    pub(crate) fn blocking_cookies(self) -> Self {
        Self { cookies: CookiePolicy::ProviderOnly, ..self }
    }

    /// Opens a page without following redirects.
    pub(crate) async fn open(&self, url: &str) -> Answer {
        self.send(self.request(RequestMode::Page, url)).await
    }

    /// Fetches a URL as a script does.
    pub(crate) async fn fetch(&self, url: &str) -> Answer {
        self.send(self.request(RequestMode::Fetch, url)).await
    }

    /// Opens a page and follows redirects.
    pub(crate) async fn visit(&self, url: &str) -> Answer {
        self.follow(self.open(url).await).await
    }

    /// Follows the redirects of a response.
    pub(crate) async fn follow(&self, mut answer: Answer) -> Answer {
        for _ in 0..MAX_REDIRECTS {
            let Some(next) = answer.location() else { return answer };
            let mut trail = std::mem::take(&mut answer.trail);
            answer = self.open(&next).await;
            trail.push(next);
            answer.trail = trail;
        }
        panic!("redirected {MAX_REDIRECTS} times: {:#?}", answer.trail);
    }

    /// Signs in up to the redirect to the callback, and returns the callback's URL.
    pub(crate) async fn up_to_the_callback(&self, url: &str) -> String {
        let mut answer = self.open(url).await;
        while let Some(next) = answer.location() {
            if next.contains("/_doorward/callback?") {
                return next;
            }
            answer = self.open(&next).await;
        }
        panic!("no callback: {answer:?}");
    }

    /// Submits the only form of a page with its fields and `more`, which fills in some, and follows redirects.
    pub(crate) async fn submit(&self, page: &Answer, more: &[(&str, &str)]) -> Answer {
        let text = page.text();
        let form = text.split_once("<form").expect("the page has a form").1;
        let (tag, rest) = form.split_once('>').unwrap();
        let inside = rest.split_once("</form>").unwrap().0;
        let mut fields: Vec<(String, String)> = inside
            .split("<input")
            .skip(1)
            .filter_map(|input| Some((attribute(input, "name")?, attribute(input, "value")?)))
            .filter(|(name, _)| more.iter().all(|(filled_in, _)| filled_in != name))
            .collect();
        fields.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let base = Url::parse(&page.url).unwrap();
        let action = base.join(&attribute(tag, "action").unwrap_or_default()).unwrap();
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
        let mut request = self.request(RequestMode::Page, action.as_str());
        if attribute(tag, "method").is_some_and(|method| method.eq_ignore_ascii_case("post")) {
            *request.method_mut() = Method::POST;
            request.headers_mut().insert(header::CONTENT_TYPE, "application/x-www-form-urlencoded".parse().unwrap());
            *request.body_mut() = Full::from(query);
        } else {
            let mut target = action;
            target.set_query(Some(&query));
            *request.uri_mut() = target.as_str().parse().unwrap();
        }
        self.follow(self.send(request).await).await
    }

    /// Returns a request with a browser's headers, to be changed before it is sent.
    pub(crate) fn request(&self, who: RequestMode, url: &str) -> Request<Full<Bytes>> {
        let (accept, mode) = match who {
            RequestMode::Page => ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "navigate"),
            RequestMode::Fetch => ("application/json", "cors"),
        };
        let mut request = Request::get(url)
            .header(header::ACCEPT, accept)
            .header("sec-fetch-mode", mode)
            .header("sec-fetch-site", if who == RequestMode::Page { "none" } else { "same-origin" })
            .body(Full::default())
            .unwrap_or_else(|error| panic!("{url}: {error}"));
        for (name, value) in &self.extra {
            request.headers_mut().append(name.clone(), value.clone());
        }
        request
    }

    /// Sends a request with the jar's cookies and stores those of the response.
    pub(crate) async fn send(&self, mut request: Request<Full<Bytes>>) -> Answer {
        let url = request.uri().to_string();
        let place = Url::parse(&url).unwrap();
        let cookies = self.cookies(&place);
        if !cookies.is_empty() {
            request.headers_mut().append(header::COOKIE, cookies.parse().unwrap());
        }
        let answer = exchange(request, Some(&self.tls)).await.unwrap_or_else(|error| panic!("{url}: {error}"));
        if self.cookies == CookiePolicy::ProviderOnly && place.domain().is_some() {
            return answer;
        }
        let mut jar = self.jar.lock().unwrap();
        for line in answer.headers.get_all(header::SET_COOKIE) {
            // A browser refuses the same cookies as the jar.
            let _ = jar.parse(line.to_str().unwrap(), &place);
        }
        answer
    }

    /// Returns the `Cookie` header for a URL.
    pub(crate) fn cookies(&self, place: &Url) -> String {
        let jar = self.jar.lock().unwrap();
        jar.get_request_values(place).map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    /// Puts a cookie into the jar.
    pub(crate) fn keep(&self, url: &str, cookie: &str) {
        self.jar.lock().unwrap().parse(cookie, &Url::parse(url).unwrap()).unwrap();
    }

    /// Takes a `Set-Cookie` line, unless a browser would refuse it.
    pub(crate) fn keep_or_refuse(&self, url: &str, line: &str) {
        let _ = self.jar.lock().unwrap().parse(line, &Url::parse(url).unwrap());
    }

    /// Another browser with a copy of this one's cookies.
    pub(crate) fn copied_cookies(&self) -> Self {
        let jar = self.jar.lock().unwrap().clone();
        Self { jar: Arc::new(Mutex::new(jar)), ..self.clone() }
    }
}

impl Answer {
    /// Returns the absolute URL of a redirect, or `None` if it is none.
    pub(crate) fn location(&self) -> Option<String> {
        if !self.status.is_redirection() {
            return None;
        }
        let location = self.header("location");
        if location.parse::<Uri>().is_ok_and(|uri| uri.host().is_some()) {
            return Some(location.to_owned());
        }
        Some(Url::parse(&self.url).unwrap().join(location).unwrap().into())
    }

    /// Returns a header's value; empty if it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Returns the body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns the app's echo. Fails if the request did not reach the app.
    #[track_caller]
    pub(crate) fn echo(&self) -> Echo {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not the app's answer: {error}: {self:?}"))
    }

    /// Returns the gate's reason.
    pub(crate) fn reason(&self) -> &str {
        self.header("doorward-reason")
    }
}

/// Fetches a URL in clear text, without cookies.
pub(crate) async fn get(url: &str) -> std::io::Result<Answer> {
    exchange(Request::get(url).body(Full::default()).unwrap(), None).await
}

/// Returns `true` if a URL in clear text responds with 200.
pub(crate) async fn answers(url: &str) -> bool {
    get(url).await.is_ok_and(|answer| answer.status == StatusCode::OK)
}

/// Returns `true` if a server listens at a URL and has a route for it: any status but 404.
pub(crate) async fn routes(dir: &Path, url: &str) -> bool {
    let request = Request::get(url).body(Full::default()).unwrap();
    exchange(request, Some(&tls::client(dir))).await.is_ok_and(|answer| answer.status != StatusCode::NOT_FOUND)
}

/// Returns `true` if a server responds at a URL in clear text, with any status.
pub(crate) async fn responds(url: &str) -> bool {
    get(url).await.is_ok()
}

/// Sends a request on a connection of its own.
pub(crate) async fn exchange(request: Request<Full<Bytes>>, tls: Option<&TlsConnector>) -> std::io::Result<Answer> {
    let uri = request.uri().clone();
    let host = uri.host().expect("addresses are absolute").to_owned();
    let secure = uri.scheme_str() == Some("https");
    let stream = TcpStream::connect(ports::loopback(uri.port_u16().unwrap_or(if secure { 443 } else { 80 }))).await?;
    if let (true, Some(tls)) = (secure, tls) {
        let name = ServerName::try_from(host).expect("a host is a name");
        send_request(tls.connect(name, stream).await?, request).await
    } else {
        send_request(stream, request).await
    }
}

async fn send_request<S>(stream: S, mut request: Request<Full<Bytes>>) -> std::io::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let uri = request.uri().clone();
    let target = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    *request.uri_mut() = target.parse().expect("a target is a target");
    let authority = uri.authority().expect("addresses are absolute").as_str();
    request.headers_mut().entry(header::HOST).or_insert(authority.parse().unwrap());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
    app::spawn(async { drop(connection.await) });
    let (head, body) = sender.send_request(request).await.map_err(std::io::Error::other)?.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let url = uri.to_string();
    Ok(Answer { trail: vec![url.clone()], url, status: head.status, headers: head.headers, body })
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let tag = tag.split('>').next()?;
    let (_, value) = tag.split_once(&format!(" {name}=\""))?;
    Some(value.split('"').next()?.replace("&amp;", "&"))
}
