//! Clients of the simulated fleet, with codecs of their own: what is tested must not read its own writing.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, bail};
use meridian_host::Host;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::fleet::{DNS_PORT, HTTP_PORT};

/// A resolver asks the next server after this long.
const DNS_PATIENCE: Duration = Duration::from_secs(1);
/// An answer of the simulated provider takes under a second.
const HTTP_PATIENCE: Duration = Duration::from_secs(10);

/// One request for a chat completion, on a connection of its own: status and whole answer.
pub(super) async fn chat(host: &Host, to: &str, key: &str, stream: bool) -> anyhow::Result<(u16, String)> {
    let body = format!(r#"{{"model":"chat","stream":{stream},"messages":[{{"role":"user","content":"hello"}}]}}"#);
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {to}\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let exchange = async {
        let mut connection = host.net.connect(&format!("{to}:{HTTP_PORT}")).await?;
        connection.io.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        connection.io.read_to_end(&mut answer).await?;
        anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = timeout(HTTP_PATIENCE, exchange).await.context("no answer in time")??;
    let status = answer.split(' ').nth(1).context("no status line")?.parse()?;
    Ok((status, answer))
}

/// The A records of `name`, as the authority on `to` answers.
pub(super) async fn resolve(host: &Host, to: &str, name: &str) -> anyhow::Result<Vec<IpAddr>> {
    let mut query = vec![0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len())?);
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    let socket = host.net.datagram((Ipv4Addr::UNSPECIFIED, 0).into()).await?;
    socket.send_to(&query, (turmoil::lookup(to), DNS_PORT).into()).await?;
    let mut buffer = [0; 1232];
    let (length, _) = timeout(DNS_PATIENCE, socket.recv_from(&mut buffer)).await.context("no DNS answer in time")??;
    let answer = buffer.get(query.len()..length).context("a DNS answer shorter than its question")?;
    if buffer.first_chunk::<2>() != Some(&[0x12, 0x34]) || buffer[3] & 0x0f != 0 {
        bail!("DNS answer with rcode {}", buffer[3] & 0x0f);
    }
    // Every A record is a name (compressed to two bytes), type, class, TTL, length 4 and the address.
    let count = usize::from(u16::from_be_bytes([buffer[6], buffer[7]]));
    let records = answer.chunks_exact(16).take(count);
    let address = |record: &[u8]| <[u8; 4]>::try_from(record.get(12..16)?).ok().map(IpAddr::from);
    records.map(|record| address(record).context("a record that is no A record")).collect()
}
