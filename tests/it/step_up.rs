//! Step-up: pages that need a stronger or more recent sign-in, what comes back from the provider, and apps with limits of their own
//! (contract C4d).

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use url::Url;

use crate::{
    postgres::EDGE,
    world::{
        Answer, MisbehavingProvider, RequestMode, Signal, Visitor, World, WorldBuilder, eventually,
        misbehaving_provider::{RawAnswer, Script},
        raw::{self, OriginalRequest},
    },
};

/// Rules of the app `rules`.
const RULES: &str = r#"
[[apps.rules]]
path = { prefix = "/gold/" }
allow = { acr = ["gold", "platinum"] }

[[apps.rules]]
path = { prefix = "/recent/" }
allow = { acr = ["silver", "gold"], max_age = "15m" }
"#;
/// Name of the issuer.
const ISSUER: &str = "issuer";

/// A world whose provider signs everybody in at once, with the claims that it is told.
struct SteppingUp {
    world: World,
    provider: MisbehavingProvider,
}

impl SteppingUp {
    async fn start(tables: &str, claims: Value) -> Self {
        let provider = MisbehavingProvider::start().await;
        let issuer = provider.issuer(ISSUER, Script { claims, ..Script::default() });
        let world = WorldBuilder::with(EDGE).tables(tables).registered(issuer).start().await;
        Self { world, provider }
    }

    fn at(&self, target: &str) -> String {
        self.world.at("rules", target)
    }

    /// Has the provider say this from now on.
    fn says(&self, claims: Value) {
        self.provider.change(ISSUER, |script| script.claims = claims);
    }

    /// A browser that has signed in at a page that needs nothing more.
    async fn signed_in(&self) -> Visitor {
        let ann = self.world.visitor();
        ann.visit(&self.at("/")).await.echo();
        ann
    }

    fn session(&self, who: &Visitor) -> String {
        let cookies = who.cookies(&self.at("/").parse().unwrap());
        cookies.split("; ").find(|cookie| cookie.contains("doorward=")).map(ToOwned::to_owned).unwrap_or_default()
    }
}

fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// Claims of a sign-in of this class, so many seconds ago.
fn signed_in_as(acr: &str, ago: u64) -> Value {
    json!({ "acr": acr, "auth_time": now() - ago })
}

/// Returns a parameter of the URL of an authorization request.
fn parameter(url: &str, name: &str) -> Option<String> {
    let url = Url::parse(url).unwrap();
    url.query_pairs().find(|(own, _)| own == name).map(|(_, value)| value.into_owned())
}

/// Returns the authorization requests on the way of a page.
fn trips(page: &Answer) -> Vec<&String> {
    page.trail.iter().filter(|url| url.contains("code_challenge=")).collect()
}

#[track_caller]
fn assert_refused(page: &Answer) {
    assert_eq!((page.status, page.reason()), (StatusCode::FORBIDDEN, "step_up"), "{page:?}\n{}", page.text());
    assert_eq!(trips(page).len(), 1, "one trip: {:#?}", page.trail);
}

