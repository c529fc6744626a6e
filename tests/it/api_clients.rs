//! API clients: bearer tokens and app passwords under rules for them, with the real program and providers that answer as a test
//! says.

use std::{collections::HashMap, fmt::Write as _, time::Duration};

use data_encoding::BASE64;
use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::{
    Gate, MisbehavingProvider, TRAEFIK, WorldBuilder, eventually,
    misbehaving_provider::{RawAnswer, Script, Signature},
    raw::{self, DIALECTS, OriginalRequest, RawResponse},
};

const OPAQUE: &str = "an-opaque-token";

/// A gate before an app for each of two providers, and an issuer at which nobody signs in.
struct ApiWorld {
    gate: Gate,
    provider: MisbehavingProvider,
    _dir: TempDir,
}

impl ApiWorld {
    /// A world with these keys in `[bearer]`; `ISSUER` stands for the address of the issuers.
    async fn with(bearer: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let provider = MisbehavingProvider::start().await;
        for name in ["one", "two", "api"] {
            provider.issuer(name, Script::default());
        }
        let world = Self { gate: Gate::new(dir.path()), provider, _dir: dir };
        world.gate.configure(&world.config(bearer));
        let mut world = world;
        world.gate.start().await;
        world
    }

    fn config(&self, bearer: &str) -> String {
        let mut text = format!(
            "[server]\nlisten = '127.0.0.1:{}'\nmanagement = '127.0.0.1:{}'\n[store]\nurl = 'memory:'\n\
             [session]\nsecrets = ['the first secret of one test, which is long enough']\n",
            self.gate.port, self.gate.management
        );
        for name in ["one", "two"] {
            write!(
                text,
                "[[providers]]\nname = '{name}'\nissuer = '{}'\nclient_id = 'doorward'\nclient_secret = 'a client secret'\n\
                 [[apps]]\nname = '{name}'\nhosts = ['{name}.example.test']\nprovider = '{name}'\nheaders = ['remote']\n\
                 rules = [{{ path = {{ prefix = '/api/admin/' }}, access = 'bearer', allow = {{ groups = ['admins'] }} }}, \
                 {{ path = {{ prefix = '/api/' }}, access = 'bearer' }}]\n",
                self.provider.address(name)
            )
            .unwrap();
        }
        let issuers = self.provider.address("x");
        format!("{text}[bearer]\n{}\n", bearer.replace("ISSUER", issuers.trim_end_matches("/x")))
    }

    /// Asks for a path below `/api/` as an API client of an app.
    async fn ask(&self, app: &str, authorization: &str) -> RawResponse {
        self.ask_for(app, "/api/things", &format!("Authorization: {authorization}\r\n")).await
    }

    async fn ask_for(&self, app: &str, target: &str, lines: &str) -> RawResponse {
        let host = format!("{app}.example.test");
        let lines = format!("X-Forwarded-For: 192.0.2.7\r\n{lines}");
        let request = OriginalRequest { method: "GET", host: &host, target, lines: &lines };
        raw::request(self.gate.port, &request.in_dialect("traefik")).await
    }

    fn jwt(&self, issuer: &str, claims: &Value) -> String {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let mut whole = json!({
            "iss": self.provider.address(issuer), "sub": "subject-1", "aud": "things", "exp": now + 300,
            "preferred_username": "ann", "groups": ["staff"], "scope": "read",
        });
        whole.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        self.provider.signed(issuer, &whole)
    }

    fn introspects(&self, issuer: &str, members: Value) {
        self.provider.change(issuer, |script| script.introspected = HashMap::from([(OPAQUE.to_owned(), members)]));
    }
}

/// Asserts a 401 for a credential that was refused.
#[track_caller]
fn assert_refused(answer: &RawResponse, case: &str) {
    assert_eq!((answer.status, answer.reason()), (StatusCode::UNAUTHORIZED, "invalid_token"), "{case}: {answer:?}");
    let challenge = answer.header("www-authenticate");
    assert!(
        challenge.starts_with("Bearer realm=\"") && challenge.contains("error=\"invalid_token\""),
        "{case}: {challenge}"
    );
}

