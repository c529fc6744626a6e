//! Forms of raw paths: one reading, several readings, or unreadable.
//!
//! Promises: a path with one reading is the same to every server. [`super::readings`] has the readings of the others.

use percent_encoding::percent_decode_str;

/// Form of a raw path, without the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathForm {
    /// One reading: the path as it is, which is also its own folded form.
    Plain,
    /// One reading once it is decoded, and possibly another folded form.
    Clear,
    /// Several readings: servers differ in what they decode, split, cut and merge.
    Ambiguous,
    /// Dot segments, NUL and other control characters, `#`, invalid escapes: no list of readings could be complete.
    Unreadable,
}

/// The longest ambiguous path that is read, in bytes; longer ones count as unreadable. Each reading is a copy, and clients choose
/// the length.
const MAX_AMBIGUOUS: usize = 4 * 1024;

/// Returns `true` if two servers could read this raw path differently. No rule opens such a path.
///
/// Besides unreadable paths and those that servers split differently, these are ambiguous: an escape of a character that needs
/// none (`%61`), because some servers compare before they decode; `%25`, because some decode twice; `;` anywhere, because some
/// cut parameters off; unescaped bytes beyond ASCII.
#[must_use]
pub fn is_ambiguous(path: &str) -> bool {
    !matches!(form(path), PathForm::Plain | PathForm::Clear)
}

/// Returns the form of a raw path.
pub(super) fn form(path: &str) -> PathForm {
    // Classifies all bytes before judging any: a branch for each of them would cost more than what follows.
    let (mut kinds, mut steps, mut last) = (0, 0, 0);
    for byte in path.bytes() {
        let kind = kind::of(byte);
        kinds |= kind;
        steps |= (last << 1) & kind;
        last = kind;
    }
    let is_clear = path.starts_with('/')
        && kinds & kind::TROUBLE == 0
        && (steps & kind::STEP == 0 || !has_odd_segments(path))
        && (kinds & kind::ESCAPE == 0 || !has_odd_escapes(path));
    if is_clear {
        let ends_with_slash = last & kind::SLASH != 0 && path.len() > 1;
        let is_folded =
            kinds & (kind::ESCAPE | kind::CAPITAL) == 0 && !ends_with_slash && !has_trailing_dots(path, kinds);
        return if is_folded { PathForm::Plain } else { PathForm::Clear };
    }
    if is_unreadable(path) || path.len() > MAX_AMBIGUOUS { PathForm::Unreadable } else { PathForm::Ambiguous }
}

/// Kinds of bytes in a path, as bits, so that the kinds of many bytes fit into one number.
mod kind {
    /// In no unambiguous path.
    pub(super) const TROUBLE: u8 = 1;
    /// The beginning of an escape.
    pub(super) const ESCAPE: u8 = 2;
    pub(super) const SLASH: u8 = 4;
    /// A slash or a dot: behind a slash it may begin an odd segment. One bit above the slash, so that a shift finds the byte behind
    /// one.
    pub(super) const STEP: u8 = SLASH << 1;
    /// A letter that folding changes.
    pub(super) const CAPITAL: u8 = 16;
    pub(super) const DOT: u8 = 32;

    /// Kinds by byte, as a table, because every request has a path.
    #[expect(clippy::indexing_slicing, reason = "done by the compiler, which sees that it fits")]
    const TABLE: [u8; 256] = {
        let mut table = [TROUBLE; 256];
        let mut byte = b'!';
        while byte <= b'~' {
            table[byte as usize] = match byte {
                b'\\' | b';' | b'#' | b'?' => TROUBLE,
                b'%' => ESCAPE,
                b'/' => SLASH | STEP,
                b'.' => STEP | DOT,
                b'A'..=b'Z' => CAPITAL,
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

/// Returns `true` for dot segments, and empty ones anywhere but at the end.
fn has_odd_segments(path: &str) -> bool {
    let mut segments = path.as_bytes().split(|byte| *byte == b'/');
    let _before_the_first = segments.next();
    let _at_the_end = segments.next_back();
    segments.any(|segment| matches!(segment, b"" | b"." | b"..")) || path.ends_with("/.") || path.ends_with("/..")
}

/// Returns `true` for segments that end with a dot, which Windows drops.
fn has_trailing_dots(path: &str, kinds: u8) -> bool {
    kinds & kind::DOT != 0 && (path.ends_with('.') || path.contains("./"))
}

fn has_odd_escapes(path: &str) -> bool {
    let mut beyond_ascii = false;
    for octet in escapes(path) {
        match octet {
            Some(byte) if byte.is_ascii() => {
                if needs_no_escape(byte) || byte.is_ascii_control() || is_structure(byte) {
                    return true;
                }
            }
            Some(_) => beyond_ascii = true,
            None => return true,
        }
    }
    // Windows takes `..%20` for `..`.
    let has_spaced_dots = path.contains("/.") && has_dot_segments(&percent_decode_str(path).decode_utf8_lossy());
    has_spaced_dots || beyond_ascii && percent_decode_str(path).decode_utf8().is_err()
}

/// Returns the octets of the escapes in a text; `None` for an invalid one.
fn escapes(text: &str) -> impl Iterator<Item = Option<u8>> {
    text.split('%').skip(1).map(|escape| escape.get(..2).and_then(octet))
}

fn octet(digits: &str) -> Option<u8> {
    // `from_str_radix` alone would accept a sign.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u8::from_str_radix(digits, 16).ok())?
}

/// Returns `true` for unreserved characters (RFC 3986, section 2.3).
fn needs_no_escape(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Returns `true` for characters that divide a URL when a server decodes them too early or once too often.
fn is_structure(byte: u8) -> bool {
    matches!(byte, b'/' | b'\\' | b';' | b'?' | b'#' | b'%')
}

/// Returns `true` if no list of readings could be complete, decoded once or twice.
fn is_unreadable(path: &str) -> bool {
    if !path.starts_with('/') || escapes(path).any(|octet| octet.is_none()) {
        return true;
    }
    let decode = |text: &str| percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned);
    // Decoding twice leaves a percent sign as it is that no escape follows.
    let Some(once) = decode(path) else { return true };
    let Some(twice) = decode(&once) else { return true };
    [path, &once, &twice].into_iter().any(|text| text.chars().any(is_noise) || has_dot_segments(text))
}

fn is_noise(letter: char) -> bool {
    letter == '#' || letter.is_control()
}

/// Returns `true` for dot segments in any spelling: behind either slash, before parameters, with the spaces that Windows drops.
fn has_dot_segments(text: &str) -> bool {
    text.split(['/', '\\']).any(|segment| {
        let name = segment.split([';', '?']).next().unwrap_or_default();
        matches!(name.trim_end_matches(' '), "." | "..")
    })
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
