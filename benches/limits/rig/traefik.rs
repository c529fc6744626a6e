//! A real Traefik with three entry points to the same app: without the gate, with subrequests over plain HTTP, and with
//! subrequests over TLS. The middlewares are those of `deploy/`, of which only names, addresses and paths are replaced.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
};

use tempfile::TempDir;

use super::{
    account::Account,
    nginx,
    program::{Program, tool},
};

/// Entry point of the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// No middleware.
    Open,
    /// Subrequests over plain HTTP.
    Plain,
    /// Subrequests over TLS with HTTP/2.
    Tls,
}

/// Addresses of app and gates.
pub(crate) struct Neighbours<'a> {
    pub(crate) app: SocketAddr,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    /// File of the authority of the gate's certificate.
    pub(crate) authority: &'a Path,
}

/// A running Traefik.
pub(crate) struct Traefik {
    program: Program,
    doors: [SocketAddr; 3],
    _folder: TempDir,
}

impl Door {
    const ALL: [Self; 3] = [Self::Open, Self::Plain, Self::Tls];

    fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Plain => "plain",
            Self::Tls => "tls",
        }
    }
}

impl Traefik {
    /// Starts it, and waits until it listens.
    pub(crate) fn start(neighbours: &Neighbours<'_>) -> Self {
        let folder = tempfile::tempdir().expect("a folder for Traefik");
        let at = folder.path();
        let doors = [nginx::free_address(), nginx::free_address(), nginx::free_address()];
        let dynamic = at.join("dynamic");
        fs::create_dir(&dynamic).expect("the folder takes folders");
        let write = |path: &Path, text: String| fs::write(path, text).expect("the folder takes files");
        write(&at.join("traefik.yml"), doors_file(&doors, &dynamic));
        write(&dynamic.join("apps.yml"), routes(neighbours.app));
        for (door, gate) in [(Door::Plain, neighbours.plain), (Door::Tls, neighbours.tls)] {
            let scheme = if door == Door::Tls { "https" } else { "http" };
            let text = fs::read_to_string("deploy/traefik/dynamic/gate.yml").expect("deploy/ has it");
            let text = text
                .replace("    doorward:\n", &format!("    {}:\n", door.name()))
                .replace("https://127.0.0.1:9000", &format!("{scheme}://127.0.0.1:{}", gate.port()))
                .replace("/etc/traefik/gate-ca.pem", &neighbours.authority.display().to_string());
            write(&dynamic.join(format!("gate-{}.yml", door.name())), text);
        }
        let log = at.join("log");
        let mut program = Program::start(tool("traefik").arg("--configFile").arg(at.join("traefik.yml")), &log);
        // It listens before it has read its files.
        program.until(&log, || doors.iter().all(|door| routes_to_the_app(*door).unwrap_or(false)));
        Self { program, doors, _folder: folder }
    }

    /// Returns the address of an entry point.
    pub(crate) fn door(&self, door: Door) -> SocketAddr {
        let [open, plain, tls] = self.doors;
        match door {
            Door::Open => open,
            Door::Plain => plain,
            Door::Tls => tls,
        }
    }

    /// Returns the account of its CPU time.
    pub(crate) fn account(&self) -> Account {
        Account::Process(self.program.pid())
    }
}

/// Returns `true` if an entry point has a route, even to a refusal.
fn routes_to_the_app(door: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(door)?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: grafana.example.com\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(!answer.starts_with(b"HTTP/1.1 404"))
}

fn doors_file(doors: &[SocketAddr; 3], dynamic: &Path) -> String {
    let entries = Door::ALL.iter().zip(doors).map(|(door, address)| {
        format!("  {}: {{ address: \"{address}\", http: {{ aliasHeadersStrategy: delete }} }}\n", door.name())
    });
    let entries: String = entries.collect();
    format!(
        "global: {{ checkNewVersion: false, sendAnonymousUsage: false }}\nentryPoints:\n{entries}\
         providers:\n  file: {{ directory: {} }}\n",
        dynamic.display()
    )
}

fn routes(app: SocketAddr) -> String {
    let routers = Door::ALL.iter().map(|door| {
        let guard = match door {
            Door::Open => String::new(),
            _ => format!(", middlewares: [{}]", door.name()),
        };
        let name = door.name();
        format!("    {name}: {{ entryPoints: [{name}], rule: \"PathPrefix(`/`)\", service: app{guard} }}\n")
    });
    let routers: String = routers.collect();
    format!(
        "http:\n  routers:\n{routers}  services:\n    app: {{ loadBalancer: {{ servers: [{{ url: \"http://{app}\" }}] }} }}\n"
    )
}
