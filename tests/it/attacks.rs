//! What broke other gates, tried on this one: raw requests to the real program (`ARCHITECTURE.md`, known attacks).

mod answers;
mod identities;
mod lines;
mod pages;
mod questions;
mod sessions;
mod sign_outs;
mod witnesses;

use crate::world::{Kind, Plan, Visitor, World};

/// The gate in clear text, so that anything at all can be said to it.
const BARE: Kind = Kind::Nginx;

const APP: &str = "app.example.test";
const RULES: &str = "rules.example.test";

/// What a browser says about a page that is being opened, and about anything else.
const PAGE: &str = "Sec-Fetch-Mode: navigate\r\nAccept: text/html\r\n";
const SCRIPT: &str = "Sec-Fetch-Mode: cors\r\nAccept: application/json\r\n";

async fn bare() -> World {
    Plan::with(BARE).start().await
}

/// The `Cookie` line of somebody's browser at the app.
fn cookies(world: &World, visitor: &Visitor) -> String {
    cookies_at(world, visitor, "app")
}

/// The same at another host.
fn cookies_at(world: &World, visitor: &Visitor, host: &str) -> String {
    format!("Cookie: {}\r\n", visitor.cookies(&world.at(host, "/").parse().unwrap()))
}

/// A request for one of the gate's own pages over a direct route.
fn direct(method: &str, page: &str, lines: &str) -> String {
    format!("{method} /_doorward{page} HTTP/1.1\r\nHost: {APP}\r\n{lines}")
}
