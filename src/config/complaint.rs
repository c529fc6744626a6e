//! What is wrong with a configuration: one complaint for each mistake, gathered rather than thrown.
//!
//! It must not know which keys there are; those who read them complain here.

use std::{fmt, path::PathBuf};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A file and the line in it, counted from 1.
    File(PathBuf, usize),
    /// An environment variable.
    Environment(String),
    /// A file that holds nothing but a secret.
    SecretFile(PathBuf),
    /// Built in.
    Default,
}

/// Prints `doorward.toml:12`, `DOORWARD_SERVER__LISTEN`, `secret file /run/secrets/x` or `default`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(variable) => f.write_str(variable),
            Self::SecretFile(path) => write!(f, "secret file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Consequences of a complaint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration is valid, and most likely does not do what its author wants.
    Warning,
}

/// One complaint: what, where, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Error or warning.
    pub severity: Severity,
    /// The key, such as `apps[0].hosts`; empty where the text is no TOML at all or there is none.
    pub key: String,
    /// Where it stands; [`Origin::Default`] where nothing was written that could be pointed at.
    pub origin: Origin,
    /// What is wrong.
    pub problem: String,
    /// How to mend it.
    pub hint: String,
}

/// Prints `doorward.toml:12: apps[0].hosts: problem` and the hint on an indented line; of a warning,
/// `doorward.toml:12: warning: apps[0].hosts: problem`.
impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.origin != Origin::Default {
            write!(f, "{}: ", self.origin)?;
        }
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "\n    {}", self.hint) }
    }
}

/// Every error of a configuration: by file and line, then by variable. Never empty.
#[derive(Clone, Debug)]
pub struct Complaints(pub Vec<Complaint>);

impl fmt::Display for Complaints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, complaint) in self.0.iter().enumerate() {
            if place > 0 {
                writeln!(f)?;
            }
            write!(f, "{complaint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Complaints {}

impl From<Complaint> for Complaints {
    fn from(complaint: Complaint) -> Self {
        Self(vec![complaint])
    }
}

/// What is wrong with one value, before it is known where the value stands.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) problem: String,
    pub(super) hint: String,
}

impl Fault {
    pub(super) fn new(problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { problem: problem.into(), hint: hint.into() }
    }

    pub(super) fn at(self, key: &str, origin: &Origin) -> Complaint {
        let severity = Severity::Error;
        Complaint { severity, key: key.to_owned(), origin: origin.clone(), problem: self.problem, hint: self.hint }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_one_block_that_an_editor_can_jump_to() {
        let complaint = Fault::new("has a port", "write `a.example`")
            .at("apps[0].hosts[1]", &Origin::File(PathBuf::from("doorward.toml"), 12));
        let missing = Fault::new("is missing", "").at("session.secrets", &Origin::Default);
        let warning = Complaint { severity: Severity::Warning, ..complaint.clone() };
        assert_eq!(
            warning.to_string(),
            "doorward.toml:12: warning: apps[0].hosts[1]: has a port\n    write `a.example`"
        );
        assert_eq!(
            Complaints(vec![complaint, missing]).to_string(),
            "doorward.toml:12: apps[0].hosts[1]: has a port\n    write `a.example`\nsession.secrets: is missing"
        );
    }
}
