//! Integration tests of the gate between real neighbours: edges, a certified provider, a Keycloak, an app, browsers. One module
//! per topic.
//!
//! Everything runs on loopback ports of its own and ends with its test. `make setup` installs the neighbours.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed, and the panic says where"
)]

mod adopt;
mod api_clients;
mod attacks;
mod callbacks;
mod callbacks_in_a_browser;
mod clocks;
mod commands;
mod compat;
mod compat_edges;
mod compat_oauth2_proxy;
mod cookie_domains;
mod cross_site;
mod delegate;
mod documents;
mod edges;
mod emergency;
mod forwarding;
mod full_disk;
mod headers;
mod hidden_cookies;
mod in_a_browser;
mod keycloak;
mod keys;
mod latency;
mod logout;
mod long_targets;
mod mcp;
mod metrics;
mod migration;
mod misconfigured_edges;
mod outages;
mod postgres;
mod provider_matrix;
mod provider_sessions;
mod rate_limits;
mod reauthorization;
mod refusals;
mod reload;
mod relying_parties;
mod renewal;
mod replicas;
mod resource_limits;
mod revocation;
mod rotation;
mod rules;
mod service_tokens;
mod session_scope;
mod sign_in;
mod sign_out;
mod single_page;
mod step_up;
mod world;
