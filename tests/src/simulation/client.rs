//! Clients of the simulated fleet, with codecs of their own: what is tested must not read its own writing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use meridian_host::Host;
use meridian_testkit::{MemoryFiles, simulated_host};
use meridian_types::key_text;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::eyes::{Eyes, Stage};
use super::fleet::{DNS_PORT, HTTP_PORT, nodes, nodes_of};

/// A resolver asks the next server after this long.
const DNS_PATIENCE: Duration = Duration::from_secs(1);
/// An answer of the simulated provider takes under a second.
const HTTP_PATIENCE: Duration = Duration::from_secs(10);

/// What a client asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) key: &'a str,
    pub(super) stream: bool,
    pub(super) text: &'a str,
}

/// One request for a chat completion, on a connection of its own: status and whole answer.
pub(super) async fn chat(host: &Host, to: &str, key: &str, stream: bool) -> anyhow::Result<(u16, String)> {
    ask(host, to, Question { key, stream, text: "hello" }).await
}

/// As [`chat`], with a text of its own.
pub(super) async fn ask(host: &Host, to: &str, question: Question<'_>) -> anyhow::Result<(u16, String)> {
    let Question { key, stream, text } = question;
    let body = format!(r#"{{"model":"chat","stream":{stream},"messages":[{{"role":"user","content":"{text}"}}]}}"#);
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

/// What the authority on `to` answers about the A records of `name`: the code (0: no error) and the addresses.
pub(super) async fn resolve(host: &Host, to: &str, name: &str) -> anyhow::Result<(u8, Vec<IpAddr>)> {
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
    if buffer.first_chunk::<2>() != Some(&[0x12, 0x34]) {
        bail!("a DNS answer to another question");
    }
    // Every A record is a name (compressed to two bytes), type, class, TTL, length 4 and the address.
    let count = usize::from(u16::from_be_bytes([buffer[6], buffer[7]]));
    let records = answer.chunks_exact(16).take(count);
    let address = |record: &[u8]| <[u8; 4]>::try_from(record.get(12..16)?).ok().map(IpAddr::from);
    let addresses: anyhow::Result<_> =
        records.map(|record| address(record).context("a record that is no A record")).collect();
    Ok((buffer[3] & 0x0f, addresses?))
}

/// The tenant of most clients.
pub(super) const DEMO: &str = "demo";

/// Pause between two requests of a calm client.
const CALM: Duration = Duration::from_millis(350);
/// Requests that a crowd makes at once: more than a region takes.
const CROWD: usize = 40;

/// The key of most clients' tenant.
pub(super) fn key(seed: u64) -> String {
    key_of(seed, DEMO)
}

/// A tenant's key.
pub(super) fn key_of(seed: u64, tenant: &str) -> String {
    let salt = tenant.bytes().fold(0x006b_6579, |salt, byte| salt << 8 ^ u64::from(byte));
    let host = simulated_host(seed ^ salt, Arc::new(MemoryFiles::default()));
    let mut random = [0; 32];
    host.entropy.fill(&mut random);
    key_text(random)
}

/// Asks nodes here and there, many at once during a surge, until the end. A key that is good must never be refused,
/// and a model that is there never be missing.
pub(super) async fn play(seed: u64, eyes: Eyes) -> anyhow::Result<()> {
    let host = simulated_host(seed ^ 0xc1, Arc::new(MemoryFiles::default()));
    let key = key(seed);
    while eyes.stage() == Stage::Starting {
        sleep(CALM).await;
    }
    let nodes = nodes();
    let mut answers: BTreeMap<u16, usize> = BTreeMap::new();
    while eyes.stage() < Stage::Done {
        let asked = match eyes.surging() {
            Some(region) => nodes_of(region).into_iter().cycle().take(CROWD).collect::<Vec<_>>(),
            None => {
                let index = usize::try_from(host.entropy.next_u64() % nodes.len() as u64)?;
                nodes.get(index).cloned().into_iter().collect()
            }
        };
        let requests = asked.iter().map(|to| chat(&host, to, &key, false));
        for answer in futures::future::join_all(requests).await {
            let status = answer.map_or(0, |(status, _)| status);
            *answers.entry(status).or_default() += 1;
            if matches!(status, 401 | 403 | 404) {
                eyes.broken(format!("a client with a good key and a good model was answered {status}"));
            }
        }
        sleep(CALM).await;
    }
    eyes.say(&format!("answers to clients by status: {answers:?}"));
    Ok(())
}
