//! Real servers as apps, with the habits of Nextcloud (`WebDAV`, uploads in chunks, many cookies) and Grafana (a path of its own,
//! which the gate's address has in front).

use serde_json::Value;

use super::wire::{End, SeenResponse, exchange};
use crate::world::{AppServer, ForwardingGate};

/// Sends a request to the public app, and returns the only response.
async fn ask(gate: &ForwardingGate, line: &str, lines: &str, body: &str) -> SeenResponse {
    ask_host(gate, "open.example.test", line, lines, body).await
}

async fn ask_host(gate: &ForwardingGate, host: &str, line: &str, lines: &str, body: &str) -> SeenResponse {
    let request = format!("{line} HTTP/1.1\r\nHost: {host}\r\n{lines}Connection: close\r\n\r\n{body}");
    let mut responses = exchange(gate.port, request.as_bytes(), End::Waits).await;
    assert_eq!(responses.len(), 1, "{line}: {responses:?}");
    responses.remove(0)
}

#[tokio::test]
async fn nginx_serves_files_ranges_and_webdav_through_the_gate_as_without() {
    let dir = tempfile::tempdir().unwrap();
    let nginx = AppServer::nginx(dir.path()).await;
    let gate = ForwardingGate::start(nginx.port, "192.0.2.0/24", "").await;
    let page = ask(&gate, "GET /page.html", "", "").await;
    assert_eq!((page.status, page.body.as_deref()), (200, Some("0123456789")));
    let (etag, modified) = (page.values("etag")[0], page.values("last-modified")[0]);
    for (lines, status, body) in [
        (format!("If-None-Match: {etag}\r\n"), 304, ""),
        (format!("If-Modified-Since: {modified}\r\n"), 304, ""),
        ("If-Match: \"other\"\r\n".to_owned(), 412, "*"),
        ("Range: bytes=2-4\r\n".to_owned(), 206, "234"),
        (format!("Range: bytes=2-4\r\nIf-Range: {etag}\r\n"), 206, "234"),
        ("Range: bytes=99-\r\n".to_owned(), 416, "*"),
    ] {
        let told = ask(&gate, "GET /page.html", &lines, "").await;
        assert_eq!(told.status, status, "{lines}");
        assert!(body == "*" || told.body.as_deref() == Some(body), "{lines}: {told:?}");
    }
    let head = ask(&gate, "HEAD /page.html", "", "").await;
    assert_eq!((head.values("content-length"), head.values("etag")), (vec!["10"], vec![etag]));
    let redirect = ask(&gate, "GET /redirect", "", "").await;
    assert_eq!(redirect.values("location"), ["http://open.example.test/page.html"], "made of Host, and left alone");
    // With a Via nginx compresses only where it is told to (gzip_proxied).
    for (path, coding) in [("/style.css", vec![]), ("/any/style.css", vec!["gzip"])] {
        let told = ask(&gate, &format!("GET {path}"), "Accept-Encoding: gzip\r\n", "").await;
        assert_eq!((told.status, told.values("content-encoding")), (200, coding), "{path}");
    }

    let chunks = format!("Transfer-Encoding: chunked\r\nX-Own: {}\r\n", "x".repeat(4_000));
    let body = "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n";
    assert_eq!(ask(&gate, "PUT /dav/a.html", &chunks, body).await.status, 201);
    assert_eq!(ask(&gate, "MKCOL /dav/folder/", "", "").await.status, 201);
    let host = "open.example.test:8080";
    let destination = format!("Destination: http://{host}/dav/folder/b.html\r\n");
    assert_eq!(ask_host(&gate, host, "MOVE /dav/a.html", &destination, "").await.status, 204);
    assert_eq!(ask(&gate, "GET /dav/folder/b.html", "", "").await.body.as_deref(), Some("hello!"));
    assert_eq!(ask(&gate, "GET /dav/a.html", "", "").await.status, 404);
    assert_eq!(ask(&gate, "PROPFIND /dav/", "Depth: 1\r\nContent-Length: 0\r\n", "").await.status, 405, "of nginx");
    let upload = "x".repeat(100_000);
    let told = ask(&gate, "PUT /small/a.html", &format!("Content-Length: {}\r\n", upload.len()), &upload).await;
    assert_eq!(
        (told.status, told.values("doorward-reason")),
        (413, vec![]),
        "nginx's own, before it has read the body"
    );
    assert_eq!(ask(&gate, "GET /page.html", "", "").await.status, 200);
}

