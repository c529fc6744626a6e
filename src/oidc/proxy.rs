//! Forward proxies to the provider: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` of the environment, or an address of its own.
//!
//! Promises: https goes through a CONNECT tunnel, so that a proxy sees no code and no secret; a proxy's password is never
//! formatted; a proxy elsewhere is never asked for a provider on this machine.

use std::{
    error::Error as StdError,
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderValue, Uri, uri::Scheme};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::{
        legacy::connect::{Connected, Connection, HttpConnector, proxy::Tunnel},
        proxy::matcher::{Intercept, Matcher},
    },
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower::Service;
use url::{Host, Url};

type BoxError = Box<dyn StdError + Send + Sync>;
type ProxiedStream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Proxy of a provider as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxySetting {
    /// That of the environment.
    Environment(EnvironmentProxies),
    /// None, whatever the environment says.
    None,
    /// This one, for every request to the provider.
    Address(ProxyAddress),
}

/// Address of a proxy, which may hold a password. Formatted without it.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyAddress(Url);

/// The proxies that the environment names: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, but for what `NO_PROXY` names. They may
/// hold passwords, and are not formatted.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EnvironmentProxies {
    https: String,
    http: String,
    all: String,
    no: String,
}

/// Errors of a proxy's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyAddressError {
    /// No URL with a host.
    #[error("it is no address of a proxy")]
    NoAddress,
    /// Another scheme.
    #[error("only proxies over http and https can be used")]
    Scheme,
    /// More than an address.
    #[error("the address of a proxy has no path, query or fragment")]
    Path,
}

/// The proxies of one provider.
#[derive(Clone, Default)]
pub(super) struct Proxies {
    rules: Option<Arc<ProxyRules>>,
    /// Address inside, which is asked directly.
    internal: Option<Url>,
}

struct ProxyRules {
    matcher: Matcher,
    source: RuleSource,
}

/// Source of the rules.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RuleSource {
    Environment,
    Configuration,
}

impl ProxyAddress {
    /// Parses the address of a proxy, such as `http://proxy.example.com:3128`.
    pub fn parse(text: &str) -> Result<Self, ProxyAddressError> {
        let url = Url::parse(text).map_err(|_| ProxyAddressError::NoAddress)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(if url.has_host() { ProxyAddressError::Scheme } else { ProxyAddressError::NoAddress });
        }
        if !url.has_host() {
            return Err(ProxyAddressError::NoAddress);
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(ProxyAddressError::Path);
        }
        Ok(Self(url))
    }
}

impl EnvironmentProxies {
    /// Reads the variables, in capitals before lower case, with the names of those that are set and yet name no proxy that can
    /// be used.
    pub fn read<'e>(variable: impl Fn(&str) -> Option<&'e str>) -> (Self, Vec<&'static str>) {
        let mut unusable = Vec::new();
        let first = |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, variable(name)?)));
        let mut proxy = |names| match first(names) {
            Some((name, address)) if !address.is_empty() && !is_usable(address) => {
                unusable.push(name);
                String::new()
            }
            found => found.map(|(_, address)| address.to_owned()).unwrap_or_default(),
        };
        let proxies = Self {
            https: proxy(["HTTPS_PROXY", "https_proxy"]),
            http: proxy(["HTTP_PROXY", "http_proxy"]),
            all: proxy(["ALL_PROXY", "all_proxy"]),
            no: first(["NO_PROXY", "no_proxy"]).map(|(_, hosts)| hosts.to_owned()).unwrap_or_default(),
        };
        (proxies, unusable)
    }
}

impl fmt::Debug for EnvironmentProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvironmentProxies").finish_non_exhaustive()
    }
}

impl fmt::Debug for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.origin().ascii_serialization())
    }
}

impl Proxies {
    /// The proxies of a setting, for everything but what is asked at `internal`.
    pub(super) fn new(setting: &ProxySetting, internal: Option<&Url>) -> Self {
        let proxies = match setting {
            ProxySetting::None => Self::default(),
            ProxySetting::Environment(EnvironmentProxies { https, http, all, no }) => {
                let matcher = Matcher::builder().https(https.as_str()).http(http.as_str()).all(all.as_str());
                Self::of(matcher.no(no.as_str()).build(), RuleSource::Environment)
            }
            ProxySetting::Address(ProxyAddress(url)) => {
                Self::of(Matcher::builder().all(url.as_str()).build(), RuleSource::Configuration)
            }
        };
        Self { internal: internal.cloned(), ..proxies }
    }

