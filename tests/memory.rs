//! Memory of a cached session. Alone in its process, because the process is measured.

#[path = "../benches/support/mod.rs"]
mod support;

use std::{env, fs, path::Path, sync::atomic::Ordering, time::Duration};

use doorward::{clock::Clock, session::LookupOutcome, shutdown::Signal};
use mimalloc::MiMalloc;
use support::{
    gate::{Bench, sent},
    subrequest::Subrequest,
};

/// The program's allocator: another one has other size classes.
#[global_allocator]
static MEMORY: MiMalloc = MiMalloc;

const SESSIONS: usize = 30_000;

/// Limit of the process's bytes for a cached session with five groups. It takes 790 to 870, including the growth of the store's
/// memory; some 90 of them, here and in the store's pages, are its scope: host and registration.
const MAX_BYTES: usize = 930;

/// Limit of the bytes for a session in use, with the same 90 for its scope.
const MAX_BYTES_IN_USE: usize = 1_590;

/// Returns the resident memory of this process in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has /proc/self/status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let size = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok());
    size.expect("a number of kilobytes") * 1024
}

/// Sessions are loaded from a store, because newly created ones leave garbage of their creation in memory.
#[test]
fn the_memory_of_a_cached_session_is_bounded() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // In memory: a disk would be synced for every sign-in.
    let memory = Path::new("/dev/shm");
    let folder = tempfile::tempdir_in(if memory.is_dir() { memory.to_owned() } else { env::temp_dir() }).unwrap();
    let url = format!("sqlite:{}", folder.path().join("sessions.db").display());
    let mut before = runtime.block_on(Bench::on(&url, 1));
    runtime.block_on(before.sign_in(SESSIONS));
    let cookies = before.cookies.to_vec();
    let (clock, hand) = Clock::manual(Clock::System.now());
    let after = runtime.block_on(Bench::at(&url, 1, clock));
    let look_up = |cookies: &[String]| {
        for cookie in cookies {
            assert!(matches!(runtime.block_on(after.sessions.find(sent(cookie))), Ok(LookupOutcome::Live(_))));
        }
    };
    let ask = |cookies: &[String]| {
        for cookie in cookies {
            let question = Subrequest::dashboard(Some(cookie)).parts();
            assert_eq!(runtime.block_on(after.ask(&question)).status(), 200);
        }
    };
    let (first, rest) = cookies.split_at(SESSIONS / 10);
    // The first ones fill buffers that are allocated once.
    ask(first);
    let begun = resident();
    look_up(rest);
    let each = (resident() - begun) / rest.len();
    ask(rest);
    let each_in_use = (resident() - begun) / rest.len();
    // No request for a while.
    hand.fetch_add(120, Ordering::Relaxed);
    runtime.block_on(async {
        let stop = Signal::default();
        let upkeep = after.sessions.maintain(stop.clone());
        let shrunk = async {
            // In real time: the upkeep waits for the store's thread, which a paused clock does not. On a busy machine it takes
            // longer; a session that gives nothing back is not waited for without end.
            for _ in 0..120 {
                tokio::time::sleep(Duration::from_millis(500)).await;
                // The allocator returns memory that has been free for a while at its next allocations.
                drop((0..4).map(|_| vec![1_u8; 64 << 10]).collect::<Vec<_>>());
                if (resident() - begun) / rest.len() <= MAX_BYTES {
                    break;
                }
            }
            stop.raise();
        };
        tokio::join!(upkeep, shrunk);
    });
    let each_at_rest = (resident() - begun) / rest.len();
    println!("{each} bytes a session, {each_in_use} while it is in use, {each_at_rest} when it is not any more");
    assert!(each <= MAX_BYTES, "{each} bytes a session, at most {MAX_BYTES} are allowed");
    assert!(
        each_in_use <= MAX_BYTES_IN_USE,
        "{each_in_use} bytes a session in use, at most {MAX_BYTES_IN_USE} are allowed"
    );
    assert!(
        each_at_rest <= MAX_BYTES,
        "{each_at_rest} bytes a session after it was used, at most {MAX_BYTES} are allowed"
    );
}
