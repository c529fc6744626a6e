//! Text of a secret, as an operator writes it: in a file, a variable or the configuration.
//!
//! Promises: line ends behind a secret are no part of it, wherever it is kept; what was left around or in place of a
//! secret by mistake is refused, and no text of an error repeats any of it.

use std::sync::LazyLock;

use regex::Regex;

/// References that a shell, a container runtime or a template would have replaced: `${NAME}`, `$(command)`, `$NAME`,
/// `{{ value }}`. Inside a longer text only what no random secret looks like counts.
static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| {
    let whole = r"^\$\{.*\}$|^\$\(.*\)$|^\$[A-Z_][A-Z0-9_]*$";
    let inside = r"\$\{[A-Za-z_][A-Za-z0-9_]*(:?[-+?=][^{}]*)?\}|\$\([A-Za-z_][A-Za-z0-9_]*\)|\{\{.*\}\}";
    Regex::new(&format!("{whole}|{inside}")).expect("the expression is constant")
});

/// Pairs of quotes, typographic ones included.
const QUOTES: [(char, char); 6] = [('"', '"'), ('\'', '\''), ('`', '`'), ('“', '”'), ('‘', '’'), ('«', '»')];

/// Cause of a text not being a secret. Its `Display` completes a sentence whose subject is the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// Nothing, or nothing but blanks.
    #[error("is empty")]
    Empty,
    /// U+FEFF, as some editors put it in front of a file.
    #[error("begins with a byte order mark")]
    ByteOrderMark,
    /// Several lines.
    #[error("has a line break inside")]
    LineBreak,
    /// A control character, or one that shows nothing.
    #[error("holds a control character or an invisible one")]
    Unprintable,
    /// Blanks before or behind it.
    #[error("has blanks around it")]
    Blanks,
    /// Quotes around all of it.
    #[error("has quotes around it")]
    Quotes,
    /// A reference that nothing has replaced.
    #[error("holds a placeholder that nothing has replaced")]
    Placeholder,
}

impl InvalidSecret {
    /// Returns how to mend it.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::Empty => "put it where this key says that it is kept",
            Self::ByteOrderMark => "save it as UTF-8 without a byte order mark",
            Self::LineBreak => "keep the secret alone there, on one line",
            Self::Unprintable => "write the secret anew, without tabs and other characters that cannot be seen",
            Self::Blanks => "remove the blanks; only line ends behind a secret are passed over",
            Self::Quotes => "remove the quotes: they would be part of the secret",
            Self::Placeholder => {
                "the gate replaces no ${…}, $(…) and {{ … }}: have whatever writes this do it, set the key by its variable \
                 (DOORWARD_…), or name a variable that holds the secret with { env = \"NAME\" }"
            }
        }
    }
}

/// Returns the secret in a text: all of it but the line ends behind it.
pub fn secret_text(text: &str) -> Result<&str, InvalidSecret> {
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.trim().is_empty() {
        return Err(InvalidSecret::Empty);
    }
    if secret.starts_with('\u{feff}') {
        return Err(InvalidSecret::ByteOrderMark);
    }
    if secret.contains(['\r', '\n']) {
        return Err(InvalidSecret::LineBreak);
    }
    if secret.chars().any(|letter| letter.is_control() || is_invisible(letter)) {
        return Err(InvalidSecret::Unprintable);
    }
    if secret.trim() != secret {
        return Err(InvalidSecret::Blanks);
    }
    if QUOTES.iter().any(|(first, last)| is_enclosed(secret, *first, *last)) {
        return Err(InvalidSecret::Quotes);
    }
    if is_placeholder(secret) {
        return Err(InvalidSecret::Placeholder);
    }
    Ok(secret)
}

/// Returns `true` if a text holds a reference that a shell or a template should have replaced.
#[must_use]
pub fn is_placeholder(text: &str) -> bool {
    PLACEHOLDER.is_match(text)
}

fn is_enclosed(text: &str, first: char, last: char) -> bool {
    text.strip_prefix(first).is_some_and(|rest| rest.ends_with(last))
}

/// Returns `true` for characters without a width: joiners, direction marks, line separators (Unicode, general categories
/// Cf, Zl and Zp as far as text copied from a page has them).
fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_behind_a_secret_are_no_part_of_it() {
        for text in ["s3cret", "s3cret\n", "s3cret\r\n", "s3cret\n\n\r\n"] {
            assert_eq!(secret_text(text), Ok("s3cret"), "{text:?}");
        }
    }

    #[test]
    fn what_was_left_around_a_secret_or_in_its_place_is_refused() {
        for (text, error) in [
            ("", InvalidSecret::Empty),
            (" \r\n", InvalidSecret::Empty),
            ("\u{feff}s3cret", InvalidSecret::ByteOrderMark),
            ("s3cret\nsecond line\n", InvalidSecret::LineBreak),
            ("\ns3cret", InvalidSecret::LineBreak),
            ("s3\tcret", InvalidSecret::Unprintable),
            ("s3cret\0", InvalidSecret::Unprintable),
            ("s3cret\u{200b}", InvalidSecret::Unprintable),
            (" s3cret", InvalidSecret::Blanks),
            ("s3cret \n", InvalidSecret::Blanks),
            ("s3cret\u{a0}", InvalidSecret::Blanks),
            ("\"s3cret\"", InvalidSecret::Quotes),
            ("'s3cret'\n", InvalidSecret::Quotes),
            ("“s3cret”", InvalidSecret::Quotes),
            ("${CLIENT_SECRET}", InvalidSecret::Placeholder),
            ("${CLIENT_SECRET:-none}", InvalidSecret::Placeholder),
            ("${env:CLIENT_SECRET}", InvalidSecret::Placeholder),
            ("prefix-${CLIENT_SECRET}", InvalidSecret::Placeholder),
            ("$CLIENT_SECRET", InvalidSecret::Placeholder),
            ("$(CLIENT_SECRET)", InvalidSecret::Placeholder),
            ("$(cat /run/secrets/client)\n", InvalidSecret::Placeholder),
            ("{{ .Values.secret }}", InvalidSecret::Placeholder),
            ("${{ secrets.CLIENT }}", InvalidSecret::Placeholder),
        ] {
            assert_eq!(secret_text(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn no_character_that_a_generator_writes_makes_a_secret_a_placeholder() {
        for text in
            ["pa$$w0rd", "a{b}c", "x$(9k", "$6$rounds$salt", "{SSHA}abc=", "it's", "\"", "a b c", "Grüße, 安", "$a"]
        {
            assert_eq!(secret_text(text), Ok(text));
        }
    }
}
