//! Whether the file takes writes: a disk that is full reads as well as ever.
//!
//! Promises: while all is well it costs a page every few seconds; once a write has failed, no smaller one counts as proof
//! that the next will not.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::Connection;

use crate::session::store::sqlite::begin;

/// How often a page is written: an outage has to show within ten seconds, and every page waits for the disk.
const BEAT: Duration = Duration::from_secs(5);
/// What has to fit after a write has failed: more than a large session with its place in every index.
const ROOM: u32 = 65_536;

/// When something was last written to see that it can be.
#[derive(Default)]
pub(super) struct Pulse {
    last: Mutex<Option<Instant>>,
    failed: AtomicBool,
}

/// What a ping has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// See that the writer's lock can be had.
    Look,
    /// Write a page.
    Beat,
    /// Write as much as whatever failed may have been.
    Proof,
}

impl Pulse {
    /// Notes that a write has failed.
    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// What the next ping has to do.
    pub(super) fn due(&self) -> Due {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if self.failed.load(Ordering::Relaxed) {
            Due::Proof
        } else if last.is_none_or(|last| last.elapsed() >= BEAT) {
            Due::Beat
        } else {
            Due::Look
        }
    }

    /// Notes that it has done so.
    pub(super) fn beat(&self, due: Due) {
        if due == Due::Proof {
            self.failed.store(false, Ordering::Relaxed);
        }
        if due != Due::Look {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }
}

impl Due {
    /// Does it.
    pub(super) fn take(self, file: &mut Connection) -> rusqlite::Result<()> {
        match self {
            Self::Look => begin(file)?.rollback(),
            Self::Beat => file.execute("UPDATE pulse SET beat = (beat + 1) % 1000000", []).map(drop),
            Self::Proof => {
                file.execute("UPDATE pulse SET proof = randomblob(?1)", [ROOM])?;
                file.execute("UPDATE pulse SET proof = NULL", []).map(drop)
            }
        }
    }
}