#[tokio::test]
async fn a_page_that_needs_more_goes_to_the_provider_once_and_comes_back_with_a_new_session() {
    let stepping = SteppingUp::start(RULES, signed_in_as("silver", 3_600)).await;
    let ann = stepping.signed_in().await;
    let (before, page) = (stepping.session(&ann), stepping.at("/gold/x?y=%20z&&"));
    let elsewhere = ann.copied_cookies();
    stepping.says(signed_in_as("platinum", 0));
    let answer = ann.open(&page).await;
    assert_eq!((answer.status, answer.reason()), (StatusCode::FOUND, "step_up"), "{answer:?}");
    let location = answer.location().unwrap();
    assert_eq!(parameter(&location, "acr_values").as_deref(), Some("gold platinum"));
    assert_eq!(parameter(&location, "max_age"), None);
    let page_again = ann.follow(answer).await;
    assert_eq!(page_again.url, page, "byte for byte: {:#?}", page_again.trail);
    assert_eq!(page_again.echo().target, "/gold/x?y=%20z&&");
    assert_ne!(stepping.session(&ann), before, "a new id");
    let old = elsewhere.fetch(&stepping.at("/")).await;
    assert_eq!((old.status, old.reason()), (StatusCode::UNAUTHORIZED, "session_ended"), "{old:?}");
    ann.fetch(&stepping.at("/gold/y")).await.echo();

    // Another class does there, but not at the rule that also wants a recent proof; all that it asks for is asked.
    let recent = ann.open(&stepping.at("/recent/")).await;
    let location = recent.location().unwrap();
    assert_eq!(parameter(&location, "acr_values").as_deref(), Some("silver gold"));
    assert_eq!(parameter(&location, "max_age").as_deref(), Some("900"));
    stepping.says(signed_in_as("gold", 800));
    ann.follow(recent).await.echo();
}

