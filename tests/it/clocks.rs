//! Clock skew between provider and gate: pages, log lines, and sessions that go on.

use http::StatusCode;
use serde_json::json;

use crate::{
    postgres::{EDGE, ask},
    world::{World, WorldBuilder, eventually},
};

/// Returns the logged offset of the gate's clock in seconds, and its direction.
fn logged_offset(log: &str) -> Option<(u64, &str)> {
    let (_, said) = log.rsplit_once("this machine's clock is about ")?;
    let (seconds, rest) = said.split_once(" s ")?;
    Some((seconds.parse().ok()?, rest.split_once(" the provider's")?.0))
}

#[tokio::test]
async fn whoever_cannot_sign_in_because_of_a_clock_reads_so_and_the_log_says_by_how_much() {
    let world = World::new().await;
    for (ahead, apart, place) in [(600, 600, "behind"), (-7200, 7200, "ahead of")] {
        world.provider.control(&format!("clock?seconds={ahead}")).await;
        let page = world.person("alice").visit(&world.at("app", "/wanted")).await;
        assert_eq!((page.status, page.reason()), (StatusCode::FORBIDDEN, "sign_in_failed"), "{page:?}");
        let text = page.text();
        assert!(text.contains("clocks") && text.contains("/_doorward/start?rd="), "what it is, and a way on: {text}");
        assert!(text.contains(page.header("doorward-request-id")), "{text}");
        let log = world.gate.log();
        let (seconds, which) = logged_offset(&log).unwrap_or_else(|| panic!("{log}"));
        assert!(seconds.abs_diff(apart) <= 5 && which == place, "{seconds} s {which}: {log}");
    }
    assert_eq!(world.app.requests(), 0);
    eventually("the metric and the log show it without a sign-in", async || {
        let metrics = world.gate.metrics().await;
        let offset = metrics.lines().find_map(|line| {
            line.strip_prefix("doorward_provider_clock_offset_seconds{provider=\"neighbour\"} ")?.parse::<i64>().ok()
        });
        let is_told = world.gate.log().contains("the provider's: sign-ins may fail");
        (offset?.abs_diff(-7200) <= 5 && is_told).then_some(())
    })
    .await;
    // Within the tolerance of a minute, or with both clocks off alike, nothing is noticed.
    for ahead in [40, -40, 0] {
        world.provider.control(&format!("clock?seconds={ahead}")).await;
        world.signed_in("alice").await;
    }
    eventually("the log says that it is over", async || {
        world.gate.log().contains("the provider's clock and this machine's agree again").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_clock_that_goes_wrong_ends_no_session() {
    let world = WorldBuilder::with(EDGE)
        .session("renew_before = \"2s\"")
        .provider(json!({ "access_token_ttl": 4 }))
        .start()
        .await;
    let alice = world.signed_in("alice").await;
    world.provider.control("groups?user=alice&groups=staff").await;
    for ahead in [600, -7200] {
        world.provider.control(&format!("clock?seconds={ahead}")).await;
        let before = world.provider.refreshes().await;
        eventually("it is renewed twice all the same", async || {
            let answer = ask(&world, &world.gate, &alice).await;
            assert_eq!(answer.status, StatusCode::OK, "{ahead}: {answer:?}");
            assert_eq!(answer.header("remote-groups"), "admins,staff", "an invalid token changes nothing");
            (world.provider.refreshes().await >= before + 2).then_some(())
        })
        .await;
        let log = world.gate.log();
        assert!(logged_offset(&log).is_some() && log.contains("its groups and claims stay as they were"), "{log}");
    }
    world.provider.control("clock?seconds=0").await;
    eventually("the clock is set, and her groups are those of now", async || {
        let answer = ask(&world, &world.gate, &alice).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        (answer.header("remote-groups") == "staff").then_some(())
    })
    .await;
    assert_eq!(world.provider.control("grants").await["refused"], 0);
}
