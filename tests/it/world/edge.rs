//! The real edges with the files of `deploy/`, of which only addresses and paths are replaced.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    Transport, ports,
    process::{self, Process},
    visitor,
};

/// Edge in front of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EdgeKind {
    /// Traefik, with or without TLS on either side.
    Traefik {
        /// Transport between browser and Traefik.
        entry: Transport,
        /// Transport between Traefik and the gate.
        gate: Transport,
        /// Routing of the gate's own pages.
        pages: PageRouting,
    },
    /// nginx, over TLS.
    Nginx,
    /// Caddy, over TLS.
    Caddy,
    /// Envoy, over TLS.
    Envoy,
    /// HAProxy, over TLS.
    HaProxy,
}

/// Every edge, as the documentation recommends it.
pub(crate) const EDGES: [EdgeKind; 5] =
    [super::TRAEFIK, EdgeKind::Nginx, EdgeKind::Caddy, EdgeKind::Envoy, EdgeKind::HaProxy];

/// Routing of the gate's own pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageRouting {
    /// A route of their own.
    Routed,
    /// Through the middleware only.
    Guarded,
}

/// Cookies that an app gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ForwardedCookies {
    /// Cookies of the client.
    Unchanged,
    /// Cookies of the gate's response, for `session.hide_cookies`.
    FromGate,
}

/// A running edge.
pub(crate) struct Edge {
    kind: EdgeKind,
    /// Changes to the shipped files: file in the edge's folder, text in it, replacement.
    changes: Vec<(&'static str, &'static str, &'static str)>,
    cookies: ForwardedCookies,
    plain: u16,
    tls: u16,
    /// Path at which it has a route.
    ready_at: &'static str,
    /// Port of Caddy's administration.
    admin: u16,
    process: Option<Process>,
}

impl EdgeKind {
    /// Returns the transport between browser and edge.
    pub(crate) fn entry(self) -> Transport {
        match self {
            Self::Traefik { entry, .. } => entry,
            Self::Nginx | Self::Caddy | Self::Envoy | Self::HaProxy => Transport::Tls,
        }
    }

