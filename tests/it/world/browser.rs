//! A real browser, controlled over the `WebDriver` protocol.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use http::{Method, Request, header};
use http_body_util::Full;
use serde_json::{Value, json};

use super::{
    World, eventually, ports,
    process::{self, Process},
    visitor,
};

/// A Chromium with an empty profile. Dropping it closes it.
pub(crate) struct Browser {
    port: u16,
    session: String,
    _driver: Process,
}

impl Browser {
    /// Opens a browser that resolves every host to loopback. `preferences` are Chromium's.
    pub(crate) async fn open(world: &World, preferences: Value) -> Self {
        let port = ports::free();
        let mut command = process::system("chromedriver");
        let mut driver = Process::start("chromedriver", command.arg(format!("--port={port}")), world.dir());
        let status = format!("http://127.0.0.1:{port}/status");
        driver.until(|| visitor::answers(&status)).await;
        let profile = world.dir().join("profile").display().to_string();
        let arguments = [
            "--headless=new",
            // The sandbox needs rights that containers lack. All pages are our own.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--host-resolver-rules=MAP *.example.test 127.0.0.1",
            &format!("--user-data-dir={profile}"),
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "acceptInsecureCerts": true,
            "goog:chromeOptions": { "args": arguments, "prefs": preferences },
        } } });
        let mut browser = Self { port, session: String::new(), _driver: driver };
        let answer = browser.command(Method::POST, "session", &capabilities).await;
        browser.session = format!("session/{}", answer["sessionId"].as_str().expect("a session has an id"));
        browser
    }

    /// Opens a URL in the current tab.
    pub(crate) async fn visit(&self, url: &str) {
        self.post("url", &json!({ "url": url })).await;
    }

    /// Returns the current URL.
    pub(crate) async fn url(&self) -> String {
        self.get("url").await.as_str().expect("an address").to_owned()
    }

    /// Waits until the current URL begins with `url`, and returns the page's text.
    pub(crate) async fn arrives_at(&self, url: &str) -> String {
        eventually(&format!("the browser is at {url}"), async || self.url().await.starts_with(url).then_some(())).await;
        self.text().await
    }

    /// Returns the visible text of the page.
    pub(crate) async fn text(&self) -> String {
        let script = json!({ "script": "return document.body.innerText", "args": [] });
        self.post("execute/sync", &script).await.as_str().unwrap_or_default().to_owned()
    }

    /// Runs a script and returns its result, awaited if it is a promise.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({ "script": script, "args": [] })).await
    }

    /// Returns a cookie of the current page as the browser would send it.
    pub(crate) async fn cookie(&self, name: &str) -> String {
        let cookie = self.get(&format!("cookie/{name}")).await;
        format!("{name}={}", cookie["value"].as_str().expect("a cookie has a value"))
    }

    /// Waits for an element that matches a CSS selector and clicks it.
    pub(crate) async fn click(&self, selector: &str) {
        let script = json!({ "script": "return document.querySelector(arguments[0]) !== null", "args": [selector] });
        eventually(&format!("{selector} is on the page"), async || {
            (self.post("execute/sync", &script).await == json!(true)).then_some(())
        })
        .await;
        let found = self.post("element", &json!({ "using": "css selector", "value": selector })).await;
        let element = found.as_object().and_then(|found| found.values().next()).and_then(Value::as_str);
        self.post(&format!("element/{}/click", element.expect("an element has an id")), &json!({})).await;
    }

    /// Opens another tab, switches to it and returns its handle.
    pub(crate) async fn new_tab(&self) -> String {
        let tab = self.post("window/new", &json!({ "type": "tab" })).await;
        let handle = tab["handle"].as_str().expect("a tab has a handle").to_owned();
        self.switch_to(&handle).await;
        handle
    }

    /// Switches to an open tab.
    pub(crate) async fn switch_to(&self, handle: &str) {
        self.post("window", &json!({ "handle": handle })).await;
    }

    async fn get(&self, path: &str) -> Value {
        self.command(Method::GET, &format!("{}/{path}", self.session), &Value::Null).await
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        self.command(Method::POST, &format!("{}/{path}", self.session), body).await
    }

    async fn command(&self, method: Method, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = Request::builder()
            .method(method)
            .uri(format!("http://127.0.0.1:{}/{path}", self.port))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body))
            .unwrap();
        let answer = visitor::exchange(request, None).await.expect("the driver answers");
        assert!(answer.status.is_success(), "{path}: {}", answer.text());
        answer.json()["value"].take()
    }
}

impl Drop for Browser {
    /// Closes the browser, which is a child of the driver and would outlive it.
    fn drop(&mut self) {
        if let Ok(mut driver) = TcpStream::connect(ports::loopback(self.port)) {
            let host = format!("Host: 127.0.0.1:{}\r\nConnection: close\r\n\r\n", self.port);
            let _ = write!(driver, "DELETE /{} HTTP/1.1\r\n{host}", self.session);
            let _ = driver.read(&mut [0; 64]);
        }
    }
}
