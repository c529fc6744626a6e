//! The task behind one connection to PostgreSQL, and what it hears.
//!
//! Promises: the task ends with the connection; what the server sent before an answer has been heard when the answer
//! comes; nothing is missed without the connection being lost. It must not know why the connection is used.

use std::future::poll_fn;

use deadpool_postgres::ClientWrapper;
use tokio::{
    sync::mpsc::{Receiver, Sender, channel, error::TrySendError},
    task::JoinHandle,
};
use tokio_postgres::{AsyncMessage, Client, Error, Notification, Socket, tls::MakeTlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::session::store::postgres::fault::Fault;

/// The half of a connection that moves its bytes.
pub(super) type Wire = tokio_postgres::Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// What the server said unasked, and last why it says no more.
type Inbox = Receiver<Result<Notification, Error>>;

/// How many notifications wait for somebody to take them. Beyond that the connection counts as lost, because whoever
/// listens must miss none.
const INBOX: usize = 65_536;

/// The longest payload that means anything to us, in bytes. Longer ones are nobody's but a stranger's, who may send 8,000 bytes
/// at a time.
const LONGEST: usize = 96;

/// Moves a connection's bytes from now on. Whoever wants no notifications drops the inbox.
pub(super) fn follow(wire: Wire) -> (JoinHandle<()>, Inbox) {
    let (sender, inbox) = channel(INBOX);
    #[expect(
        clippy::disallowed_methods,
        reason = "deadpool asks for the handle of a task of its own, which it aborts when it drops the connection"
    )]
    let task = tokio::spawn(carry(wire, sender));
    (task, inbox)
}

async fn carry(mut wire: Wire, inbox: Sender<Result<Notification, Error>>) {
    while let Some(message) = poll_fn(|cx| wire.poll_message(cx)).await {
        let heard = match message {
            Ok(AsyncMessage::Notification(notification)) if notification.payload().len() > LONGEST => continue,
            Ok(AsyncMessage::Notification(notification)) => Ok(notification),
            Ok(_) => continue,
            Err(error) => Err(error),
        };
        let is_over = heard.is_err();
        if matches!(inbox.try_send(heard), Err(TrySendError::Full(_))) || is_over {
            return;
        }
    }
}

/// A connection outside the pool, whose notifications are heard. It is closed when it is dropped.
pub(super) struct Line {
    /// For statements.
    pub(super) client: ClientWrapper,
    inbox: Inbox,
}

impl Line {
    /// Puts the halves of a new connection to work.
    pub(super) fn new((client, wire): (Client, Wire)) -> Self {
        let (task, inbox) = follow(wire);
        Self { client: ClientWrapper::new(client, task), inbox }
    }

    /// The next notification; the error says why there are no more.
    pub(super) async fn hear(&mut self) -> Result<Notification, Fault> {
        Ok(self.inbox.recv().await.ok_or(Fault::Closed)??)
    }

    /// A notification that has come already.
    pub(super) fn heard(&mut self) -> Result<Option<Notification>, Fault> {
        Ok(self.inbox.try_recv().ok().transpose()?)
    }
}
