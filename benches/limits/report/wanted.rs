//! List of all figures, some with a target. A bench that reports an unlisted figure fails, and so does a report that lacks one.

use super::figure::{Target, Unit};

/// A figure of the list.
pub(crate) struct Wanted {
    /// Name in the JSON: `bench.figure`.
    pub(crate) id: &'static str,
    /// Description for people.
    pub(crate) what: &'static str,
    pub(crate) unit: Unit,
    pub(crate) target: Target,
}

/// Returns the figure with this name.
pub(crate) fn named(id: &str) -> &'static Wanted {
    WANTED.iter().find(|wanted| wanted.id == id).unwrap_or_else(|| panic!("{id} is not wanted"))
}

const fn at_least(id: &'static str, what: &'static str, must: f64, aim: f64) -> Wanted {
    Wanted { id, what, unit: Unit::Ratio, target: Target::AtLeast { must, aim } }
}

const fn at_most(id: &'static str, what: &'static str, unit: Unit, limits: (f64, f64)) -> Wanted {
    Wanted { id, what, unit, target: Target::AtMost { must: limits.0, aim: limits.1 } }
}

const fn plain(id: &'static str, what: &'static str, unit: Unit) -> Wanted {
    Wanted { id, what, unit, target: Target::None }
}

/// Limit of a ratio of latencies with and without other work.
const CALM: (f64, f64) = (1.5, 1.2);

const MIB: f64 = 1_048_576.0;

/// Limit of memory that remains some time after a load. What stays by design: the sessions that were asked for, ready headers
/// and all, and the page caches of the store's five connections, up to 2 MiB each.
const LEFT: (f64, f64) = (16.0 * MIB, 8.0 * MIB);

