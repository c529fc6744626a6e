//! Reading checked values out of the tree: text becomes addresses, durations, secrets; what cannot is complained about.
//!
//! `None` means absent or complained about already; whoever assembles settings gives up on either.

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
    complaint::{Complaint, Fault, Origin, Severity},
    environment::Environment,
    files::Files,
    shape,
    tree::{Data, Node},
};

/// More than any secret needs.
const SECRET_LIMIT: usize = 64 * 1024;

/// Ten years: longer is a typing mistake, and no sum of such spans overflows.
const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);

/// A value, its key and where to look for it.
#[derive(Clone)]
pub(super) struct Spot<'t> {
    pub(super) key: String,
    origin: &'t Origin,
    node: &'t Node,
}

impl<'t> Spot<'t> {
    pub(super) fn root(node: &'t Node) -> Self {
        Self { key: String::new(), origin: &node.origin, node }
    }

    /// What stands under a name; `None` where nothing does.
    pub(super) fn at(&self, name: &str) -> Option<Self> {
        match &self.node.data {
            Data::Table(table) => table.get(name).map(|node| self.inside(shape::join(&self.key, name), node)),
            _ => None,
        }
    }

    /// The elements of a list; none where it is no list.
    pub(super) fn items(&self) -> Vec<Self> {
        let Data::List(list) = &self.node.data else { return Vec::new() };
        let item = |(place, node)| self.inside(format!("{}[{place}]", self.key), node);
        list.iter().enumerate().map(item).collect()
    }

