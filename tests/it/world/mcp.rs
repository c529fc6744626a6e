//! The official MCP server and client of `tests/neighbours` as processes.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    ports,
    process::{self, Process},
    visitor,
};

/// An MCP server without any sign-in of its own, at `/mcp`.
pub(crate) struct McpServer {
    /// Port.
    pub(crate) port: u16,
    _process: Process,
}

impl McpServer {
    /// Starts it and waits until it responds. `dir` is for its log.
    pub(crate) async fn start(dir: &Path) -> Self {
        let port = ports::free();
        let mut command = process::tool("node");
        command.arg(process::neighbours().join("mcp-server.mjs")).arg(port.to_string());
        let mut process = Process::start("mcp-server", &mut command, dir);
        let url = format!("http://127.0.0.1:{port}/mcp");
        process.until(|| visitor::responds(&url)).await;
        Self { port, _process: process }
    }
}

/// Has an MCP client connect to a server as this person, and returns what it tells (`mcp-client.mjs`). `dir` holds the authority
/// that it trusts.
pub(crate) fn mcp_client(dir: &Path, server: &str, user: &str) -> Value {
    let mut command = process::tool("node");
    command.arg(process::neighbours().join("mcp-client.mjs"));
    command.arg(json!({ "server": server, "user": user }).to_string());
    command.env("NODE_EXTRA_CA_CERTS", dir.join("ca.pem"));
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&told).unwrap_or_else(|error| {
        panic!("{error}: {told}\n{}", String::from_utf8_lossy(&output.stderr));
    })
}
