//! What a session in memory takes of it. Alone in this process, because the process is what is measured.

#[path = "../benches/support/mod.rs"]
mod support;

use std::{env, fs, path::Path, sync::atomic::Ordering, time::Duration};

use doorward::{clock::Clock, session::LookupOutcome, shutdown::Signal};
use mimalloc::MiMalloc;
use support::{
    gate::{Bench, sent},
    question::Question,
};

/// The allocator of the program: another one has other sizes.
#[global_allocator]
static MEMORY: MiMalloc = MiMalloc;

const SESSIONS: usize = 30_000;

/// Bytes that a cached session with five groups may take of the process, all in all: it takes some 790 to 870, and the store's
/// own memory grows meanwhile. Some 90 of them, here and in the store's pages, are where it counts: its host and its registration.
const MOST: usize = 930;

/// The same while it is in use, with the same 90 for where it counts.
const MOST_IN_USE: usize = 1_590;

/// What this process has in memory, in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells what a process has");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let size = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok());
    size.expect("a number of kilobytes") * 1024
}

/// Through a store, because sessions that were just made left what they were made of in memory.
#[test]
fn a_cached_session_takes_a_bounded_piece_of_memory() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // A disk would be asked to make every single sign-in safe.
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
            let question = Question::dashboard(Some(cookie)).parts();
            assert_eq!(runtime.block_on(after.ask(&question)).status(), 200);
        }
    };
    let (first, rest) = cookies.split_at(SESSIONS / 10);
    // The first ones fill what is filled once.
    ask(first);
    let begun = resident();
    look_up(rest);
    let each = (resident() - begun) / rest.len();
    ask(rest);
    let each_in_use = (resident() - begun) / rest.len();
    // Nobody comes for a while.
    hand.fetch_add(120, Ordering::Relaxed);
    runtime.block_on(async {
        let stop = Signal::default();
        let upkeep = after.sessions.maintain(stop.clone());
        let a_while = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            stop.raise();
        };
        tokio::join!(upkeep, a_while);
    });
    // The allocator gives back what has been free for a while when it is asked for more.
    drop((0..4).map(|_| vec![1_u8; 64 << 10]).collect::<Vec<_>>());
    let each_at_rest = (resident() - begun) / rest.len();
    println!("{each} bytes a session, {each_in_use} while it is in use, {each_at_rest} when it is not any more");
    assert!(each <= MOST, "{each} bytes a session, at most {MOST} are allowed");
    assert!(each_in_use <= MOST_IN_USE, "{each_in_use} bytes a session in use, at most {MOST_IN_USE} are allowed");
    assert!(each_at_rest <= MOST, "{each_at_rest} bytes a session after it was used, at most {MOST} are allowed");
}
