//! `LISTEN`: invalidations from other replicas and from operators, by PostgreSQL notifications.
//!
//! Promises: while it reports to be connected, no notification is missed for longer than a heartbeat and its timeout;
//! when it cannot be sure, it reports to be disconnected.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_postgres::{Error, types::Type};

use crate::{
    crypto,
    session::{
        cookie::SessionId,
        store::{
            Invalidations, Unavailable,
            postgres::{
                connect::Connector,
                connection::ListenConnection,
                error::PostgresError,
                pool::{PostgresPool, Retry},
            },
        },
    },
};

/// Interval between heartbeats of the connection, and their timeout: together less than the time after which a session
/// that nobody has confirmed is read again.
const HEARTBEAT: Duration = Duration::from_millis(1_500);
/// Interval between delivery checks: notifications sent through the connections that write have to reach the one that
/// listens.
const DELIVERY_CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// Timeout of a delivery check.
const DELIVERY_CHECK_TIMEOUT: Duration = Duration::from_secs(3);
/// Shortest and longest delay before a lost connection is opened again.
const RECONNECT_DELAY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(3));
/// Delay after a failed delivery check: the mode of a pooler is the cause, which time does not mend.
const NOT_DELIVERED_DELAY: Duration = Duration::from_secs(30);

/// The one connection that listens for notifications.
pub(super) struct NotificationListener {
    connector: Connector,
    /// The listener has a URL of its own.
    direct: bool,
    /// The log says that it listens.
    is_listening: AtomicBool,
}

/// The reason why notifications may be missed.
enum ListenError {
    /// The connection is lost.
    Lost(PostgresError),
    /// The connection listens, and no notification arrives.
    NotDelivered,
}

impl From<PostgresError> for ListenError {
    fn from(error: PostgresError) -> Self {
        Self::Lost(error)
    }
}

impl NotificationListener {
    pub(super) fn new(connector: Connector, direct: bool) -> Self {
        Self { connector, direct, is_listening: AtomicBool::new(false) }
    }

    /// Listens for ever, reconnecting after each loss.
    pub(super) async fn run(&self, pool: &PostgresPool, invalidations: &dyn Invalidations) -> Infallible {
        let (mut delay, mut warned) = (RECONNECT_DELAY.0, false);
        loop {
            let Err(error) = self.listen(pool, invalidations).await;
            invalidations.disconnected();
            let was_listening = self.is_listening.swap(false, Ordering::Relaxed);
            if was_listening {
                (delay, warned) = (RECONNECT_DELAY.0, false);
            }
            let pause = match error {
                ListenError::NotDelivered => NOT_DELIVERED_DELAY,
                ListenError::Lost(_) => delay,
            };
            if !warned {
                warned = true;
                self.log_failure(error);
            }
            sleep(pause).await;
            delay = (delay * 2).min(RECONNECT_DELAY.1);
        }
    }

    async fn listen(&self, pool: &PostgresPool, invalidations: &dyn Invalidations) -> Result<Infallible, ListenError> {
        let mut connection = ListenConnection::new(self.connector.open().await?);
        in_time("listening", connection.client.batch_execute("LISTEN doorward_sessions")).await?;
        check_delivery(&mut connection, pool, invalidations).await?;
        invalidations.connected();
        if !self.is_listening.swap(true, Ordering::Relaxed) {
            tracing::info!("listening for session invalidations");
        }
        let mut next_check = Instant::now() + DELIVERY_CHECK_INTERVAL;
        loop {
            let until = Instant::now() + HEARTBEAT;
            while let Ok(notification) = timeout_at(until, connection.next_notification()).await {
                dispatch(notification?.payload(), invalidations);
            }
            let asked = invalidations.now();
            in_time("a heartbeat", connection.client.query_typed("SELECT 1", &[])).await?;
            // Notifications sent before the server answered have arrived before its answer.
            while let Some(notification) = connection.try_next_notification()? {
                dispatch(notification.payload(), invalidations);
            }
            invalidations.caught_up_to(asked);
            if Instant::now() >= next_check {
                check_delivery(&mut connection, pool, invalidations).await?;
                next_check = Instant::now() + DELIVERY_CHECK_INTERVAL;
            }
        }
    }

    fn log_failure(&self, error: ListenError) {
        match error {
            ListenError::Lost(error) => {
                let error = Unavailable::from(error);
                tracing::warn!(
                    %error,
                    "not listening for session invalidations; each session is revalidated every few seconds"
                );
            }
            ListenError::NotDelivered => {
                let mend = if self.direct {
                    "store.listen_url must lead to the same database, past any pooler in transaction mode"
                } else {
                    "behind a pooler in transaction mode, set store.listen_url to the server itself"
                };
                tracing::warn!(
                    mend,
                    "the server's notifications do not arrive; each session is revalidated every few seconds"
                );
            }
        }
    }
}

/// Sends a notification through the connections that write, and waits for it on the one that listens.
async fn check_delivery(
    connection: &mut ListenConnection,
    pool: &PostgresPool,
    invalidations: &dyn Invalidations,
) -> Result<(), ListenError> {
    let token = format!("round {}", crypto::encode(&crypto::random::<12>()));
    let is_sent = AtomicBool::new(false);
    let sending = async {
        pool.query("SELECT pg_notify('doorward_sessions', $1)", &[(&token, Type::TEXT)], Retry::Once).await?;
        is_sent.store(true, Ordering::Relaxed);
        std::future::pending::<Result<Infallible, PostgresError>>().await
    };
    let receiving = async {
        loop {
            let notification = connection.next_notification().await?;
            if notification.payload() == token {
                return Ok::<_, PostgresError>(());
            }
            dispatch(notification.payload(), invalidations);
        }
    };
    let check = async {
        tokio::select! { received = receiving => received, Err(unsent) = sending => Err(unsent) }
    };
    match timeout(DELIVERY_CHECK_TIMEOUT, check).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) if is_sent.load(Ordering::Relaxed) => Err(ListenError::NotDelivered),
        Err(_) => Err(PostgresError::Timeout("sending a notification", DELIVERY_CHECK_TIMEOUT).into()),
    }
}

async fn in_time<T>(what: &'static str, answer: impl Future<Output = Result<T, Error>>) -> Result<T, PostgresError> {
    let late = |_| PostgresError::Timeout(what, HEARTBEAT);
    Ok(timeout(HEARTBEAT, answer).await.map_err(late)??)
}

/// Passes on the payload of a notification, where it names a session.
pub(super) fn dispatch(payload: &str, invalidations: &dyn Invalidations) {
    let Some((word, key)) = payload.split_once(' ') else { return };
    // Another listener's delivery check.
    if word == "round" {
        return;
    }
    // `ended`, `changed`, or a word of a newer version. Anyone who may connect can send one, so the word decides
    // nothing.
    if let Some(key) = SessionId::from_hex(key) {
        invalidations.notified(key);
    }
}