    fn of(matcher: Matcher, source: RuleSource) -> Self {
        Self { rules: Some(Arc::new(ProxyRules { matcher, source })), internal: None }
    }

    /// Returns the proxy for a target, or `None` where it is asked directly.
    fn intercept(&self, target: &Uri) -> Option<Intercept> {
        let rules = self.rules.as_ref()?;
        if self.internal.as_ref().is_some_and(|internal| is_at(target, internal)) {
            return None;
        }
        let proxy = rules.matcher.intercept(target)?;
        // The environment speaks of the world outside; a proxy there would look for the provider on its own machine.
        let misses = rules.source == RuleSource::Environment && is_loopback(target) && !is_loopback(proxy.uri());
        (!misses).then_some(proxy)
    }

    /// Returns the address of the proxy for a target, without its password.
    pub(super) fn address(&self, target: &Uri) -> Option<String> {
        self.intercept(target).map(|proxy| address(&proxy))
    }

    /// Returns the value of `Proxy-Authorization` for a target that a proxy is asked for in clear.
    pub(super) fn authorization(&self, target: &Uri) -> Option<HeaderValue> {
        let proxy = self.intercept(target).filter(|_| target.scheme() == Some(&Scheme::HTTP))?;
        proxy.basic_auth().cloned()
    }
}

fn is_usable(address: &str) -> bool {
    let proxy = Matcher::builder().all(address).build().intercept(&Uri::from_static("https://anywhere.invalid/"));
    proxy.is_some_and(|proxy| is_http(&proxy))
}

/// Returns `true` for the kinds of proxy that can be used: not for SOCKS.
fn is_http(proxy: &Intercept) -> bool {
    matches!(proxy.uri().scheme_str(), Some("http" | "https"))
}

fn address(proxy: &Intercept) -> String {
    proxy.uri().to_string().trim_end_matches('/').to_owned()
}

fn is_at(target: &Uri, place: &Url) -> bool {
    Url::parse(&target.to_string()).is_ok_and(|target| target.origin() == place.origin())
}

/// Returns `true` if a host is this machine by its name or address (RFC 6761, section 6.3).
fn is_loopback(uri: &Uri) -> bool {
    match Host::parse(uri.host().unwrap_or_default()) {
        Ok(Host::Ipv4(address)) => address.is_loopback(),
        Ok(Host::Ipv6(address)) => address.is_loopback(),
        Ok(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Err(_) => false,
    }
}

/// A connector that goes by way of a proxy where there is one.
#[derive(Clone)]
pub(super) struct ProxyConnector {
    pub(super) direct: HttpConnector,
    /// To the proxy itself, which may be reached over https.
    pub(super) to_proxy: HttpsConnector<HttpConnector>,
    pub(super) proxies: Proxies,
}

/// A connection to the provider or to its proxy.
pub(super) struct ProviderStream {
    stream: ProxiedStream,
    use_of_proxy: UseOfProxy,
}

/// Part that a proxy has in a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum UseOfProxy {
    /// None, or it passes on bytes.
    Tunnel,
    /// It reads the requests: their targets are whole addresses.
    Requests,
}

/// Errors of a connection by way of a proxy.
#[derive(Debug, thiserror::Error)]
#[error("by way of the proxy {proxy}")]
struct ProxyError {
    proxy: String,
    source: BoxError,
}

impl Service<Uri> for ProxyConnector {
    type Response = ProviderStream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<ProviderStream, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.direct.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let Some(proxy) = self.proxies.intercept(&target) else {
            let connecting = self.direct.call(target);
            return Box::pin(async move { Ok(ProviderStream::new(connecting.await?.into(), UseOfProxy::Tunnel)) });
        };
        let mut to_proxy = self.to_proxy.clone();
        Box::pin(async move {
            let address = address(&proxy);
            let connected = async {
                if !is_http(&proxy) {
                    return Err(ProxyAddressError::Scheme.into());
                }
                if target.scheme() == Some(&Scheme::HTTP) {
                    let stream = to_proxy.call(proxy.uri().clone()).await?;
                    return Ok::<_, BoxError>(ProviderStream::new(stream, UseOfProxy::Requests));
                }
                let tunnel = Tunnel::new(proxy.uri().clone(), to_proxy);
                let mut tunnel = match proxy.basic_auth() {
                    Some(authorization) => tunnel.with_auth(authorization.clone()),
                    None => tunnel,
                };
                Ok(ProviderStream::new(tunnel.call(target).await?, UseOfProxy::Tunnel))
            };
            connected.await.map_err(|source| ProxyError { proxy: address, source }.into())
        })
    }
}

