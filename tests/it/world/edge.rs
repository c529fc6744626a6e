//! The real edges, with the files of `deploy/`: only addresses and paths are put in.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    Wire, ports,
    process::{self, Process},
    visitor,
};

/// Which edge stands before the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Traefik, in clear text or over TLS, asking the gate in clear text or over TLS.
    Traefik {
        /// Between browser and Traefik.
        entry: Wire,
        /// Between Traefik and the gate.
        gate: Wire,
        /// Whether the gate's own pages have a route of their own.
        pages: Pages,
    },
    /// nginx, over TLS.
    Nginx,
    /// Caddy, over TLS.
    Caddy,
    /// Envoy, over TLS.
    Envoy,
}

/// How the gate's own pages are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pages {
    /// By a route of their own.
    Routed,
    /// Through the middleware alone.
    Guarded,
}

/// Whose cookies an app gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cookies {
    /// What the client sent.
    Everybodys,
    /// What the gate's answer says: for `session.hide_cookies`.
    AsAnswered,
}

/// A running edge.
pub(crate) struct Edge {
    kind: Kind,
    /// What an operator has changed in the shipped files: a file of the edge's folder, a text in it, another.
    changes: Vec<(&'static str, &'static str, &'static str)>,
    cookies: Cookies,
    plain: u16,
    tls: u16,
    process: Option<Process>,
}

impl Kind {
    /// Between browser and edge.
    pub(crate) fn entry(self) -> Wire {
        match self {
            Self::Traefik { entry, .. } => entry,
            Self::Nginx | Self::Caddy | Self::Envoy => Wire::Tls,
        }
    }

    /// Between edge and gate.
    pub(crate) fn gate(self) -> Wire {
        match self {
            Self::Traefik { gate, .. } => gate,
            Self::Nginx | Self::Caddy | Self::Envoy => Wire::Plain,
        }
    }
}

impl Edge {
    /// An edge with ports of its own; not yet started.
    pub(crate) fn new(kind: Kind, changes: Vec<(&'static str, &'static str, &'static str)>) -> Self {
        let (plain, tls) = (ports::free(), ports::free());
        Self { kind, changes, cookies: Cookies::Everybodys, plain, tls, process: None }
    }

    /// The same edge with the lines that the documentation has for these cookies.
    pub(crate) fn with(self, cookies: Cookies) -> Self {
        Self { cookies, ..self }
    }

    /// Takes a documented line in where it is wanted.
    fn line(&self, commented: &str) -> Swap {
        let line = commented.trim_start_matches("# ");
        (commented.to_owned(), if self.cookies == Cookies::AsAnswered { line } else { commented }.to_owned())
    }

    /// The port that browsers ask.
    pub(crate) fn port(&self) -> u16 {
        match self.kind.entry() {
            Wire::Plain => self.plain,
            Wire::Tls => self.tls,
        }
    }

    /// The port for clear text.
    pub(crate) fn plain_port(&self) -> u16 {
        self.plain
    }

    /// Starts it before the gate and the app on these ports, and waits until it answers.
    pub(crate) async fn start(&mut self, dir: &Path, gate: u16, app: u16) {
        let at = dir.join("edge");
        fs::create_dir_all(&at).unwrap();
        let places = Places { dir, at: &at, gate, app, changes: &self.changes };
        let mut process = match self.kind {
            Kind::Traefik { gate, pages, .. } => self.traefik(&places, gate, pages),
            Kind::Nginx => self.nginx(&places),
            Kind::Caddy => self.caddy(&places),
            Kind::Envoy => self.envoy(&places),
        };
        // A host that the gate refuses: until its routes are loaded, Traefik knows nothing at all.
        let url = format!("{}://nobody.example.test:{}/", self.kind.entry().scheme(), self.port());
        process.until(|| visitor::routes(dir, &url)).await;
        self.process = Some(process);
    }

    fn traefik(&self, places: &Places<'_>, gate: Wire, pages: Pages) -> Process {
        let listen = [
            ("\":80\"".to_owned(), format!("\"127.0.0.1:{}\"", self.plain)),
            ("\":443\"".to_owned(), format!("\"127.0.0.1:{}\"", self.tls)),
            places.path("/etc/traefik"),
        ];
        let config = places.copy("traefik/traefik.yml", &listen);
        let ca = ("/etc/traefik/gate-ca.pem".to_owned(), places.dir.join("ca.pem").display().to_string());
        let address = ("https://127.0.0.1:9000".to_owned(), format!("{}://127.0.0.1:{}", gate.scheme(), places.gate));
        places.copy("traefik/dynamic/gate.yml", &[ca.clone(), address.clone(), self.line("# - Cookie")]);
        if pages == Pages::Routed {
            places.copy("traefik/dynamic/pages.yml", &[ca, address, domain(r"example\\.com", r"example\\.test")]);
        }
        places.copy(
            "traefik/dynamic/apps.yml",
            &[places.app(), places.certificates("/etc/traefik/"), domain(r"example\\.com", r"example\\.test")],
        );
        Process::start("traefik", process::tool("traefik").arg("--configFile").arg(config), places.dir)
    }

    fn nginx(&self, places: &Places<'_>) -> Process {
        let swaps = [
            ("listen 80;".to_owned(), format!("listen 127.0.0.1:{};", self.plain)),
            ("listen 443 ssl;".to_owned(), format!("listen 127.0.0.1:{} ssl;", self.tls)),
            domain("example.com", "example.test"),
            places.certificates("/etc/nginx/tls"),
            places.path("/etc/nginx/doorward"),
            places.gate(),
            places.app(),
        ];
        let app = places.copy("nginx/app.conf", &swaps);
        places.copy("nginx/server.conf", &[]);
        let lines = ["# auth_request_set $doorward_app_cookies", "# proxy_set_header Cookie "];
        places.copy("nginx/location.conf", &lines.map(|line| self.line(line)));
        let main = places.at.join("main.conf");
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("  {name}_temp_path {}/{name};\n", places.at.display()))
            .concat();
        // One process, so that ending it leaves no worker behind.
        let frame = format!(
            "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log stderr warn;\nevents {{}}\n\
             http {{\n  access_log off;\n{temporary}  include {app};\n}}\n",
            at = places.at.display(),
            app = app.display(),
        );
        fs::write(&main, frame).unwrap();
        let mut command = process::system("nginx");
        command.arg("-e").arg("stderr").arg("-p").arg(places.at).arg("-c").arg(&main);
        Process::start("nginx", &mut command, places.dir)
    }

