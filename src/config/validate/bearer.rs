//! `[bearer]`: the credentials of API clients.

use std::{collections::BTreeMap, time::Duration};

use url::Url;

use super::{
    super::reader::{self, Cursor, Reader},
    providers,
};
use crate::{
    cookie::SiteScheme,
    flow::{AppPasswords, BearerSettings, Introspection, IssuerKeys, TrustedIssuer},
    identity::ClaimPath,
    oidc::{self, ClientAuth, GroupsUse, IssuerUse, UnverifiedEmail},
};

/// Timeout of a request to an issuer at which nobody signs in.
const ISSUER_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads the section; `None` where there is none, or it cannot be read.
pub(super) fn read(
    reader: &mut Reader<'_>,
    root: &Cursor<'_>,
    transport: SiteScheme,
    providers: Option<&[oidc::Settings]>,
) -> Option<BearerSettings> {
    let rules = bearer_rules(root);
    let Some(section) = root.at("bearer") else {
        for (_, access) in &rules {
            let hint = "add a section [bearer] that says which, or give the rule another access";
            reader.error(access, "nothing says which credentials of API clients count", hint);
        }
        return None;
    };
    if rules.is_empty() {
        let hint = "give a rule access = \"bearer\", or remove the section";
        reader.error(&section, "has no effect: no rule is for API clients", hint);
    }
    let issuers = issuers(reader, &section, transport, providers.unwrap_or_default());
    let (introspection, app_passwords) = (flag(&section, "introspection")?, flag(&section, "app_passwords")?);
    if introspection && let Some(cursor) = section.at("introspection") {
        refuse_public_clients(reader, root, &cursor, &rules);
    }
    let written = section.at("issuers").map(|list| list.items().len()).unwrap_or_default();
    if written == 0 && !introspection && !app_passwords {
        let hint = "name `issuers`, or set `introspection` or `app_passwords`";
        reader.error(&section, "lets no API client in: it says of no credential that it counts", hint);
    }
    Some(BearerSettings {
        issuers: issuers?,
        introspection: if introspection { Introspection::AtProvider } else { Introspection::Off },
        app_passwords: if app_passwords { AppPasswords::AtProvider } else { AppPasswords::Off },
    })
}

fn flag(section: &Cursor<'_>, name: &str) -> Option<bool> {
    section.at(name)?.flag()
}

/// Returns the rules for API clients: the provider of each one's app, where it names one, and its `access`.
fn bearer_rules<'t>(root: &Cursor<'t>) -> Vec<(Option<&'t str>, Cursor<'t>)> {
    let apps = root.at("apps").map(|list| list.items()).unwrap_or_default();
    let of_app = |app: Cursor<'t>| {
        let provider = app.at("provider").and_then(|name| name.text());
        let rules = app.at("rules").map(|list| list.items()).unwrap_or_default();
        let accesses = rules.into_iter().filter_map(|rule| rule.at("access"));
        accesses
            .filter(|access| access.text() == Some("bearer"))
            .map(move |access| (provider, access))
            .collect::<Vec<_>>()
    };
    apps.into_iter().flat_map(of_app).collect()
}

/// Reports providers at which the gate could not introspect: it has no secret to authenticate with (RFC 7662, section 2.1).
fn refuse_public_clients(
    reader: &mut Reader<'_>,
    root: &Cursor<'_>,
    cursor: &Cursor<'_>,
    rules: &[(Option<&str>, Cursor<'_>)],
) {
    let providers = root.at("providers").map(|list| list.items()).unwrap_or_default();
    for (place, provider) in providers.iter().enumerate() {
        let Some(name) = provider.at("name").and_then(|name| name.text()) else { continue };
        let is_used = rules.iter().any(|(named, _)| named.map_or(place == 0, |named| named == name));
        if is_used && provider.at("client_secret").is_none() {
            let problem = format!("needs a client_secret at the provider `{name}`, which answers no stranger");
            reader.error(cursor, problem, "set it, or turn introspection off");
        }
    }
}

fn issuers(
    reader: &mut Reader<'_>,
    section: &Cursor<'_>,
    transport: SiteScheme,
    providers: &[oidc::Settings],
) -> Option<Vec<TrustedIssuer>> {
    let items = section.at("issuers").map(|list| list.items()).unwrap_or_default();
    let mut known: Vec<(Url, String)> = Vec::new();
    let mut read = Vec::new();
    for item in &items {
        let cursor = item.at("issuer");
        let issuer = reader.parsed(cursor.as_ref(), |text| providers::issuer(text, transport));
        if let (Some(issuer), Some(cursor)) = (&issuer, &cursor) {
            if let Some((_, earlier)) = known.iter().find(|(known, _)| known == issuer) {
                let hint = "write all of its audiences there, as a list";
                reader.error(cursor, format!("`{issuer}` is {earlier} already"), hint);
            }
            known.push((issuer.clone(), cursor.key.clone()));
        }
        let audience = audience(reader, item);
        read.push(
            issuer
                .zip(audience)
                .map(|(issuer, audience)| TrustedIssuer { audience, keys: keys(reader, item, issuer, providers) }),
        );
    }
    read.into_iter().collect()
}

/// Reads the audience: a text, or a list of them.
fn audience(reader: &mut Reader<'_>, item: &Cursor<'_>) -> Option<Vec<String>> {
    let cursor = item.at("audience")?;
    if cursor.text().is_some() {
        return reader.text(Some(&cursor)).map(|one| vec![one]);
    }
    let items = cursor.items();
    if items.is_empty() && cursor.is_valid() {
        reader.error(&cursor, "names no audience, so no token would count", "name the audience of these apps");
    }
    reader.refuse_duplicates(&items, None);
    let many = reader.list(Some(&cursor), reader::text);
    (!many.is_empty() && many.len() == items.len()).then_some(many)
}

/// Returns where an issuer's keys come from: those of a provider that has the same one, or its own.
fn keys(reader: &mut Reader<'_>, item: &Cursor<'_>, issuer: Url, providers: &[oidc::Settings]) -> IssuerKeys {
    if providers.iter().any(|provider| provider.issuer == issuer) {
        return IssuerKeys::Provider(issuer);
    }
    let proxy = providers::environment_proxies(reader, item);
    IssuerKeys::Own(Box::new(oidc::Settings {
        // Metrics and logs show the issuer itself: it has no other name.
        name: issuer.to_string(),
        issuer_use: IssuerUse::Tokens,
        issuer,
        client_id: String::new(),
        client_secret: None,
        id_tokens_by_secret: false,
        client_auth: ClientAuth::Auto,
        internal_url: None,
        proxy,
        scopes: Vec::new(),
        groups_claim: ClaimPath::Dotted("groups".to_owned()),
        groups_separator: None,
        kept_attributes: crate::identity::KeptAttributes::default(),
        acr_in_rules: std::collections::BTreeSet::new(),
        groups_use: GroupsUse::Unused,
        groups_grace: Duration::ZERO,
        unverified_email: UnverifiedEmail::Pass,
        ca: None,
        timeout: ISSUER_TIMEOUT,
        extra_authorize_params: BTreeMap::new(),
        end_session: false,
        renewals_keep_sid: None,
    }))
}
