//! The configuration as it is written: our keys in their order, and comments.
//!
//! Promises: every secret is named by a file; a comment above it says what belongs there.

use toml::Value;

use super::{
    imported::{Imported, ImportedAllow, ImportedApp, ImportedPath, ImportedProvider, ImportedRule, Proposal},
    toml_text::{TomlText, inline, list},
};

/// File that the sealing secret belongs in.
const SEALING_SECRET: &str = "/run/secrets/doorward";

/// File of the sessions.
const STORE: &str = "sqlite:/var/lib/doorward/sessions.db";

/// Returns the configuration as TOML with comments.
pub(super) fn write(imported: &Imported) -> String {
    let mut toml = TomlText::default();
    toml.comment(&format!("Written by `doorward import` from {}.", imported.origin));
    toml.comment("Read the comments, put the secrets where it says, and run `doorward check`: it prints the addresses to register.");
    for warning in &imported.warnings {
        toml.comment(&format!("WARNING: {warning}"));
    }
    toml.blank();
    server(&mut toml, imported);
    session(&mut toml, imported);
    toml.table("[store]");
    toml.comment("Several replicas share a PostgreSQL: url = \"postgres://doorward@db/doorward\".");
    toml.set("url", STORE);
    toml.blank();
    for one in &imported.providers {
        provider(&mut toml, one);
    }
    for one in &imported.apps {
        app(&mut toml, one);
    }
    for one in &imported.proposals {
        proposal(&mut toml, one);
        toml.blank();
    }
    if !imported.leftovers.is_empty() {
        toml.comment("Options without an equal, and what to do instead:");
    }
    for left in &imported.leftovers {
        toml.comment(&format!("- {}: {}", left.option, left.instead));
    }
    let text = toml.finish();
    format!("{}\n", text.trim_end())
}

fn server(toml: &mut TomlText, imported: &Imported) {
    toml.table("[server]");
    toml.comments(&imported.server_notes);
    toml.set("listen", imported.listen.as_str());
    if imported.plain_http && !imported.https {
        toml.comment("The old gate was reached over plain HTTP. Remove this line as soon as browsers come over https.");
        toml.set("scheme", "http");
    }
    if !imported.trusted_proxies.is_empty() {
        toml.comment("The addresses of your edges: nobody else may ask the gate.");
        toml.set("trusted_proxies", list(&imported.trusted_proxies));
    }
    toml.comment("Answers the paths of the old gate too, so that middlewares need not change on the day of the move.");
    toml.set("compat", list(&[imported.compat]));
    toml.blank();
}

fn session(toml: &mut TomlText, imported: &Imported) {
    toml.table("[session]");
    toml.comment(&format!("Make it with: doorward secret > {SEALING_SECRET}"));
    toml.set("secrets", Value::Array(vec![file(SEALING_SECRET)]));
    toml.comments(&imported.session_notes);
    if let Some(lifetime) = &imported.lifetime {
        toml.set("lifetime", lifetime.as_str());
    }
    match imported.cookie_domains.as_slice() {
        [] => {}
        [one] => toml.set("cookie_domain", one.as_str()),
        several => toml.set("cookie_domain", list(several)),
    }
    if !imported.legacy_cookies.is_empty() {
        toml.comment("Cookies of the old gate, which the gate's page /reset clears too.");
        toml.set("legacy_cookies", list(&imported.legacy_cookies));
    }
    toml.blank();
}

