//! A real PostgreSQL, a real PgBouncer and a chaos proxy in front of them. Unit tests of the session
//! store use this file too.
//!
//! Servers run as the user `postgres` if the tests run as root, in folders of their own, and end with the process that
//! started them, even if that is killed.

use std::{
    fs,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener as Bound},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

/// Bound of a failing test: how long a server may take on a busy machine. Not an expectation.
const TIMEOUT: Duration = Duration::from_mins(1);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Shell script that runs a server until standard input closes, at the latest with the test, and removes its folder.
pub(crate) const SUPERVISOR: &str = "dir=$1; signal=$2; shift 2; \"$@\" >>\"$dir/log\" 2>&1 & server=$!; cat >/dev/null; \
                      kill -$signal $server 2>/dev/null; wait $server; [ -e \"$dir/keep\" ] || rm -rf \"$dir\"";

/// A PostgreSQL server.
pub(crate) struct Database {
    pub(crate) port: u16,
    dir: PathBuf,
    supervisor: Option<Child>,
}

impl Database {
    /// Returns a server for tests that do not disturb it; each creates a database of its own.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Database> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts an empty server.
    pub(crate) fn start() -> Self {
        let dir = folder();
        let initdb = ["--no-sync", "--auth=trust", "--encoding=UTF8", "--username=doorward", "-D"];
        run(owned(&program("initdb")).args(initdb).arg(dir.join("data")));
        let hba = "local all all trust\n\
                   host all careful 127.0.0.1/32 scram-sha-256\n\
                   host replication all 127.0.0.1/32 trust\n\
                   host all all 127.0.0.1/32 trust\n";
        fs::write(dir.join("data/pg_hba.conf"), hba).unwrap();
        let mut database = Self { port: free_port(), dir, supervisor: None };
        database.start_again();
        database
    }

    /// Starts a standby of this server, read-only until it is promoted.
    pub(crate) fn standby(&self) -> Self {
        let (dir, port) = (folder(), self.port.to_string());
        let options = ["--no-sync", "--checkpoint=fast", "-R", "-h", "127.0.0.1", "-p", &port, "-U", "doorward", "-D"];
        run(owned(&program("pg_basebackup")).args(options).arg(dir.join("data")));
        let mut standby = Self { port: free_port(), dir, supervisor: None };
        standby.start_again();
        standby
    }

    /// Starts the server again after [`Database::crash`].
    pub(crate) fn start_again(&mut self) {
        let _ = fs::remove_file(self.dir.join("keep"));
        let mut command = supervisor(&self.dir, "QUIT");
        command.arg(program("postgres")).arg("-D").arg(self.dir.join("data"));
        command.arg("-p").arg(self.port.to_string()).arg("-k").arg(&self.dir);
        for setting in ["listen_addresses=127.0.0.1", "fsync=off", "max_connections=100", "log_min_messages=warning"] {
            command.args(["-c", setting]);
        }
        self.supervisor = Some(command.spawn().unwrap());
        until("PostgreSQL", &self.dir, || self.try_sql("postgres", "SELECT 1").is_some());
    }

    /// Kills the server; its files stay.
    pub(crate) fn crash(&mut self) {
        fs::write(self.dir.join("keep"), "").unwrap();
        end(&mut self.supervisor);
    }

