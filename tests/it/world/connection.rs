//! A client's connection to the edge, written and read piece by piece.

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{TIMEOUT, Transport, World, ports, tls};

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection with HTTP/1.1.
pub(crate) struct ClientConnection {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
}

impl ClientConnection {
    /// Connects to the edge of this world. `first` is sent in clear text before everything else.
    pub(crate) async fn open(world: &World, first: &str) -> Self {
        let mut stream = TcpStream::connect(ports::loopback(world.edge.port())).await.unwrap();
        stream.write_all(first.as_bytes()).await.unwrap();
        let stream: Box<dyn Stream> = match world.plan.kind.entry() {
            Transport::Plain => Box::new(stream),
            Transport::Tls => {
                let name = "app.example.test".try_into().unwrap();
                Box::new(tls::client(world.dir()).connect(name, stream).await.unwrap())
            }
        };
        Self { stream, received: Vec::new() }
    }

    /// Sends these bytes.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Reads until `text` has come, and returns everything received since the last call.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        while !String::from_utf8_lossy(&self.received).contains(text) {
            let mut chunk = [0; 4096];
            let read = timeout(TIMEOUT, self.stream.read(&mut chunk)).await;
            let length = read.map_or(0, |read| read.unwrap_or(0));
            assert!(length > 0, "no {text:?}: {}", String::from_utf8_lossy(&self.received));
            self.received.extend_from_slice(&chunk[..length]);
        }
        String::from_utf8(std::mem::take(&mut self.received)).unwrap()
    }
}
