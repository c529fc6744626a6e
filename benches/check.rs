//! The check in this process: what a gate needs for an answer once a request has been read.

#[path = "support/mod.rs"]
mod support;

fn main() {}
