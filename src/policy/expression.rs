//! Regular expressions over whole decoded paths.
//!
//! Promises: an expression is anchored at both ends, and takes time linear in the length of a path. Where a rule closes, it
//! matches every path that a server could take for one that it matches.

use regex::{Regex, RegexBuilder};
use regex_syntax::{
    Parser,
    hir::{Class, ClassUnicode, ClassUnicodeRange, Dot, Hir, HirKind, Look, Repetition},
};

/// Limit of a compiled expression, in bytes. With [`MAX_PATH`] it bounds the work of the slowest engine that may have to run it.
const MAX_SIZE: usize = 512 * 1024;

/// Limit of an expression as it is written, in bytes. Making one that folds takes time quadratic in it.
const MAX_TEXT: usize = 2 * 1024;

/// The longest path that is held against an expression, in bytes. A longer one is opened by none, and closed by every one.
pub(super) const MAX_PATH: usize = 4 * 1024;

/// Regular expression over whole decoded paths.
#[derive(Clone, Debug)]
pub struct Expression {
    text: String,
    exact: Regex,
    /// The same in any letter case, with or without a slash at the end.
    folded: Regex,
    /// What every match begins with, as far as it is written out.
    start: String,
    /// Whether everything that begins so is a match.
    is_prefix: bool,
}

/// Cause of an expression being refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// Not an expression of this syntax.
    #[error("{0}")]
    Syntax(String),
    /// Compiled, it would be larger than the limit.
    #[error("it is longer than {} KiB, or would be larger than {} KiB in memory", MAX_TEXT / 1024, MAX_SIZE / 1024)]
    TooBig,
    /// It names a character that no decoded path has.
    #[error("no path that an app serves holds a `{0}`")]
    Unmatchable(char),
    /// It begins with something other than a slash.
    #[error("it has to match the whole path, which begins with a slash")]
    Relative,
}

impl Expression {
    /// Compiles an expression, which is anchored: `/a` is not found in `/admin/a`.
    pub fn new(text: &str) -> Result<Self, ExpressionError> {
        if text.len() > MAX_TEXT {
            return Err(ExpressionError::TooBig);
        }
        // On its own: `a)|(b` would be valid only inside the anchors.
        let parsed =
            Parser::new().parse(text).map_err(|error| ExpressionError::Syntax(last_line(&error.to_string())))?;
        let parsed = plain(&parsed);
        if let Some(letter) = unmatchable(&parsed) {
            return Err(ExpressionError::Unmatchable(letter));
        }
        if !may_begin_with_slash(&parsed) {
            return Err(ExpressionError::Relative);
        }
        let folded = in_any_case(&parsed);
        let folded = Hir::alternation(vec![before_slash(&folded), folded]);
        Ok(Self {
            text: text.to_owned(),
            exact: compile(&parsed)?,
            folded: compile(&folded)?,
            start: literal_start(&parsed),
            is_prefix: is_prefix(&parsed),
        })
    }

    /// The expression as it is configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns `true` if it matches a path from end to end.
    #[must_use]
    pub fn matches(&self, served: &str) -> bool {
        served.len() <= MAX_PATH && self.exact.is_match(served)
    }

    /// Returns `true` if it matches a path, or one that a server may take for the same.
    pub(super) fn matches_folded(&self, path: &str) -> bool {
        path.len() > MAX_PATH || self.folded.is_match(path)
    }

    /// Returns the text that every match begins with, as far as it is written out.
    #[must_use]
    pub fn start(&self) -> &str {
        &self.start
    }

    /// Returns `true` if it is known to match everything below a folder, which ends with a slash.
    #[must_use]
    pub fn includes_all_below(&self, folder: &str) -> bool {
        self.is_prefix && folder.starts_with(&self.start)
    }

    /// The pattern behind [`Expression::matches`].
    pub(super) fn exact_pattern(&self) -> &str {
        self.exact.as_str()
    }

