//! Metrics of identity headers: the parts that do not fit into `server.header_budget`.

use prometheus::{IntCounterVec, Registry};

use super::{registry::counters, requests::NO_APP};

/// Groups and tokens that apps do not receive, by app.
#[derive(Clone)]
pub struct HeaderMetrics {
    groups: IntCounterVec,
    tokens: IntCounterVec,
}

impl HeaderMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let groups = "Groups left out of identity headers, once for each session and app";
        let tokens = "Tokens left out of identity headers, once for each session and app";
        Self {
            groups: counters(registry, "doorward_groups_cut_total", groups, &["app"]),
            tokens: counters(registry, "doorward_tokens_left_out_total", tokens, &["app"]),
        }
    }

    /// Returns the handles. From here on the series of these apps exist, and those of hosts without an app.
    pub(super) fn of(&self, apps: &[&str]) -> Self {
        for app in apps.iter().chain([&NO_APP]) {
            self.count(Some(app), 0, 0);
        }
        self.clone()
    }

    /// Counts groups and tokens that an app does not receive; `None` for a host without an app.
    pub fn count(&self, app: Option<&str>, groups: usize, tokens: usize) {
        let app = [app.unwrap_or(NO_APP)];
        self.groups.with_label_values(&app).inc_by(groups as u64);
        self.tokens.with_label_values(&app).inc_by(tokens as u64);
    }
}
