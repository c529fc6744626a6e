//! Index of an app's rules by path, so that a request costs the same however many rules there are.
//!
//! Promises: the rules that it leaves out match the path under no reading, and the others come in their order. So whoever walks
//! through them comes to the same end as with all of them.

use std::{borrow::Cow, collections::HashMap, iter::Peekable, vec};

use regex::{RegexSet, RegexSetBuilder};

use super::{
    expression,
    pattern::{PathPattern, Pattern},
    readings::{Readings, fold, without_format},
    rule::Rule,
};

/// Number of paths from which on rules are indexed. Fewer are looked at faster than an index.
const MIN_PATHS: usize = 8;

/// Number of expressions that are each tried for a path. More are tried all at once first, which costs as much as a few do.
const MAX_TRIED: usize = 3;

/// Place of a rule among those of its app.
type Place = usize;

/// Rules of an app in their order, with an index where they are many.
#[derive(Clone, Debug, Default)]
pub struct RuleList {
    rules: Vec<Rule>,
    index: Option<RuleIndex>,
    reads_client: bool,
    sets_cache_control: bool,
}

/// Index of rules by path.
#[derive(Clone, Debug)]
pub(super) struct RuleIndex {
    /// The tree of folded paths and folders, from the root.
    nodes: Vec<PathNode>,
    /// The rules with expressions, in the order of the set.
    expressions: Vec<Place>,
    /// Their patterns: as they open, or as they close.
    set: RegexSet,
}

/// Folded path in the tree.
#[derive(Clone, Debug, Default)]
struct PathNode {
    /// By name of a segment. Only the configuration puts names in.
    children: HashMap<Box<str>, usize, foldhash::fast::RandomState>,
    /// The rules written with this path or folder.
    own: Vec<Place>,
    /// The rules about paths below: for every path, or for a folder that is this one or above.
    below: Vec<Place>,
    /// The rules about this very path.
    here: Vec<Place>,
    /// The rules with expressions that may match this path or one below.
    expressions: Vec<Place>,
}

/// End of a walk down the tree.
#[derive(Clone, Copy)]
struct Reached<'i> {
    node: Option<&'i PathNode>,
    /// Whether the walk came to the end of the path.
    is_all: bool,
}

/// Rules that may match, in their order.
pub(super) struct Candidates<'i> {
    rules: &'i [Rule],
    /// Places in ascending order, which may occur in several.
    written: [&'i [Place]; 4],
    matched: Peekable<vec::IntoIter<Place>>,
}

impl RuleList {
    /// The index, where the rules are many.
    pub(super) fn index(&self) -> Option<&RuleIndex> {
        self.index.as_ref()
    }

    /// Returns `true` if a rule depends on the client's address.
    pub(super) fn reads_client(&self) -> bool {
        self.reads_client
    }

    /// Returns `true` if a rule has a `cache_control`.
    pub(super) fn sets_cache_control(&self) -> bool {
        self.sets_cache_control
    }

    /// Returns `true` if a rule names this very path.
    pub(super) fn names(&self, served: &str) -> bool {
        match &self.index {
            None => self.rules.iter().any(|rule| rule.path.names(served)),
            Some(index) => {
                let mut about = index.walk(&fold(served)).about().iter().filter_map(|place| self.rules.get(*place));
                about.any(|rule| rule.path.names(served))
            }
        }
    }

    fn with_index(rules: Vec<Rule>, index: Option<RuleIndex>) -> Self {
        let sets_cache_control = rules.iter().any(|rule| rule.cache_control.is_some());
        Self { reads_client: reads_client(&rules), sets_cache_control, rules, index }
    }

    /// The same rules, indexed however few they are.
    #[cfg(test)]
    pub(super) fn indexed(rules: Vec<Rule>) -> Self {
        let index = Some(RuleIndex::new(&rules));
        Self::with_index(rules, index)
    }

    /// The same rules without an index.
    #[cfg(test)]
    pub(super) fn plain(rules: Vec<Rule>) -> Self {
        Self::with_index(rules, None)
    }
}