impl ProviderStream {
    fn new(stream: ProxiedStream, use_of_proxy: UseOfProxy) -> Self {
        Self { stream, use_of_proxy }
    }
}

impl Connection for ProviderStream {
    fn connected(&self) -> Connected {
        self.stream.connected().proxy(self.use_of_proxy == UseOfProxy::Requests)
    }
}

impl Read for ProviderStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl Write for ProviderStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(proxies: &Proxies, target: &str) -> Option<String> {
        proxies.address(&target.parse().unwrap())
    }

    fn environment(variables: &[(&str, &'static str)]) -> Proxies {
        let get = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let (proxies, unusable) = EnvironmentProxies::read(get);
        assert_eq!(unusable, Vec::<&str>::new());
        Proxies::new(&ProxySetting::Environment(proxies), None)
    }

    #[test]
    fn the_environment_has_a_proxy_for_each_scheme_and_names_what_needs_none() {
        let proxies = environment(&[
            ("https_proxy", "http://user:secret@proxy.example.com:3128"),
            ("HTTP_PROXY", "http://other.example.com:8080"),
            ("http_proxy", "http://ignored.example.com"),
            ("NO_PROXY", "id.internal.example, 10.0.0.0/8, .svc"),
        ]);
        for (target, expected) in [
            ("https://id.example.com/token", Some("http://proxy.example.com:3128")),
            ("http://id.example.com/token", Some("http://other.example.com:8080")),
            ("https://id.internal.example/", None),
            ("https://below.id.internal.example/", None),
            ("https://10.1.2.3/", None),
            ("http://authentik.auth.svc:9000/", None),
            ("http://localhost:9000/", None),
            ("https://127.0.0.1/", None),
            ("https://[::1]/", None),
        ] {
            assert_eq!(proxy(&proxies, target).as_deref(), expected, "{target}");
        }
        let local = environment(&[("ALL_PROXY", "127.0.0.1:3128")]);
        assert_eq!(proxy(&local, "https://localhost/").as_deref(), Some("http://127.0.0.1:3128"));
    }

    #[test]
    fn a_setting_comes_before_the_environment() {
        let address = ProxyAddress::parse("https://user:secret@proxy.example.com:3128").unwrap();
        assert_eq!(format!("{address} {address:?}").matches("secret").count(), 0);
        let proxies = Proxies::new(&ProxySetting::Address(address), None);
        assert_eq!(proxy(&proxies, "http://127.0.0.1:9000/").as_deref(), Some("https://proxy.example.com:3128"));
        let authorization = proxies.authorization(&Uri::from_static("http://id.example.com/")).unwrap();
        assert!(authorization.is_sensitive() && authorization.as_bytes().starts_with(b"Basic "));
        let tunnelled = proxies.authorization(&Uri::from_static("https://id.example.com/"));
        assert_eq!(tunnelled, None, "what is in a tunnel is not for the proxy");
        assert_eq!(proxy(&Proxies::new(&ProxySetting::None, None), "https://id.example.com/"), None);
    }

    #[test]
    fn an_internal_address_is_asked_directly() {
        let setting = ProxySetting::Address(ProxyAddress::parse("http://proxy.example.com:3128").unwrap());
        let proxies = Proxies::new(&setting, Some(&"http://authentik.auth.svc:9000".parse().unwrap()));
        assert_eq!(proxy(&proxies, "http://authentik.auth.svc:9000/token"), None);
        assert!(proxy(&proxies, "https://id.example.com/jwks").is_some());
    }

    #[test]
    fn an_address_in_the_environment_may_lack_its_scheme_and_be_none() {
        for (address, usable) in [
            ("proxy:3128", true),
            ("http://ann:pw@proxy:3128/", true),
            ("socks5://proxy:1080", false),
            ("not a proxy", false),
        ] {
            let (proxies, unusable) = EnvironmentProxies::read(|name| (name == "HTTP_PROXY").then_some(address));
            assert_eq!(unusable.is_empty(), usable, "{address}");
            assert!(!format!("{proxies:?}").contains("pw"), "{proxies:?}");
        }
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        for (text, expected) in [
            ("proxy", ProxyAddressError::NoAddress),
            ("proxy:3128", ProxyAddressError::NoAddress),
            ("socks5://proxy:1080", ProxyAddressError::Scheme),
            ("http://proxy/path", ProxyAddressError::Path),
            ("http://proxy/?a=b", ProxyAddressError::Path),
        ] {
            assert_eq!(ProxyAddress::parse(text), Err(expected), "{text}");
        }
    }
}
