//! `[[apps]]`: names, hosts and providers. Rules and headers have files of their own.

use std::collections::{BTreeSet, HashMap};

use super::{
    super::{
        diagnostic::ValueError,
        reader::{Cursor, Reader},
        suggest,
    },
    cookie_domains::CookieDomains,
    cross_site, headers, people, resource_metadata, rules, server, shadowing, step_up,
};
use crate::{
    host::Authority,
    policy::{
        Allow, App, HostPattern, Rule,
        headers::{HeaderBudget, PlanContext},
    },
};

/// Values of other sections that the apps are validated against.
struct AppContext<'t> {
    root: &'t Cursor<'t>,
    providers: Vec<Option<&'t str>>,
    prefix: Option<&'t str>,
    domains: CookieDomains,
    services: Vec<String>,
    header_budget: HeaderBudget,
}

pub(super) fn read(reader: &mut Reader<'_>, root: &Cursor<'_>) -> Option<Vec<App>> {
    let items = root.at("apps").map(|list| list.items()).unwrap_or_default();
    let providers = root.at("providers").map(|list| list.items()).unwrap_or_default();
    let context = AppContext {
        root,
        providers: providers.iter().map(|provider| provider.at("name").and_then(|name| name.text())).collect(),
        prefix: server::prefix_of(root),
        domains: CookieDomains::of(root),
        services: server::service_hosts_of(root),
        header_budget: server::header_budget_of(root),
    };
    reader.refuse_duplicates(&items, Some("name"));
    let mut taken = HashMap::new();
    let apps: Vec<_> = items.iter().map(|section| app(reader, section, &context, &mut taken)).collect();
    let limits: Vec<_> = items.iter().map(|section| step_up::limits(reader, section, root)).collect();
    let apps: Option<Vec<_>> = apps.into_iter().collect();
    apps.map(|apps| apps.into_iter().zip(limits).map(|(app, limits)| App { limits, ..app }).collect())
}

fn app(
    reader: &mut Reader<'_>,
    section: &Cursor<'_>,
    context: &AppContext<'_>,
    taken: &mut HashMap<HostPattern, String>,
) -> Option<App> {
    let name = reader.text(section.at("name").as_ref());
    let hosts = hosts(reader, section, context, taken);
    let provider = provider(reader, section, &context.providers);
    let (rules, allow) = (rules::read(reader, section, context.prefix), allow(reader, section));
    let provider_name = provider.and_then(|index| context.providers.get(index).copied().flatten());
    let named_groups = named_groups(allow.as_ref(), rules.as_deref().unwrap_or_default());
    let about = PlanContext {
        app: name.as_deref().unwrap_or_default(),
        provider: provider_name.unwrap_or_default(),
        version: env!("CARGO_PKG_VERSION"),
        passed: &[],
        budget: context.header_budget,
        named_groups: &named_groups,
    };
    let headers = headers::read(reader, section, &about);
    let reauthorize = reader.duration(section.at("reauthorize").as_ref());
    let (name, rules) = (name?, rules?);
    let cross_site = cross_site::of_app(reader, section, &rules, shadowing::matches_everything);
    let issuers = resource_metadata::issuers(context.root, provider);
    let resource_metadata = resource_metadata::read(reader, section, &rules, &issuers);
    Some(App {
        name,
        hosts,
        provider: provider?,
        allow: allow?,
        rules: rules.into(),
        headers: headers?,
        reauthorize,
        cross_site,
        resource_metadata,
        limits: None,
    })
}

fn allow(reader: &mut Reader<'_>, section: &Cursor<'_>) -> Option<Allow> {
    section.at("allow").map_or(Some(Allow::default()), |people| people::allow(reader, &people))
}

/// Returns the groups that the app's `allow` and its rules name: its headers have room for them first.
fn named_groups(allow: Option<&Allow>, rules: &[Rule]) -> Vec<String> {
    let of_rules = rules.iter().filter_map(|rule| rule.access.allow());
    let named: BTreeSet<_> = allow.into_iter().chain(of_rules).flat_map(Allow::groups).collect();
    named.into_iter().cloned().collect()
}

