//! The source tree as the compiler sees it for production: every file that the module tree reaches, without what only
//! tests compile.
//!
//! Test code is exactly what a `cfg` keeps out of production: a module, a file behind `#[cfg(test)] mod x;` and whatever it
//! declares, a single item, field, variant, arm or statement. The rest of a file counts, wherever it stands.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex},
};

use syn::{
    Attribute, Item, Meta, Token,
    punctuated::Punctuated,
    spanned::Spanned,
    visit::{self, Visit},
};

use super::facts::{Facts, Types};

/// A folder that holds `src` and `ARCHITECTURE.md`.
pub(crate) struct Tree {
    root: PathBuf,
    pub(crate) sources: Vec<Source>,
    /// Complaints about files that could not be read as the compiler reads them.
    pub(crate) unreadable: Vec<String>,
}

/// One file of the tree.
pub(crate) struct Source {
    /// Relative to `src`.
    pub(crate) path: PathBuf,
    /// The path of its module; empty for `lib.rs`.
    pub(crate) module: Vec<String>,
    /// All of it.
    pub(crate) text: String,
    /// The names of its types, those of its tests included.
    pub(crate) types: Vec<String>,
    /// The production code; `None` for a file of tests.
    pub(crate) production: Option<Arc<Facts>>,
}

impl Source {
    /// The module of the crate that the file belongs to, such as `edge`.
    pub(crate) fn top(&self) -> &str {
        self.module.first().map_or("lib", String::as_str)
    }

    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }
}

impl Tree {
    /// Reads the tree below `root/src`, from its two crate roots on.
    pub(crate) fn read(root: &Path) -> Self {
        let mut tree = Self { root: root.to_owned(), sources: Vec::new(), unreadable: Vec::new() };
        tree.follow("lib.rs".into(), &[], Compiled::Always);
        tree.follow("main.rs".into(), &["main".to_owned()], Compiled::Always);
        let reached: BTreeSet<_> = tree.sources.iter().map(|source| source.path.clone()).collect();
        for path in files(&root.join("src")).into_iter().filter(|path| !reached.contains(path)) {
            tree.unreadable.push(format!("{}: no module declares it", path.display()));
        }
        tree
    }

    /// The files that production compiles something of, and what there is to know of that.
    pub(crate) fn production(&self) -> impl Iterator<Item = (&Source, &Facts)> {
        self.sources.iter().filter_map(|source| Some((source, &**source.production.as_ref()?)))
    }

    pub(crate) fn architecture(&self) -> String {
        fs::read_to_string(self.root.join("ARCHITECTURE.md")).unwrap()
    }

    /// Reads a file, and the files of the modules that it declares.
    fn follow(&mut self, path: PathBuf, module: &[String], compiled: Compiled) {
        let Ok(text) = fs::read_to_string(self.root.join("src").join(&path)) else {
            return self.unreadable.push(format!("{}: it is declared, and not there", path.display()));
        };
        let parsed = match parsed(&path, module, &text) {
            Ok(parsed) => parsed,
            Err(error) => return self.unreadable.push(format!("{}: {error}", path.display())),
        };
        let complaint =
            |attribute| format!("{}: {attribute} stands where nobody can tell what it cuts", path.display());
        self.unreadable.extend(parsed.lost.iter().map(complaint));
        let compiled = compiled.and(parsed.compiled);
        let production = (compiled == Compiled::Always).then(|| Arc::clone(&parsed.facts));
        let types = parsed.types.clone();
        self.sources.push(Source { path, module: module.to_vec(), text, types, production });
        for child in parsed.children.clone() {
            let compiled = compiled.and(child.compiled);
            // A test may borrow a file from elsewhere. Production that does is found as a file that is not there.
            if child.is_elsewhere && compiled == Compiled::ForTests {
                continue;
            }
            let beside = child.folder.join(format!("{}.rs", child.name));
            let is_beside = self.root.join("src").join(&beside).exists();
            let path = if is_beside { beside } else { child.folder.join(&child.name).join("mod.rs") };
            self.follow(path, &[child.parent, vec![child.name]].concat(), compiled);
        }
    }
}

/// One parsed file. Copies of the tree differ in a file or two, and parsing takes its time.
struct Parsed {
    compiled: Compiled,
    children: Vec<Child>,
    lost: Vec<String>,
    types: Vec<String>,
    facts: Arc<Facts>,
}

type Known = HashMap<(PathBuf, String), Arc<Parsed>>;

