//! The nginx that people run between their edge and an outpost, for its persistent connections.

use std::fs;

use tempfile::TempDir;

use super::{
    outpost::Outpost,
    ports,
    process::{self, Process},
    visitor,
};

/// nginx in front of an outpost.
pub(crate) struct KeepaliveProxy {
    /// Port at which edges ask.
    pub(crate) port: u16,
    process: Option<Process>,
    // Dropped last: the process writes into it.
    dir: TempDir,
}

impl KeepaliveProxy {
    /// Starts it in front of an outpost.
    pub(crate) async fn start(outpost: &Outpost) -> Self {
        let mut proxy = Self { port: ports::free(), process: None, dir: tempfile::tempdir().unwrap() };
        fs::write(proxy.dir.path().join("nginx.conf"), proxy.configuration(outpost)).unwrap();
        proxy.start_again().await;
        proxy
    }

    /// Starts it after it was stopped.
    pub(crate) async fn start_again(&mut self) {
        let mut command = process::system("nginx");
        let dir = self.dir.path();
        command.arg("-e").arg("stderr").arg("-p").arg(dir).arg("-c").arg(dir.join("nginx.conf"));
        let mut process = Process::start("keepalive-nginx", &mut command, dir);
        let ping = format!("http://127.0.0.1:{}/outpost.goauthentik.io/ping", self.port);
        process.until(|| visitor::responds(&ping)).await;
        self.process = Some(process);
    }

    /// Stops it: its connections are cut.
    pub(crate) fn stop(&mut self) {
        self.process = None;
    }

    /// Returns the number of requests that it has answered.
    pub(crate) fn requests(&self) -> u64 {
        let log = fs::read_to_string(self.dir.path().join("access.log")).unwrap_or_default();
        u64::try_from(log.lines().count()).unwrap()
    }

    fn configuration(&self, outpost: &Outpost) -> String {
        let at = self.dir.path().display();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("  {name}_temp_path {at}/{name};\n"))
            .concat();
        format!(
            "daemon off;\nmaster_process off;\npid {at}/pid;\nevents {{}}\n\
             http {{\n  access_log {at}/access.log;\n{temporary}  \
             upstream outpost {{ server 127.0.0.1:{outpost}; keepalive 32; }}\n  \
             server {{\n    listen 127.0.0.1:{port};\n    location /outpost.goauthentik.io/ {{\n      \
             proxy_pass http://outpost;\n      proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n      \
             proxy_set_header Host $http_host;\n    }}\n  }}\n}}\n",
            port = self.port,
            outpost = outpost.port,
        )
    }
}
