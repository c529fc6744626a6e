//! Paths that every server reads the same way, and those that two could read differently.
//!
//! A path that is not ambiguous has one reading: the same segments, decoded once. Rules are compared with that reading.

use percent_encoding::percent_decode_str;

/// Whether two servers could read this raw path differently. The query is no part of it.
///
/// Besides what the contract names, this holds for: an escape of a character that needs none (`%61`), because some servers
/// compare before they decode; `%25`, because some decode twice; `;` anywhere, because some cut parameters off; bytes
/// beyond ASCII that are not escaped, and escapes that are not UTF-8 (an overlong `%c0%ae` is a dot to some).
#[must_use]
pub fn is_ambiguous(path: &str) -> bool {
    !path.starts_with('/') || path.bytes().any(is_troublesome) || has_odd_segments(path) || has_odd_escapes(path)
}

fn is_troublesome(byte: u8) -> bool {
    !byte.is_ascii_graphic() || matches!(byte, b'\\' | b';' | b'#' | b'?')
}

/// Dot segments, and empty ones anywhere but at the end.
fn has_odd_segments(path: &str) -> bool {
    let mut segments = path.as_bytes().split(|byte| *byte == b'/');
    let _before_the_first = segments.next();
    let _at_the_end = segments.next_back();
    segments.any(|segment| matches!(segment, b"" | b"." | b"..")) || path.ends_with("/.") || path.ends_with("/..")
}

fn has_odd_escapes(path: &str) -> bool {
    if memchr::memchr(b'%', path.as_bytes()).is_none() {
        return false;
    }
    let mut escapes = path.split('%');
    let _before_the_first = escapes.next();
    let mut beyond_ascii = false;
    for escape in escapes {
        match escape.get(..2).and_then(octet) {
            Some(byte) if byte.is_ascii() => {
                if needs_no_escape(byte) || byte.is_ascii_control() || is_structure(byte) {
                    return true;
                }
            }
            Some(_) => beyond_ascii = true,
            None => return true,
        }
    }
    beyond_ascii && percent_decode_str(path).decode_utf8().is_err()
}

fn octet(digits: &str) -> Option<u8> {
    // `from_str_radix` alone would take a sign for a digit.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u8::from_str_radix(digits, 16).ok())?
}

/// RFC 3986, section 2.3: the unreserved characters.
fn needs_no_escape(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Characters that divide an address as soon as somebody decodes them too early or once too often.
fn is_structure(byte: u8) -> bool {
    matches!(byte, b'/' | b'\\' | b';' | b'?' | b'#' | b'%')
}

/// Whether two unambiguous paths are the same one, however they are escaped.
pub(super) fn same(one: &str, other: &str) -> bool {
    one == other || percent_decode_str(one).eq(percent_decode_str(other))
}

/// Whether an unambiguous path is `folder` (which ends with a slash), the same without its slash, or below it.
pub(super) fn is_within(path: &str, folder: &str) -> bool {
    let mut rest = percent_decode_str(path);
    let without_slash = folder.strip_suffix('/').unwrap_or(folder);
    for expected in percent_decode_str(without_slash) {
        if rest.next() != Some(expected) {
            return false;
        }
    }
    matches!(rest.next(), None | Some(b'/'))
}