fn parsed(path: &Path, module: &[String], text: &str) -> syn::Result<Arc<Parsed>> {
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    let key = (path.to_owned(), text.to_owned());
    if let Some(known) = KNOWN.lock().unwrap().get(&key) {
        return Ok(Arc::clone(known));
    }
    let file = syn::parse_file(text)?;
    let mut children = Vec::new();
    declared(&file.items, &folder(path), module, Compiled::Always, &mut children);
    let mut types = Types::default();
    types.visit_file(&file);
    let Cutter { cuts, lost, .. } = Cutter::read(text, &file);
    let facts = Arc::new(Facts::of(&without(text, cuts), module)?);
    let parsed = Arc::new(Parsed { compiled: Compiled::by(&file.attrs), children, lost, types: types.0, facts });
    KNOWN.lock().unwrap().insert(key, Arc::clone(&parsed));
    Ok(parsed)
}

/// The Rust files below a folder, relative to it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path.strip_prefix(folder).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The folder of the modules that a file declares.
fn folder(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap();
    let parent = path.parent().unwrap();
    if stem == "mod" || path == Path::new("lib.rs") || path == Path::new("main.rs") {
        parent.to_owned()
    } else {
        parent.join(stem)
    }
}

/// The builds that something is compiled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compiled {
    Always,
    ForTests,
}

impl Compiled {
    fn by(attributes: &[Attribute]) -> Self {
        if attributes.iter().any(is_for_tests) { Self::ForTests } else { Self::Always }
    }

    /// The builds of something inside.
    fn and(self, inner: Self) -> Self {
        if self == Self::ForTests { self } else { inner }
    }
}

#[derive(Clone)]
struct Child {
    name: String,
    parent: Vec<String>,
    folder: PathBuf,
    compiled: Compiled,
    is_elsewhere: bool,
}

fn declared(items: &[Item], folder: &Path, module: &[String], compiled: Compiled, found: &mut Vec<Child>) {
    for item in items {
        let Item::Mod(item) = item else { continue };
        let (name, compiled) = (item.ident.to_string(), compiled.and(Compiled::by(&item.attrs)));
        match &item.content {
            None => {
                let is_elsewhere = item.attrs.iter().any(|attribute| attribute.path().is_ident("path"));
                found.push(Child { name, parent: module.to_vec(), folder: folder.to_owned(), compiled, is_elsewhere });
            }
            Some((_, items)) => {
                let module = [module, std::slice::from_ref(&name)].concat();
                declared(items, &folder.join(name), &module, compiled, found);
            }
        }
    }
}

/// Matches attributes that keep something out of every production build.
fn is_for_tests(attribute: &Attribute) -> bool {
    let condition = |list: &syn::MetaList| list.parse_args::<Meta>().ok();
    match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            condition(list).is_some_and(|meta| holds(&meta) == Some(false))
        }
        _ => false,
    }
}

/// Evaluates a condition for production; `None` where builds for production differ in it.
fn holds(condition: &Meta) -> Option<bool> {
    let all = |list: &syn::MetaList| -> Vec<_> {
        let inner = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
        inner.map(|list| list.iter().map(holds).collect()).unwrap_or_default()
    };
    match condition {
        Meta::Path(path) if path.is_ident("test") || path.is_ident("fuzzing") => Some(false),
        Meta::List(list) if list.path.is_ident("not") => all(list).first().copied()?.map(|held| !held),
        Meta::List(list) if list.path.is_ident("all") => {
            all(list).into_iter().reduce(|one, other| match (one, other) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            })?
        }
        Meta::List(list) if list.path.is_ident("any") => {
            all(list).into_iter().reduce(|one, other| match (one, other) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            })?
        }
        _ => None,
    }
}

/// Finds the bytes that only tests compile.
struct Cutter<'ast> {
    text: &'ast str,
    within: Vec<&'ast dyn Spanned>,
    cuts: Vec<Range<usize>>,
    lost: Vec<String>,
}

/// The syntax that attributes can stand at. Where it stands at anything else the innermost of these does not begin with it, and
/// that is a complaint.
macro_rules! owners {
    ($($visit:ident: $owner:ident),* $(,)?) => {
        impl<'ast> Visit<'ast> for Cutter<'ast> {
            $(fn $visit(&mut self, node: &'ast syn::$owner) {
                self.within.push(node);
                visit::$visit(self, node);
                self.within.pop();
            })*

            fn visit_attribute(&mut self, attribute: &'ast Attribute) {
                if is_for_tests(attribute) {
                    self.cut(attribute);
                }
            }
        }
    };
}

owners! {
    visit_item: Item,
    visit_impl_item: ImplItem,
    visit_trait_item: TraitItem,
    visit_foreign_item: ForeignItem,
    visit_field: Field,
    visit_variant: Variant,
    visit_generic_param: GenericParam,
    visit_fn_arg: FnArg,
    visit_stmt: Stmt,
    visit_arm: Arm,
    visit_expr: Expr,
    visit_field_value: FieldValue,
    visit_field_pat: FieldPat,
}

