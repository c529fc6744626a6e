//! `disturbance`: latency of checks during other work: metrics are read, the configuration changes, expired sessions are removed,
//! people sign in.
//!
//! Nothing is at its limit: a few thousand checks a second in an open loop, whether or not earlier responses have arrived, so
//! that percentiles are real waiting times. In each round the gate is measured once undisturbed and once with each disturbance.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, sleep},
    time::{Duration, Instant},
};

use doorward::identity::Tokens;

use crate::{
    report::{
        figure::Unit,
        part::Part,
        table::{Column, Table},
    },
    rig::{
        contest::median,
        contestant::Contestant,
        cores,
        daemon::{Daemon, Place as Seat},
        line::Wire,
        load::{Load, Round},
        people,
        postgres::{Place, Postgres},
        provider::Provider,
        sign_in::{Attempt, Edge},
    },
    support::{cases::in_memory, configuration::Configuration, gate::FIRST_PERSON},
};

/// People. Each sends a request every eighth of a second, so that no session needs revalidation first.
const PEOPLE: usize = 500;
const CONNECTIONS: usize = 64;
/// Checks a millisecond.
const PACE: usize = 4;
const HOSTS: usize = 500;
const ROUNDS: usize = 5;
/// Least duration of each measurement; it lasts until the disturbance is done.
const WINDOW: Duration = Duration::from_secs(1);
/// Interval of reading metrics, far shorter than any scraper's.
const SCRAPES: Duration = Duration::from_millis(100);
/// Reloads within a window, far more than in practice.
const RELOADS: u32 = 1;
/// Expired sessions to be removed.
const EXPIRED: usize = 100_000;
/// People who sign in within a window, one after the other.
const NEWCOMERS: u32 = 200;

const EXPIRED_SO_FAR: &str = "doorward_logouts_total{kind=\"expired\"}";
const APPLIED: &str = "doorward_config_reloads_total{result=\"applied\"}";

/// Store of a gate.
enum Store<'p> {
    File(PathBuf),
    Server(&'p Postgres, Place),
}

/// A gate with its neighbours.
struct Scene<'p> {
    provider: Provider,
    store: Store<'p>,
    daemon: Daemon,
    contestant: Contestant,
    /// Unused sessions, one for each round.
    spare: Vec<String>,
}

/// Work of the gate beside the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disturbance {
    Nothing,
    Scrapes,
    Reloads,
    Purge,
    SignIns,
}

pub(crate) fn run() -> Part {
    let mut part = Part::default();
    let folder = in_memory();
    let all = [
        (Disturbance::Nothing, ""),
        (Disturbance::Scrapes, "disturbance.scrapes"),
        (Disturbance::Reloads, "disturbance.reloads"),
        (Disturbance::Purge, "disturbance.purge"),
        (Disturbance::SignIns, "disturbance.sign_ins"),
    ];
    let file = folder.path().join("sessions.db");
    disturb(&mut part, &Scene::at(Store::File(file)), "sessions in an SQLite file", &all);
    let postgres = Postgres::start();
    let place = postgres.fresh();
    let purge = [(Disturbance::Nothing, ""), (Disturbance::Purge, "disturbance.purge_postgres")];
    disturb(&mut part, &Scene::at(Store::Server(&postgres, place)), "sessions in PostgreSQL", &purge);
    part
}

