//! Where a PostgreSQL server is: its URL, read as libpq reads it.
//!
//! Promises: what `sslmode` says is what happens; a parameter that is not understood is an error. It must not know when
//! connections are made.

use std::{fmt, path::PathBuf, time::Duration};

use percent_encoding::percent_decode_str;
use tokio_postgres::{
    Config,
    config::{Host, SslMode, TargetSessionAttrs},
};

/// How long one address of one host may take to accept.
const ACCEPT: Duration = Duration::from_secs(1);
/// How long what was sent may stay unanswered before the system gives the connection up.
const UNANSWERED: Duration = Duration::from_secs(10);

/// A server, or several of which one takes writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    config: Config,
    pub(super) belief: Belief,
    /// Where the authorities' certificates are; absent: the system's.
    pub(super) authorities: Option<PathBuf>,
}

/// What a server's certificate is believed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Belief {
    /// Any certificate will do: it keeps listeners out and nobody else.
    Anything,
    /// One that an authority of ours has signed, for whatever name.
    Authority,
    /// One that an authority of ours has signed for the host.
    Name,
}

impl Address {
    /// Reads `postgres://user@host[,host]/database?sslmode=…`. The error says what is wrong and never repeats the
    /// password.
    pub fn parse(url: &str) -> Result<Self, String> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err("it does not begin with postgres://".to_owned());
        }
        let (server, query) = url.split_once('?').unwrap_or((url, ""));
        // The driver ends the password at the first @ wherever it stands. The rest would pass for a host, a database or a
        // parameter, which texts name, and a ? before it would hide `sslmode` from what is read here.
        if url.matches('@').count() > server.matches('@').count().min(1) {
            return Err("an @ stands behind the password or within it; there it is written %40, and a ? %3F".to_owned());
        }
        let (mut mode, mut authorities, mut rest) = (None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(decoded(value)),
                Some(("sslrootcert", value)) => authorities = Some(decoded(value)),
                _ => rest.push(pair),
            }
        }
        let config: Config = format!("{server}?{}", rest.join("&")).parse().map_err(|error| chain(&error))?;
        let (ssl, belief) = tls(mode.as_deref(), authorities.as_deref())?;
        let authorities = authorities.filter(|path| path != SYSTEM).map(PathBuf::from);
        let mut address = Self { config, belief, authorities };
        address.config.ssl_mode(ssl);
        address.complete()?;
        Ok(address)
    }

    /// The same server with another password.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        self.config.password(password);
        self
    }

    /// One configuration for each host, in their order.
    pub(super) fn hosts(&self) -> Vec<Config> {
        let (hosts, ports) = (self.config.get_hosts(), self.config.get_ports());
        let addresses = self.config.get_hostaddrs();
        (0..hosts.len().max(addresses.len()))
            .map(|place| {
                let mut config = Config::new();
                copy(&self.config, &mut config);
                match hosts.get(place) {
                    Some(Host::Tcp(name)) => drop(config.host(name)),
                    Some(Host::Unix(path)) => drop(config.host_path(path)),
                    None => {}
                }
                addresses.get(place).map(|address| config.hostaddr(*address));
                ports.get(place).or(ports.first()).map(|port| config.port(*port));
                config
            })
            .collect()
    }

    fn complete(&mut self) -> Result<(), String> {
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
}

/// Prints the hosts and the database, as logs need it: no user, no password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, host) in self.config.get_hosts().iter().enumerate() {
            f.write_str(if place == 0 { "" } else { "," })?;
            match host {
                Host::Tcp(name) => f.write_str(name)?,
                Host::Unix(path) => path.display().fmt(f)?,
            }
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

/// The value of `sslrootcert` that stands for the authorities of the system.
const SYSTEM: &str = "system";

/// What `sslmode` and `sslrootcert` mean together (PostgreSQL manual, "SSL Support" of libpq).
fn tls(mode: Option<&str>, authorities: Option<&str>) -> Result<(SslMode, Belief), String> {
    let mode = mode.unwrap_or(if authorities == Some(SYSTEM) { "verify-full" } else { "prefer" });
    let meaning = match mode {
        "disable" => (SslMode::Disable, Belief::Anything),
        "prefer" => (SslMode::Prefer, Belief::Anything),
        "require" if authorities.is_none() => (SslMode::Require, Belief::Anything),
        "require" | "verify-ca" => (SslMode::Require, Belief::Authority),
        "verify-full" => (SslMode::Require, Belief::Name),
        other => {
            return Err(format!("`sslmode={other}` is none of disable, prefer, require, verify-ca and verify-full"));
        }
    };
    // With the system's authorities anybody can have a certificate for some name.
    if authorities == Some(SYSTEM) && meaning.1 != Belief::Name {
        return Err(format!("`sslrootcert=system` needs `sslmode=verify-full`, not `{mode}`"));
    }
    Ok(meaning)
}

