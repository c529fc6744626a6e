//! Fuzz targets: URLs of PostgreSQL servers, and payloads of notifications.
//!
//! Promises, asserted for any bytes: nothing panics; an accepted URL has a host, and no text of it holds the password;
//! a notification that does not name one session invalidates nothing.

use std::sync::Mutex;

use tokio_postgres::{Config, config::SslMode};

use crate::{
    clock::Timestamp,
    session::{
        cookie::SessionId,
        store::{
            Invalidations,
            postgres::{listen, url::PostgresUrl},
        },
    },
};

/// The password in the seeds. Where it stands nowhere but in a password's place, no text may repeat it.
const PASSWORD: &str = "hunter2hunter2";

/// Parses values of `store.url` and `store.listen_url`.
pub fn postgres_urls(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let is_secret = text.matches(PASSWORD).count() == 1 && text.contains(&format!(":{PASSWORD}@"));
    match PostgresUrl::parse(text) {
        Ok(url) => {
            assert!(!url.hosts().is_empty(), "it leads nowhere");
            let only = text.split_once('?').map(|(_, query)| query);
            if matches!(only, Some("sslmode=require" | "sslmode=verify-full")) {
                let is_required = |host: &Config| host.get_ssl_mode() == SslMode::Require;
                assert!(url.hosts().iter().all(is_required), "what sslmode says does not happen");
            }
            assert!(!is_secret || !url.to_string().contains(PASSWORD), "the password is shown");
            let _ = url.with_password("another");
        }
        Err(problem) => {
            assert!(!problem.is_empty());
            assert!(!is_secret || !problem.contains(PASSWORD), "the password is repeated");
        }
    }
}

#[derive(Default)]
struct RecordedNotifications(Mutex<Vec<SessionId>>);

impl Invalidations for RecordedNotifications {
    fn connected(&self) {}

    fn now(&self) -> Timestamp {
        Timestamp::default()
    }

    fn caught_up_to(&self, _: Timestamp) {}

    fn disconnected(&self) {}

    fn notified(&self, key: SessionId) {
        self.0.lock().expect("nobody panics with it").push(key);
    }
}

/// Dispatches payloads of notifications.
pub fn notifications(input: &[u8]) {
    let Ok(payload) = std::str::from_utf8(input) else { return };
    let recorded = RecordedNotifications::default();
    listen::dispatch(payload, &recorded);
    let notified = recorded.0.into_inner().expect("nobody panics with it");
    assert!(notified.len() <= 1);
    if let Some(key) = notified.first() {
        let named = payload.split_once(' ').map(|(_, key)| key.to_ascii_lowercase());
        assert_eq!(named, Some(key.hex()), "a session is meant that was not named");
    }
}