    /// Requires TLS, except for the test's own connections.
    pub(crate) fn encrypt(&self, certificate: &str, key: &str) {
        let data = self.dir.join("data");
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = data.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            if let Some((user, group)) = server_user() {
                chown(&path, Some(user), Some(group)).unwrap();
            }
        }
        let hba =
            "hostssl all tester 127.0.0.1/32 trust\nhost all tester all reject\nhost all all 127.0.0.1/32 trust\n";
        fs::write(data.join("pg_hba.conf"), hba).unwrap();
        self.sql("postgres", "CREATE ROLE tester LOGIN SUPERUSER");
        self.sql("postgres", "ALTER SYSTEM SET ssl = on");
        self.sql("postgres", "SELECT pg_reload_conf()");
        until("TLS", &self.dir, || self.sql("postgres", "SHOW ssl") == "on");
    }

    /// Promotes a standby to primary.
    pub(crate) fn promote(&self) {
        self.sql("postgres", "SELECT pg_promote()");
    }

    /// Creates a database and returns its URL.
    pub(crate) fn create(&self) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("doorward_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        url(self.port, &name)
    }

    /// Runs a statement and returns its result as text.
    pub(crate) fn sql(&self, database: &str, statement: &str) -> String {
        self.try_sql(database, statement).unwrap_or_else(|| panic!("{statement}\n{}", log(&self.dir)))
    }

    /// Returns `true` if another role may run a statement.
    pub(crate) fn takes_from(&self, role: &str, database: &str, statement: &str) -> bool {
        let mut command = self.psql(database);
        let output = command.args(["-U", role, "-Atqc", statement]).stderr(Stdio::null()).output().unwrap();
        output.status.success()
    }

    /// Fills the store's table with the rows of a query. Indexes are created afterwards.
    pub(crate) fn fill(&self, database: &str, query: &str) {
        let indexes = "FROM pg_indexes WHERE tablename = 'doorward_sessions' AND indexname NOT LIKE '%pkey'";
        let statement = format!(
            "DO $$ DECLARE made text[] := ARRAY(SELECT indexdef {indexes}); i text; BEGIN \
             ALTER TABLE doorward_sessions SET UNLOGGED; \
             FOR i IN SELECT indexname {indexes} LOOP EXECUTE 'DROP INDEX ' || i; END LOOP; \
             INSERT INTO doorward_sessions (key, provider, subject, sid, generation, created, last_seen, sealed) {query}; \
             FOREACH i IN ARRAY made LOOP EXECUTE i; END LOOP; END $$"
        );
        drop([statement.as_str(), "VACUUM ANALYZE doorward_sessions"].map(|statement| self.sql(database, statement)));
    }

    fn try_sql(&self, database: &str, statement: &str) -> Option<String> {
        let output = self.psql(database).args(["-Atqc", statement]).stderr(Stdio::null()).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }

    /// Opens a `psql` session, runs statements in it and keeps it open until it is dropped.
    pub(crate) fn visitor(&self, database: &str, statements: &str) -> PsqlSession {
        let mut command = self.psql(database);
        let mut child =
            command.arg("-Atq").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        writeln!(input, "{statements};\n\\echo done").unwrap();
        let mut said = String::new();
        let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
        while !said.contains("done") {
            assert!(std::io::BufRead::read_line(&mut lines, &mut said).unwrap() > 0, "psql ended: {statements}");
        }
        PsqlSession { child, _input: input }
    }

    fn psql(&self, database: &str) -> Command {
        let mut command = Command::new("/usr/bin/psql");
        command.args(["-X", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
        command.args(["-U", "doorward", "-d", database]);
        command
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        end(&mut self.supervisor);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// An open `psql` session. Dropping it ends it.
pub(crate) struct PsqlSession {
    child: Child,
    _input: std::process::ChildStdin,
}

impl Drop for PsqlSession {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A PgBouncer in front of a server.
pub(crate) struct PgBouncer {
    pub(crate) port: u16,
    supervisor: Option<Child>,
}

impl PgBouncer {
    /// Starts it in `mode` (`session` or `transaction`), with at most `size` connections to the server.
    pub(crate) fn start(database: &Database, mode: &str, size: usize) -> Self {
        let (dir, port) = (folder(), free_port());
        let config = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=doorward\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\ndefault_pool_size = {size}\n\
             max_client_conn = 1000\n",
            database.port
        );
        fs::write(dir.join("pgbouncer.ini"), config).unwrap();
        let path = PathBuf::from("/usr/sbin/pgbouncer");
        assert!(path.exists(), "PgBouncer is not installed: run `make setup`");
        let child = supervisor(&dir, "TERM").arg(path).arg(dir.join("pgbouncer.ini")).spawn().unwrap();
        let bouncer = Self { port, supervisor: Some(child) };
        until("PgBouncer", &dir, || std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        bouncer
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        end(&mut self.supervisor);
    }
}

/// Returns the URL of a database behind a port.
pub(crate) fn url(port: u16, name: &str) -> String {
    format!("postgres://doorward@127.0.0.1:{port}/{name}?sslmode=disable")
}

/// Returns the name of the database in a URL.
pub(crate) fn name_in(url: &str) -> &str {
    url.rsplit_once('/').unwrap().1.split('?').next().unwrap()
}

/// State of a chaos proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkState {
    /// Bytes pass.
    Open,
    /// Connections are accepted and kept, but no byte passes.
    Stalled,
    /// Connections are closed, including new ones.
    Cut,
}

/// A TCP proxy to a port of this machine that can stall and cut connections.
pub(crate) struct ChaosProxy {
    pub(crate) port: u16,
    state: watch::Sender<LinkState>,
    _tasks: JoinSet<()>,
}

impl ChaosProxy {
    /// Starts a proxy to `target` that is open.
    pub(crate) async fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (state, seen) = watch::channel(LinkState::Open);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut wires = JoinSet::new();
            loop {
                let Ok((near, _)) = listener.accept().await else { continue };
                wires.spawn(forward(near, (Ipv4Addr::LOCALHOST, target).into(), seen.clone()));
            }
        });
        Self { port, state, _tasks: tasks }
    }

    /// Sets the state.
    pub(crate) fn set(&self, state: LinkState) {
        self.state.send_replace(state);
    }
}

