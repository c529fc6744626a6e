//! ChangeFeed from PostgreSQL what other replicas and operators did to sessions.
//!
//! Promises: while it says that it hears, nothing that was done is missed for longer than a heartbeat and its limit; when
//! it cannot be sure, it says so. It must not know what is done about what it hears.

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
            Invalidations,
            postgres::{
                connect::Connector,
                connection::Line,
                fault::Fault,
                pool::{Again, Pool},
            },
        },
    },
};

/// How often the connection is tried, and how long it has to answer: together less than the time after which a session
/// that nobody vouched for is read again.
const HEARTBEAT: Duration = Duration::from_millis(1_500);
/// How often a notification is sent round, through the connections that write: that they reach the listening one is all
/// that counts.
const ROUND: Duration = Duration::from_secs(30);
/// How long it may take.
const ROUND_LIMIT: Duration = Duration::from_secs(3);
/// The first wait after a loss, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(3));
/// The wait where notifications do not come round, which a pooler's mode decides and time does not.
const DEAF: Duration = Duration::from_secs(30);

/// The one connection that listens.
pub(super) struct Listener {
    connector: Connector,
    /// Whether it has an address of its own.
    direct: bool,
    /// Whether the log says that it hears.
    told: AtomicBool,
}

/// Why it hears no more.
enum Silence {
    Lost(Fault),
    /// It listens, and nothing comes.
    Deaf,
}

impl From<Fault> for Silence {
    fn from(fault: Fault) -> Self {
        Self::Lost(fault)
    }
}

impl Listener {
    pub(super) fn new(connector: Connector, direct: bool) -> Self {
        Self { connector, direct, told: AtomicBool::new(false) }
    }

    /// Listens, for ever and again.
    pub(super) async fn run(&self, pool: &Pool, ears: &dyn Invalidations) -> Infallible {
        let (mut wait, mut warned) = (WAITS.0, false);
        loop {
            let Err(silence) = self.listen(pool, ears).await;
            ears.deaf();
            let heard = self.told.swap(false, Ordering::Relaxed);
            if heard {
                (wait, warned) = (WAITS.0, false);
            }
            let pause = match silence {
                Silence::Deaf => DEAF,
                Silence::Lost(_) => wait,
            };
            if !warned {
                warned = true;
                self.say(silence);
            }
            sleep(pause).await;
            wait = (wait * 2).min(WAITS.1);
        }
    }

    async fn listen(&self, pool: &Pool, ears: &dyn Invalidations) -> Result<Infallible, Silence> {
        let mut line = Line::new(self.connector.open().await?);
        in_time("listening", line.client.batch_execute("LISTEN doorward_sessions")).await?;
        go_round(&mut line, pool, ears).await?;
        ears.hearing();
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::info!("sessions that end elsewhere are heard of at once");
        }
        let mut next_round = Instant::now() + ROUND;
        loop {
            let until = Instant::now() + HEARTBEAT;
            while let Ok(heard) = timeout_at(until, line.hear()).await {
                deliver(heard?.payload(), ears);
            }
            let asked = ears.now();
            in_time("a heartbeat", line.client.query_typed("SELECT 1", &[])).await?;
            // What was sent before the server answered has come before its answer.
            while let Some(heard) = line.heard()? {
                deliver(heard.payload(), ears);
            }
            ears.heard_until(asked);
            if Instant::now() >= next_round {
                go_round(&mut line, pool, ears).await?;
                next_round = Instant::now() + ROUND;
            }
        }
    }

    fn say(&self, silence: Silence) {
        match silence {
            Silence::Lost(fault) => {
                let error = crate::session::store::postgres::Unavailable::from(fault);
                tracing::warn!(%error, "sessions that end elsewhere are not heard of; each is read again every few seconds");
            }
            Silence::Deaf => {
                let mend = if self.direct {
                    "store.listen_url must lead to the same database, past any pooler in transaction mode"
                } else {
                    "behind a pooler in transaction mode, set store.listen_url to the server itself"
                };
                tracing::warn!(
                    mend,
                    "the server's notifications do not arrive; each session is read again every few seconds"
                );
            }
        }
    }
}

/// Sends a notification through the connections that write, and waits for it here.
async fn go_round(line: &mut Line, pool: &Pool, ears: &dyn Invalidations) -> Result<(), Silence> {
    let token = format!("round {}", crypto::encode(&crypto::random::<12>()));
    let is_sent = AtomicBool::new(false);
    let sending = async {
        pool.query("SELECT pg_notify('doorward_sessions', $1)", &[(&token, Type::TEXT)], Again::Yes).await?;
        is_sent.store(true, Ordering::Relaxed);
        std::future::pending::<Result<Infallible, Fault>>().await
    };
    let hearing = async {
        loop {
            let heard = line.hear().await?;
            if heard.payload() == token {
                return Ok::<_, Fault>(());
            }
            deliver(heard.payload(), ears);
        }
    };
    let round = async {
        tokio::select! { heard = hearing => heard, Err(unsent) = sending => Err(unsent) }
    };
    match timeout(ROUND_LIMIT, round).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) if is_sent.load(Ordering::Relaxed) => Err(Silence::Deaf),
        Err(_) => Err(Fault::Late("sending a notification", ROUND_LIMIT).into()),
    }
}

async fn in_time<T>(what: &'static str, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Fault> {
    let late = |_| Fault::Late(what, HEARTBEAT);
    Ok(timeout(HEARTBEAT, answer).await.map_err(late)??)
}

pub(super) fn deliver(payload: &str, ears: &dyn Invalidations) {
    let Some((word, key)) = payload.split_once(' ') else { return };
    // Another's round.
    if word == "round" {
        return;
    }
    // Ended, changed, or what a newer version may say. Whoever may connect can send that: whatever it is, the store knows.
    if let Some(key) = SessionId::from_hex(key) {
        ears.hint(key);
    }
}
