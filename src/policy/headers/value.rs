//! Header values: one line of safe ASCII, from which the original can be decoded.
//!
//! Promises: one encoding for everything. UTF-8 bytes that are not printable ASCII, the percent sign itself, and spaces at either
//! end are percent-encoded; in a list the separator too, inside a member. Decoding percent escapes once (after splitting, for a
//! list) gives back exactly the value of the provider.

use http::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, percent_encode, utf8_percent_encode};

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

/// Returns a value that another gate has rendered. What it left outside of ASCII is percent-encoded, and nothing else: apps know the
/// rest as that gate has it.
pub(super) fn relayed(value: &HeaderValue) -> HeaderValue {
    line(&percent_encode(value.as_bytes(), CONTROLS).to_string())
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
fn encode_member(text: &str, separator: Separator) -> String {
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

/// Encodes the members of a list, without empty ones, which would be parsed as an empty name or as an error.
pub(super) fn members<'a>(members: impl IntoIterator<Item = &'a str>, separator: Separator) -> Vec<String> {
    let members = members.into_iter().filter(|member| !member.is_empty());
    members.map(|member| encode_member(member, separator)).collect()
}

/// Bytes that encoded members take when they are joined; both separators are one byte.
pub(super) fn joined_length(members: &[String]) -> usize {
    members.iter().map(|member| member.len() + 1).sum::<usize>().saturating_sub(1)
}

/// Joins as many encoded members from the front as fit into `room` bytes, and returns how many these are. Only whole ones: a cut
/// name could be another group's. One that is too long by itself keeps none of the others out.
pub(super) fn join_within(members: &[String], separator: Separator, room: usize) -> (String, usize) {
    let (mut joined, mut count) = (String::new(), 0);
    for member in members.iter().filter(|member| member.len() <= room) {
        let between = if joined.is_empty() { "" } else { separator.text() };
        if joined.len() + between.len() + member.len() > room {
            break;
        }
        joined.push_str(between);
        joined.push_str(member);
        count += 1;
    }
    (joined, count)
}

/// Makes the header value of text that this module encoded.
pub(super) fn line(encoded: &str) -> HeaderValue {
    HeaderValue::from_str(encoded).expect("encoded text is printable ASCII")
}
