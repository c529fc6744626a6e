//! Every mistake is an error with its place and a hint.

use secrecy::ExposeSecret as _;

use super::*;

/// Returns [`GOOD`] with lines inserted below the header of a section, where they replace the keys that they name, and the
/// line number of the first of them.
fn changed(header: &str, lines: &str) -> (String, usize) {
    let replaced: Vec<_> = lines.lines().filter_map(|line| line.split_once(" = ").map(|(key, _)| key)).collect();
    let is_replaced = |line: &str| line.split_once(" = ").is_some_and(|(key, _)| replaced.contains(&key));
    let (mut text, mut at, mut inside) = (String::new(), 0, false);
    for line in GOOD.lines() {
        if line.starts_with('[') {
            inside = line == header;
        }
        if !(inside && is_replaced(line)) {
            text.extend([line, "\n"]);
        }
        if line == header {
            at = text.lines().count() + 1;
            text.extend([lines, "\n"]);
        }
    }
    (text, at)
}

/// Asserts rows of `header > lines > start of the only diagnostic > words of its hint`, with `¶` between lines. The
/// diagnostic has to point at the first of the lines.
fn each_is_refused(rows: &str) {
    for row in rows.lines().map(str::trim).filter(|row| !row.is_empty()) {
        let [header, lines, problem, hint] = row.split(" > ").collect::<Vec<_>>().try_into().expect(row);
        let (text, at) = changed(header, &lines.replace(" ¶ ", "\n"));
        let diagnostics = refused(&text);
        assert_eq!(diagnostics.len(), 1, "{row}\n{diagnostics:#?}");
        assert!(diagnostics[0].starts_with(&format!("doorward.toml:{at}: {problem}")), "{row}\n{}", diagnostics[0]);
        let shown_hint = diagnostics[0].split_once("\n    ").map(|(_, hint)| hint);
        assert!(shown_hint.is_some_and(|shown| shown.contains(hint)), "{row}\n{}", diagnostics[0]);
    }
}

