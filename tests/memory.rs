//! What a session in memory takes of it. Alone in this process, because the process is what is measured.

#[path = "../benches/support/mod.rs"]
mod support;

use std::{env, fs, path::Path};

use support::{gate::Bench, question::Question};

const SESSIONS: usize = 10_000;

/// Bytes that a cached session with five groups may take of the process, all in all.
const MOST: usize = 1_800;

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
    let after = runtime.block_on(Bench::on(&url, 1));
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
    ask(rest);
    let each = (resident() - begun) / rest.len();
    println!("{each} bytes a session");
    assert!(each <= MOST, "{each} bytes a session, at most {MOST} are allowed");
}