#[tokio::test]
async fn what_comes_back_and_is_not_what_was_asked_for_ends_at_a_page_and_changes_nothing() {
    let stepping = SteppingUp::start(RULES, signed_in_as("bronze", 3_600)).await;
    let ann = stepping.signed_in().await;
    let before = stepping.session(&ann);
    let recent = "/recent/";
    for (page, claims) in [
        ("/gold/", signed_in_as("bronze", 0)),
        ("/gold/", json!({ "auth_time": now() })),
        ("/gold/", json!({ "acr": ["gold"] })),
        ("/gold/", json!({ "acr": "Gold", "amr": ["gold"] })),
        (recent, json!({ "acr": "gold" })),
        (recent, json!({ "acr": "gold", "auth_time": "now" })),
        (recent, signed_in_as("gold", 901)),
        (recent, json!({ "acr": "gold", "auth_time": now() + 3_600 })),
        (recent, signed_in_as("bronze", 0)),
    ] {
        stepping.says(claims.clone());
        let answer = ann.visit(&stepping.at(page)).await;
        assert_refused(&answer);
        let text = answer.text();
        assert!(text.contains("gold") && text.contains("/_doorward/start/"), "{claims}: {text}");
        assert_eq!(stepping.session(&ann), before, "{claims}: the session stays");
        ann.fetch(&stepping.at("/")).await.echo();
    }
    let log = stepping.world.gate.log();
    for said in
        [r#""needs":"acr = [\"gold\", \"platinum\"]""#, r#""has":"acr = \"bronze\", auth_time = 20"#, "acr_values"]
    {
        assert!(log.contains(said), "{said}: {log}");
    }
    // The page's link tries again.
    let refused = ann.visit(&stepping.at("/gold/")).await;
    let text = refused.text();
    let link =
        text.split("href=\"").find(|link| link.contains("/_doorward/start/")).unwrap().split('"').next().unwrap();
    stepping.says(signed_in_as("gold", 0));
    let again = ann.visit(&link.replace("&amp;", "&").replace("&#38;", "&")).await;
    assert_eq!(again.echo().target, "/gold/");
}

#[tokio::test]
async fn whoever_cancels_is_told_what_is_needed_and_stays_signed_in() {
    let stepping = SteppingUp::start(RULES, signed_in_as("silver", 0)).await;
    let ann = stepping.signed_in().await;
    for (error, reason) in [
        ("access_denied", "step_up"),
        ("unmet_authentication_requirements", "step_up"),
        ("temporarily_unavailable", "provider_unavailable"),
    ] {
        let cancelled = json!({ "code": null, "error": error });
        stepping.provider.change(ISSUER, |script| script.callback = cancelled);
        let page = ann.visit(&stepping.at("/gold/")).await;
        assert_eq!(page.reason(), reason, "{page:?}");
        assert!(trips(&page).len() <= 4, "no loop: {:#?}", page.trail);
        ann.fetch(&stepping.at("/")).await.echo();
    }
    // A code that is refused each time does not go round either.
    stepping.provider.change(ISSUER, |script| {
        script.callback = json!({});
        let text = |_| r#"{"error":"invalid_grant"}"#.to_owned();
        script.answers.insert("token", RawAnswer { status: 400, content_type: "application/json", text });
    });
    let page = ann.visit(&stepping.at("/gold/")).await;
    assert_eq!((page.status, page.reason()), (StatusCode::FORBIDDEN, "sign_in_loop"), "{page:?}");
    ann.fetch(&stepping.at("/")).await.echo();
}

#[tokio::test]
async fn another_person_who_comes_back_is_signed_in_in_place_of_the_first() {
    let stepping = SteppingUp::start(RULES, signed_in_as("silver", 0)).await;
    for (acr, lets_in) in [("gold", true), ("silver", false)] {
        stepping.says(json!({ "acr": "silver", "sub": "subject-1" }));
        let ann = stepping.signed_in().await;
        let before = stepping.session(&ann);
        stepping.says(json!({ "acr": acr, "sub": "subject-2", "preferred_username": "bob" }));
        let page = ann.visit(&stepping.at("/gold/")).await;
        if lets_in {
            assert_eq!(page.echo().values_as("remote-user"), ["bob"]);
        } else {
            assert_refused(&page);
        }
        assert_ne!(stepping.session(&ann), before);
        assert_eq!(ann.fetch(&stepping.at("/")).await.echo().values_as("remote-user"), ["bob"]);
    }
}

#[tokio::test]
async fn a_first_sign_in_is_asked_for_all_of_it_at_once() {
    let stepping = SteppingUp::start(RULES, signed_in_as("gold", 0)).await;
    let ann = stepping.world.visitor();
    let page = ann.visit(&stepping.at("/gold/")).await;
    page.echo();
    let trips = trips(&page);
    let asked: Vec<_> = trips.iter().map(|url| parameter(url, "acr_values")).collect();
    assert_eq!(asked, [Some("gold platinum".to_owned())], "{:#?}", page.trail);
    // Where the provider takes no notice the person is signed in, and told.
    stepping.says(json!({}));
    let bob = stepping.world.visitor();
    assert_refused(&bob.visit(&stepping.at("/gold/")).await);
    bob.fetch(&stepping.at("/")).await.echo();
    // Nobody is asked for more than the page needs.
    let carol = stepping.world.visitor();
    let plain = carol.open(&stepping.at("/")).await.location().unwrap();
    assert_eq!((parameter(&plain, "acr_values"), parameter(&plain, "max_age")), (None, None));
}

#[tokio::test]
async fn nothing_but_a_page_travels_and_everything_else_is_told_what_is_needed() {
    let stepping = SteppingUp::start(RULES, signed_in_as("silver", 3_600)).await;
    let ann = stepping.signed_in().await;
    let page = stepping.at("/recent/x");
    let challenge = "Bearer error=\"insufficient_user_authentication\", acr_values=\"silver gold\", max_age=\"900\"";
    let prefetch = ann.clone().with("sec-purpose", "prefetch");
    let fetched = ann.fetch(&page).await;
    for answer in [&fetched, &prefetch.open(&page).await] {
        assert_eq!((answer.status, answer.reason()), (StatusCode::UNAUTHORIZED, "step_up"), "{answer:?}");
        assert_eq!(answer.header("www-authenticate"), challenge);
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.json()["error"], json!("login_required"));
        assert_eq!(answer.header("set-cookie"), "");
    }
    let frame = ann.clone().with("sec-fetch-dest", "iframe").open(&page).await;
    let mut form = ann.request(RequestMode::Page, &page);
    *form.method_mut() = Method::POST;
    let form = ann.send(form).await;
    let links = [&frame, &form].map(|answer| {
        assert_eq!((answer.status, answer.reason()), (StatusCode::UNAUTHORIZED, "step_up"), "{answer:?}");
        assert_eq!(answer.header("www-authenticate"), challenge);
        let text = answer.text();
        assert!(text.contains("target=\"_blank\"") && text.contains("15m"), "{text}");
        let link = text.split("href=\"").find(|link| link.contains("/_doorward/start/")).unwrap();
        link.split('"').next().unwrap().replace("&amp;", "&").replace("&#38;", "&")
    });
    // Each of them leads to a sign-in as it is asked for, and back.
    let login_url = fetched.json()["login_url"].as_str().unwrap().to_owned();
    assert!(login_url.starts_with(&stepping.at("/_doorward/start/")), "{login_url}");
    let root = Url::parse(&stepping.at("/")).unwrap();
    let [frame, form] = links;
    for (link, back) in [(format!("{login_url}?rd={root}"), "/"), (frame, "/recent/x"), (form, "/")] {
        let asked = ann.open(&link).await.location().unwrap();
        assert_eq!(parameter(&asked, "max_age").as_deref(), Some("900"), "{link}");
        stepping.says(signed_in_as("silver", 3_600));
        assert_refused(&ann.visit(&link).await);
        stepping.says(signed_in_as("silver", 0));
        let page = ann.visit(&link).await;
        assert_eq!(page.echo().target, back, "{link}");
    }
    ann.fetch(&page).await.echo();
}

