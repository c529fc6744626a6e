//! A full disk: the size of the gate's files is limited, which has the same effect on writes.

use http::StatusCode;

use crate::{
    postgres::{EDGE, ask},
    world::{WorldBuilder, eventually},
};

#[tokio::test]
async fn while_the_disk_is_full_known_sessions_go_on_and_nobody_is_told_that_all_is_well() {
    let world = WorldBuilder::with(EDGE).start().await;
    let alice = world.signed_in("alice").await;
    let url = world.at("app", "/");
    let is_up = async |up: u8| {
        world.gate.metrics().await.contains(&format!("doorward_store_up{{backend=\"sqlite\"}} {up}\n")).then_some(())
    };
    // Noticed without traffic.
    let journal = std::fs::metadata(world.dir().join("sessions.db-wal")).unwrap().len();
    world.gate.limit_files(Some(journal));
    eventually("the metric shows it", async || is_up(0).await).await;
    let logged = world.gate.log().matches("the session store is unavailable").count();
    assert!(logged > 0, "the outage is in the log");
    for round in 0..5 {
        let bob = world.person("bob");
        let page = bob.visit(&url).await;
        assert_eq!((page.status, page.reason()), (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable"), "{page:?}");
        assert_eq!(ask(&world, &world.gate, &alice).await.header("remote-user"), "alice");
        // A real gate: longer than its interval of probing the store, so that a false recovery would show.
        tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
        assert!(is_up(0).await.is_some(), "round {round}: a false recovery");
    }
    assert_eq!(world.gate.log().matches("the session store is unavailable").count(), logged, "once is enough");
    world.gate.limit_files(None);
    eventually("it is back", async || is_up(1).await).await;
    assert_eq!(world.signed_in("bob").await.fetch(&url).await.status, StatusCode::OK);
    assert_eq!(ask(&world, &world.gate, &alice).await.header("remote-user"), "alice");
}
