//! `scale`: cost of a check with more sessions and hosts, and memory and start-up time of the real program.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
    thread::sleep,
    time::Duration,
};

use crate::{
    report::part::Part,
    rig::{
        contest::{Contest, Length, median},
        contestant::Contestant,
        cores,
        daemon::{Daemon, Place},
        line::Wire,
        load::Load,
        people,
        postgres::Postgres,
    },
    support::{
        cases::in_memory,
        configuration::Configuration,
        gate::{Size, tokens},
        subrequest::Subrequest,
    },
};

const CONNECTIONS: usize = 64;
const LENGTH: Length = Length { rounds: 9, each: Duration::from_millis(350) };
const MILLION: usize = 1_000_000;
/// Sessions whose memory is measured, and those before them that fill buffers which are allocated once.
const MEASURED: usize = 100_000;
const FIRST: usize = 10_000;
/// Idle connections.
const IDLE: usize = 4_000;
/// Starts, of which the median counts.
const STARTS: usize = 9;
/// Sessions of a million that are used after a restart.
const BACK: usize = 10_000;

pub(crate) fn run() -> Part {
    let mut part = Part::default();
    sessions(&mut part);
    hosts(&mut part);
    rest(&mut part);
    sessions_in_memory(&mut part);
    connections(&mut part);
    restart(&mut part);
    part
}

fn sessions(part: &mut Part) {
    let gate = |name, people| Contestant::doorward(name, Size { people, hosts: 1 });
    let (thousand, constant) = gate("1 k sessions", 1_000);
    let (more, _) = gate("100 k sessions", 100_000);
    let (million, _) = gate("1 M sessions", MILLION);
    let hyper = Contestant::hyper(&constant, &thousand.cookies);
    let contest = Contest::between(&[&thousand, &hyper, &more, &million], CONNECTIONS, LENGTH);
    part.table(contest.table("64 connections; the limit is bare hyper", 1));
    part.figure("scale.million", contest.requests(3, 0));
}

fn hosts(part: &mut Part) {
    let gate = |name, hosts| Contestant::doorward(name, Size { people: 10_000, hosts });
    let (one, constant) = gate("1 host", 1);
    let (hundred, _) = gate("100 hosts", 100);
    let (many, _) = gate("10,000 hosts", 10_000);
    let hyper = Contestant::hyper(&constant, &one.cookies);
    let contest = Contest::between(&[&one, &hyper, &hundred, &many], CONNECTIONS, LENGTH);
    part.table(contest.table("64 connections, 10 k sessions; the limit is bare hyper", 1));
    part.figure("scale.hosts", contest.requests(3, 0));
}

/// Measures the real program at rest.
fn rest(part: &mut Part) {
    let folder = in_memory();
    let store = |start| format!("sqlite:{}", folder.path().join(format!("{start}.db")).display());
    let starts = (0..STARTS).map(|start| {
        let daemon = Daemon::start(Configuration::of(&store(start)), Place::Anywhere);
        daemon.took().as_secs_f64()
    });
    part.figure("scale.cold_start", median(starts));
    let daemon = Daemon::start(Configuration::of(&store(STARTS)), Place::Anywhere);
    sleep(Duration::from_secs(1));
    part.figure("scale.rest", daemon.resident());
}

/// Measures the memory of sessions in the cache, and in use. The first of them have filled buffers which are allocated once.
fn sessions_in_memory(part: &mut Part) {
    let folder = in_memory();
    let store = format!("sqlite:{}", folder.path().join("sessions.db").display());
    let cookies = people::signed_in(&store, FIRST + MEASURED, &tokens());
    let daemon = Daemon::start(Configuration::of(&store), Place::Anywhere);
    let first = Arc::new(cookies.iter().take(FIRST).cloned().collect());
    let [first, all] = [&first, &cookies].map(|cookies| daemon.contestant("Doorward", Wire::Plain, cookies));
    cores::run_on(cores::GENERATOR, || {
        let mut load = Load::open(&first, CONNECTIONS);
        load.request_all_once();
        load.round(LENGTH.each);
        refuse(&daemon, &first.cookies);
        let before = daemon.resident();
        refuse(&daemon, &cookies);
        part.figure("scale.session", each(daemon.resident() - before, MEASURED));
        Load::open(&all, CONNECTIONS).request_all_once();
        part.figure("scale.session_in_use", each(daemon.resident() - before, MEASURED));
    });
}

/// Sends requests of everybody that are refused. Their sessions are loaded, but no headers rendered.
fn refuse(daemon: &Daemon, cookies: &[String]) {
    let mut stream = TcpStream::connect(daemon.address()).expect("the gate listens");
    let mut answer = Vec::new();
    for cookie in cookies {
        let question = Subrequest { uri: "/vault/", mode: "cors", ..Subrequest::dashboard(Some(cookie)) };
        stream.write_all(&question.bytes()).expect("the gate reads");
        answer.clear();
        // The body is a JSON object; no header ends with a brace.
        while !answer.ends_with(b"}") {
            let mut piece = [0; 4_096];
            let length = stream.read(&mut piece).expect("the gate answers");
            assert!(length > 0, "the gate stays");
            answer.extend_from_slice(piece.get(..length).unwrap_or_default());
        }
        assert!(answer.starts_with(b"HTTP/1.1 403 "), "{}", String::from_utf8_lossy(&answer));
    }
}

/// Measures the memory of connections after a response.
fn connections(part: &mut Part) {
    let folder = in_memory();
    let store = format!("sqlite:{}", folder.path().join("sessions.db").display());
    let cookies = people::signed_in(&store, FIRST, &tokens());
    let daemon = Daemon::start(Configuration::of(&store), Place::Anywhere);
    let doorward = daemon.contestant("Doorward", Wire::Plain, &cookies);
    cores::run_on(cores::GENERATOR, || {
        let mut load = Load::open(&doorward, CONNECTIONS);
        load.request_all_once();
        load.round(LENGTH.each);
        let before = daemon.resident();
        let mut idle = Load::open(&doorward, IDLE);
        idle.request_all_once();
        part.figure("scale.connection", each(daemon.resident() - before, IDLE));
    });
}

/// Measures the start of the real program with a million sessions in the store. Most are copies of one under keys of their
/// own, which have the same size.
fn restart(part: &mut Part) {
    let postgres = Postgres::start();
    let place = postgres.fresh();
    let cookies = people::signed_in(&place.url(), BACK, &tokens());
    let copies = MILLION - BACK;
    postgres.sql(
        &place,
        &format!(
            "INSERT INTO doorward_sessions SELECT sha256(i::text::bytea), provider, subject || i, sid, generation, \
             created, last_seen, lease, sealed FROM (SELECT * FROM doorward_sessions LIMIT 1) one, \
             generate_series(1, {copies}) i"
        ),
    );
    postgres.sql(&place, "VACUUM ANALYZE doorward_sessions");
    let size = postgres.sql(&place, "SELECT pg_total_relation_size('doorward_sessions')");
    part.figure("scale.row", each(size.parse().expect("a number of bytes"), MILLION));
    let daemon = Daemon::start(Configuration::of(&place.url()), Place::OneCore);
    part.figure("scale.restart", daemon.took().as_secs_f64());
    let doorward = daemon.contestant("Doorward", Wire::Plain, &cookies);
    let back = cores::run_on(cores::GENERATOR, || Load::open(&doorward, CONNECTIONS).request_all_once());
    part.figure("scale.restart_rate", back.rate());
}

#[expect(clippy::cast_precision_loss, reason = "millions")]
fn each(all: f64, many: usize) -> f64 {
    all / many as f64
}
