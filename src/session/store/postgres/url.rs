//! The URL of a PostgreSQL server, read as libpq reads it.
//!
//! Promises: `sslmode` means what it means to libpq; an unknown parameter is an error; no text repeats the password.

use std::{fmt, path::PathBuf, time::Duration};

use percent_encoding::percent_decode_str;
use tokio_postgres::{
    Config,
    config::{Host, SslMode, TargetSessionAttrs},
};

use crate::{crypto::secret_text, session::store::postgres::error::chain};

/// Timeout of a connection attempt to one address of one host.
const TCP_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Time that sent data may stay unacknowledged before the system closes the connection (`TCP_USER_TIMEOUT`).
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);

/// The URL of a server, or of several of which one takes writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresUrl {
    config: Config,
    pub(super) verification: CertificateVerification,
    /// File with the root certificates (`sslrootcert`); absent: the system's.
    pub(super) root_certificates: Option<PathBuf>,
}

/// Verification of the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CertificateVerification {
    /// None: any certificate will do, which keeps eavesdroppers out and nobody else.
    None,
    /// The chain to a root certificate, for any name (`verify-ca`).
    Ca,
    /// The chain to a root certificate and the name of the host (`verify-full`).
    Full,
}

impl PostgresUrl {
    /// Parses `postgres://user@host[,host]/database?sslmode=…`. The error names the problem and never repeats the
    /// password.
    pub fn parse(url: &str) -> Result<Self, String> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err("it does not begin with postgres://".to_owned());
        }
        let (server, query) = url.split_once('?').unwrap_or((url, ""));
        // The driver ends the password at the first @. The rest would pass for a host, a database or a parameter, which
        // are printed, and a ? before it would hide `sslmode` from the parsing below.
        if url.matches('@').count() > server.matches('@').count().min(1) {
            return Err("an @ stands behind the password or within it; there it is written %40, and a ? %3F".to_owned());
        }
        let (mut mode, mut roots, mut rest) = (None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(decoded(value)),
                Some(("sslrootcert", value)) => roots = Some(decoded(value)),
                _ => rest.push(pair),
            }
        }
        let config: Config = format!("{server}?{}", rest.join("&")).parse().map_err(|error| chain(&error))?;
        let (ssl_mode, verification) = tls_mode(mode.as_deref(), roots.as_deref())?;
        let root_certificates = roots.filter(|path| path != SYSTEM).map(PathBuf::from);
        let mut url = Self { config, verification, root_certificates };
        url.config.ssl_mode(ssl_mode);
        url.check_and_complete()?;
        Ok(url)
    }

    /// Returns the URL with another password.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        self.config.password(password);
        self
    }

    /// Returns a configuration for each host, in their order.
    pub(super) fn hosts(&self) -> Vec<Config> {
        let (hosts, ports) = (self.config.get_hosts(), self.config.get_ports());
        let addresses = self.config.get_hostaddrs();
        (0..hosts.len().max(addresses.len()))
            .map(|index| {
                let mut config = Config::new();
                copy_all_but_hosts(&self.config, &mut config);
                match hosts.get(index) {
                    Some(Host::Tcp(name)) => drop(config.host(name)),
                    Some(Host::Unix(path)) => drop(config.host_path(path)),
                    None => {}
                }
                addresses.get(index).map(|address| config.hostaddr(*address));
                ports.get(index).or(ports.first()).map(|port| config.port(*port));
                config
            })
            .collect()
    }

    fn check_and_complete(&mut self) -> Result<(), String> {
        self.check_password()?;
        let hosts = self.config.get_hosts().len().max(self.config.get_hostaddrs().len());
        if hosts == 0 {
            return Err("it names no host".to_owned());
        }
        if ![0, 1, hosts].contains(&self.config.get_ports().len()) {
            return Err("it has another number of ports than of hosts".to_owned());
        }
        match self.config.get_target_session_attrs() {
            TargetSessionAttrs::ReadOnly => return Err("a server that takes no writes keeps no sessions".to_owned()),
            TargetSessionAttrs::Any if hosts > 1 => {
                self.config.target_session_attrs(TargetSessionAttrs::ReadWrite);
            }
            _ => {}
        }
        if self.config.get_application_name().is_none() {
            self.config.application_name("doorward");
        }
        Ok(())
    }

    /// Refuses a password with something around it or in its place, as anywhere else where a secret is written.
    fn check_password(&self) -> Result<(), String> {
        let password = self.config.get_password().and_then(|password| str::from_utf8(password).ok());
        let Some(password) = password.filter(|password| !password.is_empty()) else { return Ok(()) };
        match secret_text(password) {
            Ok(secret) if secret == password => Ok(()),
            Ok(_) => Err("its password has a line end behind it".to_owned()),
            Err(error) => Err(format!("its password {error}")),
        }
    }
}

/// Prints the hosts and the database, for logs: no user, no password.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, host) in self.config.get_hosts().iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            match host {
                Host::Tcp(name) => f.write_str(name)?,
                Host::Unix(path) => path.display().fmt(f)?,
            }
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

/// Value of `sslrootcert` for the root certificates of the system.
const SYSTEM: &str = "system";

/// Combines `sslmode` and `sslrootcert` (PostgreSQL manual, "SSL Support" of libpq).
fn tls_mode(mode: Option<&str>, roots: Option<&str>) -> Result<(SslMode, CertificateVerification), String> {
    let mode = mode.unwrap_or(if roots == Some(SYSTEM) { "verify-full" } else { "prefer" });
    let meaning = match mode {
        "disable" => (SslMode::Disable, CertificateVerification::None),
        "prefer" => (SslMode::Prefer, CertificateVerification::None),
        "require" if roots.is_none() => (SslMode::Require, CertificateVerification::None),
        "require" | "verify-ca" => (SslMode::Require, CertificateVerification::Ca),
        "verify-full" => (SslMode::Require, CertificateVerification::Full),
        other => {
            return Err(format!("`sslmode={other}` is none of disable, prefer, require, verify-ca and verify-full"));
        }
    };
    // From an authority that the system trusts, anyone can have a certificate for some name.
    if roots == Some(SYSTEM) && meaning.1 != CertificateVerification::Full {
        return Err(format!("`sslrootcert=system` needs `sslmode=verify-full`, not `{mode}`"));
    }
    Ok(meaning)
}