    fn caddy(&self, places: &Places<'_>) -> Process {
        let swaps = [
            ("default_bind 0.0.0.0".to_owned(), "default_bind 127.0.0.1".to_owned()),
            ("http_port 80".to_owned(), format!("http_port {}", self.plain)),
            ("https_port 443".to_owned(), format!("https_port {}", self.tls)),
            domain("*.example.com", "*.example.test"),
            self.line("# Cookie\n"),
            places.certificates("/etc/caddy/tls"),
            places.gate(),
            places.app(),
        ];
        let config = places.copy("caddy/Caddyfile", &swaps);
        let mut command = process::tool("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(config);
        Process::start("caddy", command.env("XDG_DATA_HOME", places.at).env("XDG_CONFIG_HOME", places.at), places.dir)
    }

    fn envoy(&self, places: &Places<'_>) -> Process {
        let swaps = [
            ("address: 0.0.0.0, port_value: 443".to_owned(), format!("address: 127.0.0.1, port_value: {}", self.tls)),
            (
                "address: 127.0.0.1, port_value: 9000".to_owned(),
                format!("address: 127.0.0.1, port_value: {}", places.gate),
            ),
            (
                "address: 127.0.0.1, port_value: 8080".to_owned(),
                format!("address: 127.0.0.1, port_value: {}", places.app),
            ),
            domain("*.example.com", "*.example.test"),
            places.certificates("/etc/envoy/tls"),
        ];
        let config = places.copy("envoy/envoy.yaml", &swaps);
        let mut command = process::tool("envoy");
        command.args(["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warn", "-c"]).arg(config);
        Process::start("envoy", &mut command, places.dir)
    }
}

/// Where things are in one test.
struct Places<'a> {
    dir: &'a Path,
    at: &'a Path,
    gate: u16,
    app: u16,
    changes: &'a [(&'static str, &'static str, &'static str)],
}

type Swap = (String, String);

impl Places<'_> {
    /// Copies a file of `deploy/` with these texts put in place of the documented ones, every one of which must be there.
    fn copy(&self, file: &str, swaps: &[Swap]) -> PathBuf {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file);
        let mut text = fs::read_to_string(&source).unwrap();
        for (_, from, to) in self.changes.iter().filter(|(changed, ..)| file.ends_with(changed)) {
            assert!(text.contains(from), "deploy/{file} has no {from}");
            text = text.replace(from, to);
        }
        for (from, to) in swaps {
            assert!(text.contains(from), "deploy/{file} has no {from}");
            text = text.replace(from, to);
        }
        // The first folder is the edge's name, and what is below it is laid out as the edge wants it.
        let target = self.at.join(file.split_once('/').unwrap().1);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(&target, text).unwrap();
        target
    }

    fn gate(&self) -> Swap {
        ("127.0.0.1:9000".to_owned(), format!("127.0.0.1:{}", self.gate))
    }

    fn app(&self) -> Swap {
        ("127.0.0.1:8080".to_owned(), format!("127.0.0.1:{}", self.app))
    }

    fn path(&self, documented: &str) -> Swap {
        (documented.to_owned(), self.at.display().to_string())
    }

    fn certificates(&self, documented: &str) -> Swap {
        let ours = if documented.ends_with("tls") { self.dir.join("tls") } else { self.dir.join("") };
        (documented.to_owned(), ours.display().to_string())
    }
}

fn domain(documented: &str, ours: &str) -> Swap {
    (documented.to_owned(), ours.to_owned())
}
