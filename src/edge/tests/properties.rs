//! Properties of reading: any subrequest, from an edge or not, is read safely or refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::prelude::*;

use super::{LOOPBACK, request};
use crate::edge::{
    Edge, Subrequest, TrustedProxies,
    field::{Field, is_method, target},
    read, request_host,
};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn header() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let name = prop::sample::select(vec![
        "host",
        "x-forwarded-method",
        "x-forwarded-host",
        "x-forwarded-uri",
        "x-forwarded-for",
        "x-original-url",
        "x-original-method",
        "accept",
        "sec-fetch-mode",
    ]);
    let value = prop_oneof![
        "(https?://)?[a-zA-Z0-9.:@\\[\\]-]{0,12}[/?#\\\\%a-z.]{0,12}".prop_map(String::into_bytes),
        "[A-Za-z]{1,6}".prop_map(String::into_bytes),
        "([0-9a-f.:]{0,9}[, ]?){0,4}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..24),
    ];
    (name, value)
}

fn network() -> impl Strategy<Value = IpNet> {
    prop_oneof![
        (any::<Ipv4Addr>(), 0..=32_u8).prop_map(|(address, prefix)| Ipv4Net::new(address, prefix).unwrap().into()),
        (any::<Ipv6Addr>(), 0..=128_u8).prop_map(|(address, prefix)| Ipv6Net::new(address, prefix).unwrap().into()),
    ]
}

/// Addresses around the first and the last of a network, and their IPv4-mapped forms.
fn around(network: &IpNet) -> Vec<IpAddr> {
    let addresses: Vec<IpAddr> = match network {
        IpNet::V4(network) => [network.network().to_bits(), network.broadcast().to_bits()]
            .into_iter()
            .flat_map(|number| [number.wrapping_sub(1), number, number.wrapping_add(1)])
            .map(|number| Ipv4Addr::from_bits(number).into())
            .collect(),
        IpNet::V6(network) => [network.network().to_bits(), network.broadcast().to_bits()]
            .into_iter()
            .flat_map(|number| [number.wrapping_sub(1), number, number.wrapping_add(1)])
            .map(|number| Ipv6Addr::from_bits(number).into())
            .collect(),
    };
    let mapped = addresses.iter().filter_map(|address| match address {
        IpAddr::V4(address) => Some(address.to_ipv6_mapped().into()),
        IpAddr::V6(_) => None,
    });
    mapped.chain(addresses.clone()).collect()
}

/// Hops as they are written, and the addresses that they are.
const HOPS: [(&str, Option<&str>); 10] = [
    ("127.0.0.1", Some("127.0.0.1")),
    (" 10.1.2.3\t", Some("10.1.2.3")),
    ("192.0.2.7", Some("192.0.2.7")),
    ("192.0.2.7:4711", Some("192.0.2.7")),
    ("::ffff:10.0.0.1", Some("10.0.0.1")),
    ("[::1]:80", Some("::1")),
    (" [2001:db8::1]", Some("2001:db8::1")),
    ("", None),
    ("unknown", None),
    ("192.0.2.7 127.0.0.1", None),
];

proptest! {
    #[test]
    fn a_network_is_trusted_from_its_first_address_to_its_last(
        networks in prop::collection::vec(network(), 0..4),
        elsewhere: IpAddr,
    ) {
        let proxies = TrustedProxies::new(networks.clone());
        for address in networks.iter().flat_map(around).chain([elsewhere]) {
            let expected = networks.iter().any(|network| network.contains(&address.to_canonical()));
            prop_assert_eq!(proxies.contains(address), expected, "{}", address);
        }
    }

    #[test]
    fn the_chain_is_believed_from_the_right_for_as_long_as_its_hops_are_trusted(
        hops in prop::collection::vec(prop::sample::select(&HOPS), 1..6),
    ) {
        let proxies = &*LOOPBACK;
        let mut expected = None;
        for (_, hop) in hops.iter().rev() {
            let Some(address) = hop.map(|hop| hop.parse::<IpAddr>().unwrap()) else { break };
            if !proxies.contains(address) {
                expected = Some(address);
                break;
            }
        }
        let chain: Vec<_> = hops.iter().map(|(written, _)| *written).collect();
        let parts = request("GET", &[("host", b"a.example"), ("x-forwarded-for", chain.join(",").as_bytes())]);
        let subrequest = Subrequest { edge: Edge::Envoy, namespace: crate::edge::Namespace::Own, peer: LOCALHOST, parts: &parts, target: "/" };
        let client = read(proxies.admit(LOCALHOST).unwrap(), &subrequest, &[]).unwrap().client.address();
        prop_assert_eq!(client, expected, "{:?}", chain);
    }

    #[test]
    fn a_line_is_read_whole_or_refused(value: Vec<u8>) {
        let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
        let mut field = Field::named("X");
        prop_assert_eq!(field.text(), Ok(None));
        field.add(&value);
        let expected = std::str::from_utf8(value.as_bytes()).map(Some).map_err(|_| field.fault("is not UTF-8"));
        prop_assert_eq!(field.text(), expected);
        field.add(&value);
        prop_assert_eq!(field.text(), Err(field.fault("is repeated")));
    }

    #[test]
    fn a_method_is_capitals_and_a_target_has_no_gaps(text in "[A-Z0-9_-]{1,9}|/?[ -~\\t\\x7fé]{0,40}|GET|DELETE") {
        let is_capital = |one: char| one.is_ascii_uppercase() || one.is_ascii_digit() || matches!(one, '-' | '_');
        let first = text.chars().next();
        prop_assert_eq!(is_method(&text), first.is_some_and(|one| one.is_ascii_uppercase()) && text.chars().all(is_capital));
        let has_gap = text.chars().any(|one| one == ' ' || one.is_ascii_control());
        prop_assert_eq!(target(&text).is_ok(), text.starts_with('/') && !has_gap);
    }

    #[test]
    fn what_is_read_fits_on_a_request_line(
        lines in prop::collection::vec(header(), 0..12),
        method in "[A-Za-z]{1,7}",
        target in "\\PC{0,20}",
    ) {
        let mut parts = request("GET", &[]);
        parts.method = Method::from_bytes(method.as_bytes()).unwrap();
        parts.headers = lines
            .iter()
            .filter_map(|(name, value)| Some((HeaderName::from_static(name), HeaderValue::from_bytes(value).ok()?)))
            .collect::<HeaderMap>();
        let proxies = &*LOOPBACK;
        let peer = LOCALHOST;
        let _ = request_host(&parts);
        for edge in Edge::ALL {
            let subrequest = Subrequest { edge: *edge, namespace: crate::edge::Namespace::Own, peer, parts: &parts, target: &target };
            if let Ok(original) = read(proxies.admit(peer).unwrap(), &subrequest, &[]) {
                prop_assert!(original.target.starts_with('/') && original.path().starts_with('/'));
                prop_assert!(!original.target.bytes().any(|byte| byte <= b' ' || byte == 0x7f));
                prop_assert!(original.method.is_none_or(is_method));
                prop_assert!(!original.authority.host().bytes().any(|byte| byte.is_ascii_uppercase()));
            }
        }
    }
}
