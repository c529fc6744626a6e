//! Moves of a running estate from an outpost to the gate and back, under the load of people who are signed in there: nobody is
//! refused on the way.
//!
//! The way is a row of steps, each of which ends when what it changes is in use and what it replaces is not.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use futures_util::future::join_all;

use crate::world::{
    EdgeKind, PageRouting, Signal, Transport, Visitor, World, WorldBuilder, eventually,
    keepalive_proxy::KeepaliveProxy,
    outpost::{Outpost, OutpostUser},
};

/// Requests at a time.
const AT_A_TIME: usize = 8;
/// Further requests after which what has not been asked in between is no longer in use.
const ENOUGH: u64 = 50;

const EDGE: EdgeKind = EdgeKind::Traefik { entry: Transport::Tls, gate: Transport::Plain, pages: PageRouting::Guarded };
/// Where the middleware asks, below the address.
const OUTPOST_PATH: &str = "/outpost.goauthentik.io/auth/traefik";
const GATE_PATH: &str = "/_doorward/auth/traefik";
const ADMITTED: &str = r#"doorward_auth_requests_total{app="app",edge="traefik",verdict="allow"}"#;

/// Somebody's open tabs, which never stop asking.
struct Load {
    visitor: Visitor,
    url: String,
    passed: AtomicU64,
    is_over: AtomicBool,
}

impl Load {
    /// Sends requests until [`Load::end`]; fails at the first one that does not reach the app as this person's.
    async fn run(&self) {
        join_all((0..AT_A_TIME).map(|_| self.run_one())).await;
    }

    async fn run_one(&self) {
        while !self.is_over.load(Ordering::SeqCst) {
            let echo = self.visitor.fetch(&self.url).await.echo();
            assert_eq!(echo.values_as("x-authentik-username"), ["ann"], "{echo:?}");
            assert_eq!(echo.values_as("x-authentik-groups"), ["staff|admins"], "{echo:?}");
            self.passed.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Waits for further requests to pass.
    async fn goes_on(&self) {
        let enough = self.passed.load(Ordering::SeqCst) + ENOUGH;
        eventually("the load goes on", async || (self.passed.load(Ordering::SeqCst) >= enough).then_some(())).await;
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }
}

/// Traefik, nginx with its persistent connections, an outpost, and a gate that nobody asks yet.
struct Estate {
    world: World,
    outpost: Outpost,
    proxy: KeepaliveProxy,
}

impl Estate {
    async fn start() -> Self {
        let outpost = Outpost::start().await;
        let proxy = KeepaliveProxy::start(&outpost).await;
        let changes = [("gate.yml", GATE_PATH, OUTPOST_PATH)];
        let world = WorldBuilder::with(EDGE).edge(&changes).asking(proxy.port).without_provider().await;
        Self { world, outpost, proxy }
    }

    /// Has the gate ask the outpost about the app.
    async fn delegate(&self) {
        let lines = format!("headers = [\"authentik\"]\ndelegate = \"{}\"\n", self.outpost.url("traefik"));
        let config = self.world.config().replacen("headers = [\"remote\", \"authentik\"]\n", &lines, 1);
        self.world.gate.configure(&config);
        eventually("the configuration is in force", async || {
            self.world.gate.log().contains("configuration reloaded").then_some(())
        })
        .await;
    }

    /// Changes the address in the middleware, as the operator does: the one line of the move.
    fn point_middleware(&self, from: &str, to: &str) {
        let file = self.world.dir().join("edge/dynamic/gate.yml");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        // Whole at once: Traefik may read it at any time.
        let new = self.world.dir().join("gate.yml");
        fs::write(&new, text.replace(from, to)).unwrap();
        fs::rename(new, file).unwrap();
    }

    fn address_of_proxy(&self) -> String {
        format!("http://127.0.0.1:{}{OUTPOST_PATH}", self.proxy.port)
    }

    fn address_of_gate(&self) -> String {
        format!("http://127.0.0.1:{}{GATE_PATH}", self.world.gate.port)
    }

    async fn admitted_by_gate(&self) -> u64 {
        self.world.gate.metric(ADMITTED).await.unwrap()
    }

    /// Moves from nginx to the gate under load, until nothing asks nginx any more, and stops it.
    async fn move_to_gate(&mut self, load: &Load) {
        self.point_middleware(&self.address_of_proxy(), &self.address_of_gate());
        eventually("the gate alone is asked", async || {
            let (by_proxy, by_gate) = (self.proxy.requests(), self.admitted_by_gate().await);
            load.goes_on().await;
            let has_moved = self.admitted_by_gate().await > by_gate && self.proxy.requests() == by_proxy;
            has_moved.then_some(())
        })
        .await;
        self.proxy.stop();
        load.goes_on().await;
    }

    /// Moves back to nginx under load, until nothing asks the gate any more, and stops it.
    async fn move_back(&mut self, load: &Load) {
        self.proxy.start_again().await;
        self.point_middleware(&self.address_of_gate(), &self.address_of_proxy());
        eventually("nginx alone is asked", async || {
            let (by_proxy, by_gate) = (self.proxy.requests(), self.admitted_by_gate().await);
            load.goes_on().await;
            let has_moved = self.proxy.requests() > by_proxy && self.admitted_by_gate().await == by_gate;
            has_moved.then_some(())
        })
        .await;
        self.world.gate.signal(Signal::Term);
        assert!(self.world.gate.exited().await.success());
        load.goes_on().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_estate_moves_from_nginx_and_an_outpost_to_the_gate_and_back_and_nobody_is_refused() {
    let mut estate = Estate::start().await;
    let ann = estate.outpost.sign_in(OutpostUser { name: "ann", groups: "staff|admins" });
    let visitor = estate.world.visitor().with("x-authentik-username", "root");
    let url = estate.world.at("app", "/x?y=1");
    visitor.keep(&url, &format!("{}; Path=/", ann.trim_start_matches("Cookie: ").trim_end()));
    let load = Load { visitor, url, passed: AtomicU64::new(0), is_over: AtomicBool::new(false) };

    let steps = async {
        load.goes_on().await;
        assert_eq!(estate.admitted_by_gate().await, 0, "nobody asks the gate yet");
        estate.delegate().await;
        estate.move_to_gate(&load).await;
        estate.move_back(&load).await;
        load.end();
    };
    tokio::join!(load.run(), steps);
}
