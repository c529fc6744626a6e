//! Untrusted peers change with the configuration, and their slots with them.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use super::{ConnectionLimits, ConnectionSlot, ConnectionSlots};
use crate::metrics::{self, Gauge, Metrics};

fn gauge() -> Gauge {
    let metrics = Metrics::new(&metrics::Settings { backend: "memory", version: "0", commit: "none" });
    metrics.connections.open(metrics::ListenerLabel::Edges)
}

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

async fn take(slots: &Arc<ConnectionSlots>, address: IpAddr, trusted: bool) -> ConnectionSlot {
    let permit = slots.acquire_or_evict().await.expect("there is room");
    slots.assign(permit, address, |_| trusted, gauge())
}

fn is_evicted(slot: &ConnectionSlot) -> bool {
    slot.peer().take_signals(std::task::Waker::noop()).has_abort()
}

#[tokio::test]
async fn a_peer_that_is_trusted_no_more_is_untrusted_from_then_on() {
    let slots = ConnectionSlots::new(ConnectionLimits { untrusted: 1, ..ConnectionLimits::of(100) });
    let (known, new) = (take(&slots, address(1), true).await, take(&slots, address(2), false).await);
    assert!(!known.peer().is_untrusted() && new.peer().is_untrusted());
    slots.reclassify(|address| address == new.peer().address());
    assert!(known.peer().is_untrusted() && !new.peer().is_untrusted());
    assert!(known.peer().has_signals() && new.peer().has_signals(), "both look up their timeouts again");
    assert!(!is_evicted(&known) && !is_evicted(&new));
    let next = take(&slots, address(3), false).await;
    assert!(is_evicted(&known), "the share is for one");
    assert!(!is_evicted(&new) && !is_evicted(&next));
}

#[tokio::test]
async fn slots_that_are_given_back_are_free_again() {
    let slots = ConnectionSlots::new(ConnectionLimits::of(64));
    for round in 0..200_u32 {
        let untrusted = take(&slots, address((round % 7) as u8), false).await;
        assert!(untrusted.request_started().is_some());
        assert!(!is_evicted(&untrusted), "round {round}");
    }
    assert!(slots.is_unused());
}

#[tokio::test]
async fn one_untrusted_peer_is_an_ipv4_address_or_an_ipv6_network() {
    let slots = ConnectionSlots::new(ConnectionLimits { untrusted_each: 1, ..ConnectionLimits::of(640) });
    let of = |text: &str| text.parse::<IpAddr>().unwrap();
    let mut all = Vec::new();
    for (text, first_is_evicted) in [
        ("2001:db8::1", false),
        ("2001:db8:0:1::1", false),
        ("192.0.2.1", false),
        ("192.0.2.2", false),
        ("2001:db8::ffff:1", true),
    ] {
        all.push(take(&slots, of(text), false).await);
        assert_eq!(is_evicted(&all[0]), first_is_evicted, "{text}");
    }
    assert!(all.iter().skip(1).all(|slot| !is_evicted(slot)));
}
