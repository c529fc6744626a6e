//! Fuzz targets: one function for each parser of outside bytes, for fuzzers and for the tests that replay seeds and findings.
//!
//! Compiled for tests and under `--cfg fuzzing` only. A target takes any bytes and panics where a guarantee of the gate does
//! not hold. fuzz/README.md says how to run them. Targets that need private parts of a module are in that module.

mod case;
mod fixture;
mod gate;
mod requests;

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use url::Url;

pub(crate) use self::case::{Case, mutated};
use self::fixture::{CONFIG, POLICY, hop, is_open};
pub use self::requests::requests;
use crate::{
    config::{self, ConfigFile},
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

/// One target: its name, which is also that of its folders, and its function.
pub type FuzzTarget = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[FuzzTarget] = &[
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

/// Returns the lines of one header, one for each line of the input.
fn lines(input: &[u8], name: &HeaderName) -> HeaderMap {
    let values = input.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    values.take(8).map(|value| (name.clone(), value)).collect()
}

/// `Cookie` headers: the values found are exactly those after the name in any pair.
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

/// `X-Forwarded-For`: the client is an address of the chain, and every address to its right is a trusted proxy.
pub fn forwarded_for(input: &[u8]) {
    let chain = HeaderName::from_static("x-forwarded-for");
    let headers = lines(input, &chain);
    let lines: Vec<_> = headers.values().filter_map(|line| std::str::from_utf8(line.as_bytes()).ok()).collect();
    let request = Request::get("/_doorward/auth/traefik")
        .header("x-forwarded-method", "GET")
        .header("x-forwarded-host", "app.test")
        .header("x-forwarded-uri", "/");
    let (mut parts, ()) = request.body(()).expect("the request is well formed").into_parts();
    parts.headers.extend(headers.clone());
    let networks = ["127.0.0.0/8", "::1/128", "10.0.0.0/8"].map(|network| network.parse().expect("a network"));
    let proxies = TrustedProxies::new(networks.to_vec());
    let subrequest = Subrequest {
        edge: Edge::Traefik,
        namespace: crate::edge::Namespace::Own,
        peer: IpAddr::from([127, 0, 0, 1]),
        parts: &parts,
        target: "",
    };
    let peer = proxies.admit(subrequest.peer).expect("loopback is trusted");
    let Ok(asked) = edge::read(peer, &subrequest, &[]) else { return };
    let Some(client) = asked.client.address() else { return };
    assert_eq!(lines.len(), 1, "a client is known although the header is repeated or not text");
    let mut hops = lines.iter().flat_map(|line| line.rsplit(',')).map(hop);
    let hops_to_the_right = hops.by_ref().take_while(|hop| *hop != Some(client));
    assert!(
        hops_to_the_right.flatten().all(|hop| proxies.contains(hop)),
        "an untrusted hop names the client {client}: {lines:?}"
    );
    assert!(lines.iter().flat_map(|line| line.split(',')).any(|text| hop(text) == Some(client)), "{client}: {lines:?}");
}

/// Redirect targets: every accepted one leads a browser to a protected host.
pub fn redirects(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for (scheme, authority) in [("https", "app.test"), ("https", "app.test:8443"), ("http", "a.wild.test")] {
        let authority = Authority::parse(authority).expect("a valid host");
        let here = RedirectBase { scheme, authority: &authority, prefixes: &["/_doorward".to_owned()] };
        for target in [RedirectTarget::parse(text, here, &POLICY), RedirectTarget::original(text, here, &POLICY)] {
            let Some(target) = target else { continue };
            assert_eq!(target.location().as_bytes(), target.as_str().as_bytes());
            let url = Url::parse(target.as_str()).expect("an absolute URL");
            assert_eq!(url.scheme(), scheme, "{text:?} leads to {url}");
            let host = url.host_str().expect("a URL with a host");
            assert!(POLICY.names(host), "{text:?} leads to {url}");
            assert!(url.username().is_empty() && url.password().is_none(), "{text:?} leads to {url}");
            // A browser on any page of the host resolves it to the same URL.
            let there = Url::parse(&format!("{scheme}://{authority}/deep/page")).expect("a valid URL");
            assert_eq!(there.join(target.as_str()).as_ref(), Ok(&url), "{text:?} depends on the page");
            assert!(!url.path().starts_with("/_doorward/"), "{text:?} leads to the gate's own pages");
        }
    }
}

/// Paths, with a method before them: `GET /a`. A path is open to everybody only if the rules open it, under every reading.
pub fn paths(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (method, raw) = text.split_once(' ').unwrap_or(("GET", text));
    // A path has no query.
    let raw = raw.split('?').next().unwrap_or_default();
    let app = CONFIG.policy.apps.first().expect("gate.toml has an app");
    for (method, client) in [(Some(method), None), (None, None), (Some(method), Some(IpAddr::from([192, 168, 1, 1])))] {
        let requirement = app.requirement(RequestAttributes { path: raw, method, client });
        if let Requirement::Public | Requirement::Optional = requirement {
            assert!(!path::is_ambiguous(raw), "{raw:?} is ambiguous and open");
            assert!(is_open(raw, method, client.is_some()), "{method:?} {raw:?} from {client:?} is open");
        }
    }
}

/// Userinfo responses, and the identity headers made of them: one line of ASCII each.
pub fn userinfo(input: &[u8]) {
    let Some(identity) = oidc::fuzz::userinfo(input) else { return };
    let plan = &CONFIG.policy.apps.first().expect("gate.toml has an app").headers;
    let headers = plan.headers(&plan.render(&identity, &Tokens::default()).headers);
    assert_eq!(headers.len(), plan.blank().len(), "a header is missing or repeated");
    for (name, value) in &headers {
        assert!(value.as_bytes().iter().all(|byte| matches!(byte, b' '..=b'~')), "{name}: {value:?}");
    }
}

/// Configurations: either settings or diagnostics.
pub fn configuration(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let source = ConfigFile { path: "fuzz.toml".into(), text: text.to_owned() };
    match config::load_from(Some(&source), &config::Environment::new()) {
        Ok(config) => {
            assert!(
                !config.secrets.is_empty() && !config.providers.is_empty(),
                "a valid configuration without secrets or providers"
            );
            assert!(config.policy.apps.iter().all(|app| app.provider < config.providers.len()));
            let _ = Policy::new(config.policy);
        }
        Err(diagnostics) => {
            assert!(!diagnostics.0.is_empty(), "refused without a diagnostic");
            let _ = diagnostics.to_string();
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

    /// Mutated copies of each seed in a test run. A fuzzer tries more, guided by coverage.
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

    fn replay(inputs: &str) -> usize {
        let mut replayed = 0;
        for (name, target) in TARGETS {
            for path in names(&folder(inputs).join(name)) {
                // The last path printed is that of a failure.
                println!("{}", path.display());
                target(&fs::read(path).unwrap());
                replayed += 1;
            }
        }
        replayed
    }

    #[test]
    fn every_seed_is_read_as_promised() {
        assert!(replay("seeds") > 500);
    }

    #[test]
    fn whatever_a_fuzzer_found_stays_mended() {
        replay("findings");
    }

    /// Mutates a seed up to four times: bytes changed, inserted, removed or repeated, or the end of another seed.
    fn mutate(seed: &[u8], other: &[u8], random: &mut StdRng) -> Vec<u8> {
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
    fn every_mutated_seed_keeps_the_guarantees() {
        let mut random = StdRng::seed_from_u64(7);
        for (name, target) in TARGETS {
            let seeds: Vec<_> =
                names(&folder("seeds").join(name)).into_iter().map(|path| fs::read(path).unwrap()).collect();
            for seed in &seeds {
                for _ in 0..COPIES {
                    let input = mutate(seed, seeds.choose(&mut random).unwrap(), &mut random);
                    let outcome = std::panic::catch_unwind(|| target(&input));
                    assert!(outcome.is_ok(), "{name}: {}", input.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn every_target_has_seeds_and_a_binary_and_no_folder_is_left_over() {
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
    fn the_oracle_and_the_mutations_are_correct() {
        assert!(is_open("/public/a", None, false) && is_open("/post", Some("POST"), false));
        for closed in ["/", "/publica", "/public/../me", "/public/%2e%2e/me", "/public/closed", "/PUBLIC/a", "/net/a"] {
            assert!(!is_open(closed, Some("GET"), false), "{closed}");
        }
        assert_eq!(mutated(b"abc", &[0, 1, b'x', 0, 5, b'y', 9]), b"axy");
        assert!(matches!(Case::of(b"mab"), Some(Case::Made(b"ab"))) && Case::of(b"").is_none());
    }
}
