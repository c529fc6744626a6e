//! `store`: rate and cost of the operations in PostgreSQL, for the gate and the database.

use std::{
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use doorward::metrics::LogoutKind;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::runtime::Builder;

use crate::{
    report::{
        figure::Unit,
        part::Part,
        table::{Column, Table},
    },
    rig::{
        account::Account,
        contest::median,
        cores,
        daemon::{Daemon, Place as Seat},
        line::Wire,
        load::Load,
        postgres::{Place, Postgres},
    },
    support::{
        configuration::Configuration,
        gate::{Bench, sent},
    },
};

const PEOPLE: usize = 10_000;
const CONNECTIONS: usize = 64;
/// Rounds of looking everybody up, each by a gate that was just started.
const TIMES: usize = 3;
/// Duration of counting hits.
const HITS: Duration = Duration::from_secs(1);
/// Bound of waiting for last uses to be written, which happens every ten seconds.
const WRITTEN_WITHIN: Duration = Duration::from_secs(30);

/// Measurement of one operation, repeated many times.
struct Work {
    rate: f64,
    gate: f64,
    postgres: f64,
}

pub(crate) fn run() -> Part {
    let mut part = Part::default();
    let postgres = Postgres::start();
    let place = postgres.fresh();
    let (cookies, signed_in) = signed_in(&postgres, &place);
    let columns = [
        Column::plotted("a second", Unit::Count),
        Column::of("gate µs", Unit::Fine),
        Column::of("PostgreSQL µs", Unit::Fine),
    ];
    let mut table = Table::new("with PostgreSQL, 64 at once, pool of 8; the gate on one core", columns);
    let mut tell = |name: &str, work: &Work| table.row(name, [work.rate, work.gate, work.postgres]);
    tell("sign-ins written", &signed_in);
    let (hits, look_ups) = looked_up(&postgres, &place, &cookies);
    tell("checks from memory", &hits);
    tell("checks with a look-up", &look_ups);
    let uses = used(&postgres, &place, &cookies);
    tell("last uses written", &uses);
    let revoked = revoked(&postgres, &place, &cookies);
    tell("sessions ended", &revoked);
    part.table(table);
    for (id, value) in [
        ("store.hits", hits.rate),
        ("store.look_ups", look_ups.rate),
        ("store.sign_ins", signed_in.rate),
        ("store.revocations", revoked.rate),
        ("store.look_up_us", look_ups.gate),
        ("store.look_up_pg_us", look_ups.postgres),
        ("store.sign_in_us", signed_in.gate),
        ("store.sign_in_pg_us", signed_in.postgres),
        ("store.revocation_us", revoked.gate),
        ("store.revocation_pg_us", revoked.postgres),
        ("store.use_pg_us", uses.postgres),
    ] {
        part.figure(id, value);
    }
    part
}

fn signed_in(postgres: &Postgres, place: &Place) -> (Arc<Vec<String>>, Work) {
    alone(postgres, async |timed| {
        let mut bench = Bench::on(&place.url(), 1).await;
        // After the schema and the connections have been created.
        bench.sign_in(CONNECTIONS).await;
        let work = timed.of(bench.sign_in(PEOPLE)).await;
        (bench.cookies, work)
    })
}

fn revoked(postgres: &Postgres, place: &Place, cookies: &[String]) -> Work {
    alone(postgres, async |timed| {
        let bench = Bench::on(&place.url(), 1).await;
        let all = stream::iter(cookies.iter())
            .map(|cookie| bench.sessions.revoke(sent(cookie), LogoutKind::User))
            .buffer_unordered(CONNECTIONS)
            .try_collect::<Vec<_>>();
        let all = async {
            let ended = all.await.expect("the store takes it");
            assert!(ended.iter().all(Option::is_some), "every session was there");
        };
        timed.of(all).await
    })
}

/// Measures hits of the cache, and misses of a gate that was just started.
fn looked_up(postgres: &Postgres, place: &Place, cookies: &Arc<Vec<String>>) -> (Work, Work) {
    let (mut hits, mut look_ups) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        let daemon = Daemon::start(Configuration::of(&place.url()), Seat::OneCore);
        let doorward = daemon.contestant("Doorward", Wire::Plain, cookies);
        cores::run_on(cores::GENERATOR, || {
            let mut load = Load::open(&doorward, CONNECTIONS);
            let before = postgres.account().busy();
            let round = load.request_all_once();
            let busy = postgres.account().since(before);
            look_ups.push(Work { rate: round.rate(), gate: round.cost(), postgres: each(busy) });
            let round = load.round(HITS);
            hits.push(Work { rate: round.rate(), gate: round.cost(), postgres: 0.0 });
        });
    }
    (typical(&hits), typical(&look_ups))
}

