//! Probes of whether the file takes writes: a disk that is full reads as well as ever.
//!
//! Promises: without failures a probe costs a page every few seconds; after a failed write, no smaller write counts as
//! proof that the next one will succeed.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::Connection;

use crate::session::store::sqlite::sql::begin_immediate;

/// Interval between pages written: an outage has to show within ten seconds, and every page waits for the disk.
const PAGE_INTERVAL: Duration = Duration::from_secs(5);
/// Bytes that have to fit after a failed write: more than a large session with its entries in every index.
const FULL_PROBE_BYTES: u32 = 65_536;

/// State of the probes: the time of the last written one, and whether a write has failed since.
#[derive(Default)]
pub(super) struct WriteProbe {
    last: Mutex<Option<Instant>>,
    failed: AtomicBool,
}

/// The next probe, by its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbeKind {
    /// Takes the writer's lock and writes nothing.
    Lock,
    /// Writes a page.
    Page,
    /// Writes as much as the write that failed may have been.
    Full,
}

impl WriteProbe {
    /// Records that a write has failed.
    pub(super) fn write_failed(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Chooses the next probe.
    pub(super) fn next(&self) -> ProbeKind {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if self.failed.load(Ordering::Relaxed) {
            ProbeKind::Full
        } else if last.is_none_or(|last| last.elapsed() >= PAGE_INTERVAL) {
            ProbeKind::Page
        } else {
            ProbeKind::Lock
        }
    }

    /// Records that a probe has succeeded.
    pub(super) fn succeeded(&self, probe: ProbeKind) {
        if probe == ProbeKind::Full {
            self.failed.store(false, Ordering::Relaxed);
        }
        if probe != ProbeKind::Lock {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }
}

impl ProbeKind {
    /// Runs the probe.
    pub(super) fn run(self, file: &mut Connection) -> rusqlite::Result<()> {
        match self {
            Self::Lock => begin_immediate(file)?.rollback(),
            Self::Page => file.execute("UPDATE pulse SET beat = (beat + 1) % 1000000", []).map(drop),
            Self::Full => {
                file.execute("UPDATE pulse SET proof = randomblob(?1)", [FULL_PROBE_BYTES])?;
                file.execute("UPDATE pulse SET proof = NULL", []).map(drop)
            }
        }
    }
}
