//! Reverse-proxy mode between raw clients and raw apps: what of a request reaches the app, byte by byte, and what of its answer
//! reaches the client.

mod heads;
mod http_2;
mod neighbours;
mod requests;
mod responses;
mod wire;