#[tokio::test]
async fn caddy_knows_the_client_and_the_host_as_the_gate_does() {
    let dir = tempfile::tempdir().unwrap();
    let caddy = AppServer::caddy(dir.path()).await;
    let forged = "X-Forwarded-For: 198.51.100.1\r\nRemote-User: admin\r\n";
    for (trusted, lines, expected) in [
        ("192.0.2.0/24", forged, "127.0.0.1 open.example.test:8443 http "),
        ("127.0.0.0/8", "X-Forwarded-For: 198.51.100.7\r\n", "198.51.100.7 open.example.test:8443 http "),
    ] {
        let gate = ForwardingGate::start(caddy.port, trusted, "").await;
        let told = ask_host(&gate, "open.example.test:8443", "GET /who", lines, "").await;
        assert_eq!((told.status, told.body.as_deref()), (200, Some(expected)), "{trusted}");
    }
}

#[tokio::test]
async fn node_gets_methods_cookies_and_bodies_as_a_client_sent_them() {
    let dir = tempfile::tempdir().unwrap();
    let node = AppServer::node(dir.path()).await;
    let tables = format!(
        "[[apps]]\nname = 'sub'\nhosts = ['sub.example.test']\nupstream = 'http://127.0.0.1:{}/grafana/'\n\
         rules = [{{ access = 'public' }}]\n",
        node.port
    );
    let gate = ForwardingGate::start(node.port, "192.0.2.0/24", &tables).await;
    let cookies: Vec<_> = (0..40).map(|number| format!("oc_{number}={}", "x".repeat(400))).collect();
    let lines = format!(
        "Depth: infinity\r\nDestination: http://open.example.test/b\r\nOverwrite: F\r\nCookie: {}; doorward=x\r\n",
        cookies.join("; ")
    );
    let upload = "y".repeat(300_000);
    let (length, chunked) = (format!("Content-Length: {}\r\n", upload.len()), "Transfer-Encoding: chunked\r\n");
    for method in ["PROPFIND", "PROPPATCH", "REPORT", "MOVE", "LOCK", "PUT", "POST", "DELETE", "PATCH"] {
        for (framing, body) in
            [(length.as_str(), upload.clone()), (chunked, format!("{:x}\r\n{upload}\r\n0\r\n\r\n", upload.len()))]
        {
            let told = ask(&gate, &format!("{method} /a%20b?c=/d"), &format!("{lines}{framing}"), &body).await;
            assert_eq!((told.status, told.values("set-cookie").len()), (200, 2), "{method} {framing}");
            let seen: Value = serde_json::from_str(told.body.as_deref().unwrap()).unwrap();
            assert_eq!((&seen["method"], &seen["url"]), (&method.into(), &"/a%20b?c=/d".into()));
            assert_eq!(seen["length"], upload.len(), "{method} {framing}");
            let headers: Vec<_> =
                seen["headers"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
            let header = |name: &str| headers.chunks(2).find(|pair| pair[0] == name).map(|pair| pair[1].to_owned());
            assert_eq!(header("cookie"), Some(cookies.join("; ")));
            assert_eq!(header("destination").as_deref(), Some("http://open.example.test/b"));
            assert_eq!(header("content-length"), framing.starts_with("Content").then(|| upload.len().to_string()));
        }
    }
    let hinted = ask(&gate, "GET /hints", "", "").await;
    assert_eq!(hinted.status, 200, "early hints are between the app and the gate");
    let told = ask_host(&gate, "sub.example.test", "GET /api/live?x", "", "").await;
    let seen: Value = serde_json::from_str(told.body.as_deref().unwrap()).unwrap();
    assert_eq!(seen["url"], "/grafana/api/live?x");
}
