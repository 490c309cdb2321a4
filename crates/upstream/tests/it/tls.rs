//! An upstream over TLS that would rather speak HTTP/2, as all large providers do.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use meridian_host::{Host, Listen, TcpNetwork};
use meridian_identity::{Authority, Pem, ServerTls};
use meridian_types::provider::{DEFAULT_PROBE_INTERVAL, Probe, ProbeKind};
use meridian_upstream::Sign;
use tokio::sync::Barrier;
use tokio::time::timeout;

use crate::support::{PATIENCE, ask, transport, upstream};

/// Streams that the upstream takes at once on one connection: few, so that few requests show it.
const STREAMS: u32 = 2;

/// Requests at once.
const REQUESTS: usize = 40;

/// Serves on `listener`; no request is answered before `REQUESTS` are there at the same time. Counts those over HTTP/1.1.
async fn serve(mut listener: Box<dyn Listen>, tls: ServerTls, plain: Arc<AtomicUsize>) {
    let all = Arc::new(Barrier::new(REQUESTS));
    loop {
        let connection = listener.accept().await.unwrap();
        let (tls, all, plain) = (tls.clone(), Arc::clone(&all), Arc::clone(&plain));
        tokio::spawn(async move {
            let Ok((connection, _)) = tls.accept(connection).await else { return };
            let answer = service_fn(move |request: Request<Incoming>| {
                let (all, plain) = (Arc::clone(&all), Arc::clone(&plain));
                async move {
                    if request.version() == Version::HTTP_11 {
                        plain.fetch_add(1, Ordering::Relaxed);
                    }
                    all.wait().await;
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"{}"))))
                }
            });
            let mut builder = Builder::new(TokioExecutor::new());
            builder.http2().max_concurrent_streams(STREAMS);
            let _ = builder.serve_connection(TokioIo::new(connection.io), answer).await;
        });
    }
}

/// Where it listens, whom to trust, and how many requests came over HTTP/1.1.
async fn start() -> (SocketAddr, tempfile::TempDir, Arc<AtomicUsize>) {
    let host = Host::real();
    let now = host.clock.now_unix_ms();
    let authority = Authority::generate("test", now).unwrap();
    let identity = "spiffe://meridian/control/-/provider".parse().unwrap();
    let pem = authority.issue_pem(&identity, &["127.0.0.1".to_owned()], now).unwrap();
    // Without an authority of its own it is a public one, which offers HTTP/2 before HTTP/1.1.
    let tls = ServerTls::from_pem(&Pem { ca: None, ..pem }).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ca.pem"), authority.certificate_pem()).unwrap();
    let listener = host.net.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (address, plain) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    tokio::spawn(serve(listener, tls, Arc::clone(&plain)));
    (address, dir, plain)
}

#[tokio::test]
async fn requests_at_once_are_served_at_once_and_none_waits_behind_a_limit_of_streams() {
    let (address, dir, plain) = start().await;
    let transport = transport(Arc::new(TcpNetwork), Some(dir.path().join("ca.pem"))).await;
    let upstream = upstream(&transport, &format!("https://{address}/v1"), None);
    let all = futures::future::join_all((0..REQUESTS).map(|_| ask(&upstream)));
    let answers = timeout(PATIENCE, all).await.expect("they do not wait for each other");
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|status| status.is_success())), "{answers:?}");
    assert_eq!(plain.load(Ordering::Relaxed), REQUESTS);
}

#[tokio::test]
async fn a_probe_that_only_connects_wants_a_certificate_that_is_trusted() {
    let (address, dir, plain) = start().await;
    let probe = || Some(Probe { interval: DEFAULT_PROBE_INTERVAL, kind: ProbeKind::Connect });
    for (extra_ca, expected) in [(Some(dir.path().join("ca.pem")), Sign::Alive), (None, Sign::Dead)] {
        let transport = transport(Arc::new(TcpNetwork), extra_ca).await;
        let upstream = upstream(&transport, &format!("https://{address}/v1"), probe());
        assert_eq!(upstream.probe().await.sign, expected);
    }
    assert_eq!(plain.load(Ordering::Relaxed), 0, "nothing is requested");
}