#[tokio::test]
async fn each_dialect_says_it_in_its_own_way() {
    let stepping = SteppingUp::start(RULES, signed_in_as("silver", 0)).await;
    let ann = stepping.signed_in().await;
    let place = Url::parse(&stepping.at("/")).unwrap();
    let host = format!("{}:{}", place.host_str().unwrap(), place.port().unwrap());
    for dialect in raw::DIALECTS {
        let ask = async |mode: &str| {
            let lines = format!(
                "Cookie: {}\r\nAccept: text/html\r\nSec-Fetch-Mode: {mode}\r\nX-Forwarded-Proto: https\r\n",
                ann.cookies(&place)
            );
            let original = OriginalRequest { method: "GET", host: &host, target: "/gold/", lines: &lines };
            raw::request(stepping.world.gate.port, &original.in_dialect(dialect)).await
        };
        let page = ask("navigate").await;
        let redirects = if dialect == "nginx" { StatusCode::UNAUTHORIZED } else { StatusCode::FOUND };
        assert_eq!((page.status, page.reason()), (redirects, "step_up"), "{dialect}: {page:?}");
        assert_eq!(parameter(page.header("location"), "acr_values").as_deref(), Some("gold platinum"), "{dialect}");
        let fetched = ask("cors").await;
        assert_eq!((fetched.status, fetched.reason()), (StatusCode::UNAUTHORIZED, "step_up"), "{dialect}: {fetched:?}");
        assert_eq!(fetched.header("location"), "", "{dialect}");
        assert!(fetched.header("www-authenticate").contains("insufficient_user_authentication"), "{dialect}");
        assert_eq!(fetched.body.is_empty(), dialect == "nginx", "{dialect}");
    }
}

#[tokio::test]
async fn tabs_that_need_more_at_once_all_come_back() {
    let stepping = SteppingUp::start(RULES, signed_in_as("silver", 0)).await;
    let ann = stepping.signed_in().await;
    let mut tabs = Vec::new();
    for tab in 0..10 {
        tabs.push((tab, ann.open(&stepping.at(&format!("/gold/{tab}"))).await));
    }
    stepping.says(signed_in_as("gold", 0));
    for (tab, answer) in tabs.into_iter().rev() {
        assert_eq!(answer.reason(), "step_up", "{answer:?}");
        assert_eq!(ann.follow(answer).await.echo().target, format!("/gold/{tab}"));
    }
    // Nor are they taken for a loop of sign-ins.
    stepping.says(signed_in_as("silver", 0));
    ann.visit(&stepping.at("/_doorward/start?rd=/")).await.echo();
    assert_refused(&ann.visit(&stepping.at("/gold/")).await);
}

