//! The task that drives one connection to PostgreSQL, and the notifications that it receives.
//!
//! Promises: the task ends with the connection; notifications that the server sent before an answer have arrived when
//! the answer does; none is missed without the connection being lost.

use std::future::poll_fn;

use deadpool_postgres::ClientWrapper;
use tokio::{
    sync::mpsc::{Receiver, Sender, channel, error::TrySendError},
    task::JoinHandle,
};
use tokio_postgres::{AsyncMessage, Client, Error, Notification, Socket, tls::MakeTlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::session::store::postgres::error::PostgresError;

/// The half of a connection that reads and writes its socket.
pub(super) type ConnectionDriver =
    tokio_postgres::Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// Received notifications, and at last the error that ended the connection.
type Notifications = Receiver<Result<Notification, Error>>;

/// Most notifications that wait to be taken. Beyond that the connection counts as lost, because a listener must miss
/// none.
const MAX_PENDING: usize = 65_536;

/// Longest payload with a meaning, in bytes. Others may send up to 8,000 bytes at a time.
const MAX_PAYLOAD: usize = 96;

/// Spawns the task that drives a connection. Drop the receiver if no notifications are wanted.
pub(super) fn spawn_driver(driver: ConnectionDriver) -> (JoinHandle<()>, Notifications) {
    let (sender, notifications) = channel(MAX_PENDING);
    #[expect(
        clippy::disallowed_methods,
        reason = "deadpool asks for the handle of a task of its own, which it aborts when it drops the connection"
    )]
    let task = tokio::spawn(drive(driver, sender));
    (task, notifications)
}

async fn drive(mut driver: ConnectionDriver, notifications: Sender<Result<Notification, Error>>) {
    while let Some(message) = poll_fn(|cx| driver.poll_message(cx)).await {
        let received = match message {
            Ok(AsyncMessage::Notification(notification)) if notification.payload().len() > MAX_PAYLOAD => continue,
            Ok(AsyncMessage::Notification(notification)) => Ok(notification),
            Ok(_) => continue,
            Err(error) => Err(error),
        };
        let is_over = received.is_err();
        if matches!(notifications.try_send(received), Err(TrySendError::Full(_))) || is_over {
            return;
        }
    }
}

/// A connection outside the pool that receives notifications. Closed when dropped.
pub(super) struct ListenConnection {
    /// For statements.
    pub(super) client: ClientWrapper,
    notifications: Notifications,
}

impl ListenConnection {
    /// Drives a new connection.
    pub(super) fn new((client, driver): (Client, ConnectionDriver)) -> Self {
        let (task, notifications) = spawn_driver(driver);
        Self { client: ClientWrapper::new(client, task), notifications }
    }

    /// Waits for the next notification. The error says why there are no more.
    pub(super) async fn next_notification(&mut self) -> Result<Notification, PostgresError> {
        Ok(self.notifications.recv().await.ok_or(PostgresError::Closed)??)
    }

    /// Returns a notification that has arrived already.
    pub(super) fn try_next_notification(&mut self) -> Result<Option<Notification>, PostgresError> {
        Ok(self.notifications.try_recv().ok().transpose()?)
    }
}
