//! Tests of all pages, as a browser and an attacker would read them.

use super::*;

const HOSTILE: &str = r#"<script>alert(1)</script>"'><img src=x onerror=alert(1)>&amp;{{ 7 * 7 }}"#;

/// Returns one page of each kind, with `value` for every text and `address` for every link.
fn every_page<'a>(value: &'a str, address: &'a str) -> Vec<(&'static str, Page<'a>)> {
    let pages = vec![
        ("sign_in_failed", Page::SignInFailed { detail: value, retry: address }),
        ("sign_in_loop", Page::SignInLoop { retry: address, reset: address }),
        ("cookies_not_passed", Page::CookiesNotPassed { retry: address }),
        ("not_allowed", Page::NotAllowed { user: value, app: value, switch: address }),
        ("email_unverified", Page::EmailUnverified { user: value, app: value }),
        ("denied", Page::Denied { app: value }),
        ("credential_needed", Page::CredentialNeeded { app: value }),
        ("cross_site", Page::CrossSite { app: value }),
        ("unknown_host", Page::UnknownHost { host: value }),
        ("provider_unavailable", Page::ProviderUnavailable { retry: address }),
        ("app_unavailable", Page::AppUnavailable { app: "grafana" }),
        ("store_unavailable", Page::StoreUnavailable { retry: address }),
        ("too_many_requests", Page::TooManyRequests { retry: address }),
        ("emergency_sign_in", Page::EmergencySignIn { what: value, retry: address }),
        ("emergency_refused", Page::EmergencyRefused { retry: address }),
        ("emergency_busy", Page::EmergencyBusy { retry: address }),
        ("form_not_sent", Page::FormNotSent { sign_in: address }),
        ("sign_in_outside_frame", Page::SignInOutsideFrame { app: value, sign_in: address }),
        ("step_up_failed", Page::StepUpFailed { app: value, needs: value, retry: address, switch: address }),
        ("step_up_impossible", Page::StepUpImpossible { app: value }),
        ("form_needs_step_up", Page::FormNeedsStepUp { needs: value, step_up: address }),
        ("frame_needs_step_up", Page::FrameNeedsStepUp { app: value, needs: value, step_up: address }),
        ("sign_in", Page::SignIn { app: value, sign_in: address }),
        ("signed_out", Page::SignedOut { sign_in: address }),
        ("confirm_sign_out", Page::ConfirmSignOut { action: address, stay: address }),
        ("reset", Page::Reset { back: address }),
        ("bad_request", Page::BadRequest { detail: value }),
        ("not_found", Page::NotFound),
    ];
    let complete = |page: &Page<'_>| match page {
        Page::SignInFailed { .. }
        | Page::SignInLoop { .. }
        | Page::CookiesNotPassed { .. }
        | Page::SignInOutsideFrame { .. }
        | Page::NotAllowed { .. }
        | Page::EmailUnverified { .. }
        | Page::Denied { .. }
        | Page::CredentialNeeded { .. }
        | Page::CrossSite { .. }
        | Page::UnknownHost { .. }
        | Page::ProviderUnavailable { .. }
        | Page::AppUnavailable { .. }
        | Page::StoreUnavailable { .. }
        | Page::TooManyRequests { .. }
        | Page::EmergencySignIn { .. }
        | Page::EmergencyRefused { .. }
        | Page::EmergencyBusy { .. }
        | Page::FormNotSent { .. }
        | Page::StepUpFailed { .. }
        | Page::StepUpImpossible { .. }
        | Page::FormNeedsStepUp { .. }
        | Page::FrameNeedsStepUp { .. }
        | Page::SignIn { .. }
        | Page::SignedOut { .. }
        | Page::ConfirmSignOut { .. }
        | Page::Reset { .. }
        | Page::BadRequest { .. }
        | Page::NotFound => 28,
    };
    assert!(pages.iter().all(|(_, page)| complete(page) == pages.len()));
    pages
}

/// The pages whose links open a tab of their own.
const OPENS_TAB: [&str; 4] = ["form_not_sent", "sign_in_outside_frame", "form_needs_step_up", "frame_needs_step_up"];

fn text(document: &Document) -> &str {
    std::str::from_utf8(&document.html).unwrap()
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("{start} in {text}"));
    rest.split_once(end).unwrap().0
}

/// Returns the value of each `name="…"` in the document.
fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    html.split(start.as_str()).skip(1).map(|rest| rest.split_once('"').unwrap().0).collect()
}

fn branded() -> Pages {
    Pages::new(Settings {
        title: Some(HOSTILE.to_owned()),
        logo: Some(("image/png".to_owned(), Bytes::from_static(b"\x89PNG"))),
        accent: Some("#ffd400".to_owned()),
    })
}

