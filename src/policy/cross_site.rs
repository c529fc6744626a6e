//! Guard against requests of other sites (`cross_site`): by app, and by rule in both directions.
//!
//! Promises: "allow" counts only where its rule matches beyond doubt; under several readings of a path the strictest holds.

use super::{
    pattern::Applies,
    readings::Readings,
    rule::{CrossSite, RequestAttributes, Rule},
};

/// The guard of an app.
#[derive(Clone, Copy, Debug, Default)]
pub struct CrossSiteGuard {
    default: CrossSite,
    /// The strictest of the app and its rules, so that a request of an app without a guard costs one comparison.
    strictest: CrossSite,
}

impl CrossSiteGuard {
    /// Guard of an app with these rules; `default` holds where no rule says otherwise.
    #[must_use]
    pub fn new(default: CrossSite, rules: &[Rule]) -> Self {
        let strictest = rules.iter().filter_map(|rule| rule.cross_site).fold(default, Ord::max);
        Self { default, strictest }
    }

    /// Returns `true` if any request could be refused.
    #[must_use]
    pub fn is_on(self) -> bool {
        self.strictest == CrossSite::Deny
    }

    /// Returns the treatment of a request under every reading of its path, by the rules that the guard was made with. Rules match
    /// as in [`super::App::requirement`].
    #[must_use]
    pub fn treatment<'r>(
        self,
        rules: &(impl Iterator<Item = &'r Rule> + Clone),
        request: RequestAttributes<'_>,
    ) -> CrossSite {
        let Some(readings) = Readings::of(request.path) else { return self.strictest };
        let is_named = |path: &str| rules.clone().any(|rule| rule.path.names(path));
        let mut treatment = CrossSite::Allow;
        for rule in rules.clone() {
            let own = rule.cross_site.unwrap_or(self.default);
            let opens = || rule.opens(&request, &readings);
            if rule.access.opens() {
                if opens() {
                    return treatment.max(own);
                }
                continue;
            }
            match rule.closes(&request, &readings, is_named) {
                Applies::No => {}
                Applies::Perhaps => treatment = treatment.max(own),
                Applies::Surely if own == CrossSite::Deny || opens() => return treatment.max(own),
                Applies::Surely => return treatment.max(self.default),
            }
        }
        treatment.max(self.default)
    }
}