#[tokio::test]
async fn rules_that_no_sign_in_could_satisfy_send_nobody_away() {
    let lists = format!(
        "{RULES}\n[[apps]]\nname = \"both\"\nhosts = [\"both.example.test\"]\nallow = {{ acr = [\"silver\"] }}\n"
    );
    let lists = format!("{lists}[[apps.rules]]\npath = {{ prefix = \"/gold/\" }}\nallow = {{ acr = [\"gold\"] }}\n");
    let stepping = SteppingUp::start(&lists, signed_in_as("silver", 0)).await;
    let ann = stepping.world.visitor();
    ann.visit(&stepping.world.at("both", "/")).await.echo();
    // Some servers take this path for one below /gold/, and some do not.
    let page = ann.visit(&stepping.world.at("both", "/Gold/x")).await;
    assert_eq!((page.status, page.reason()), (StatusCode::FORBIDDEN, "step_up"), "{page:?}");
    assert_eq!(trips(&page).len(), 0, "{:#?}", page.trail);
}

#[tokio::test]
async fn a_renewal_neither_loses_nor_makes_up_how_and_when_somebody_signed_in() {
    let provider = MisbehavingProvider::start().await;
    let script = Script {
        claims: signed_in_as("gold", 890),
        tokens: json!({ "expires_in": 3 }),
        renewed_claims: json!({ "acr": null, "auth_time": null }),
        ..Script::default()
    };
    let issuer = provider.issuer(ISSUER, script);
    let plan = WorldBuilder::with(EDGE).session("renew_before = \"2s\"").tables(RULES).registered(issuer);
    let stepping = SteppingUp { world: plan.start().await, provider };
    let ann = stepping.signed_in().await;
    ann.fetch(&stepping.at("/gold/")).await.echo();
    let renewed = async |times: usize| {
        eventually("it is renewed", async || {
            ann.fetch(&stepping.at("/")).await.echo();
            (stepping.provider.requests(ISSUER, "token") > times).then_some(())
        })
        .await;
    };
    renewed(1).await;
    ann.fetch(&stepping.at("/gold/")).await.echo();
    // A provider that calls the time of the renewal that of the sign-in makes nobody's proof younger.
    stepping.provider.change(ISSUER, |script| script.renewed_claims = json!({ "auth_time": now() }));
    let begun = Instant::now();
    let answer = eventually("the proof is too old", async || {
        let answer = ann.fetch(&stepping.at("/recent/")).await;
        stepping.provider.change(ISSUER, |script| script.renewed_claims = json!({ "auth_time": now() }));
        (answer.status != StatusCode::OK).then_some(answer)
    })
    .await;
    assert_eq!((answer.status, answer.reason()), (StatusCode::UNAUTHORIZED, "step_up"), "{answer:?}");
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    ann.fetch(&stepping.at("/gold/")).await.echo();
}

/// An app with limits of its own, at the host `short`.
fn short(lines: &str) -> String {
    format!("{RULES}\n[[apps]]\nname = \"short\"\nhosts = [\"short.example.test\"]\n{lines}\n")
}