#[test]
fn no_value_can_break_out_of_its_place() {
    for pages in [Pages::new(Settings::default()), branded()] {
        for (name, page) in every_page(HOSTILE, &format!("https://a.example/?{HOSTILE}")) {
            let document = pages.render(&page, HOSTILE);
            let html = text(&document);
            assert!(!html.contains("<script") && !html.contains("<img src=x"), "{name}: {html}");
            assert!(!html.contains("alert(1)</"), "{name}: {html}");
            for address in attributes(html, "href").into_iter().chain(attributes(html, "action")) {
                assert!(!address.contains(['<', '>', '\'']), "{name}: {address}");
            }
        }
    }
}

#[test]
fn a_link_leads_to_the_web_or_to_this_host() {
    for good in ["/", "/_doorward/start?rd=%2Fa", "https://a.example/x", "http://lab.example:8080/"] {
        assert_eq!(safe_link(good), good);
    }
    for bad in [
        "",
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        " javascript:alert(1)",
        "data:text/html,x",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "https:evil.example",
        "relative",
    ] {
        assert_eq!(safe_link(bad), "/", "{bad:?}");
        for (name, page) in every_page("x", bad) {
            let document = Pages::new(Settings::default()).render(&page, "r");
            assert!(!text(&document).contains("evil.example") && !text(&document).contains("alert"), "{name}");
        }
    }
}

#[test]
fn the_policy_allows_exactly_the_stylesheet_that_is_inlined() {
    use data_encoding::BASE64;
    for pages in [Pages::new(Settings::default()), branded()] {
        for (name, page) in every_page("x", "/") {
            let document = pages.render(&page, "r");
            let style = between(text(&document), "<style>", "</style>");
            let hash = BASE64.encode(&crate::crypto::digest(style.as_bytes()));
            let policy = document.csp.to_str().unwrap();
            assert_eq!(between(policy, "style-src '", "'"), format!("sha256-{hash}"), "{name}");
            assert!(!policy.contains("script-src") && !policy.contains("unsafe"), "{policy}");
            for part in ["default-src 'none'", "img-src data:;", "base-uri 'none'", "frame-ancestors "] {
                assert!(policy.contains(part), "{name}: {policy}");
            }
            let form = text(&document).contains("<form");
            assert_eq!(policy.contains("form-action http: https:"), form, "{name}: {policy}");
            assert_eq!(policy.contains("form-action 'none'"), !form, "{name}: {policy}");
        }
    }
}

#[test]
fn a_page_needs_no_script_and_no_second_request() {
    let logo = Some(("image/png".to_owned(), Bytes::from_static(b"pixels")));
    let pages = Pages::new(Settings { logo, ..Settings::default() });
    for (name, page) in every_page("x", "https://a.example/") {
        let document = pages.render(&page, "r");
        let html = text(&document);
        for never in ["<script", "<iframe", "<object", "<embed", "<base", "http-equiv", "@import", "url("] {
            assert!(!html.contains(never), "{name} holds {never}");
        }
        for tag in html.split('<').skip(1).map(|rest| rest.split_once('>').unwrap().0) {
            let script_or_style =
                tag.split_whitespace().skip(1).find(|word| word.starts_with("on") || word.starts_with("style"));
            assert_eq!(script_or_style, None, "{name}: <{tag}>");
        }
        assert_eq!(attributes(html, "src"), ["data:image/png;base64,cGl4ZWxz"], "{name}");
        assert_eq!(html.matches("<link").count(), 1, "{name}");
        assert!(html.contains("<link rel=\"icon\" href=\"data:image/svg+xml;base64,"), "{name}");
    }
}

#[test]
fn each_page_is_complete_and_begins_with_what_happened() {
    let pages = Pages::new(Settings { title: Some("Ann & Co".to_owned()), ..Settings::default() });
    let mut headings = std::collections::HashSet::new();
    for (name, page) in every_page("the value", "/go") {
        let document = pages.render(&page, "req-4711");
        let html = text(&document);
        assert!(html.starts_with("<!DOCTYPE html>\n<html lang=\"en\">") && html.ends_with("</html>"), "{name}");
        for once in
            ["<h1>", "<main>", "<title>", "<meta charset=\"utf-8\">", "name=\"viewport\"", "content=\"noindex\""]
        {
            assert_eq!(html.matches(once).count(), 1, "{name}: {once}");
        }
        let heading = between(html, "<h1>", "</h1>");
        assert_eq!(between(html, "<title>", "</title>"), format!("{heading} · Ann &#38; Co"), "{name}");
        assert!(headings.insert(heading.to_owned()), "{name} shares its heading with another page");
        assert!(html.contains("Request id: <code>req-4711</code>"), "{name}");
        for value in ["the value", "/go"] {
            let given = format!("{page:?}").contains(&format!("{value:?}"));
            assert_eq!(html.contains(value), given, "{name}: {value}");
        }
    }
}

