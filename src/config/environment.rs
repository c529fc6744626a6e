//! The environment on top of the file: the key that each variable sets.
//!
//! A variable that looks like a key's and sets none is an error, as an unknown key in the file is. The variables are
//! passed in; the process environment is read in `source` alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use regex::Regex;

use super::{
    diagnostic::{Diagnostic, Origin, ValueError},
    schema::{self, PathTarget, ValueKind},
    suggest,
    tree::{self, Node, Segment, TomlValue},
    variable::{CONFIG_FILE, PREFIX, SEPARATOR},
};

/// Environment variables by name.
pub type Environment = BTreeMap<String, String>;

/// Returns `true` if any variable sets a key: then no file is needed.
pub(super) fn sets_keys(environment: &Environment) -> bool {
    ours(environment).any(|variable| variable.target.is_some())
}

/// Puts every variable's value at its key in the tree.
pub(super) fn overlay(root: &mut Node, environment: &Environment) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    // By segments, so that a list is created before its elements, and element 2 before element 10.
    let mut known: Vec<_> = ours(environment).filter_map(|variable| Some((variable.target?, variable))).collect();
    known.sort_by(|(_, one), (_, other)| one.segments.cmp(&other.segments));
    for (target, variable) in known {
        if let Err(error) = variable.put(root, target) {
            diagnostics.push(error.at(&key(&variable.segments), &variable.origin()));
        }
    }
    let named = secret_variables(root);
    let unknown = ours(environment).filter(|variable| {
        variable.target.is_none() && !named.contains(variable.name) && !variable.is_of_a_kubernetes_service()
    });
    diagnostics.extend(unknown.filter_map(|variable| {
        let hint = match suggest::variable(variable.name) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if variable.name.contains(SEPARATOR) => {
                format!("a key's path joined by `{SEPARATOR}` is missing behind `{PREFIX}`")
            }
            // Every key's variable contains the separator, so this one is not ours.
            None => return None,
        };
        Some(ValueError::new("this variable sets no key", hint).at("", &variable.origin()))
    }));
    diagnostics
}

/// Names of the variables of a Kubernetes Service ("Discovering services", environment variables).
static KUBERNETES_SERVICE: LazyLock<Regex> = LazyLock::new(|| {
    let part = "_SERVICE_HOST|_SERVICE_PORT(_[A-Z0-9_]+)?|_PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?";
    Regex::new(&format!("^DOORWARD(_[A-Z0-9_]+)?({part})$")).expect("the expression is constant")
});

struct Variable<'e> {
    name: &'e str,
    value: &'e str,
    segments: Vec<Segment>,
    target: Option<PathTarget>,
}

fn ours(environment: &Environment) -> impl Iterator<Item = Variable<'_>> {
    environment.iter().filter(|(name, _)| *name != CONFIG_FILE).filter_map(|(name, value)| {
        let segments: Vec<_> = name.strip_prefix(PREFIX)?.split(SEPARATOR).map(segment).collect();
        let target = schema::target(&segments);
        Some(Variable { name, value, segments, target })
    })
}

fn segment(part: &str) -> Segment {
    match part.parse() {
        Ok(place) if part.bytes().all(|byte| byte.is_ascii_digit()) => Segment::Index(place),
        _ => Segment::Key(part.to_ascii_lowercase()),
    }
}

/// Returns the key as diagnostics spell it: `apps[0].hosts`.
fn key(segments: &[Segment]) -> String {
    let mut key = String::new();
    for segment in segments {
        match segment {
            Segment::Key(name) if key.is_empty() => key.push_str(name),
            Segment::Key(name) => key.extend([".", name]),
            Segment::Index(place) => key.extend(["[", &place.to_string(), "]"]),
        }
    }
    key
}

