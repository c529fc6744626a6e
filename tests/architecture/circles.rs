//! Circles of files: strongly connected components of the imports between files, by Tarjan's algorithm.
//!
//! An import counts for the file that defines the item, however many modules pass it on. Imports between a module and a
//! module inside it do not count: a `mod.rs` declares its children, and they may use its types.

use std::collections::{BTreeMap, BTreeSet};

use super::{facts::Facts, paths::Absolute, source::Tree};

/// A file, by its place in the tree.
type File = usize;

/// Files by the path of their module.
type Modules<'a> = BTreeMap<&'a [String], (File, &'a Facts)>;

/// The search for circles.
pub(crate) struct Circles {
    imports: BTreeMap<File, BTreeSet<File>>,
    /// Order of discovery of each file, and the lowest order that it leads back to.
    orders: BTreeMap<File, (usize, usize)>,
    stack: Vec<File>,
    found: Vec<Vec<File>>,
}

impl Circles {
    /// Returns the files of each circle, by name.
    pub(crate) fn of(tree: &Tree) -> Vec<Vec<String>> {
        let sources: Vec<_> = tree.production().collect();
        let modules: Modules<'_> =
            sources.iter().enumerate().map(|(file, (source, facts))| (&*source.module, (file, *facts))).collect();
        let is_inside = |one: File, other: File| sources[one].0.module.starts_with(&sources[other].0.module);
        let mut imports = BTreeMap::new();
        for (file, (_, facts)) in sources.iter().enumerate() {
            let targets = facts.paths.iter().filter_map(|path| definition(path, &modules));
            let others = targets.filter(|other| !is_inside(file, *other) && !is_inside(*other, file));
            imports.insert(file, others.collect());
        }
        let mut search = Self { imports, orders: BTreeMap::new(), stack: Vec::new(), found: Vec::new() };
        for file in 0..sources.len() {
            search.visit(file);
        }
        let name = |file: File| sources[file].0.name();
        let mut circles: Vec<Vec<_>> =
            search.found.iter().map(|circle| circle.iter().map(|file| name(*file)).collect()).collect();
        for circle in &mut circles {
            circle.sort();
        }
        circles
    }

    fn visit(&mut self, file: File) {
        if self.orders.contains_key(&file) {
            return;
        }
        let order = self.orders.len();
        self.orders.insert(file, (order, order));
        self.stack.push(file);
        for next in self.imports[&file].clone() {
            let is_new = !self.orders.contains_key(&next);
            self.visit(next);
            if is_new || self.stack.contains(&next) {
                let back = if is_new { self.orders[&next].1 } else { self.orders[&next].0 };
                let lowest = &mut self.orders.get_mut(&file).unwrap().1;
                *lowest = back.min(*lowest);
            }
        }
        if self.orders[&file].1 == order {
            let start = self.stack.iter().position(|one| *one == file).unwrap();
            let circle = self.stack.split_off(start);
            if circle.len() > 1 {
                self.found.push(circle);
            }
        }
    }
}

/// Returns the file that defines the item at `path`, followed through the modules that pass it on.
fn definition(path: &Absolute, modules: &Modules<'_>) -> Option<File> {
    let mut path = path.clone();
    // More than any item is passed on.
    for _ in 0..8 {
        let depth = (1..=path.len()).rev().find(|depth| modules.contains_key(&path[..*depth]))?;
        let (file, facts) = modules[&path[..depth]];
        let Some(name) = path.get(depth) else { return Some(file) };
        let passed_on = facts.paths.iter().find(|taken| taken.last() == Some(name) && **taken != path);
        match passed_on {
            Some(from) if !facts.items.contains(name) => path = [from, &path[depth + 1..]].concat(),
            _ => return Some(file),
        }
    }
    None
}
