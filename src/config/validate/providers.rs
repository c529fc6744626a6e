//! `[[providers]]`: the OpenID Connect providers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use url::{Host, Url};

use super::{
    super::{
        diagnostic::ValueError,
        known_providers::{KnownProvider, unusable_at_entra, with_slash_mended},
        reader::{self, Cursor, Reader},
    },
    cookie_domains,
};
use crate::{
    client_tls::Pem,
    cookie::SiteScheme,
    identity::ClaimPath,
    oidc::{self, ClientAuth, EnvironmentProxies, GroupsUse, IssuerUse, ProxyAddress, ProxySetting, UnverifiedEmail},
};

pub(super) fn read(reader: &mut Reader<'_>, root: &Cursor<'_>, transport: SiteScheme) -> Option<Vec<oidc::Settings>> {
    let Some(list) = root.at("providers") else {
        reader.error(root, "`providers` is missing: nobody could sign in", "add a section [[providers]]");
        return None;
    };
    let items = list.items();
    if items.is_empty() && list.is_valid() {
        reader.error(&list, "nobody could sign in", "add a section [[providers]]");
    }
    reader.refuse_duplicates(&items, Some("name"));
    cookie_domains::refuse_provider_names(reader, root, &items);
    let providers: Vec<_> = items.iter().map(|section| provider(reader, section, transport)).collect();
    providers.into_iter().collect()
}

fn provider(reader: &mut Reader<'_>, section: &Cursor<'_>, transport: SiteScheme) -> Option<oidc::Settings> {
    let name = reader.text(section.at("name").as_ref());
    let issuer = reader.parsed(section.at("issuer").as_ref(), |text| issuer(text, transport));
    let client_id = reader.text(section.at("client_id").as_ref());
    let secret = section.at("client_secret");
    let client_secret = reader.secret(secret.as_ref());
    let client_auth = client_auth(reader, section);
    let inside = section.at("internal_url");
    let internal_url = reader.parsed(inside.as_ref(), internal_url);
    let proxy = proxy(reader, section);
    let scopes = scopes(reader, section);
    if let Some(issuer) = &issuer {
        warn_of_product(reader, section, issuer);
    }
    let groups_claim = groups_claim(reader, section.at("groups_claim").as_ref());
    let separator = section.at("groups_separator");
    let groups_separator = reader.parsed(separator.as_ref(), groups_separator);
    let ca = section.at("ca_file");
    let pem = reader.content(ca.as_ref()).map(|(path, content)| Pem { path, content: content.into() });
    refuse_ca_of_plain_http(reader, ca.as_ref(), issuer.as_ref());
    let timeout = reader.duration(section.at("timeout").as_ref());
    let extra_authorize_params = parameters(reader, section);
    if let (Some(inside), Some(internal_url), Some(issuer)) = (&inside, &internal_url, &issuer)
        && internal_url.origin() == issuer.origin()
    {
        reader.error(inside, "has no effect: it is the issuer's own address", "remove it");
    }
    // What cannot be read must not be treated as absent.
    if secret.is_some() != client_secret.is_some()
        || ca.is_some() != pem.is_some()
        || inside.is_some() != internal_url.is_some()
        || separator.is_some() != groups_separator.is_some()
    {
        return None;
    }
    let settings = oidc::Settings {
        name: name?,
        issuer_use: IssuerUse::SignIn,
        issuer: issuer?,
        client_id: client_id?,
        client_secret,
        // Depends on another section, as do those below.
        id_tokens_by_secret: false,
        client_auth: client_auth?,
        internal_url,
        proxy: proxy?,
        scopes,
        groups_claim: groups_claim?,
        groups_separator,
        // Both depend on other sections.
        groups_use: GroupsUse::Unused,
        kept_attributes: crate::identity::KeptAttributes::default(),
        acr_in_rules: BTreeSet::new(),
        groups_grace: Duration::ZERO,
        unverified_email: unverified_email(section)?,
        ca: pem,
        timeout: timeout?,
        extra_authorize_params,
        end_session: section.at("end_session")?.flag()?,
        renewals_keep_sid: section.at("renewals_keep_sid").and_then(|cursor| cursor.flag()),
    };
    if let Some(ca) = &ca
        && settings.issuer.scheme() == "https"
        && let Err(error) = oidc::HttpTransport::new(&settings)
    {
        let text = error.to_string();
        let (problem, hint) = text.split_once("; mend: ").unwrap_or((&text, "name a file of PEM certificates"));
        reader.error(ca, problem, hint);
        return None;
    }
    Some(settings)
}

