//! Service tokens: credentials of programs, made and revoked by operators, kept in the store beside the sessions and answered
//! from memory like those.
//!
//! - [`value`]: the text of a token, and the tag that proves that the gate made it;
//! - [`record`]: what is sealed into its row;
//! - [`cached`], [`cache`]: tokens in memory;
//! - [`lookup`]: the token of a request, from memory or else from the store;
//! - [`upkeep`]: revalidating, writing last uses and re-encrypting, off the requests' path;
//! - [`admin`]: making, listing and revoking them, for operators.
//!
//! Promises: a made-up token costs no call to the store; a revoked one is refused as fast as a session that has ended; the token
//! itself is shown once, and a hash of it kept.

pub mod admin;
pub(super) mod cache;
mod cached;
mod lookup;
mod record;
pub(super) mod upkeep;
mod value;

pub use self::{
    cached::CachedServiceToken,
    lookup::{ServiceTokenOutcome, ServiceTokens},
};
