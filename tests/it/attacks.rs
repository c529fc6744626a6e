//! Known attacks on other gates, tried on this one: raw requests to the real program (`ARCHITECTURE.md`, known attacks).

mod identities;
mod log_lines;
mod pages;
mod responses;
mod routed_hosts;
mod sessions;
mod sign_outs;
mod subrequests;

use crate::world::{EdgeKind, Visitor, World, WorldBuilder};

/// Edge with the gate in clear text, so that raw requests can be sent to it.
const BARE: EdgeKind = EdgeKind::Nginx;

const APP: &str = "app.example.test";
const RULES: &str = "rules.example.test";

/// Headers of a browser for a navigation, and for a fetch of a script.
const PAGE: &str = "Sec-Fetch-Mode: navigate\r\nAccept: text/html\r\n";
const SCRIPT: &str = "Sec-Fetch-Mode: cors\r\nAccept: application/json\r\n";

async fn bare() -> World {
    WorldBuilder::with(BARE).start().await
}

/// Returns the `Cookie` header of a browser at the app.
fn cookies(world: &World, visitor: &Visitor) -> String {
    cookies_at(world, visitor, "app")
}

/// Returns the `Cookie` header of a browser at a host.
fn cookies_at(world: &World, visitor: &Visitor, host: &str) -> String {
    format!("Cookie: {}\r\n", visitor.cookies(&world.at(host, "/").parse().unwrap()))
}

/// Returns a request for one of the gate's own pages over a direct route.
fn direct(method: &str, page: &str, lines: &str) -> String {
    format!("{method} /_doorward{page} HTTP/1.1\r\nHost: {APP}\r\n{lines}")
}
