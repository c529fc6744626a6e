//! Hosts, rules, paths, redirects and headers, against tables, test vectors of other projects, and properties.

mod cross_site;
mod hosts;
mod paths;
mod patterns;
mod people;
mod readings;
mod redirects;
mod rendering;
mod rules;
mod service_tokens;

use std::{fs, path::PathBuf};

use serde_json::{Map, Value, json};

use super::{
    Allow, App, CrossSiteGuard, DefaultAccess, Expression, HostPattern, PathPattern, People, Policy, RequestAttributes,
    Rule, RuleAccess, RuleList, Settings, headers,
};
use crate::identity::{Identity, Subject};

fn vectors(file: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vectors").join(file);
    fs::read_to_string(path).unwrap()
}

fn pattern(host: &str) -> HostPattern {
    match host.strip_prefix("*.") {
        Some(parent) => HostPattern::Below(parent.to_owned()),
        None => HostPattern::Exact(host.to_owned()),
    }
}

fn app(name: &str, hosts: &[&str]) -> App {
    App {
        name: name.to_owned(),
        hosts: hosts.iter().map(|host| pattern(host)).collect(),
        provider: 0,
        allow: Allow::default(),
        rules: RuleList::default(),
        headers: headers::default_plan(),
        reauthorize: None,
        cross_site: CrossSiteGuard::default(),
        resource_metadata: None,
        limits: None,
    }
}

fn policy(apps: Vec<App>) -> Policy {
    Policy::new(Settings { default: DefaultAccess::Deny, header_budget: headers::HeaderBudget::default(), apps })
}

fn rule(path: PathPattern, access: RuleAccess) -> Rule {
    Rule { path, methods: Vec::new(), networks: Vec::new(), access, cross_site: None, cache_control: None }
}

fn exact(path: &str) -> PathPattern {
    PathPattern::exact(path)
}

fn prefix(path: &str) -> PathPattern {
    PathPattern::prefix(path)
}

fn regex(text: &str) -> PathPattern {
    PathPattern::Regex(Expression::new(text).unwrap().into())
}

fn get(path: &str) -> RequestAttributes<'_> {
    RequestAttributes { path, method: Some("GET"), client: None }
}

fn groups(names: &[&str]) -> Allow {
    People { groups: names.iter().map(|&name| name.to_owned()).collect(), ..People::default() }.into()
}

fn ann() -> Identity {
    Identity {
        provider: "authentik".to_owned(),
        subject: Subject("7f3a".to_owned()),
        user: "ann".to_owned(),
        email: "Ann@Example.com".to_owned(),
        email_verified: true,
        name: "Ann Ångström".to_owned(),
        groups: vec!["staff".to_owned(), "Ops".to_owned()],
        claims: claims(json!({"department": ["ops", "it"], "team": "red", "level": 3,
            "cleared": true, "written": "true", "share": 0.5, "numbers": [1, 7], "nothing": null})),
        standing: crate::identity::ClaimsStanding::default(),
    }
}

fn claims(value: Value) -> Map<String, Value> {
    let Value::Object(claims) = value else { panic!("claims are an object") };
    claims
}
