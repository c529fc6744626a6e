//! A relay between an edge and the gate that counts what the edge sends.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::{
    io::{self, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
};

use super::{app::spawn, ports};

/// A relay of bytes. It lives as long as the test's runtime.
pub(crate) struct Relay {
    /// Port.
    pub(crate) port: u16,
    sent: Arc<AtomicU64>,
}

impl Relay {
    /// Starts a relay to this port.
    pub(crate) async fn to(gate: u16) -> Self {
        let port = ports::free();
        let listener = TcpListener::bind(ports::loopback(port)).await.unwrap();
        let sent = Arc::<AtomicU64>::default();
        let counter = Arc::clone(&sent);
        spawn(async move {
            while let Ok((edge, _)) = listener.accept().await {
                let Ok(gate) = TcpStream::connect(ports::loopback(gate)).await else { continue };
                let ((from_edge, mut to_edge), (mut from_gate, to_gate)) = (edge.into_split(), gate.into_split());
                spawn(count(from_edge, to_gate, Arc::clone(&counter)));
                spawn(async move { drop(io::copy(&mut from_gate, &mut to_edge).await) });
            }
        });
        Self { port, sent }
    }

    /// Returns the number of bytes that the edge has sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

async fn count(mut edge: OwnedReadHalf, mut gate: OwnedWriteHalf, sent: Arc<AtomicU64>) {
    let mut chunk = [0; 16 << 10];
    while let Ok(length @ 1..) = edge.read(&mut chunk).await {
        sent.fetch_add(length as u64, Ordering::Relaxed);
        if gate.write_all(&chunk[..length]).await.is_err() {
            break;
        }
    }
}
