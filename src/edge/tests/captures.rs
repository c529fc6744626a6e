//! Captured subrequests of real edges, and the original requests that have to be read from them.

use std::{collections::BTreeMap, fs};

use super::{fixtures, request, why};
use crate::edge::{Edge, Intent, Subrequest, TrustedProxies, read, request_host};

/// Subrequest as the authorization server received it: method, raw path, header lines.
struct Captured {
    method: String,
    path: String,
    lines: Vec<(String, Vec<u8>)>,
}

/// Parses a capture; `None` where the edge refused the request by itself.
fn captured(text: &str) -> Option<Captured> {
    let (_, rest) = text.split_once("===== AUTH SERVER RECEIVED").unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    let (block, _) = rest.split_once("===== APP RECEIVED").unwrap();
    if block.starts_with("(nothing)") {
        return None;
    }
    let mut lines = block.lines().skip(1);
    let mut request_line = lines.next().unwrap().split(' ');
    let (method, path) = (request_line.next().unwrap().to_owned(), request_line.next().unwrap().to_owned());
    let lines = lines
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            // Captures hold the bytes decoded as Latin-1.
            (name.to_owned(), value.trim_start_matches(' ').chars().map(|byte| u8::try_from(byte).unwrap()).collect())
        })
        .collect();
    Some(Captured { method, path, lines })
}

fn edge_of(capture: &str) -> Edge {
    match capture.split_once("__").unwrap().0 {
        "traefik" => Edge::Traefik,
        "caddy" => Edge::Caddy,
        "nginx122" | "haproxy26" => Edge::Nginx,
        "envoyhttp" => Edge::Envoy,
        other => panic!("no dialect for {other}"),
    }
}

/// Row of the table for a capture.
fn outcome(name: &str, text: &str) -> String {
    let Some(Captured { method, path, lines }) = captured(text) else {
        return "unasked".to_owned();
    };
    let lines: Vec<_> = lines.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    let parts = request(&method, &lines);
    let target = path.strip_prefix("/outpost.goauthentik.io/auth/envoy").unwrap_or_default();
    // Edges and clients of the captures are all on loopback; an edge elsewhere is one whose clients are known.
    let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
    let subrequest = Subrequest {
        edge: edge_of(name),
        namespace: crate::edge::Namespace::Own,
        peer: "10.0.0.1".parse().unwrap(),
        parts: &parts,
        target,
    };
    match read(proxies.admit(subrequest.peer).unwrap(), &subrequest, &[]) {
        Err(fault) => format!("!\t{}", why(fault)),
        Ok(original) => [
            original.method.unwrap_or("-").to_owned(),
            original.authority.to_string(),
            original.target.to_owned(),
            original.client.address().map_or("-".to_owned(), |address| address.to_string()),
            match original.intent() {
                Intent::Page | Intent::Frame => "page",
                Intent::Form => "form",
                Intent::Fetch => "fetch",
            }
            .to_owned(),
            request_host(&parts).map_or("-".to_owned(), |host| host.to_string()),
        ]
        .join("\t"),
    }
}

#[test]
fn every_captured_request_is_read_as_the_table_says() {
    let table = fs::read_to_string(fixtures("edges/expected.tsv")).unwrap();
    let mut rows: BTreeMap<_, _> =
        table.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_once('\t').unwrap()).collect();
    let mut wrong = Vec::new();
    for entry in fs::read_dir(fixtures("edges")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let outcome = outcome(&name, &fs::read_to_string(&path).unwrap());
        match rows.remove(name.as_str()) {
            Some(expected) if expected == outcome => {}
            other => wrong.push(format!("{name}\n  expected {other:?}\n  read     {outcome:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rows.is_empty(), "rows without a capture: {rows:?}");
}
