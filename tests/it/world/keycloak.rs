//! A real Keycloak: one for all tests of a run, with a realm for each test.
//!
//! It starts when the first test asks for it and ends with the process that runs the tests, even if that is killed.

use std::{
    fs,
    ops::Deref,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use http::{Method, Request, header};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{
    Answer, POLL_INTERVAL, Registration, Visitor, World, database, ports,
    process::{self, system},
    provider::CLIENT_SECRET,
    visitor,
};

/// Bound of a failing test: Keycloak needs ten seconds of a processor to start. Not an expectation.
const START: Duration = Duration::from_mins(4);
/// Client of the master realm that `tests/neighbours/keycloak/install` creates.
const ADMINISTRATOR: &str =
    "grant_type=client_credentials&client_id=tests&client_secret=the-tests-administer-this-keycloak";
/// Few threads, little memory, and the compiler that is quick for a short life.
const JAVA: &[&str] = &[
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Xms64m",
    "-Xmx384m",
    "-Djava.util.concurrent.ForkJoinPool.common.threadFactory=io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
    "--add-opens=java.base/java.security=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
];

static SHARED: OnceCell<RwLock<Keycloak>> = OnceCell::const_new();

/// The server, running or stopped. Its address and its database stay the same.
pub(crate) struct Keycloak {
    port: u16,
    dir: PathBuf,
    supervisor: Option<Child>,
}

/// A realm, with the people of `tests/neighbours/keycloak/realm.json`.
pub(crate) struct Realm {
    name: String,
    keycloak: Share,
}

/// The right to use the server, alone or beside other tests.
enum Share {
    Beside(RwLockReadGuard<'static, Keycloak>),
    Alone(RwLockWriteGuard<'static, Keycloak>),
}

impl Keycloak {
    async fn shared() -> &'static RwLock<Self> {
        SHARED.get_or_init(async || RwLock::new(Self::started().await)).await
    }

    async fn started() -> Self {
        let dir = tempfile::Builder::new().prefix("doorward-keycloak-").tempdir().unwrap().keep();
        let database = home().join("database/keycloak.mv.db");
        fs::copy(&database, dir.join("keycloak.mv.db"))
            .unwrap_or_else(|error| panic!("{}: {error}: run `make setup`", database.display()));
        // Logout tokens go to the gate under the apps' names.
        let names = ["localhost", "app.example.test", "admin.example.test"];
        fs::write(dir.join("hosts"), names.map(|name| format!("127.0.0.1 {name}\n")).concat()).unwrap();
        let mut keycloak = Self { port: ports::free(), dir, supervisor: None };
        keycloak.start().await;
        keycloak
    }

    async fn start(&mut self) {
        let home = home();
        let _ = fs::remove_file(self.dir.join("keep"));
        let mut command = Command::new("/bin/sh");
        command.args(["-c", database::SUPERVISOR, "supervisor"]).arg(&self.dir).arg("KILL");
        command.arg(system("java").get_program()).args(JAVA);
        for (property, value) in [
            ("jdk.net.hosts.file", self.dir.join("hosts")),
            ("quarkus.transaction-manager.object-store.directory", self.dir.join("transactions")),
            ("kc.home.dir", home.clone()),
            ("jboss.server.config.dir", home.join("conf")),
            ("keycloak.theme.dir", home.join("themes")),
        ] {
            command.arg(format!("-D{property}={}", value.display()));
        }
        command.arg("-cp").arg(home.join("lib/quarkus-run.jar"));
        command.args(["io.quarkus.bootstrap.runner.QuarkusEntryPoint", "start", "--optimized", "--cache=local"]);
        command.args(["--http-enabled=true", "--http-host=127.0.0.1", "--hostname-strict=false", "--log-level=warn"]);
        command.args(["--http-pool-max-threads=8", &format!("--http-port={}", self.port)]);
        command.arg(format!("--db-url=jdbc:h2:file:{}/keycloak;NON_KEYWORDS=VALUE", self.dir.display()));
        // Its settings could stand in the environment of the tests too.
        command.env_clear().current_dir(&self.dir);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let supervisor = self.supervisor.insert(command.spawn().unwrap());
        let (ready, deadline) = (format!("http://127.0.0.1:{}/realms/master", self.port), Instant::now() + START);
        while !visitor::answers(&ready).await {
            let has_ended = supervisor.try_wait().unwrap().is_some();
            assert!(!has_ended && Instant::now() < deadline, "Keycloak does not start:\n{}", self.log());
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    fn stop(&mut self) {
        fs::write(self.dir.join("keep"), "").unwrap();
        if let Some(mut supervisor) = self.supervisor.take() {
            drop(supervisor.stdin.take());
            supervisor.wait().unwrap();
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_else(|error| error.to_string())
    }
}

impl Realm {
    /// A new realm of the shared server, with these settings in place of Keycloak's own.
    pub(crate) async fn with(settings: Value) -> Self {
        Self::new(Share::Beside(Keycloak::shared().await.read().await), settings).await
    }

    /// A new realm that no other test uses the server beside, so that it can be stopped.
    pub(crate) async fn alone(settings: Value) -> Self {
        Self::new(Share::Alone(Keycloak::shared().await.write().await), settings).await
    }

    async fn new(keycloak: Share, settings: Value) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("realm-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let template = fs::read_to_string(process::neighbours().join("keycloak/realm.json")).unwrap();
        let mut whole: Value = serde_json::from_str(&template.replace("{realm}", &name)).unwrap();
        for (key, value) in settings.as_object().into_iter().flatten() {
            whole[key] = value.clone();
        }
        let realm = Self { name, keycloak };
        realm.send(Method::POST, "", &whole).await;
        realm
    }

    /// Registers the gate with the documented settings.
    pub(crate) async fn register(&self, world: &World) {
        let at = |path: &str| ["app", "admin"].map(|host| world.at(host, &format!("/_doorward/{path}")));
        let template = fs::read_to_string(process::neighbours().join("keycloak/client.json")).unwrap();
        let mut client: Value = serde_json::from_str(&template).unwrap();
        client["secret"] = json!(CLIENT_SECRET);
        client["redirectUris"] = json!(at("callback"));
        client["attributes"]["post.logout.redirect.uris"] = json!(at("signed_out").join("##"));
        self.send(Method::POST, "/clients", &client).await;
    }

    /// Returns the gate's registration with these scopes.
    pub(crate) fn registration(&self, scopes: &[&str]) -> Registration {
        Registration { issuer: self.issuer(), lines: format!("scopes = {scopes:?}") }
    }

    /// Issuer identifier.
    pub(crate) fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}/realms/{}", self.keycloak.port, self.name)
    }

    /// Fills in Keycloak's sign-in page, and follows redirects.
    pub(crate) async fn sign_in(&self, visitor: &Visitor, page: &Answer, user: &str) -> Answer {
        assert!(page.text().contains("kc-form-login"), "not Keycloak's sign-in page: {page:?}\n{}", page.text());
        visitor.submit(page, &[("username", user), ("password", &format!("the password of {user}"))]).await
    }

    /// Reads from the realm's part of the administration API.
    pub(crate) async fn read(&self, path: &str) -> Value {
        self.send(Method::GET, path, &Value::Null).await.json()
    }

    /// Returns the first of the list at `path`. Fails if it is empty.
    pub(crate) async fn first(&self, path: &str) -> Value {
        let list = self.read(path).await;
        list.get(0).unwrap_or_else(|| panic!("{path} has none")).clone()
    }

    /// Returns the id of a person.
    pub(crate) async fn person(&self, user: &str) -> String {
        self.first(&format!("/users?exact=true&username={user}")).await["id"].as_str().unwrap().to_owned()
    }

    /// Returns the id of the gate as a client.
    pub(crate) async fn client(&self) -> String {
        self.first("/clients?clientId=doorward").await["id"].as_str().unwrap().to_owned()
    }

    /// Changes the gate's registration.
    pub(crate) async fn amend(&self, change: impl FnOnce(&mut Value)) {
        let mut client = self.first("/clients?clientId=doorward").await;
        change(&mut client);
        let path = format!("/clients/{}", client["id"].as_str().unwrap());
        self.send(Method::PUT, &path, &client).await;
    }

    /// Sends a request to the realm's part of the administration API, which has to succeed.
    pub(crate) async fn send(&self, method: Method, path: &str, body: &Value) -> Answer {
        let root = format!("http://127.0.0.1:{}", self.keycloak.port);
        let ask = Request::post(format!("{root}/realms/master/protocol/openid-connect/token"))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(ADMINISTRATOR))
            .unwrap();
        let granted = visitor::exchange(ask, None).await.expect("Keycloak listens").json();
        // Realms are created by their collection, and are a part of it from then on.
        let place =
            if path.is_empty() && method == Method::POST { String::new() } else { format!("/{}{path}", self.name) };
        let request = Request::builder()
            .method(&method)
            .uri(format!("{root}/admin/realms{place}"))
            .header(header::AUTHORIZATION, format!("Bearer {}", granted["access_token"].as_str().unwrap()))
            .header(header::CONTENT_TYPE, "application/json")
            .body(if body.is_null() { Full::default() } else { Full::from(body.to_string()) })
            .unwrap();
        let answer = visitor::exchange(request, None).await.expect("Keycloak listens");
        assert!(answer.status.is_success(), "{method} {place}: {answer:?}");
        answer
    }

    /// Kills the server. Only for a realm that is alone.
    pub(crate) fn stop_keycloak(&mut self) {
        self.keycloak.alone().stop();
    }

    /// Starts the server again.
    pub(crate) async fn start_keycloak(&mut self) {
        self.keycloak.alone().start().await;
    }
}

impl Share {
    fn alone(&mut self) -> &mut Keycloak {
        match self {
            Self::Alone(keycloak) => keycloak,
            Self::Beside(_) => panic!("other tests use this Keycloak"),
        }
    }
}

impl Deref for Share {
    type Target = Keycloak;

    fn deref(&self) -> &Keycloak {
        match self {
            Self::Beside(keycloak) => keycloak,
            Self::Alone(keycloak) => keycloak,
        }
    }
}

fn home() -> PathBuf {
    process::neighbours().join(".tools/keycloak")
}
