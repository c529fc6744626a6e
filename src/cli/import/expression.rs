//! Expressions of other gates, which search in a path, as ours, which match the whole of it.
//!
//! Promises: the result opens no path that the expression did not; where that cannot be seen, there is none.

use regex_syntax::hir::{Hir, Look};

use super::imported::ImportedPath;
use crate::policy::Expression;

/// Go's classes, which are ASCII, where ours would match letters and digits of every script.
const ASCII_CLASSES: [(char, &str); 3] = [('d', "0-9"), ('w', "0-9A-Za-z_"), ('s', r"\t\n\f\r ")];

/// Alternative of an expression without its anchors.
struct Alternative<'p> {
    text: &'p str,
    /// `true` where a match begins at the beginning of the path.
    starts: bool,
    /// `true` where a match ends at the end of the path.
    ends: bool,
}

/// Turns an expression that is searched for into a path of ours. An error says why there is none.
pub(super) fn whole_path(pattern: &str) -> Result<ImportedPath, String> {
    regex_syntax::parse(pattern).map_err(|_| "it is not valid in the syntax of Rust's regex".to_owned())?;
    let pattern = in_ascii(pattern);
    let (flags, rest) = leading_flags(&pattern);
    if flags.contains(['x', 'm', 'U']) || has_inner_flags(rest) {
        return Err("its flags cannot be translated".to_owned());
    }
    let alternatives: Vec<_> = alternatives(rest).into_iter().map(Alternative::of).collect();
    if let ([one], "") = (alternatives.as_slice(), flags)
        && let Some(path) = one.plain_path()
    {
        return Ok(path);
    }
    let mut whole = Vec::new();
    for one in &alternatives {
        let hir = regex_syntax::parse(one.text).map_err(|_| "it cannot be taken apart".to_owned())?;
        if anchors(&hir) {
            return Err("it has an anchor (`^`, `$` or `\\b`) inside".to_owned());
        }
        whole.push(one.whole());
    }
    let expression = format!("{flags}{}", whole.join("|"));
    Expression::new(&expression).map_err(|error| error.to_string())?;
    Ok(ImportedPath::Regex(expression))
}

impl<'p> Alternative<'p> {
    fn of(text: &'p str) -> Self {
        let (mut text, mut starts, mut ends) = (text, false, false);
        while let Some(rest) = text.strip_prefix('^').or_else(|| text.strip_prefix(r"\A")) {
            (text, starts) = (rest, true);
        }
        loop {
            let shorter = text.strip_suffix('$').or_else(|| text.strip_suffix(r"\z"));
            match shorter {
                Some(rest) if !ends_in_escape(rest) => (text, ends) = (rest, true),
                _ => return Self { text, starts, ends },
            }
        }
    }

    /// Returns the path, where the alternative is nothing but a path that is written out.
    fn plain_path(&self) -> Option<ImportedPath> {
        let path = self.text.replace(r"\.", ".").replace(r"\/", "/").replace(r"\-", "-");
        // A dot without a backslash is any character, so the two texts have to have the same number of them.
        let dots = (self.text.matches('.').count(), self.text.matches(r"\.").count());
        let is_plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte));
        let is_normal = path.starts_with('/')
            && !path.contains("//")
            && !path.split('/').any(|segment| matches!(segment, "." | ".."));
        if !self.starts || dots.0 != dots.1 || !is_plain || !is_normal {
            None
        } else if self.ends {
            Some(ImportedPath::Exact(path))
        } else {
            (path.len() > 1 && path.ends_with('/')).then_some(ImportedPath::Prefix(path))
        }
    }

    /// Returns the expression for the whole path.
    fn whole(&self) -> String {
        let before = if self.starts || self.text.starts_with(".*") { "" } else { ".*" };
        let has_rest = self.text.ends_with(".*") && !self.text.ends_with(r"\.*");
        let after = if self.ends || has_rest { "" } else { ".*" };
        format!("{before}{}{after}", self.text)
    }
}

