//! Reading typed values out of the tree: addresses, durations, networks, secrets.
//!
//! `None` means absent or already reported as an error; settings are assembled only where neither is the case.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use secrecy::SecretString;

use super::{
    diagnostic::{Diagnostic, Origin, Severity, ValueError},
    environment::Environment,
    files::SourceFiles,
    shape,
    tree::{Node, TomlValue},
};
use crate::crypto::{self, is_placeholder};

/// Size limit of a secret in bytes: more than any needs.
const MAX_SECRET_SIZE: usize = 64 * 1024;

/// Upper limit of a duration, ten years: a longer one is a typing mistake, and no sum of such durations overflows.
const MAX_DURATION: Duration = Duration::from_hours(10 * 365 * 24);

/// Position in the tree: a value, its key, and its origin for diagnostics.
#[derive(Clone)]
pub(super) struct Cursor<'t> {
    pub(super) key: String,
    origin: &'t Origin,
    node: &'t Node,
}

impl<'t> Cursor<'t> {
    pub(super) fn root(node: &'t Node) -> Self {
        Self { key: String::new(), origin: &node.origin, node }
    }

    /// Returns the value under a name of a table, or `None` where there is none.
    pub(super) fn at(&self, name: &str) -> Option<Self> {
        match &self.node.value {
            TomlValue::Table(table) => table.get(name).map(|node| self.inside(shape::join(&self.key, name), node)),
            _ => None,
        }
    }

    /// Returns the elements of a list; none where it is not a list.
    pub(super) fn items(&self) -> Vec<Self> {
        let TomlValue::List(list) = &self.node.value else { return Vec::new() };
        let item = |(place, node)| self.inside(format!("{}[{place}]", self.key), node);
        list.iter().enumerate().map(item).collect()
    }

