//! Sign-out here and at the provider, and `/reset` for a stuck browser.

use http::StatusCode;

use crate::world::{EdgeKind, PageRouting, TRAEFIK, Transport, World, WorldBuilder};

#[tokio::test]
async fn signing_out_ends_the_session_here_and_at_the_provider() {
    for kind in [
        TRAEFIK,
        EdgeKind::Traefik { entry: Transport::Tls, gate: Transport::Plain, pages: PageRouting::Guarded },
        EdgeKind::Nginx,
    ] {
        let world = WorldBuilder::with(kind).start().await;
        let alice = world.signed_in("alice").await;
        let thief = alice.copied_cookies();
        thief.fetch(&world.at("app", "/")).await.echo();

        let asked = alice.visit(&world.at("app", "/_doorward/sign_out")).await;
        assert!(asked.url.starts_with(&world.provider.issuer()), "{kind:?}: {:#?}", asked.trail);
        let done = alice.submit(&asked, &[("logout", "yes")]).await;
        assert!(done.url.starts_with(&world.at("app", "/_doorward/signed_out")), "{kind:?}: {:#?}", done.trail);
        let status = if kind == TRAEFIK || kind == EdgeKind::Nginx { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        assert_eq!(done.status, status, "{kind:?}: {done:?}");

        let answer = alice.fetch(&world.at("app", "/")).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{kind:?}: {answer:?}");
        let answer = thief.fetch(&world.at("app", "/")).await;
        assert_eq!(
            (answer.status, answer.reason()),
            (StatusCode::UNAUTHORIZED, "session_ended"),
            "{kind:?}: {answer:?}"
        );

        // The session at the provider has ended too: it would ask for the user.
        alice.keep(&world.provider.issuer(), "user=; Path=/");
        let page = alice.visit(&world.at("app", "/")).await;
        assert!(page.text().contains("Who are you?"), "{kind:?}: {page:?}");
    }
}

#[tokio::test]
async fn another_site_cannot_sign_anybody_out_without_asking() {
    let world = World::new().await;
    let alice = world.signed_in("alice").await;
    let mut request = alice.request(crate::world::RequestMode::Page, &world.at("app", "/_doorward/sign_out"));
    request.headers_mut().insert("sec-fetch-site", "cross-site".parse().unwrap());
    let page = alice.send(request).await;
    assert!(!page.status.is_redirection(), "{page:?}");
    assert!(page.text().contains("<form"), "{page:?}");
    alice.fetch(&world.at("app", "/")).await.echo();

    let asked = alice.submit(&page, &[]).await;
    assert!(asked.url.starts_with(&world.provider.issuer()), "{:#?}", asked.trail);
    assert_eq!(alice.fetch(&world.at("app", "/")).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_new_session_is_begun_at_every_sign_in() {
    let world = World::new().await;
    let alice = world.signed_in("alice").await;
    let place = world.at("app", "/").parse().unwrap();
    let first = alice.cookies(&place);
    alice.visit(&world.at("app", "/_doorward/start?rd=/")).await.echo();
    assert_ne!(first, alice.cookies(&place));
}

#[tokio::test]
async fn reset_helps_a_stuck_browser() {
    for (kind, status) in [
        (TRAEFIK, StatusCode::OK),
        (
            EdgeKind::Traefik { entry: Transport::Tls, gate: Transport::Tls, pages: PageRouting::Guarded },
            StatusCode::UNAUTHORIZED,
        ),
    ] {
        let world = WorldBuilder::with(kind).start().await;
        let alice = world.signed_in("alice").await;
        let page = alice.open(&world.at("app", "/_doorward/reset")).await;
        assert_eq!(page.status, status, "{page:?}");
        assert_eq!(page.header("clear-site-data"), "\"cookies\"");
        assert!(page.header("content-type").starts_with("text/html"), "{page:?}");
        let left = alice.cookies(&world.at("app", "/").parse().unwrap());
        assert!(!left.contains("doorward"), "{left}");
        assert!(page.text().contains("href="), "a link back");
    }
}