#[test]
fn mistakes_about_the_server_are_errors_with_a_hint() {
    each_is_refused(
        r#"
        [server] > trusted_proxies = [] > server.trusted_proxies: nobody could ask > networks
        [server] > trusted_proxies = ["10.0.0.0/8", "0.0.0.0/0"] > server.trusted_proxies: everybody would be trusted > edge
        [server] > trusted_proxies = ["::/0"] > server.trusted_proxies: everybody would be trusted > edge
        [server] > trusted_proxies = ["0.0.0.0/1", "128.0.0.0/1"] > server.trusted_proxies: everybody would be trusted > edge
        [server] > service_hosts = ["doorward:9000"] > server.service_hosts[0]: `doorward:9000` has a port > any port
        [server] > service_hosts = ["http://doorward"] > server.service_hosts[0]: `http://doorward`: > "doorward.auth
        [server] > trusted_proxies = ["10.0.0.9/8"] > server.trusted_proxies[0]: `10.0.0.9/8` has bits > "10.0.0.0/8"
        [server] > listen = "localhost:9000" > server.listen: `localhost:9000` is no IP address > 127.0.0.1:9000
        [server] > listen = "127.0.0.1:9300" > server.listen: `server.listen` and `server.management` are > different
        [server] > management = "127.0.0.1:9000" > server.management: `server.listen` and `server.man > different
        [server] > header_budget = "33KiB" > server.header_budget: `33KiB` is no size from 2 to 32 KiB > "32KiB"
        [server] > header_budget = "1KiB" > server.header_budget: `1KiB` is no size from 2 to 32 KiB > "2KiB"
        [server] > header_budget = "4KB" > server.header_budget: `4KB` is no size > in KiB
        [server] > header_budget = "4096" > server.header_budget: `4096` is no size > in KiB
        [server] > prefix = "gate" > server.prefix: `gate` does not begin with a slash > "/_doorward"
        [server] > prefix = "/gate/" > server.prefix: `/gate/` ends with a slash > "/_doorward"
        [server] > prefix = "/a/../b" > server.prefix: `/a/../b` is not made of segments > "/_doorward"
        [server] > prefix = "/" > server.prefix: `/` is not made of > "/_doorward"
        [server] > scheme = "htps" > server.scheme: `htps` is none of its words > did you mean `https`?
        [server] > shutdown_grace = "0s" > server.shutdown_grace: a duration of nothing > longer
        [server] > tls = { cert = "/dev/null", key = "/nowhere" } > server.tls.key: /nowhere cannot be read > working
        [server] > tls = { cert = "/dev/null", key = "/dev/null" } > server.tls.cert: holds no certificate > PEM
        [server] > tls = { cert = "/dev/null" } > server.tls.key: is missing > PEM
        [server] > compat = ["authelia"] > server.compat[0]: `authelia` is none of its words > authentik
        [server] > compat = ["authentik", "authentik"] > server.compat[1]: has no effect: `authentik` is in the list > remove
        [server] > listn = "127.0.0.1:9000" > server.listn: there is no such key > did you mean `listen`?
        "#,
    );
}

#[test]
fn mistakes_about_sessions_and_their_store_are_errors_with_a_hint() {
    each_is_refused(
        r#"
        [session] > secrets = [] > session.secrets: there has to be at least one > doorward secret
        [session] > secrets = ["short"] > session.secrets[0]: is shorter than 32 characters > doorward secret
        [session] > secrets = [{ env = "UNSET" }] > session.secrets[0].env: the variable UNSET is not set > set it
        [session] > secrets = [{ file = "/nowhere" }] > session.secrets[0].file: /nowhere cannot be read > there
        [session] > secrets = ["0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef"] > session.secrets[1]: has no effect > remove
        [session] > cookie_name = "__Host-x" > session.cookie_name: `__Host-x` has a prefix > leave
        [session] > cookie_name = "a b" > session.cookie_name: `a b` is no name > 1 to 32
        [session] > cookie_name = "abcdefghijklmnopqrstuvwxyz0123456" > session.cookie_name: `abcdefghijklmnopqrstuvwxyz > 1 to 32
        [session] > cookie_domain = ".example.com" > session.cookie_domain: begins with a dot > "example.com"
        [session] > cookie_domain = "com" > session.cookie_domain: `com` is a whole top-level domain > example.com
        [session] > secrets = ["${SEALING_SECRET_OF_THIS_VERY_GATE}"] > session.secrets[0]: the secret holds a placeholder > replaces no
        [session] > secrets = ["'0123456789abcdef0123456789abcdef'"] > session.secrets[0]: the secret has quotes around it > remove the quotes
        [session] > cookie_domain = "duckdns.org" > session.cookie_domain: `duckdns.org` is on the Public Suffix List > "home.duckdns.org"
        [session] > cookie_domain = "co.uk" > session.cookie_domain: `co.uk` is on the Public Suffix List > "home.co.uk"
        [session] > cookie_domain = "GitHub.io." > session.cookie_domain: `GitHub.io.` is on the Public Suffix List > "home.github.io"
        [session] > cookie_domain = "10.0.0.1" > session.cookie_domain: `10.0.0.1` is an address > leave
        [session] > cookie_domain = 7 > session.cookie_domain: this is a number, and not a domain, or a list of domains > ["example.com"
        [session] > cookie_domain = [] > session.cookie_domain: has no effect: it names no domain > leave the key out
        [session] > cookie_domain = ["example.com", "co.uk"] > session.cookie_domain[1]: `co.uk` is on the Public Suffix List > "home.co.uk"
        [session] > cookie_domain = ["example.com", ".example.org"] > session.cookie_domain[1]: begins with a dot > "example.org"
        [session] > cookie_domain = ["example.com", "Example.com."] > session.cookie_domain[1]: has no effect: `example.com` is in the list already > remove
        [session] > cookie_domain = ["example.com", 7] > session.cookie_domain[1]: this is a number > "text"
        [session] > lifetime = 28 > session.lifetime: this is a number, and not a duration > "15m"
        [session] > lifetime = "28" > session.lifetime: `28` is no duration > "28d"
        [session] > outage_grace = "20y" > session.outage_grace: `20y` is longer than ten years > "28d"
        [session] > legacy_cookies = ["a b"] > session.legacy_cookies[0]: `a b` is no cookie's name > name
        "#,
    );
    for (url, problem) in [
        ("postgres:///x", "this is no address: it names no host"),
        ("postgres://ann:secret@db/x?sslmode=maybe", "this is no address: `sslmode=maybe`"),
        ("postgres://ann:%20secret@db/x", "this is no address: its password has blanks around it"),
        ("postgres://ann:${PASSWORD}@db/x", "this URL holds a placeholder that nothing has replaced"),
        ("sqlite:$(pwd)/doorward.db", "this URL holds a placeholder that nothing has replaced"),
        ("sqlite:///var/x", "a path follows the colon"),
        ("sqlite:", "this is no store"),
        ("sqlite::memory:", "this would be kept in memory"),
        ("redis://x", "this is no store"),
    ] {
        let diagnostics = refused(&format!("{GOOD}[store]\nurl = '{url}'\n"));
        assert!(diagnostics.len() == 1 && diagnostics[0].contains(&format!("store.url: {problem}")), "{diagnostics:?}");
    }
}

#[test]
fn keys_of_postgres_have_no_effect_with_another_store() {
    for line in ["pool_size = 4", "listen_url = 'postgres://db/x'", "password = 'x'"] {
        for (url, kind) in [("", "sqlite"), ("url = 'memory:'\n", "memory")] {
            let diagnostics = refused(&format!("{GOOD}[store]\n{url}{line}\n"));
            let (key, problem) = (line.split(' ').next().unwrap(), format!("has no effect: `store.url` is {kind}"));
            assert!(
                diagnostics.len() == 1 && diagnostics[0].contains(&format!("store.{key}: {problem}")),
                "{diagnostics:?}"
            );
        }
    }
    let url = "[store]\nurl = 'postgres://db/x'\n";
    for (line, diagnostic) in [
        ("pool_size = 0", "store.pool_size: `0` is no whole number"),
        ("pool_size = 1.5", "store.pool_size: `1.5` is no whole number"),
        ("pool_size = true", "store.pool_size: this is true or false"),
        ("pool_size = 1\nlisten_url = 'postgres://db/x'", "store.listen_url: has no effect: `store.pool_size`"),
        ("listen_url = 'sqlite:x'", "store.listen_url: this is no address"),
        ("password = { file = '/nowhere' }", "store.password.file: /nowhere cannot be read"),
    ] {
        let diagnostics = refused(&format!("{GOOD}{url}{line}\n"));
        assert!(diagnostics.len() == 1 && diagnostics[0].contains(diagnostic), "{diagnostics:?}");
    }
}

#[test]
fn mistakes_about_providers_are_errors_with_a_hint() {
    each_is_refused(
        r#"
        [[providers]] > groups_claim = [] > providers[0].groups_claim: names no claim > "groups"
        [[providers]] > groups_claim = "" > providers[0].groups_claim: this is empty > value
        [[providers]] > groups_claim = ["a", " "] > providers[0].groups_claim[1]: this is empty > value
        [[providers]] > groups_claim = ["a", 7] > providers[0].groups_claim[1]: this is a number > "text"
        [[providers]] > groups_claim = 7 > providers[0].groups_claim: this is a number, and not a dotted path, or a list > "groups"
        [[providers]] > groups_separator = "" > providers[0].groups_separator: this separates nothing > ","
        [[providers]] > groups_separator = " and " > providers[0].groups_separator: ` and ` would cut > "|"
        [[providers]] > issuer = "http://auth.example.com/" > providers[0].issuer: codes and secrets would travel > https
        [[providers]] > issuer = "auth.example.com" > providers[0].issuer: `auth.example.com` is no URL > https://
        [[providers]] > issuer = "https://a.example/?x=1" > providers[0].issuer: an issuer has no query > https://
        [[providers]] > issuer = "https://A.example/" > providers[0].issuer: `https://A.example/` is not in its plain form > "https://a.example/"
        [[providers]] > issuer = "https://a.example/.well-known/openid-configuration" > providers[0].issuer: this is the address of the metadata > "https://a.example/"
        [[providers]] > issuer = "https://login.microsoftonline.com/common/v2.0" > providers[0].issuer: `common` stands for many tenants > /TENANT/v2.0"
        [[providers]] > issuer = "https://login.microsoftonline.com/organizations/v2.0" > providers[0].issuer: `organizations` stands for many tenants > section [[providers]] for each
        [[providers]] > client_id = "${CLIENT_ID}" > providers[0].client_id: `${CLIENT_ID}` is a placeholder > its variable
        [[providers]] > client_secret = " x" > providers[0].client_secret: the secret has blanks around it > remove
        [[providers]] > client_id = "" > providers[0].client_id: this is empty > value
        [[providers]] > client_secret = { env = "UNSET" } > providers[0].client_secret.env: the variable UNSET is not set > set it
        [[providers]] > client_secret = "" > providers[0].client_secret: the secret is empty > put it
        [[providers]] > client_auth = "basic" > providers[0].client_auth: has no effect: a public client > client_secret
        [[providers]] > internal_url = "https://auth.example.com" > providers[0].internal_url: has no effect > remove
        [[providers]] > client_auth = "form" > providers[0].client_auth: `form` > post
        [[providers]] > internal_url = "inside:9000" > providers[0].internal_url: this is no http or https address > http://
        [[providers]] > internal_url = "http://inside:9000/o/doorward/" > providers[0].internal_url: an internal address has no path > issuer's
        [[providers]] > internal_url = "http://ann:secret@inside" > providers[0].internal_url: an internal address has no user > http://
        [[providers]] > proxy = "proxy:3128" > providers[0].proxy: it is no address of a proxy > "none"
        [[providers]] > proxy = "socks5://proxy:1080" > providers[0].proxy: only proxies over http and https > http://
        [[providers]] > scopes = ["profile"] > providers[0].scopes: `openid` is missing > add
        [[providers]] > scopes = ["openid", "openid"] > providers[0].scopes[1]: has no effect > remove
        [[providers]] > scopes = ["openid", "profile email"] > providers[0].scopes[1]: `profile email` is no scope > of its own
        [[providers]] > extra_authorize_params = { state = "x" } > providers[0].extra_authorize_params.state: the gate sets > remove
        [[providers]] > ca_file = "/nowhere" > providers[0].ca_file: /nowhere cannot be read > there
        [[providers]] > ca_file = "/dev/null" > providers[0].ca_file: ca_file /dev/null holds no certificate > PEM
        [[providers]] > timeout = "0s" > providers[0].timeout: a duration of nothing > longer
        [[providers]] > end_session = "no" > providers[0].end_session: this is text, and not `true` or `false` > true
        "#,
    );
    let twice = GOOD
        .replace("[[apps]]", "[[providers]]\nname = 'home'\nissuer = 'https://b.example/'\nclient_id = 'x'\n[[apps]]");
    assert!(refused(&twice)[0].contains("providers[1].name: `home` is providers[0].name already"));
}

#[test]
fn mistakes_about_apps_are_errors_with_a_hint() {
    each_is_refused(
        r#"
        [[apps]] > hosts = [] > apps[0].hosts: an app without a host > name at least one
        [[apps]] > hosts = ["a.example", "A.example."] > apps[0].hosts[1]: this host is apps[0].hosts[0] already > one app
        [[apps]] > hosts = ["a.*.example"] > apps[0].hosts[0]: `a.*.example` has a wildcard inside > *.example.com
        [[apps]] > hosts = ["a.example:443"] > apps[0].hosts[0]: `a.example:443` has a port > leave
        [[apps]] > hosts = ["https://a.example"] > apps[0].hosts[0]: `https://a.example` is an address > alone
        [[apps]] > hosts = ["a b"] > apps[0].hosts[0]: `a b`: the host holds something > app.example.com
        [[apps]] > provider = "hom" > apps[0].provider: there is no provider called `hom` > did you mean `home`?
        [[apps]] > headers = ["remot"] > apps[0].headers[0]: there is no preset called `remot` > did you mean `remote`?
        [[apps]] > headers = ["remote", "remote"] > apps[0].headers[1]: has no effect > remove
        [[apps]] > headers = ["remote", { remote-user = "x" }] > apps[0].headers: `remote-user` is set twice > leave one out
        [[apps]] > headers = [{ X-A = "{team}" }] > apps[0].headers: the template of `X-A` names > claims.team
        [[apps]] > headers = [{ Set-Cookie = "x" }] > apps[0].headers: `Set-Cookie` is not for apps > another name
        [[apps]] > headers = [{}] > apps[0].headers[0]: has no effect > remove
        [[apps]] > pass_id_token = true > apps[0].pass_id_token: has no effect > "authentik"
        [[apps]] > pass_access_token = true > apps[0].pass_access_token: has no effect > "oauth2-proxy"
        [[apps]] > upstream = "http://a" > apps[0].upstream: has no effect: the gate is no reverse proxy > add server.proxy_listen
        [[apps]] > allow = {} > apps[0].allow: says nothing > remove
        [[apps]] > allow = { groups = [] } > apps[0].allow.groups: nobody could match > remove
        [[apps]] > allow = { groups = [" a"] } > apps[0].allow.groups[0]: this has blanks around it > remove
        [[apps]] > allow = { users = ["a@b@c"] } > apps[0].allow.users[0]: `a@b@c` has more than one @ > alone
        [[apps]] > allow = { users = ["@example.com"] } > apps[0].allow.users[0]: `@example.com` would match nobody > write "*@example.com"
        [[apps]] > allow = { users = ["*"] } > apps[0].allow.users[0]: `*` would match nobody > remove `allow`
        [[apps]] > allow = { users = ["*@"] } > apps[0].allow.users[0]: `*@` would match nobody > the whole address
        [[apps]] > allow = { users = ["*@*"] } > apps[0].allow.users[0]: `*@*` would match nobody > *@example.com
        [[apps]] > allow = { users = ["*@*.example.com"] } > apps[0].allow.users[0]: `*@*.example.com` would match nobody > *@example.com
        [[apps]] > allow = { users = ["*@a@b"] } > apps[0].allow.users[0]: `*@a@b` has more than one @ > alone
        [[apps]] > allow = { users = ["a*@example.com"] } > apps[0].allow.users[0]: `a*@example.com` would match nobody > *@example.com
        [[apps]] > allow = { users = ["ann@"] } > apps[0].allow.users[0]: `ann@` would match nobody > the whole address
        [[apps]] > allow = { groups = ["*"] } > apps[0].allow.groups[0]: `*` would match only a group of that very name > remove `allow`
        [[apps]] > allow = { groups = ["ops-*"] } > apps[0].allow.groups[0]: `ops-*` would match only a group of that very name > no wildcard
        [[apps]] > allow = { claims = { team = ["*"] } } > apps[0].allow.claims.team[0]: `*` would match only a claim of that very text > name each value
        [[apps]] > allow = { claims = { aud = ["x"] } } > apps[0].allow.claims.aud: would match nobody: `aud` is about the token > `acr`, `amr`
        [[apps]] > allow = { claims = { azp = ["x"] } } > apps[0].allow.claims.azp: would match nobody > about the person
        [[apps]] > allow = { claims = { at_hash = ["x"] } } > apps[0].allow.claims.at_hash: would match nobody > about the person
        [[apps]] > allow = { claims = { "sid.x" = ["x"] } } > apps[0].allow.claims."sid.x": would match nobody > about the person
        [[apps]] > allow = { claims = {} } > apps[0].allow.claims: names no claim > department
        [[apps]] > allow = { acr = ["a b"] } > apps[0].allow.acr[0]: `a b` is no class of authentication > without spaces
        [[apps]] > allow = { acr = ["a\"b"] } > apps[0].allow.acr[0]: `a"b` is no class of authentication > quotes
        [[apps]] > lifetime = "29d" > apps[0].lifetime: is longer than session.lifetime: 29days against 28days > raise session.lifetime
        [[apps]] > idle_timeout = "8d" > apps[0].idle_timeout: is longer than session.idle_timeout: 8days against 7days > shorten
        [[apps]] > allow = { group = ["x"] } > apps[0].allow.group: there is no such key > did you mean `groups`?
        [[apps]] > allow = { require = {} } > apps[0].allow.require: names nobody > remove
        [[apps]] > allow = { except = {} } > apps[0].allow.except: names nobody > `groups`
        [[apps]] > allow = { require = { groups = [] } } > apps[0].allow.require.groups: nobody could match > remove
        [[apps]] > allow = { require = { claims = { aud = ["x"] } } } > apps[0].allow.require.claims.aud: would match nobody > about the person
        [[apps]] > allow = { except = { users = ["@example.com"] } } > apps[0].allow.except.users[0]: `@example.com` would match nobody > "*@example.com"
        [[apps]] > allow = { except = { require = { groups = ["x"] } } } > apps[0].allow.except.require: there is no such key > `groups`
        [[apps]] > allow = { groups = ["a", "b"], except = { groups = ["b"] } } > apps[0].allow.groups[1]: has no effect: `b` is in `except` > one of the two
        [[apps]] > allow = { require = { users = ["s-1"] }, except = { users = ["s-1"] } } > apps[0].allow.require.users[0]: has no effect > one of the two
        [[apps]] > allow = { acr = [] } > apps[0].allow.acr: nobody could match > remove
        [[apps]] > allow = { acr = ["mfa", "mfa"] } > apps[0].allow.acr[1]: has no effect > remove
        [[apps]] > allow = { acr = "mfa" } > apps[0].allow.acr: this is text, and not a list > "text"
        [[apps]] > allow = { max_age = "0s" } > apps[0].allow.max_age: a duration of nothing > longer
        "#,
    );
    for (app, problem) in [
        ("name = 'grafana'\nhosts = ['b']", "apps[1].name: `grafana` is apps[0].name already"),
        ("name = 'b'\nhosts = ['grafana.example.com']", "apps[1].hosts[0]: this host is apps[0].hosts[0] already"),
    ] {
        assert!(refused(&format!("{GOOD}[[apps]]\n{app}\n"))[0].contains(problem), "{app}");
    }
}

#[test]
fn mistakes_about_rules_are_errors_with_a_hint() {
    each_is_refused(
        r#"
        [[apps]] > rules = [{ path = "/a" }] > apps[0].rules[0]: does not say who may pass > access
        [[apps]] > rules = [{ access = "deny", allow = { groups = ["x"] } }] > apps[0].rules[0].allow: excludes > one of the two
        [[apps]] > rules = [{ path = "a", access = "deny" }] > apps[0].rules[0].path: `a` does not begin > /api/health
        [[apps]] > rules = [{ path = "/a/%2e%2e/b", access = "deny" }] > apps[0].rules[0].path: servers read > plain path
        [[apps]] > rules = [{ path = { prefix = "/a" }, access = "deny" }] > apps[0].rules[0].path.prefix: `/a` does not end > "/a/"
        [[apps]] > rules = [{ path = { regex = "/a(" }, access = "deny" }] > apps[0].rules[0].path.regex: `/a(` does not work: unclosed group > no look-around
        [[apps]] > rules = [{ path = { regex = "/a)|(/b" }, access = "deny" }] > apps[0].rules[0].path.regex: `/a)|(/b` does not work: unopened group > backslash
        [[apps]] > rules = [{ path = { regex = "/(?!admin).*" }, access = "deny" }] > apps[0].rules[0].path.regex: `/(?!admin).*` does not work: look-around > no look-around
        [[apps]] > rules = [{ path = { regex = "/(a{1,1000}){1,1000}" }, access = "deny" }] > apps[0].rules[0].path.regex: `/(a{1,1000}){1,1000}` does not work: it is longer than > repeat less
        [[apps]] > rules = [{ path = { regex = "/a[?]b=1" }, access = "deny" }] > apps[0].rules[0].path.regex: `/a[?]b=1` does not work: no path that an app serves holds a `?` > leave the query out
        [[apps]] > rules = [{ path = { regex = "/a%20b" }, access = "deny" }] > apps[0].rules[0].path.regex: `/a%20b` does not work: no path that an app serves holds a `%` > the escape stands for
        [[apps]] > rules = [{ path = { regex = "api/.*" }, access = "deny" }] > apps[0].rules[0].path.regex: `api/.*` does not work: it has to match the whole path > "/api/.*"
        [[apps]] > rules = [{ path = { regex = "/_doorward/ping" }, access = "deny" }] > apps[0].rules[0].path.regex: no request reaches this rule > server.prefix
        [[apps]] > rules = [{ path = { regex = "/a", prefix = "/a/" }, access = "deny" }] > apps[0].rules[0].path: exactly one key > { regex = "…" }
        [[apps]] > rules = [{ path = { regex = "/.*" }, access = "deny" }, { path = "/a", access = "public" }] > apps[0].rules[1]: no request reaches this rule: apps[0].rules[0] > move
        [[apps]] > rules = [{ path = { regex = "/[a-z]" }, access = "deny" }, { path = "/a", access = "public" }] > apps[0].rules[1]: no request reaches this rule: apps[0].rules[0] > move
        [[apps]] > rules = [{ preset = "pwa" }] > apps[0].rules[0].preset: `pwa` is none of its words > pwa-assets
        [[apps]] > rules = [{ preset = "pwa-assets", path = "/a" }] > apps[0].rules[0].path: excludes `preset` > one of the two
        [[apps]] > rules = [{ preset = "pwa-assets", methods = ["GET"] }] > apps[0].rules[0].methods: excludes `preset` > GET and HEAD
        [[apps]] > rules = [{ preset = "pwa-assets", allow = { groups = ["x"] } }] > apps[0].rules[0].allow: excludes `preset` > one of the two
        [[apps]] > rules = [{ preset = "pwa-assets", access = "optional" }] > apps[0].rules[0].access: excludes `preset` > public
        [[apps]] > rules = [{ preset = "pwa-assets" }, { path = "/favicon.ico", methods = ["GET"], access = "deny" }] > apps[0].rules[1]: no request reaches this rule > move
        [[apps]] > rules = [{ path = "/_doorward/ping", access = "public" }] > apps[0].rules[0].path: no request reaches > server.prefix
        [[apps]] > rules = [{ methods = ["get"], access = "deny" }] > apps[0].rules[0].methods[0]: `get` is no method > "GET"
        [[apps]] > rules = [{ methods = [], access = "deny" }] > apps[0].rules[0].methods: has no effect > remove
        [[apps]] > rules = [{ networks = ["lan"], access = "deny" }] > apps[0].rules[0].networks[0]: `lan` is no network > 10.0.0.0/8
        [[apps]] > rules = [{ access = "basic" }] > apps[0].rules[0].access: `basic` is none of its words > `public`
        [[apps]] > rules = [{ access = "bearer" }] > apps[0].rules[0].access: nothing says which credentials > [bearer]
        [[apps]] > rules = [{ access = "public", allow = { groups = ["x"] } }] > apps[0].rules[0].allow: excludes > one of the two
        [[apps]] > rules = [{ access = "deny" }, { path = "/a", access = "public" }] > apps[0].rules[1]: no request reaches this rule: apps[0].rules[0] > move
        [[apps]] > allow = { groups = ["x"] } ¶ rules = [{ access = "deny" }] > apps[0].allow: has no effect > remove
        [[apps]] > cross_site = "block" > apps[0].cross_site: `block` is none of its words > `allow`
        [[apps]] > rules = [{ path = "/a", access = "public", cross_site = "deny" }] > apps[0].rules[0].cross_site: has no effect > remove
        [[apps]] > rules = [{ path = "/a", access = "deny", cross_site = "allow" }] > apps[0].rules[0].cross_site: has no effect > remove
        [[apps]] > cross_site = "deny" ¶ rules = [{ access = "authenticated", cross_site = "allow" }] > apps[0].cross_site: has no effect > rules
        [[apps]] > cross_site = "deny" ¶ rules = [{ access = "deny" }] > apps[0].cross_site: has no effect > remove
        [[apps]] > allow = { groups = ["x"] } ¶ delegate = "http://old/auth/nginx" > apps[0].allow: has no effect: an outpost > remove
        [[apps]] > rules = [{ access = "deny" }] ¶ delegate = "http://old/auth/nginx" > apps[0].rules: has no effect: an outpost > remove
        [[apps]] > delegate = "http://old/auth" > apps[0].delegate: `http://old/auth` does not say in which dialect > end it in
        [[apps]] > delegate = "ftp://old/auth/caddy" > apps[0].delegate: `ftp://old/auth/caddy` is neither http nor https > write it
        [[apps]] > delegate = "http://old/auth/caddy?x" > apps[0].delegate: `http://old/auth/caddy?x` has a query > write it
        [[apps]] > delegate_cache = "5s" > apps[0].delegate_cache: has no effect: no outpost > remove
        [[apps]] > delegate_cache = "2m" ¶ delegate = "http://old/auth/caddy" > apps[0].delegate_cache: `2m` is longer than a minute > at most
        [[apps]] > resource_metadata = true > apps[0].resource_metadata: has no effect > such a rule
        "#,
    );
}

#[test]
fn mistakes_in_the_small_sections_are_errors_with_a_hint() {
    for (lines, problem) in [
        (
            "[limits]\nsign_in = { per_minute = 0 }",
            "limits.sign_in.per_minute: `0` is no whole number from 1 to 1000000",
        ),
        ("[limits]\ncallback = { burst = 2000000 }", "limits.callback.burst: `2000000` is no whole number from 1 to"),
        ("[limits]\ncallbacks = { burst = 2 }", "limits.callbacks: there is no such key\n    did you mean `callback`?"),
        ("[limits]\ncredentials = 30", "limits.credentials: "),
        (
            "[limits]\ncredentials = { burst = 2 }",
            "limits.credentials: has no effect: no credential but a session counts\n    remove it, or add the section",
        ),
        ("[brand]\naccent = 'blue'", "brand.accent: `blue` is no colour\n    write it as \"#rrggbb\""),
        ("[brand]\nlogo = '/nowhere'", "brand.logo: /nowhere cannot be read"),
        ("[brand]\ntitle = ''", "brand.title: this is empty"),
        ("[log]\nlevel = 'inof'", "log.level: `inof` is none of its words\n    did you mean `info`?"),
        ("[access]\ndefault = 'allow'", "access.default: `allow` is none of its words\n    there is `deny`"),
        ("[adopt]", "adopt.url: is missing\n    Where the old outpost answers"),
        ("[provider]\nname = 'x'", "provider: there is no such key\n    did you mean `providers`?"),
    ] {
        let diagnostics = refused(&format!("{GOOD}{lines}\n"));
        assert_eq!(diagnostics.len(), 1, "{diagnostics:?}");
        assert!(diagnostics[0].contains(problem), "{lines}\n{}", diagnostics[0]);
    }
}

#[test]
fn a_missing_required_key_is_reported_at_its_section() {
    for (without, problem) in [
        (
            "trusted_proxies = [\"10.0.0.0/8\"]",
            "doorward.toml:2: server.trusted_proxies: is missing, and `server.listen` is",
        ),
        ("secrets = [\"0123456789abcdef0123456789abcdef\"]", "doorward.toml:4: session.secrets: is missing"),
        ("issuer = \"https://auth.example.com/o/x/\"", "doorward.toml:6: providers[0].issuer: is missing"),
        ("hosts = [\"grafana.example.com\", \"*.graphs.example.com\"]", "doorward.toml:10: apps[0].hosts: is missing"),
    ] {
        let diagnostics = refused(&GOOD.replace(without, ""));
        assert!(diagnostics.len() == 1 && diagnostics[0].starts_with(problem), "{diagnostics:?}");
    }
}

#[test]
fn a_cookie_domain_may_be_anything_below_a_public_suffix_or_a_private_top_level_domain() {
    for domain in [
        "example.com",
        "home.duckdns.org",
        "a.co.uk",
        "x.home.arpa",
        "svc.cluster.local",
        "a.lan",
        "a.internal",
        "a.test",
    ] {
        let text = GOOD
            .replace("[session]", &format!("[session]\ncookie_domain = '{domain}'"))
            .replace("\"grafana.example.com\", \"*.graphs.example.com\"", &format!("'grafana.{domain}'"));
        assert_eq!(refused(&text), [""; 0], "{domain}");
    }
}

#[test]
fn a_secret_in_a_variable_is_read_as_one_in_a_file_is() {
    let with = |secret: &str| {
        let environment = variables(&[
            ("DOORWARD_PROVIDERS__0__CLIENT_SECRET", secret),
            ("DOORWARD_STORE__URL", &format!("postgres://ann@db/{}\n", "x")),
        ]);
        load_from(Some(&source(GOOD)), &environment)
    };
    let exposed = |config: Config| config.providers[0].client_secret.as_ref().unwrap().expose_secret().to_owned();
    assert_eq!(with("hidden\n").map(exposed).ok().as_deref(), Some("hidden"));
    for faulty in ["\"hidden\"", "hidden ", "\u{feff}hidden", "hidden\nhidden", "${hidden}"] {
        let diagnostics = with(faulty).err().unwrap().to_string();
        let place = "DOORWARD_PROVIDERS__0__CLIENT_SECRET: providers[0].client_secret: the secret ";
        assert!(diagnostics.starts_with(place) && !diagnostics.contains("hidden"), "{diagnostics}");
    }
}

#[test]
fn a_cookie_domain_has_to_cover_every_host() {
    let text = GOOD.replace("[session]\n", "[session]\ncookie_domain = 'graphs.example.com'\n");
    let diagnostics = refused(&text);
    assert_eq!(diagnostics.len(), 1, "{diagnostics:?}");
    let line = line_of(&text, "hosts");
    assert!(diagnostics[0].starts_with(&format!("doorward.toml:{line}: apps[0].hosts[0]: sessions cannot work here")));
    assert!(refused(&GOOD.replace("[session]\n", "[session]\ncookie_domain = 'Example.com'\n")).is_empty());
    assert_eq!(refused(&GOOD.replace("[session]\n", "[session]\ncookie_domain = 'ample.com'\n")).len(), 2);
}

#[test]
fn a_list_of_cookie_domains_need_not_cover_every_host_but_each_domain_has_to_have_one() {
    let with = |list: &str| GOOD.replace("[session]\n", &format!("[session]\ncookie_domain = {list}\n"));
    let warnings = |text: &str| {
        let config = load_from(Some(&source(text)), &Environment::new()).unwrap();
        config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for list in ["['graphs.example.com']", "['grafana.example.com']", "['x.graphs.example.com']", "['example.com']"] {
        assert_eq!(warnings(&with(list)), [""; 0], "{list}");
    }
    for list in ["['graphs.example.com', 'example.org']", "['example.com', 'ample.com']"] {
        let found = warnings(&with(list));
        assert!(found.len() == 1 && found[0].contains("session.cookie_domain[1]: no app has a host"), "{found:?}");
    }
    // Every host belongs to the longest.
    let found = warnings(&with("['example.com', 'graphs.example.com', 'grafana.example.com']"));
    assert!(found.len() == 1 && found[0].contains("session.cookie_domain[0]: no app has a host"), "{found:?}");
    let default = format!("{}\n[access]\ndefault = 'authenticated'\n", with("['example.org']"));
    assert_eq!(warnings(&default), [""; 0], "any host may be asked for");
    let environment = variables(&[("DOORWARD_SESSION__COOKIE_DOMAIN", "['example.com', 'graphs.example.com']")]);
    let config = load_from(Some(&source(GOOD)), &environment).unwrap();
    assert_eq!(config.gate.cookie_domains, ["example.com", "graphs.example.com"]);
}

#[test]
fn the_names_of_providers_make_names_of_cookies_under_a_domain() {
    let second = |name: &str| {
        let section =
            format!("[[providers]]\nname = '{name}'\nissuer = 'https://b.example.com/'\nclient_id = 'x'\n\n[[apps]]");
        GOOD.replacen("[[apps]]", &section, 1)
    };
    let shared = |text: &str| text.replace("[session]\n", "[session]\ncookie_domain = 'example.com'\n");
    let taken = "providers[1].name: `doorward_login` is the login cookie";
    for (text, expected) in [
        (second("login"), Some(taken)),
        (shared(&second("login")), Some(taken)),
        (shared(&second("login_x")), Some("the session cookie would be `doorward_login_x`, which cookies of sign-ins")),
        (second("login_x"), None),
        (shared(&second("a b")), Some("the session cookie would be `doorward_a b`, which is no cookie's name")),
        (shared(&second("bücher")), Some("which is no cookie's name")),
        (second("a b"), None),
        (shared(&second("a.b-c_D9")), None),
        (shared(&second("loginx")), None),
        (shared(&second(&"n".repeat(38))), None),
        (shared(&second(&"n".repeat(39))), Some("longer than 120 bytes\n    shorten this name")),
        (second(&"n".repeat(39)), None),
    ] {
        let diagnostics = refused(&text);
        assert_eq!(diagnostics.len(), usize::from(expected.is_some()), "{diagnostics:?}");
        assert!(diagnostics.iter().all(|found| found.contains(expected.unwrap_or_default())), "{diagnostics:?}");
    }
    // The first has the plain name, whatever it is called itself.
    assert_eq!(refused(&shared(GOOD).replace("name = \"home\"", "name = \"a b\"")), [""; 0]);
}

#[test]
fn all_mistakes_are_reported_at_once_in_the_order_of_their_lines() {
    let text = "[server]\nlisten = 'x'\nlistn = 'y'\n[session]\nlifetime = '0s'\n[[apps]]\nhosts = ['a:1']\n[store]\nurl = 'x'\n";
    let result = load_from(Some(&source(text)), &variables(&[("DOORWARD_LOG__LEVEL", "loud"), ("DOORWARD_X__Y", "z")]));
    let found: Vec<_> = result.err().unwrap().0.iter().map(|one| format!("{} {}", one.origin, one.key)).collect();
    assert_eq!(
        found,
        [
            "doorward.toml:1 ",
            "doorward.toml:2 server.listen",
            "doorward.toml:3 server.listn",
            "doorward.toml:4 session.secrets",
            "doorward.toml:5 session.lifetime",
            "doorward.toml:6 apps[0].name",
            "doorward.toml:7 apps[0].hosts[0]",
            "doorward.toml:9 store.url",
            "DOORWARD_LOG__LEVEL log.level",
            "DOORWARD_X__Y ",
        ]
    );
}

#[test]
fn invalid_toml_is_reported_with_its_line_and_nothing_else() {
    assert!(refused("[server\nlisten = 1\n")[0].starts_with("doorward.toml:1: not TOML: unclosed table"));
    assert!(refused("a = 1\na = 2\n")[0].contains("duplicate key"));
}

#[test]
fn a_key_that_belongs_to_another_certificate_is_an_error_before_the_start() {
    let file = |text: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    };
    let made = || rcgen::generate_simple_self_signed(vec!["gate.example.com".to_owned()]).unwrap();
    let (one, other) = (made(), made());
    let (cert, key) = (file(&one.cert.pem()), file(&one.signing_key.serialize_pem()));
    let wrong = file(&other.signing_key.serialize_pem());
    let with = |key: &std::path::Path| {
        let tls = format!("[server]\ntls = {{ cert = {:?}, key = {key:?} }}", cert.path());
        refused(&GOOD.replace("[server]", &tls))
    };
    assert_eq!(with(key.path()), [""; 0]);
    let diagnostics = with(wrong.path());
    assert!(
        diagnostics.len() == 1 && diagnostics[0].contains("server.tls.key: the key and the cert"),
        "{diagnostics:?}"
    );
}

#[test]
fn certificates_for_a_provider_without_tls_have_no_effect() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = GOOD
        .replace("https://auth.example.com/o/x/", "http://127.0.0.1/")
        .replace("client_id", &format!("ca_file = '{}'\nclient_id", file.path().display()));
    assert!(refused(&text)[0].contains("providers[0].ca_file: has no effect"));
}