/// Warns of what the product at this issuer would refuse at the first sign-in.
fn warn_of_product(reader: &mut Reader<'_>, section: &Cursor<'_>, issuer: &Url) {
    if let (Some(cursor), Some(meant)) = (section.at("issuer"), with_slash_mended(issuer)) {
        reader.warn(&cursor, "tokens of this product name the issuer otherwise", format!("write \"{meant}\""));
    }
    let scopes = section.at("scopes").map(|list| list.items()).unwrap_or_default();
    if let Some(item) = scopes.iter().find(|scope| scope.text() == Some("offline_access"))
        && KnownProvider::of(issuer) == Some(KnownProvider::Google)
    {
        let hint = "remove it; refresh tokens come with extra_authorize_params = { access_type = \"offline\", prompt = \
                    \"consent\" }";
        reader.warn(item, "Google refuses this scope, so nobody could sign in", hint);
    }
}

/// Reads `groups_claim`: a dotted path, or its names.
fn groups_claim(reader: &mut Reader<'_>, cursor: Option<&Cursor<'_>>) -> Option<ClaimPath> {
    let cursor = cursor?;
    if cursor.text().is_some() {
        return reader.text(Some(cursor)).map(ClaimPath::Dotted);
    }
    let items = cursor.items();
    if items.is_empty() && cursor.is_valid() {
        reader.error(
            cursor,
            "names no claim",
            "write it as \"groups\" or [\"resource_access\", \"app.example.com\", \"roles\"]",
        );
    }
    let steps = reader.list(Some(cursor), reader::text);
    (!steps.is_empty() && steps.len() == items.len()).then_some(ClaimPath::Steps(steps))
}

fn groups_separator(text: &str) -> Result<String, ValueError> {
    if text.is_empty() {
        return Err(ValueError::new("this separates nothing", "write for instance \",\", or leave the key out"));
    }
    if text.chars().any(char::is_alphanumeric) {
        return Err(ValueError::new(
            format!("`{text}` would cut names of groups"),
            "write for instance \",\", \" \" or \"|\"",
        ));
    }
    Ok(text.to_owned())
}

fn refuse_ca_of_plain_http(reader: &mut Reader<'_>, ca: Option<&Cursor<'_>>, issuer: Option<&Url>) {
    if let (Some(ca), Some(issuer)) = (ca, issuer)
        && issuer.scheme() == "http"
    {
        reader.error(ca, "has no effect: the issuer is reached over http", "remove it");
    }
}

fn unverified_email(section: &Cursor<'_>) -> Option<UnverifiedEmail> {
    match section.at("unverified_email")?.text()? {
        "drop" => Some(UnverifiedEmail::Drop),
        "trust" => Some(UnverifiedEmail::Trust),
        // `pass`, the schema's only other choice; also the safe one for a future choice that is missing here.
        _ => Some(UnverifiedEmail::Pass),
    }
}

/// Reads the method of client authentication; one without a secret to send has no effect.
fn client_auth(reader: &mut Reader<'_>, section: &Cursor<'_>) -> Option<ClientAuth> {
    let cursor = section.at("client_auth")?;
    let method = match cursor.text()? {
        "basic" => ClientAuth::Basic,
        "post" => ClientAuth::Post,
        _ => ClientAuth::Auto,
    };
    if cursor.is_written() && section.at("client_secret").is_none() {
        let hint = "remove it, or set client_secret";
        reader.error(&cursor, "has no effect: a public client has no secret to authenticate with", hint);
    }
    Some(method)
}

/// Parses the address at which the gate itself asks: an origin, because the paths are the issuer's.
fn internal_url(text: &str) -> Result<Url, ValueError> {
    let example = "write it as \"http://authentik.auth.svc:9000\"; the paths are the issuer's";
    let url = Url::parse(text).map_err(|error| ValueError::new(format!("`{text}` is no URL: {error}"), example))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(ValueError::new("this is no http or https address", example));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(ValueError::new("an internal address has no path, query or fragment", example));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ValueError::new("an internal address has no user or password", example));
    }
    Ok(url)
}

