//! Identity headers that are ready to be copied into answers, by the plan that they were rendered under.
//!
//! Promises: under one plan they are rendered once until they are cleared. Plans are opaque here: `policy` makes them.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::HeaderValue;

/// The most plans that headers are kept for: more than an app's sessions need, and a bound for a session that lives through many
/// changes of the configuration. Beyond it they are rendered each time.
const MAX_PLANS: usize = 32;

/// Digest of a plan's fields: equal for equal plans, in whichever configuration they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanId(pub [u8; 16]);

/// Values of a plan's fields for one identity, in the plan's order.
///
/// Their texts share one allocation: a session that is asked for after a while is in no core's cache, and each allocation of its
/// own is one more cache miss.
#[derive(Debug)]
pub struct RenderedHeaders(Box<[HeaderValue]>);

impl RenderedHeaders {
    /// Copies the values into one allocation.
    #[must_use]
    pub fn new(values: &[HeaderValue]) -> Self {
        let texts = Bytes::from(values.iter().flat_map(HeaderValue::as_bytes).copied().collect::<Box<[u8]>>());
        let mut rest = texts;
        let moved = values.iter().map(|value| {
            let text = rest.split_to(value.len());
            let mut moved = HeaderValue::from_maybe_shared(text).expect("it was a value before");
            moved.set_sensitive(value.is_sensitive());
            moved
        });
        Self(moved.collect())
    }

    /// No values: stands in a cache for headers of which a part does not fit, and which are rendered for each app of their own.
    #[must_use]
    pub fn none() -> Self {
        Self(Box::default())
    }

    /// Returns `true` if there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the values, in the plan's order.
    #[must_use]
    pub fn values(&self) -> &[HeaderValue] {
        &self.0
    }
}

/// Rendered headers of one identity, in the order in which their plans were first asked for: few, mostly one. It grows until it
/// is cleared.
#[derive(Default)]
pub struct HeaderCache(ArcSwapOption<Rendering>);

struct Rendering {
    plan: PlanId,
    headers: RenderedHeaders,
    next: OnceLock<Box<Self>>,
}

impl HeaderCache {
    /// Hands the headers under a plan to `read`, rendered where they are not there.
    pub fn with<T>(
        &self,
        plan: PlanId,
        render: impl Fn() -> RenderedHeaders,
        read: impl FnOnce(&RenderedHeaders) -> T,
    ) -> T {
        let new = || Rendering { plan, headers: render(), next: OnceLock::new() };
        let there = self.0.load();
        if let Some(first) = &*there {
            return first.with(plan, new, read);
        }
        let first = Arc::new(new());
        // Another request may have been faster; then this one has rendered for itself alone.
        self.0.compare_and_swap(&there, Some(Arc::clone(&first)));
        read(&first.headers)
    }

    /// Drops all headers. They are rendered anew when they are asked for.
    pub fn clear(&self) {
        // A write waits for readers, and nearly all caches are empty.
        if !self.is_empty() {
            self.0.store(None);
        }
    }

    /// Returns `true` if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.load().is_none()
    }
}

impl Rendering {
    fn with<T>(&self, plan: PlanId, new: impl Fn() -> Self, read: impl FnOnce(&RenderedHeaders) -> T) -> T {
        let mut kept = self;
        for _ in 1..MAX_PLANS {
            if kept.plan == plan {
                break;
            }
            // Another plan may be faster at the free place; then the next one is tried.
            kept = kept.next.get_or_init(|| Box::new(new()));
        }
        if kept.plan == plan { read(&kept.headers) } else { read(&new().headers) }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Asks a cache for the headers under a plan; `true` if something was rendered for it.
    fn renders(cache: &HeaderCache, number: usize) -> bool {
        let (mut plan, rendered) = (PlanId([0; 16]), Cell::new(0));
        plan.0[..8].copy_from_slice(&number.to_le_bytes());
        let value = HeaderValue::from(number);
        let render = || {
            rendered.set(rendered.get() + 1);
            RenderedHeaders::new(std::slice::from_ref(&value))
        };
        assert_eq!(cache.with(plan, render, |headers| headers.values().to_owned()), std::slice::from_ref(&value));
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
    fn what_was_cleared_away_is_rendered_anew() {
        let cache = HeaderCache::default();
        assert!(renders(&cache, 1) && !renders(&cache, 1));
        cache.clear();
        assert!(cache.is_empty() && renders(&cache, 1) && !renders(&cache, 1));
    }
}