#[test]
fn only_pages_that_open_a_tab_of_their_own_are_shown_in_frames() {
    for (name, page) in every_page("x", "/go") {
        let document = Pages::new(Settings::default()).render(&page, "r");
        let policy = document.csp.to_str().unwrap();
        let links = text(&document).matches("<a ").count() + text(&document).matches("<form").count();
        let in_new_tabs = text(&document).matches("target=\"_blank\" rel=\"noopener\"").count();
        let is_framed = OPENS_TAB.contains(&name);
        assert_eq!(document.framing == Framing::Allowed, is_framed, "{name}");
        assert_eq!(policy.contains("frame-ancestors http: https:"), is_framed, "{name}: {policy}");
        assert_eq!(policy.contains("frame-ancestors 'none'"), !is_framed, "{name}: {policy}");
        assert!(!is_framed || links == in_new_tabs, "{name}: {links} links, {in_new_tabs} in new tabs");
    }
}

#[test]
fn a_page_fits_into_the_buffers_of_an_edge() {
    let pages = Pages::new(Settings::default());
    let endless = "<".repeat(100_000);
    for (name, page) in every_page("Ann", "/_doorward/start?rd=%2F") {
        let size = pages.render(&page, "0123456789abcdef").html.len();
        assert!(size < 8 * 1024, "{name}: {size}");
    }
    for (name, page) in every_page(&endless, "/") {
        let size = pages.render(&page, &endless).html.len();
        assert!(size < 16 * 1024, "{name} with endless values: {size}");
    }
}

#[test]
fn a_long_value_is_cut_between_characters() {
    let long = "é".repeat(MAX_VALUE_CHARS + 1);
    assert_eq!(truncated(&long).chars().count(), MAX_VALUE_CHARS);
    assert_eq!(truncated("short"), "short");
    assert_eq!(truncated(&long[..2 * MAX_VALUE_CHARS]), &long[..2 * MAX_VALUE_CHARS]);
}

#[test]
fn four_pages_open_a_tab_and_only_the_confirmation_holds_a_form() {
    let pages = Pages::new(Settings::default());
    for (name, page) in every_page("x", "/go") {
        let document = pages.render(&page, "r");
        let html = text(&document);
        let opens_tab = OPENS_TAB.contains(&name);
        assert_eq!(html.contains("target=\"_blank\" rel=\"noopener\""), opens_tab, "{name}");
        assert_eq!(
            html.contains("<form class=\"actions\" method=\"post\" action=\"/go\">"),
            name == "confirm_sign_out"
        );
    }
}

#[test]
fn a_logo_replaces_the_icon_and_carries_the_title() {
    let html = branded().render(&Page::NotFound, "r").html;
    let html = std::str::from_utf8(&html).unwrap();
    assert_eq!(attributes(html, "src"), ["data:image/png;base64,iVBORw=="]);
    assert_eq!(html.matches("<svg").count(), 0);
    assert!(attributes(html, "alt")[0].starts_with("&#60;script&#62;"));
    assert!(
        text(&Pages::new(Settings::default()).render(&Page::NotFound, "r")).contains("</svg><span>Doorward</span>")
    );
}

#[test]
fn static_files_are_found_by_their_full_name_only() {
    let pages = branded();
    let files: Vec<_> = pages.static_files().collect();
    assert_eq!(files.iter().map(|file| file.media_type).collect::<Vec<_>>(), ["image/svg+xml", "image/png"]);
    for file in files {
        assert_eq!(pages.static_file(&file.name).unwrap().content, file.content);
        assert!(file.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.'));
    }
    for name in ["", "icon", "icon.svg", "logo.png", "../icon", "icon.0000000000000000.svg"] {
        assert!(pages.static_file(name).is_none(), "{name}");
    }
}

#[test]
fn a_refusal_for_a_program_is_json_with_error_and_request_id() {
    let body = json("login_required", "Sign in first.", "r1", Some("https://a.example/_doorward/start"));
    let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        value,
        serde_json::json!({
            "error": "login_required",
            "message": "Sign in first.",
            "login_url": "https://a.example/_doorward/start",
            "request_id": "r1",
        })
    );
    let value: serde_json::Value = serde_json::from_slice(&json("bad_request", HOSTILE, "\u{0}\"", None)).unwrap();
    assert_eq!(value, serde_json::json!({ "error": "bad_request", "message": HOSTILE, "request_id": "\u{0}\"" }));
}

/// Writes the pages beside the build, into `pages/`, for a person who wants to see them.
#[test]
fn the_pages_can_be_opened_in_a_browser() {
    let program = std::env::current_exe().unwrap();
    let folder = program.ancestors().nth(2).unwrap().join("pages");
    // A page that has been renamed since must not be left beside the others.
    let _not_there = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let pages = Pages::new(Settings::default());
    for (name, mut page) in every_page("Grafana", "/_doorward/start") {
        match &mut page {
            Page::SignInFailed { detail, .. } => *detail = "The identity provider said: the account is disabled.",
            Page::NotAllowed { user, .. } => *user = "ann.featherstonehaugh@subsidiary.example.com",
            Page::UnknownHost { host } => *host = "grafana-2.example.com",
            Page::BadRequest { detail } => *detail = "The header X-Forwarded-Host is there twice.",
            _ => {}
        }
        let document = pages.render(&page, "0f3a9c5d27e14b68");
        std::fs::write(folder.join(name).with_extension("html"), &document.html).unwrap();
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 28);
}