/// Reads the proxy; without one those of the environment.
fn proxy(reader: &mut Reader<'_>, section: &Cursor<'_>) -> Option<ProxySetting> {
    let Some(cursor) = section.at("proxy") else { return Some(environment_proxies(reader, section)) };
    reader.parsed(Some(&cursor), |text| match text {
        "none" => Ok(ProxySetting::None),
        _ => ProxyAddress::parse(text).map(ProxySetting::Address).map_err(|error| {
            let hint = "write \"none\", or an address such as \"http://proxy.example.com:3128\"";
            ValueError::new(error.to_string(), hint)
        }),
    })
}

/// Reads the proxies of the environment, for an issuer that names none.
pub(super) fn environment_proxies(reader: &mut Reader<'_>, section: &Cursor<'_>) -> ProxySetting {
    let (proxies, unusable) = EnvironmentProxies::read(|name| reader.variable(name));
    for name in unusable {
        let problem = format!("the variable {name} names no proxy over http or https, and is ignored");
        reader.warn(section, problem, "correct it, or write the address in `proxy`");
    }
    ProxySetting::Environment(proxies)
}

/// Parses an issuer identifier.
pub(super) fn issuer(text: &str, transport: SiteScheme) -> Result<Url, ValueError> {
    let example = "write it as the provider states it, such as \"https://auth.example.com/realms/home\"";
    let url = Url::parse(text).map_err(|error| ValueError::new(format!("`{text}` is no URL: {error}"), example))?;
    let host = url.host().ok_or_else(|| ValueError::new(format!("`{text}` has no host"), example))?;
    if let Some((base, _)) = text.split_once(".well-known/") {
        return Err(ValueError::new("this is the address of the metadata, not the issuer", format!("try \"{base}\"")));
    }
    match url.scheme() {
        "https" => {}
        "http" if transport == SiteScheme::Http || is_local(&host) => {}
        "http" => {
            let hint = "use https; http is for a provider on this machine, and for a laboratory with `server.scheme = \"http\"`";
            return Err(ValueError::new("codes and secrets would travel in the clear", hint));
        }
        _ => return Err(ValueError::new(format!("`{text}` is not https"), example)),
    }
    if let Some((problem, hint)) = unusable_at_entra(&url) {
        return Err(ValueError::new(problem, hint));
    }
    // OpenID Connect Discovery 1.0, section 3: no query and no fragment. A password would end up in logs.
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(ValueError::new("an issuer has no query, fragment, user or password", example));
    }
    // Tokens are compared with it character by character, so parsing must not change it.
    if url.as_str() != text && url.as_str().strip_suffix('/') != Some(text) {
        return Err(ValueError::new(format!("`{text}` is not in its plain form"), format!("write \"{url}\"")));
    }
    Ok(url)
}

fn is_local(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        // RFC 6761, section 6.3: `localhost` and all names below it are this machine.
        Host::Domain(name) => *name == "localhost" || name.ends_with(".localhost"),
    }
}

fn scopes(reader: &mut Reader<'_>, section: &Cursor<'_>) -> Vec<String> {
    let Some(list) = section.at("scopes") else { return Vec::new() };
    let scopes = reader.list(Some(&list), |text| {
        let scope = reader::text(text)?;
        // RFC 6749, section 3.3.
        if scope.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\') {
            return Ok(scope);
        }
        Err(ValueError::new(format!("`{text}` is no scope"), "write each scope as an element of its own"))
    });
    if list.is_valid() && !scopes.iter().any(|scope| scope == "openid") {
        reader.error(&list, "`openid` is missing, and without it nobody is told who signed in", "add \"openid\"");
    }
    reader.refuse_duplicates(&list.items(), None);
    scopes
}

fn parameters(reader: &mut Reader<'_>, section: &Cursor<'_>) -> BTreeMap<String, String> {
    let entries = section.at("extra_authorize_params").map(|table| table.entries()).unwrap_or_default();
    let mut parameters = BTreeMap::new();
    for (name, value) in entries {
        if oidc::RESERVED_PARAMETERS.contains(&name) {
            let problem = format!("the gate sets `{name}` itself");
            reader.error(&value, problem, "remove it; scopes have a key of their own");
        }
        if let Some(text) = reader.text(Some(&value)) {
            parameters.insert(name.to_owned(), text);
        }
    }
    parameters
}
