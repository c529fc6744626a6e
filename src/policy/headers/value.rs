//! Values as they stand in a header: one line of safe ASCII that can be undone.
//!
//! One encoding for everything: the UTF-8 bytes that are not printable ASCII, the percent sign itself, and spaces at either
//! end are percent-encoded; in a list the separator too, inside a member. Decoding percent escapes once (after splitting,
//! for a list) gives back exactly what the provider said.

use http::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::Separator;

/// `CONTROLS` holds the C0 controls and DEL; what is not ASCII is always encoded.
const TEXT: &AsciiSet = &CONTROLS.add(b'%');
const COMMA: &AsciiSet = &TEXT.add(b',');
const BAR: &AsciiSet = &TEXT.add(b'|');

impl Separator {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Comma => ",",
            Self::Bar => "|",
        }
    }

    const fn unsafe_inside(self) -> &'static AsciiSet {
        match self {
            Self::Comma => COMMA,
            Self::Bar => BAR,
        }
    }
}

/// One text.
pub(super) fn encode(text: &str) -> String {
    keep_edges(&escape(text))
}

/// A piece of a text, whose edges are somewhere inside of it.
pub(super) fn escape(text: &str) -> String {
    utf8_percent_encode(text, TEXT).to_string()
}

/// One member of a list: it holds no separator, so that a group called `a,admins` is never two.
pub(super) fn encode_member(text: &str, separator: Separator) -> String {
    keep_edges(&utf8_percent_encode(text, separator.unsafe_inside()).to_string())
}

/// Whatever reads a header drops the spaces around its value, and around the members of a list: `admin ` would be `admin`.
pub(super) fn keep_edges(escaped: &str) -> String {
    let from_the_left = escaped.trim_start_matches(' ');
    let inner = from_the_left.trim_end_matches(' ');
    let leading = "%20".repeat(escaped.len() - from_the_left.len());
    let trailing = "%20".repeat(from_the_left.len() - inner.len());
    format!("{leading}{inner}{trailing}")
}

/// As much of a list as fits into `room` bytes. Only whole members from the front: a cut name could be another group's.
pub(super) fn join<'a>(members: impl IntoIterator<Item = &'a str>, separator: Separator, room: usize) -> String {
    let mut joined = String::new();
    for member in members {
        // An empty member would be read as an empty name, or as a mistake.
        if member.is_empty() {
            continue;
        }
        let member = encode_member(member, separator);
        let between = if joined.is_empty() { "" } else { separator.text() };
        if joined.len() + between.len() + member.len() > room {
            break;
        }
        joined.push_str(between);
        joined.push_str(&member);
    }
    joined
}

/// The header value of text that this module encoded.
pub(super) fn line(encoded: &str) -> HeaderValue {
    HeaderValue::from_str(encoded).expect("encoded text is printable ASCII")
}
