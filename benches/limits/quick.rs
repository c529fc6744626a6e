//! The short form: the check compared with its limits in a minute, and one line of ratios.

use std::time::Duration;

use crate::{
    check,
    rig::{
        contest::{Contest, Length},
        contestant::Contestant,
        nginx::Buffers,
    },
    support::gate::Size,
};

/// Number of connections.
const CONNECTIONS: usize = 64;

/// Prints a table and the line of ratios.
pub(crate) fn run() {
    let (doorward, constant) = Contestant::doorward("Doorward", Size { people: 10_000, hosts: 1 });
    let hyper = Contestant::hyper(&constant, &doorward.cookies);
    let nginx = Contestant::nginx(&constant, &doorward.cookies, Buffers::AsTheyCome);
    let length = Length { rounds: 20, each: Duration::from_millis(400) };
    let contest = Contest::between(&[&doorward, &hyper, &nginx], CONNECTIONS, length);
    println!("{}", contest.table("64 connections, 10 k sessions at random; the limit is bare hyper", 1));
    println!(
        "hyper={:.2} nginx={:.2} p99={:.2} instructions={:.0} allocations={:.0}",
        contest.requests(0, 1),
        contest.requests(0, 2),
        contest.p99(0, 1),
        check::added_instructions(),
        check::added_allocations(),
    );
}