    /// The pattern behind [`Expression::matches_folded`].
    pub(super) fn folded_pattern(&self) -> &str {
        self.folded.as_str()
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

fn compile(expression: &Hir) -> Result<Regex, ExpressionError> {
    let compiled = RegexBuilder::new(&format!(r"\A(?:{expression})\z")).size_limit(MAX_SIZE).build();
    compiled.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => ExpressionError::TooBig,
        other => ExpressionError::Syntax(last_line(&other.to_string())),
    })
}

/// Returns what a message of several lines says in the end.
fn last_line(message: &str) -> String {
    let last = message.trim_end().lines().next_back().unwrap_or_default().trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// Removes groups, which nothing asks for, and `^` and `$` at the ends, where they say what holds anyway.
fn plain(expression: &Hir) -> Hir {
    without_edges(mapped(expression, &|part| part))
}

fn without_edges(expression: Hir) -> Hir {
    let is_edge = |part: &Hir, edge: Look| matches!(part.kind(), HirKind::Look(look) if *look == edge);
    match expression.kind() {
        HirKind::Concat(parts) => {
            let mut parts: Vec<_> = parts.iter().skip_while(|part| is_edge(part, Look::Start)).cloned().collect();
            while parts.last().is_some_and(|part| is_edge(part, Look::End)) {
                parts.pop();
            }
            Hir::concat(parts)
        }
        HirKind::Alternation(ways) => Hir::alternation(ways.iter().cloned().map(without_edges).collect()),
        HirKind::Look(Look::Start | Look::End) => Hir::empty(),
        _ => expression,
    }
}

/// Returns a character that is written in an expression and in no decoded path: a query begins with one, or an escape.
fn unmatchable(expression: &Hir) -> Option<char> {
    if let HirKind::Literal(literal) = expression.kind() {
        return literal.0.iter().map(|byte| char::from(*byte)).find(|letter| matches!(letter, '?' | '#' | '%'));
    }
    expression.kind().subs().iter().find_map(unmatchable)
}

/// Returns `true` unless no match can be a path.
fn may_begin_with_slash(expression: &Hir) -> bool {
    match expression.kind() {
        HirKind::Literal(literal) => literal.0.starts_with(b"/"),
        HirKind::Class(class) => has_slash(class),
        HirKind::Repetition(Repetition { sub, .. }) => may_begin_with_slash(sub),
        HirKind::Capture(capture) => may_begin_with_slash(&capture.sub),
        HirKind::Concat(parts) => {
            let optional = parts.iter().take_while(|part| is_optional(part)).count();
            parts.iter().take(optional + 1).any(may_begin_with_slash)
        }
        HirKind::Alternation(ways) => ways.iter().any(may_begin_with_slash),
        HirKind::Empty | HirKind::Look(_) => false,
    }
}

fn is_optional(part: &Hir) -> bool {
    part.properties().minimum_len() == Some(0)
}

/// Returns the text that every match begins with, as far as it is written out.
fn literal_start(expression: &Hir) -> String {
    match expression.kind() {
        HirKind::Literal(literal) => String::from_utf8_lossy(&literal.0).into_owned(),
        HirKind::Concat(parts) => parts.first().map(literal_start).unwrap_or_default(),
        _ => String::new(),
    }
}

/// Returns `true` for `.*`, and for text that is written out and followed by it.
fn is_prefix(expression: &Hir) -> bool {
    match expression.kind() {
        HirKind::Repetition(Repetition { min: 0, max: None, sub, .. }) => {
            [Dot::AnyChar, Dot::AnyCharExceptLF].into_iter().any(|dot| *sub.as_ref() == Hir::dot(dot))
        }
        HirKind::Concat(parts) => match parts.as_slice() {
            [start, rest] => matches!(start.kind(), HirKind::Literal(_)) && is_prefix(rest),
            _ => false,
        },
        _ => false,
    }
}

/// Returns an expression that also matches what differs in letter case alone, whatever flags and negations it has: of `[^a]`
/// one spelling of every letter is matched, and so every spelling.
fn in_any_case(expression: &Hir) -> Hir {
    mapped(expression, &|part| match part.kind() {
        HirKind::Literal(literal) => {
            let text = String::from_utf8_lossy(&literal.0).into_owned();
            let letter = |letter| cased(Class::Unicode(ClassUnicode::new([ClassUnicodeRange::new(letter, letter)])));
            Hir::concat(text.chars().map(|one| Hir::class(letter(one))).collect())
        }
        HirKind::Class(class) => Hir::class(cased(class.clone())),
        _ => part,
    })
}

fn cased(mut class: Class) -> Class {
    class.case_fold_simple();
    class
}

/// Returns an expression of what stands before a slash at the end: `/a` for `/a/`, `/a` and `/a/b` for `/a/(b/)?`.
fn before_slash(expression: &Hir) -> Hir {
    match expression.kind() {
        HirKind::Literal(literal) => literal.0.strip_suffix(b"/").map_or_else(Hir::fail, Hir::literal),
        HirKind::Class(class) if has_slash(class) => Hir::empty(),
        HirKind::Repetition(Repetition { min, max, greedy, sub }) => {
            let (min, max) = (min.saturating_sub(1), max.map(|most| most.saturating_sub(1)));
            let fewer = Hir::repetition(Repetition { min, max, greedy: *greedy, sub: sub.clone() });
            Hir::concat(vec![fewer, before_slash(sub)])
        }
        HirKind::Concat(parts) => {
            let (mut ways, mut front) = (Vec::new(), parts.clone());
            while let Some(last) = front.pop() {
                ways.push(Hir::concat(front.iter().cloned().chain([before_slash(&last)]).collect()));
                if !is_optional(&last) {
                    break;
                }
            }
            Hir::alternation(ways)
        }
        HirKind::Alternation(ways) => Hir::alternation(ways.iter().map(before_slash).collect()),
        HirKind::Capture(capture) => before_slash(&capture.sub),
        HirKind::Empty | HirKind::Class(_) | HirKind::Look(_) => Hir::fail(),
    }
}

fn has_slash(class: &Class) -> bool {
    match class {
        Class::Unicode(class) => class.iter().any(|range| (range.start()..=range.end()).contains(&'/')),
        Class::Bytes(class) => class.iter().any(|range| (range.start()..=range.end()).contains(&b'/')),
    }
}

/// Returns the same expression without groups, its smallest parts changed.
fn mapped(expression: &Hir, change: &impl Fn(Hir) -> Hir) -> Hir {
    match expression.kind() {
        HirKind::Capture(capture) => mapped(&capture.sub, change),
        HirKind::Repetition(repetition) => {
            let sub = Box::new(mapped(&repetition.sub, change));
            Hir::repetition(Repetition { sub, ..repetition.clone() })
        }
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(|part| mapped(part, change)).collect()),
        HirKind::Alternation(ways) => Hir::alternation(ways.iter().map(|way| mapped(way, change)).collect()),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => change(expression.clone()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compiled(text: &str) -> Expression {
        Expression::new(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn an_expression_is_held_against_the_whole_path() {
        for (text, path, expected) in [
            ("/allowed", "/allowed", true),
            ("^/allowed$", "/allowed", true),
            ("/allowed", "/x/allowed", false),
            ("/allowed", "/allowed/x", false),
            ("/allowed|/other", "/other", true),
            ("/allowed|/other", "/allowedx", false),
            ("/allowed|/other", "/x/other", false),
            ("^/a$|^/b$", "/b", true),
            ("(?m)^/a$", "/a", true),
            ("(?x) /a # a comment", "/a", true),
            ("/foo/.*/bar", "/foo/x/y/bar", true),
            ("/foo/[^/]+/bar", "/foo/x/y/bar", false),
            ("/[0-9]{2,3}", "/1234", false),
            ("/é+", "/éé", true),
            ("/a b", "/a b", true),
        ] {
            assert_eq!(compiled(text).matches(path), expected, "{text} {path}");
        }
        assert!(!compiled("/x*").matches(&format!("/{}", "x".repeat(MAX_PATH))), "a long path is opened by none");
        assert!(compiled("/y").matches_folded(&format!("/{}", "x".repeat(MAX_PATH))), "and closed by every one");
    }

    #[test]
    fn an_expression_that_means_nothing_is_refused_with_its_cause() {
        for (text, expected) in [
            ("/a(", "unclosed group"),
            ("/a)|(/b", "unopened group"),
            ("/a(?=b)", "look-around, including look-ahead and look-behind, is not supported"),
            (r"/(a)\1", "backreferences are not supported"),
            ("api/.*", "begins with a slash"),
            ("^api$", "begins with a slash"),
            ("[a-z]+/.*|x", "begins with a slash"),
            (r"/a\?b=1", "holds a `?`"),
            ("/a#b", "holds a `#`"),
            ("/a%20b", "holds a `%`"),
            (r"/[a-z]{1,40}(/\w{1,1000}){1,50}", "KiB"),
        ] {
            let said = Expression::new(text).map_err(|error| error.to_string());
            assert!(said.as_ref().is_err_and(|said| said.contains(expected)), "{text}: {said:?}");
        }
    }

    #[test]
    fn usual_expressions_are_far_from_the_limit() {
        for text in [
            r"/api/v\d+/(users|groups)/[\w-]+(/.*)?",
            "/(?:static|assets)/.+[.](?:js|css|svg|png|woff2?)",
            "/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/.*",
            "/.{1,100}",
        ] {
            compiled(text);
        }
    }

    #[test]
    fn what_closes_matches_every_letter_case_and_a_missing_slash() {
        for (text, path, expected) in [
            ("/Admin/.*", "/aDMIN/x", true),
            ("/admin/.*", "/admin", true),
            ("/admin/(x/)?", "/admin/X", true),
            ("/admin(/[a-z]+)*/", "/admin/b/c", true),
            ("/(?-i:Admin)", "/admin", true),
            ("/[^a]", "/a", true),
            ("/[^ab]/", "/A", true),
            ("/[^0-9]", "/7", false),
            ("/admin/x", "/admin", false),
            ("/admin/.+", "/admin", false),
            ("/sk", "/\u{17f}\u{212a}", true),
        ] {
            assert_eq!(compiled(text).matches_folded(path), expected, "{text} {path}");
        }
    }

    #[test]
    fn what_an_expression_includes_is_told_where_it_can_be() {
        for (text, folder, expected) in [
            (".*", "/", true),
            ("/.*", "/", true),
            ("^/(.*)$", "/", true),
            ("(?s)/.*", "/", true),
            ("/.+", "/", false),
            ("/a/.*", "/", false),
            ("/a/.*", "/a/b/", true),
            ("/a.*", "/ab/", true),
            ("/a/.*b", "/a/", false),
        ] {
            assert_eq!(compiled(text).includes_all_below(folder), expected, "{text} {folder}");
        }
        for (text, start) in [("/gate/.*", "/gate/"), ("^/gate/(a|b)$", "/gate/"), ("(/a)b", "/ab"), ("/a|/b", "")] {
            assert_eq!(compiled(text).start(), start, "{text}");
        }
    }

    /// Expressions over few characters, so that they meet paths.
    fn expression() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(vec!["/", "a", "B", "[^a]", "[a-c/]", ".", "b/"]).prop_map(ToOwned::to_owned);
        leaf.prop_recursive(4, 16, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..3).prop_map(|parts| parts.concat()),
                prop::collection::vec(inner.clone(), 1..3).prop_map(|parts| format!("({})", parts.join("|"))),
                (inner, prop::sample::select(vec!["*", "+", "?", "{2}"]))
                    .prop_map(|(one, times)| format!("(?:{one}){times}")),
            ]
        })
        .prop_map(|rest| format!("/{rest}"))
    }

    proptest! {
        // Two expressions are compiled for each case, which is slow without optimization.
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

        #[test]
        fn what_closes_matches_all_spellings_of_what_it_matches(text in expression(), path in "/[abcABC/]{0,6}") {
            let expression = compiled(&text);
            if expression.matches(&path) {
                for folded in [path.to_lowercase(), path.to_uppercase(), path.clone()] {
                    prop_assert!(expression.matches_folded(&folded), "{text} {folded}");
                    let bare = folded.strip_suffix('/').unwrap_or(&folded);
                    prop_assert!(bare.is_empty() || expression.matches_folded(bare), "{text} {bare}");
                }
            }
        }
    }
}
