//! A wire that takes its time: what goes in comes out later, on either way. For questions that wait for their answers, which
//! is what a store's are.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

/// A port before `port`, `each_way` from it. Lasts as long as this process. Threads, because a runtime's timers know whole
/// milliseconds only.
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
