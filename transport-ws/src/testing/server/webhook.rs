//! Posting an event, over plain HTTP.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::testing::engine::WebhookCall;

/// Makes one attempt. `true` if it was answered with 2xx in time.
pub(crate) async fn post(call: &WebhookCall) -> bool {
    matches!(tokio::time::timeout(TIMEOUT, attempt(call)).await, Ok(Ok(200..=299)))
}

async fn attempt(call: &WebhookCall) -> io::Result<u16> {
    let url = url::Url::parse(&call.url).map_err(io::Error::other)?;
    let (Some(host), Some(port), "http") = (url.host_str(), url.port_or_known_default(), url.scheme()) else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let mut stream = TcpStream::connect((host, port)).await?;
    let request = format!(
        "POST {} HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         x-agentchat-event: {}\r\nx-agentchat-delivery: {}\r\nx-agentchat-signature: {}\r\nconnection: close\r\n\r\n{}",
        url.path(),
        call.body.len(),
        call.event,
        call.delivery,
        call.signature,
        call.body,
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut piece = [0; 512];
    while !answer.contains(&b'\n') && answer.len() < 4096 {
        match stream.read(&mut piece).await? {
            0 => break,
            length => answer.extend_from_slice(&piece[..length]),
        }
    }
    let line = String::from_utf8_lossy(&answer);
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

const TIMEOUT: Duration = Duration::from_secs(10);
