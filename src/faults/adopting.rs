//! The ways of an old outpost's cookies to a verdict: asked about, adopted, and not adopted again.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{
    spawn,
    ways::{Promise, Scene},
    world::{Question, World},
};

/// Cookies that are a session at the old outpost.
const KNOWN: &str = "authentik_proxy_a=ann";

/// Way of an old outpost's cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AdoptWay {
    /// Cookies that nobody has asked about yet.
    Unseen,
    /// Cookies of which a session was made, which is not in memory.
    Adopted,
    /// Cookies of which a session was made that has ended since.
    Ended,
    /// Cookies that the old outpost does not know.
    Unknown,
}

impl AdoptWay {
    pub(super) fn promise(self) -> Promise {
        match self {
            // An answer that says nobody's name stands for some seconds.
            Self::Unseen => Promise::Serves(&["store_unavailable", "provider_unavailable", "no_session"]),
            Self::Adopted => Promise::Serves(&["store_unavailable"]),
            Self::Ended | Self::Unknown => Promise::Refuses,
        }
    }

    /// Returns the status and the reason while nothing fails, and whether store and outpost are asked.
    pub(super) fn undisturbed(self) -> (u16, &'static str, [bool; 2]) {
        match self {
            Self::Unseen => (200, "", [true, true]),
            Self::Adopted => (200, "", [true, false]),
            Self::Ended => (401, "session_ended", [true, false]),
            Self::Unknown => (401, "no_session", [true, true]),
        }
    }

    /// Puts up the situation.
    pub(super) async fn scene(self) -> Scene {
        let world = World::new(false).await;
        let cookies = if self == Self::Unknown { "authentik_proxy_a=nobody" } else { KNOWN };
        let question = Question::fetch("app.test", "/", cookies);
        if matches!(self, Self::Adopted | Self::Ended) {
            let seen = world.replica().ask(&question).await;
            assert!(seen.lets_in(), "{seen:?}");
        }
        if self == Self::Ended {
            world.rows.clear().await;
        }
        let replica = world.replica();
        Scene { world, replica, question, session: String::new() }
    }
}

/// Time after which nothing that an outpost said in a fault stands any more.
pub(super) const FORGOTTEN_AFTER: Duration = Duration::from_mins(2);

/// Starts an outpost that knows one person's cookies, and returns its address.
pub(super) async fn start_outpost() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            spawn(async move {
                let mut head = Vec::new();
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read_buf(&mut head).await {
                        Ok(0) | Err(_) => return,
                        Ok(_) => {}
                    }
                }
                let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
                let is_known = head.split("\r\n").any(|line| line == format!("cookie: {KNOWN}"));
                let answer = if is_known {
                    "HTTP/1.1 200 OK\r\nX-authentik-username: ann\r\nX-authentik-uid: subject-1\r\n\
                     X-authentik-groups: admins\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                } else {
                    "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                };
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    address
}
