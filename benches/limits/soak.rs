//! `soak`: memory of a gate before, after each round of full load, and at rest.
//!
//! Two gates with sessions in an SQLite file, one in clear text and one over TLS, take turns. Half of the time is load, the other
//! half rest without a request, because memory that is returned only at the next request counts as not returned.

use std::{
    env,
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    edge::server_tls,
    report::{
        figure::Unit,
        part::Part,
        table::{Column, Table},
    },
    rig::{
        authority,
        contestant::Contestant,
        daemon::{Daemon, Place},
        line::Wire,
        load::Load,
    },
    support::cases::in_memory,
};

const PEOPLE: usize = 1_000;
const CONNECTIONS: usize = 256;
const ROUNDS: u32 = 3;

/// Variable that sets the duration in seconds, in place of ten minutes.
const SECONDS: &str = "DOORWARD_SOAK_SECONDS";

pub(crate) fn run() -> Part {
    let all = whole();
    let (certificates, stores) = (tempfile::tempdir().expect("a folder for certificates"), in_memory());
    authority::issue(certificates.path());
    let gate = |name: &str, wire: Wire, server: String| {
        let (daemon, cookies) = Daemon::with_people(stores.path(), name, PEOPLE, server, Place::Anywhere);
        let contestant = daemon.contestant(name, wire, &cookies);
        (daemon, contestant)
    };
    let believing = Wire::Tls(authority::client(certificates.path()).config().clone());
    let gates = [gate("clear", Wire::Plain, String::new()), gate("tls", believing, server_tls(certificates.path()))];
    // Just after its start a gate still fetches keys and checks its files.
    sleep(Duration::from_secs(2));
    let mut moments = vec![("before".to_owned(), memory(&gates))];
    let each = all / 2 / (2 * ROUNDS);
    for round in 1..=ROUNDS {
        for (_, contestant) in &gates {
            let mut load = Load::open(contestant, CONNECTIONS);
            load.request_all_once();
            load.round(each);
        }
        moments.push((format!("after round {round}"), memory(&gates)));
    }
    let begun = Instant::now();
    for part in [1, 4, 16] {
        sleep((all / 2 * part / 16).saturating_sub(begun.elapsed()));
        moments.push((format!("at rest for {} s", begun.elapsed().as_secs()), memory(&gates)));
    }
    report(&moments)
}

/// Resident and anonymous bytes of each gate.
type Memory = Vec<[f64; 2]>;

fn memory(gates: &[(Daemon, Contestant)]) -> Memory {
    gates.iter().map(|(daemon, _)| [daemon.resident(), daemon.anonymous()]).collect()
}

fn report(moments: &[(String, Memory)]) -> Part {
    let mut part = Part::default();
    let columns = [
        Column::plotted("clear: resident", Unit::Bytes),
        Column::of("anonymous", Unit::Bytes),
        Column::plotted("TLS: resident", Unit::Bytes),
        Column::of("anonymous", Unit::Bytes),
    ];
    let title = format!("{PEOPLE} sessions, {CONNECTIONS} connections, {ROUNDS} rounds of full load, then nothing");
    let mut table = Table::new(title, columns);
    for (moment, memory) in moments {
        table.row(moment, memory.iter().flatten().copied());
    }
    part.table(table);
    let resident = |memory: Option<&(String, Memory)>, gate: usize| {
        memory.and_then(|(_, memory)| memory.get(gate)).map_or(f64::NAN, |[resident, _]| *resident)
    };
    for (gate, id) in ["soak.left_clear", "soak.left_tls"].into_iter().enumerate() {
        part.figure(id, resident(moments.last(), gate) - resident(moments.first(), gate));
    }
    part
}

#[expect(clippy::disallowed_methods, reason = "a bench has no configuration but its environment")]
fn whole() -> Duration {
    let seconds = env::var(SECONDS).map_or(600, |seconds| seconds.parse().expect("a number of seconds"));
    Duration::from_secs(seconds)
}
