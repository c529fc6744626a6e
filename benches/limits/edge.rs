//! `edge`: requests a second through real edges, with and without the gate, on the whole machine; and the new connections to
//! the gate for each request.

use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use tempfile::TempDir;

use crate::{
    report::{
        figure::Unit,
        part::Part,
        table::{Column, Table},
    },
    rig::{
        account::Account,
        authority,
        contest::{Contest, Length},
        contestant::{AnswerSubject, Contestant, Endpoint},
        cores,
        daemon::{Daemon, Place},
        line::Wire,
        load::Load,
        nginx::{self, Nginx},
        people,
        postgres::Postgres,
        traefik::{Door, Neighbours, Traefik},
        upstream::Upstream,
    },
    support::{configuration::Configuration, gate::tokens},
};

const CLIENTS: usize = 64;
const PEOPLE: usize = 1_000;
const LENGTH: Length = Length { rounds: 7, each: Duration::from_millis(700) };
/// Duration of counting connections.
const COUNTED: Duration = Duration::from_secs(1);

/// The app, and two gates with the same sessions.
struct EdgeSetup {
    app: Upstream,
    plain: Daemon,
    tls: Daemon,
    cookies: Arc<Vec<String>>,
    certificates: TempDir,
    _postgres: Postgres,
}

pub(crate) fn run() -> Part {
    let (mut part, setup) = (Part::default(), EdgeSetup::build());
    through_traefik(&mut part, &setup);
    through_nginx(&mut part, &setup);
    part
}

fn through_traefik(part: &mut Part, setup: &EdgeSetup) {
    let authority = setup.certificates.path().join("ca.pem");
    let neighbours = Neighbours {
        app: setup.app.address(),
        plain: setup.plain.address(),
        tls: setup.tls.address(),
        authority: &authority,
    };
    let traefik = Traefik::start(&neighbours);
    let open = setup.edge("Traefik alone", traefik.door(Door::Open), AnswerSubject::First, &[traefik.account()]);
    let plain = [traefik.account(), setup.plain.account()];
    let plain = setup.edge("asking over plain HTTP", traefik.door(Door::Plain), AnswerSubject::Requester, &plain);
    let tls = [traefik.account(), setup.tls.account()];
    let tls = setup.edge("asking over TLS with HTTP/2", traefik.door(Door::Tls), AnswerSubject::Requester, &tls);
    let contest = Contest::between(&[&plain, &open, &tls], CLIENTS, LENGTH);
    part.table(contest.table("through Traefik, 64 clients; the limit is Traefik alone", 1));
    part.figure("edge.traefik_tls", contest.requests(2, 0));
    part.figure("edge.traefik_guarded", contest.requests(2, 1));
    part.figure("edge.traefik_plain_guarded", contest.requests(0, 1));
    let fresh = setup.count(part, "new connections to the gate for each request through Traefik", &[&plain, &tls]);
    part.figure("edge.traefik_plain_connections", fresh.first().copied().unwrap_or(f64::NAN));
    part.figure("edge.traefik_tls_connections", fresh.last().copied().unwrap_or(f64::NAN));
}

fn through_nginx(part: &mut Part, setup: &EdgeSetup) {
    let doors = [nginx::free_address(), nginx::free_address(), nginx::free_address()];
    let [open, lasting, hasty] = doors;
    let (folder, gate, app) = (setup.certificates.path(), setup.plain.address(), setup.app.address());
    let inside = [
        format!("upstream app {{ server {app}; keepalive 64; }}\n"),
        "map $http_host $doorward_port { default \"\"; }\n".to_owned(),
        format!("upstream lasting {{ server {gate}; keepalive 64; }}\nupstream hasty {{ server {gate}; }}\n"),
        door(open, ""),
        guarded_door(lasting, "lasting", folder),
        guarded_door(hasty, "hasty", folder),
    ];
    let nginx = Nginx::start(2, &inside.concat(), open);
    let both = [Account::Process(nginx.master()), setup.plain.account()];
    let open = setup.edge("nginx alone", open, AnswerSubject::First, &both);
    let lasting = setup.edge("auth_request, keep-alive", lasting, AnswerSubject::Requester, &both);
    let hasty = setup.edge("auth_request, a connection each", hasty, AnswerSubject::Requester, &both);
    let contest = Contest::between(&[&lasting, &open, &hasty], CLIENTS, LENGTH);
    part.table(contest.table("through nginx, 64 clients; the limit is nginx alone", 1));
    part.figure("edge.nginx_guarded", contest.requests(0, 1));
    part.figure("edge.nginx_hasty", contest.requests(2, 1));
    setup.count(part, "new connections to the gate for each request through nginx", &[&lasting, &hasty]);
}

