//! The sample apps: pages that show who they were told is looking at them.
//!
//! They know nothing of sessions, providers or the gate, as an app behind one should: they believe the identity
//! headers. That is sound because only the edge reaches them, and the edge lets no client's own through.

use std::net::IpAddr;

use askama::Template;
use http::{HeaderMap, Request, StatusCode, header, request::Parts};
use hyper::body::Incoming;

use super::{
    edge::headers,
    names::{App, Origins},
    page::{self, STYLE},
    site::{self, Response, Site, Whole},
};
use crate::host::Authority;

/// All sample apps, told apart by `Host`.
pub(super) struct Apps {
    origins: Origins,
}

impl Apps {
    pub(super) fn new(origins: Origins) -> Self {
        Self { origins }
    }

    fn show(&self, request: &Parts) -> Whole {
        let Some(app) = app_asked(&request.headers) else {
            return site::line(StatusCode::NOT_FOUND, "no sample app has this name");
        };
        match request.uri.path() {
            "/headers.json" => site::json(StatusCode::OK, &arrived(&request.headers)),
            _ => page::page(StatusCode::OK, &Shown::new(app, self.origins, request)),
        }
    }
}

impl Site for Apps {
    async fn answer(&self, request: Request<Incoming>, _peer: IpAddr) -> Response {
        let (parts, _body) = request.into_parts();
        site::whole(self.show(&parts))
    }
}

fn app_asked(headers: &HeaderMap) -> Option<App> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    App::on(Authority::parse(host).ok()?.host())
}

/// The headers that speak of an identity, in any spelling that some framework would take for one: a forged one that
/// got through would be seen here.
fn arrived(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut arrived: Vec<_> = headers
        .iter()
        .filter(|(name, _)| headers::speaks_of_identity(name))
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    arrived.sort();
    arrived
}

#[derive(Template)]
#[template(path = "app.html")]
struct Shown {
    style: &'static str,
    app: App,
    other: App,
    user: String,
    target: String,
    headers: Vec<(String, String)>,
    address: String,
    other_address: String,
    landing: String,
    port: u16,
}

impl Shown {
    fn new(app: App, origins: Origins, request: &Parts) -> Self {
        let other = if app == App::Notes { App::Admin } else { App::Notes };
        let user = request.headers.get("remote-user").map(|user| String::from_utf8_lossy(user.as_bytes()).into_owned());
        Self {
            style: STYLE,
            app,
            other,
            user: user.unwrap_or_default(),
            target: request.uri.path().to_owned(),
            headers: arrived(&request.headers),
            address: origins.app(app),
            other_address: origins.app(other),
            landing: origins.landing(),
            port: origins.port,
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn asked(host: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
        let request = headers
            .iter()
            .fold(Request::get(target).header("host", host), |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap().into_parts().0
    }

    async fn shown(parts: &Parts) -> (StatusCode, String) {
        let answer = Apps::new(Origins { port: 8080 }).show(parts);
        let status = answer.status();
        (status, String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_page_shows_what_arrived_and_escapes_it() {
        let headers =
            [("remote-user", "<b>alice"), ("x-authentik-groups", "admins|staff"), ("cookie", "doorward=secret")];
        let (status, page) = shown(&asked("notes.localhost:8080", "/a", &headers)).await;
        assert_eq!(status, StatusCode::OK);
        assert!(page.contains("admins|staff"), "{page}");
        assert!(!page.contains("<b>alice"), "what arrived is escaped: {page}");
        assert!(!page.contains("secret"), "a cookie is nobody's to see: {page}");
        assert!(page.contains("http://admin.localhost:8080/"), "it links to the other app: {page}");
    }

    #[tokio::test]
    async fn programs_get_the_same_as_json() {
        let (_, json) = shown(&asked("admin.localhost", "/headers.json", &[("remote-user", "alice")])).await;
        assert_eq!(json, r#"[["remote-user","alice"]]"#);
    }

    #[tokio::test]
    async fn a_host_that_is_no_app_is_not_found() {
        assert_eq!(shown(&asked("localhost", "/", &[])).await.0, StatusCode::NOT_FOUND);
    }
}
