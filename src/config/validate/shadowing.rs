//! Rules that no request reaches, because earlier ones take all of theirs.

use ipnet::IpNet;

use crate::policy::{PathPattern, Pattern, Rule};

/// Paths of all kinds: what opens them opens practically all of an app.
const PROBES: [&str; 5] = ["/a", "/a/b/", "/index.html", "/api/v1/users/7", "/Some/other-path_of~an+app"];

/// Returns `true` if `earlier`, evaluated first, matches every request that `later` matches.
pub(super) fn shadows(earlier: &Rule, later: &Rule) -> bool {
    let networks = |network: &IpNet| earlier.networks.iter().any(|wider| wider.contains(network));
    includes_paths(earlier, &later.path)
        && includes(&earlier.methods, &later.methods, |method| earlier.methods.contains(method))
        && includes(&earlier.networks, &later.networks, networks)
}

/// Returns `true` if the rule matches every request of the app.
pub(super) fn matches_everything(rule: &Rule) -> bool {
    includes_paths(rule, &PathPattern::Any) && rule.methods.is_empty() && rule.networks.is_empty()
}

/// Returns `true` if the rule matches practically every request of the app.
pub(super) fn matches_nearly_everything(rule: &Rule) -> bool {
    let is_probed =
        |path: &PathPattern| matches!(path, PathPattern::Regex(one) if PROBES.iter().all(|path| one.matches(path)));
    matches_everything(rule) || is_probed(&rule.path) && rule.methods.is_empty() && rule.networks.is_empty()
}

/// Returns `true` if the earlier restriction includes the later one. An empty list restricts nothing.
fn includes<T>(earlier: &[T], later: &[T], is_taken: impl Fn(&T) -> bool) -> bool {
    earlier.is_empty() || (!later.is_empty() && later.iter().all(is_taken))
}

/// Returns `true` if the earlier rule is about all paths of the later one, as far as that can be told.
fn includes_paths(earlier: &Rule, later: &PathPattern) -> bool {
    let is_exact = |path: &Pattern| match &earlier.path {
        PathPattern::Exact(own) => own == path,
        PathPattern::Files(files) => files.contains(path),
        PathPattern::Regex(expression) => expression.matches(path.as_str()),
        PathPattern::Prefix(folder) => {
            let is_folder = folder.as_str().strip_suffix('/') == Some(path.as_str());
            path.as_str().starts_with(folder.as_str()) || is_folder && !earlier.access.opens()
        }
        PathPattern::Any => true,
    };
    match (&earlier.path, later) {
        (PathPattern::Any, _) => true,
        (PathPattern::Prefix(root), _) if root.as_str() == "/" => true,
        (PathPattern::Regex(expression), _) if expression.includes_all_below("/") => true,
        (_, PathPattern::Exact(path)) => is_exact(path),
        (_, PathPattern::Files(files)) => files.iter().all(is_exact),
        (PathPattern::Prefix(wide), PathPattern::Prefix(narrow)) => narrow.as_str().starts_with(wide.as_str()),
        (PathPattern::Prefix(wide), PathPattern::Regex(narrow)) => narrow.start().starts_with(wide.as_str()),
        (PathPattern::Regex(wide), PathPattern::Prefix(narrow)) => {
            // Where it closes, a folder is closed without its slash as well, and so is what an expression matches.
            wide.includes_all_below(narrow.as_str())
        }
        (earlier, later) => earlier == later,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Expression, RuleAccess};

    fn rule(path: PathPattern, methods: &[&str], networks: &[&str]) -> Rule {
        Rule {
            path,
            methods: methods.iter().map(|method| (*method).to_owned()).collect(),
            networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
            access: RuleAccess::Deny,
            cross_site: None,
            cache_control: None,
        }
    }

    #[test]
    fn a_rule_is_unreachable_if_an_earlier_one_matches_all_of_its_requests() {
        let exact = |path: &str| PathPattern::exact(path);
        let prefix = |path: &str| PathPattern::prefix(path);
        let any = || PathPattern::Any;
        let regex = |text: &str| PathPattern::Regex(Expression::new(text).unwrap().into());
        let icons = || rule(PathPattern::pwa_assets(), &["GET", "HEAD"], &[]);
        for (earlier, later, shadowed) in vec![
            (rule(any(), &[], &[]), rule(exact("/a"), &["GET"], &[]), true),
            (rule(prefix("/"), &[], &[]), rule(any(), &[], &[]), true),
            (rule(prefix("/a/"), &[], &[]), rule(exact("/a/b"), &[], &[]), true),
            (rule(prefix("/a/"), &[], &[]), rule(exact("/a"), &[], &[]), true),
            (rule(prefix("/a/"), &[], &[]), rule(prefix("/a/b/"), &[], &[]), true),
            (rule(prefix("/a/b/"), &[], &[]), rule(prefix("/a/"), &[], &[]), false),
            (rule(exact("/a"), &[], &[]), rule(exact("/b"), &[], &[]), false),
            (rule(exact("/a"), &["GET", "HEAD"], &[]), rule(exact("/a"), &["GET"], &[]), true),
            (rule(exact("/a"), &["GET"], &[]), rule(exact("/a"), &["GET", "HEAD"], &[]), false),
            (rule(exact("/a"), &["GET"], &[]), rule(exact("/a"), &[], &[]), false),
            (rule(any(), &[], &["10.0.0.0/8"]), rule(any(), &[], &["10.1.0.0/16"]), true),
            (rule(any(), &[], &["10.1.0.0/16"]), rule(any(), &[], &["10.0.0.0/8"]), false),
            (rule(any(), &[], &["10.0.0.0/8"]), rule(any(), &[], &[]), false),
            (rule(regex("/.*"), &[], &[]), rule(any(), &[], &[]), true),
            (rule(regex("/.+"), &[], &[]), rule(any(), &[], &[]), false),
            (rule(regex("/[ab]"), &[], &[]), rule(exact("/a"), &[], &[]), true),
            (rule(regex("/[ab]"), &[], &[]), rule(exact("/c"), &[], &[]), false),
            (rule(regex("/[ab]"), &[], &[]), rule(regex("/[ab]"), &["GET"], &[]), true),
            (rule(regex("/[ab]"), &[], &[]), rule(regex("/a"), &[], &[]), false),
            (rule(regex("/a/.*"), &[], &[]), rule(prefix("/a/b/"), &[], &[]), true),
            (rule(regex("/a/.*x"), &[], &[]), rule(prefix("/a/b/"), &[], &[]), false),
            (rule(prefix("/a/"), &[], &[]), rule(regex("/a/[0-9]+"), &[], &[]), true),
            (rule(prefix("/a/"), &[], &[]), rule(regex("/a/?[0-9]+"), &[], &[]), false),
            (rule(prefix("/"), &[], &[]), icons(), true),
            (rule(regex("/[^/]+"), &[], &[]), icons(), true),
            (icons(), icons(), true),
            (icons(), rule(exact("/favicon.ico"), &["GET"], &[]), true),
            (icons(), rule(exact("/favicon.ico"), &[], &[]), false),
            (icons(), rule(exact("/favicon.bmp"), &["GET"], &[]), false),
        ] {
            assert_eq!(shadows(&earlier, &later), shadowed, "{earlier:?} before {later:?}");
        }
    }
}
