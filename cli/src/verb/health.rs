//! `lakepulse health`: asks a running process for its health, as the check of containers and supervisors.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use model::Exit;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::args::Common;
use crate::failure::Failure;

/// How long a process may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the process that serves health at `--listen`. Exits with 0 if it is ready, else with 1.
#[allow(clippy::print_stdout, reason = "this is the verb's output")]
pub async fn run(common: &Common) -> Result<Exit, Failure> {
    if common.listen.port() == 0 {
        let unsaid = anyhow!("say which process: `--listen HOST:PORT` as it was started with");
        return Err(Failure::new(Exit::Usage, unsaid));
    }
    let address = reachable(common.listen);
    let (ready, body) = runtime::time::timeout(PATIENCE, ask(address))
        .await
        .map_err(|_| anyhow!("no answer within {PATIENCE:?}"))
        .and_then(|answer| answer)
        .with_context(|| format!("cannot ask the process at `{address}`"))?;
    if common.json {
        println!("{body}");
    } else {
        println!("{}", if ready { "ready" } else { "not ready" });
        let components: Value = serde_json::from_str(&body).context("the answer is not that of lakepulse")?;
        for (name, status) in components["components"].as_object().into_iter().flatten() {
            let reason = status["reason"].as_str().unwrap_or_default();
            println!("  {name:<20} {} {reason}", status["status"].as_str().unwrap_or_default());
        }
    }
    Ok(if ready { Exit::Done } else { Exit::Failed })
}

/// An address for a request: if the process listens on every address, this machine's loopback address.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// Sends one HTTP/1.0 request, whose answer ends with the connection and has no chunks.
async fn ask(address: SocketAddr) -> anyhow::Result<(bool, String)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET /health HTTP/1.0\r\nhost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { bail!("the answer is not HTTP") };
    match head.split(' ').nth(1) {
        Some("200") => Ok((true, body.to_owned())),
        Some("503") => Ok((false, body.to_owned())),
        other => bail!("the answer has status {}", other.unwrap_or("none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_listens_everywhere_is_asked_here() {
        let at = |text: &str| reachable(text.parse().expect("an address")).to_string();
        assert_eq!(at("0.0.0.0:9464"), "127.0.0.1:9464");
        assert_eq!(at("[::]:9464"), "[::1]:9464");
        assert_eq!(at("10.0.0.7:9464"), "10.0.0.7:9464");
    }
}