    /// Returns the transport between edge and gate.
    pub(crate) fn gate(self) -> Transport {
        match self {
            Self::Traefik { gate, .. } => gate,
            Self::Nginx | Self::Caddy | Self::Envoy | Self::HaProxy => Transport::Plain,
        }
    }
}

impl Edge {
    /// An edge with ports of its own, not yet started.
    pub(crate) fn new(kind: EdgeKind, changes: Vec<(&'static str, &'static str, &'static str)>) -> Self {
        let (plain, tls, admin) = (ports::free(), ports::free(), ports::free());
        let cookies = ForwardedCookies::Unchanged;
        Self { kind, changes, cookies, plain, tls, ready_at: "/", admin, process: None }
    }

    /// Enables the documented lines for these cookies.
    pub(crate) fn with(self, cookies: ForwardedCookies) -> Self {
        Self { cookies, ..self }
    }

    /// Sets the path at which it has a route.
    pub(crate) fn ready_at(self, path: &'static str) -> Self {
        Self { ready_at: path, ..self }
    }

    /// Returns its kind.
    pub(crate) fn kind(&self) -> EdgeKind {
        self.kind
    }

    /// Uncomments a documented line if it is needed.
    fn line(&self, commented: &str) -> Replacement {
        let line = commented.trim_start_matches("# ");
        (commented.to_owned(), if self.cookies == ForwardedCookies::FromGate { line } else { commented }.to_owned())
    }

    /// Returns the port for browsers.
    pub(crate) fn port(&self) -> u16 {
        match self.kind.entry() {
            Transport::Plain => self.plain,
            Transport::Tls => self.tls,
        }
    }

    /// Returns the port for clear text.
    pub(crate) fn plain_port(&self) -> u16 {
        self.plain
    }

    /// Starts it in front of the gate and the app on these ports, and waits until it responds.
    pub(crate) async fn start(&mut self, dir: &Path, gate: u16, app: u16) {
        let at = dir.join("edge");
        fs::create_dir_all(&at).unwrap();
        let files = EdgeFiles { dir, at: &at, gate, app, changes: &self.changes };
        let mut process = match self.kind {
            EdgeKind::Traefik { gate, pages, .. } => self.traefik(&files, gate, pages),
            EdgeKind::Nginx => self.nginx(&files),
            EdgeKind::Caddy => self.caddy(&files),
            EdgeKind::Envoy => self.envoy(&files),
            EdgeKind::HaProxy => self.haproxy(&files),
        };
        // A host that the gate refuses: until its routes are loaded, Traefik responds with 404.
        let url = format!("{}://nobody.example.test:{}{}", self.kind.entry().scheme(), self.port(), self.ready_at);
        process.until(|| visitor::routes(dir, &url)).await;
        self.process = Some(process);
    }

    fn traefik(&self, files: &EdgeFiles<'_>, gate: Transport, pages: PageRouting) -> Process {
        let listen = [
            ("\":80\"".to_owned(), format!("\"127.0.0.1:{}\"", self.plain)),
            ("\":443\"".to_owned(), format!("\"127.0.0.1:{}\"", self.tls)),
            files.path("/etc/traefik"),
        ];
        let config = files.copy("traefik/traefik.yml", &listen);
        let ca = ("/etc/traefik/gate-ca.pem".to_owned(), files.dir.join("ca.pem").display().to_string());
        let address = ("https://127.0.0.1:9000".to_owned(), format!("{}://127.0.0.1:{}", gate.scheme(), files.gate));
        files.copy("traefik/dynamic/gate.yml", &[ca.clone(), address.clone(), self.line("# - Cookie")]);
        if pages == PageRouting::Routed {
            files.copy("traefik/dynamic/pages.yml", &[ca, address, domain(r"example\\.com", r"example\\.test")]);
        }
        files.copy(
            "traefik/dynamic/apps.yml",
            &[files.app(), files.certificates("/etc/traefik/"), domain(r"example\\.com", r"example\\.test")],
        );
        Process::start("traefik", process::tool("traefik").arg("--configFile").arg(config), files.dir)
    }

    fn nginx(&self, files: &EdgeFiles<'_>) -> Process {
        let replacements = [
            ("listen 80;".to_owned(), format!("listen 127.0.0.1:{};", self.plain)),
            ("listen 443 ssl;".to_owned(), format!("listen 127.0.0.1:{} ssl;", self.tls)),
            domain("example.com", "example.test"),
            files.certificates("/etc/nginx/tls"),
            files.path("/etc/nginx/doorward"),
            files.gate(),
            files.app(),
        ];
        let app = files.copy("nginx/app.conf", &replacements);
        files.copy("nginx/server.conf", &[]);
        let lines = ["# auth_request_set $doorward_app_cookies", "# proxy_set_header Cookie "];
        files.copy("nginx/location.conf", &lines.map(|line| self.line(line)));
        let main = files.at.join("main.conf");
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("  {name}_temp_path {}/{name};\n", files.at.display()))
            .concat();
        // A single process, so that killing it leaves no worker behind.
        let frame = format!(
            "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log stderr warn;\nevents {{}}\n\
             http {{\n  access_log off;\n{temporary}  include {app};\n}}\n",
            at = files.at.display(),
            app = app.display(),
        );
        fs::write(&main, frame).unwrap();
        let mut command = process::system("nginx");
        command.arg("-e").arg("stderr").arg("-p").arg(files.at).arg("-c").arg(&main);
        Process::start("nginx", &mut command, files.dir)
    }

    fn caddy(&self, files: &EdgeFiles<'_>) -> Process {
        let replacements = [
            // Addresses and ports, which are Caddy's defaults.
            (
                "\tservers {\n".to_owned(),
                format!(
                    "\tdefault_bind 127.0.0.1\n\thttp_port {}\n\thttps_port {}\n\tservers {{\n",
                    self.plain, self.tls
                ),
            ),
            domain("*.example.com", "*.example.test"),
            self.line("# Cookie\n"),
            files.certificates("/etc/caddy/tls"),
            files.gate(),
            files.app(),
        ];
        files.copy("caddy/Caddyfile", &replacements);
        Process::start("caddy", &mut self.caddy_command("run", files.dir), files.dir)
    }

