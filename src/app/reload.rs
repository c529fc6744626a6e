//! Configuration reload: on SIGHUP, and when the files have changed.
//!
//! A configuration with a mistake in it changes nothing, and is logged once with all its mistakes; a valid one is
//! in force from the next request on.

use std::{convert::Infallible, time::Duration};

use tokio::{signal::unix::Signal, task::spawn_blocking, time::sleep};

use super::{
    components::{AppComponents, log_warnings},
    providers::ProviderTasks,
};
use crate::{
    config::{Config, ConfigDiff, ConfigWatcher, Diagnostics},
    metrics,
};

/// Interval between comparisons of the files. A change counts when it is seen for the second time.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Most keys that a log line names.
const MAX_LOGGED_KEYS: usize = 20;

/// Sources of reloads, and the setter of `log.level`, which is applied outside of the gate.
pub struct ReloadSources {
    /// Files of the configuration.
    pub watch: ConfigWatcher,
    /// SIGHUP.
    pub hangup: Signal,
    /// Sets `log.level`.
    pub set_log_level: Box<dyn Fn(&str) + Send>,
}

/// Reloads the configuration of a running gate.
pub(super) struct ConfigReloader {
    pub(super) components: AppComponents,
    pub(super) provider_tasks: ProviderTasks,
    /// The result of the last reload.
    pub(super) last: metrics::ReloadResult,
}

/// Trigger of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReloadTrigger {
    Poll,
    Hangup,
}

impl ConfigReloader {
    /// Reloads the configuration whenever it has changed, for as long as it is polled.
    pub(super) async fn run(mut self, sources: ReloadSources) -> Infallible {
        let ReloadSources { mut watch, mut hangup, mut set_log_level } = sources;
        loop {
            let trigger = tokio::select! {
                _ = hangup.recv() => ReloadTrigger::Hangup,
                () = sleep(POLL_INTERVAL) => ReloadTrigger::Poll,
            };
            // On a blocking thread: a slow disk or a configuration with thousands of hosts must not stall a worker.
            let reading = spawn_blocking(move || {
                let read = match trigger {
                    ReloadTrigger::Hangup => Some(watch.reload()),
                    ReloadTrigger::Poll => watch.reload_if_changed(),
                };
                if let Some(read) = read {
                    let result = self.apply(read, trigger, &set_log_level);
                    self.components.metrics.configuration.count_reload(result);
                    self.last = result;
                }
                (self, watch, set_log_level)
            });
            (self, watch, set_log_level) = reading.await.expect("a configuration with mistakes does not panic");
        }
    }

    fn apply(
        &mut self,
        read: Result<Config, Diagnostics>,
        trigger: ReloadTrigger,
        set_log_level: &(dyn Fn(&str) + Send),
    ) -> metrics::ReloadResult {
        let applied = read.map_err(|complaints| on_one_line(&complaints)).and_then(|next| {
            let difference = self.components.apply(next);
            difference.map_err(|error| format!("{error:#}"))
        });
        match applied {
            Err(reasons) => {
                tracing::error!(reasons, "configuration reload refused; keeping the configuration in force");
                metrics::ReloadResult::Refused
            }
            Ok(difference) if difference.is_empty() => {
                match trigger {
                    _ if self.last == metrics::ReloadResult::Refused => {
                        tracing::info!("the configuration is valid again; nothing has changed");
                    }
                    ReloadTrigger::Hangup => tracing::info!("configuration reloaded; nothing has changed"),
                    ReloadTrigger::Poll => tracing::debug!("configuration reloaded; nothing has changed"),
                }
                metrics::ReloadResult::Unchanged
            }
            Ok(difference) => {
                self.provider_tasks.follow(&self.components.providers);
                set_log_level(&self.components.config.log.level);
                self.log_difference(&difference);
                log_warnings(&self.components.config);
                metrics::ReloadResult::Applied
            }
        }
    }

    fn log_difference(&self, difference: &ConfigDiff) {
        let hash = &self.components.config.hash;
        if !difference.applied.is_empty() {
            tracing::info!(hash, keys = listed(&difference.applied), "configuration reloaded");
        }
        if !difference.pending_restart.is_empty() {
            let keys = listed(&difference.pending_restart);
            tracing::warn!(hash, keys, "changes that need a restart are not in force; these keys keep their values");
        }
    }
}

fn on_one_line(complaints: &Diagnostics) -> String {
    let texts = complaints.0.iter().map(|complaint| complaint.to_string().replace("\n    ", "; "));
    texts.collect::<Vec<_>>().join(" | ")
}

fn listed(keys: &[String]) -> String {
    let more = keys.len().saturating_sub(MAX_LOGGED_KEYS);
    let named = keys.iter().take(MAX_LOGGED_KEYS).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}
