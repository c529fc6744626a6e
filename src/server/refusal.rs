//! What hyper refuses by itself over HTTP/1, before there is a request: marked like every other refusal.
//!
//! hyper writes such an answer without asking anybody: a status line, an empty body, the end. Here it gets a reason and may not be
//! kept by a cache. It must not know what was wrong with the request.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWrite;

use crate::edge::{DOORWARD_REASON, Reason};

/// Where an answer says whether it is a refusal.
pub(super) const MARK: usize = BEGINS.len() - 1;

/// How a refusal begins, whoever makes it.
const BEGINS: &[u8] = b"HTTP/1.1 4";

/// The refusal with its marks, where these bytes are one of hyper's own.
pub(super) fn marked(bytes: &[u8]) -> Option<Bytes> {
    // Nearly every answer differs here already.
    let status = bytes.strip_prefix(BEGINS)?;
    let reason = match status.get(..2)? {
        b"00" => Reason::BadRequest,
        b"14" | b"31" => Reason::HeadersTooLarge,
        _ => return None,
    };
    if memchr::memmem::find(bytes, DOORWARD_REASON.as_str().as_bytes()).is_some() {
        return None;
    }
    let (line, rest) = bytes.split_at_checked(memchr::memchr(b'\n', bytes)? + 1)?;
    let marks = format!("cache-control: no-store\r\n{DOORWARD_REASON}: {}\r\n", reason.code());
    Some([line, marks.as_bytes(), rest].concat().into())
}

/// Writes all of it.
pub(super) fn poll_write<S: AsyncWrite>(
    mut stream: Pin<&mut S>,
    context: &mut Context<'_>,
    refusal: &mut Bytes,
) -> Poll<io::Result<()>> {
    while refusal.has_remaining() {
        match ready!(stream.as_mut().poll_write(context, refusal))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => refusal.advance(written),
        }
    }
    Poll::Ready(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_hyper_says_by_itself_is_marked() {
        for (said, reason) in [
            ("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", Some("bad_request")),
            ("HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n\r\n", Some("headers_too_large")),
            ("HTTP/1.1 414 URI Too Long\r\ncontent-length: 0\r\n\r\n", Some("headers_too_large")),
            ("HTTP/1.1 400 Bad Request\r\ndoorward-reason: bad_request\r\n\r\n", None),
            ("HTTP/1.1 404 Not Found\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\n\r\n", None),
            ("HTTP/1.1 4", None),
            ("", None),
        ] {
            let marks = reason.map(|reason| format!("\r\ncache-control: no-store\r\ndoorward-reason: {reason}\r\n"));
            let expected = marks.map(|marks| said.replacen("\r\n", &marks, 1));
            assert_eq!(marked(said.as_bytes()).as_deref(), expected.as_deref().map(str::as_bytes), "{said}");
        }
    }
}
