//! The one kind of body that is ever read: a form, bounded in size and in time.
//!
//! It must not know what is in it, nor who asks for it.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

/// Twice the longest token that is believed, and room for what stands around it.
const LONGEST: usize = 32 * 1024;
/// Whoever sends a form has it ready.
const ARRIVES_WITHIN: Duration = Duration::from_secs(3);

/// Reads a form to its end. One that is too long, too slow or torn off is an empty one, in which nothing is found.
pub(super) async fn read(body: Incoming) -> Bytes {
    read_within(ARRIVES_WITHIN, body).await
}

/// The same within another time.
pub(super) async fn read_within(patience: Duration, body: Incoming) -> Bytes {
    match timeout(patience, Limited::new(body, LONGEST).collect()).await {
        Ok(Ok(whole)) => whole.to_bytes(),
        Ok(Err(_)) | Err(_) => Bytes::new(),
    }
}