/// Measures a gate in rounds, undisturbed and with each of these disturbances.
fn disturb(part: &mut Part, scene: &Scene<'_>, title: &str, ways: &[(Disturbance, &str)]) {
    let mut played: Vec<Vec<Round>> = ways.iter().map(|_| Vec::new()).collect();
    thread::scope(|scope| {
        let generator = scope.spawn(|| {
            cores::raise_priority();
            let mut load = Load::open(&scene.contestant, CONNECTIONS);
            load.request_all_once();
            // A round to warm up; and no measurement is always the first of a round.
            scene.window(&mut load, Disturbance::Nothing, 0);
            for round in 0..ROUNDS {
                for turn in 0..ways.len() {
                    let place = (round + turn) % ways.len();
                    let (Some((way, _)), Some(rounds)) = (ways.get(place), played.get_mut(place)) else { continue };
                    rounds.push(scene.window(&mut load, *way, round));
                }
            }
        });
        generator.join().expect("the generator has seen nothing wrong");
    });
    let [quiet, ..] = played.as_slice() else { return };
    let ratio = |rounds: &[Round], quantile| {
        median(rounds.iter().zip(quiet).map(|(round, quiet)| round.latency(quantile) / quiet.latency(quantile)))
    };
    let columns = [
        Column::plotted("p99 ÷ quiet", Unit::Ratio),
        Column::of("p50 ÷ quiet", Unit::Ratio),
        Column::of("p50 µs", Unit::Count),
        Column::of("p99 µs", Unit::Count),
        Column::of("p99.9 µs", Unit::Count),
        Column::of("checks/s", Unit::Count),
        Column::of("server's cores", Unit::Ratio),
        Column::of("seconds", Unit::Fine),
    ];
    let mut table = Table::new(format!("{title}; {HOSTS} hosts, {PACE} checks a millisecond"), columns);
    for ((way, _), rounds) in ways.iter().zip(&played) {
        let typical = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure));
        let values = [
            ratio(rounds, 0.99),
            ratio(rounds, 0.5),
            typical(&|round| round.latency(0.5)),
            typical(&|round| round.latency(0.99)),
            typical(&|round| round.latency(0.999)),
            typical(&Round::rate),
            typical(&Round::server_cores),
            typical(&|round| round.took.as_secs_f64()),
        ];
        table.row(way.name(), values);
    }
    part.table(table);
    for ((_, id), rounds) in ways.iter().zip(&played).filter(|((_, id), _)| !id.is_empty()) {
        part.figure(id, ratio(rounds, 0.99));
    }
}

impl Disturbance {
    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "quiet",
            Self::Scrapes => "metrics read every 100 ms",
            Self::Reloads => "configuration changed",
            Self::Purge => "of 100,000 expired sessions some are removed",
            Self::SignIns => "200 people sign in within a second",
        }
    }
}

impl<'p> Scene<'p> {
    fn at(store: Store<'p>) -> Self {
        let provider = Provider::start();
        let cookies = people::signed_in(&store.url(), PEOPLE + ROUNDS, &Tokens::default());
        let daemon = Daemon::start(configuration(&store, &provider, HOSTS), Seat::Anywhere);
        daemon.until("doorward_provider_up{", 1.0);
        let (in_use, spare) = cookies.split_at(PEOPLE);
        let contestant = daemon.contestant("Doorward", Wire::Plain, &Arc::new(in_use.to_vec()));
        Self { provider, store, daemon, contestant, spare: spare.to_vec() }
    }

    /// Sends requests at a fixed rate during a disturbance.
    fn window(&self, load: &mut Load<'_>, way: Disturbance, round: usize) -> Round {
        let attempts = self.prepare(way, round);
        let over = AtomicBool::new(false);
        let round = thread::scope(|scope| {
            let disturbing = scope.spawn(|| {
                cores::reset_priority();
                let begun = Instant::now();
                self.act(way, &attempts, begun);
                sleep(WINDOW.saturating_sub(begun.elapsed()));
                over.store(true, Ordering::Relaxed);
            });
            // A disturbance that has failed is over as well.
            load.paced(PACE, || over.load(Ordering::Relaxed) || disturbing.is_finished())
        });
        if way == Disturbance::Purge {
            self.store.clear();
        }
        round
    }

    /// Prepares a disturbance.
    fn prepare(&self, way: Disturbance, round: usize) -> Vec<Attempt> {
        match way {
            Disturbance::Nothing | Disturbance::Scrapes | Disturbance::Reloads => Vec::new(),
            Disturbance::Purge => {
                self.store.expire(PEOPLE + round);
                let before = self.expired();
                // This starts the purge, within three seconds.
                Edge::to(self.daemon.address()).bring_expired(self.spare.get(round).expect("one for each round"));
                self.daemon.until(EXPIRED_SO_FAR, before + 1.0);
                Vec::new()
            }
            Disturbance::SignIns => {
                let mut edge = Edge::to(self.daemon.address());
                std::iter::repeat_with(|| edge.begin()).take(NEWCOMERS as usize).collect()
            }
        }
    }

