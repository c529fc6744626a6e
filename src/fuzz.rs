//! Everything that reads bytes from outside, as one function each, for fuzzers and for the tests that repeat what they found.
//!
//! Compiled for tests and under `--cfg fuzzing` only. A target takes any bytes and panics where what the gate promises about
//! them does not hold. fuzz/README.md says how they are run; what reads private parts of a module stands beside it.

mod gate;
mod requests;

use std::{net::IpAddr, sync::LazyLock};

use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use percent_encoding::percent_decode_str;
use url::Url;

pub use self::requests::requests;
use crate::{
    config::{self, Config, Source},
    cookie,
    edge::{self, Edge, Subrequest, TrustedProxies},
    host::Authority,
    identity::Tokens,
    oidc,
    policy::{
        Policy, RequestAttributes, Requirement, path,
        redirect::{RedirectBase, RedirectTarget},
    },
};
pub use crate::{
    flow::fuzz::{attempts, login_cookies, notices},
    oidc::fuzz::{discovery, id_tokens, jwks, logout_tokens},
    session::fuzz::{notifications, postgres_urls, rows, session_cookies},
};

/// One target: its name, as folders are called after it, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("attempts", attempts),
    ("configuration", configuration),
    ("cookies", cookies),
    ("discovery", discovery),
    ("forwarded_for", forwarded_for),
    ("id_tokens", id_tokens),
    ("jwks", jwks),
    ("login_cookies", login_cookies),
    ("logout_tokens", logout_tokens),
    ("notices", notices),
    ("notifications", notifications),
    ("paths", paths),
    ("postgres_urls", postgres_urls),
    ("redirects", redirects),
    ("requests", requests),
    ("rows", rows),
    ("session_cookies", session_cookies),
    ("userinfo", userinfo),
];

/// The meaning of an input, by its first byte. A fuzzer can neither forge a seal nor a signature, so it is lent the key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Case<'i> {
    /// `r`: the bytes as they are.
    Raw(&'i [u8]),
    /// `m`: what is inside, sealed or signed by us.
    Made(&'i [u8]),
    /// `x`: one that we made, with bytes changed by [`mutated`].
    Mutated(&'i [u8]),
}

impl<'i> Case<'i> {
    /// Reads an input; `None` where its first byte says nothing.
    pub(crate) fn of(input: &'i [u8]) -> Option<Self> {
        match input.split_first()? {
            (b'r', rest) => Some(Self::Raw(rest)),
            (b'm', rest) => Some(Self::Made(rest)),
            (b'x', rest) => Some(Self::Mutated(rest)),
            _ => None,
        }
    }
}

/// `valid` with bytes changed: each three bytes of `edits` are a place and what is to stand there.
pub(crate) fn mutated(valid: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut changed = valid.to_vec();
    for edit in edits.chunks_exact(3) {
        if let [high, low, byte] = *edit {
            let place = usize::from(u16::from_be_bytes([high, low])).checked_rem(valid.len()).unwrap_or_default();
            if let Some(changed) = changed.get_mut(place) {
                *changed = byte;
            }
        }
    }
    changed
}

/// A gate whose rules open a little and close the rest.
static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let source = Source { path: "fuzz.toml".into(), text: include_str!("fuzz/gate.toml").to_owned() };
    config::load_from(Some(&source), &config::Environment::new()).expect("it is a configuration")
});

static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy::new(CONFIG.policy.clone()));

/// Lines of one header, one on each line of the input.
fn lines(input: &[u8], name: &HeaderName) -> HeaderMap {
    let values = input.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    values.take(8).map(|value| (name.clone(), value)).collect()
}

/// `Cookie` lines: what is found is what stands behind the name in any pair, and nothing else.
pub fn cookies(input: &[u8]) {
    let headers = lines(input, &header::COOKIE);
    let pairs = headers.values().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let expected = pairs.filter_map(|pair| {
        let pair = pair.trim_ascii_start();
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = pair.split_at_checked(equals)?;
        (name == b"__Host-doorward").then(|| value.get(1..).unwrap_or_default().trim_ascii_end())
    });
    let found: Vec<_> = cookie::values(&headers, "__Host-doorward").collect();
    assert_eq!(found, expected.collect::<Vec<_>>());
    for name in cookie::names(&headers) {
        assert!(!name.is_empty() && !name.contains([';', '=']), "{name:?} is no name");
    }
}