    /// The entries of a table.
    pub(super) fn entries(&self) -> Vec<(&'t str, Self)> {
        let Data::Table(table) = &self.node.data else { return Vec::new() };
        let entry = |(name, node): (&'t String, _)| (name.as_str(), self.inside(shape::join(&self.key, name), node));
        table.iter().map(entry).collect()
    }

    pub(super) fn text(&self) -> Option<&'t str> {
        match &self.node.data {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number, as it was written.
    fn digits(&self) -> Option<&'t str> {
        match &self.node.data {
            Data::Text(text) | Data::Other(_, text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn flag(&self) -> Option<bool> {
        match self.node.data {
            Data::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    /// Whether somebody wrote it, as opposed to its being the default.
    pub(super) fn is_written(&self) -> bool {
        self.node.origin != Origin::Default
    }

    /// Whether nothing in it has been complained about.
    pub(super) fn is_sound(&self) -> bool {
        match &self.node.data {
            Data::Spoiled => false,
            Data::List(_) => self.items().iter().all(Self::is_sound),
            Data::Table(_) => self.entries().iter().all(|(_, spot)| spot.is_sound()),
            _ => true,
        }
    }

    pub(super) fn is_table(&self) -> bool {
        matches!(self.node.data, Data::Table(_))
    }

    /// A default has no place of its own; what is wrong with it is mended where it could have been written.
    fn inside(&self, key: String, node: &'t Node) -> Self {
        let origin = if node.origin == Origin::Default { self.origin } else { &node.origin };
        Self { key, origin, node }
    }
}

/// Reads values and gathers what is wrong with them.
pub(super) struct Reader<'e> {
    environment: &'e Environment,
    files: &'e mut Files,
    complaints: Vec<Complaint>,
}

impl<'e> Reader<'e> {
    /// Every file that is read goes through `files`.
    pub(super) fn new(environment: &'e Environment, files: &'e mut Files) -> Self {
        Self { environment, files, complaints: Vec::new() }
    }

    pub(super) fn into_complaints(self) -> Vec<Complaint> {
        self.complaints
    }

    pub(super) fn complain(&mut self, spot: &Spot<'_>, problem: impl Into<String>, hint: impl Into<String>) {
        self.complaints.push(Fault::new(problem, hint).at(&spot.key, spot.origin));
    }

    /// Reports a value that is valid and most likely not meant. Printed by `check`, logged at start and after a reload.
    pub(super) fn warn(&mut self, spot: &Spot<'_>, problem: impl Into<String>, hint: impl Into<String>) {
        let complaint = Fault::new(problem, hint).at(&spot.key, spot.origin);
        self.complaints.push(Complaint { severity: Severity::Warning, ..complaint });
    }

    /// Text, as `parse` understands it.
    pub(super) fn parsed<T>(
        &mut self,
        spot: Option<&Spot<'_>>,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        let spot = spot?;
        match parse(spot.text()?) {
            Ok(value) => Some(value),
            Err(fault) => {
                self.complain(spot, fault.problem, fault.hint);
                None
            }
        }
    }

    /// The elements of a list of texts; those that are wrong are left out.
    pub(super) fn list<T>(
        &mut self,
        spot: Option<&Spot<'_>>,
        mut parse: impl FnMut(&str) -> Result<T, Fault>,
    ) -> Vec<T> {
        let items = spot.map(Spot::items).unwrap_or_default();
        items.iter().filter_map(|item| self.parsed(Some(item), &mut parse)).collect()
    }

    pub(super) fn text(&mut self, spot: Option<&Spot<'_>>) -> Option<String> {
        self.parsed(spot, text)
    }

    pub(super) fn duration(&mut self, spot: Option<&Spot<'_>>) -> Option<Duration> {
        self.parsed(spot, duration)
    }

    /// A whole number between two others.
    pub(super) fn number(&mut self, spot: Option<&Spot<'_>>, least: usize, most: usize) -> Option<usize> {
        let spot = spot?;
        let written = spot.digits()?;
        let number = written.parse().ok().filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.complain(
                spot,
                format!("`{written}` is no whole number from {least} to {most}"),
                "write for instance 8",
            );
        }
        number
    }

    /// Elements of a list that say the same as an earlier one; of tables, what they say under `name`.
    pub(super) fn refuse_repeats(&mut self, items: &[Spot<'_>], name: Option<&str>) {
        let mut known: HashMap<&str, String> = HashMap::new();
        for item in items {
            let spot = name.map_or_else(|| Some(item.clone()), |name| item.at(name));
            let Some((spot, text)) = spot.and_then(|spot| spot.text().map(|text| (spot, text))) else { continue };
            if let Some(earlier) = known.get(text) {
                let (problem, hint) = match name {
                    Some(_) => (format!("`{text}` is {earlier} already"), "give each one a name of its own"),
                    None => (format!("has no effect: `{text}` is in the list already"), "remove it"),
                };
                self.complain(&spot, problem, hint);
            } else {
                known.insert(text, spot.key);
            }
        }
    }

    /// The path of a file that can be read now.
    pub(super) fn file(&mut self, spot: Option<&Spot<'_>>) -> Option<PathBuf> {
        self.content(spot).map(|(path, _)| path)
    }

    /// The path of a file, and what is in it, up to a limit that nothing useful reaches.
    pub(super) fn content(&mut self, spot: Option<&Spot<'_>>) -> Option<(PathBuf, Vec<u8>)> {
        let spot = spot?;
        let path = spot.text()?;
        match self.files.read(Path::new(path)) {
            Ok(content) => Some((PathBuf::from(path), content)),
            Err(error) => {
                let Fault { problem, hint } = unreadable(path, &error);
                self.complain(spot, problem, hint);
                None
            }
        }
    }

    /// A secret, wherever it is kept.
    pub(super) fn secret(&mut self, spot: Option<&Spot<'_>>) -> Option<SecretString> {
        self.plain_secret(spot).map(SecretString::from)
    }

    /// The same for those who have to judge it first.
    pub(super) fn plain_secret(&mut self, spot: Option<&Spot<'_>>) -> Option<String> {
        let spot = spot?;
        if !spot.is_table() {
            return self.parsed(Some(spot), not_empty);
        }
        let (file, env) = (spot.at("file"), spot.at("env"));
        if let Some(file) = file {
            let (_, content) = self.content(Some(&file))?;
            return self.parsed(Some(&file), |path| secret_in(path, content).and_then(|text| not_empty(&text)));
        }
        let environment = self.environment;
        self.parsed(env.as_ref(), |name| match environment.get(name) {
            Some(value) => not_empty(value),
            None => Err(Fault::new(
                format!("the variable {name} is not set"),
                "set it where the gate is started, or name another one",
            )),
        })
    }
}

/// A name or an identifier: something that can be seen, on one line.
pub(super) fn text(text: &str) -> Result<String, Fault> {
    if text.trim().is_empty() {
        return Err(Fault::new("this is empty", "write a value, or leave the key out"));
    }
    if text.trim() != text || text.chars().any(char::is_control) {
        return Err(Fault::new("this has blanks around it or control characters in it", "remove them"));
    }
    Ok(text.to_owned())
}

pub(super) fn address(text: &str) -> Result<SocketAddr, Fault> {
    text.parse().map_err(|_| {
        let hint = "write the address and the port, such as \"0.0.0.0:9000\", \"127.0.0.1:9000\" or \"[::]:9000\"";
        Fault::new(format!("`{text}` is no IP address with a port"), hint)
    })
}

/// `10.0.0.0/8`, or an address that stands for itself.
pub(super) fn network(text: &str) -> Result<IpNet, Fault> {
    let network = match (text.parse::<IpNet>(), text.parse::<IpAddr>()) {
        (Ok(network), _) => network,
        (Err(_), Ok(address)) => IpNet::from(address),
        (Err(_), Err(_)) => {
            let hint = "write it as \"10.0.0.0/8\", \"fd00::/8\" or \"192.168.1.7\"";
            return Err(Fault::new(format!("`{text}` is no network"), hint));
        }
    };
    if network != network.trunc() {
        let hint = format!(
            "write \"{}\" for the whole network or \"{}\" for the one address",
            network.trunc(),
            network.addr()
        );
        return Err(Fault::new(format!("`{text}` has bits behind its mask"), hint));
    }
    match network {
        IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some() => {
            let hint = "write the IPv4 network itself: addresses are compared in that form";
            Err(Fault::new(format!("`{text}` would match nobody"), hint))
        }
        network => Ok(network),
    }
}

fn duration(text: &str) -> Result<Duration, Fault> {
    let hint = "write it as \"30s\", \"15m\", \"12h\" or \"28d\"";
    match humantime::parse_duration(text) {
        Err(error) => Err(Fault::new(format!("`{text}` is no duration: {error}"), hint)),
        Ok(Duration::ZERO) => Err(Fault::new("a duration of nothing", "write a longer one")),
        Ok(long) if long > LONGEST => Err(Fault::new(format!("`{text}` is longer than ten years"), hint)),
        Ok(duration) => Ok(duration),
    }
}

fn not_empty(secret: &str) -> Result<String, Fault> {
    if secret.trim().is_empty() {
        return Err(Fault::new("the secret is empty", "put it where this key says that it is kept"));
    }
    Ok(secret.to_owned())
}

/// The content of a file without the newline that editors and `echo` leave at its end.
fn secret_in(path: &str, content: Vec<u8>) -> Result<String, Fault> {
    if content.len() > SECRET_LIMIT {
        return Err(Fault::new(
            format!("{path} holds more than {SECRET_LIMIT} bytes"),
            "name the file of the secret alone",
        ));
    }
    let text = String::from_utf8(content).map_err(|_| unreadable(path, &io::Error::other("it is not UTF-8")))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

fn unreadable(path: &str, error: &io::Error) -> Fault {
    let hint = "name a file that is there and that the gate may read; relative paths begin in the working directory";
    Fault::new(format!("{path} cannot be read: {error}"), hint)
}
