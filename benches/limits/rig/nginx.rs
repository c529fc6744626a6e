//! nginx, on free ports, its files in a folder that goes away: Debian's binary, or whatever is called so.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
};

use http::{HeaderMap, header};
use tempfile::TempDir;

use super::{
    account,
    program::{self, Program},
};

/// How nginx returns a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Buffers {
    /// A kilobyte for a request's header lines, as nginx comes; a second, larger buffer for what does not fit.
    AsTheyCome,
    /// 8 KiB at once: a kilobyte of cookies fits.
    Roomy,
}

/// A running nginx.
pub(crate) struct Nginx {
    program: Program,
    _folder: TempDir,
}

impl Nginx {
    /// Starts it with these directives inside `http`; ready when something listens at `address`. One worker, and what an
    /// operator with this load would set: no access log, connections that stay open.
    pub(crate) fn start(workers: usize, inside: &str, address: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder for nginx");
        let (file, log) = (folder.path().join("nginx.conf"), folder.path().join("log"));
        fs::write(&file, frame(workers, inside, folder.path())).expect("the folder takes a file");
        let mut command = program::command("nginx");
        command.arg("-e").arg("stderr").arg("-p").arg(folder.path()).arg("-c").arg(&file);
        let mut program = Program::start(&mut command, &log);
        let master = program.pid();
        program.until(&log, || TcpStream::connect(address).is_ok() && !account::children(master).is_empty());
        Self { program, _folder: folder }
    }

    /// The process above the workers.
    pub(crate) fn master(&self) -> u32 {
        self.program.pid()
    }

    /// The only worker.
    pub(crate) fn worker(&self) -> u32 {
        *account::children(self.master()).first().expect("nginx has a worker")
    }
}

/// A port that is free now.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr()).expect("loopback has free ports")
}

/// A server that answers everything with 200, these header lines and no body.
pub(crate) fn constant(headers: &HeaderMap, address: SocketAddr, buffers: Buffers) -> String {
    let lines: Vec<_> = headers
        .iter()
        .filter(|(name, _)| *name != header::CONTENT_LENGTH)
        .map(|(name, value)| format!("add_header {name} \"{}\";", value.to_str().expect("values are ASCII")))
        .collect();
    let lines = lines.join("\n");
    let room = match buffers {
        Buffers::AsTheyCome => "",
        Buffers::Roomy => "client_header_buffer_size 8k;",
    };
    format!("{room}\nserver {{ listen {address} backlog=4096; location / {{\n{lines}\nreturn 200 '';\n}} }}\n")
}

fn frame(workers: usize, inside: &str, folder: &Path) -> String {
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {}/{name};\n", folder.display()))
        .concat();
    format!(
        "daemon off; worker_processes {workers}; pid nginx.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
access_log off; server_tokens off; default_type '';
keepalive_requests 1000000000; keepalive_timeout 1h;
{temporary}{inside}
}}
"
    )
}
