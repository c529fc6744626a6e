//! Diagnostics: errors and warnings of a configuration, with key, place and hint.
//!
//! Mistakes are collected rather than returned at the first one, so that all of them are reported at once.

use std::{fmt, path::PathBuf};

/// Origin of a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A file and the line in it, counted from 1.
    File(PathBuf, usize),
    /// An environment variable.
    Environment(String),
    /// A file that contains only a secret.
    SecretFile(PathBuf),
    /// The built-in default.
    Default,
    /// The built-in default for this kind of provider.
    DefaultFor(&'static str),
}

impl Origin {
    /// Returns `true` if nobody has written the value.
    pub(super) fn is_default(&self) -> bool {
        matches!(self, Self::Default | Self::DefaultFor(_))
    }
}

/// Prints `doorward.toml:12`, `DOORWARD_SERVER__LISTEN`, `secret file /run/secrets/x`, `default` or
/// `default for a Keycloak realm`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(variable) => f.write_str(variable),
            Self::SecretFile(path) => write!(f, "secret file {}", path.display()),
            Self::Default => f.write_str("default"),
            Self::DefaultFor(provider) => write!(f, "default for {provider}"),
        }
    }
}

/// Severity of a diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration is valid, but most likely does not do what its author intends.
    Warning,
}

/// One mistake: its place, a description and a hint how to fix it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The key, such as `apps[0].hosts`; empty where the text is no TOML at all or there is none.
    pub key: String,
    /// Place of the mistake; a default where nothing is written that could be pointed at.
    pub origin: Origin,
    /// Description of the mistake.
    pub problem: String,
    /// Instruction how to fix it.
    pub hint: String,
}

/// Prints `doorward.toml:12: apps[0].hosts: problem` and the hint on an indented line; a warning as
/// `doorward.toml:12: warning: apps[0].hosts: problem`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.origin.is_default() {
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

/// All errors of a configuration, sorted by file and line, then by variable. Never empty.
#[derive(Clone, Debug)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, diagnostic) in self.0.iter().enumerate() {
            if place > 0 {
                writeln!(f)?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

/// Error in one value, without its key and place: [`ValueError::at`] adds them.
#[derive(Debug)]
pub(super) struct ValueError {
    pub(super) problem: String,
    pub(super) hint: String,
}

impl ValueError {
    pub(super) fn new(problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { problem: problem.into(), hint: hint.into() }
    }

    pub(super) fn at(self, key: &str, origin: &Origin) -> Diagnostic {
        let severity = Severity::Error;
        Diagnostic { severity, key: key.to_owned(), origin: origin.clone(), problem: self.problem, hint: self.hint }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_is_one_block_that_an_editor_can_jump_to() {
        let diagnostic = ValueError::new("has a port", "write `a.example`")
            .at("apps[0].hosts[1]", &Origin::File(PathBuf::from("doorward.toml"), 12));
        let missing = ValueError::new("is missing", "").at("session.secrets", &Origin::Default);
        let warning = Diagnostic { severity: Severity::Warning, ..diagnostic.clone() };
        assert_eq!(
            warning.to_string(),
            "doorward.toml:12: warning: apps[0].hosts[1]: has a port\n    write `a.example`"
        );
        assert_eq!(
            Diagnostics(vec![diagnostic, missing]).to_string(),
            "doorward.toml:12: apps[0].hosts[1]: has a port\n    write `a.example`\nsession.secrets: is missing"
        );
    }
}