fn copy_all_but_hosts(from: &Config, to: &mut Config) {
    from.get_user().map(|user| to.user(user));
    from.get_password().map(|password| to.password(password));
    from.get_dbname().map(|name| to.dbname(name));
    from.get_options().map(|options| to.options(options));
    from.get_application_name().map(|name| to.application_name(name));
    to.ssl_mode(from.get_ssl_mode())
        .ssl_negotiation(from.get_ssl_negotiation())
        .channel_binding(from.get_channel_binding())
        .target_session_attrs(from.get_target_session_attrs())
        .connect_timeout(from.get_connect_timeout().copied().unwrap_or(TCP_CONNECT_TIMEOUT))
        .tcp_user_timeout(from.get_tcp_user_timeout().copied().unwrap_or(TCP_USER_TIMEOUT))
        .keepalives(from.get_keepalives())
        .keepalives_idle(from.get_keepalives_idle());
}

fn decoded(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_ends_too_early_is_refused_and_no_part_of_it_repeated() {
        for text in [
            "postgres://doorward:hunter@hunter@db/doorward",
            "postgres://doorward:p@hunter/hunter@db/doorward?sslmode=require",
            "postgresql://doorward@a//:hunter@db",
            "postgres://doorward:p?hunter@db/doorward?sslmode=require",
            "postgres://doorward:p@b?hunter=x@db/doorward",
        ] {
            let problem = PostgresUrl::parse(text).unwrap_err();
            assert!(problem.contains("%40") && !problem.contains("hunter"), "{text}: {problem}");
        }
        let url = PostgresUrl::parse("postgres://doorward:p%40hunter%2F@db/doorward").unwrap();
        assert_eq!(url.hosts()[0].get_password(), Some(b"p@hunter/".as_slice()));
        assert_eq!(url.to_string(), "db/doorward");
    }

    #[test]
    fn sslmode_means_what_it_means_to_libpq() {
        for (query, mode, verification) in [
            ("", SslMode::Prefer, CertificateVerification::None),
            ("?sslmode=disable", SslMode::Disable, CertificateVerification::None),
            ("?sslmode=prefer", SslMode::Prefer, CertificateVerification::None),
            ("?sslmode=require", SslMode::Require, CertificateVerification::None),
            ("?sslmode=require&sslrootcert=/ca.pem", SslMode::Require, CertificateVerification::Ca),
            ("?sslrootcert=%2Fca.pem&sslmode=verify-ca", SslMode::Require, CertificateVerification::Ca),
            ("?sslmode=verify-full", SslMode::Require, CertificateVerification::Full),
            ("?sslrootcert=system", SslMode::Require, CertificateVerification::Full),
        ] {
            let url = PostgresUrl::parse(&format!("postgres://ann:secret@db/doorward{query}")).unwrap();
            assert_eq!((url.config.get_ssl_mode(), url.verification), (mode, verification), "{query}");
            let roots = query.contains("ca.pem").then(|| PathBuf::from("/ca.pem"));
            assert_eq!(url.root_certificates, roots, "{query}");
        }
    }

    #[test]
    fn a_url_that_makes_no_sense_is_refused_without_repeating_the_password() {
        for (url, problem) in [
            ("mysql://ann:secret@db/doorward", "postgres://"),
            ("postgres:///doorward", "no host"),
            ("postgres://ann:secret@db/doorward?sslmode=maybe", "sslmode=maybe"),
            ("postgres://ann:secret@db/doorward?sslmode=require&sslrootcert=system", "verify-full"),
            ("postgres://ann:secret@db/doorward?pool=9", "pool"),
            ("postgres://ann:secret@db/doorward?target_session_attrs=read-only", "writes"),
            ("postgres://ann:secret@db:x/doorward", "port"),
            ("postgres://ann:secret%0A@db/doorward", "line end"),
            ("postgres://ann:%20secret@db/doorward", "blanks"),
            ("postgres://ann:'secret'@db/doorward", "quotes"),
            ("postgres://ann:${secret}@db/doorward", "placeholder"),
            ("postgres://ann@db/doorward?password=${secret}", "placeholder"),
        ] {
            let error = PostgresUrl::parse(url).unwrap_err();
            assert!(error.contains(problem) && !error.contains("secret"), "{url}: {error}");
        }
    }

    #[test]
    fn several_hosts_are_tried_for_the_one_that_takes_writes() {
        let url = PostgresUrl::parse("postgres://ann:secret@one:1,two:2/doorward").unwrap();
        let hosts = url.hosts();
        assert_eq!(hosts.len(), 2);
        for (config, (name, port)) in hosts.iter().zip([("one", 1), ("two", 2)]) {
            assert_eq!(config.get_hosts(), [Host::Tcp(name.to_owned())]);
            assert_eq!(config.get_ports(), [port]);
            assert_eq!(config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
            assert_eq!(config.get_password(), Some(b"secret".as_slice()));
        }
    }

    #[test]
    fn neither_form_of_printing_holds_the_password() {
        let url = PostgresUrl::parse("postgres://ann:secret@one,two/doorward").unwrap();
        assert_eq!(url.to_string(), "one,two/doorward");
        assert!(!format!("{url:?}").contains("secret"));
    }
}