impl From<Vec<Rule>> for RuleList {
    fn from(rules: Vec<Rule>) -> Self {
        let paths: usize = rules.iter().map(|rule| rule.path.exact_paths().len().max(1)).sum();
        let index = (paths >= MIN_PATHS).then(|| RuleIndex::new(&rules));
        Self::with_index(rules, index)
    }
}

impl std::ops::Deref for RuleList {
    type Target = [Rule];

    fn deref(&self) -> &[Rule] {
        &self.rules
    }
}

impl RuleIndex {
    fn new(rules: &[Rule]) -> Self {
        let mut index = Self { nodes: vec![PathNode::default()], expressions: Vec::new(), set: RegexSet::empty() };
        let mut patterns = Vec::new();
        for (place, rule) in rules.iter().enumerate() {
            match &rule.path {
                PathPattern::Any => index.at_mut(0).below.push(place),
                PathPattern::Prefix(folder) => {
                    let at = index.insert(folder, place);
                    index.at_mut(at).below.push(place);
                }
                PathPattern::Exact(_) | PathPattern::Files(_) => {
                    for path in rule.path.exact_paths() {
                        index.insert(path, place);
                    }
                }
                PathPattern::Regex(expression) => {
                    let at = index.node(&folder_of(expression.start()));
                    index.at_mut(at).expressions.push(place);
                    index.expressions.push(place);
                    patterns.push(if rule.access.opens() {
                        expression.exact_pattern()
                    } else {
                        expression.folded_pattern()
                    });
                }
            }
        }
        // Each of them has been compiled alone, within its limit.
        let set = RegexSetBuilder::new(patterns).size_limit(usize::MAX).build();
        index.set = set.expect("every expression is valid on its own");
        index.inherit();
        index
    }

    /// Notes a rule at its path, and returns the node.
    fn insert(&mut self, path: &Pattern, place: Place) -> usize {
        let at = self.node(path.folded());
        let own = &mut self.at_mut(at).own;
        if own.last() != Some(&place) {
            own.push(place);
        }
        at
    }

    /// Returns the node of a folded path, which is made where there is none.
    fn node(&mut self, folded: &str) -> usize {
        let mut at = 0;
        for name in segments(folded) {
            let next = self.nodes.len();
            at = *self.at_mut(at).children.entry(name.into()).or_insert(next);
            if at == next {
                self.nodes.push(PathNode::default());
            }
        }
        at
    }

    fn at_mut(&mut self, at: usize) -> &mut PathNode {
        self.nodes.get_mut(at).expect("a node that was made")
    }

    /// Hands down what is said about a folder to everything below, so that one node answers for all above it.
    fn inherit(&mut self) {
        // A node stands behind its parent.
        for at in 0..self.nodes.len() {
            let node = self.at_mut(at);
            node.here = merged(&node.below, &node.own);
            let (below, expressions) = (node.below.clone(), node.expressions.clone());
            for child in node.children.values().copied().collect::<Vec<_>>() {
                let child = self.at_mut(child);
                child.below = merged(&child.below, &below);
                child.expressions = merged(&child.expressions, &expressions);
            }
        }
    }

