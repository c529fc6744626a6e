//! The gate itself: what happens between a request and its verdict.
//!
//! It joins the strangers below it (sessions, providers, pages) and owns no I/O of its own.

use std::net::IpAddr;

use http::request::Parts;

use crate::edge::{Edge, Response};

/// The gate.
pub struct Gate {}

/// What the gate depends on, for the health page.
#[derive(Clone, Debug)]
pub struct Health {
    /// The store's kind, and whether it answers.
    pub store: (&'static str, bool),
    /// Each provider by name, and whether it answers.
    pub providers: Vec<(String, bool)>,
}

impl Gate {
    /// `server.prefix`, such as `/_doorward`; never ends with a slash.
    #[must_use]
    pub fn prefix(&self) -> &str {
        ""
    }

    /// Answers an authorization request. `envoy_target` is what follows `/auth/envoy` on the raw request line.
    pub async fn authorize(&self, edge: Edge, peer: IpAddr, request: &Parts, envoy_target: &str) -> Response {
        let _ = (edge, peer, request, envoy_target);
        Response::default()
    }

    /// Answers a request for one of the gate's own pages that arrived over a direct route. `page` is the path below the
    /// prefix, beginning with a slash.
    pub async fn own_page(&self, request: &Parts, page: &str) -> Response {
        let _ = (request, page);
        Response::default()
    }

    /// Answers a request for anything else: 404, or 503 while the gate is overloaded.
    pub fn nothing_here(&self, request: &Parts) -> Response {
        let _ = request;
        Response::default()
    }

    /// Refuses a request that there is no room or no time for.
    pub fn overloaded(&self, request: &Parts) -> Response {
        let _ = request;
        let mut response = Response::default();
        *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        response
    }

    /// How the things that the gate depends on are.
    #[must_use]
    pub fn health(&self) -> Health {
        Health { store: ("", false), providers: Vec::new() }
    }
}
