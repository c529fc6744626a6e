//! One connection to PostgreSQL.
//!
//! Nothing runs behind it: whoever waits for an answer moves its bytes. So a statement whose caller goes away ends with
//! the connection, and one that is stuck never comes back to the pool. It must not know why it is used.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio_postgres::{
    AsyncMessage, Client, Config, Error, Notification, Row, Socket,
    tls::MakeTlsConnect,
    types::{ToSql, Type},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::fault::Fault;

type Wire = tokio_postgres::Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// A statement's parameter and its type: named here, so that the server is not asked about it first and no prepared
/// statement stays behind with it.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// How long saying goodbye may take.
const FAREWELL: Duration = Duration::from_millis(200);

/// How many notifications wait for somebody to take them. Beyond that the connection counts as lost, because whoever
/// listens must miss none.
const INBOX: usize = 65_536;

/// A connection that nobody else uses.
pub(super) struct Connection {
    client: Client,
    wire: Wire,
    inbox: VecDeque<Notification>,
}

impl Connection {
    /// Connects to the host that `config` names.
    pub(super) async fn open(config: &Config, tls: MakeRustlsConnect) -> Result<Self, Fault> {
        let (client, wire) = config.connect(tls).await.map_err(Fault::Database)?;
        Ok(Self { client, wire, inbox: VecDeque::new() })
    }

    /// Runs one statement, in one round trip.
    pub(super) async fn query(&mut self, statement: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Fault> {
        let Self { client, wire, inbox } = self;
        drive(wire, inbox, client.query_typed(statement, parameters)).await
    }

    /// Runs statements without parameters, one after the other.
    pub(super) async fn batch(&mut self, statements: &str) -> Result<(), Fault> {
        let Self { client, wire, inbox } = self;
        drive(wire, inbox, client.batch_execute(statements)).await
    }

    /// Whether the server has not closed it, as far as can be known without asking. Drops notifications: behind a pooler
    /// those of others may arrive.
    pub(super) async fn is_open(&mut self) -> bool {
        let Self { client, wire, inbox } = self;
        inbox.clear();
        let ended = poll_fn(|cx| Poll::Ready(advance(wire, inbox, cx).is_ready())).await;
        !ended && !client.is_closed()
    }

    /// The next notification; the error says why there are no more.
    pub(super) async fn hear(&mut self) -> Result<Notification, Fault> {
        let Self { wire, inbox, .. } = self;
        poll_fn(|cx| {
            let ended = advance(wire, inbox, cx);
            match (inbox.pop_front(), ended) {
                (Some(notification), _) => Poll::Ready(Ok(notification)),
                (None, Poll::Ready(why)) => Poll::Ready(Err(why)),
                (None, Poll::Pending) => Poll::Pending,
            }
        })
        .await
    }

    /// Ends it politely, so that the server need not wonder.
    pub(super) async fn close(self) {
        let Self { client, mut wire, mut inbox } = self;
        drop(client);
        let ended = poll_fn(|cx| advance(&mut wire, &mut inbox, cx).map(drop));
        let _late = tokio::time::timeout(FAREWELL, ended).await;
    }
}

/// Waits for `work`, moving the connection's bytes meanwhile.
async fn drive<T>(
    wire: &mut Wire,
    inbox: &mut VecDeque<Notification>,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Fault> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(done.map_err(Fault::Database));
        }
        match advance(wire, inbox, cx) {
            Poll::Ready(lost) => Poll::Ready(Err(lost)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Moves bytes until there are none; ready when the connection has ended.
fn advance(wire: &mut Wire, inbox: &mut VecDeque<Notification>, cx: &mut Context<'_>) -> Poll<Fault> {
    loop {
        match wire.poll_message(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Ok(AsyncMessage::Notification(_)))) if inbox.len() >= INBOX => {
                return Poll::Ready(Fault::Closed);
            }
            Poll::Ready(Some(Ok(AsyncMessage::Notification(notification)))) => inbox.push_back(notification),
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Fault::Database(error)),
            Poll::Ready(None) => return Poll::Ready(Fault::Closed),
        }
    }
}
