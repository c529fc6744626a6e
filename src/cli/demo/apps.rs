//! The sample apps: pages that show the identity headers that arrive.
//!
//! As apps behind a gate should, they know neither sessions nor providers and trust the identity headers. That is safe
//! because only the edge reaches them, and the edge removes identity headers of clients.

use std::net::IpAddr;

use askama::Template;
use http::{HeaderMap, Request, StatusCode, header, request::Parts};
use hyper::body::Incoming;

use super::{
    edge::headers,
    names::{DemoOrigins, SampleApp},
    page::{self, STYLE},
    web::{self, FullResponse, Handler, StreamedResponse},
};
use crate::host::Authority;

/// All sample apps, distinguished by `Host`.
pub(super) struct SampleApps {
    origins: DemoOrigins,
}

impl SampleApps {
    pub(super) fn new(origins: DemoOrigins) -> Self {
        Self { origins }
    }

    fn show(&self, request: &Parts) -> FullResponse {
        let Some(app) = requested_app(&request.headers) else {
            return web::text(StatusCode::NOT_FOUND, "no sample app has this name");
        };
        match request.uri.path() {
            "/headers.json" => web::json(StatusCode::OK, &identity_headers(&request.headers)),
            _ => page::page(StatusCode::OK, &AppPage::new(app, self.origins, request)),
        }
    }
}

impl Handler for SampleApps {
    async fn answer(&self, request: Request<Incoming>, _peer: IpAddr) -> StreamedResponse {
        let (parts, _body) = request.into_parts();
        web::boxed(self.show(&parts))
    }
}

fn requested_app(headers: &HeaderMap) -> Option<SampleApp> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    SampleApp::on(Authority::parse(host).ok()?.host())
}

/// Returns the identity headers, in any spelling that some framework would accept as one: a forged one that got through
/// would show here.
fn identity_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut headers: Vec<_> = headers
        .iter()
        .filter(|(name, _)| headers::is_identity_header(name))
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    headers.sort();
    headers
}

/// Page of an app.
#[derive(Template)]
#[template(path = "app.html")]
struct AppPage {
    style: &'static str,
    app: SampleApp,
    other: SampleApp,
    user: String,
    target: String,
    headers: Vec<(String, String)>,
    address: String,
    other_address: String,
    landing: String,
    port: u16,
}

impl AppPage {
    fn new(app: SampleApp, origins: DemoOrigins, request: &Parts) -> Self {
        let other = if app == SampleApp::Notes { SampleApp::Admin } else { SampleApp::Notes };
        let user = request.headers.get("remote-user").map(|user| String::from_utf8_lossy(user.as_bytes()).into_owned());
        Self {
            style: STYLE,
            app,
            other,
            user: user.unwrap_or_default(),
            target: request.uri.path().to_owned(),
            headers: identity_headers(&request.headers),
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

    fn request(host: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
        let request = headers
            .iter()
            .fold(Request::get(target).header("host", host), |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap().into_parts().0
    }

    async fn rendered(parts: &Parts) -> (StatusCode, String) {
        let answer = SampleApps::new(DemoOrigins { port: 8080 }).show(parts);
        let status = answer.status();
        (status, String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_page_shows_the_identity_headers_escaped() {
        let headers =
            [("remote-user", "<b>alice"), ("x-authentik-groups", "admins|staff"), ("cookie", "doorward=secret")];
        let (status, page) = rendered(&request("notes.localhost:8080", "/a", &headers)).await;
        assert_eq!(status, StatusCode::OK);
        assert!(page.contains("admins|staff"), "{page}");
        assert!(!page.contains("<b>alice"), "values are escaped: {page}");
        assert!(!page.contains("secret"), "cookies are not shown: {page}");
        assert!(page.contains("http://admin.localhost:8080/"), "it links to the other app: {page}");
    }

    #[tokio::test]
    async fn programs_get_the_headers_as_json() {
        let (_, json) = rendered(&request("admin.localhost", "/headers.json", &[("remote-user", "alice")])).await;
        assert_eq!(json, r#"[["remote-user","alice"]]"#);
    }

    #[tokio::test]
    async fn a_host_that_is_no_app_is_not_found() {
        assert_eq!(rendered(&request("localhost", "/", &[])).await.0, StatusCode::NOT_FOUND);
    }
}
