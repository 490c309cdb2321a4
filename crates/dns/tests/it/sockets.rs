//! Over real sockets.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use meridian_dns::{Handle, MAX_CONNECTIONS, MAX_CONNECTIONS_OF_NETWORK, Options, Service};
use meridian_host::Host;
use meridian_lifecycle::{ShutdownTrigger, shutdown};
use meridian_types::{CommitId, RegionState};
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::world::{EU, PARIS, Query, answered, configuration, plan, with_state, zone};

const PATIENCE: Duration = Duration::from_secs(5);

struct Running {
    udp: SocketAddr,
    tcp: SocketAddr,
    handle: Handle,
    registry: Registry,
    trigger: ShutdownTrigger,
    task: JoinHandle<std::io::Result<()>>,
}

async fn start() -> Running {
    let host = Host::real();
    let loopback = "127.0.0.1:0".parse().unwrap();
    let options = Options {
        udp: host.net.datagrams(loopback, 2).await.unwrap(),
        tcp: host.net.listen(loopback).await.unwrap(),
        geo: None,
        geo_file: None,
        node: "node-1".to_owned(),
        host: host.clone(),
        cookies: None,
        rate_limit: None,
        query_log_one_in: None,
    };
    let mut registry = Registry::default();
    let service = Service::new(options, &mut registry);
    let (udp, tcp) = service.local_addresses().unwrap();
    let handle = service.handle();
    handle.update(CommitId(3), Arc::new(configuration(zone())), Some(Arc::new(plan())));
    let (trigger, seen) = shutdown();
    Running { udp, tcp, handle, registry, trigger, task: tokio::spawn(service.run(seen)) }
}

impl Running {
    async fn over_udp(&self, packet: &[u8]) -> Message {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(packet, self.udp).await.unwrap();
        let mut buffer = [0; 4096];
        let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("in time").unwrap();
        Message::from_vec(&buffer[..length]).unwrap()
    }

    async fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }
}

async fn read(stream: &mut TcpStream) -> Message {
    let read = async {
        let length = stream.read_u16().await.unwrap();
        let mut bytes = vec![0; length.into()];
        stream.read_exact(&mut bytes).await.unwrap();
        Message::from_vec(&bytes).unwrap()
    };
    timeout(PATIENCE, read).await.expect("in time")
}

fn framed(packet: &[u8]) -> Vec<u8> {
    [&(packet.len() as u16).to_be_bytes()[..], packet].concat()
}

#[tokio::test]
async fn an_update_changes_the_next_answer_and_the_drain_ends_the_service() {
    let running = start().await;
    let query = Query::new("api", RecordType::A).subnet(PARIS).bytes();
    assert_eq!(answered(&running.over_udp(&query).await), ["192.0.2.2", "192.0.2.1"]);
    running.handle.set_plan(Arc::new(with_state(plan(), EU, RegionState::Drained)));
    assert_eq!(answered(&running.over_udp(&query).await), ["192.0.2.1", "192.0.2.3"]);
    // Noise in between is not answered and does no harm.
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&[1, 2, 3], running.udp).await.unwrap();
    running.over_udp(&Query::new("none", RecordType::A).bytes()).await;
    let metrics = running.metrics().await;
    for line in [
        "queries_total{zone=\"gslb.example\",type=\"A\",rcode=\"NOERROR\",region=\"eu-west\",transport=\"udp\"} 1",
        "queries_total{zone=\"gslb.example\",type=\"A\",rcode=\"NOERROR\",region=\"us-west\",transport=\"udp\"} 1",
        "queries_total{zone=\"gslb.example\",type=\"A\",rcode=\"NXDOMAIN\",region=\"none\",transport=\"udp\"} 1",
        "dropped_total 1",
    ] {
        assert!(metrics.contains(&format!("meridian_dns_{line}\n")), "{line} not in {metrics}");
    }
    running.trigger.drain();
    timeout(PATIENCE, running.task).await.expect("in time").unwrap().unwrap();
}

#[tokio::test]
async fn names_whose_answers_find_no_room_are_counted() {
    let running = start().await;
    let check = async |plan, unready| {
        running.handle.set_plan(Arc::new(plan));
        let metrics = running.metrics().await;
        assert!(metrics.contains(&format!("meridian_dns_unready_names {unready}\n")), "{unready} not in {metrics}");
    };
    check(plan(), 0).await;
    // Where the regions behind are ordered by weight, each address is in front of 60 answers of 32 bytes: for everybody, and
    // for those of whom nobody knows where they are.
    let mut crowded = plan();
    let addresses = (1..=5_000).map(|n| Ipv4Addr::from_bits(0x0A00_0000 | n).into());
    crowded.regions.get_mut(EU).unwrap().addresses = addresses.collect();
    check(crowded, 2).await;
    check(plan(), 0).await;
}