    /// Returns the rules that may match a path under some reading.
    pub(super) fn candidates<'i>(&'i self, rules: &'i [Rule], readings: &Readings<'_>) -> Candidates<'i> {
        let Readings::One { served, folded } = readings else { return self.candidates_of_all(rules, readings) };
        let name = without_format(folded);
        let (of_path, of_name) = (self.walk(folded), name.map(|name| self.walk(name)));
        let (about, at) = (of_path.about(), of_name.map_or(&[][..], Reached::at));
        let (tried, also) = (of_path.expressions(), of_name.map_or(&[][..], Reached::expressions));
        let is_long = served.len().max(folded.len()) > expression::MAX_PATH;
        let (written, matched) = match tried.len() + also.len() {
            _ if is_long => ([about, at, &[], &[]], self.expressions.clone()),
            0..=MAX_TRIED => ([about, at, tried, also], Vec::new()),
            _ => ([about, at, &[], &[]], self.matched(served, folded, name)),
        };
        Candidates { rules, written, matched: matched.into_iter().peekable() }
    }

    /// Candidates for a path with several readings.
    fn candidates_of_all<'i>(&'i self, rules: &'i [Rule], readings: &Readings<'_>) -> Candidates<'i> {
        let mut places = self.expressions.clone();
        for folded in readings.folded() {
            places.extend(self.walk(folded).about());
            places.extend(without_format(folded).map_or(&[][..], |name| self.walk(name).at()));
        }
        places.sort_unstable();
        places.dedup();
        Candidates { rules, written: [&[]; 4], matched: places.into_iter().peekable() }
    }

    /// Goes down the tree along a folded path, as far as there are nodes.
    fn walk(&self, folded: &str) -> Reached<'_> {
        let mut node = self.nodes.first();
        for name in segments(folded) {
            match node.and_then(|node| node.children.get(name)) {
                Some(&child) => node = self.nodes.get(child),
                None => return Reached { node, is_all: false },
            }
        }
        Reached { node, is_all: true }
    }

    /// Returns the rules whose expressions match one of these.
    fn matched(&self, served: &str, folded: &str, name: Option<&str>) -> Vec<Place> {
        let folded = Some(folded).filter(|folded| *folded != served);
        let paths = || [Some(served), folded, name].into_iter().flatten();
        // Nearly all paths match none, which is told without allocating.
        if !paths().any(|path| self.set.is_match(path)) {
            return Vec::new();
        }
        let mut matched: Vec<_> = paths().flat_map(|path| self.set.matches(path)).collect();
        matched.sort_unstable();
        matched.dedup();
        matched.iter().filter_map(|number| self.expressions.get(*number).copied()).collect()
    }
}

impl<'i> Reached<'i> {
    /// Returns the rules that are written with the path, a folder above it, or no path.
    fn about(self) -> &'i [Place] {
        self.node.map_or(&[], |node| if self.is_all { &node.here } else { &node.below })
    }

    /// Returns the rules that are written with this very path.
    fn at(self) -> &'i [Place] {
        self.node.filter(|_| self.is_all).map_or(&[], |node| &node.own)
    }

    /// Returns the rules with expressions that may match the path.
    fn expressions(self) -> &'i [Place] {
        self.node.map_or(&[], |node| &node.expressions)
    }
}

impl<'i> Iterator for Candidates<'i> {
    type Item = &'i Rule;

    fn next(&mut self) -> Option<&'i Rule> {
        let heads = self.written.iter().filter_map(|places| places.first()).chain(self.matched.peek());
        let place = heads.min().copied()?;
        for places in &mut self.written {
            if let [first, rest @ ..] = places
                && *first == place
            {
                *places = rest;
            }
        }
        self.matched.next_if_eq(&place);
        self.rules.get(place)
    }
}

fn reads_client(rules: &[Rule]) -> bool {
    rules.iter().any(|rule| !rule.networks.is_empty())
}

/// Returns the folder below which, folded, all paths are that begin so in any letter case.
fn folder_of(start: &str) -> Cow<'_, str> {
    // Letters beyond ASCII may fold to more than one.
    let folder = start.rsplit_once('/').map_or("", |(folder, _)| folder);
    fold(if start.is_ascii() { folder } else { "" })
}

/// Names of the segments of a folded path; none for the root.
fn segments(folded: &str) -> impl Iterator<Item = &str> {
    let names = folded.strip_prefix('/').unwrap_or(folded);
    names.split('/').filter(move |_| !names.is_empty())
}

/// Merges two ascending lists, without repeats.
fn merged(one: &[Place], other: &[Place]) -> Vec<Place> {
    let mut all = [one, other].concat();
    all.sort_unstable();
    all.dedup();
    all
}
