//! Error responses that hyper writes by itself over HTTP/1, before there is a request: completed like every other refusal.
//!
//! hyper writes such a response without asking: a status line, an empty body, the end. Here it gets a `Doorward-Reason` and
//! `Cache-Control: no-store`.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWrite;

use crate::edge::{DOORWARD_REASON, Reason};

/// Offset of the first digit of a response's status.
pub(super) const STATUS_AT: usize = CLIENT_ERROR.len() - 1;

/// Beginning of every response with a 4xx status.
const CLIENT_ERROR: &[u8] = b"HTTP/1.1 4";

/// Returns `true` if these bytes are hyper's own response to a header that has too many lines, or is too long.
pub(super) fn is_header_overflow(bytes: &[u8]) -> bool {
    bytes.strip_prefix(CLIENT_ERROR).is_some_and(|status| status.starts_with(b"31")) && !has_reason(bytes)
}

/// Returns the reason, and the response with it, where these bytes are one of hyper's own.
pub(super) fn with_reason(bytes: &[u8]) -> Option<(Reason, Bytes)> {
    // Nearly every response differs here already.
    let status = bytes.strip_prefix(CLIENT_ERROR)?;
    let reason = match status.get(..2)? {
        b"00" => Reason::BadRequest,
        b"14" | b"31" => Reason::HeadersTooLarge,
        _ => return None,
    };
    if has_reason(bytes) {
        return None;
    }
    let (line, rest) = bytes.split_at_checked(memchr::memchr(b'\n', bytes)? + 1)?;
    let headers = format!("cache-control: no-store\r\n{DOORWARD_REASON}: {}\r\n", reason.code());
    Some((reason, [line, headers.as_bytes(), rest].concat().into()))
}

fn has_reason(bytes: &[u8]) -> bool {
    memchr::memmem::find(bytes, DOORWARD_REASON.as_str().as_bytes()).is_some()
}

/// Writes all of a response, from where it was left.
pub(super) fn poll_write<S: AsyncWrite>(
    mut stream: Pin<&mut S>,
    context: &mut Context<'_>,
    response: &mut Bytes,
) -> Poll<io::Result<()>> {
    while response.has_remaining() {
        match ready!(stream.as_mut().poll_write(context, response))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => response.advance(written),
        }
    }
    Poll::Ready(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_responses_of_hypers_own_get_a_reason() {
        for (response, reason) in [
            ("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", Some("bad_request")),
            ("HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n\r\n", Some("headers_too_large")),
            ("HTTP/1.1 414 URI Too Long\r\ncontent-length: 0\r\n\r\n", Some("headers_too_large")),
            ("HTTP/1.1 400 Bad Request\r\ndoorward-reason: bad_request\r\n\r\n", None),
            ("HTTP/1.1 404 Not Found\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\n\r\n", None),
            ("HTTP/1.1 4", None),
            ("", None),
        ] {
            let headers =
                reason.map(|reason: &str| format!("\r\ncache-control: no-store\r\ndoorward-reason: {reason}\r\n"));
            let expected = headers.map(|headers| response.replacen("\r\n", &headers, 1));
            let completed = with_reason(response.as_bytes());
            assert_eq!(completed.as_ref().map(|(reason, _)| reason.code()), reason, "{response}");
            assert_eq!(
                completed.as_ref().map(|(_, bytes)| &**bytes),
                expected.as_deref().map(str::as_bytes),
                "{response}"
            );
        }
    }
}
