//! Attributes of authentik's people: what of them is kept, and mistakes in the keys that name them.

use super::*;
use crate::identity::KeptAttributes;

fn kept(text: &str) -> Vec<KeptAttributes> {
    loaded(text).providers.into_iter().map(|provider| provider.kept_attributes).collect()
}

#[test]
fn a_provider_keeps_what_its_own_apps_name_and_nothing_else() {
    let text = GOOD.replace(
        "[[apps]]",
        "[[providers]]\nname = 'b'\nissuer = 'https://b.example/'\nclient_id = 'x'\n[[apps]]\n\
         headers = ['authentik', { X-Own = '{claims.ak_proxy.user_attributes.own} {claims.team}' }]\n\
         additional_headers = ['X-Team']\nbasic_auth = { password_attribute = 'secret' }\n\
         allow = { claims = { 'ak_proxy.user_attributes.clearance' = ['high'] } }\n\
         rules = [{ path = '/a', allow = { except = { claims = { 'ak_proxy.user_attributes.left' = ['true'] } } } }]",
    );
    let app = "[[apps]]\nname = 'second'\nhosts = ['second.example.com']\nprovider = 'b'\n\
               basic_auth = { user_attribute = 'name', password_attribute = 'other' }\n";
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let expected = [
        KeptAttributes { paths: names(&["clearance", "left", "own", "secret"]), headers: names(&["x-team"]) },
        KeptAttributes { paths: names(&["name", "other"]), headers: names(&[]) },
    ];
    assert_eq!(kept(&format!("{text}{app}")), expected);
    assert_eq!(kept(GOOD), [KeptAttributes::default()]);
}

#[test]
fn mistakes_about_attributes_are_errors() {
    for (app, expected) in [
        ("additional_headers = ['X Team']", "`X Team` is no header name"),
        ("additional_headers = ['Host']", "`Host` is not for apps"),
        ("additional_headers = ['Cookie']", "`Cookie` is not for apps"),
        ("additional_headers = ['Set-Cookie']", "`Set-Cookie` is not for apps"),
        ("additional_headers = ['Content-Length']", "`Content-Length` is not for apps"),
        ("additional_headers = ['Connection']", "`Connection` is not for apps"),
        ("additional_headers = ['Transfer_Encoding']", "`Transfer_Encoding` is not for apps"),
        ("additional_headers = ['X-Forwarded-Prefix']", "`X-Forwarded-Prefix` is not for apps"),
        ("additional_headers = ['X_Original_URL']", "`X_Original_URL` is not for apps"),
        ("additional_headers = ['X-Authentik-Username']", "`X-Authentik-Username` is the gate's own"),
        ("additional_headers = ['remote_user']", "`remote_user` is the gate's own"),
        ("additional_headers = ['X-Auth-Request-User']", "`X-Auth-Request-User` is the gate's own"),
        ("additional_headers = ['Doorward-Reason']", "`Doorward-Reason` is not for apps"),
        ("additional_headers = ['X-A', 'x_a']", "`x-a` is set twice"),
        ("additional_headers = ['X-A']\nheaders = [{ X-A = 'x' }]", "`x-a` is set twice"),
        ("additional_headers = ['X-A', 'X-A']", "has no effect: `X-A` is in the list already"),
        (
            "additional_headers = ['Authorization']\nbasic_auth = { password_attribute = 'p' }",
            "`authorization` is set twice",
        ),
        ("basic_auth = { user_attribute = 'u' }", "basic_auth.password_attribute"),
        ("basic_auth = {}", "basic_auth.password_attribute"),
        ("basic_auth = { password_attribute = '' }", "basic_auth.password_attribute"),
    ] {
        let problems = refused(&format!("{GOOD}{app}"));
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{app}: {problems:?}");
    }
}