/// `X-Forwarded-For`: the client is an address of the chain, and nobody right of it is a stranger.
pub fn forwarded_for(input: &[u8]) {
    let chain = HeaderName::from_static("x-forwarded-for");
    let headers = lines(input, &chain);
    let lines: Vec<_> = headers.values().filter_map(|line| std::str::from_utf8(line.as_bytes()).ok()).collect();
    let request = Request::get("/_doorward/auth/traefik")
        .header("x-forwarded-method", "GET")
        .header("x-forwarded-host", "app.test")
        .header("x-forwarded-uri", "/");
    let (mut parts, ()) = request.body(()).expect("it is well formed").into_parts();
    parts.headers.extend(headers.clone());
    let networks = ["127.0.0.0/8", "::1/128", "10.0.0.0/8"].map(|network| network.parse().expect("a network"));
    let proxies = TrustedProxies::new(networks.to_vec());
    let subrequest = Subrequest { edge: Edge::Traefik, peer: IpAddr::from([127, 0, 0, 1]), parts: &parts, target: "" };
    let peer = proxies.admit(subrequest.peer).expect("it is trusted");
    let Ok(asked) = edge::read(peer, &subrequest) else { return };
    let Some(client) = asked.client else { return };
    assert_eq!(lines.len(), 1, "a client is told of although the line is repeated or no text");
    let mut hops = lines.iter().flat_map(|line| line.rsplit(',')).map(hop);
    let strangers = hops.by_ref().take_while(|hop| *hop != Some(client));
    assert!(strangers.flatten().all(|hop| proxies.contains(hop)), "a stranger names the client {client}: {lines:?}");
    assert!(lines.iter().flat_map(|line| line.split(',')).any(|text| hop(text) == Some(client)), "{client}: {lines:?}");
}

fn hop(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse().ok().or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address| address.to_canonical())
}

/// Addresses to return to: whatever is taken leads a browser to a host of ours.
pub fn redirects(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for (scheme, authority) in [("https", "app.test"), ("https", "app.test:8443"), ("http", "a.wild.test")] {
        let authority = Authority::parse(authority).expect("a host");
        let base = RedirectBase { scheme, authority: &authority, prefix: "/_doorward" };
        for target in [RedirectTarget::parse(text, base, &POLICY), RedirectTarget::original(text, base, &POLICY)] {
            let Some(target) = target else { continue };
            assert_eq!(target.location().as_bytes(), target.as_str().as_bytes());
            let url = Url::parse(target.as_str()).expect("a browser follows it");
            assert_eq!(url.scheme(), scheme, "{text:?} leads to {url}");
            let host = url.host_str().expect("it has a host");
            assert!(POLICY.names(host), "{text:?} leads to {url}");
            assert!(url.username().is_empty() && url.password().is_none(), "{text:?} leads to {url}");
            // The same as a browser that is already there would resolve it.
            let there = Url::parse(&format!("{scheme}://{authority}/deep/page")).expect("it is one");
            assert_eq!(there.join(target.as_str()).as_ref(), Ok(&url), "{text:?} is relative to some");
            assert!(!url.path().starts_with("/_doorward/"), "{text:?} leads to the gate's own pages");
        }
    }
}

/// Paths, with a method before them: `GET /a`. What is open to everybody is what the rules open, in every reading.
pub fn paths(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (method, raw) = text.split_once(' ').unwrap_or(("GET", text));
    // A path has no query.
    let raw = raw.split('?').next().unwrap_or_default();
    let app = CONFIG.policy.apps.first().expect("there is one");
    for (method, client) in [(Some(method), None), (None, None), (Some(method), Some(IpAddr::from([192, 168, 1, 1])))] {
        let requirement = app.requirement(RequestAttributes { path: raw, method, client });
        if let Requirement::Public | Requirement::Optional = requirement {
            assert!(!path::is_ambiguous(raw), "{raw:?} can be read in two ways and is open");
            assert!(is_open(raw, method, client.is_some()), "{method:?} {raw:?} from {client:?} is open");
        }
    }
}

/// An independent oracle: `true` where gate.toml may let everybody in to this path. It shares no code with the rules.
fn is_open(raw: &str, method: Option<&str>, is_at_home: bool) -> bool {
    let path = percent_decode_str(raw).decode_utf8_lossy();
    let odd = ["//", "\\", ";", "%2f", "%5c", "%2e", "%00", "%25", "#"];
    let spelled = raw.to_ascii_lowercase();
    let climbs = path.split('/').any(|segment| matches!(segment, "." | ".."));
    if climbs || odd.iter().any(|odd| spelled.contains(odd)) || path.eq_ignore_ascii_case("/public/closed") {
        return false;
    }
    path.starts_with("/public/")
        || path == "/open"
        || (path == "/post" && method == Some("POST"))
        || (is_at_home && (path == "/net" || path.starts_with("/net/")))
}

/// Userinfo answers, and the headers that apps are told by them: one line of ASCII each.
pub fn userinfo(input: &[u8]) {
    let Some(identity) = oidc::fuzz::userinfo(input) else { return };
    let plan = &CONFIG.policy.apps.first().expect("there is one").headers;
    let headers = plan.headers(&plan.render(&identity, &Tokens::default()));
    assert_eq!(headers.len(), plan.blank().len(), "a header is missing or said twice");
    for (name, value) in &headers {
        assert!(value.as_bytes().iter().all(|byte| matches!(byte, b' '..=b'~')), "{name}: {value:?}");
    }
}

