//! The app behind an edge: it echoes the user header and counts its connections.

use std::{net::SocketAddr, sync::atomic::Ordering};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::runtime::{Builder, Runtime};

use crate::support::{
    gate::FIRST_PERSON,
    servers::{self, MinimalServer},
};

const USER: &str = "remote-user";

/// A running app.
pub(crate) struct Upstream {
    server: MinimalServer,
    _runtime: Runtime,
}

impl Upstream {
    /// Starts it on a thread of its own.
    pub(crate) fn start() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let server = runtime.block_on(servers::minimal(answer));
        Self { server, _runtime: runtime }
    }

    /// Address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Returns the number of accepted connections.
    pub(crate) fn accepted(&self) -> u64 {
        self.server.accepted.load(Ordering::Relaxed)
    }
}

async fn answer(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let nobody = || HeaderValue::from_str(&format!("person{FIRST_PERSON}")).expect("letters and digits");
    let user = request.headers().get(USER).cloned().unwrap_or_else(nobody);
    let mut response = Response::new(Full::default());
    response.headers_mut().insert(USER, user);
    response
}
