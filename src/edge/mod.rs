//! Auth subrequests of edges (Traefik's `ForwardAuth`, Caddy's `forward_auth`, nginx's `auth_request`, Envoy's `ext_authz`) and
//! their answers: the original request as an edge describes it, and the verdict as a value.
//!
//! Pure and synchronous. Headers and statuses of each edge are known here, and nowhere else.

mod address;
mod answer;
mod cross_site;
mod dialect;
mod field;
mod intent;
mod network;
mod request;
#[cfg(test)]
mod tests;
mod trust;
mod verdict;

pub use self::{
    address::ForwardedClient,
    answer::{DOORWARD_REASON, DOORWARD_REQUEST_ID, Response, write, write_direct},
    cross_site::is_cross_site,
    dialect::{
        HostMismatch, cross_check, direct_client, is_question, mend_cookies, mend_headers, mend_method, read,
        read_proxied,
    },
    field::{BadRequest, request_host},
    intent::{Intent, intent, tells_intent},
    network::Network,
    request::{AuthRequest, Edge, Namespace, Subrequest},
    trust::{TrustedPeer, TrustedProxies},
    verdict::{Admission, Body, Framing, Reason, Redirect, Refusal, Verdict},
};
