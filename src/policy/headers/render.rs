//! Rendering of identity headers within the budget of an answer, and the report of what does not fit.
//!
//! Promises: what does not fit is left out in the safe direction, and said. A single value is whole or empty, never cut (a cut name
//! could be somebody else's); a list loses whole members, so that it never names a group that the person is not in. What
//! matters most has room first: names and addresses, the groups that the app's rules name, other groups and lists, tokens.

use std::fmt;

use http::{HeaderName, HeaderValue};

use super::{
    EMPTY, HeaderSource, budget, line_length,
    value::{self, Separator},
};
use crate::identity::{Identity, RenderedHeaders, Tokens};

/// Headers of one identity under a plan.
#[derive(Debug)]
pub struct RenderedPlan {
    /// The values, in the plan's order.
    pub headers: RenderedHeaders,
    /// The part that did not fit.
    pub cut: Option<HeaderCut>,
}

/// Values that did not fit into the budget of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderCut {
    /// Names and other single values that are empty instead.
    pub values: Vec<HeaderName>,
    /// Lists that lack members.
    pub lists: Vec<ListCut>,
    /// The header of groups with the fewest of them.
    pub groups: Option<ListCut>,
    /// Tokens that are empty instead.
    pub tokens: Vec<HeaderName>,
}

/// List that lacks members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListCut {
    /// Its header.
    pub header: HeaderName,
    /// Number of members that are sent.
    pub sent: usize,
    /// Number of members that there are.
    pub of: usize,
}

/// A rendering under way.
pub(super) struct Renderer<'p> {
    fields: &'p [(HeaderName, HeaderSource)],
    values: Vec<HeaderValue>,
    room: usize,
    cut: HeaderCut,
}

/// Encoded list, the members first that matter most.
struct List {
    members: Vec<String>,
    separator: Separator,
    /// Bytes of the members that come before all other lists.
    first: usize,
}

impl<'p> Renderer<'p> {
    /// Begins with empty values of these fields, which take at most `room` bytes of an answer, names included.
    pub(super) fn new(fields: &'p [(HeaderName, HeaderSource)], room: usize) -> Self {
        let names: usize = fields.iter().map(|(name, _)| line_length(name, 0)).sum();
        let values = vec![EMPTY; fields.len()];
        Self { fields, values, room: room.saturating_sub(names), cut: HeaderCut::default() }
    }

    /// Renders all fields. Groups that `named_groups` has come first.
    pub(super) fn render(mut self, identity: &Identity, tokens: &Tokens, named_groups: &[String]) -> RenderedPlan {
        self.cut.values = self.fill_singles(|source| source.single(identity));
        self.fill_lists(identity, named_groups);
        self.cut.tokens = self.fill_singles(|source| source.token(tokens));
        let is_whole = self.cut == HeaderCut::default();
        RenderedPlan { headers: RenderedHeaders::new(&self.values), cut: (!is_whole).then_some(self.cut) }
    }

    /// Fills values in that are whole or not there at all, and returns the headers of those that do not fit.
    fn fill_singles(&mut self, read: impl Fn(&HeaderSource) -> Option<HeaderValue>) -> Vec<HeaderName> {
        let mut too_long = Vec::new();
        for ((name, source), place) in self.fields.iter().zip(&mut self.values) {
            match read(source) {
                Some(value) if value.len() > self.room => too_long.push(name.clone()),
                Some(value) => {
                    self.room -= value.len();
                    *place = value;
                }
                None => {}
            }
        }
        too_long
    }

    fn fill_lists(&mut self, identity: &Identity, named_groups: &[String]) {
        let places = self.fields.iter().zip(&mut self.values);
        let list_at = |(field, place): (&'p (HeaderName, HeaderSource), _)| {
            let list = List::of(&field.1, identity, named_groups)?;
            Some(((field, place), list))
        };
        let (places, lists): (Vec<_>, Vec<_>) = places.filter_map(list_at).unzip();
        let shares = shares(&lists, self.room);
        for ((((name, source), place), list), share) in places.into_iter().zip(&lists).zip(shares) {
            let (text, sent) = value::join_within(&list.members, list.separator, share);
            self.room -= text.len();
            *place = value::line(&text);
            if sent < list.members.len() {
                self.cut.add_list(source, ListCut { header: name.clone(), sent, of: list.members.len() });
            }
        }
    }
}

/// Divides room among lists: first for the members that come before all other lists, then for the rest.
fn shares(lists: &[List], room: usize) -> Vec<usize> {
    let first: Vec<_> = lists.iter().map(|list| list.first).collect();
    let first = budget::shares(&first, room);
    let rest: Vec<_> =
        lists.iter().zip(&first).map(|(list, first)| value::joined_length(&list.members) - first).collect();
    let rest = budget::shares(&rest, room - first.iter().sum::<usize>());
    first.into_iter().zip(rest).map(|(first, rest)| first + rest).collect()
}

impl HeaderCut {
    fn add_list(&mut self, source: &HeaderSource, cut: ListCut) {
        let is_least = self.groups.as_ref().is_none_or(|least| cut.sent < least.sent);
        if matches!(source, HeaderSource::Groups(_)) && is_least {
            self.groups = Some(cut.clone());
        }
        self.lists.push(cut);
    }
}

impl List {
    fn of(source: &HeaderSource, identity: &Identity, named_groups: &[String]) -> Option<Self> {
        let (all, separator) = source.list(identity)?;
        if !matches!(source, HeaderSource::Groups(_)) {
            return Some(Self { members: value::members(all, separator), separator, first: 0 });
        }
        let is_named = |group: &&str| named_groups.iter().any(|named| named == group);
        let (named, others): (Vec<_>, Vec<_>) = all.into_iter().partition(is_named);
        let mut members = value::members(named, separator);
        let first = value::joined_length(&members);
        members.extend(value::members(others, separator));
        Some(Self { members, separator, first })
    }
}

/// Prints what is missing, such as `remote-groups has 37 of 502; x-authentik-jwt is empty`.
impl fmt::Display for HeaderCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for ListCut { header, sent, of } in &self.lists {
            write!(f, "{between}{header} has {sent} of {of}")?;
            between = "; ";
        }
        for header in self.values.iter().chain(&self.tokens) {
            write!(f, "{between}{header} is empty")?;
            between = "; ";
        }
        Ok(())
    }
}