impl<'ast> Cutter<'ast> {
    /// Reads a file, whose text it is.
    fn read(text: &'ast str, file: &'ast syn::File) -> Self {
        let mut cutter = Self { text, within: Vec::new(), cuts: Vec::new(), lost: Vec::new() };
        cutter.visit_file(file);
        cutter
    }

    fn cut(&mut self, attribute: &Attribute) {
        // That of a whole file is seen to by whoever reads it.
        let Some(owner) = self.within.last() else { return };
        let (innermost, own) = (owner.span().byte_range(), attribute.span().byte_range());
        // The attribute of an expression is that of the statement, its semicolon included.
        let around = self.within.iter().map(|node| node.span().byte_range());
        let whole = around.into_iter().find(|range| range.start == innermost.start).unwrap_or(innermost);
        let begins_with_attributes = ["#", "///", "/**"].iter().any(|mark| self.text[whole.start..].starts_with(mark));
        if begins_with_attributes && whole.contains(&own.start) {
            self.cuts.push(whole);
        } else {
            self.lost.push(self.text[own].to_owned());
        }
    }
}

/// The text without these bytes, and without the lines that held nothing else.
fn without(text: &str, mut cuts: Vec<Range<usize>>) -> String {
    cuts.sort_by_key(|cut| (cut.start, std::cmp::Reverse(cut.end)));
    let (mut kept, mut at) = (String::new(), 0);
    for cut in cuts.into_iter().filter(|cut| cut.end > 0) {
        if cut.start < at {
            continue;
        }
        kept.push_str(text[at..cut.start].trim_end_matches([' ', '\t']));
        // The comma behind a field, variant or arm goes with it.
        let rest = &text[cut.end..];
        let rest = rest.strip_prefix(',').unwrap_or(rest);
        let rest = if kept.is_empty() || kept.ends_with('\n') { rest.strip_prefix('\n').unwrap_or(rest) } else { rest };
        at = text.len() - rest.len();
    }
    kept.push_str(&text[at..]);
    kept.truncate(kept.trim_end().len());
    kept.push('\n');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn production(text: &str) -> String {
        let file = syn::parse_file(text).unwrap();
        let cutter = Cutter::read(text, &file);
        assert!(cutter.lost.is_empty(), "{:?}", cutter.lost);
        without(text, cutter.cuts)
    }

    #[test]
    fn what_only_tests_compile_is_cut_out_exactly() {
        for (text, expected) in [
            ("#[cfg(test)]\nuse a::b;\nuse c::d;\n", "use c::d;\n"),
            ("/// Doc.\n#[cfg(test)]\n#[allow(x)]\npub mod a;\nfn b() {}\n", "fn b() {}\n"),
            ("struct A {\n    #[cfg(test)]\n    a: M<B, C>,\n    d: D,\n}\n", "struct A {\n    d: D,\n}\n"),
            ("enum A {\n    #[cfg(test)]\n    B,\n    C,\n}\n", "enum A {\n    C,\n}\n"),
            ("fn a() {\n    #[cfg(test)]\n    b();\n    c();\n}\n", "fn a() {\n    c();\n}\n"),
            ("fn a() {\n    #[cfg(test)]\n    let b = c;\n    d()\n}\n", "fn a() {\n    d()\n}\n"),
            (
                "fn a() {\n    match b {\n        #[cfg(test)]\n        C => {}\n        D => e,\n    }\n}\n",
                "fn a() {\n    match b {\n        D => e,\n    }\n}\n",
            ),
            (
                "fn a() -> B {\n    B {\n        #[cfg(test)]\n        c: 1,\n        d,\n    }\n}\n",
                "fn a() -> B {\n    B {\n        d,\n    }\n}\n",
            ),
            ("impl A {\n    #[cfg(test)]\n    fn b() {}\n    fn c() {}\n}\n", "impl A {\n    fn c() {}\n}\n"),
            ("fn a() {}\n\n#[cfg(test)]\nmod tests {\n    use b;\n}\n", "fn a() {}\n"),
            ("#[cfg(any(test, fuzzing))]\nfn a() {}\nfn b() {}\n", "fn b() {}\n"),
            ("#[cfg(all(test, feature = \"x\"))]\nfn a() {}\nfn b() {}\n", "fn b() {}\n"),
        ] {
            assert_eq!(production(text), expected, "{text}");
        }
    }

    #[test]
    fn what_production_may_compile_stays() {
        for text in [
            "#[cfg(not(test))]\nfn a() {}\n",
            "#[cfg(feature = \"test\")]\nfn a() {}\n",
            "#[cfg(any(test, feature = \"x\"))]\nfn a() {}\n",
            "#[cfg_attr(test, derive(Debug))]\nstruct A;\n",
            "// #[cfg(test)]\nfn a() {}\n",
            "const A: &str = \"\n#[cfg(test)]\n\";\nfn b() {}\n",
        ] {
            assert_eq!(production(text), text);
        }
    }
}
