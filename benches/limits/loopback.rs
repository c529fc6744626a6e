//! `loopback`: Traefik's real subrequest on persistent connections. Doorward compared with a bare hyper server and nginx that
//! respond with the same constant, and with servers that query a store on every request.

use std::{sync::Arc, time::Duration};

use http::HeaderMap;

use crate::{
    report::part::Part,
    rig::{
        contest::{Contest, Length},
        contestant::{Contestant, Host},
        delay,
        nginx::Buffers,
        outpost,
        postgres::Postgres,
    },
    support::gate::Size,
};

/// Default number of connections.
const CONNECTIONS: usize = 64;
const LONG: Length = Length { rounds: 15, each: Duration::from_millis(350) };
const SHORT: Length = Length { rounds: 7, each: Duration::from_millis(350) };
/// Round-trip time to a store in another rack.
const AWAY: Duration = Duration::from_millis(1);

/// A gate and the servers that it is compared with.
struct Limits {
    doorward: Contestant,
    hyper: Contestant,
    nginx: Contestant,
}

impl Limits {
    fn of(people: usize) -> (Self, HeaderMap) {
        let (doorward, constant) = Contestant::doorward("Doorward", Size { people, hosts: 1 });
        let hyper = Contestant::hyper(&constant, &doorward.cookies);
        let nginx = Contestant::nginx(&constant, &doorward.cookies, Buffers::AsTheyCome);
        (Self { doorward, hyper, nginx }, constant)
    }
}

/// Runs the bench. Doorward is the first contestant of each contest, the limit the second.
pub(crate) fn run() -> Part {
    let mut part = Part::default();
    let (ten_thousand, constant) = Limits::of(10_000);
    crowds(&mut part, &ten_thousand, &constant);
    for (people, length, id, title) in [
        (1_000, LONG, "loopback.hyper_1k", "64 connections, 1 k hot sessions"),
        (100_000, LONG, "loopback.hyper_100k", "64 connections, 100 k sessions at random"),
    ] {
        let (limits, _) = Limits::of(people);
        let contest = Contest::between(&[&limits.doorward, &limits.hyper, &limits.nginx], CONNECTIONS, length);
        part.table(contest.table(title, 1));
        part.figure(id, contest.requests(0, 1));
    }
    stores(&mut part, &ten_thousand.doorward, &constant);
    part
}

/// Measures 10 k sessions with different numbers of connections.
fn crowds(part: &mut Part, limits: &Limits, constant: &HeaderMap) {
    let Limits { doorward, hyper, nginx } = limits;
    let roomy = Contestant::nginx(constant, &doorward.cookies, Buffers::Roomy);
    let contest = Contest::between(&[doorward, hyper, nginx, &roomy], CONNECTIONS, LONG);
    part.table(contest.table("64 connections, 10 k sessions at random", 1));
    part.figure("loopback.hyper", contest.requests(0, 1));
    part.figure("loopback.nginx", contest.requests(0, 2));
    part.figure("loopback.nginx_roomy", contest.requests(0, 3));
    part.figure("loopback.p99", contest.p99(0, 1));
    part.figure("loopback.check_us", contest.cost(0));
    for (connections, id, title) in [
        (1, "loopback.hyper_1_connection", "1 connection, 10 k sessions at random"),
        (512, "loopback.hyper_512_connections", "512 connections, 10 k sessions at random"),
    ] {
        let contest = Contest::between(&[doorward, hyper, nginx], connections, SHORT);
        part.table(contest.table(title, 1));
        part.figure(id, contest.requests(0, 1));
    }
}

/// Measures the design of outposts: no cache, a query of the store on every request.
fn stores(part: &mut Part, doorward: &Contestant, constant: &HeaderMap) {
    let postgres = Postgres::start();
    let local = postgres.fresh();
    outpost::fill(&local, &doorward.cookies, constant);
    let remote = local.at(delay::before(local.port(), AWAY / 2));
    let outpost = |name, store, connections| {
        let host = Host::new();
        let address = host.runtime.block_on(outpost::serve(store, connections));
        Contestant::on(name, host, address, &Arc::clone(&doorward.cookies))
    };
    let near = outpost("a local store, 8 connections", &local, 8);
    let far = outpost("a store 1 ms away, 4 connections", &remote, 4);
    let contest = Contest::between(&[doorward, &near, &far], CONNECTIONS, SHORT);
    part.table(contest.table("64 connections, 10 k sessions; the limit is a store that is asked on every request", 1));
    part.figure("loopback.store_local", contest.requests(0, 1));
    part.figure("loopback.store_remote", contest.requests(0, 2));
}