    /// Returns a command of Caddy, such as `reload`, for the Caddyfile of this edge.
    pub(crate) fn caddy_command(&self, what: &str, dir: &Path) -> Command {
        let at = dir.join("edge");
        let mut command = process::tool("caddy");
        command.args([what, "--adapter", "caddyfile", "--config"]).arg(at.join("Caddyfile"));
        command.env("XDG_DATA_HOME", &at).env("XDG_CONFIG_HOME", &at);
        command.env("CADDY_ADMIN", format!("127.0.0.1:{}", self.admin));
        command
    }

    fn haproxy(&self, files: &EdgeFiles<'_>) -> Process {
        let replacements = [
            ("bind :80".to_owned(), format!("bind 127.0.0.1:{}", self.plain)),
            ("bind :443".to_owned(), format!("bind 127.0.0.1:{}", self.tls)),
            files.path("/etc/haproxy"),
            files.gate(),
            files.app(),
        ];
        let config = files.copy("haproxy/haproxy.cfg", &replacements);
        files.copy("haproxy/doorward.lua", &[]);
        let pair = ["tls.pem", "tls.key"].map(|name| fs::read_to_string(files.dir.join(name)).unwrap());
        fs::write(files.at.join("tls.pem"), pair.concat()).unwrap();
        Process::start("haproxy", process::system("haproxy").args(["-db", "-f"]).arg(config), files.dir)
    }

    fn envoy(&self, files: &EdgeFiles<'_>) -> Process {
        let replacements = [
            ("address: 0.0.0.0, port_value: 443".to_owned(), format!("address: 127.0.0.1, port_value: {}", self.tls)),
            (
                "address: 127.0.0.1, port_value: 9000".to_owned(),
                format!("address: 127.0.0.1, port_value: {}", files.gate),
            ),
            (
                "address: 127.0.0.1, port_value: 8080".to_owned(),
                format!("address: 127.0.0.1, port_value: {}", files.app),
            ),
            domain("*.example.com", "*.example.test"),
            files.certificates("/etc/envoy/tls"),
        ];
        let config = files.copy("envoy/envoy.yaml", &replacements);
        let mut command = process::tool("envoy");
        command.args(["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warn", "-c"]).arg(config);
        Process::start("envoy", &mut command, files.dir)
    }
}

/// Files and addresses of an edge in one test.
struct EdgeFiles<'a> {
    dir: &'a Path,
    at: &'a Path,
    gate: u16,
    app: u16,
    changes: &'a [(&'static str, &'static str, &'static str)],
}

/// Documented text, and its replacement.
type Replacement = (String, String);

impl EdgeFiles<'_> {
    /// Copies a file of `deploy/` with replacements. Each replaced text has to be in the file.
    fn copy(&self, file: &str, replacements: &[Replacement]) -> PathBuf {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file);
        let mut text = fs::read_to_string(&source).unwrap();
        for (_, from, to) in self.changes.iter().filter(|(changed, ..)| file.ends_with(changed)) {
            assert!(text.contains(from), "deploy/{file} has no {from}");
            text = text.replace(from, to);
        }
        for (from, to) in replacements {
            assert!(text.contains(from), "deploy/{file} has no {from}");
            text = text.replace(from, to);
        }
        // Without the first folder, which is the edge's name.
        let target = self.at.join(file.split_once('/').unwrap().1);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(&target, text).unwrap();
        target
    }

    fn gate(&self) -> Replacement {
        ("127.0.0.1:9000".to_owned(), format!("127.0.0.1:{}", self.gate))
    }

    fn app(&self) -> Replacement {
        ("127.0.0.1:8080".to_owned(), format!("127.0.0.1:{}", self.app))
    }

    fn path(&self, documented: &str) -> Replacement {
        (documented.to_owned(), self.at.display().to_string())
    }

    fn certificates(&self, documented: &str) -> Replacement {
        let ours = if documented.ends_with("tls") { self.dir.join("tls") } else { self.dir.join("") };
        (documented.to_owned(), ours.display().to_string())
    }
}

fn domain(documented: &str, ours: &str) -> Replacement {
    (documented.to_owned(), ours.to_owned())
}