/// Everything but the hosts.
fn copy(from: &Config, to: &mut Config) {
    from.get_user().map(|user| to.user(user));
    from.get_password().map(|password| to.password(password));
    from.get_dbname().map(|name| to.dbname(name));
    from.get_options().map(|options| to.options(options));
    from.get_application_name().map(|name| to.application_name(name));
    to.ssl_mode(from.get_ssl_mode())
        .ssl_negotiation(from.get_ssl_negotiation())
        .channel_binding(from.get_channel_binding())
        .target_session_attrs(from.get_target_session_attrs())
        .connect_timeout(from.get_connect_timeout().copied().unwrap_or(ACCEPT))
        .tcp_user_timeout(from.get_tcp_user_timeout().copied().unwrap_or(UNANSWERED))
        .keepalives(from.get_keepalives())
        .keepalives_idle(from.get_keepalives_idle());
}

fn decoded(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

/// An error and what is behind it, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(deeper) = source {
        let deeper_text = deeper.to_string();
        if !text.contains(&deeper_text) {
            text = format!("{text}: {deeper_text}");
        }
        source = deeper.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_ends_too_early_is_refused_and_no_part_of_it_repeated() {
        for url in [
            "postgres://doorward:hunter@hunter@db/doorward",
            "postgres://doorward:p@hunter/hunter@db/doorward?sslmode=require",
            "postgresql://doorward@a//:hunter@db",
            "postgres://doorward:p?hunter@db/doorward?sslmode=require",
            "postgres://doorward:p@b?hunter=x@db/doorward",
        ] {
            let problem = Address::parse(url).unwrap_err();
            assert!(problem.contains("%40") && !problem.contains("hunter"), "{url}: {problem}");
        }
        let address = Address::parse("postgres://doorward:p%40hunter%2F@db/doorward").unwrap();
        assert_eq!(address.hosts()[0].get_password(), Some(b"p@hunter/".as_slice()));
        assert_eq!(address.to_string(), "db/doorward");
    }

    #[test]
    fn sslmode_means_what_it_means_to_libpq() {
        for (query, mode, belief) in [
            ("", SslMode::Prefer, Belief::Anything),
            ("?sslmode=disable", SslMode::Disable, Belief::Anything),
            ("?sslmode=prefer", SslMode::Prefer, Belief::Anything),
            ("?sslmode=require", SslMode::Require, Belief::Anything),
            ("?sslmode=require&sslrootcert=/ca.pem", SslMode::Require, Belief::Authority),
            ("?sslrootcert=%2Fca.pem&sslmode=verify-ca", SslMode::Require, Belief::Authority),
            ("?sslmode=verify-full", SslMode::Require, Belief::Name),
            ("?sslrootcert=system", SslMode::Require, Belief::Name),
        ] {
            let address = Address::parse(&format!("postgres://ann:secret@db/doorward{query}")).unwrap();
            assert_eq!((address.config.get_ssl_mode(), address.belief), (mode, belief), "{query}");
            let authorities = query.contains("ca.pem").then(|| PathBuf::from("/ca.pem"));
            assert_eq!(address.authorities, authorities, "{query}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_without_repeating_the_password() {
        for (url, problem) in [
            ("mysql://ann:secret@db/doorward", "postgres://"),
            ("postgres:///doorward", "no host"),
            ("postgres://ann:secret@db/doorward?sslmode=maybe", "sslmode=maybe"),
            ("postgres://ann:secret@db/doorward?sslmode=require&sslrootcert=system", "verify-full"),
            ("postgres://ann:secret@db/doorward?pool=9", "pool"),
            ("postgres://ann:secret@db/doorward?target_session_attrs=read-only", "writes"),
            ("postgres://ann:secret@db:x/doorward", "port"),
        ] {
            let error = Address::parse(url).unwrap_err();
            assert!(error.contains(problem) && !error.contains("secret"), "{url}: {error}");
        }
    }

    #[test]
    fn several_hosts_are_tried_for_the_one_that_takes_writes() {
        let address = Address::parse("postgres://ann:secret@one:1,two:2/doorward").unwrap();
        let hosts = address.hosts();
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
        let address = Address::parse("postgres://ann:secret@one,two/doorward").unwrap();
        assert_eq!(address.to_string(), "one,two/doorward");
        assert!(!format!("{address:?}").contains("secret"));
    }
}