#[test]
fn a_proxy_of_the_environment_that_cannot_be_used_is_a_warning() {
    for (value, warnings) in
        [("http://ann:secret@proxy:3128", 0), ("proxy:3128", 0), ("", 0), ("socks5://proxy", 1), ("a b", 1)]
    {
        let config = load_from(Some(&source(GOOD)), &variables(&[("HTTPS_PROXY", value)])).unwrap();
        let said: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(said.iter().filter(|text| text.contains("HTTPS_PROXY")).count(), warnings, "{value}: {said:?}");
        assert!(!said.concat().contains("secret"), "{said:?}");
    }
}

#[test]
fn mistakes_about_api_clients_are_errors_with_a_hint() {
    let rule = "[[apps]]\nname = 'x'\nhosts = ['x.example.com']\nrules = [{ access = 'bearer' }]\n";
    let issuer = "issuer = 'https://api.example.com/'";
    for (lines, problem) in [
        ("[bearer]\nintrospection = true".to_owned(), "bearer.introspection: needs a client_secret at the provider"),
        ("[bearer]".to_owned(), "bearer: lets no API client in"),
        ("[bearer]\nissuers = []".to_owned(), "bearer: lets no API client in"),
        ("[bearer]\nissuers = [{ audience = 'api' }]".to_owned(), "bearer.issuers[0].issuer: is missing"),
        (format!("[bearer]\nissuers = [{{ {issuer} }}]"), "bearer.issuers[0].audience: is missing"),
        (
            format!("[bearer]\nissuers = [{{ {issuer}, audience = [] }}]"),
            "bearer.issuers[0].audience: names no audience",
        ),
        (format!("[bearer]\nissuers = [{{ {issuer}, audience = '' }}]"), "bearer.issuers[0].audience: this is empty"),
        (
            format!("[bearer]\nissuers = [{{ {issuer}, audience = ['a', 'a'] }}]"),
            "bearer.issuers[0].audience[1]: has no effect",
        ),
        (
            format!("[bearer]\nissuers = [{{ {issuer}, audience = 'a' }}, {{ {issuer}, audience = 'b' }}]"),
            "bearer.issuers[1].issuer: `https://api.example.com/` is bearer.issuers[0].issuer already",
        ),
        (
            "[bearer]\nissuers = [{ issuer = 'http://api.example.com/', audience = 'a' }]".to_owned(),
            "bearer.issuers[0].issuer: ",
        ),
        (
            format!("[bearer]\nissuers = [{{ {issuer}, audience = 'a', audiences = ['b'] }}]"),
            "bearer.issuers[0].audiences: there is no such key",
        ),
    ] {
        let diagnostics = refused(&format!("{GOOD}{rule}{lines}\n"));
        assert_eq!(diagnostics.len(), 1, "{lines}: {diagnostics:?}");
        assert!(diagnostics[0].contains(problem), "{lines}\n{}", diagnostics[0]);
    }
    let diagnostics = refused(&format!("{GOOD}[bearer]\napp_passwords = true\n"));
    assert!(diagnostics[0].contains("bearer: has no effect: no rule is for API clients"), "{diagnostics:?}");
}