/// Returns `true` where the next character would be escaped.
fn ends_in_escape(text: &str) -> bool {
    text.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

fn anchors(hir: &Hir) -> bool {
    let looks = hir.properties().look_set();
    looks.contains(Look::Start) || looks.contains(Look::End) || !looks.is_empty()
}

/// Splits flags at the beginning, such as `(?i)`, off.
fn leading_flags(pattern: &str) -> (&str, &str) {
    let end = pattern.strip_prefix("(?").and_then(|rest| rest.find(|letter: char| !letter.is_ascii_alphabetic()));
    match end {
        Some(length) if length > 0 && pattern.get(length + 2..).is_some_and(|rest| rest.starts_with(')')) => {
            pattern.split_at(length + 3)
        }
        _ => ("", pattern),
    }
}

/// Returns `true` where flags are set in the middle: they would reach beyond their alternative.
fn has_inner_flags(pattern: &str) -> bool {
    pattern.match_indices("(?").any(|(at, _)| {
        let rest = pattern.get(at + 2..).unwrap_or_default();
        !rest.starts_with(':') && !rest.starts_with("P<") && !rest.starts_with('<')
    })
}

/// Splits an expression at the `|` that stand outside groups and classes.
fn alternatives(pattern: &str) -> Vec<&str> {
    let (mut found, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    let mut letters = Letters::default();
    for (at, letter) in pattern.char_indices() {
        match (letters.place(letter), letter) {
            (AnchorPlace::Outside, '(') => depth += 1,
            (AnchorPlace::Outside, ')') => depth = depth.saturating_sub(1),
            (AnchorPlace::Outside, '|') if depth == 0 => {
                found.extend(pattern.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    found.extend(pattern.get(start..));
    found
}

/// Writes Go's ASCII classes out.
fn in_ascii(pattern: &str) -> String {
    let mut written = String::with_capacity(pattern.len());
    let mut letters = Letters::default();
    for letter in pattern.chars() {
        let place = letters.place(letter);
        let class = ASCII_CLASSES.iter().find(|(name, _)| *name == letter);
        match (place, class) {
            (AnchorPlace::Escaped, Some((_, members))) => {
                written.pop();
                let (open, close) = if letters.in_class { ("", "") } else { ("[", "]") };
                written.extend([open, members, close]);
            }
            _ => written.push(letter),
        }
    }
    written
}

/// Where a character of an expression stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AnchorPlace {
    Outside,
    InClass,
    Escaped,
}

/// The state of reading an expression by character.
#[derive(Default)]
struct Letters {
    escaped: bool,
    in_class: bool,
}

impl Letters {
    fn place(&mut self, letter: char) -> AnchorPlace {
        if std::mem::take(&mut self.escaped) {
            return AnchorPlace::Escaped;
        }
        self.escaped = letter == '\\';
        match (self.in_class, letter) {
            (false, '[') => self.in_class = true,
            (true, ']') => {
                self.in_class = false;
                return AnchorPlace::InClass;
            }
            _ => {}
        }
        if self.in_class { AnchorPlace::InClass } else { AnchorPlace::Outside }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_searched_for_is_matched_from_end_to_end() {
        for (pattern, expected) in [
            ("^/public", r"/public.*"),
            ("^/public/", "prefix /public/"),
            ("^/health$", "exact /health"),
            (r"^/favicon\.ico$", "exact /favicon.ico"),
            ("^/favicon.ico$", "/favicon.ico"),
            ("/api/", ".*/api/.*"),
            (r"\.css$", r".*\.css"),
            ("^/a|/b$", "/a.*|.*/b"),
            ("^/(a|b)/", "/(a|b)/.*"),
            ("^/x[|]y", "/x[|]y.*"),
            (r"^/x\|y", r"/x\|y.*"),
            ("^/.*", "/.*"),
            ("^/", "/.*"),
            ("(?i)^/Public", "(?i)/Public.*"),
            (r"^/v\d+/\w", r"/v[0-9]+/[0-9A-Za-z_].*"),
            (r"^/[\d.]+$", "/[0-9.]+"),
            (r"^/price\$", r"/price\$.*"),
            (r"^/x\.*", r"/x\.*.*"),
        ] {
            let path = match whole_path(pattern).unwrap_or_else(|problem| panic!("{pattern}: {problem}")) {
                ImportedPath::Exact(path) => format!("exact {path}"),
                ImportedPath::Prefix(path) => format!("prefix {path}"),
                ImportedPath::Regex(path) => path,
            };
            assert_eq!(path, expected, "{pattern}");
        }
    }

    #[test]
    fn what_cannot_be_translated_has_a_reason() {
        for (pattern, reason) in [
            ("^/(?!admin)", "not valid"),
            ("^/a(", "not valid"),
            ("(^|/)static/", "anchor"),
            ("^/(a$|b)", "anchor"),
            (r"^/a\b", "anchor"),
            ("(?x)^/a b", "flags"),
            ("^/a(?i)|/b", "flags"),
            ("^/a[?]x", "no path"),
            ("^admin$", "slash"),
        ] {
            let problem = whole_path(pattern).expect_err(pattern);
            assert!(problem.contains(reason), "{pattern}: {problem}");
        }
    }

    /// The old gate searched, with classes that are ASCII.
    #[test]
    fn no_path_is_opened_that_the_old_expression_did_not_open() {
        let paths = [
            "/",
            "/public",
            "/public/x",
            "/publicity",
            "/x/public/y",
            "/a",
            "/a/b",
            "/b",
            "/c/b",
            "/b/c",
            "/v1/x",
            "/v٣/x",
            "/style.css",
            "/stylexcss",
            "/style.css/x",
            "/health",
            "/healthz",
            "/api/x",
            "/x/api/y",
            "/Public",
        ];
        for pattern in [
            "^/public",
            "^/public/",
            "/api/",
            r"\.css$",
            "^/a|/b$",
            "^/health$",
            r"^/v\d+/",
            "(?i)^/public",
            "^/(a|b)$",
            "^/",
        ] {
            let old = regex::Regex::new(&pattern.replace(r"\d", "[0-9]")).unwrap();
            let new = whole_path(pattern).unwrap();
            for path in paths {
                let opened = match &new {
                    ImportedPath::Exact(exact) => path == exact,
                    ImportedPath::Prefix(folder) => path.starts_with(folder.as_str()),
                    ImportedPath::Regex(text) => Expression::new(text).unwrap().matches(path),
                };
                assert_eq!(opened, old.is_match(path), "{pattern} at {path}: {new:?}");
            }
        }
    }
}
