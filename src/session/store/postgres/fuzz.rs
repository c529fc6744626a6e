//! Fuzz targets: addresses of PostgreSQL servers, and their notifications.
//!
//! Promises, asserted for any bytes: nothing panics; an address that is taken leads somewhere, and no text of it holds the
//! password; a notification that does not name one session says nothing.

use std::sync::Mutex;

use tokio_postgres::{Config, config::SslMode};

use crate::{
    clock::Timestamp,
    session::{
        cookie::SessionId,
        store::{
            Invalidations,
            postgres::{address::Address, listener},
        },
    },
};

/// The password in the seeds. Where it stands in a password's place alone, nothing may repeat it.
const PASSWORD: &str = "hunter2hunter2";

/// Values of `store.url` and `store.listen_url`.
pub fn postgres_urls(input: &[u8]) {
    let Ok(url) = std::str::from_utf8(input) else { return };
    let is_secret = url.matches(PASSWORD).count() == 1 && url.contains(&format!(":{PASSWORD}@"));
    match Address::parse(url) {
        Ok(address) => {
            assert!(!address.hosts().is_empty(), "it leads nowhere");
            let only = url.split_once('?').map(|(_, query)| query);
            if matches!(only, Some("sslmode=require" | "sslmode=verify-full")) {
                let is_required = |host: &Config| host.get_ssl_mode() == SslMode::Require;
                assert!(address.hosts().iter().all(is_required), "what sslmode says does not happen");
            }
            assert!(!is_secret || !address.to_string().contains(PASSWORD), "the password is shown");
            let _ = address.with_password("another");
        }
        Err(problem) => {
            assert!(!problem.is_empty());
            assert!(!is_secret || !problem.contains(PASSWORD), "the password is repeated");
        }
    }
}

#[derive(Default)]
struct Recorder(Mutex<Vec<SessionId>>);

impl Invalidations for Recorder {
    fn hearing(&self) {}

    fn now(&self) -> Timestamp {
        Timestamp::default()
    }

    fn heard_until(&self, _: Timestamp) {}

    fn deaf(&self) {}

    fn hint(&self, key: SessionId) {
        self.0.lock().expect("nobody panics with it").push(key);
    }
}

/// Payloads of the channel.
pub fn notifications(input: &[u8]) {
    let Ok(payload) = std::str::from_utf8(input) else { return };
    let ears = Recorder::default();
    listener::deliver(payload, &ears);
    let heard = ears.0.into_inner().expect("nobody panics with it");
    assert!(heard.len() <= 1);
    if let Some(key) = heard.first() {
        let named = payload.split_once(' ').map(|(_, key)| key.to_ascii_lowercase());
        assert_eq!(named, Some(key.hex()), "a session is meant that was not named");
    }
}
