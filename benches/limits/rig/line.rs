//! Non-blocking connections of the generator, in clear text or over TLS.

use std::{
    io::{self, Read, Write},
    net::{self, SocketAddr},
    sync::Arc,
};

use mio::{Interest, Registry, Token, net::TcpStream};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;

/// Protocol of a connection.
#[derive(Clone, Debug)]
pub(crate) enum Wire {
    /// HTTP/1.1 in clear text.
    Plain,
    /// HTTP/1.1 inside TLS.
    Tls(Arc<ClientConfig>),
}

/// A non-blocking connection.
pub(crate) enum Line {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Line {
    /// Opens a connection.
    pub(crate) fn open(wire: &Wire, address: SocketAddr) -> Self {
        let stream = net::TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a socket has the option");
        match wire {
            Wire::Plain => Self::Plain(waitless(stream)),
            Wire::Tls(config) => {
                let (connection, stream) = shake_hands(config, stream);
                Self::Tls(Box::new(StreamOwned::new(connection, waitless(stream))))
            }
        }
    }

    /// Registers the connection for readability.
    pub(crate) fn watch(&mut self, registry: &Registry, token: Token) {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &mut stream.sock,
        };
        registry.register(stream, token, Interest::READABLE).expect("epoll takes a socket");
    }
}

impl Read for Line {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(room),
            Self::Tls(stream) => stream.read(room),
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// Performs a complete handshake on a blocking connection.
pub(crate) fn shake_hands(
    config: &Arc<ClientConfig>,
    mut stream: net::TcpStream,
) -> (ClientConnection, net::TcpStream) {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut connection = ClientConnection::new(Arc::clone(config), name).expect("a client can be made");
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).expect("the server's certificate is believed");
    }
    (connection, stream)
}

fn waitless(stream: net::TcpStream) -> TcpStream {
    stream.set_nonblocking(true).expect("a socket has the option");
    TcpStream::from_std(stream)
}
