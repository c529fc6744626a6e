//! Real servers in the place of an app: nginx with files and `WebDAV`, Caddy, and one on Node.

use std::{fs, path::Path};

use super::{
    ports,
    process::{self, Process},
    visitor,
};

/// A running server.
pub(crate) struct AppServer {
    /// Port.
    pub(crate) port: u16,
    _process: Process,
}

impl AppServer {
    /// nginx with `/page.html`, `/style.css` (compressed where nginx does so by itself), `/any/style.css` (compressed for proxies
    /// too), a redirect at `/redirect`, `WebDAV` below `/dav/`, and small uploads only below `/small/`.
    pub(crate) async fn nginx(dir: &Path) -> Self {
        let (at, port) = (dir.join("nginx-app"), ports::free());
        for folder in ["www/any", "www/dav", "www/small"] {
            fs::create_dir_all(at.join(folder)).unwrap();
        }
        fs::write(at.join("www/page.html"), "0123456789").unwrap();
        for file in ["www/style.css", "www/any/style.css"] {
            fs::write(at.join(file), "a { color: red }\n".repeat(200)).unwrap();
        }
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("  {name}_temp_path {}/{name};\n", at.display()))
            .concat();
        // A single process, so that killing it leaves no worker behind.
        let config = format!(
            "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log stderr error;\nevents {{}}\nhttp {{\n  access_log off;\n\
             {temporary}  types {{ text/html html; text/css css; }}\n  gzip on;\n  gzip_types text/css;\n  server {{\n    \
             listen 127.0.0.1:{port};\n    root {at}/www;\n    port_in_redirect off;\n    \
             location /any/ {{ gzip_proxied any; }}\n    location = /redirect {{ return 302 /page.html; }}\n    \
             location /small/ {{ client_max_body_size 1k; dav_methods PUT; }}\n    \
             location /dav/ {{ client_max_body_size 10m; dav_methods PUT DELETE MKCOL COPY MOVE; }}\n  }}\n}}\n",
            at = at.display()
        );
        fs::write(at.join("main.conf"), config).unwrap();
        let mut command = process::system("nginx");
        command.arg("-e").arg("stderr").arg("-p").arg(&at).arg("-c").arg(at.join("main.conf"));
        Self::started(Process::start("nginx-app", &mut command, dir), port).await
    }

    /// Caddy, which says at `/who` whom and what it takes a request to be from, believing the proxy before it.
    pub(crate) async fn caddy(dir: &Path) -> Self {
        let (at, port) = (dir.join("caddy-app"), ports::free());
        fs::create_dir_all(&at).unwrap();
        let config = format!(
            "{{\n\tadmin off\n\tauto_https off\n\tservers {{\n\t\ttrusted_proxies static 127.0.0.0/8\n\t}}\n}}\n\
             http://:{port} {{\n\tbind 127.0.0.1\n\trespond /who \"{{client_ip}} {{hostport}} {{header.X-Forwarded-Proto}} \
             {{header.Remote-User}}\"\n\trespond ok\n}}\n"
        );
        fs::write(at.join("Caddyfile"), config).unwrap();
        let mut command = process::tool("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(at.join("Caddyfile"));
        command.env("XDG_DATA_HOME", &at).env("XDG_CONFIG_HOME", &at);
        Self::started(Process::start("caddy-app", &mut command, dir), port).await
    }

    /// Node, which tells what it got (`app.mjs`).
    pub(crate) async fn node(dir: &Path) -> Self {
        let port = ports::free();
        let mut command = process::tool("node");
        command.arg(process::neighbours().join("app.mjs")).arg(port.to_string());
        Self::started(Process::start("node-app", &mut command, dir), port).await
    }

    async fn started(mut process: Process, port: u16) -> Self {
        let url = format!("http://127.0.0.1:{port}/page.html");
        process.until(|| visitor::responds(&url)).await;
        Self { port, _process: process }
    }
}
