//! The facts about the production code of one file that rules ask for.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{
    Expr, Item, Token, Type,
    punctuated::Punctuated,
    visit::{self, Visit},
};

use super::paths::{self, Absolute};

/// The facts about one file.
pub(crate) struct Facts {
    /// Lines.
    pub(crate) lines: usize,
    /// The paths that it takes from the crate.
    pub(crate) paths: Vec<Absolute>,
    /// The names of the items that it defines at its top level.
    pub(crate) items: BTreeSet<String>,
    /// The types that it has inherent `impl` blocks of, without those that it defines.
    pub(crate) foreign_impls: Vec<String>,
    /// Permissions that it grants.
    pub(crate) permissions: Permissions,
    /// `true` where a secret is exposed.
    pub(crate) exposes: bool,
}

impl Facts {
    /// Reads a production text of the module at `module`.
    pub(crate) fn of(text: &str, module: &[String]) -> syn::Result<Self> {
        let tokens: TokenStream = text.parse()?;
        let top = module.first().map_or("", String::as_str);
        // The binary knows the crate by its name.
        let crate_name = (top == "main").then_some(env!("CARGO_PKG_NAME"));
        let mut permissions = Permissions::default();
        let file = syn::parse_file(text)?;
        permissions.visit_file(&file);
        // Neither can know what a verdict of `edge` is: the floors see to that. They have an `Allow` of their own.
        if matches!(top, "metrics" | "policy") {
            permissions.verdicts = 0;
        }
        Ok(Self {
            lines: text.lines().count(),
            paths: paths::taken(&tokens, module, crate_name),
            items: file.items.iter().filter_map(name).collect(),
            foreign_impls: foreign_impls(&file),
            permissions,
            exposes: exposes(&tokens),
        })
    }
}

/// The name of an item, unless it is an import or a module.
fn name(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

/// The types of inherent `impl` blocks that stand in another file than their type.
fn foreign_impls(file: &syn::File) -> Vec<String> {
    let (mut defined, mut implemented) = (Types::default(), Implemented::default());
    defined.visit_file(file);
    implemented.visit_file(file);
    implemented.0.retain(|name| !defined.0.contains(name));
    implemented.0
}

/// The names of the types and traits of a file, wherever in it they are defined.
#[derive(Default)]
pub(crate) struct Types(pub(crate) Vec<String>);

impl<'ast> Visit<'ast> for Types {
    fn visit_item(&mut self, node: &'ast Item) {
        if matches!(node, Item::Enum(_) | Item::Struct(_) | Item::Trait(_) | Item::Type(_) | Item::Union(_)) {
            self.0.extend(name(node));
        }
        visit::visit_item(self, node);
    }
}

#[derive(Default)]
struct Implemented(Vec<String>);

impl<'ast> Visit<'ast> for Implemented {
    fn visit_item_impl(&mut self, node: &'ast syn::ItemImpl) {
        if let (None, Type::Path(path)) = (&node.trait_, &*node.self_ty) {
            self.0.extend(path.path.segments.last().map(|segment| segment.ident.to_string()));
        }
        visit::visit_item_impl(self, node);
    }
}

/// Places where a file lets in.
#[derive(Default)]
pub(crate) struct Permissions {
    /// Calls of `Admission::grant`, and other names for it.
    pub(crate) grants: usize,
    /// Verdicts that let in.
    pub(crate) verdicts: usize,
    /// Permissions that nobody granted.
    pub(crate) literals: usize,
}

impl Permissions {
    fn read(&mut self, code: &TokenStream) {
        let tokens: Vec<_> = code.clone().into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            match (token, tokens.get(at + 1)) {
                (TokenTree::Group(group), _) => self.read(&group.stream()),
                (TokenTree::Ident(word), _) if word == "grant" && is_behind_colons(&tokens, at) => self.grants += 1,
                (TokenTree::Ident(word), Some(TokenTree::Group(inner)))
                    if word == "Allow" && inner.delimiter() == Delimiter::Parenthesis && !is_wild(inner) =>
                {
                    self.verdicts += 1;
                }
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Permissions {
    fn visit_expr_path(&mut self, node: &'ast syn::ExprPath) {
        let segments: Vec<_> = node.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        match segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [_, .., "grant"] => self.grants += 1,
            // Those of other modules, which let nobody in.
            [.., "RuleAccess", "Allow"] | [.., "metrics", "VerdictLabel", "Allow"] => {}
            [.., "Allow"] => self.verdicts += 1,
            _ => {}
        }
        visit::visit_expr_path(self, node);
    }

    fn visit_expr_struct(&mut self, node: &'ast syn::ExprStruct) {
        if node.path.segments.last().is_some_and(|segment| segment.ident == "Admission") {
            self.literals += 1;
        }
        visit::visit_expr_struct(self, node);
    }

    fn visit_item_use(&mut self, node: &'ast syn::ItemUse) {
        // Under another name they would not be seen.
        let mut renamed = Renamed(Vec::new());
        renamed.visit_item_use(node);
        self.grants += renamed.0.iter().filter(|name| *name == "Admission").count();
        self.verdicts += renamed.0.iter().filter(|name| *name == "Allow").count();
    }

    fn visit_macro(&mut self, node: &'ast syn::Macro) {
        match node.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated) {
            Ok(arguments) => arguments.iter().for_each(|argument| self.visit_expr(argument)),
            Err(_) => self.read(&node.tokens),
        }
    }
}

struct Renamed(Vec<String>);

impl<'ast> Visit<'ast> for Renamed {
    fn visit_use_rename(&mut self, node: &'ast syn::UseRename) {
        self.0.push(node.ident.to_string());
    }
}

fn is_behind_colons(tokens: &[TokenTree], at: usize) -> bool {
    at.checked_sub(1).and_then(|before| tokens.get(before)).is_some_and(|token| token.to_string() == ":")
}

/// Patterns that bind nothing: `_` and `..`.
fn is_wild(group: &proc_macro2::Group) -> bool {
    matches!(group.stream().to_string().as_str(), "_" | ".." | ". .")
}

fn exposes(code: &TokenStream) -> bool {
    code.clone().into_iter().any(|token| match token {
        TokenTree::Ident(word) => word.to_string().starts_with("expose_secret"),
        TokenTree::Group(group) => exposes(&group.stream()),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}
