//! A proxy between the gate and the provider, whose faults are planned.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{
    plan::{FaultPlan, WireFault},
    spawn,
};

/// Starts the proxy and returns its address. Each request has a connection of its own.
pub(super) async fn start(provider: SocketAddr, plan: Arc<FaultPlan<WireFault>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let plan = Arc::clone(&plan);
            spawn(async move {
                // An end in the middle is what some of the faults are.
                let _ = pass_on(stream, provider, &plan).await;
            });
        }
    });
    address
}

async fn pass_on(mut gate: TcpStream, provider: SocketAddr, plan: &FaultPlan<WireFault>) -> std::io::Result<()> {
    let Some(request) = read_request(&mut gate).await? else { return Ok(()) };
    let fault = plan.next();
    match fault {
        Some(WireFault::Reset) => return reset(&gate),
        Some(WireFault::Stalled) => {
            let mut rest = Vec::new();
            gate.read_to_end(&mut rest).await?;
            return Ok(());
        }
        Some(WireFault::ServerError) => {
            return answer(gate, "500 Internal Server Error", "text/html", "<h1>no</h1>").await;
        }
        Some(WireFault::EmptyObject) => return answer(gate, "200 OK", "application/json", "{}").await,
        Some(WireFault::Page) => return answer(gate, "200 OK", "text/html", "<h1>Welcome</h1>").await,
        Some(WireFault::Garbage) => return gate.write_all(b"\x00\xff\x16 no HTTP\r\n\r\n").await,
        Some(WireFault::AnswerLost | WireFault::Truncated) | None => {}
    }
    let mut upstream = TcpStream::connect(provider).await?;
    upstream.write_all(&request).await?;
    let mut response = Vec::new();
    upstream.read_to_end(&mut response).await?;
    match fault {
        Some(WireFault::AnswerLost) => reset(&gate),
        Some(WireFault::Truncated) => {
            let body = position(&response).unwrap_or(response.len());
            gate.write_all(response.get(..body + (response.len() - body) / 2).unwrap_or_default()).await
        }
        _ => gate.write_all(&response).await,
    }
}

/// Ends a connection with a reset.
fn reset(gate: &TcpStream) -> std::io::Result<()> {
    gate.set_zero_linger()
}

async fn answer(mut gate: TcpStream, status: &str, media: &str, body: &str) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    gate.write_all(format!("{head}{body}").as_bytes()).await
}

/// Reads one request, and asks for the connection to be closed behind its answer.
async fn read_request(gate: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(body) = position(&bytes)
            && bytes.len() >= body + content_length(&bytes)
        {
            let line = bytes.windows(2).position(|pair| pair == b"\r\n").map_or(0, |end| end + 2);
            bytes.splice(line..line, b"connection: close\r\n".iter().copied());
            return Ok(Some(bytes));
        }
        if gate.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}

/// Returns the place of the body behind a head.
fn position(message: &[u8]) -> Option<usize> {
    message.windows(4).position(|four| four == b"\r\n\r\n").map(|end| end + 4)
}

fn content_length(message: &[u8]) -> usize {
    let head = String::from_utf8_lossy(message).to_ascii_lowercase();
    let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length:"));
    length.and_then(|length| length.trim().parse().ok()).unwrap_or_default()
}
