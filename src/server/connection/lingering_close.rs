//! Lingering close: the end of a connection at which the last response is not lost.
//!
//! Same purpose as nginx `lingering_close`; the caller bounds it in time.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Shuts our side down, then reads until the client closes its own: closing a socket with unread bytes sends a reset, and the
/// reset can overtake the response (RFC 9112, section 9.6).
pub(super) async fn lingering_close(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let _already_closed = stream.shutdown().await;
    let mut unread = [0; 4_096];
    while stream.read(&mut unread).await.is_ok_and(|read| read > 0) {}
}