impl Variable<'_> {
    fn origin(&self) -> Origin {
        Origin::Environment(self.name.to_owned())
    }

    /// Returns `true` for the variables that Kubernetes sets in every pod beside a Service called `doorward` or
    /// `doorward-…`, whatever its ports are called. None of them can be a key's: those contain the separator.
    fn is_of_a_kubernetes_service(&self) -> bool {
        !self.name.contains(SEPARATOR) && KUBERNETES_SERVICE.is_match(self.name)
    }

    fn put(&self, root: &mut Node, target: PathTarget) -> Result<(), ValueError> {
        let (value, example) = match target {
            PathTarget::Value(kind) if kind.takes_text() && !self.is_inline(kind) => {
                (Some(Node { origin: self.origin(), value: TomlValue::Text(self.value.to_owned()) }), String::new())
            }
            PathTarget::Value(kind) => (tree::parse_value(&self.origin(), self.value), kind.example()),
            PathTarget::Sections => (tree::parse_value(&self.origin(), self.value), "{ key = \"value\" }".to_owned()),
        };
        let value = value.ok_or_else(|| {
            ValueError::new("the value is not TOML", format!("write it as in the file, for instance {example}"))
        })?;
        root.put(&self.segments, value).map_err(|length| {
            let problem = format!("there are {length} elements before it, so this place in the list does not exist");
            ValueError::new(problem, "number the elements from 0 without a gap")
        })
    }

    /// Returns `true` if the value is an inline table such as `{ file = "…" }`, or the list of a claim's path or of domains. No
    /// secret, path or preset begins with a brace, and neither path nor domain with a bracket.
    fn is_inline(&self, kind: ValueKind) -> bool {
        let parsed = || tree::parse_value(&Origin::Default, self.value).map(|node| node.value);
        let begins_with = |bracket| self.value.trim_start().starts_with(bracket);
        match kind {
            ValueKind::Secret | ValueKind::Path | ValueKind::Upstream | ValueKind::Headers => {
                begins_with('{') && matches!(parsed(), Some(TomlValue::Table(_)))
            }
            ValueKind::ClaimPath | ValueKind::TextOrList | ValueKind::Domains => {
                begins_with('[') && matches!(parsed(), Some(TomlValue::List(_)))
            }
            _ => false,
        }
    }
}

