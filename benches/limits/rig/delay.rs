//! A TCP proxy that adds latency in both directions, for protocols of requests and responses such as a store's.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

/// Returns a port that forwards to `port` with a delay of `each_way`, as long as this process runs. It uses threads, because a
/// runtime's timers have a resolution of a millisecond.
pub(crate) fn before(port: u16, each_way: Duration) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    let own = listener.local_addr().expect("a bound socket has an address").port();
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let far = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server listens");
            for stream in [&near, &far] {
                stream.set_nodelay(true).expect("a socket has the option");
            }
            let twin = |stream: &TcpStream| stream.try_clone().expect("a socket can be shared");
            let (back, forth) = ((twin(&far), twin(&near)), (near, far));
            for (from, to) in [back, forth] {
                thread::spawn(move || carry(from, to, each_way));
            }
        }
    });
    own
}

fn carry(mut from: TcpStream, mut to: TcpStream, each_way: Duration) {
    let mut bytes = vec![0; 16_384];
    while let Ok(many @ 1..) = from.read(&mut bytes) {
        thread::sleep(each_way);
        if to.write_all(bytes.get(..many).unwrap_or_default()).is_err() {
            return;
        }
    }
    let _gone = to.shutdown(std::net::Shutdown::Both);
}
