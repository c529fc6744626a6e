//! The headers that a session answers with, ready to be copied, for as long as it is in use.
//!
//! Promises: under one plan they are rendered once until they are cleared away. It must not know whose they are.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use http::HeaderMap;

use crate::policy::headers::{Plan, PlanId, Rendered};

/// How many plans' headers a session keeps: more than its apps have, and a bound for one that lives through many changes of
/// the configuration. What comes on top is rendered each time.
pub(super) const MOST_PLANS: usize = 32;

/// Rendered headers, in the order in which their plans were first asked for: few, mostly one. It grows until it is cleared.
#[derive(Default)]
pub(super) struct HeaderCache(ArcSwapOption<Rendering>);

struct Rendering {
    plan: PlanId,
    headers: Rendered,
    next: OnceLock<Box<Self>>,
}

impl HeaderCache {
    /// The headers under a plan, rendered where they are not there.
    pub(super) fn headers(&self, plan: &Plan, render: impl Fn() -> Rendered) -> HeaderMap {
        let new = || Rendering { plan: plan.id(), headers: render(), next: OnceLock::new() };
        let there = self.0.load();
        if let Some(first) = &*there {
            return first.headers(plan, new);
        }
        let first = Arc::new(new());
        // Another request may have been faster: then this one has rendered for itself alone.
        self.0.compare_and_swap(&there, Some(Arc::clone(&first)));
        plan.headers(&first.headers)
    }

    /// Drops them all. They are rendered anew when they are asked for.
    pub(super) fn clear(&self) {
        // To write has to wait for whoever reads, and nearly all shelves are empty.
        if !self.is_empty() {
            self.0.store(None);
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.load().is_none()
    }
}

impl Rendering {
    fn headers(&self, plan: &Plan, new: impl Fn() -> Self) -> HeaderMap {
        let mut kept = self;
        for _ in 1..MOST_PLANS {
            if kept.plan == plan.id() {
                break;
            }
            // Another plan may be faster at the free place: then the next one is tried.
            kept = kept.next.get_or_init(|| Box::new(new()));
        }
        if kept.plan == plan.id() { plan.headers(&kept.headers) } else { plan.headers(&new().headers) }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::{
        identity::{Identity, Subject, Tokens},
        policy::headers::Source,
    };

    /// A plan of one header with a name of its own.
    fn plan(number: usize) -> Plan {
        let name = http::HeaderName::try_from(format!("x-{number}")).unwrap();
        Plan::new(vec![(name, Source::User)], Vec::new())
    }

    fn ann() -> Identity {
        Identity {
            provider: "p".to_owned(),
            subject: Subject("s".to_owned()),
            user: "ann".to_owned(),
            email: String::new(),
            email_verified: true,
            name: String::new(),
            groups: Vec::new(),
            claims: serde_json::Map::new(),
        }
    }

    /// Asks a shelf under a plan, and says whether something was rendered for it.
    fn renders(shelf: &HeaderCache, number: usize) -> bool {
        let (plan, rendered) = (plan(number), Cell::new(0));
        let render = || {
            rendered.set(rendered.get() + 1);
            plan.render(&ann(), &Tokens::default())
        };
        assert_eq!(shelf.headers(&plan, render)[format!("x-{number}")], "ann");
        assert!(rendered.get() <= 1);
        rendered.get() == 1
    }

    #[test]
    fn headers_are_rendered_once_for_each_plan_as_long_as_there_is_room() {
        let shelf = HeaderCache::default();
        assert!((0..MOST_PLANS).all(|number| renders(&shelf, number)));
        assert!(!(0..MOST_PLANS).any(|number| renders(&shelf, number)));
        assert!(renders(&shelf, MOST_PLANS) && renders(&shelf, MOST_PLANS), "a session does not grow for ever");
    }

    #[test]
    fn what_was_cleared_away_is_rendered_anew() {
        let shelf = HeaderCache::default();
        assert!(renders(&shelf, 1) && !renders(&shelf, 1));
        shelf.clear();
        assert!(shelf.is_empty() && renders(&shelf, 1) && !renders(&shelf, 1));
    }
}