/// Returns the variables named by `{ env = "…" }`. They may have our prefix without setting a key.
fn secret_variables(node: &Node) -> BTreeSet<String> {
    match &node.value {
        TomlValue::Table(table) => {
            let own = table.get("env").and_then(|node| match &node.value {
                TomlValue::Text(name) => Some(name.clone()),
                _ => None,
            });
            table.values().flat_map(secret_variables).chain(own).collect()
        }
        TomlValue::List(list) => list.iter().flat_map(secret_variables).collect(),
        _ => BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn overlaid(text: &str, variables: &[(&str, &str)]) -> (String, Vec<String>) {
        let mut root = tree::parse(Path::new("f"), text).ok().unwrap();
        let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let diagnostics = overlay(&mut root, &environment);
        (root.to_string(), diagnostics.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_variable_sets_the_key_that_its_name_spells() {
        for (name, value, expected) in [
            ("DOORWARD_SERVER__LISTEN", "[::]:1", r#"{ server = { listen = "[::]:1" } }"#),
            ("DOORWARD_SESSION__LIFETIME", "2s", r#"{ session = { lifetime = "2s" } }"#),
            ("DOORWARD_PROVIDERS__0__END_SESSION", "false", r"{ providers = [{ end_session = false }] }"),
            ("DOORWARD_PROVIDERS__0__SCOPES", r#"["openid"]"#, r#"{ providers = [{ scopes = ["openid"] }] }"#),
            ("DOORWARD_PROVIDERS__0__SCOPES__0", "openid", r#"{ providers = [{ scopes = ["openid"] }] }"#),
            ("DOORWARD_SESSION__SECRETS__0__FILE", "/s", r#"{ session = { secrets = [{ file = "/s" }] } }"#),
            ("DOORWARD_SESSION__SECRETS__0", "{x", r#"{ session = { secrets = ["{x"] } }"#),
            ("DOORWARD_SESSION__SECRETS__0", "{ env = 'A' }", r#"{ session = { secrets = [{ env = "A" }] } }"#),
            (
                "DOORWARD_APPS__0__RULES__0__PATH__PREFIX",
                "/p/",
                r#"{ apps = [{ rules = [{ path = { prefix = "/p/" } }] }] }"#,
            ),
            ("DOORWARD_LOG", "{ level = 'debug' }", r#"{ log = { level = "debug" } }"#),
            ("DOORWARD_SERVER__TLS", "{ cert = 'c' }", r#"{ server = { tls = { cert = "c" } } }"#),
        ] {
            assert_eq!(overlaid("", &[(name, value)]), (expected.to_owned(), Vec::new()), "{name}");
        }
    }

    #[test]
    fn a_variable_wins_over_the_file_and_leaves_its_neighbours() {
        let (tree, diagnostics) = overlaid(
            "[[providers]]\nname = 'a'\nclient_secret = 'x'\n[[providers]]\nname = 'b'\n",
            &[("DOORWARD_PROVIDERS__1__NAME", "c"), ("DOORWARD_PROVIDERS__0__CLIENT_SECRET__FILE", "/s")],
        );
        assert_eq!(tree, r#"{ providers = [{ client_secret = { file = "/s" }, name = "a" }, { name = "c" }] }"#);
        assert!(diagnostics.is_empty());
    }

    #[test]
    fn elements_are_made_in_the_order_of_their_numbers() {
        let variables: Vec<_> = (0..12).map(|n| format!("DOORWARD_PROVIDERS__0__SCOPES__{n}")).collect();
        let variables: Vec<_> = variables.iter().map(|name| (name.as_str(), "s")).collect();
        assert!(overlaid("", &variables).1.is_empty());
    }

    #[test]
    fn a_variable_that_sets_nothing_is_an_error_with_its_name() {
        for (name, value, expected) in [
            ("DOORWARD_SERVER__LISTN", "x", "DOORWARD_SERVER__LISTN: this variable sets no key"),
            ("DOORWARD_LISTEN", "x", "DOORWARD_LISTEN: this variable sets no key"),
            ("DOORWARD_LOG", "debug", "DOORWARD_LOG: log: the value is not TOML"),
            (
                "DOORWARD_PROVIDERS__1__NAME",
                "x",
                "DOORWARD_PROVIDERS__1__NAME: providers[1].name: there are 0 elements",
            ),
            (
                "DOORWARD_PROVIDERS__0__SCOPES",
                "a,b",
                "DOORWARD_PROVIDERS__0__SCOPES: providers[0].scopes: the value is not",
            ),
            ("DOORWARD_LOG_LEVEL", "debug", "DOORWARD_LOG_LEVEL: this variable sets no key"),
            ("DOORWARD_SESION_LIFETIME", "1d", "DOORWARD_SESION_LIFETIME: this variable sets no key"),
            ("DOORWARD_NONSENSE__X", "x", "DOORWARD_NONSENSE__X: this variable sets no key"),
        ] {
            let (_, diagnostics) = overlaid("", &[(name, value)]);
            assert_eq!(diagnostics.len(), 1, "{name}");
            assert!(diagnostics[0].starts_with(expected), "{name}: {diagnostics:?}");
        }
    }

    #[test]
    fn variables_that_are_not_meant_for_a_key_are_ignored() {
        let (_, diagnostics) = overlaid(
            "[session]\nsecrets = [{ env = 'DOORWARD_SEALING' }]\n",
            &[
                ("DOORWARD_SEALING", "x"),
                ("DOORWARD_CONFIG", "/etc/x"),
                ("DOORWARD_COMMIT", "abc"),
                ("DOORWARDX", "x"),
                ("DOORWARD_SERVICE_HOST", "10.0.0.1"),
                ("DOORWARD_SERVICE_PORT", "9000"),
                ("DOORWARD_SERVICE_PORT_HTTP", "9000"),
                ("DOORWARD_PORT", "tcp://10.0.0.1:9000"),
                ("DOORWARD_PORT_9000_TCP", "tcp://10.0.0.1:9000"),
                ("DOORWARD_PORT_9000_TCP_PROTO", "tcp"),
                ("DOORWARD_PORT_9000_TCP_PORT", "9000"),
                ("DOORWARD_MANAGEMENT_PORT_9300_TCP_ADDR", "10.0.0.1"),
                ("DOORWARD_MANAGEMENT_SERVICE_HOST", "10.0.0.1"),
            ],
        );
        assert_eq!(diagnostics, [""; 0]);
    }

    #[test]
    fn the_variables_of_a_kubernetes_service_are_passed_over_whatever_its_ports_are_called() {
        // Ports called as keys are, and Services called as sections are.
        for part in ["MANAGEMENT", "LISTEN", "LOG_LEVEL", "STORE_URL", "SERVER", "METRICS_2", "SESSION_SECRETS"] {
            for (name, value) in [
                (format!("DOORWARD_SERVICE_PORT_{part}"), "9300"),
                (format!("DOORWARD_{part}_SERVICE_HOST"), "10.0.0.1"),
                (format!("DOORWARD_{part}_SERVICE_PORT"), "9000"),
                (format!("DOORWARD_{part}_SERVICE_PORT_{part}"), "9000"),
                (format!("DOORWARD_{part}_PORT"), "tcp://10.0.0.1:9000"),
                (format!("DOORWARD_{part}_PORT_9000_TCP"), "tcp://10.0.0.1:9000"),
                (format!("DOORWARD_{part}_PORT_9000_UDP_ADDR"), "10.0.0.1"),
            ] {
                assert_eq!(overlaid("", &[(&name, value)]).1, [""; 0], "{name}");
            }
        }
        for name in ["DOORWARD_SERVER__SERVICE_HOST", "DOORWARD_LOG_LEVEL_", "DOORWARD_LISTEN"] {
            assert_eq!(overlaid("", &[(name, "9000")]).1.len(), 1, "{name}");
        }
    }
}