fn provider(toml: &mut TomlText, provider: &ImportedProvider) {
    toml.table("[[providers]]");
    toml.comments(&provider.notes);
    toml.set("name", provider.name.as_str());
    toml.set("issuer", provider.issuer.as_str());
    toml.set("client_id", provider.client_id.as_str());
    match &provider.secret_file {
        Some(path) => {
            toml.comment("Put the client's secret into this file; it was not written here.");
            toml.set("client_secret", file(path));
        }
        None => toml.comment("No client secret was given: a public client, with PKCE alone."),
    }
    if !provider.scopes.is_empty() {
        toml.set("scopes", list(&provider.scopes));
        if !provider.scopes.iter().any(|scope| scope == "offline_access") {
            toml.comment(
                "Without `offline_access` most providers give no refresh token, and sessions are not renewed.",
            );
        }
    }
    if let Some(claim) = &provider.groups_claim {
        toml.set("groups_claim", claim.as_str());
    }
    if provider.trusts_unverified_email {
        toml.comment("As the old gate did: an address that the provider has not verified counts as if it had.");
        toml.set("unverified_email", "trust");
    }
    if let Some(path) = &provider.ca_file {
        toml.set("ca_file", path.as_str());
    }
    if !provider.extra_authorize_params.is_empty() {
        let parameters = provider.extra_authorize_params.iter();
        let table = parameters.map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str()))).collect();
        toml.set("extra_authorize_params", Value::Table(table));
    }
    toml.blank();
}

fn app(toml: &mut TomlText, app: &ImportedApp) {
    toml.table("[[apps]]");
    toml.comments(&app.notes);
    toml.set("name", app.name.as_str());
    toml.set("hosts", list(&app.hosts));
    toml.set("provider", app.provider.as_str());
    let mut headers: Vec<_> = app.headers.iter().map(|preset| Value::from(*preset)).collect();
    if !app.own_headers.is_empty() {
        let own = app.own_headers.iter().map(|(name, template)| ((*name).to_owned(), Value::from(*template)));
        headers.push(Value::Table(own.collect()));
    }
    toml.set("headers", Value::Array(headers));
    if app.pass_access_token {
        toml.set("pass_access_token", true);
    }
    if let Some(after) = &app.reauthorize {
        toml.set("reauthorize", after.as_str());
    }
    for one in &app.proposals {
        proposal(toml, one);
    }
    toml.comments(&app.allow.notes);
    if !app.allow.is_empty() {
        toml.set("allow", allow(&app.allow));
    }
    toml.blank();
    for one in &app.rules {
        rule(toml, one);
    }
}

fn allow(allow: &ImportedAllow) -> Value {
    let mut table = toml::Table::new();
    for (key, values) in [("groups", &allow.groups), ("users", &allow.users)] {
        if !values.is_empty() {
            table.insert(key.to_owned(), list(values));
        }
    }
    if !allow.claims.is_empty() {
        let claims = allow.claims.iter().map(|(claim, values)| (claim.clone(), list(values)));
        table.insert("claims".to_owned(), Value::Table(claims.collect()));
    }
    if !allow.require_users.is_empty() {
        table.insert("require".to_owned(), inline([("users", list(&allow.require_users))]));
    }
    if allow.except_unverified {
        let unverified = inline([("email_verified", list(&["false"]))]);
        table.insert("except".to_owned(), inline([("claims", unverified)]));
    }
    Value::Table(table)
}

fn rule(toml: &mut TomlText, rule: &ImportedRule) {
    toml.table("[[apps.rules]]");
    toml.comments(&rule.notes);
    match &rule.path {
        None => {}
        Some(ImportedPath::Exact(path)) => toml.set("path", path.as_str()),
        Some(ImportedPath::Prefix(folder)) => toml.set("path", inline([("prefix", Value::from(folder.as_str()))])),
        Some(ImportedPath::Regex(expression)) => {
            toml.set("path", inline([("regex", Value::from(expression.as_str()))]));
        }
    }
    if !rule.methods.is_empty() {
        toml.set("methods", list(&rule.methods));
    }
    if !rule.networks.is_empty() {
        toml.set("networks", list(&rule.networks));
    }
    toml.set("access", rule.access);
    toml.blank();
}

fn proposal(toml: &mut TomlText, proposal: &Proposal) {
    toml.comments(&proposal.notes);
    if let Some(table) = proposal.table {
        toml.comment(table);
    }
    for (key, value) in &proposal.keys {
        toml.propose(key, value);
    }
}

/// Returns the value of a secret in a file.
fn file(path: &str) -> Value {
    inline([("file", Value::from(path))])
}