async fn forward(near: TcpStream, target: SocketAddr, mut seen: watch::Receiver<LinkState>) {
    if *seen.borrow_and_update() == LinkState::Cut {
        return;
    }
    // Accepted, as by a host that hangs.
    if seen.wait_for(|state| *state != LinkState::Stalled).await.is_err() {
        return;
    }
    let Ok(far) = TcpStream::connect(target).await else { return };
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let cut = async {
        let _ = seen.clone().wait_for(|state| *state == LinkState::Cut).await;
    };
    tokio::select! {
        () = copy(near_in, far_out, seen.clone()) => {}
        () = copy(far_in, near_out, seen.clone()) => {}
        () = cut => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut seen: watch::Receiver<LinkState>) {
    let mut bytes = vec![0; 16_384];
    while let Ok(many @ 1..) = from.read(&mut bytes).await {
        if seen.wait_for(|state| *state == LinkState::Open).await.is_err() {
            return;
        }
        if to.write_all(&bytes[..many]).await.is_err() {
            return;
        }
    }
}

/// Creates a folder that the servers' user owns.
fn folder() -> PathBuf {
    let dir = tempfile::Builder::new().prefix("doorward-db-").tempdir().unwrap().keep();
    if let Some((user, group)) = server_user() {
        chown(&dir, Some(user), Some(group)).unwrap();
    }
    dir
}

/// Returns user and group of the servers if the tests run as root, which servers refuse.
fn server_user() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line =
        users.lines().find(|line| line.starts_with("postgres:")).expect("there is a user postgres: `make setup`");
    let mut fields = line.split(':').skip(2).map(|field| field.parse().unwrap());
    Some((fields.next().unwrap(), fields.next().unwrap()))
}

fn owned(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/");
    if let Some((user, group)) = server_user() {
        command.uid(user).gid(group);
    }
    command
}

/// Returns the supervising shell. `signal` is the one that ends the server at once: background jobs of a shell ignore some.
fn supervisor(dir: &Path, signal: &str) -> Command {
    let mut command = owned(Path::new("/bin/sh"));
    command
        .args(["-c", SUPERVISOR, "supervisor"])
        .arg(dir)
        .arg(signal)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = versions.map(|version| version.path().join("bin").join(name)).collect();
    found.retain(|path| path.exists());
    found.sort();
    found.pop().unwrap_or_else(|| panic!("PostgreSQL is not installed: run `make setup`"))
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn end(supervisor: &mut Option<Child>) {
    if let Some(mut child) = supervisor.take() {
        drop(child.stdin.take());
        let _ = child.wait();
    }
}

fn until(name: &str, dir: &Path, ready: impl Fn() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !ready() {
        assert!(Instant::now() < deadline, "{name} is not getting ready:\n{}", log(dir));
        // A real server: polled, with a bound.
        sleep(POLL_INTERVAL);
    }
}

fn log(dir: &Path) -> String {
    fs::read_to_string(dir.join("log")).unwrap_or_else(|error| error.to_string())
}

/// Returns a free port below the system's range for clients, handed out once in this process.
fn free_port() -> u16 {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let start = std::process::id() as usize * 37;
    (0..10_000)
        .map(|_| 20_000 + u16::try_from((start + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000).unwrap())
        .find(|port| Bound::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("one of ten thousand ports is free")
}
