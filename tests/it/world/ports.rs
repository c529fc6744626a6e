//! Loopback ports that nobody else has: handed out once, from below the range that the system gives to clients.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

const FIRST: u16 = 12_000;
const MANY: u16 = 20_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that is free now and is handed out to nobody else in this process.
pub(crate) fn free() -> u16 {
    // Runs that happen beside each other begin at different places.
    let offset = u16::try_from(std::process::id() * 61 % u32::from(MANY)).unwrap();
    (0..MANY)
        .map(|_| FIRST + (offset + NEXT.fetch_add(1, Ordering::Relaxed) % MANY) % MANY)
        .find(|port| TcpListener::bind(loopback(*port)).is_ok())
        .expect("one of twenty thousand ports is free")
}

/// The loopback address with this port.
pub(crate) fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
