//! The rendered identity headers of one session, ready to be copied while it is in use.
//!
//! Promises: headers are rendered once for each plan until they are cleared.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use http::HeaderMap;

use crate::policy::headers::{Plan, PlanId, Rendered};

/// Plans whose headers a session keeps: more than its apps have, and a bound for one that lives through many changes of the
/// configuration. Headers of any further plan are rendered each time.
pub(super) const MAX_PLANS: usize = 32;

/// Rendered headers as a linked list, in the order in which their plans were first asked for: mostly one. It grows until it
/// is cleared.
#[derive(Default)]
pub(super) struct HeaderCache(ArcSwapOption<Rendering>);

struct Rendering {
    plan: PlanId,
    headers: Rendered,
    next: OnceLock<Box<Self>>,
}

impl HeaderCache {
    /// Returns the headers under a plan, and renders them where they are missing.
    pub(super) fn headers(&self, plan: &Plan, render: impl Fn() -> Rendered) -> HeaderMap {
        let new = || Rendering { plan: plan.id(), headers: render(), next: OnceLock::new() };
        let current = self.0.load();
        if let Some(first) = &*current {
            return first.headers(plan, new);
        }
        let first = Arc::new(new());
        // Another request may have been faster: then this one has rendered for itself alone.
        self.0.compare_and_swap(&current, Some(Arc::clone(&first)));
        plan.headers(&first.headers)
    }

    /// Drops all headers. They are rendered again when they are asked for.
    pub(super) fn clear(&self) {
        // A store has to wait for readers, and nearly all caches are empty.
        if !self.is_empty() {
            self.0.store(None);
        }
    }

    /// Returns `true` if no headers are rendered.
    pub(super) fn is_empty(&self) -> bool {
        self.0.load().is_none()
    }
}

impl Rendering {
    fn headers(&self, plan: &Plan, new: impl Fn() -> Self) -> HeaderMap {
        let mut entry = self;
        for _ in 1..MAX_PLANS {
            if entry.plan == plan.id() {
                break;
            }
            // Another plan may take the free place first: then the next one is tried.
            entry = entry.next.get_or_init(|| Box::new(new()));
        }
        if entry.plan == plan.id() { plan.headers(&entry.headers) } else { plan.headers(&new().headers) }
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

    /// Asks for the headers under a plan, and returns `true` if they were rendered for it.
    fn renders(cache: &HeaderCache, number: usize) -> bool {
        let (plan, rendered) = (plan(number), Cell::new(0));
        let render = || {
            rendered.set(rendered.get() + 1);
            plan.render(&ann(), &Tokens::default())
        };
        assert_eq!(cache.headers(&plan, render)[format!("x-{number}")], "ann");
        assert!(rendered.get() <= 1);
        rendered.get() == 1
    }

    #[test]
    fn headers_are_rendered_once_for_each_plan_as_long_as_there_is_room() {
        let cache = HeaderCache::default();
        assert!((0..MAX_PLANS).all(|number| renders(&cache, number)));
        assert!(!(0..MAX_PLANS).any(|number| renders(&cache, number)));
        assert!(renders(&cache, MAX_PLANS) && renders(&cache, MAX_PLANS), "a session does not grow for ever");
    }

    #[test]
    fn headers_that_were_cleared_are_rendered_again() {
        let cache = HeaderCache::default();
        assert!(renders(&cache, 1) && !renders(&cache, 1));
        cache.clear();
        assert!(cache.is_empty() && renders(&cache, 1) && !renders(&cache, 1));
    }
}