#[tokio::test]
async fn a_connection_carries_several_queries_and_large_answers() {
    let running = start().await;
    let mut stream = TcpStream::connect(running.tcp).await.unwrap();
    let queries = [("www", RecordType::A), ("many", RecordType::TXT), ("none", RecordType::A)];
    let mut packets = Vec::new();
    for (id, (name, qtype)) in queries.iter().enumerate() {
        let query = Query { id: id as u16, ..Query::new(name, *qtype) };
        packets.extend(framed(&query.bytes()));
    }
    // Everything at once, and the last byte late.
    let (last, first) = packets.split_last().unwrap();
    stream.write_all(first).await.unwrap();
    let answers = [read(&mut stream).await, read(&mut stream).await];
    stream.write_all(&[*last]).await.unwrap();
    let third = read(&mut stream).await;
    assert_eq!([answers[0].id, answers[1].id, third.id], [0, 1, 2]);
    assert_eq!([answers[0].answers.len(), answers[1].answers.len(), third.answers.len()], [2, 40, 0]);
}

#[tokio::test]
async fn a_connection_that_sends_no_dns_is_closed() {
    let running = start().await;
    for noise in [framed(&[0; 5]), framed(&Query::new("www", RecordType::A).flags(0x8000).bytes())] {
        let mut stream = TcpStream::connect(running.tcp).await.unwrap();
        stream.write_all(&noise).await.unwrap();
        let closed = timeout(PATIENCE, stream.read_u8()).await.expect("in time");
        assert!(closed.is_err());
    }
}

#[tokio::test]
async fn the_drain_closes_idle_connections() {
    let running = start().await;
    let mut stream = TcpStream::connect(running.tcp).await.unwrap();
    stream.write_all(&framed(&Query::new("www", RecordType::A).bytes())).await.unwrap();
    read(&mut stream).await;
    running.trigger.drain();
    assert!(timeout(PATIENCE, stream.read_u8()).await.expect("in time").is_err());
    timeout(PATIENCE, running.task).await.expect("in time").unwrap().unwrap();
}

/// A connection from some network of the loopback; whether it is served.
async fn asks_from(network: u8, running: &Running) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 1, network, 1], 0))).unwrap();
    let mut stream = timeout(PATIENCE, socket.connect(running.tcp)).await.expect("in time").unwrap();
    let query = framed(&Query::new("www", RecordType::A).bytes());
    let asked = async { stream.write_all(&query).await.is_ok() && stream.read_u16().await.is_ok() };
    timeout(PATIENCE, asked).await.expect("in time").then_some(stream)
}

#[tokio::test]
async fn too_many_connections_are_closed_at_once_and_a_place_that_is_left_is_taken() {
    let running = start().await;
    let networks = u8::try_from(MAX_CONNECTIONS / MAX_CONNECTIONS_OF_NETWORK).unwrap();
    let mut open = Vec::new();
    for network in 0..networks {
        for _ in 0..MAX_CONNECTIONS_OF_NETWORK {
            open.push(asks_from(network, &running).await.expect("there is a place"));
        }
    }
    assert!(asks_from(networks, &running).await.is_none());
    drop(open);
    while asks_from(networks, &running).await.is_none() {}
}

#[tokio::test]
async fn one_network_leaves_places_for_others() {
    let running = start().await;
    let mut open = Vec::new();
    for _ in 0..MAX_CONNECTIONS_OF_NETWORK {
        open.push(asks_from(0, &running).await.expect("there is a place"));
    }
    assert!(asks_from(0, &running).await.is_none());
    assert!(asks_from(1, &running).await.is_some());
    open.pop();
    while asks_from(0, &running).await.is_none() {}
}

/// An in-memory connection keeps the paused clock in charge: nothing happens but time.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_when_its_time_is_over() {
    struct One(Option<meridian_host::Connection>);
    #[async_trait::async_trait]
    impl meridian_host::Listen for One {
        async fn accept(&mut self) -> std::io::Result<meridian_host::Connection> {
            match self.0.take() {
                Some(connection) => Ok(connection),
                None => std::future::pending().await,
            }
        }
        fn local_addr(&self) -> std::io::Result<SocketAddr> {
            Ok(SocketAddr::from(([127, 0, 0, 1], 53)))
        }
    }
    let (mut client, server) = tokio::io::duplex(1024);
    let address = SocketAddr::from(([127, 0, 0, 1], 53));
    let connection = meridian_host::Connection { io: Box::new(server), peer: address, local: address };
    let host = Host::real();
    let udp = host.net.datagrams("127.0.0.1:0".parse().unwrap(), 1).await.unwrap();
    let tcp = Box::new(One(Some(connection)));
    let options = Options {
        udp,
        tcp,
        geo: None,
        geo_file: None,
        node: String::new(),
        host,
        cookies: None,
        rate_limit: None,
        query_log_one_in: None,
    };
    let service = Service::new(options, &mut Registry::default());
    let (_trigger, seen) = shutdown();
    let _task = tokio::spawn(service.run(seen));
    let begun = tokio::time::Instant::now();
    // Half a message does not buy more time.
    client.write_all(&[0, 99, 1, 2, 3]).await.unwrap();
    assert!(client.read_u8().await.is_err());
    let lasted = begun.elapsed();
    assert!((Duration::from_secs(10)..Duration::from_secs(11)).contains(&lasted), "{lasted:?}");
}
