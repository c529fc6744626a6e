//! The upkeep of sessions, off the requests' path. One job a file:
//!
//! - [`ping`]: is the store available, and what has to be done once it is again;
//! - [`last_use`]: writing last uses;
//! - [`page_use`]: writing last pages at apps with an idle timeout of their own;
//! - [`purge`]: deleting expired rows;
//! - [`idle_sweep`]: shrinking sessions in memory that are not in use;
//! - [`revalidation`]: revalidating sessions in use that are queued for it, and unused ones in time for the grace;
//! - [`reencryption`]: re-encrypting rows after a key rotation, and counting how many are left;
//! - [`retired_keys`]: handing on the cookie keys of secrets that are dropped.
//!
//! Service tokens have jobs of their own for the same times (`service_tokens::upkeep`).
//!
//! Promises: one failing job leaves the rest for the next round; none keeps a thread to itself for long, because requests
//! are answered on it.

pub(super) mod idle_sweep;
pub(super) mod last_use;
pub(super) mod page_use;
pub(super) mod ping;
pub(super) mod purge;
pub(super) mod reencryption;
pub(super) mod retired_keys;
pub(super) mod revalidation;
mod ticks;

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::{
    session::{
        end::SessionEnding,
        service_tokens::upkeep::{LastUses, ServiceTokenUpkeep},
        upkeep::{
            last_use::LastUseWriter, page_use::PageUseWriter, ping::StorePing, purge::Purge,
            reencryption::Reencryption, revalidation::UnusedRevalidation,
        },
    },
    shutdown,
};

pub(super) use self::ticks::every;

/// Interval between pings: an outage shows within this and one deadline.
const PING_INTERVAL: Duration = Duration::from_secs(3);
/// Interval at which queued last uses are written.
const LAST_USE_WRITE_INTERVAL: Duration = Duration::from_secs(10);
/// Interval at which queued pages are written: they are few, and other replicas wait for them.
const PAGE_USE_WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// Interval between purges where no request has met an expired session.
const PURGE_INTERVAL: Duration = Duration::from_mins(1);
/// Interval at which rows that older secrets sealed are counted.
const COUNT_INTERVAL: Duration = Duration::from_mins(1);
/// Interval between batches of re-encryption, while there are such rows.
const REENCRYPTION_INTERVAL: Duration = Duration::from_secs(1);

/// The jobs that take turns. Those that must not wait for another one run beside it: see
/// [`Sessions::maintain`](crate::session::Sessions::maintain).
pub(super) struct Upkeep<'a> {
    pub(super) ping: StorePing<'a>,
    pub(super) ending: SessionEnding<'a>,
    pub(super) last_uses: LastUseWriter<'a>,
    pub(super) page_uses: PageUseWriter<'a>,
    pub(super) purge: Purge<'a>,
    pub(super) unused: UnusedRevalidation<'a>,
    pub(super) reencryption: Reencryption<'a>,
    pub(super) service_tokens: ServiceTokenUpkeep<'a>,
}

impl Upkeep<'_> {
    /// Runs the jobs until asked to stop, and then once more those whose work must not be lost.
    pub(super) async fn run(mut self, stop: shutdown::Signal) {
        let [mut ping, mut last_use, mut purge, mut unused] =
            [PING_INTERVAL, LAST_USE_WRITE_INTERVAL, PURGE_INTERVAL, revalidation::SHORTEST_UNUSED_INTERVAL].map(every);
        let [mut count, mut reencryption, mut page_use] =
            [COUNT_INTERVAL, REENCRYPTION_INTERVAL, PAGE_USE_WRITE_INTERVAL].map(every);
        loop {
            let next_batch = self.purge.next_batch;
            tokio::select! {
                () = stop.raised() => break,
                _ = unused.tick() => self.unused.run_if_due().await,
                _ = ping.tick() => self.ping().await,
                _ = last_use.tick() => self.write_last_uses(LastUses::Due).await,
                _ = page_use.tick() => self.page_uses.write().await,
                _ = purge.tick() => {
                    self.page_uses.forget();
                    self.purge.begin();
                }
                () = sleep_until(next_batch.unwrap_or_else(Instant::now)), if next_batch.is_some() => {
                    self.purge.run_batch().await;
                }
                _ = count.tick() => {
                    self.service_tokens.reencrypt().await;
                    self.reencryption.begin().await;
                }
                _ = reencryption.tick() => self.reencryption.advance().await,
            }
        }
        self.ending.finish_pending().await;
        self.write_last_uses(LastUses::All).await;
        self.page_uses.write().await;
    }

    async fn write_last_uses(&mut self, of_tokens: LastUses) {
        self.last_uses.write().await;
        self.service_tokens.write_last_uses(of_tokens).await;
    }

    async fn ping(&mut self) {
        if self.ping.run().await && self.purge.is_wanted() {
            self.purge.begin();
        }
    }
}
