//! Who is a stranger changes with the configuration, and places with it.

use std::net::Ipv4Addr;

use super::*;
use crate::metrics::{self, Metrics};

fn gauge() -> Gauge {
    let metrics = Metrics::new(&metrics::Settings { backend: "memory", version: "0", commit: "none" });
    metrics.connections.open(metrics::ListenerLabel::Edges)
}

fn peer(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

async fn take(places: &Arc<Places>, peer: IpAddr, trusted: bool) -> Place {
    let permit = places.room().await.expect("there is room");
    places.take(permit, peer, |_| trusted, gauge())
}

fn is_cut(place: &Place) -> bool {
    place.seat().hear(std::task::Waker::noop()).asks_to_cut()
}

#[tokio::test]
async fn who_is_trusted_no_more_is_a_stranger_from_then_on() {
    let places = Places::new(Shares { strangers: 1, ..Shares::of(100) });
    let (known, new) = (take(&places, peer(1), true).await, take(&places, peer(2), false).await);
    assert!(!known.seat().is_stranger() && new.seat().is_stranger());
    places.judge_anew(|peer| peer == new.seat().peer());
    assert!(known.seat().is_stranger() && !new.seat().is_stranger());
    assert!(known.seat().is_called() && new.seat().is_called(), "both look at their time again");
    assert!(!is_cut(&known) && !is_cut(&new));
    let next = take(&places, peer(3), false).await;
    assert!(is_cut(&known), "the share is for one");
    assert!(!is_cut(&new) && !is_cut(&next));
}

#[tokio::test]
async fn places_that_are_given_back_are_free_again() {
    let places = Places::new(Shares::of(64));
    for round in 0..200_u32 {
        let stranger = take(&places, peer((round % 7) as u8), false).await;
        assert!(stranger.request_begins().is_some());
        assert!(!is_cut(&stranger), "round {round}");
    }
    let taken = places.taken();
    assert!(taken.all.is_empty() && taken.strangers.is_empty() && taken.handshakes.is_empty());
}

#[tokio::test]
async fn one_stranger_is_an_address_or_a_network_of_the_sixth_version() {
    let places = Places::new(Shares { each: 1, ..Shares::of(640) });
    let of = |text: &str| text.parse::<IpAddr>().unwrap();
    let mut all = Vec::new();
    for (text, first_gives_way) in [
        ("2001:db8::1", false),
        ("2001:db8:0:1::1", false),
        ("192.0.2.1", false),
        ("192.0.2.2", false),
        ("2001:db8::ffff:1", true),
    ] {
        all.push(take(&places, of(text), false).await);
        assert_eq!(is_cut(&all[0]), first_gives_way, "{text}");
    }
    assert!(all.iter().skip(1).all(|place| !is_cut(place)));
}