const JWTS: &str = "issuers = [{ issuer = 'ISSUER/api', audience = ['things', 'others'] }]";

#[tokio::test]
async fn a_jwt_of_a_configured_issuer_lets_in_at_every_edge_under_a_bearer_rule_and_nowhere_else() {
    let world = ApiWorld::with(JWTS).await;
    let token = world.jwt("api", &json!({}));
    for dialect in DIALECTS {
        for method in ["GET", "HEAD", "POST", "DELETE"] {
            let lines = format!("Authorization: bearer {token}\r\nSec-Fetch-Mode: navigate\r\n");
            let request = OriginalRequest { method, host: "one.example.test", target: "/api/a?b", lines: &lines };
            let answer = raw::request(world.gate.port, &request.in_dialect(dialect)).await;
            assert_eq!(answer.status, StatusCode::OK, "{dialect} {method}: {answer:?}");
            assert_eq!((answer.header("remote-user"), answer.header("remote-groups")), ("ann", "staff"), "{dialect}");
        }
    }
    let elsewhere = world.ask_for("one", "/", &format!("Authorization: Bearer {token}\r\n")).await;
    assert_eq!((elsewhere.status, elsewhere.reason()), (StatusCode::UNAUTHORIZED, "no_session"), "{elsewhere:?}");
    assert!(elsewhere.body.contains("login_required"), "elsewhere it is the app's: {elsewhere:?}");
    assert_eq!(world.provider.requests("api", "jwks"), 1);
    assert_eq!(world.provider.requests("api", "introspect"), 0);
}