#[tokio::test]
async fn past_an_apps_lifetime_a_page_has_the_person_prove_who_they_are() {
    let stepping = SteppingUp::start(&short("lifetime = \"5s\""), json!({})).await;
    let at = |target: &str| stepping.world.at("short", target);
    let ann = stepping.world.visitor();
    stepping.says(json!({ "auth_time": now() }));
    let begins = ann.open(&at("/a?b")).await;
    assert_eq!(parameter(&begins.location().unwrap(), "max_age").as_deref(), Some("5"), "asked for at once");
    ann.follow(begins).await.echo();
    let over = eventually("its lifetime is over", async || {
        let answer = ann.fetch(&at("/")).await;
        (answer.status != StatusCode::OK).then_some(answer)
    })
    .await;
    assert_eq!((over.status, over.reason()), (StatusCode::UNAUTHORIZED, "step_up"), "{over:?}");
    assert!(over.header("www-authenticate").ends_with("error=\"insufficient_user_authentication\", max_age=\"5\""));
    // A provider that lets the person through without proof does not do.
    for lie in [json!({ "auth_time": now() - 20 }), json!({})] {
        stepping.says(lie);
        assert_refused(&ann.visit(&at("/a?b")).await);
    }
    stepping.says(json!({ "auth_time": now() }));
    let page = ann.visit(&at("/a?b")).await;
    assert_eq!(page.echo().target, "/a?b");
    assert_eq!(trips(&page).len(), 1, "{:#?}", page.trail);
    ann.fetch(&at("/")).await.echo();
    // It is longer after a reload, for the session that there is.
    eventually("its lifetime is over again", async || {
        (ann.fetch(&at("/")).await.status != StatusCode::OK).then_some(())
    })
    .await;
    stepping.world.gate.configure(&stepping.world.config().replace("lifetime = \"5s\"", "lifetime = \"1h\""));
    eventually("the reload reaches it", async || (ann.fetch(&at("/")).await.status == StatusCode::OK).then_some(()))
        .await;
}

#[tokio::test]
async fn without_auth_time_an_apps_lifetime_counts_from_the_sign_in() {
    let stepping = SteppingUp::start(&short("lifetime = \"3s\""), json!({})).await;
    let at = |target: &str| stepping.world.at("short", target);
    let ann = stepping.world.visitor();
    ann.visit(&at("/")).await.echo();
    eventually("its lifetime is over", async || {
        let answer = ann.fetch(&at("/")).await;
        (answer.reason() == "step_up").then_some(())
    })
    .await;
    let page = ann.visit(&at("/")).await;
    assert_refused(&page);
    assert!(stepping.world.gate.log().contains("no auth_time"), "the log says why");
}

#[tokio::test]
async fn an_app_that_is_only_polled_idles_and_one_whose_pages_are_opened_does_not() {
    let mut stepping = SteppingUp::start(&short("idle_timeout = \"8s\""), json!({})).await;
    let at = stepping.world.at("short", "/");
    stepping.says(json!({ "auth_time": now() }));
    let (polling, reading) = (stepping.world.visitor(), stepping.world.visitor());
    for who in [&polling, &reading] {
        who.visit(&at).await.echo();
    }
    let begun = Instant::now();
    let idle = eventually("the polled one idles", async || {
        reading.visit(&at).await.echo();
        let answer = polling.fetch(&at).await;
        (answer.status != StatusCode::OK).then_some(answer)
    })
    .await;
    assert_eq!((idle.status, idle.reason()), (StatusCode::UNAUTHORIZED, "step_up"), "{idle:?}");
    assert!(idle.header("www-authenticate").ends_with("max_age=\"8\""), "{idle:?}");
    assert!(begun.elapsed() > Duration::from_secs(6), "{:?}", begun.elapsed());
    reading.fetch(&at).await.echo();
    // What is known of pages outlives a restart; what is not lets nobody in for ever.
    reading.visit(&at).await.echo();
    let last = Instant::now();
    stepping.world.gate.restart(Signal::Term).await;
    let answer = reading.open(&at).await;
    // On a busy machine the restart alone may take longer.
    if last.elapsed() < Duration::from_secs(8) {
        answer.echo();
    }
    assert_eq!(polling.fetch(&at).await.reason(), "step_up");
    // Nothing else of the session is over.
    stepping.says(json!({ "auth_time": now() - 60 }));
    assert_refused(&polling.visit(&at).await);
    stepping.says(json!({ "auth_time": now() }));
    let page = polling.visit(&at).await;
    page.echo();
    assert_eq!(trips(&page).len(), 1, "{:#?}", page.trail);
    polling.fetch(&at).await.echo();
}