fn provider(reader: &mut Reader<'_>, section: &Cursor<'_>, names: &[Option<&str>]) -> Option<usize> {
    let Some(cursor) = section.at("provider") else { return Some(0) };
    let name = cursor.text()?;
    let found = names.iter().position(|known| *known == Some(name));
    // Not reported while any provider's own name is invalid: that one may be meant.
    if found.is_none() && names.iter().all(Option::is_some) {
        let hint = suggest::among(name, names.iter().copied().flatten());
        reader.error(&cursor, format!("there is no provider called `{name}`"), hint);
    }
    found
}

fn hosts(
    reader: &mut Reader<'_>,
    section: &Cursor<'_>,
    context: &AppContext<'_>,
    taken: &mut HashMap<HostPattern, String>,
) -> Vec<HostPattern> {
    let Some(list) = section.at("hosts") else { return Vec::new() };
    let items = list.items();
    if items.is_empty() && list.is_valid() {
        reader.error(&list, "an app without a host is never asked for", "name at least one");
    }
    let mut hosts = Vec::new();
    for item in items {
        let Some(host) = reader.parsed(Some(&item), host) else { continue };
        if let Some(earlier) = taken.get(&host) {
            reader.error(&item, format!("this host is {earlier} already"), "give each host to one app");
        } else {
            taken.insert(host.clone(), item.key.clone());
        }
        context.domains.refuse_outside(reader, &item, &host);
        refuse_service(reader, &item, &host, &context.services);
        hosts.push(host);
    }
    hosts
}

/// Parses a host, or every host below one.
pub(super) fn host(text: &str) -> Result<HostPattern, ValueError> {
    if text.contains("://") || text.contains('/') {
        return Err(ValueError::new(
            format!("`{text}` is an address"),
            "write the host alone, such as \"app.example.com\"",
        ));
    }
    let (name, wildcard) = text.strip_prefix("*.").map_or((text, false), |below| (below, true));
    if name.contains('*') {
        let hint = "`*.` may stand at the beginning only: \"*.example.com\" is every host below example.com";
        return Err(ValueError::new(format!("`{text}` has a wildcard inside"), hint));
    }
    if !name.is_ascii() {
        let hint = "write it as browsers send it, beginning with `xn--` (Punycode)";
        return Err(ValueError::new(format!("`{text}` is not in ASCII"), hint));
    }
    let authority = Authority::parse(name)
        .map_err(|error| ValueError::new(format!("`{text}`: {error}"), "write it as \"app.example.com\""))?;
    if authority.port().is_some() {
        return Err(ValueError::new(format!("`{text}` has a port"), "leave the port out: any port is the same app"));
    }
    let name = authority.host().to_owned();
    Ok(if wildcard { HostPattern::Below(name) } else { HostPattern::Exact(name) })
}

/// Reports a host that matches a service host: for requests sent to one, the `Host` header does not confirm the app that
/// the edge routed to.
fn refuse_service(reader: &mut Reader<'_>, cursor: &Cursor<'_>, host: &HostPattern, services: &[String]) {
    let is_taken = |service: &&String| match host {
        HostPattern::Exact(name) => name == *service,
        HostPattern::Below(domain) => {
            service.strip_suffix(domain.as_str()).is_some_and(|front| front.len() > 1 && front.ends_with('.'))
        }
    };
    if let Some(service) = services.iter().find(is_taken) {
        let problem = format!("takes {service}, which is one of `server.service_hosts`");
        reader.error(cursor, problem, "a service host is a name of the gate inside the network, never one of an app");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_normalised_and_only_a_leading_wildcard_is_one() {
        let exact = |name: &str| Some(HostPattern::Exact(name.to_owned()));
        for (text, expected) in [
            ("app.example.com", exact("app.example.com")),
            ("APP.Example.com.", exact("app.example.com")),
            ("*.Example.com", Some(HostPattern::Below("example.com".to_owned()))),
            ("[::1]", exact("[::1]")),
            ("*", None),
            ("*.", None),
            ("a.*.example.com", None),
            ("*a.example.com", None),
            ("app.example.com:443", None),
            ("https://app.example.com", None),
            ("bücher.example", None),
            ("a b", None),
            ("", None),
        ] {
            assert_eq!(host(text).ok(), expected, "{text}");
        }
    }
}