#[tokio::test]
async fn without_a_credential_there_is_a_challenge_without_an_error_and_never_a_redirect() {
    let world = ApiWorld::with(&format!("{JWTS}\napp_passwords = true")).await;
    for dialect in DIALECTS {
        for lines in [
            "",
            "Sec-Fetch-Mode: navigate\r\n",
            "Accept: text/html\r\n",
            "Authorization: Digest username=\"ann\"\r\n",
            "Cookie: doorward=made-up\r\n",
        ] {
            let request = OriginalRequest { method: "GET", host: "one.example.test", target: "/api/a", lines };
            let answer = raw::request(world.gate.port, &request.in_dialect(dialect)).await;
            assert_eq!((answer.status, answer.reason()), (StatusCode::UNAUTHORIZED, "no_session"), "{dialect} {lines}");
            let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
            assert_eq!(challenges, ["Bearer realm=\"one\"", "Basic realm=\"one\", charset=\"UTF-8\""], "{dialect}");
            assert!(!answer.headers.contains_key("location") && answer.cookies().is_empty(), "{dialect}: {answer:?}");
            assert_eq!(answer.header("cache-control"), "no-store");
        }
    }
    let json = world.ask_for("one", "/api/a", "").await;
    assert!(json.body.contains(r#""error":"no_session""#) && json.body.contains("request_id"), "{json:?}");
    let page = world.ask_for("one", "/api/a", "Sec-Fetch-Mode: navigate\r\n").await;
    assert!(page.header("content-type").starts_with("text/html"), "{page:?}");
}

#[tokio::test]
async fn a_credential_that_is_not_accepted_is_refused_in_the_same_words_to_everybody() {
    let world = ApiWorld::with(JWTS).await;
    world.provider.change("two", |script| script.signature = Signature::Forged);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    for (case, token) in [
        ("another audience", world.jwt("api", &json!({ "aud": "things-of-others" }))),
        ("expired", world.jwt("api", &json!({ "exp": now - 300 }))),
        ("exp as text", world.jwt("api", &json!({ "exp": "99999999999" }))),
        ("bound to a key", world.jwt("api", &json!({ "cnf": { "jkt": "x" } }))),
        ("of the provider, which is not configured", world.jwt("one", &json!({}))),
        ("signed by another issuer", world.jwt("two", &json!({ "iss": world.provider.address("api") }))),
        ("opaque", OPAQUE.to_owned()),
        ("malformed", "a b".to_owned()),
        ("nothing", String::new()),
    ] {
        assert_refused(&world.ask("one", &format!("Bearer {token}")).await, case);
        let page = format!("Authorization: Bearer {token}\r\nSec-Fetch-Mode: navigate\r\n");
        assert_refused(&world.ask_for("one", "/api/a", &page).await, case);
    }
    let token = world.jwt("api", &json!({}));
    let twice = format!("Authorization: Bearer {token}\r\nAuthorization: Bearer {token}\r\n");
    assert_refused(&world.ask_for("one", "/api/a", &twice).await, "sent twice");
    assert_eq!(world.ask("one", &format!("Bearer {token}")).await.status, StatusCode::OK);
    assert!(!world.gate.log().contains(&token), "no token is logged");
}

const OPAQUE_TOKENS: &str = "introspection = true\nissuers = [{ issuer = 'ISSUER/one', audience = 'things' }]";

#[tokio::test]
async fn a_token_that_one_provider_knows_is_nobody_at_an_app_of_another() {
    let world = ApiWorld::with(OPAQUE_TOKENS).await;
    world.introspects("one", json!({}));
    let opaque = format!("Bearer {OPAQUE}");
    assert_eq!(world.ask("one", &opaque).await.header("remote-user"), "ann");
    assert_refused(&world.ask("two", &opaque).await, "cached at an app of another provider");
    assert_eq!((world.provider.requests("one", "introspect"), world.provider.requests("two", "introspect")), (1, 1));
    // The same of a JWT: its issuer is the provider of the first app only.
    let jwt = format!("Bearer {}", world.jwt("one", &json!({})));
    assert_eq!(world.ask("one", &jwt).await.status, StatusCode::OK);
    assert_refused(&world.ask("two", &jwt).await, "a JWT of another provider");
}

#[tokio::test]
async fn only_a_token_of_the_gates_own_client_or_audience_counts() {
    let world = ApiWorld::with(OPAQUE_TOKENS).await;
    for (members, accepted) in [
        (json!({ "client_id": "another", "aud": "another" }), false),
        (json!({ "client_id": "another", "aud": "things" }), true),
        (json!({ "client_id": "another", "aud": ["x", "doorward"] }), true),
        (json!({ "active": false }), false),
    ] {
        let token = format!("token-{}", members.to_string().len());
        world.provider.change("one", |script| drop(script.introspected.insert(token.clone(), members.clone())));
        let answer = world.ask("one", &format!("Bearer {token}")).await;
        assert_eq!(answer.status == StatusCode::OK, accepted, "{members}: {answer:?}");
    }
}

#[tokio::test]
async fn fifty_requests_with_one_token_ask_the_provider_once() {
    let world = ApiWorld::with(OPAQUE_TOKENS).await;
    world.introspects("one", json!({}));
    world.provider.change("one", |script| script.delay = Duration::from_millis(300));
    let answers = join_all((0..50).map(|_| world.ask("one", "Bearer an-opaque-token"))).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK), "{answers:?}");
    assert_eq!(world.provider.requests("one", "introspect"), 1);
    let refused = join_all((0..20).map(|_| world.ask("one", "Bearer another"))).await;
    assert!(refused.iter().all(|answer| answer.status == StatusCode::UNAUTHORIZED), "{refused:?}");
    assert_eq!(world.provider.requests("one", "introspect"), 2);
}

