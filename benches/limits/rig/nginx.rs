//! nginx on free ports with its files in a temporary folder: Debian's binary, or the first in `PATH`.

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

/// Header buffers of nginx for a constant response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Buffers {
    /// 1 KiB for the headers of a request, nginx's default, and a second, larger buffer for the rest.
    AsTheyCome,
    /// 8 KiB, in which a kilobyte of cookies fits.
    Roomy,
}

/// A running nginx.
pub(crate) struct Nginx {
    program: Program,
    _folder: TempDir,
}

impl Nginx {
    /// Starts it with these directives inside `http`, and waits until it listens at `address`. Settings are those of an operator
    /// with such a load: no access log, persistent connections.
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

    /// Returns the master process.
    pub(crate) fn master(&self) -> u32 {
        self.program.pid()
    }

    /// Returns the only worker.
    pub(crate) fn worker(&self) -> u32 {
        *account::children(self.master()).first().expect("nginx has a worker")
    }
}

/// Returns a free address.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr()).expect("loopback has free ports")
}

/// Returns a server that responds with 200, these headers and no body.
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
