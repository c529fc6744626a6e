//! nginx with one worker that returns a constant: Debian's binary, on a free port, its files in a folder that goes away.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command},
    thread::sleep,
    time::Duration,
};

use http::{HeaderMap, header};
use tempfile::TempDir;

/// A running nginx.
pub(crate) struct Nginx {
    master: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Nginx {
    /// Starts it; it answers everything with 200, these header lines and no body.
    pub(crate) fn start(headers: &HeaderMap) -> Self {
        let folder = tempfile::tempdir().expect("a folder for nginx");
        let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr());
        let address = free.expect("loopback has free ports");
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration(headers, address)).expect("the folder takes a file");
        let master = Command::new("nginx").arg("-p").arg(folder.path()).arg("-c").arg(&file).spawn();
        let nginx = Self { master: master.expect("nginx is installed: make setup"), address, _folder: folder };
        while TcpStream::connect(address).is_err() {
            sleep(Duration::from_millis(10));
        }
        nginx
    }

    /// Where it answers.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process that answers.
    pub(crate) fn worker(&self) -> u32 {
        let master = self.master.id();
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"));
        let children = children.expect("the kernel lists children");
        children.split_whitespace().next().and_then(|pid| pid.parse().ok()).expect("nginx has a worker")
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its worker goes when it does; asked politely, because a master that is killed leaves it behind.
        let master = self.master.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &master]).status();
        let _gone = asked.and_then(|_| self.master.wait());
    }
}

fn configuration(headers: &HeaderMap, address: SocketAddr) -> String {
    let lines: Vec<_> = headers
        .iter()
        .filter(|(name, _)| *name != header::CONTENT_LENGTH)
        .map(|(name, value)| format!("add_header {name} \"{}\";", value.to_str().expect("values are ASCII")))
        .collect();
    let lines = lines.join("\n");
    format!(
        "daemon off; worker_processes 1; pid nginx.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off; server_tokens off; default_type '';
    keepalive_requests 1000000000; keepalive_timeout 1h; client_header_buffer_size 8k;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server {{ listen {address} backlog=4096; location / {{
{lines}return 200 '';
    }} }}
}}
"
    )
}
