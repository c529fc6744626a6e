//! A configuration on its way from another gate's words into ours.
//!
//! Promises: secrets have no place in it, only the files that they belong in.

/// Configuration that has been read, as [`super::written::write`] writes it.
#[derive(Debug, Default)]
pub(super) struct Imported {
    /// Where it came from.
    pub(super) origin: &'static str,
    /// Value of `server.compat`.
    pub(super) compat: &'static str,
    /// `server.listen`.
    pub(super) listen: String,
    /// Comments about the listeners.
    pub(super) server_notes: Vec<String>,
    /// `true` where a host is reached over plain HTTP.
    pub(super) plain_http: bool,
    /// `true` where a host is reached over https.
    pub(super) https: bool,
    /// `server.trusted_proxies`.
    pub(super) trusted_proxies: Vec<String>,
    /// `session.lifetime`.
    pub(super) lifetime: Option<String>,
    /// `session.cookie_domain`.
    pub(super) cookie_domains: Vec<String>,
    /// Names of the other gate's cookies.
    pub(super) legacy_cookies: Vec<String>,
    /// Comments about sessions.
    pub(super) session_notes: Vec<String>,
    /// The providers.
    pub(super) providers: Vec<ImportedProvider>,
    /// The apps.
    pub(super) apps: Vec<ImportedApp>,
    /// What stands at the end, each line commented out unless it is a comment already.
    pub(super) proposals: Vec<Proposal>,
    /// Options without an equal, and what to do instead.
    pub(super) leftovers: Vec<Leftover>,
    /// What the operator has to read before using the result.
    pub(super) warnings: Vec<String>,
}

/// Provider, at which the gate is a client.
#[derive(Debug, Default)]
pub(super) struct ImportedProvider {
    pub(super) name: String,
    pub(super) issuer: String,
    pub(super) client_id: String,
    /// The file that the secret belongs in; absent for a public client.
    pub(super) secret_file: Option<String>,
    pub(super) scopes: Vec<String>,
    pub(super) groups_claim: Option<String>,
    /// `true` where an unverified address counts as a verified one.
    pub(super) trusts_unverified_email: bool,
    pub(super) ca_file: Option<String>,
    pub(super) extra_authorize_params: Vec<(&'static str, String)>,
    pub(super) notes: Vec<String>,
}

/// Protected app.
#[derive(Debug, Default)]
pub(super) struct ImportedApp {
    pub(super) name: String,
    pub(super) hosts: Vec<String>,
    pub(super) provider: String,
    pub(super) headers: Vec<&'static str>,
    /// Own headers: name and template.
    pub(super) own_headers: Vec<(&'static str, &'static str)>,
    pub(super) pass_access_token: bool,
    pub(super) reauthorize: Option<String>,
    pub(super) allow: ImportedAllow,
    pub(super) rules: Vec<ImportedRule>,
    pub(super) notes: Vec<String>,
    /// Keys that stand commented out, for the operator to decide about.
    pub(super) proposals: Vec<Proposal>,
}

/// People who are let in.
#[derive(Debug, Default)]
pub(super) struct ImportedAllow {
    pub(super) groups: Vec<String>,
    pub(super) users: Vec<String>,
    /// Claim and values that let in beside groups and users.
    pub(super) claims: Vec<(String, Vec<String>)>,
    /// Users of whom one has to match on top.
    pub(super) require_users: Vec<String>,
    /// `true` where an unverified address is refused.
    pub(super) except_unverified: bool,
    pub(super) notes: Vec<String>,
}

/// Rule of an app.
#[derive(Debug, Default)]
pub(super) struct ImportedRule {
    pub(super) notes: Vec<String>,
    pub(super) path: Option<ImportedPath>,
    pub(super) methods: Vec<String>,
    pub(super) networks: Vec<String>,
    pub(super) access: &'static str,
}

/// Path of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ImportedPath {
    /// This path alone.
    Exact(String),
    /// Everything below a folder.
    Prefix(String),
    /// Whole paths that an expression matches.
    Regex(String),
}

/// Lines of configuration that stand commented out.
#[derive(Debug, Default)]
pub(super) struct Proposal {
    /// Why, and when to use them.
    pub(super) notes: Vec<String>,
    /// `[table]` or `[[table]]` that they are in, where it is not the one they stand in.
    pub(super) table: Option<&'static str>,
    /// Keys and values.
    pub(super) keys: Vec<(&'static str, toml::Value)>,
}

/// Option without an equal.
#[derive(Debug)]
pub(super) struct Leftover {
    /// Its name at the other gate.
    pub(super) option: String,
    /// What to do instead.
    pub(super) instead: String,
}

impl Imported {
    /// Adds a warning, which also stands as a comment where the caller puts it.
    pub(super) fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// Adds an option that has no equal.
    pub(super) fn leave(&mut self, option: impl Into<String>, instead: impl Into<String>) {
        self.leftovers.push(Leftover { option: option.into(), instead: instead.into() });
    }
}

impl ImportedAllow {
    /// Returns `true` where everybody who is signed in is let in.
    pub(super) fn is_empty(&self) -> bool {
        !self.except_unverified && !self.names_anybody() && self.require_users.is_empty()
    }

    /// Returns `true` where it names who is let in.
    pub(super) fn names_anybody(&self) -> bool {
        !(self.groups.is_empty() && self.users.is_empty() && self.claims.is_empty())
    }
}
