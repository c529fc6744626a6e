//! `mod_auth_openidc` of Debian in an Apache of the test's own, as another relying party beside the gate.

use std::{fmt::Write as _, fs, path::Path};

use super::{
    ports,
    process::{self, Process},
    provider::CLIENT_SECRET,
    visitor,
};

/// A running Apache with a host for each provider, in front of the app.
pub(crate) struct ModAuthOpenidc {
    port: u16,
    process: Process,
}

impl ModAuthOpenidc {
    /// Starts it in front of the app with these hosts, each with the issuer that its people sign in at.
    pub(crate) async fn start(dir: &Path, app: u16, hosts: &[(String, String)]) -> Self {
        let (dir, port) = (dir.join("apache"), ports::free());
        fs::create_dir_all(&dir).unwrap();
        let mut text = frame(&dir, port);
        for (host, issuer) in hosts {
            text.push_str(&protected(host, port, issuer, app));
        }
        fs::write(dir.join("httpd.conf"), text).unwrap();
        let mut command = process::system("apache2");
        // A single process, so that killing it leaves no worker behind.
        command.arg("-X").arg("-f").arg(dir.join("httpd.conf"));
        let mut process = Process::start("apache2", &mut command, &dir);
        let ready = format!("http://127.0.0.1:{port}/");
        process.until(async || visitor::get(&ready).await.is_ok()).await;
        Self { port, process }
    }

    /// Returns a URL at a host; its callback is `/callback`.
    pub(crate) fn at(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.port)
    }

    /// Returns the log.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }
}

/// Returns the configuration of the server itself.
fn frame(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    // Started as root, it takes the rights of the user that Debian has for it.
    let mut text = format!(
        "ServerRoot {dir}\nPidFile {dir}/pid\nDefaultRuntimeDir {dir}\nListen 127.0.0.1:{port}\nServerName 127.0.0.1\n\
         User www-data\nGroup www-data\nErrorLog /dev/stderr\nLogLevel error\nKeepAlive Off\n"
    );
    for module in
        ["mpm_prefork", "authn_core", "authz_core", "authz_user", "headers", "proxy", "proxy_http", "auth_openidc"]
    {
        writeln!(text, "LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so").unwrap();
    }
    text
}

/// Returns the configuration of one host.
fn protected(host: &str, port: u16, issuer: &str, app: u16) -> String {
    format!(
        r#"
<VirtualHost 127.0.0.1:{port}>
  ServerName {host}
  OIDCProviderMetadataURL {issuer}/.well-known/openid-configuration
  OIDCClientID doorward
  OIDCClientSecret {CLIENT_SECRET}
  OIDCRedirectURI http://{host}:{port}/callback
  OIDCCryptoPassphrase the-passphrase-of-one-test
  OIDCScope "openid profile email"
  OIDCPKCEMethod S256
  <Location />
    AuthType openid-connect
    Require valid-user
    RequestHeader set X-User "expr=%{{REMOTE_USER}}"
  </Location>
  ProxyPass /callback !
  ProxyPass / http://127.0.0.1:{app}/
</VirtualHost>
"#
    )
}