impl EdgeSetup {
    fn build() -> Self {
        let certificates = tempfile::tempdir().expect("a folder for certificates");
        authority::issue(certificates.path());
        let postgres = Postgres::start();
        let store = postgres.fresh().url();
        let cookies = people::signed_in(&store, PEOPLE, &tokens());
        let gate = |server| {
            let configuration = Configuration { server, ..Configuration::of(&store) };
            Daemon::start(configuration, Place::Anywhere)
        };
        let (plain, tls) = (gate(String::new()), gate(server_tls(certificates.path())));
        Self { app: Upstream::start(), plain, tls, cookies, certificates, _postgres: postgres }
    }

    fn edge(&self, name: &str, address: SocketAddr, about: AnswerSubject, accounts: &[Account]) -> Contestant {
        Contestant {
            name: name.to_owned(),
            address,
            wire: Wire::Plain,
            asked: Endpoint::Edge,
            about,
            cookies: Arc::clone(&self.cookies),
            accounts: accounts.to_vec(),
            _keep: Box::new(()),
        }
    }

    /// Returns the new connections to the gate for each request, by contestant: all accepted on this machine except the app's.
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    fn count(&self, part: &mut Part, title: &str, contestants: &[&Contestant]) -> Vec<f64> {
        let mut table = Table::new(title, [Column::of("new connections", Unit::Fine)]);
        for contestant in contestants {
            let each = cores::run_on(cores::GENERATOR, || {
                let mut load = Load::open(contestant, CLIENTS);
                load.round(COUNTED);
                let before = connections_taken() - self.app.accepted();
                let round = load.round(COUNTED);
                (connections_taken() - self.app.accepted() - before) as f64 / round.answers as f64
            });
            table.row(&contestant.name, [each]);
        }
        let fresh = table.rows.iter().filter_map(|row| row.value(0)).collect();
        part.table(table);
        fresh
    }
}

/// Returns the line of `[server]` for TLS with the certificate in `folder`.
pub(crate) fn server_tls(folder: &Path) -> String {
    let file = |name: &str| folder.join(name).display().to_string();
    format!("tls = {{ cert = \"{}\", key = \"{}\" }}", file("tls.pem"), file("tls.key"))
}

/// Returns an nginx server in front of the app.
fn door(address: SocketAddr, guard: &str) -> String {
    format!(
        "server {{ listen {address} backlog=4096; large_client_header_buffers 4 64k;\nlocation / {{ {guard}\n\
         proxy_set_header Host $host; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_pass http://app; }}\n"
    ) + if guard.is_empty() { "}\n" } else { "" }
}

/// Returns an nginx server with the gate of this upstream, configured with the files of `deploy/`.
fn guarded_door(address: SocketAddr, gate: &str, folder: &Path) -> String {
    let server = fs::read_to_string("deploy/nginx/server.conf").expect("deploy/ has it");
    let file = folder.join(format!("{gate}.conf"));
    fs::write(&file, server.replace("http://doorward", &format!("http://{gate}"))).expect("the folder takes files");
    let location = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/nginx/location.conf");
    let guard = format!("include {};", location.display());
    format!("{}include {};\n}}\n", door(address, &guard), file.display())
}

/// Returns the number of connections that this machine has accepted since its start.
fn connections_taken() -> u64 {
    let counters = fs::read_to_string("/proc/net/snmp").expect("the kernel counts");
    let mut lines = counters.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut pairs = names.split(' ').zip(values.split(' '));
    let value = pairs.find_map(|(name, value)| (name == "PassiveOpens").then_some(value));
    value.and_then(|value| value.parse().ok()).expect("connections are counted")
}
