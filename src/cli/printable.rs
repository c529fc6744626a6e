//! Escaping of outside text for terminals and logs: names come from providers, paths and hosts from clients.
//!
//! No character that a terminal would interpret, that begins another line, or that changes the reading order of a line is
//! written as itself.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    io,
};

/// Returns `true` if a character acts on the text around it instead of being shown: control characters (ESC and line breaks
/// among them), line and paragraph separators, and those that change the direction of text (Unicode Standard Annex 9).
pub(super) fn is_active(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{061c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'
                | '\u{2029}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2066}'..='\u{206f}'
        )
}

/// Returns the text with every active character escaped, such as `\n` or `\u{202e}`.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    replaced(text, is_active, |letter, safe| safe.extend(letter.escape_default()))
}

/// Returns the text with every active character except newlines escaped: for our own text of several lines.
pub(super) fn escaped_except_newlines(text: &str) -> Cow<'_, str> {
    let is_other = |letter| letter != '\n' && is_active(letter);
    replaced(text, is_other, |letter, safe| safe.extend(letter.escape_default()))
}

/// Returns JSON with every active character except newlines escaped. Such characters occur only inside its strings, so the
/// parsed value stays the same.
pub(super) fn escaped_json(text: &str) -> Cow<'_, str> {
    let is_other = |letter| letter != '\n' && is_active(letter);
    replaced(text, is_other, |letter, safe| {
        let _never_fails = write!(safe, "\\u{:04x}", u32::from(letter));
    })
}

fn replaced(text: &str, is_active: impl Fn(char) -> bool, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(&is_active) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_active(letter) { escape(letter, &mut safe) } else { safe.push(letter) }
    }
    Cow::Owned(safe)
}

/// Writer that escapes active characters in JSON. Each call to `write` has to be complete text.
pub(super) struct Json<W>(pub(super) W);

impl<W: io::Write> io::Write for Json<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Nearly every line is plain ASCII, where JSON has escaped control characters already.
        if bytes.iter().all(|byte| (b' '..=b'~').contains(byte) || *byte == b'\n') {
            self.0.write_all(bytes)?;
        } else {
            self.0.write_all(escaped_json(&String::from_utf8_lossy(bytes)).as_bytes())?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Writes a value of a log line: as it is if a plain word, else quoted and escaped.
pub(super) fn write_value(out: &mut impl fmt::Write, value: &str) -> fmt::Result {
    let is_plain = |letter: char| !letter.is_whitespace() && !is_active(letter) && !"\"'\\=".contains(letter);
    if !value.is_empty() && value.chars().all(is_plain) {
        return out.write_str(value);
    }
    out.write_char('"')?;
    for letter in value.chars() {
        match letter {
            '"' | '\\' => write!(out, "\\{letter}")?,
            other if is_active(other) => write!(out, "{}", other.escape_default())?,
            other => out.write_char(other)?,
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use io::Write as _;

    use super::*;

    const ACTIVE: &str = "\n\r\t\0\u{7}\u{8}\u{1b}\u{7f}\u{85}\u{9b}\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\
                          \u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}";

    #[test]
    fn no_active_character_is_written_as_itself() {
        for letter in ACTIVE.chars() {
            let text = format!("a{letter}b");
            let mut value = String::new();
            write_value(&mut value, &text).unwrap();
            for safe in [escaped(&text).into_owned(), value] {
                assert!(!safe.contains(is_active), "{letter:?}: {safe:?}");
                assert!(safe.contains('a') && safe.contains('b') && safe.contains('\\'), "{safe}");
            }
            assert_eq!(escaped_except_newlines(&text).contains(letter), letter == '\n', "{letter:?}");
        }
        for plain in ["ann", "Ann Ångström", "安", "مرحبا", "e\u{301}", "👩‍🚀"] {
            assert_eq!(escaped(plain), plain);
        }
    }

    #[test]
    fn escaped_json_parses_to_the_same_value() {
        let value = serde_json::json!({ "sub": ACTIVE, "name": "Ann Ångström" });
        let mut written = Json(Vec::new());
        written.write_all(format!("{value}\n").as_bytes()).unwrap();
        let written = String::from_utf8(written.0).unwrap();
        assert!(!written.trim_end_matches('\n').contains(is_active), "{written:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), value);
    }

    #[test]
    fn a_value_that_looks_like_further_fields_is_quoted() {
        for (value, written) in [
            ("ann", "ann"),
            ("/a/b?c", "/a/b?c"),
            ("", "\"\""),
            ("a b", "\"a b\""),
            ("x app=admin", "\"x app=admin\""),
            ("x=y", "\"x=y\""),
            ("a\"b\\", "\"a\\\"b\\\\\""),
            ("a\u{1b}[31mb\n", "\"a\\u{1b}[31mb\\n\""),
        ] {
            let mut out = String::new();
            write_value(&mut out, value).unwrap();
            assert_eq!(out, written);
        }
    }
}
