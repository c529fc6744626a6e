//! The capacity model of `docs/scaling.md`: demand of a number of users on replicas, PostgreSQL and the network, from the last
//! report.

use std::fmt::Write as _;

use super::{
    Report,
    figure::{Unit, Written},
    wanted,
};

/// Assumptions about users. The document lists them, and how to use other numbers.
mod assumed {
    /// Fraction of users who are active in the busiest minute.
    pub(super) const ACTIVE: f64 = 0.2;
    /// Requests per second of an active user.
    pub(super) const REQUESTS: f64 = 0.5;
    /// Fraction of users who sign in within the busiest hour.
    pub(super) const SIGN_INS: f64 = 0.25;
    /// Lifetime of an access token in seconds.
    pub(super) const TOKEN: f64 = 600.0;
    /// Cores of a replica.
    pub(super) const CORES: f64 = 4.0;
    /// Average utilisation of the cores.
    pub(super) const FILL: f64 = 0.6;
    /// Open connections of edges to a replica.
    pub(super) const CONNECTIONS: f64 = 256.0;
    /// Size of the three tokens of a session in bytes.
    pub(super) const TOKENS: f64 = 3_000.0;
    /// Bytes of a notification on the wire: kind, hexadecimal key, name of the channel and protocol overhead.
    pub(super) const NOTIFICATION: f64 = 100.0;
}

const HOUR: f64 = 3_600.0;
/// Interval in seconds at which each replica writes the last use of a session.
const USES: f64 = 60.0;
const USERS: [f64; 5] = [1e3, 1e4, 1e5, 1e6, 1e7];

/// Symbols of the model and their descriptions.
const SYMBOLS: &[(&str, &str)] = &[
    ("c", "loopback.check_us"),
    ("h", "tls.plain_us"),
    ("hₜ", "tls.new_us"),
    ("hᵣ", "tls.resumed_us"),
    ("f", "edge.traefik_plain_connections"),
    ("l", "store.look_up_us"),
    ("l′", "store.look_up_pg_us"),
    ("s", "store.sign_in_us"),
    ("s′", "store.sign_in_pg_us"),
    ("e′", "store.revocation_pg_us"),
    ("u′", "store.use_pg_us"),
    ("r", "renewal.us"),
    ("r′", "renewal.pg_us"),
    ("m", "scale.session"),
    ("m′", "scale.session_in_use"),
    ("k", "scale.connection"),
    ("m₀", "scale.rest"),
    ("w", "scale.row"),
    ("b", "scale.restart_rate"),
];

/// Demand of a number of users.
struct Demand {
    active: f64,
    requests: f64,
    sign_ins: f64,
    renewals: f64,
    replicas: f64,
    /// Cores of all replicas.
    gate: f64,
    /// Bytes of one replica.
    memory: f64,
    /// Uses written in a second, by all replicas.
    uses: f64,
    /// Cores of PostgreSQL.
    postgres: f64,
    /// Bytes of notifications in a second, to all replicas.
    told: f64,
    /// Bytes in PostgreSQL.
    stored: f64,
}

/// The tables of `docs/scaling.md`.
pub(super) fn tables(report: &Report) -> [(&'static str, String); 2] {
    [("symbols", symbols(report)), ("sizes", sizes(report))]
}

fn symbols(report: &Report) -> String {
    let day = report.date.split('T').next().unwrap_or_default();
    let mut text = format!("Measured on {day}: {}.\n\n| | what | measured |\n|---|---|---|\n", report.machine);
    for (symbol, id) in SYMBOLS {
        let wanted = wanted::named(id);
        let value = Written(of(report, id), wanted.unit);
        writeln!(text, "| *{symbol}* | {} (`{id}`) | {value} |", wanted.what).expect("memory takes text");
    }
    text
}

fn sizes(report: &Report) -> String {
    let demands = USERS.map(|users| Demand::of(users, report));
    let heads = USERS.map(|users| Written(users, Unit::Count).to_string());
    let mut text = format!("| users | {} |\n|---|{}\n", heads.join(" | "), "---|".repeat(USERS.len()));
    let mut line = |name: &str, unit: Unit, value: fn(&Demand) -> f64| {
        let values: Vec<_> = demands.iter().map(|demand| Written(value(demand), unit).to_string()).collect();
        writeln!(text, "| {name} | {} |", values.join(" | ")).expect("memory takes text");
    };
    line("active at once, *A*", Unit::Count, |d| d.active);
    line("requests/s, *R*", Unit::Count, |d| d.requests);
    line("sign-ins/s, *S*", Unit::Fine, |d| d.sign_ins);
    line("renewals/s, *N*", Unit::Fine, |d| d.renewals);
    line("cores of all replicas", Unit::Fine, |d| d.gate);
    line("replicas of at most four cores, *P*", Unit::Count, |d| d.replicas);
    line("memory of each replica", Unit::Bytes, |d| d.memory);
    line("last uses written/s", Unit::Count, |d| d.uses);
    line("cores of PostgreSQL", Unit::Fine, |d| d.postgres);
    line("notifications, bytes/s", Unit::Bytes, |d| d.told);
    line("sessions in PostgreSQL", Unit::Bytes, |d| d.stored);
    text
}

impl Demand {
    fn of(users: f64, report: &Report) -> Self {
        let us = |id| of(report, id) / 1e6;
        let active = users * assumed::ACTIVE;
        let requests = active * assumed::REQUESTS;
        let sign_ins = users * assumed::SIGN_INS / HOUR;
        let renewals = active / assumed::TOKEN;
        let gate = requests * us("loopback.check_us") + sign_ins * us("store.sign_in_us") + renewals * us("renewal.us");
        let replicas = (gate / (assumed::CORES * assumed::FILL)).ceil().max(2.0);
        let written = replicas * active / USES;
        let look_ups = (replicas - 1.0) * sign_ins;
        let postgres = sign_ins * us("store.sign_in_pg_us")
            + look_ups * us("store.look_up_pg_us")
            + renewals * us("renewal.pg_us")
            + written * us("store.use_pg_us");
        Self {
            active,
            requests,
            sign_ins,
            renewals,
            replicas,
            gate,
            memory: of(report, "scale.rest")
                + users * of(report, "scale.session")
                + active * (of(report, "scale.session_in_use") - of(report, "scale.session"))
                + assumed::CONNECTIONS * of(report, "scale.connection"),
            uses: written,
            postgres,
            told: renewals * replicas * assumed::NOTIFICATION,
            stored: users * (of(report, "scale.row") + assumed::TOKENS),
        }
    }
}

fn of(report: &Report, id: &str) -> f64 {
    report.figures.get(id).copied().unwrap_or(f64::NAN)
}
