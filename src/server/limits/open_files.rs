//! Limit of open files, and the number of connections that fits below it.
//!
//! Leaves file descriptors for everything that is not a connection of an edge.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Most connections of edges. One that has just been answered costs about 20 kB. A parked one keeps its task, less than a
/// kilobyte; the rest serves others, and goes back to the system when the allocator sees fit.
const MAX_CONNECTIONS: u64 = 16_384;

/// File descriptors for everything else: the store, the providers, the management listener, the log, files that are read, the
/// needs of the system.
const RESERVE: u64 = 256;

/// Raises the soft limit of open files to the hard one. Returns the limit in force; `None` is no limit.
pub(in crate::server) fn raise_limit() -> Option<u64> {
    let before = getrlimit(Resource::Nofile);
    if before.current == before.maximum {
        return before.current;
    }
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => before.maximum,
        Err(error) => {
            tracing::warn!(%error, soft = before.current, hard = before.maximum, "the limit of open files cannot be raised");
            before.current
        }
    }
}

/// Returns the most connections of edges below a limit of open files: half of it where it is too small for the reserve.
pub(in crate::server) fn max_connections(limit: Option<u64>) -> usize {
    let most = limit.map_or(MAX_CONNECTIONS, |limit| limit.saturating_sub(RESERVE).max(limit / 2).min(MAX_CONNECTIONS));
    usize::try_from(most).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_everything_else() {
        for (limit, expected) in [
            (None, 16_384),
            (Some(1 << 20), 16_384),
            (Some(16_640), 16_384),
            (Some(1_024), 768),
            (Some(256), 128),
            (Some(0), 1),
        ] {
            assert_eq!(max_connections(limit), expected, "{limit:?}");
        }
    }

    #[test]
    fn the_limit_of_open_files_is_raised_to_what_the_system_allows() {
        let limit = raise_limit();
        assert_eq!(limit, getrlimit(Resource::Nofile).maximum);
        assert_eq!(getrlimit(Resource::Nofile).current, limit);
    }
}