/// Configurations: settings or complaints.
pub fn configuration(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let source = Source { path: "fuzz.toml".into(), text: text.to_owned() };
    match config::load_from(Some(&source), &config::Environment::new()) {
        Ok(config) => {
            assert!(!config.secrets.is_empty() && !config.providers.is_empty(), "a gate without the means");
            assert!(config.policy.apps.iter().all(|app| app.provider < config.providers.len()));
            let _ = Policy::new(config.policy);
        }
        Err(complaints) => {
            assert!(!complaints.0.is_empty(), "refused without a word");
            let _ = complaints.to_string();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        fs,
        path::{Path, PathBuf},
    };

    use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

    use super::*;

    /// Disturbed copies of each seed that a test run tries. A fuzzer tries more, and learns which are worth it.
    const COPIES: usize = 5;

    fn folder(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
    }

    fn names(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).map(|entries| entries.map(|entry| entry.unwrap().path()).collect());
        let mut paths: Vec<_> = entries.unwrap_or_default();
        paths.sort();
        paths
    }

    fn repeat(kept: &str) -> usize {
        let mut repeated = 0;
        for (name, target) in TARGETS {
            for path in names(&folder(kept).join(name)) {
                // The last one that is printed is the one that fails.
                println!("{}", path.display());
                target(&fs::read(path).unwrap());
                repeated += 1;
            }
        }
        repeated
    }

    #[test]
    fn every_seed_is_read_as_promised() {
        assert!(repeat("seeds") > 500);
    }

    #[test]
    fn whatever_a_fuzzer_found_stays_mended() {
        repeat("findings");
    }

    /// A seed with up to four things done to it: bytes changed, put in, taken out or repeated, the end of another seed.
    fn disturbed(seed: &[u8], other: &[u8], random: &mut StdRng) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..random.gen_range(1..=4) {
            let (from, to) = (random.gen_range(0..=bytes.len()), random.gen_range(0..=bytes.len()));
            let (from, to) = (from.min(to), from.max(to).min(from.min(to) + 16));
            let odd = *b"/%.;\\?#@:,=& \r\n\t\0\"{}[]'-0aA\xff".choose(random).unwrap();
            match random.gen_range(0..6) {
                0 => drop(bytes.splice(from..to, [])),
                1 => drop(bytes.splice(from..from, [odd])),
                2 => drop(bytes.splice(from..from, bytes.get(from..to).unwrap().to_vec())),
                3 => drop(bytes.splice(from.., other.iter().copied().skip(from))),
                4 => bytes.iter_mut().skip(from).take(1).for_each(|byte| *byte ^= 1 << random.gen_range(0..8)),
                _ => bytes.iter_mut().skip(from).take(1).for_each(|byte| *byte = odd),
            }
        }
        bytes
    }

    #[test]
    fn every_seed_that_is_disturbed_is_read_as_promised() {
        let mut random = StdRng::seed_from_u64(7);
        for (name, target) in TARGETS {
            let seeds: Vec<_> =
                names(&folder("seeds").join(name)).into_iter().map(|path| fs::read(path).unwrap()).collect();
            for seed in &seeds {
                for _ in 0..COPIES {
                    let input = disturbed(seed, seeds.choose(&mut random).unwrap(), &mut random);
                    let outcome = std::panic::catch_unwind(|| target(&input));
                    assert!(outcome.is_ok(), "{name}: {}", input.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn every_target_has_seeds_and_is_built_and_no_folder_is_left_over() {
        let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
        for (name, _) in TARGETS {
            assert!(!names(&folder("seeds").join(name)).is_empty(), "{name} has no seeds");
            assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name} is not in fuzz/Cargo.toml");
        }
        let known: BTreeSet<_> = TARGETS.iter().map(|(name, _)| *name).collect();
        for folder in names(&folder("seeds")).into_iter().chain(names(&folder("findings"))).filter(|path| path.is_dir())
        {
            let name = folder.file_name().unwrap().to_str().unwrap();
            assert!(known.contains(name), "{} belongs to no target", folder.display());
        }
    }

    #[test]
    fn a_target_notices_what_it_is_there_for() {
        assert!(is_open("/public/a", None, false) && is_open("/post", Some("POST"), false));
        for closed in ["/", "/publica", "/public/../me", "/public/%2e%2e/me", "/public/closed", "/PUBLIC/a", "/net/a"] {
            assert!(!is_open(closed, Some("GET"), false), "{closed}");
        }
        assert_eq!(mutated(b"abc", &[0, 1, b'x', 0, 5, b'y', 9]), b"axy");
        assert!(matches!(Case::of(b"mab"), Some(Case::Made(b"ab"))) && Case::of(b"").is_none());
    }
}
