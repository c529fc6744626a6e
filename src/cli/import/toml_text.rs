//! TOML with comments, written line by line.
//!
//! Promises: values are quoted by the `toml` crate, and no text of a comment ends it or begins another line.

use toml::Value;

use super::super::printable::escaped;

/// Width at which comments are wrapped.
const WIDTH: usize = 118;

/// TOML that is being written.
#[derive(Debug, Default)]
pub(super) struct TomlText(String);

impl TomlText {
    /// Ends a section.
    pub(super) fn blank(&mut self) {
        self.line("");
    }

    /// Begins a table: `[name]` or `[[name]]`.
    pub(super) fn table(&mut self, header: &str) {
        self.line(header);
    }

    /// Writes a comment, wrapped between words.
    pub(super) fn comment(&mut self, text: &str) {
        let mut line = String::from("#");
        for word in escaped(text).split(' ') {
            if line.len() > 1 && line.len() + 1 + word.len() > WIDTH {
                self.line(&line);
                "#".clone_into(&mut line);
            }
            line.push(' ');
            line.push_str(word);
        }
        self.line(&line);
    }

    /// Writes several comments.
    pub(super) fn comments(&mut self, texts: &[String]) {
        for text in texts {
            self.comment(text);
        }
    }

    /// Writes a key and its value.
    pub(super) fn set(&mut self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        self.line(&format!("{key} = {value}"));
    }

    /// Writes a key and its value, commented out.
    pub(super) fn propose(&mut self, key: &str, value: &Value) {
        // A text with line breaks is written on several lines.
        self.line(&format!("# {key} = {value}").replace('\n', "\n# "));
    }

    /// Returns the text.
    pub(super) fn finish(self) -> String {
        self.0
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }
}

/// Returns a list of texts as a value.
pub(super) fn list<S: AsRef<str>>(texts: &[S]) -> Value {
    Value::Array(texts.iter().map(|text| Value::from(text.as_ref())).collect())
}

/// Returns an inline table.
pub(super) fn inline<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_as_the_same_whatever_is_in_it() {
        for text in ["plain", "a\"b", r"\d+", "it's \"both\"", "line\nbreak", "\u{7f}\u{0}", "# no comment", "'''"] {
            let mut toml = TomlText::default();
            toml.comment(text);
            toml.set("one", text);
            toml.set("many", list(&[text, text]));
            toml.set("inside", inline([("regex", Value::from(text))]));
            toml.comment(text);
            let written = toml.finish();
            let read: toml::Table = written.parse().unwrap_or_else(|error| panic!("{written}: {error}"));
            assert_eq!(read["one"].as_str(), Some(text));
            assert_eq!(read["many"][1].as_str(), Some(text));
            assert_eq!(read["inside"]["regex"].as_str(), Some(text));
            assert_eq!(read.len(), 3, "{written}");
        }
    }

    #[test]
    fn a_value_that_is_commented_out_stays_on_its_line() {
        let mut toml = TomlText::default();
        toml.propose("key", &Value::from("a\nb = 1"));
        let written = toml.finish();
        assert!(written.parse::<toml::Table>().unwrap().is_empty(), "{written}");
    }
}