#[tokio::test]
async fn what_is_known_of_a_token_is_judged_by_every_rule_anew() {
    let world = ApiWorld::with(JWTS).await;
    let token = format!("Authorization: Bearer {}\r\n", world.jwt("api", &json!({})));
    assert_eq!(world.ask_for("one", "/api/things", &token).await.status, StatusCode::OK);
    for _ in 0..2 {
        let answer = world.ask_for("one", "/api/admin/things", &token).await;
        assert_eq!((answer.status, answer.reason()), (StatusCode::FORBIDDEN, "group_missing"), "{answer:?}");
        assert!(answer.header("www-authenticate").contains("error=\"insufficient_scope\""), "{answer:?}");
    }
    let admin = format!("Authorization: Bearer {}\r\n", world.jwt("api", &json!({ "groups": ["admins"] })));
    assert_eq!(world.ask_for("one", "/api/admin/things", &admin).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_provider_that_is_away_lets_in_nobody_whom_it_has_not_vouched_for() {
    let world = ApiWorld::with(&format!("{OPAQUE_TOKENS}\napp_passwords = true")).await;
    world.introspects("one", json!({}));
    assert_eq!(world.ask("one", "Bearer an-opaque-token").await.status, StatusCode::OK);
    let unavailable = RawAnswer { status: 503, content_type: "text/html", text: |_| "<h1>soon</h1>".to_owned() };
    world.provider.change("one", |script| {
        script.answers.insert("introspect", unavailable.clone());
        script.answers.insert("token", unavailable);
        script.app_passwords.insert("ann".to_owned(), "secret".to_owned());
    });
    for authorization in ["Bearer unheard-of", &format!("Basic {}", BASE64.encode(b"ann:secret"))] {
        let answer = world.ask("one", authorization).await;
        let seen = (answer.status, answer.reason(), answer.header("retry-after"));
        assert_eq!(seen, (StatusCode::SERVICE_UNAVAILABLE, "provider_unavailable", "5"), "{answer:?}");
    }
    assert_eq!(world.ask("one", "Bearer an-opaque-token").await.status, StatusCode::OK, "known for a minute");
    // Unavailable was no refusal: it is asked again at once.
    world.provider.change("one", |script| {
        script.answers.clear();
        script.introspected.insert("unheard-of".to_owned(), json!({}));
    });
    assert_eq!(world.ask("one", "Bearer unheard-of").await.status, StatusCode::OK);
}

#[tokio::test]
async fn strangers_are_limited_and_known_credentials_pass() {
    let world = ApiWorld::with(&format!("{JWTS}\n[limits]\ncredentials = {{ per_minute = 6, burst = 3 }}")).await;
    let known = format!("Bearer {}", world.jwt("api", &json!({})));
    assert_eq!(world.ask("one", &known).await.status, StatusCode::OK);
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(world.ask("one", "Bearer made-up").await.status.as_u16());
    }
    assert_eq!(statuses[..2], [401, 401]);
    assert!(statuses[2..].contains(&429), "{statuses:?}");
    let limited = world.ask("one", "Bearer another").await;
    assert_eq!((limited.status, limited.reason()), (StatusCode::TOO_MANY_REQUESTS, "rate_limited"), "{limited:?}");
    assert!(limited.header("retry-after").parse::<u32>().unwrap() >= 1, "{limited:?}");
    assert_eq!(world.ask("one", &known).await.status, StatusCode::OK, "what is known to be good is not limited");
}

#[tokio::test]
async fn an_app_password_is_redeemed_once_and_a_token_may_come_in_its_place() {
    let world = ApiWorld::with("introspection = true\napp_passwords = true").await;
    world.introspects("one", json!({}));
    world.provider.change("one", |script| drop(script.app_passwords.insert("svc".to_owned(), "a:b".to_owned())));
    let basic = |text: &str| format!("Basic {}", BASE64.encode(text.as_bytes()));
    let before = world.provider.requests("one", "token");
    let right = basic("svc:a:b");
    let answers = join_all((0..20).map(|_| world.ask("one", &right))).await;
    for answer in answers {
        assert_eq!((answer.status, answer.header("remote-user")), (StatusCode::OK, "svc"), "{answer:?}");
    }
    assert_eq!(world.provider.requests("one", "token") - before, 1);
    assert_eq!(world.ask("one", &basic("goauthentik.io/token:an-opaque-token")).await.header("remote-user"), "ann");
    for wrong in ["svc:a", "svc:a:b:c", "svc:a:", "ann:a:b", "svc"] {
        let answer = world.ask("one", &basic(wrong)).await;
        assert_eq!(
            (answer.status, answer.reason()),
            (StatusCode::UNAUTHORIZED, "invalid_token"),
            "{wrong}: {answer:?}"
        );
    }
    assert!(!world.gate.log().contains("a:b"), "no password is logged");
}

#[tokio::test]
async fn what_one_configuration_found_out_means_nothing_to_another() {
    let world = ApiWorld::with(JWTS).await;
    let token = format!("Bearer {}", world.jwt("api", &json!({})));
    assert_eq!(world.ask("one", &token).await.status, StatusCode::OK);
    // What the credentials do not depend on changes, and nothing is verified anew.
    world.gate.configure(&format!("{}[log]\nlevel = 'debug'\n", world.config(JWTS)));
    reloaded(&world.gate, 1).await;
    assert_eq!(world.ask("one", &token).await.status, StatusCode::OK);
    world.gate.configure(&world.config("issuers = [{ issuer = 'ISSUER/api', audience = 'others' }]"));
    reloaded(&world.gate, 2).await;
    assert_refused(&world.ask("one", &token).await, "for an audience that counts no more");
    world.gate.configure(&world.config("issuers = [{ issuer = 'ISSUER/two', audience = 'things' }]"));
    reloaded(&world.gate, 3).await;
    assert_refused(&world.ask("one", &token).await, "of an issuer that counts no more");
}

async fn reloaded(gate: &Gate, times: u64) {
    let series = r#"doorward_config_reloads_total{result="applied"}"#;
    let applied = || async { gate.metric(series).await.filter(|count| *count >= times) };
    eventually("a reload", applied).await;
}

#[tokio::test]
async fn metrics_name_a_bearer_issuer_by_its_address_and_no_client() {
    let world = ApiWorld::with(&format!("{JWTS}\nintrospection = true")).await;
    world.ask("one", &format!("Bearer {}", world.jwt("api", &json!({})))).await;
    world.ask("one", "Bearer unheard-of").await;
    let issuer = world.provider.address("api");
    for (series, count) in [
        (format!(r#"doorward_jwks_refreshes_total{{provider="{issuer}",result="ok"}}"#), 1),
        (r#"doorward_provider_requests_total{endpoint="introspection",provider="one",result="ok"}"#.to_owned(), 1),
        (r#"doorward_auth_requests_total{app="one",edge="traefik",verdict="unauthenticated"}"#.to_owned(), 1),
    ] {
        assert_eq!(world.gate.metric(&series).await, Some(count), "{series}");
    }
    assert!(!world.gate.metrics().await.contains("unheard-of"));
}

#[tokio::test]
async fn an_access_token_of_a_certified_provider_is_introspected_and_its_revocation_is_noticed() {
    let tables = r#"
[bearer]
introspection = true
[[apps]]
name = "api"
hosts = ["api.example.test"]
rules = [{ access = "bearer" }]
[[apps]]
name = "other"
hosts = ["other.example.test"]
rules = [{ access = "bearer" }]
"#;
    let world = WorldBuilder::with(TRAEFIK).tables(tables).start().await;
    // An app that is told the access token.
    let told = "headers = [\"oauth2-proxy\"]\npass_access_token = true";
    world.gate.configure(&world.config().replacen("headers = [\"remote\", \"authentik\"]", told, 1));
    reloaded(&world.gate, 1).await;
    let alice = world.person("alice");
    let echo = alice.visit(&world.at("app", "/")).await.echo();
    let token = echo.values_as("X-Auth-Request-Access-Token")[0].to_owned();
    let client = world.visitor().with("authorization", &format!("Bearer {token}"));
    let echo = client.fetch(&world.at("api", "/x")).await.echo();
    assert_eq!(echo.values_as("Remote-User"), ["alice"], "{echo:?}");
    assert_eq!(echo.values_as("Remote-Groups"), ["admins,staff"], "claims of userinfo: {echo:?}");
    let session_alone = alice.open(&world.at("api", "/x")).await;
    assert_eq!(session_alone.status, StatusCode::UNAUTHORIZED, "a session is no credential here: {session_alone:?}");
    world.provider.control("revoke?user=alice").await;
    assert_eq!(client.fetch(&world.at("other", "/x")).await.reason(), "invalid_token");
}
