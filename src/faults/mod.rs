//! A fault at every wait on the way to a verdict, and requests that are given up at every poll: nobody is let in who may not
//! pass, nobody loses a session or a cookie to an outage, and what was ended stays ended.
//!
//! The gate waits at two borders: the store, and the provider or an old outpost. For each [`Way`] the calls across both are counted in a run without
//! faults; then each call fails in every manner, and the request is dropped at each poll. Pairs of faults are drawn.
//!
//! Not seen here: faults inside a store (its tests have them, with real databases), in the listener and its connections, of
//! the process itself, and of several replicas at once; races that need two threads; a provider that lies with a valid
//! signature.

mod adopting;
mod cancel;
pub(crate) mod plan;
mod programs;
mod promises;
mod ways;
mod wire;
mod world;

use std::time::Duration;

use futures_util::{StreamExt as _, future::join, stream};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};

use self::{
    cancel::DropAfter,
    plan::{StoreFault, WireFault},
    ways::{Promise, Way},
    world::Seen,
};

/// Runs at a time: those that stall wait for their deadline together.
const AT_ONCE: usize = 10;

/// The longest that any of the requests may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// Pairs of faults that are drawn.
const PAIRS: usize = 150;

/// Faults by the number of the call.
#[derive(Clone, Debug, Default)]
struct Faults {
    store: Vec<(usize, StoreFault)>,
    wire: Vec<(usize, WireFault)>,
}

/// Extent of a way: calls of the store, requests to the provider, and polls.
#[derive(Clone, Copy, Debug)]
struct Extent {
    store: usize,
    wire: usize,
    polls: usize,
}

/// Walks a way with these faults and checks it, and what comes after it.
async fn walk(way: Way, faults: Faults) {
    let what = format!("{faults:?}");
    let scene = way.scene().await;
    scene.world.store.begin(faults.store);
    scene.world.wire.begin(faults.wire);
    let seen = in_time(way, &what, scene.replica.ask(&scene.question)).await;
    way.check(&seen, &what);
    scene.world.store.end();
    scene.world.wire.end();
    in_time(way, &what, scene.check_afterwards(way, Some(&seen), &what)).await;
}

/// Walks a way without faults, and returns its extent.
async fn measure(way: Way) -> Extent {
    let scene = way.scene().await;
    scene.world.store.begin(Vec::new());
    scene.world.wire.begin(Vec::new());
    let (seen, polls) = DropAfter::new(usize::MAX, scene.replica.ask(&scene.question)).await;
    let (store, wire) = (scene.world.store.end(), scene.world.wire.end());
    let seen = seen.expect("it is never dropped");
    let (status, reason, asked) = way.undisturbed();
    assert_eq!((seen.status.as_u16(), seen.reason()), (status, reason), "{way:?}: {seen:?}");
    assert_eq!([store > 0, wire > 0], asked, "{way:?}: {store} calls of the store, {wire} of the provider");
    way.check(&seen, "nothing");
    scene.check_afterwards(way, Some(&seen), "nothing").await;
    Extent { store, wire, polls }
}

/// Gives a request up after so many polls, beside another one that waits for the same thing.
async fn give_up(way: Way, polls: usize) {
    let what = format!("given up after {polls} polls");
    let scene = way.scene().await;
    let is_shared = matches!(way.promise(), Promise::Serves(_) | Promise::Refuses);
    let other = async { if is_shared { Some(scene.replica.ask(&scene.question).await) } else { None } };
    let given_up = DropAfter::new(polls, scene.replica.ask(&scene.question));
    let ((seen, _), other) = in_time(way, &what, join(given_up, other)).await;
    let seen: Option<Seen> = seen;
    for seen in seen.iter().chain(&other) {
        way.check(seen, &what);
    }
    // Dropped before it began, a request has done nothing.
    if polls > 0 || !matches!(way.promise(), Promise::Ends) {
        in_time(way, &what, scene.check_afterwards(way, seen.as_ref(), &what)).await;
    }
}

async fn in_time<T>(way: Way, what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{way:?}, {what}: no end"))
}

async fn extents() -> Vec<(Way, Extent)> {
    let measured = stream::iter(Way::ALL).map(async |way| (way, measure(way).await));
    measured.buffered(AT_ONCE).collect().await
}

#[tokio::test]
async fn a_fault_at_any_wait_lets_nobody_in_and_ends_nothing_that_goes_on() {
    let mut runs = Vec::new();
    for (way, extent) in extents().await {
        for at in 0..extent.store {
            let faults = StoreFault::ALL.map(|fault| Faults { store: vec![(at, fault)], wire: Vec::new() });
            runs.extend(faults.map(|faults| (way, faults)));
        }
        for at in 0..extent.wire {
            let faults = WireFault::ALL.map(|fault| Faults { store: Vec::new(), wire: vec![(at, fault)] });
            runs.extend(faults.map(|faults| (way, faults)));
        }
    }
    println!("{} runs", runs.len());
    assert!(runs.len() > 200, "{} runs", runs.len());
    stream::iter(runs).for_each_concurrent(AT_ONCE, async |(way, faults)| walk(way, faults).await).await;
}

#[tokio::test]
async fn a_request_that_is_given_up_at_any_poll_lets_nobody_in_and_leaves_nobody_waiting() {
    let mut runs = Vec::new();
    for (way, extent) in extents().await {
        runs.extend((0..=extent.polls).map(|polls| (way, polls)));
    }
    println!("{} runs", runs.len());
    assert!(runs.len() > 100, "{} runs", runs.len());
    stream::iter(runs).for_each_concurrent(AT_ONCE, async |(way, polls)| give_up(way, polls).await).await;
}

#[tokio::test]
async fn two_faults_on_one_way_let_nobody_in() {
    let mut runner = TestRunner::default();
    let place = (0_usize..6, 0..StoreFault::ALL.len(), 0..WireFault::ALL.len(), proptest::bool::ANY);
    let drawn = (0..Way::ALL.len(), proptest::collection::vec(place, 2));
    let runs: Vec<_> = (0..PAIRS)
        .map(|_| {
            let (way, places) = drawn.new_tree(&mut runner).unwrap().current();
            let mut faults = Faults::default();
            for (at, store, wire, is_store) in places {
                if is_store {
                    faults.store.push((at, StoreFault::ALL[store]));
                } else {
                    faults.wire.push((at, WireFault::ALL[wire]));
                }
            }
            (Way::ALL[way], faults)
        })
        .collect();
    stream::iter(runs).for_each_concurrent(AT_ONCE, async |(way, faults)| walk(way, faults).await).await;
}

/// Spawns a server of a test, which ends with its runtime.
#[expect(clippy::disallowed_methods, reason = "a test has no `Tasks`; its runtime ends what it spawned")]
fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(work);
}