/// All figures in the order of the report.
pub(crate) const WANTED: &[Wanted] = &[
    at_least("loopback.hyper", "requests ÷ bare hyper, 64 connections, 10 k sessions at random", 0.78, 0.90),
    at_least("loopback.hyper_1k", "requests ÷ bare hyper, 64 connections, 1 k hot sessions", 0.82, 0.92),
    at_least("loopback.hyper_100k", "requests ÷ bare hyper, 64 connections, 100 k sessions at random", 0.74, 0.88),
    at_least(
        "loopback.nginx",
        "requests ÷ nginx that returns 200 with the same headers, one worker each, 10 k sessions",
        0.95,
        1.00,
    ),
    plain("loopback.nginx_roomy", "requests ÷ the same nginx with a header buffer of 8 KiB", Unit::Ratio),
    at_most("loopback.p99", "p99 ÷ bare hyper's, 64 connections at saturation", Unit::Ratio, (1.35, 1.15)),
    plain("loopback.hyper_1_connection", "requests ÷ bare hyper, 1 connection", Unit::Ratio),
    plain("loopback.hyper_512_connections", "requests ÷ bare hyper, 512 connections", Unit::Ratio),
    plain("loopback.check_us", "one core's µs for a check", Unit::Fine),
    at_least(
        "loopback.store_local",
        "requests ÷ a store asked on every request: 8 connections to a local PostgreSQL",
        2.6,
        2.9,
    ),
    at_least(
        "loopback.store_remote",
        "requests ÷ a store asked on every request: 4 connections to one that is 1 ms away",
        10.0,
        15.0,
    ),
    at_most("check.instructions", "instructions that a check adds to bare hyper", Unit::Count, (6_000.0, 2_500.0)),
    plain("check.fresh", "instructions that a connection with one check adds to bare hyper's", Unit::Count),
    at_most("check.allocations", "allocations of ours in a cached check", Unit::Fine, (4.0, 2.0)),
    at_most(
        "check.rules",
        "instructions of a check with 200 apps, 50 rules in each, and 10,000 hosts ÷ with one app and one rule",
        Unit::Ratio,
        (1.10, 1.02),
    ),
    at_least("scale.million", "requests with 1 M cached sessions ÷ with 1 k", 0.90, 0.95),
    at_least("scale.hosts", "requests with 10,000 hosts ÷ with 1", 0.95, 1.00),
    at_most("scale.session", "memory of a cached session with 5 groups", Unit::Bytes, (800.0, 650.0)),
    plain("scale.session_in_use", "the same while it is in use", Unit::Bytes),
    at_most("scale.connection", "memory of an idle connection", Unit::Bytes, (22_000.0, 19_000.0)),
    at_most("scale.rest", "resident at rest", Unit::Bytes, (30.0 * MIB, 15.0 * MIB)),
    at_most("scale.cold_start", "start to ready, empty store", Unit::Seconds, (0.3, 0.05)),
    plain("scale.restart", "start to ready, 1 M sessions in PostgreSQL", Unit::Seconds),
    plain("scale.restart_rate", "sessions a second that come back into memory after a restart, one core", Unit::Count),
    at_least(
        "edge.traefik_tls",
        "through Traefik, 64 clients: asking over TLS with HTTP/2 ÷ asking over plain HTTP",
        1.3,
        1.5,
    ),
    plain("edge.traefik_guarded", "through Traefik: with the middleware over TLS ÷ without", Unit::Ratio),
    plain("edge.traefik_plain_guarded", "through Traefik: with the middleware over plain HTTP ÷ without", Unit::Ratio),
    plain("edge.traefik_plain_connections", "new connections to the gate for each request, plain HTTP", Unit::Fine),
    plain("edge.traefik_tls_connections", "new connections to the gate for each request, TLS with HTTP/2", Unit::Fine),
    plain("edge.nginx_guarded", "through nginx: auth_request with keep-alive ÷ without", Unit::Ratio),
    plain("edge.nginx_hasty", "through nginx: auth_request without keep-alive ÷ without auth_request", Unit::Ratio),
    plain("store.hits", "checks a second from memory", Unit::Count),
    plain("store.look_ups", "checks a second that ask PostgreSQL", Unit::Count),
    plain("store.sign_ins", "sessions written a second", Unit::Count),
    plain("store.revocations", "sessions ended a second", Unit::Count),
    plain("store.look_up_us", "one core's µs of the gate for a check that asks PostgreSQL", Unit::Fine),
    plain("store.look_up_pg_us", "PostgreSQL's µs for a look-up", Unit::Fine),
    plain("store.sign_in_us", "the gate's µs for a session that is written", Unit::Fine),
    plain("store.sign_in_pg_us", "PostgreSQL's µs for a session that is written", Unit::Fine),
    plain("store.revocation_us", "the gate's µs for a session that is ended", Unit::Fine),
    plain("store.revocation_pg_us", "PostgreSQL's µs for a session that is ended", Unit::Fine),
    plain("store.use_pg_us", "PostgreSQL's µs to write that a session was used", Unit::Fine),
    plain("scale.row", "a session's share of the database, indexes included", Unit::Bytes),
    plain("renewal.rate", "renewals a second", Unit::Count),
    plain("renewal.us", "the gate's µs for a renewal and its check", Unit::Fine),
    plain("renewal.pg_us", "PostgreSQL's µs for a renewal, its look-up included", Unit::Fine),
    plain("tls.new_us", "one core's µs for a connection with a new TLS handshake and one check", Unit::Fine),
    plain("tls.resumed_us", "one core's µs for a connection with a resumed TLS handshake and one check", Unit::Fine),
    plain("tls.plain_us", "one core's µs for a connection in clear text and one check", Unit::Fine),
    plain("tls.new", "new handshakes a second on one core", Unit::Count),
    plain("tls.resumed", "resumed handshakes a second on one core", Unit::Count),
    plain("tls.keep_alive", "checks over TLS that stays open ÷ in clear text", Unit::Ratio),
    at_most("disturbance.scrapes", "p99 while metrics are read every 100 ms ÷ quiet", Unit::Ratio, CALM),
    at_most("disturbance.reloads", "p99 while 500 hosts are configured anew every second ÷ quiet", Unit::Ratio, CALM),
    at_most("disturbance.purge", "p99 while 100,000 expired sessions are leaving SQLite ÷ quiet", Unit::Ratio, CALM),
    at_most(
        "disturbance.purge_postgres",
        "p99 while 100,000 expired sessions are leaving PostgreSQL ÷ quiet",
        Unit::Ratio,
        CALM,
    ),
    at_most("disturbance.sign_ins", "p99 while 200 people sign in within a second ÷ quiet", Unit::Ratio, CALM),
    at_most("soak.left_clear", "memory that five minutes of full load leave behind", Unit::Bytes, LEFT),
    at_most("soak.left_tls", "the same over TLS", Unit::Bytes, LEFT),
];
