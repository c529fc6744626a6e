//! Free loopback ports, each handed out once, from below the system's range for clients.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

const FIRST: u16 = 12_000;
const MANY: u16 = 20_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// Returns a port that is free now and handed out once in this process.
pub(crate) fn free() -> u16 {
    // Concurrent runs begin at different ports.
    let offset = u16::try_from(std::process::id() * 61 % u32::from(MANY)).unwrap();
    (0..MANY)
        .map(|_| FIRST + (offset + NEXT.fetch_add(1, Ordering::Relaxed) % MANY) % MANY)
        .find(|port| TcpListener::bind(loopback(*port)).is_ok())
        .expect("one of twenty thousand ports is free")
}

/// Returns the loopback address with this port.
pub(crate) fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
