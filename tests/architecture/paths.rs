//! The paths that a text takes from its own crate: in `use` of every nesting, in code, in visibilities and in macros.
//!
//! It reads tokens, so that comments and strings say nothing, and resolves `crate`, `self` and `super` to where they lead.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A path from the crate's root; a `*` at its end stands for everything. Empty: the root itself.
pub(crate) type Absolute = Vec<String>;

/// The paths that the code of the module at `here` takes. `crate_name` is what the crate goes by where that is not `crate`.
pub(crate) fn taken(code: &TokenStream, here: &[String], crate_name: Option<&str>) -> Vec<Absolute> {
    let mut reader = Reader { crate_name, found: Vec::new() };
    reader.read(code, here);
    reader.found
}

struct Reader<'a> {
    crate_name: Option<&'a str>,
    found: Vec<Absolute>,
}

impl Reader<'_> {
    fn read(&mut self, code: &TokenStream, here: &[String]) {
        let tokens: Vec<_> = code.clone().into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match (token, tokens.get(at), tokens.get(at + 1)) {
                // An inline module is another place to begin from.
                (TokenTree::Ident(word), Some(TokenTree::Ident(name)), Some(TokenTree::Group(body)))
                    if word == "mod" && body.delimiter() == Delimiter::Brace =>
                {
                    self.read(&body.stream(), &[here, &[name.to_string()]].concat());
                    at += 2;
                }
                (TokenTree::Ident(word), next, _) => {
                    if let Some(base) = self.base(&word.to_string(), here) {
                        if separator(&tokens, at) {
                            at = self.follow(base, &tokens, at);
                        } else if next.is_some_and(|next| next.to_string() == "as") {
                            self.found.push(base);
                        }
                    }
                }
                (TokenTree::Group(group), ..) => self.read(&group.stream(), here),
                _ => {}
            }
        }
    }

    fn base(&self, word: &str, here: &[String]) -> Option<Absolute> {
        match word {
            "crate" if self.crate_name.is_none() => Some(Vec::new()),
            "self" => Some(here.to_vec()),
            "super" => Some(parent(here)),
            word if self.crate_name == Some(word) => Some(Vec::new()),
            _ => None,
        }
    }

    /// Follows a path from the `::` at `at` on; returns where it ends.
    fn follow(&mut self, mut path: Absolute, tokens: &[TokenTree], mut at: usize) -> usize {
        while separator(tokens, at) {
            at += 2;
            match tokens.get(at) {
                Some(TokenTree::Ident(word)) if word == "self" => at += 1,
                Some(TokenTree::Ident(word)) if word == "super" => {
                    path = parent(&path);
                    at += 1;
                }
                Some(TokenTree::Ident(word)) => {
                    path.push(word.to_string());
                    at += 1;
                }
                Some(TokenTree::Punct(star)) if star.as_char() == '*' => {
                    path.push("*".to_owned());
                    at += 1;
                }
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    let inner: Vec<_> = group.stream().into_iter().collect();
                    for tree in inner.split(|token| token.to_string() == ",").filter(|tree| !tree.is_empty()) {
                        self.branch(path.clone(), tree);
                    }
                    return at + 1;
                }
                _ => break,
            }
        }
        self.found.push(path);
        at
    }

    /// One of several in braces: what would have followed a `::`.
    fn branch(&mut self, path: Absolute, tree: &[TokenTree]) {
        let colons: TokenStream = "::".parse().expect("two colons are tokens");
        let whole: Vec<_> = colons.into_iter().chain(tree.iter().cloned()).collect();
        self.follow(path, &whole, 0);
    }
}

fn separator(tokens: &[TokenTree], at: usize) -> bool {
    let is_colon = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    is_colon(tokens.get(at)) && is_colon(tokens.get(at + 1))
}

fn parent(path: &[String]) -> Absolute {
    path.split_last().map(|(_, parent)| parent.to_vec()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, here: &str) -> Vec<String> {
        let here: Vec<_> = here.split("::").filter(|part| !part.is_empty()).map(ToOwned::to_owned).collect();
        let code: TokenStream = text.parse().unwrap();
        taken(&code, &here, None).into_iter().map(|path| path.join("::")).collect()
    }

    #[test]
    fn paths_are_read_as_they_are_written() {
        for (text, expected) in [
            ("use crate::{\n    a::{b, c::*},\n    d,\n};", vec!["a::b", "a::c::*", "d"]),
            ("use crate::e::f as g;", vec!["e::f"]),
            ("let x = crate::g::h::<crate::i::J>();", vec!["g::h", "i::J"]),
            ("// crate::ignored\n/* crate::ignored */ let x = \"crate::ignored\";", vec![]),
            ("println!(\"{}\", crate::a::b());", vec!["a::b"]),
            ("macro_rules! m { () => { $crate::a::b }; }", vec!["a::b"]),
            ("pub(in crate::x::y) fn f() {}", vec!["x::y"]),
            ("pub(crate) fn f() {}", vec![]),
            ("use crate::*;", vec!["*"]),
            ("use crate as c;", vec![""]),
            ("use crate::{self as c, a};", vec!["", "a"]),
        ] {
            assert_eq!(read(text, "x::y"), expected, "{text}");
        }
    }

    #[test]
    fn paths_that_climb_are_followed_to_where_they_lead() {
        for (text, here, expected) in [
            ("use super::a;", "x::y", vec!["x::a"]),
            ("use super::super::a;", "x::y", vec!["a"]),
            ("use super::{super::{a, b::c}, d};", "x::y", vec!["a", "b::c", "x::d"]),
            ("use super::{a};", "x", vec!["a"]),
            ("use super::*;", "x", vec!["*"]),
            ("use super as up;", "x", vec![""]),
            ("use self::super::super::a;", "x::y", vec!["a"]),
            ("mod z { use super::super::super::a; fn f() { super::b() } }", "x::y", vec!["a", "x::y::b"]),
            ("pub(in super::super) const A: u8 = 1;", "x::y::z", vec!["x"]),
            ("fn f() { m![super::super::a::b] }", "x::y", vec!["a::b"]),
        ] {
            assert_eq!(read(text, here), expected, "{text}");
        }
    }
}
