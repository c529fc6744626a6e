//! How a raw path is spelt: whether every server reads it in one way, several could differ, or nobody can tell.
//!
//! Pure. [`super::readings`] says what the servers that differ make of it.

use percent_encoding::percent_decode_str;

/// How a raw path is spelt. The query is no part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One reading: the path as it stands, which is also its own folded form.
    Plain,
    /// One reading once it is decoded, and possibly another folded form.
    Clear,
    /// Several readings: servers differ in what they decode, split, cut and merge.
    Ambiguous,
    /// Dot segments, NUL and other control characters, `#`, escapes that are none: what an app makes of them is
    /// anybody's guess.
    Unreadable,
}

/// Longer ambiguous paths count as unreadable: each reading is a copy, and strangers choose the length.
const MOST_AMBIGUOUS: usize = 4 * 1024;

/// Whether two servers could read this raw path differently. Such a path is never opened by a rule.
///
/// Besides what nobody can read and what servers split differently, this holds for an escape of a character that needs
/// none (`%61`), because some servers compare before they decode; `%25`, because some decode twice; `;` anywhere, because
/// some cut parameters off; bytes beyond ASCII that are not escaped.
#[must_use]
pub fn is_ambiguous(path: &str) -> bool {
    !matches!(form(path), Form::Plain | Form::Clear)
}

/// The form of a raw path.
pub(super) fn form(path: &str) -> Form {
    // All bytes are looked at before any is judged: what is asked at each of them would cost more than what follows.
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
        return if is_folded { Form::Plain } else { Form::Clear };
    }
    if is_unreadable(path) || path.len() > MOST_AMBIGUOUS { Form::Unreadable } else { Form::Ambiguous }
}

/// What a byte is in a path, as bits, so that the kinds of many bytes fit into one number.
mod kind {
    /// What no unambiguous path holds.
    pub(super) const TROUBLE: u8 = 1;
    /// What escapes begin with.
    pub(super) const ESCAPE: u8 = 2;
    pub(super) const SLASH: u8 = 4;
    /// A slash or a dot: behind a slash it may be the beginning of an odd segment. One bit above the slash, so that what stands
    /// behind one is found by a shift.
    pub(super) const STEP: u8 = SLASH << 1;
    /// What another letter case folds.
    pub(super) const CAPITAL: u8 = 16;
    pub(super) const DOT: u8 = 32;

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

/// Dot segments, and empty ones anywhere but at the end.
fn has_odd_segments(path: &str) -> bool {
    let mut segments = path.as_bytes().split(|byte| *byte == b'/');
    let _before_the_first = segments.next();
    let _at_the_end = segments.next_back();
    segments.any(|segment| matches!(segment, b"" | b"." | b"..")) || path.ends_with("/.") || path.ends_with("/..")
}

/// Segments that end with a dot, which Windows takes for the same without it.
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

/// The octets that the escapes of a text stand for; `None` for one that is none.
fn escapes(text: &str) -> impl Iterator<Item = Option<u8>> {
    text.split('%').skip(1).map(|escape| escape.get(..2).and_then(octet))
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

/// Whether no list of readings could be complete, decoded once or twice.
fn is_unreadable(path: &str) -> bool {
    if !path.starts_with('/') || escapes(path).any(|octet| octet.is_none()) {
        return true;
    }
    let decode = |text: &str| percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned);
    // A percent sign that is followed by no escape is one that whoever decodes twice leaves as it is.
    let Some(once) = decode(path) else { return true };
    let Some(twice) = decode(&once) else { return true };
    [path, &once, &twice].into_iter().any(|text| text.chars().any(is_noise) || has_dot_segments(text))
}

fn is_noise(letter: char) -> bool {
    letter == '#' || letter.is_control()
}

/// Dot segments in any spelling: behind either slash, before parameters, with the spaces that Windows drops.
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