const BCRYPT: &str = "$2y$05$abcdefghijklmnopqrstuuXABv8kbD4DdRckBvLqdHTm3rKrwRbHC";

/// Returns [`GOOD`] with an emergency sign-in of these lines, and the users file that it names.
fn with_emergency(users: &str, lines: &str) -> (String, tempfile::NamedTempFile) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(users.as_bytes()).unwrap();
    let path = file.path().display();
    (format!("{GOOD}[emergency]\nusers_file = \"{path}\"\n{lines}\n"), file)
}

#[test]
fn mistakes_about_the_emergency_sign_in_are_errors_with_a_hint() {
    let good = format!("ann:{BCRYPT}\n");
    for (users, lines, problem) in [
        (good.as_str(), "", "emergency.hosts: is missing"),
        (&good, "hosts = []", "emergency.hosts: an emergency sign-in without a host is never open"),
        (&good, "hosts = [\"other.example.com\"]", "emergency.hosts[0]: is no host of any app"),
        (&good, "hosts = [\"*.example.org\"]", "emergency.hosts[0]: is no host of any app"),
        (&good, "hosts = [\"*.example.com\", \"*.example.com\"]", "emergency.hosts[1]: has no effect"),
        (&good, "hosts = [\"grafana.example.com:443\"]", "emergency.hosts[0]: `grafana.example.com:443` has a port"),
        (&good, "hosts = [\"*.example.com\"]\nrealm = \"a \\\"b\\\"\"", "emergency.realm: "),
        (&good, "hosts = [\"*.example.com\"]\nrealm = \"Zugang für Notfälle\"", "emergency.realm: "),
        (&good, "hosts = [\"*.example.com\"]\nuser = \"ann\"", "emergency.user: "),
        ("", "hosts = [\"*.example.com\"]", "emergency.users_file: "),
        ("ann:plain\n", "hosts = [\"*.example.com\"]", "emergency.users_file: "),
    ] {
        let (text, _file) = with_emergency(users, lines);
        let diagnostics = refused(&text);
        assert_eq!(diagnostics.len(), 1, "{lines}\n{diagnostics:#?}");
        assert!(diagnostics[0].contains(problem), "{lines}\n{}", diagnostics[0]);
    }
    let missing = format!("{GOOD}[emergency]\nusers_file = \"/nowhere/users\"\nhosts = [\"grafana.example.com\"]\n");
    assert!(refused(&missing)[0].contains("/nowhere/users cannot be read"), "{:?}", refused(&missing));
}

