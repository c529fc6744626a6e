//! authentik's proxy providers, as `GET /api/v3/outposts/proxy/` lists them.
//!
//! Promises: a provider that cannot be read is named and left out; no secret of the list is kept.

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{
    ImportError, ImportFile,
    expression::whole_path,
    imported::{Imported, ImportedApp, ImportedProvider, ImportedRule, Proposal},
};

/// The outpost's own default, in seconds.
const DEFAULT_VALIDITY: f64 = 86_400.0;

/// Networks that an outpost trusts by default, as far as edges are in them.
const TRUSTED: [&str; 5] = ["127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];

/// A proxy provider in the list.
#[derive(Debug, Deserialize)]
struct ProxyProvider {
    name: String,
    external_host: Url,
    oidc_configuration: ListedDiscovery,
    #[serde(default)]
    client_id: Option<String>,
    #[serde(default)]
    mode: Option<String>,
    #[serde(default)]
    internal_host: Option<String>,
    #[serde(default)]
    skip_path_regex: Option<String>,
    #[serde(default)]
    basic_auth_enabled: Option<bool>,
    #[serde(default)]
    basic_auth_password_attribute: Option<String>,
    #[serde(default)]
    basic_auth_user_attribute: Option<String>,
    #[serde(default)]
    cookie_domain: Option<String>,
    #[serde(default)]
    access_token_validity: Option<f64>,
    #[serde(default)]
    intercept_header_auth: Option<bool>,
    #[serde(default)]
    scopes_to_request: Vec<String>,
    #[serde(default)]
    assigned_application_slug: Option<String>,
}

/// The part of a discovery document that an import needs.
#[derive(Debug, Deserialize)]
struct ListedDiscovery {
    issuer: String,
}

/// Reads the lists of the files.
pub(super) fn import(files: &[ImportFile]) -> Result<Imported, ImportError> {
    let mut imported = Imported {
        origin: "authentik's proxy providers",
        compat: "authentik",
        listen: "0.0.0.0:9000".to_owned(),
        trusted_proxies: TRUSTED.map(ToOwned::to_owned).to_vec(),
        legacy_cookies: vec!["authentik_proxy_*".to_owned()],
        ..Imported::default()
    };
    for file in files {
        for entry in entries(file, &mut imported)? {
            let name = entry.get("name").and_then(Value::as_str).unwrap_or("without a name").to_owned();
            match serde_json::from_value::<ProxyProvider>(entry) {
                Ok(provider) => add(&mut imported, &provider),
                Err(error) => imported.warn(format!("the provider `{name}` is left out: {error}")),
            }
        }
    }
    if imported.apps.is_empty() {
        return Err(ImportError::Incomplete(
            "there is no proxy provider in it; save the answer of GET /api/v3/outposts/proxy/, asked with the outpost's token"
                .to_owned(),
        ));
    }
    imported.warn(
        "authentik signs the tokens of proxy providers with the client's secret (HS256), which counts while server.compat names \
         it. They have no logout tokens: for back-channel logout make an OAuth2/OpenID provider with a signing key \
         (deploy/authentik/blueprint.yaml) and put its issuer, client_id and secret here",
    );
    if imported.plain_http && imported.https {
        imported.warn(
            "some of the hosts were reached over plain HTTP: here the world outside sees https everywhere, so give them a certificate",
        );
    }
    propose_the_move(&mut imported);
    Ok(imported)
}

/// Returns the providers of a file: pages, lists and single ones, one after another.
fn entries(file: &ImportFile, imported: &mut Imported) -> Result<Vec<Value>, ImportError> {
    let mut entries = Vec::new();
    let (mut seen, mut pages) = (0_u64, 0_u64);
    for value in serde_json::Deserializer::from_str(&file.text).into_iter::<Value>() {
        let value = value.map_err(|error| ImportError::Format(file.name.clone(), format!("is no JSON: {error}")))?;
        match value {
            Value::Array(list) => entries.extend(list),
            Value::Object(mut page) => match page.remove("results") {
                Some(Value::Array(list)) => {
                    seen += 1;
                    let total = page.get("pagination").and_then(|pagination| pagination.get("total_pages"));
                    pages = pages.max(total.and_then(Value::as_u64).unwrap_or_default());
                    entries.extend(list);
                }
                _ => entries.push(Value::Object(page)),
            },
            _ => return Err(ImportError::Format(file.name.clone(), "holds something that is no list".to_owned())),
        }
    }
    if pages > seen {
        imported.warn(format!(
            "{} has {seen} of {pages} pages: save the others too (?page=2, or ?page_size=100), or their apps are missing",
            file.name
        ));
    }
    Ok(entries)
}

fn add(imported: &mut Imported, provider: &ProxyProvider) {
    let Some(external) = provider.external_host.host_str().map(ToOwned::to_owned) else {
        imported.warn(format!("the provider `{}` is left out: its external host has no name", provider.name));
        return;
    };
    let domain = provider.domain().map(ToOwned::to_owned);
    let mut hosts = match &domain {
        Some(domain) => vec![domain.clone(), format!("*.{domain}")],
        None => Vec::new(),
    };
    if !domain.as_ref().is_some_and(|domain| external == *domain || external.ends_with(&format!(".{domain}"))) {
        hosts.push(external);
    }
    let taken: Vec<_> = imported.apps.iter().flat_map(|app| app.hosts.clone()).collect();
    hosts.retain(|host| !taken.contains(host));
    if hosts.is_empty() {
        imported.warn(format!("the provider `{}` is left out: its host belongs to one before it", provider.name));
        return;
    }
    match provider.external_host.scheme() {
        "http" => imported.plain_http = true,
        _ => imported.https = true,
    }
    let name = unused_name(imported, provider);
    imported.providers.push(provider.as_client(&name));
    let mut app = ImportedApp {
        provider: name.clone(),
        name,
        hosts,
        headers: vec!["authentik"],
        reauthorize: Some(duration(provider.access_token_validity.unwrap_or(DEFAULT_VALIDITY))),
        ..ImportedApp::default()
    };
    app.proposals.push(Proposal {
        notes: vec!["The outpost sent the ID token (X-authentik-jwt); where the app reads it:".to_owned()],
        keys: vec![("pass_id_token", true.into())],
        ..Proposal::default()
    });
    if let Some(domain) = domain.filter(|domain| !imported.cookie_domains.contains(domain)) {
        imported.cookie_domains.push(domain);
    }
    upstream(imported, provider, &mut app);
    basic_auth(provider, &mut app);
    if provider.intercept_header_auth == Some(true) {
        app.notes.push(
            "The outpost took bearer tokens and app passwords at every path. Here a rule with access = \"bearer\" says at which: \
             docs/api-clients.md."
                .to_owned(),
        );
    }
    for line in provider.skip_path_regex.as_deref().unwrap_or_default().lines() {
        skip_path(imported, provider, &mut app, line.trim());
    }
    imported.apps.push(app);
}

/// Says what becomes of an app that the outpost itself passed requests on to.
fn upstream(imported: &mut Imported, provider: &ProxyProvider, app: &mut ImportedApp) {
    if provider.mode.as_deref().unwrap_or("proxy") != "proxy" {
        return;
    }
    let internal = provider.internal_host.as_deref().filter(|host| !host.is_empty()).unwrap_or("the app");
    let instead = format!(
        "the outpost passed requests for `{}` on to {internal}; this version is no reverse proxy: route the app in your edge, and have \
         the edge ask the gate",
        app.name
    );
    app.notes.push(instead.clone());
    imported.warn(instead);
}

/// Proposes the credentials that the outpost made of a person's attributes.
fn basic_auth(provider: &ProxyProvider, app: &mut ImportedApp) {
    let password = provider.basic_auth_password_attribute.as_deref().unwrap_or_default();
    if provider.basic_auth_enabled != Some(true) || password.is_empty() {
        return;
    }
    let user = provider.basic_auth_user_attribute.as_deref().filter(|user| !user.is_empty());
    let attributes = user.map(|user| ("user_attribute", user)).into_iter().chain([("password_attribute", password)]);
    let table = attributes.map(|(key, attribute)| (key.to_owned(), attribute.into())).collect();
    app.proposals.push(Proposal {
        notes: vec![
            "The outpost signed people in at the app with a name and a password from their attributes. That takes the scope ak_proxy and \
             its mapping at the provider, and an edge that copies Authorization (docs/compat.md):"
                .to_owned(),
        ],
        keys: vec![("basic_auth", toml::Value::Table(table))],
        ..Proposal::default()
    });
}

/// Adds a rule for a line of `skip_path_regex`. With `forward_domain` it is searched for in the whole address.
fn skip_path(imported: &mut Imported, provider: &ProxyProvider, app: &mut ImportedApp, line: &str) {
    if line.is_empty() {
        return;
    }
    let in_address = provider.domain().is_some();
    let path = if in_address && (line.contains('^') || line.contains("://")) {
        Err("it is about scheme and host; give that host an app of its own, with a rule for the path".to_owned())
    } else {
        whole_path(line)
    };
    match path {
        Ok(path) if app.rules.iter().all(|rule| rule.path.as_ref() != Some(&path)) => {
            app.rules.push(ImportedRule {
                notes: vec![format!("skip_path_regex: {line}")],
                path: Some(path),
                access: "optional",
                ..ImportedRule::default()
            });
        }
        Ok(_) => {}
        Err(problem) => {
            imported
                .warn(format!("`{}`: the line `{line}` of skip_path_regex opens nothing here: {problem}", app.name));
            imported.leave(format!("skip_path_regex of `{}`, {line}", app.name), problem);
        }
    }
}

fn propose_the_move(imported: &mut Imported) {
    imported.proposals.push(Proposal {
        notes: vec![
            "For the day of the move: whoever is signed in at the old outpost stays signed in. Name its address, and remove this \
             when the old sessions are over."
                .to_owned(),
        ],
        table: Some("[adopt]"),
        keys: vec![("url", "http://old-outpost:9000/outpost.goauthentik.io/auth/traefik".into())],
    });
    imported.proposals.push(Proposal {
        notes: vec!["Or, app by app, the old outpost goes on deciding. In [[apps]]:".to_owned()],
        table: None,
        keys: vec![("delegate", "http://old-outpost:9000/outpost.goauthentik.io/auth/traefik".into())],
    });
}

impl ProxyProvider {
    /// Returns the domain that the provider protects, in the mode that protects one.
    fn domain(&self) -> Option<&str> {
        let domain = self.cookie_domain.as_deref().unwrap_or_default().trim_start_matches('.');
        (self.mode.as_deref() == Some("forward_domain") && !domain.is_empty()).then_some(domain)
    }

    fn as_client(&self, name: &str) -> ImportedProvider {
        let mut scopes: Vec<_> = self.scopes_to_request.clone();
        scopes.push("openid".to_owned());
        // They come in random order.
        scopes.sort_by_key(|scope| (scope != "openid", scope.clone()));
        scopes.dedup();
        ImportedProvider {
            name: name.to_owned(),
            issuer: self.oidc_configuration.issuer.clone(),
            client_id: self.client_id.clone().unwrap_or_default(),
            secret_file: Some(format!("/run/secrets/{name}")),
            scopes,
            ..ImportedProvider::default()
        }
    }
}

/// Returns a name for app and provider that no other has.
fn unused_name(imported: &Imported, provider: &ProxyProvider) -> String {
    let slug = provider.assigned_application_slug.as_deref().filter(|slug| !slug.is_empty());
    let plain: String = slug
        .unwrap_or(&provider.name)
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' })
        .collect();
    let base = match plain.trim_matches('-') {
        "" => "app",
        // A cookie of the gate has this name.
        "login" => "login-app",
        name => name,
    };
    let is_taken = |name: &str| imported.apps.iter().any(|app| app.name == name);
    let numbered = (2..).map(|number| format!("{base}-{number}"));
    std::iter::once(base.to_owned()).chain(numbered).find(|name| !is_taken(name)).unwrap_or_default()
}

/// Returns seconds in the largest unit that they are whole in.
fn duration(seconds: f64) -> String {
    // A time that is none, or beyond any that makes sense, is the outpost's default.
    let whole = format!("{:.0}", seconds.ceil()).parse().ok().filter(|seconds| (1..=315_360_000).contains(seconds));
    let seconds: u64 = whole.unwrap_or(86_400);
    match seconds {
        _ if seconds.is_multiple_of(3_600) => format!("{}h", seconds / 3_600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}
