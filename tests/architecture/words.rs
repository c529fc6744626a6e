//! The language of comments and documents: doc comments say what a thing is, and documents name code that exists.

use std::{collections::BTreeSet, fs, path::Path};

use super::{root, texts};

/// Free relatives, indefinite pronouns and the like. A doc comment that begins with one hides its noun or verb.
const RIDDLES: &[&str] = &[
    "what",
    "whatever",
    "whether",
    "who",
    "whoever",
    "whom",
    "whose",
    "how",
    "however",
    "where",
    "wherever",
    "when",
    "whenever",
    "why",
    "which",
    "whichever",
    "somebody",
    "someone",
    "something",
    "anybody",
    "anyone",
    "anything",
    "nobody",
    "nothing",
    "everybody",
    "everyone",
    "everything",
    "that",
    "those",
    "it",
    "they",
];

/// The doc comments of a Rust text, by their first line.
fn doc_comments(text: &str) -> Vec<&str> {
    let (mut found, mut previous) = (Vec::new(), None);
    for line in text.lines().map(str::trim_start) {
        let marker = ["///", "//!"].into_iter().find(|marker| line.starts_with(marker));
        if let Some(marker) = marker.filter(|_| marker != previous) {
            found.push(line[marker.len()..].trim());
        }
        // Tables have theirs beside the values.
        found.extend(line.split("/** ").skip(1));
        previous = marker;
    }
    found
}

fn is_riddle(comment: &str) -> bool {
    let word: String = comment.chars().take_while(char::is_ascii_alphabetic).collect();
    RIDDLES.contains(&word.to_ascii_lowercase().as_str())
}

/// Words in backticks that can only be code: a path with `::`, a call, a file, or a type's name.
fn code_names(page: &str) -> BTreeSet<&str> {
    let prose = page.split("```").step_by(2);
    let words = prose.flat_map(|text| text.split('`').skip(1).step_by(2));
    words.filter(|word| is_file(word) || is_call_or_path(word) || is_type(word)).collect()
}

fn is_file(word: &str) -> bool {
    let is_path = |character: char| character.is_ascii_alphanumeric() || "_./-".contains(character);
    word.chars().all(is_path)
        && (Path::new(word).extension().is_some_and(|end| end == "rs") || word.starts_with("src/"))
}

fn is_call_or_path(word: &str) -> bool {
    let word = word.trim_end_matches("()");
    let is_identifier =
        |part: &str| part.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
    word.contains("::") && word.split("::").all(is_identifier)
}

fn is_type(word: &str) -> bool {
    let is_camel = word.chars().skip(1).any(char::is_uppercase) && word.chars().any(char::is_lowercase);
    is_camel && word.starts_with(char::is_uppercase) && word.chars().all(char::is_alphanumeric)
}

/// The code names of a page that the code does not have.
fn unknown<'page>(page: &'page str, code: &BTreeSet<&str>) -> Vec<&'page str> {
    let exists = |word: &str| {
        if is_file(word) {
            return [word.to_owned(), format!("src/{word}")].iter().any(|path| root().join(path).exists());
        }
        word.trim_end_matches("()").split("::").all(|part| code.contains(part))
    };
    code_names(page).into_iter().filter(|word| !exists(word)).collect()
}

fn identifiers(texts: &[String]) -> BTreeSet<&str> {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    texts.iter().flat_map(|text| text.split(move |character| !is_part(character))).collect()
}

#[test]
fn doc_comments_begin_with_a_noun_or_a_verb() {
    let texts: Vec<_> = ["src", "tests", "benches", "fuzz"].into_iter().flat_map(texts).collect();
    let comments: Vec<_> = texts.iter().flat_map(|text| doc_comments(text)).collect();
    let riddles: Vec<_> = comments.iter().filter(|comment| is_riddle(comment)).collect();
    assert!(comments.len() > 1_000, "the comments have gone missing: {}", comments.len());
    assert!(
        riddles.len() * 20 < comments.len(),
        "{} of {} doc comments begin with a word that hides what they are about: {riddles:#?}",
        riddles.len(),
        comments.len()
    );
}

#[test]
fn code_that_the_documents_name_is_there() {
    let texts: Vec<_> = ["src", "tests", "benches"].into_iter().flat_map(texts).collect();
    let code = identifiers(&texts);
    let mut names = 0;
    for page in
        ["ARCHITECTURE.md", "CONTRIBUTING.md", "docs/decisions.md", "docs/operations.md", "docs/security-model.md"]
    {
        let text = fs::read_to_string(root().join(page)).unwrap();
        names += code_names(&text).len();
        let unknown = unknown(&text, &code);
        assert!(unknown.is_empty(), "{page} names code that is not there: {}", unknown.join(", "));
    }
    assert!(names > 50, "the documents name no code any more: {names}");
}

/// Log lines that a page tells operators to search for.
fn log_lines(page: &str) -> Vec<&str> {
    page.split("log: `").skip(1).filter_map(|rest| rest.split('`').next()).collect()
}

#[test]
fn log_lines_that_the_operations_page_names_are_in_the_code() {
    let texts = texts("src");
    // A literal may go on in the next line.
    let code: String = texts.iter().flat_map(|text| text.split("\\\n").map(str::trim_start)).collect();
    let page = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let lines = log_lines(&page);
    assert!(lines.len() > 8, "the page names no log lines any more: {lines:?}");
    for line in lines {
        assert!(code.contains(line), "docs/operations.md names the log line {line:?}, which nothing logs");
    }
}

#[test]
fn riddles_and_unknown_names_are_found() {
    let text = "//! A module.\n//! What follows.\n\n/// What it is.\n/// More.\nfn a() {}\n\n/// Returns it.\nfn b() {}\nX /** When. */ = 1,\n";
    let comments = doc_comments(text);
    assert_eq!(comments, ["A module.", "What it is.", "Returns it.", "When. */ = 1,"]);
    assert_eq!(comments.iter().filter(|comment| is_riddle(comment)).count(), 2);

    let page = "`Gate::open()` and `Gone::ever`, `src/lib.rs`, `a/nowhere.rs`, `TypeOfNone`, `Set-Cookie`, `GET`.\n```\n`x::y`\n```\n`Gate`";
    let code = ["Gate", "open"].into_iter().collect();
    assert_eq!(unknown(page, &code), ["Gone::ever", "TypeOfNone", "a/nowhere.rs"]);
}
