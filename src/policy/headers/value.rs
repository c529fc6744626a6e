//! Header values: one line of safe ASCII, from which the original can be decoded.
//!
//! Promises: one encoding for everything. UTF-8 bytes that are not printable ASCII, the percent sign itself, and spaces at either
//! end are percent-encoded; in a list the separator too, inside a member. Decoding percent escapes once (after splitting, for a
//! list) gives back exactly the value of the provider.

use http::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// `CONTROLS` holds the C0 controls and DEL; what is not ASCII is always encoded.
const TEXT: &AsciiSet = &CONTROLS.add(b'%');
const COMMA: &AsciiSet = &TEXT.add(b',');
const BAR: &AsciiSet = &TEXT.add(b'|');

/// Separator between the members of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Separator {
    /// `,`
    Comma,
    /// `|`
    Bar,
}

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

/// Encodes a text.
pub(super) fn encode(text: &str) -> String {
    encode_edges(&escape(text))
}

/// Encodes a piece of a text, whose edges are inside of that text.
pub(super) fn escape(text: &str) -> String {
    utf8_percent_encode(text, TEXT).to_string()
}

/// Encodes a member of a list, and the separator in it, so that a group called `a,admins` is never two.
pub(super) fn encode_member(text: &str, separator: Separator) -> String {
    encode_edges(&utf8_percent_encode(text, separator.unsafe_inside()).to_string())
}

/// Encodes spaces at either end. Parsers drop the spaces around a value and around the members of a list: `admin ` would be
/// `admin`.
pub(super) fn encode_edges(escaped: &str) -> String {
    let from_the_left = escaped.trim_start_matches(' ');
    let inner = from_the_left.trim_end_matches(' ');
    let leading = "%20".repeat(escaped.len() - from_the_left.len());
    let trailing = "%20".repeat(from_the_left.len() - inner.len());
    format!("{leading}{inner}{trailing}")
}

/// Joins as many members from the front as fit into `room` bytes. Only whole ones: a cut name could be another group's.
pub(super) fn join<'a>(members: impl IntoIterator<Item = &'a str>, separator: Separator, room: usize) -> String {
    let mut joined = String::new();
    for member in members {
        // An empty member would be parsed as an empty name, or as an error.
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

/// Makes the header value of text that this module encoded.
pub(super) fn line(encoded: &str) -> HeaderValue {
    HeaderValue::from_str(encoded).expect("encoded text is printable ASCII")
}