    fn act(&self, way: Disturbance, attempts: &[Attempt], begun: Instant) {
        match way {
            Disturbance::Nothing => {}
            Disturbance::Scrapes => {
                while begun.elapsed() < WINDOW {
                    assert!(self.daemon.metrics().contains("doorward_auth_requests_total"));
                    sleep(SCRAPES);
                }
            }
            Disturbance::Reloads => {
                let before = self.daemon.metric(APPLIED);
                for change in 1..=RELOADS {
                    // A different number each time, so that something changes.
                    let is_odd = (before + f64::from(change)) % 2.0 > 0.5;
                    let hosts = HOSTS + usize::from(is_odd);
                    self.daemon.configure(configuration(&self.store, &self.provider, hosts));
                    sleep(WINDOW / RELOADS);
                    self.daemon.until(APPLIED, before + f64::from(change));
                }
            }
            Disturbance::Purge => {
                let before = self.expired();
                sleep(WINDOW);
                let after = self.expired();
                assert!(before < after && self.store.are_left(), "they are removed all the time: {before}, {after}");
            }
            Disturbance::SignIns => {
                let mut edge = Edge::to(self.daemon.address());
                for (number, attempt) in (0..NEWCOMERS).zip(attempts) {
                    sleep((WINDOW / NEWCOMERS * number).saturating_sub(begun.elapsed()));
                    edge.bring(attempt);
                    edge.see_signed_in();
                }
            }
        }
    }

    fn expired(&self) -> f64 {
        self.daemon.metric(EXPIRED_SO_FAR)
    }
}

fn configuration(store: &Store<'_>, provider: &Provider, hosts: usize) -> Configuration {
    Configuration { apps: hosts, issuer: provider.issuer().to_owned(), ..Configuration::of(&store.url()) }
}

impl Store<'_> {
    fn url(&self) -> String {
        match self {
            Self::File(path) => format!("sqlite:{}", path.display()),
            Self::Server(_, place) => place.url(),
        }
    }

    /// Makes a person's session idle for too long, and adds others that expired long ago, as copies under keys of their own. The
    /// bulk insert is checkpointed here, because sessions do not arrive in bulk in practice.
    fn expire(&self, person: usize) {
        let subject = format!("%-{:012}", FIRST_PERSON + person);
        let columns = "(key, provider, subject, sid, generation, created, last_seen, sealed)";
        let copy = "provider, subject || '-' || i, sid, generation, 1, 1, sealed";
        match self {
            Self::File(path) => {
                let file = rusqlite::Connection::open(path).expect("the gate's file");
                let filled = file.execute_batch(&format!(
                    "UPDATE sessions SET last_seen = 1 WHERE subject LIKE '{subject}'; \
                     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {EXPIRED}) \
                     INSERT INTO sessions {columns} \
                     SELECT randomblob(32), {copy} FROM n, (SELECT * FROM sessions LIMIT 1); \
                     PRAGMA wal_checkpoint(TRUNCATE)"
                ));
                filled.expect("the file takes rows");
            }
            Self::Server(postgres, place) => {
                let use_of = format!("UPDATE doorward_sessions SET last_seen = 1 WHERE subject LIKE '{subject}'");
                postgres.sql(place, &use_of);
                postgres.sql(
                    place,
                    &format!(
                        "INSERT INTO doorward_sessions {columns} SELECT sha256(('{person} ' || i)::bytea), {copy} \
                         FROM (SELECT * FROM doorward_sessions LIMIT 1) one, generate_series(1, {EXPIRED}) i"
                    ),
                );
                postgres.sql(place, "VACUUM ANALYZE doorward_sessions");
                postgres.sql(place, "CHECKPOINT");
            }
        }
    }

    /// Removes the remaining expired sessions.
    fn clear(&self) {
        match self {
            Self::File(path) => {
                let file = rusqlite::Connection::open(path).expect("the gate's file");
                let cleared = "DELETE FROM sessions WHERE created <= 1; PRAGMA wal_checkpoint(TRUNCATE)";
                file.execute_batch(cleared).expect("the file can be written");
            }
            Self::Server(postgres, place) => {
                postgres.sql(place, "DELETE FROM doorward_sessions WHERE created <= 1");
                postgres.sql(place, "VACUUM doorward_sessions");
                postgres.sql(place, "CHECKPOINT");
            }
        }
    }

    /// Returns `true` while expired sessions remain.
    fn are_left(&self) -> bool {
        match self {
            Self::File(path) => {
                let file = rusqlite::Connection::open(path).expect("the gate's file");
                let asked =
                    file.query_row("SELECT EXISTS (SELECT 1 FROM sessions WHERE created <= 1)", [], |row| row.get(0));
                asked.expect("the file can be read")
            }
            Self::Server(postgres, place) => {
                postgres
                    .sql(place, "SELECT count(*) FROM (SELECT 1 FROM doorward_sessions WHERE created <= 1 LIMIT 1) a")
                    == "1"
            }
        }
    }
}