    /// Returns the entries of a table; none where it is not a table.
    pub(super) fn entries(&self) -> Vec<(&'t str, Self)> {
        let TomlValue::Table(table) = &self.node.value else { return Vec::new() };
        let entry = |(name, node): (&'t String, _)| (name.as_str(), self.inside(shape::join(&self.key, name), node));
        table.iter().map(entry).collect()
    }

    pub(super) fn text(&self) -> Option<&'t str> {
        match &self.node.value {
            TomlValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns a number as it was written.
    fn digits(&self) -> Option<&'t str> {
        match &self.node.value {
            TomlValue::Text(text) | TomlValue::Other(_, text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn flag(&self) -> Option<bool> {
        match self.node.value {
            TomlValue::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    /// Returns `true` if the value was written, `false` if it is the default.
    pub(super) fn is_written(&self) -> bool {
        !self.node.origin.is_default()
    }

    /// Returns `true` if no error has been reported in it.
    pub(super) fn is_valid(&self) -> bool {
        match &self.node.value {
            TomlValue::Invalid => false,
            TomlValue::List(_) => self.items().iter().all(Self::is_valid),
            TomlValue::Table(_) => self.entries().iter().all(|(_, cursor)| cursor.is_valid()),
            _ => true,
        }
    }

    pub(super) fn is_table(&self) -> bool {
        matches!(self.node.value, TomlValue::Table(_))
    }

    /// Returns a cursor at a value inside. A default has no origin of its own: errors point to where it could be written.
    fn inside(&self, key: String, node: &'t Node) -> Self {
        let origin = if node.origin.is_default() { self.origin } else { &node.origin };
        Self { key, origin, node }
    }
}

/// Reads values and collects diagnostics.
pub(super) struct Reader<'e> {
    environment: &'e Environment,
    files: &'e mut SourceFiles,
    diagnostics: Vec<Diagnostic>,
}

impl<'e> Reader<'e> {
    /// A reader with no diagnostics. It reads every file through `files`.
    pub(super) fn new(environment: &'e Environment, files: &'e mut SourceFiles) -> Self {
        Self { environment, files, diagnostics: Vec::new() }
    }

    pub(super) fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.diagnostics
    }

    /// Returns a variable of the environment.
    pub(super) fn variable(&self, name: &str) -> Option<&'e str> {
        self.environment.get(name).map(String::as_str)
    }

    pub(super) fn error(&mut self, cursor: &Cursor<'_>, problem: impl Into<String>, hint: impl Into<String>) {
        self.diagnostics.push(ValueError::new(problem, hint).at(&cursor.key, cursor.origin));
    }

    /// Reports a value that is valid but most likely not intended. `check` prints warnings; they are logged at start and
    /// after a reload.
    pub(super) fn warn(&mut self, cursor: &Cursor<'_>, problem: impl Into<String>, hint: impl Into<String>) {
        let diagnostic = ValueError::new(problem, hint).at(&cursor.key, cursor.origin);
        self.diagnostics.push(Diagnostic { severity: Severity::Warning, ..diagnostic });
    }

    /// Reads a text with `parse`.
    pub(super) fn parsed<T>(
        &mut self,
        cursor: Option<&Cursor<'_>>,
        parse: impl FnOnce(&str) -> Result<T, ValueError>,
    ) -> Option<T> {
        let cursor = cursor?;
        match parse(cursor.text()?) {
            Ok(value) => Some(value),
            Err(ValueError { problem, hint }) => {
                self.error(cursor, problem, hint);
                None
            }
        }
    }

    /// Reads the elements of a list of texts with `parse`, without the invalid ones.
    pub(super) fn list<T>(
        &mut self,
        cursor: Option<&Cursor<'_>>,
        mut parse: impl FnMut(&str) -> Result<T, ValueError>,
    ) -> Vec<T> {
        let items = cursor.map(Cursor::items).unwrap_or_default();
        items.iter().filter_map(|item| self.parsed(Some(item), &mut parse)).collect()
    }

    pub(super) fn text(&mut self, cursor: Option<&Cursor<'_>>) -> Option<String> {
        self.parsed(cursor, text)
    }

    pub(super) fn duration(&mut self, cursor: Option<&Cursor<'_>>) -> Option<Duration> {
        self.parsed(cursor, duration)
    }

    /// Reads a whole number between `least` and `most`.
    pub(super) fn number(&mut self, cursor: Option<&Cursor<'_>>, least: usize, most: usize) -> Option<usize> {
        let cursor = cursor?;
        let written = cursor.digits()?;
        let number = written.parse().ok().filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.error(
                cursor,
                format!("`{written}` is no whole number from {least} to {most}"),
                "write for instance 8",
            );
        }
        number
    }

    /// Reports elements of a list that equal an earlier one; tables are compared by their value under `name`.
    pub(super) fn refuse_duplicates(&mut self, items: &[Cursor<'_>], name: Option<&str>) {
        let mut known: HashMap<&str, String> = HashMap::new();
        for item in items {
            let cursor = name.map_or_else(|| Some(item.clone()), |name| item.at(name));
            let Some((cursor, text)) = cursor.and_then(|cursor| cursor.text().map(|text| (cursor, text))) else {
                continue;
            };
            if let Some(earlier) = known.get(text) {
                let (problem, hint) = match name {
                    Some(_) => (format!("`{text}` is {earlier} already"), "give each one a name of its own"),
                    None => (format!("has no effect: `{text}` is in the list already"), "remove it"),
                };
                self.error(&cursor, problem, hint);
            } else {
                known.insert(text, cursor.key);
            }
        }
    }

    /// Reads the path of a file, which has to be readable.
    pub(super) fn file(&mut self, cursor: Option<&Cursor<'_>>) -> Option<PathBuf> {
        self.content(cursor).map(|(path, _)| path)
    }

    /// Reads the path of a file and its content.
    pub(super) fn content(&mut self, cursor: Option<&Cursor<'_>>) -> Option<(PathBuf, Vec<u8>)> {
        let cursor = cursor?;
        let path = cursor.text()?;
        match self.files.read(Path::new(path)) {
            Ok(content) => Some((PathBuf::from(path), content)),
            Err(error) => {
                let ValueError { problem, hint } = unreadable(path, &error);
                self.error(cursor, problem, hint);
                None
            }
        }
    }

    /// Reads a secret from the text, a file or a variable.
    pub(super) fn secret(&mut self, cursor: Option<&Cursor<'_>>) -> Option<SecretString> {
        self.plain_secret(cursor).map(SecretString::from)
    }

    /// Reads a secret in the clear, for validation of its content.
    pub(super) fn plain_secret(&mut self, cursor: Option<&Cursor<'_>>) -> Option<String> {
        let cursor = cursor?;
        if !cursor.is_table() {
            return self.parsed(Some(cursor), |text| secret("the secret", text));
        }
        let (file, env) = (cursor.at("file"), cursor.at("env"));
        if let Some(file) = file {
            let (_, content) = self.content(Some(&file))?;
            return self.parsed(Some(&file), |path| secret_in(path, content));
        }
        let environment = self.environment;
        self.parsed(env.as_ref(), |name| match environment.get(name) {
            Some(value) => secret(&format!("the secret in the variable {name}"), value),
            None => Err(ValueError::new(
                format!("the variable {name} is not set"),
                "set it where the gate is started, or name another one",
            )),
        })
    }
}

/// Parses a name or an identifier: visible text on one line.
pub(super) fn text(text: &str) -> Result<String, ValueError> {
    if text.trim().is_empty() {
        return Err(ValueError::new("this is empty", "write a value, or leave the key out"));
    }
    if text.trim() != text || text.chars().any(char::is_control) {
        return Err(ValueError::new("this has blanks around it or control characters in it", "remove them"));
    }
    if is_placeholder(text) {
        let hint = "nothing is replaced in texts; write the value, or set the key by its variable (DOORWARD_…)";
        return Err(ValueError::new(format!("`{text}` is a placeholder that nothing has replaced"), hint));
    }
    Ok(text.to_owned())
}

/// Parses a secret. An error names `place`, where the secret is kept, and nothing of the secret.
pub(super) fn secret(place: &str, text: &str) -> Result<String, ValueError> {
    let secret = crypto::secret_text(text);
    secret.map(ToOwned::to_owned).map_err(|error| ValueError::new(format!("{place} {error}"), error.hint()))
}

pub(super) fn address(text: &str) -> Result<SocketAddr, ValueError> {
    text.parse().map_err(|_| {
        let hint = "write the address and the port, such as \"0.0.0.0:9000\", \"127.0.0.1:9000\" or \"[::]:9000\"";
        ValueError::new(format!("`{text}` is no IP address with a port"), hint)
    })
}

/// Parses a network such as `10.0.0.0/8`, or a single address.
pub(super) fn network(text: &str) -> Result<IpNet, ValueError> {
    let network = match (text.parse::<IpNet>(), text.parse::<IpAddr>()) {
        (Ok(network), _) => network,
        (Err(_), Ok(address)) => IpNet::from(address),
        (Err(_), Err(_)) => {
            let hint = "write it as \"10.0.0.0/8\", \"fd00::/8\" or \"192.168.1.7\"";
            return Err(ValueError::new(format!("`{text}` is no network"), hint));
        }
    };
    if network != network.trunc() {
        let hint = format!(
            "write \"{}\" for the whole network or \"{}\" for the one address",
            network.trunc(),
            network.addr()
        );
        return Err(ValueError::new(format!("`{text}` has bits behind its mask"), hint));
    }
    match network {
        IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some() => {
            let hint = "write the IPv4 network itself: addresses are compared in that form";
            Err(ValueError::new(format!("`{text}` would match nobody"), hint))
        }
        network => Ok(network),
    }
}

fn duration(text: &str) -> Result<Duration, ValueError> {
    let hint = "write it as \"30s\", \"15m\", \"12h\" or \"28d\"";
    match humantime::parse_duration(text) {
        Err(error) => Err(ValueError::new(format!("`{text}` is no duration: {error}"), hint)),
        Ok(Duration::ZERO) => Err(ValueError::new("a duration of nothing", "write a longer one")),
        Ok(long) if long > MAX_DURATION => Err(ValueError::new(format!("`{text}` is longer than ten years"), hint)),
        Ok(duration) => Ok(duration),
    }
}

fn secret_in(path: &str, content: Vec<u8>) -> Result<String, ValueError> {
    let place = format!("the secret in {path}");
    if content.len() > MAX_SECRET_SIZE {
        let problem = format!("{place} is longer than {MAX_SECRET_SIZE} bytes");
        return Err(ValueError::new(problem, "name the file of the secret alone"));
    }
    match String::from_utf8(content) {
        Ok(text) => secret(&place, &text),
        Err(_) => Err(ValueError::new(format!("{place} is not UTF-8"), "save it as UTF-8 without a byte order mark")),
    }
}

fn unreadable(path: &str, error: &io::Error) -> ValueError {
    let hint = "name a file that is there and that the gate may read; relative paths begin in the working directory";
    ValueError::new(format!("{path} cannot be read: {error}"), hint)
}
