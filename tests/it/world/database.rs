//! A real PostgreSQL, a real PgBouncer and a wire that misbehaves between them and the gate. Unit tests of the session
//! store use this file too.
//!
//! Servers run as the user `postgres` where the tests run as root, in folders of their own, and end with the process
//! that started them, however that ends.

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

/// How long a server may take on a machine that is busy with other things. Not an expectation: a way out.
const PATIENCE: Duration = Duration::from_mins(1);
const STEP: Duration = Duration::from_millis(20);

/// Runs a server, and ends it and its folder when standard input closes, which it does with the test at the latest.
const KEEPER: &str = "dir=$1; signal=$2; shift 2; \"$@\" >>\"$dir/log\" 2>&1 & server=$!; cat >/dev/null; \
                      kill -$signal $server 2>/dev/null; wait $server; [ -e \"$dir/keep\" ] || rm -rf \"$dir\"";

/// A server of PostgreSQL.
pub(crate) struct Database {
    pub(crate) port: u16,
    dir: PathBuf,
    keeper: Option<Child>,
}

impl Database {
    /// The server that tests share which do it no harm; each makes a database of its own.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Database> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A server of one's own, with nothing in it.
    pub(crate) fn start() -> Self {
        let dir = folder();
        let initdb = ["--no-sync", "--auth=trust", "--encoding=UTF8", "--username=doorward", "-D"];
        run(owned(&program("initdb")).args(initdb).arg(dir.join("data")));
        let hba = "local all all trust\n\
                   host all careful 127.0.0.1/32 scram-sha-256\n\
                   host replication all 127.0.0.1/32 trust\n\
                   host all all 127.0.0.1/32 trust\n";
        fs::write(dir.join("data/pg_hba.conf"), hba).unwrap();
        let mut database = Self { port: free_port(), dir, keeper: None };
        database.start_again();
        database
    }

    /// A server that follows this one and takes no writes until it is promoted.
    pub(crate) fn standby(&self) -> Self {
        let (dir, port) = (folder(), self.port.to_string());
        let options = ["--no-sync", "--checkpoint=fast", "-R", "-h", "127.0.0.1", "-p", &port, "-U", "doorward", "-D"];
        run(owned(&program("pg_basebackup")).args(options).arg(dir.join("data")));
        let mut standby = Self { port: free_port(), dir, keeper: None };
        standby.start_again();
        standby
    }

    /// Starts it after [`Database::crash`].
    pub(crate) fn start_again(&mut self) {
        let _ = fs::remove_file(self.dir.join("keep"));
        let mut command = keeper(&self.dir, "QUIT");
        command.arg(program("postgres")).arg("-D").arg(self.dir.join("data"));
        command.arg("-p").arg(self.port.to_string()).arg("-k").arg(&self.dir);
        for setting in ["listen_addresses=127.0.0.1", "fsync=off", "max_connections=100", "log_min_messages=warning"] {
            command.args(["-c", setting]);
        }
        self.keeper = Some(command.spawn().unwrap());
        until("PostgreSQL", &self.dir, || self.try_sql("postgres", "SELECT 1").is_some());
    }

    /// Ends it without a last word; its files stay.
    pub(crate) fn crash(&mut self) {
        fs::write(self.dir.join("keep"), "").unwrap();
        end(&mut self.keeper);
    }

