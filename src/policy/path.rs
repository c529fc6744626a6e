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
    // All bytes are looked at before any is judged: what is asked at each of them would cost more than what follows.
    let (mut kinds, mut steps, mut last) = (0, 0, 0);
    for byte in path.bytes() {
        let kind = kind::of(byte);
        kinds |= kind;
        steps |= (last << 1) & kind;
        last = kind;
    }
    !path.starts_with('/')
        || kinds & kind::TROUBLE != 0
        || (steps & kind::STEP != 0 && has_odd_segments(path))
        || (kinds & kind::ESCAPE != 0 && has_odd_escapes(path))
}

/// What a byte is in a path, as bits, so that the kinds of many bytes fit into one number.
mod kind {
    /// What no unambiguous path holds.
    pub(super) const TROUBLE: u8 = 1;
    /// What escapes begin with.
    pub(super) const ESCAPE: u8 = 2;
    const SLASH: u8 = 4;
    /// A slash or a dot: behind a slash it may be the beginning of an odd segment. One bit above the slash, so that what stands
    /// behind one is found by a shift.
    pub(super) const STEP: u8 = SLASH << 1;

    /// By byte: looked up, because every request has a path.
    #[expect(clippy::indexing_slicing, reason = "done by the compiler, which sees that it fits")]
    const TABLE: [u8; 256] = {
        let mut table = [TROUBLE; 256];
        let mut byte = b'!';
        while byte <= b'~' {
            table[byte as usize] = match byte {
                b'\\' | b';' | b'#' | b'?' => TROUBLE,
                b'%' => ESCAPE,
                b'/' => SLASH | STEP,
                b'.' => STEP,
                _ => 0,
            };
            byte += 1;
        }
        table
    };

    pub(super) fn of(byte: u8) -> u8 {
        TABLE.get(usize::from(byte)).copied().unwrap_or(TROUBLE)
    }
}

/// Dot segments, and empty ones anywhere but at the end.
fn has_odd_segments(path: &str) -> bool {
    let mut segments = path.as_bytes().split(|byte| *byte == b'/');
    let _before_the_first = segments.next();
    let _at_the_end = segments.next_back();
    segments.any(|segment| matches!(segment, b"" | b"." | b"..")) || path.ends_with("/.") || path.ends_with("/..")
}

fn has_odd_escapes(path: &str) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_path_is_ambiguous_for_any_of_its_bytes_segments_and_escapes(
            path in "(/|//|/\\.|\\.|[a-z~]|%[0-9a-f]{2}|%c3%a9|[!-~]|[ -\\x7fé\\x00]){0,8}",
        ) {
            let is_trouble = |one: char| !one.is_ascii_graphic() || matches!(one, '\\' | ';' | '#' | '?');
            let expected = !path.starts_with('/')
                || path.chars().any(is_trouble)
                || has_odd_segments(&path)
                || has_odd_escapes(&path);
            proptest::prop_assert_eq!(is_ambiguous(&path), expected);
            proptest::prop_assert_eq!(is_ambiguous(&format!("/{path}")), {
                let path = format!("/{path}");
                path.chars().any(is_trouble) || has_odd_segments(&path) || has_odd_escapes(&path)
            });
        }
    }
}