/// Measures the use of sessions last seen some minutes ago, which is written later and in batches.
fn used(postgres: &Postgres, place: &Place, cookies: &Arc<Vec<String>>) -> Work {
    postgres.sql(place, "UPDATE doorward_sessions SET last_seen = last_seen - 300");
    let written = || {
        let current = "SELECT count(*) FROM doorward_sessions WHERE last_seen > extract(epoch FROM now()) - 120";
        postgres.sql(place, current).parse::<usize>().expect("a number of rows")
    };
    let daemon = Daemon::start(Configuration::of(&place.url()), Seat::OneCore);
    let doorward = daemon.contestant("Doorward", Wire::Plain, cookies);
    cores::run_on(cores::GENERATOR, || Load::open(&doorward, CONNECTIONS).request_all_once());
    let (before, begun) = (postgres.account().busy(), Instant::now());
    let (mut batches, mut busy) = (0.0, Duration::ZERO);
    // A query costs the database time too, so it is sent only when the writes seem to be done.
    while batches == 0.0 || written() < cookies.len() {
        assert!(begun.elapsed() < WRITTEN_WITHIN, "{} of {} were written", written(), cookies.len());
        while batches < daemon.metric("doorward_store_duration_seconds_count{operation=\"touch\"}") || batches == 0.0 {
            batches = daemon.metric("doorward_store_duration_seconds_count{operation=\"touch\"}");
            busy = postgres.account().since(before);
            sleep(Duration::from_millis(300));
        }
    }
    Work { rate: f64::NAN, gate: f64::NAN, postgres: each(busy) }
}

/// Stop-watch for elapsed and CPU time.
struct Timed<'p> {
    postgres: &'p Postgres,
}

impl Timed<'_> {
    /// Measures an operation that is done once for each person.
    async fn of(&self, work: impl Future<Output = ()>) -> Work {
        let own = Account::Thread(cores::this_thread());
        let (before, stored, begun) = (own.busy(), self.postgres.account().busy(), Instant::now());
        work.await;
        let (took, gate, stored) = (begun.elapsed(), own.since(before), self.postgres.account().since(stored));
        Work { rate: 1e6 / each(took), gate: each(gate), postgres: each(stored) }
    }
}

/// Runs a gate's work on one thread on the servers' core.
fn alone<T: Send>(postgres: &Postgres, work: impl AsyncFnOnce(Timed<'_>) -> T + Send) -> T {
    cores::run_on(cores::SERVERS, || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(work(Timed { postgres }))
    })
}

fn typical(works: &[Work]) -> Work {
    let of = |figure: &dyn Fn(&Work) -> f64| median(works.iter().map(figure));
    Work { rate: of(&|work| work.rate), gate: of(&|work| work.gate), postgres: of(&|work| work.postgres) }
}

/// Returns microseconds per person.
#[expect(clippy::cast_precision_loss, reason = "thousands")]
fn each(all: Duration) -> f64 {
    all.as_secs_f64() * 1e6 / PEOPLE as f64
}