    /// Takes connections over TLS, and in clear text no more but for ourselves.
    pub(crate) fn encrypt(&self, certificate: &str, key: &str) {
        let data = self.dir.join("data");
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = data.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            if let Some((user, group)) = servant() {
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

    /// Makes a standby the primary.
    pub(crate) fn promote(&self) {
        self.sql("postgres", "SELECT pg_promote()");
    }

    /// A new database, and the address of it.
    pub(crate) fn create(&self) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("doorward_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        url(self.port, &name)
    }

    /// What a statement gives, as text.
    pub(crate) fn sql(&self, database: &str, statement: &str) -> String {
        self.try_sql(database, statement).unwrap_or_else(|| panic!("{statement}\n{}", log(&self.dir)))
    }

    /// Whether somebody else may say a statement.
    pub(crate) fn takes_from(&self, role: &str, database: &str, statement: &str) -> bool {
        let mut command = self.psql(database);
        let output = command.args(["-U", role, "-Atqc", statement]).stderr(Stdio::null()).output().unwrap();
        output.status.success()
    }

    /// Puts the many sessions that a query gives into the store's table. The indexes are made afterwards.
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

    /// Somebody else's session, with these statements sent and nothing more until it is dropped.
    pub(crate) fn visitor(&self, database: &str, statements: &str) -> Visit {
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
        Visit { child, _input: input }
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
        end(&mut self.keeper);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A session of somebody else; dropping it ends it.
pub(crate) struct Visit {
    child: Child,
    _input: std::process::ChildStdin,
}

impl Drop for Visit {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A pooler before a server.
pub(crate) struct Bouncer {
    pub(crate) port: u16,
    keeper: Option<Child>,
}

impl Bouncer {
    /// In `mode` (`session` or `transaction`), with at most `size` connections to the server.
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
        let child = keeper(&dir, "TERM").arg(path).arg(dir.join("pgbouncer.ini")).spawn().unwrap();
        let bouncer = Self { port, keeper: Some(child) };
        until("PgBouncer", &dir, || std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        bouncer
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        end(&mut self.keeper);
    }
}

/// The address of a database behind a port.
pub(crate) fn url(port: u16, name: &str) -> String {
    format!("postgres://doorward@127.0.0.1:{port}/{name}?sslmode=disable")
}

/// The name of the database in an address.
pub(crate) fn name_in(url: &str) -> &str {
    url.rsplit_once('/').unwrap().1.split('?').next().unwrap()
}

/// What the wire does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Everything passes.
    Fair,
    /// Connections are taken and kept, and nothing passes.
    Stalled,
    /// Connections are ended, and new ones too.
    Cut,
}

/// A wire to a port of this machine.
pub(crate) struct Wire {
    pub(crate) port: u16,
    weather: watch::Sender<Weather>,
    _tasks: JoinSet<()>,
}

impl Wire {
    /// To `target`, in fair weather.
    pub(crate) async fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (weather, seen) = watch::channel(Weather::Fair);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut wires = JoinSet::new();
            loop {
                let Ok((near, _)) = listener.accept().await else { continue };
                wires.spawn(carry(near, (Ipv4Addr::LOCALHOST, target).into(), seen.clone()));
            }
        });
        Self { port, weather, _tasks: tasks }
    }

    /// Changes the weather.
    pub(crate) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn carry(near: TcpStream, target: SocketAddr, mut seen: watch::Receiver<Weather>) {
    if *seen.borrow_and_update() == Weather::Cut {
        return;
    }
    // Accepted, as a host does that hangs.
    if seen.wait_for(|weather| *weather != Weather::Stalled).await.is_err() {
        return;
    }
    let Ok(far) = TcpStream::connect(target).await else { return };
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let cut = async {
        let _ = seen.clone().wait_for(|weather| *weather == Weather::Cut).await;
    };
    tokio::select! {
        () = copy(near_in, far_out, seen.clone()) => {}
        () = copy(far_in, near_out, seen.clone()) => {}
        () = cut => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut seen: watch::Receiver<Weather>) {
    let mut bytes = vec![0; 16_384];
    while let Ok(many @ 1..) = from.read(&mut bytes).await {
        if seen.wait_for(|weather| *weather == Weather::Fair).await.is_err() {
            return;
        }
        if to.write_all(&bytes[..many]).await.is_err() {
            return;
        }
    }
}

/// A folder that the servers' user owns.
fn folder() -> PathBuf {
    let dir = tempfile::Builder::new().prefix("doorward-db-").tempdir().unwrap().keep();
    if let Some((user, group)) = servant() {
        chown(&dir, Some(user), Some(group)).unwrap();
    }
    dir
}

/// The servers refuse to run as root: who they run as then.
fn servant() -> Option<(u32, u32)> {
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
    if let Some((user, group)) = servant() {
        command.uid(user).gid(group);
    }
    command
}

/// `signal` ends the server at once: a shell's background jobs do not hear all of them.
fn keeper(dir: &Path, signal: &str) -> Command {
    let mut command = owned(Path::new("/bin/sh"));
    command
        .args(["-c", KEEPER, "keeper"])
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

fn end(keeper: &mut Option<Child>) {
    if let Some(mut child) = keeper.take() {
        drop(child.stdin.take());
        let _ = child.wait();
    }
}

fn until(name: &str, dir: &Path, ready: impl Fn() -> bool) {
    let patience = Instant::now() + PATIENCE;
    while !ready() {
        assert!(Instant::now() < patience, "{name} is not getting ready:\n{}", log(dir));
        sleep(STEP);
    }
}

fn log(dir: &Path) -> String {
    fs::read_to_string(dir.join("log")).unwrap_or_else(|error| error.to_string())
}

/// A port below the range that the system gives to clients, handed out to nobody else in this process.
fn free_port() -> u16 {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let start = std::process::id() as usize * 37;
    (0..10_000)
        .map(|_| 20_000 + u16::try_from((start + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000).unwrap())
        .find(|port| Bound::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("one of ten thousand ports is free")
}
