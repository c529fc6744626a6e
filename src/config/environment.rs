//! The environment on top of the file: which variable sets which key.
//!
//! A variable that was meant for a key and sets none is as wrong as an unknown key in the file. It reads variables that it
//! is given, never the process's own.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    complaint::{Complaint, Fault, Origin},
    schema::{self, Kind, Target},
    suggest,
    tree::{self, Data, Node, Step},
};

/// All variables that may matter, by name.
pub type Environment = BTreeMap<String, String>;

/// What names of our variables begin with.
pub(super) const PREFIX: &str = "DOORWARD_";

/// What stands between the steps of a key's path.
pub(super) const JOINT: &str = "__";

/// The variable that names the file; not a key.
pub(super) const CONFIG_FILE: &str = "DOORWARD_CONFIG";

/// Whether any variable sets a key, so that there may be no file at all.
pub(super) fn sets_keys(environment: &Environment) -> bool {
    ours(environment).any(|variable| variable.target.is_some())
}

/// Puts every variable's value where it belongs in the tree.
pub(super) fn overlay(root: &mut Node, environment: &Environment) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    // In the order of the steps, so that a list is made before its elements and element 2 before element 10.
    let mut known: Vec<_> = ours(environment).filter_map(|variable| Some((variable.target?, variable))).collect();
    known.sort_by(|(_, one), (_, other)| one.steps.cmp(&other.steps));
    for (target, variable) in known {
        if let Err(fault) = variable.put(root, target) {
            complaints.push(fault.at(&key(&variable.steps), &variable.origin()));
        }
    }
    let named = secrets_by_variable(root);
    let unknown = ours(environment).filter(|variable| variable.target.is_none() && !named.contains(variable.name));
    complaints.extend(unknown.filter_map(|variable| {
        let hint = match suggest::variable(variable.name) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if variable.name.contains(JOINT) => {
                format!("a key's path joined by `{JOINT}` is missing behind `{PREFIX}`")
            }
            // Every key's name holds the joint. This is somebody else's, such as `DOORWARD_PORT_9000_TCP`, which
            // Kubernetes puts into every pod beside a Service called `doorward`.
            None => return None,
        };
        Some(Fault::new("this variable sets no key", hint).at("", &variable.origin()))
    }));
    complaints
}

struct Variable<'e> {
    name: &'e str,
    value: &'e str,
    steps: Vec<Step>,
    target: Option<Target>,
}

fn ours(environment: &Environment) -> impl Iterator<Item = Variable<'_>> {
    environment.iter().filter(|(name, _)| *name != CONFIG_FILE).filter_map(|(name, value)| {
        let steps: Vec<_> = name.strip_prefix(PREFIX)?.split(JOINT).map(step).collect();
        let target = schema::target(&steps);
        Some(Variable { name, value, steps, target })
    })
}

fn step(part: &str) -> Step {
    match part.parse() {
        Ok(place) if part.bytes().all(|byte| byte.is_ascii_digit()) => Step::Index(place),
        _ => Step::Key(part.to_ascii_lowercase()),
    }
}

/// The key as complaints name it: `apps[0].hosts`.
fn key(steps: &[Step]) -> String {
    let mut key = String::new();
    for step in steps {
        match step {
            Step::Key(name) if key.is_empty() => key.push_str(name),
            Step::Key(name) => key.extend([".", name]),
            Step::Index(place) => key.extend(["[", &place.to_string(), "]"]),
        }
    }
    key
}

impl Variable<'_> {
    fn origin(&self) -> Origin {
        Origin::Environment(self.name.to_owned())
    }

    fn put(&self, root: &mut Node, target: Target) -> Result<(), Fault> {
        let (value, example) = match target {
            Target::Value(kind) if kind.takes_text() && !self.is_inline_table(kind) => {
                (Some(Node { origin: self.origin(), data: Data::Text(self.value.to_owned()) }), String::new())
            }
            Target::Value(kind) => (tree::parse_value(&self.origin(), self.value), kind.example()),
            Target::Sections => (tree::parse_value(&self.origin(), self.value), "{ key = \"value\" }".to_owned()),
        };
        let value = value.ok_or_else(|| {
            Fault::new("the value is not TOML", format!("write it as in the file, for instance {example}"))
        })?;
        root.put(&self.steps, value).map_err(|length| {
            let problem = format!("there are {length} elements before it, so this place in the list does not exist");
            Fault::new(problem, "number the elements from 0 without a gap")
        })
    }

    /// No secret, path or preset begins with a brace, but `{ file = "…" }` and the like do.
    fn is_inline_table(&self, kind: Kind) -> bool {
        matches!(kind, Kind::Secret | Kind::Path | Kind::Headers)
            && self.value.trim_start().starts_with('{')
            && matches!(tree::parse_value(&Origin::Default, self.value), Some(Node { data: Data::Table(_), .. }))
    }
}

/// The variables that a `{ env = "…" }` names: they may begin as ours do without setting a key.
fn secrets_by_variable(node: &Node) -> BTreeSet<String> {
    match &node.data {
        Data::Table(table) => {
            let own = table.get("env").and_then(|node| match &node.data {
                Data::Text(name) => Some(name.clone()),
                _ => None,
            });
            table.values().flat_map(secrets_by_variable).chain(own).collect()
        }
        Data::List(list) => list.iter().flat_map(secrets_by_variable).collect(),
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
        let complaints = overlay(&mut root, &environment);
        (root.to_string(), complaints.iter().map(ToString::to_string).collect())
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
        let (tree, complaints) = overlaid(
            "[[providers]]\nname = 'a'\nclient_secret = 'x'\n[[providers]]\nname = 'b'\n",
            &[("DOORWARD_PROVIDERS__1__NAME", "c"), ("DOORWARD_PROVIDERS__0__CLIENT_SECRET__FILE", "/s")],
        );
        assert_eq!(tree, r#"{ providers = [{ client_secret = { file = "/s" }, name = "a" }, { name = "c" }] }"#);
        assert!(complaints.is_empty());
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
            let (_, complaints) = overlaid("", &[(name, value)]);
            assert_eq!(complaints.len(), 1, "{name}");
            assert!(complaints[0].starts_with(expected), "{name}: {complaints:?}");
        }
    }

    #[test]
    fn variables_that_were_not_meant_for_a_key_are_passed_over() {
        let (_, complaints) = overlaid(
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
        assert_eq!(complaints, [""; 0]);
    }
}
