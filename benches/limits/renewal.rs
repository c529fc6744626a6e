//! `renewal`: all access tokens have expired and everybody comes back. A renewal is a lease in PostgreSQL, a token request to the
//! provider, and a write of the new tokens.

use std::time::Duration;

use doorward::{clock::Clock, identity::Tokens};
use secrecy::SecretString;

use crate::{
    report::part::Part,
    rig::{
        cores,
        daemon::{Daemon, Place},
        line::Wire,
        load::Load,
        people,
        postgres::Postgres,
        provider::Provider,
    },
    support::configuration::Configuration,
};

/// People: as many as the gate's queue of renewals takes.
const PEOPLE: usize = 4_000;
const CONNECTIONS: usize = 64;

pub(crate) fn run() -> Part {
    let mut part = Part::default();
    let (provider, postgres) = (Provider::start(), Postgres::start());
    let store = postgres.fresh().url();
    let tokens = Tokens {
        access: Some(SecretString::from("a".repeat(900))),
        access_ends: Some(Clock::System.now().minus(Duration::from_secs(1))),
        refresh: Some(SecretString::from("r".repeat(250))),
        id: None,
    };
    let cookies = people::signed_in(&store, PEOPLE, &tokens);
    let configuration = Configuration { issuer: provider.issuer().to_owned(), ..Configuration::of(&store) };
    let daemon = Daemon::start(configuration, Place::OneCore);
    daemon.until("doorward_provider_up{", 1.0);
    let doorward = daemon.contestant("Doorward", Wire::Plain, &cookies);
    let before = postgres.account().busy();
    let round = cores::run_on(cores::GENERATOR, || Load::open(&doorward, CONNECTIONS).request_all_once());
    let busy = postgres.account().since(before);
    assert_eq!(provider.redeemed(), PEOPLE as u64, "everybody was renewed, and nobody twice");
    part.figure("renewal.rate", round.rate());
    part.figure("renewal.us", round.cost());
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    part.figure("renewal.pg_us", busy.as_secs_f64() * 1e6 / PEOPLE as f64);
    part
}
