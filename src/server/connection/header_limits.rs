//! Limits on the header of a request: bytes and lines.
//!
//! Promises: a header beyond them gets 431 with a reason. Over HTTP/1 hyper refuses it; over HTTP/2 h2 would do so without a
//! reason, so it is read up to twice the size, and refused by the gate.

use http::{HeaderMap, Version, header::COOKIE, request::Parts};

/// The most header lines of a request.
pub(super) const MAX_LINES: usize = 200;

/// Bytes that HTTP/2 adds to each line, RFC 9113, section 6.5.2.
const LINE_OVERHEAD: usize = 32;

/// The most bytes of a header.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct HeaderLimit(usize);

impl HeaderLimit {
    /// Room for 64 KiB of header lines, the request line, and HTTP/2's overhead for [`MAX_LINES`]. In HTTP/1 a longer header is
    /// read too when it happens to fit what the buffer has grown to, up to twice this size.
    pub(in crate::server) const TRUSTED: Self = Self(72 * 1024);
    /// The same for an untrusted peer, which asks for a page, with an address of up to 16 KiB and the cookies of a browser.
    pub(in crate::server) const UNTRUSTED: Self = Self(36 * 1024);

    /// Size of hyper's buffer for HTTP/1.
    pub(super) fn http1_buffer(self) -> usize {
        self.0
    }

    /// The most that h2 reads of a header, in the measure of HTTP/2.
    pub(super) fn http2_list(self) -> u32 {
        u32::try_from(2 * self.0).expect("the limit is a small literal")
    }

    /// Returns `true` if an HTTP/2 request has a header beyond the limits. Each cookie may be a line of its own there (RFC 9113,
    /// section 8.2.3), so that these are counted by their bytes alone.
    pub(in crate::server) fn is_exceeded_by(self, request: &Parts) -> bool {
        if request.version != Version::HTTP_2 {
            return false;
        }
        let target = request.uri.path_and_query().map_or(0, |target| target.as_str().len());
        lines(&request.headers) > MAX_LINES || target + size(&request.headers) > self.0
    }
}

fn lines(headers: &HeaderMap) -> usize {
    headers.len() - headers.get_all(COOKIE).iter().count().saturating_sub(1)
}

fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + LINE_OVERHEAD).sum()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn request(version: Version, lines: usize, name: &str, length: usize) -> Parts {
        let mut request = Request::get("/").version(version);
        for _ in 0..lines {
            request = request.header(name, "x".repeat(length));
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn over_http_2_lines_and_bytes_are_counted_and_over_http_1_hyper_has_counted() {
        for (lines, name, length, is_exceeded) in [
            (200, "a", 1, false),
            (201, "a", 1, true),
            (1_000, "cookie", 1, false),
            (64, "cookie", 1_024, false),
            (80, "cookie", 1_024, true),
        ] {
            let exceeds = |version| HeaderLimit::TRUSTED.is_exceeded_by(&request(version, lines, name, length));
            assert_eq!(exceeds(Version::HTTP_2), is_exceeded, "{lines} {name} of {length}");
            assert!(!exceeds(Version::HTTP_11));
        }
        assert!(HeaderLimit::UNTRUSTED.is_exceeded_by(&request(Version::HTTP_2, 40, "cookie", 1_024)));
    }
}