#[test]
fn each_bad_line_of_the_users_file_is_an_error_and_shows_no_hash() {
    let users = format!("ann:{BCRYPT}\nbob\nann:{BCRYPT}\ncarl:secret-hash\n");
    let (text, file) = with_emergency(&users, "hosts = [\"grafana.example.com\"]");
    let diagnostics = refused(&text);
    let path = file.path().display().to_string();
    for (diagnostic, line) in diagnostics.iter().zip(["line 2", "line 3", "line 4"]) {
        assert!(diagnostic.contains(&path) && diagnostic.contains(line), "{diagnostic}");
        assert!(!diagnostic.contains("secret-hash") && !diagnostic.contains(BCRYPT), "{diagnostic}");
    }
    assert_eq!(diagnostics.len(), 3, "{diagnostics:#?}");
}

#[test]
fn the_apps_of_an_emergency_sign_in_are_told_of_it_and_a_cheap_hash_is_worth_a_warning() {
    let (text, _file) = with_emergency(&format!("ann:{BCRYPT}\n"), "hosts = [\"*.b.graphs.example.com\"]");
    let config = loaded(&format!("{text}[[apps]]\nname = \"wiki\"\nhosts = [\"wiki.example.com\"]\n"));
    let told: Vec<_> =
        config.policy.apps.iter().map(|app| app.headers.blank().contains_key("doorward-emergency")).collect();
    assert_eq!(told, [true, false]);
    assert!(config.gate.emergency.is_some());
    assert!(config.warnings.iter().any(|warning| warning.problem.contains("cheap to guess")), "{:?}", config.warnings);
    assert!(loaded(GOOD).gate.emergency.is_none());
}
