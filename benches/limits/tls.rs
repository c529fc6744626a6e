//! `tls`: cost of a connection in clear text, with a full and with a resumed handshake; and cost of TLS on persistent connections.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustls::{ClientConfig, HandshakeKind, StreamOwned, client::Resumption};

use crate::{
    edge::server_tls,
    report::{
        figure::Unit,
        part::Part,
        table::{Column, Table},
    },
    rig::{
        account::Account,
        authority,
        contest::{Contest, Length, median},
        cores,
        daemon::{Daemon, Place},
        line::{self, Wire},
    },
    support::{cases::in_memory, subrequest::Subrequest},
};

const PEOPLE: usize = 1_000;
const LENGTH: Length = Length { rounds: 7, each: Duration::from_millis(350) };
/// Concurrent clients: enough to keep the gate's core busy while each waits for the network.
const CLIENTS: usize = 8;

/// Begin of a connection.
#[derive(Clone, Debug)]
enum Handshake {
    /// Clear text.
    Plain,
    /// TLS with a handshake of this kind.
    Tls(Arc<ClientConfig>, HandshakeKind),
}

/// Result of a round of connections.
struct ConnectionRound {
    rate: f64,
    cost: f64,
    server: f64,
    generator: f64,
}

pub(crate) fn run() -> Part {
    let mut part = Part::default();
    let (certificates, stores) = (tempfile::tempdir().expect("a folder for certificates"), in_memory());
    authority::issue(certificates.path());
    let gate = |name: &str, server| Daemon::with_people(stores.path(), name, PEOPLE, server, Place::OneCore);
    let (plain, plain_cookies) = gate("plain.db", String::new());
    let (tls, tls_cookies) = gate("tls.db", server_tls(certificates.path()));
    let believing = Arc::clone(authority::client(certificates.path()).config());
    let mut forgetful = (*believing).clone();
    forgetful.resumption = Resumption::disabled();
    let wire = Wire::Tls(Arc::clone(&believing));
    let contest = Contest::between(
        &[
            &tls.contestant("over TLS", wire, &tls_cookies),
            &plain.contestant("in clear text", Wire::Plain, &plain_cookies),
        ],
        64,
        LENGTH,
    );
    part.table(contest.table("64 connections that stay open; the limit is the gate in clear text", 1));
    part.figure("tls.keep_alive", contest.requests(0, 1));

    let first = |cookies: &[String]| Subrequest::dashboard(cookies.first().map(String::as_str)).bytes();
    let (in_clear, inside) = (first(&plain_cookies), first(&tls_cookies));
    let handshakes = [
        ("in clear text", &plain, &in_clear, Handshake::Plain),
        ("new TLS handshake", &tls, &inside, Handshake::Tls(Arc::new(forgetful), HandshakeKind::Full)),
        ("resumed TLS handshake", &tls, &inside, Handshake::Tls(believing, HandshakeKind::Resumed)),
    ];
    let mut rounds: Vec<Vec<ConnectionRound>> = handshakes.iter().map(|_| Vec::new()).collect();
    for _ in 0..LENGTH.rounds {
        for ((_, daemon, question, handshake), rounds) in handshakes.iter().zip(&mut rounds) {
            rounds.push(open(daemon, question, handshake));
        }
    }
    let columns = [
        Column::plotted("core µs", Unit::Fine),
        Column::of("connections/s", Unit::Count),
        Column::of("server's cores", Unit::Ratio),
        Column::of("generator's core", Unit::Ratio),
    ];
    let mut table = Table::new("a connection for each check, one core", columns);
    for ((name, ..), rounds) in handshakes.iter().zip(&rounds) {
        let of = |figure: &dyn Fn(&ConnectionRound) -> f64| median(rounds.iter().map(figure));
        table.row(name, [of(&|o| o.cost), of(&|o| o.rate), of(&|o| o.server), of(&|o| o.generator)]);
    }
    let cost = |row: usize| table.rows.get(row).and_then(|row| row.value(0)).unwrap_or(f64::NAN);
    let (plain, new, resumed) = (cost(0), cost(1), cost(2));
    part.table(table);
    part.figure("tls.plain_us", plain);
    part.figure("tls.new_us", new);
    part.figure("tls.resumed_us", resumed);
    // The generator is as busy as the gate here, so the rate is computed from the gate's CPU time per connection.
    part.figure("tls.new", 1e6 / new);
    part.figure("tls.resumed", 1e6 / resumed);
    part
}

/// Opens connections for the length of a round, each for one check.
#[expect(clippy::cast_precision_loss, reason = "thousands")]
fn open(daemon: &Daemon, question: &[u8], handshake: &Handshake) -> ConnectionRound {
    let (account, address, begun) = (daemon.account(), daemon.address(), Instant::now());
    let over = begun + LENGTH.each;
    let before = account.busy();
    let client = || {
        cores::keep(cores::this_thread(), cores::GENERATOR);
        let own = Account::Thread(cores::this_thread());
        let before = own.busy();
        let (mut opened, mut begun_so) = (0_u64, 0_u64);
        while Instant::now() < over {
            begun_so += u64::from(ask(address, question, handshake));
            opened += 1;
        }
        assert!(begun_so * 100 >= opened * 95, "{begun_so} of {opened} began as they should have");
        (opened, own.since(before))
    };
    let clients: Vec<(u64, Duration)> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        clients.into_iter().map(|client| client.join().expect("every answer is right")).collect()
    });
    let took = begun.elapsed().as_secs_f64();
    let server = account.since(before).as_secs_f64();
    let opened = clients.iter().map(|(opened, _)| opened).sum::<u64>() as f64;
    let generator = clients.iter().map(|(_, busy)| busy.as_secs_f64()).sum::<f64>();
    ConnectionRound {
        rate: opened / took,
        cost: server / opened * 1e6,
        server: server / took,
        generator: generator / took,
    }
}

/// Opens a connection for one check. Returns `true` if the handshake was of the intended kind: the first one has no session to
/// resume.
fn ask(address: SocketAddr, question: &[u8], handshake: &Handshake) -> bool {
    let stream = TcpStream::connect(address).expect("the gate listens");
    stream.set_nodelay(true).expect("a socket has the option");
    match handshake {
        Handshake::Plain => {
            exchange(stream, question);
            true
        }
        Handshake::Tls(config, kind) => {
            let (connection, stream) = line::shake_hands(config, stream);
            let seen = connection.handshake_kind();
            exchange(StreamOwned::new(connection, stream), question);
            seen == Some(*kind)
        }
    }
}

fn exchange(mut stream: impl Read + Write, question: &[u8]) {
    stream.write_all(question).expect("the gate reads");
    let mut answer = Vec::new();
    let mut room = [0; 4_096];
    while !answer.ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut room).expect("the gate answers");
        assert!(read > 0, "the gate has closed a connection");
        answer.extend(room.iter().take(read));
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&answer));
}
