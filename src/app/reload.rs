//! Following the configuration: noticing that it has changed, reading it, putting it in force or saying why not.
//!
//! Promises: a configuration with a mistake in it changes nothing, and is told of once, with all its mistakes; a good one is
//! in force from the next request on.

use std::{convert::Infallible, time::Duration};

use tokio::{signal::unix::Signal, task::spawn_blocking, time::sleep};

use super::{Works, providers::Caretaker, warn_of};
use crate::{
    config::{Config, ConfigDiff, ConfigWatcher, Diagnostics},
    metrics,
};

/// How often the files are compared. A change counts when it is seen for the second time.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How many keys a line of the log names.
const MOST_KEYS: usize = 20;

/// Where changes of the configuration come from, and what is changed outside of the gate.
pub struct Changes {
    /// What the configuration was made of.
    pub watch: ConfigWatcher,
    /// Whoever asks for it to be read again.
    pub hangup: Signal,
    /// Sets `log.level`.
    pub level: Box<dyn Fn(&str) + Send>,
}

/// A gate whose configuration may change.
pub(super) struct Reload {
    pub(super) works: Works,
    pub(super) caretaker: Caretaker,
}

/// Why the configuration is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occasion {
    Look,
    Hangup,
}

impl Reload {
    /// Follows the configuration, for as long as it is polled.
    pub(super) async fn follow(mut self, changes: Changes) -> Infallible {
        let Changes { mut watch, mut hangup, mut level } = changes;
        loop {
            let occasion = tokio::select! {
                _ = hangup.recv() => Occasion::Hangup,
                () = sleep(LOOK_EVERY) => Occasion::Look,
            };
            // Where neither a disk that takes its time holds anybody up, nor a configuration with thousands of hosts.
            let reading = spawn_blocking(move || {
                let read = match occasion {
                    Occasion::Hangup => Some(watch.reload()),
                    Occasion::Look => watch.reload_if_changed(),
                };
                if let Some(read) = read {
                    let result = self.take(read, occasion, &level);
                    self.works.metrics.configuration.reloaded(result);
                }
                (self, watch, level)
            });
            (self, watch, level) = reading.await.expect("a configuration that is wrong is no panic");
        }
    }

    fn take(
        &mut self,
        read: Result<Config, Diagnostics>,
        occasion: Occasion,
        level: &(dyn Fn(&str) + Send),
    ) -> metrics::Reload {
        let changed = read.map_err(|complaints| on_one_line(&complaints)).and_then(|next| {
            let changed = self.works.change(next);
            changed.map_err(|error| format!("{error:#}"))
        });
        match changed {
            Err(reasons) => {
                tracing::error!(reasons, "the changed configuration is refused; the one before stays in force");
                metrics::Reload::Refused
            }
            Ok(difference) if difference.is_empty() => {
                match occasion {
                    Occasion::Hangup => tracing::info!("the configuration was read again and says the same"),
                    Occasion::Look => tracing::debug!("the configuration was read again and says the same"),
                }
                metrics::Reload::Unchanged
            }
            Ok(difference) => {
                self.caretaker.look_after(&self.works.providers);
                level(&self.works.config.log.level);
                self.tell(&difference);
                warn_of(&self.works.config);
                metrics::Reload::Applied
            }
        }
    }

    fn tell(&self, difference: &ConfigDiff) {
        let hash = &self.works.config.hash;
        if !difference.applied.is_empty() {
            tracing::info!(hash, keys = listed(&difference.applied), "the configuration has been changed");
        }
        if !difference.pending_restart.is_empty() {
            let keys = listed(&difference.pending_restart);
            tracing::warn!(hash, keys, "changes that need a restart are not in force; these keep the values they had");
        }
    }
}

fn on_one_line(complaints: &Diagnostics) -> String {
    let texts = complaints.0.iter().map(|complaint| complaint.to_string().replace("\n    ", "; "));
    texts.collect::<Vec<_>>().join(" | ")
}

fn listed(keys: &[String]) -> String {
    let more = keys.len().saturating_sub(MOST_KEYS);
    let named = keys.iter().take(MOST_KEYS).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}
