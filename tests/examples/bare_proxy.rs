//! The floor of `tests/bench-proxy`: a proxy of hyper and nothing else, with the server, pool and socket options of a node.
//! What a node costs more than this is what it does for it. `bare_proxy LISTEN UPSTREAM`, both `address:port`.

use anyhow::Context;
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

type Body = http_body_util::combinators::BoxBody<Bytes, hyper::Error>;
type Pool = Client<HttpConnector, Incoming>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(upstream)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("bare_proxy LISTEN UPSTREAM");
    };
    let listener = TcpListener::bind(&listen).await.with_context(|| format!("listen on {listen}"))?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let pool: Pool = Client::builder(TokioExecutor::new()).build(connector);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (pool, upstream) = (pool.clone(), upstream.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| forward(&pool, &upstream, request));
            // A client that breaks off ends its connection and nothing else.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn forward(pool: &Pool, upstream: &str, mut request: Request<Incoming>) -> anyhow::Result<Response<Body>> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = Uri::builder().scheme("http").authority(upstream).path_and_query(path).build()?;
    // The pool writes the upstream's.
    request.headers_mut().remove(hyper::header::HOST);
    Ok(pool.request(request).await?.map(BodyExt::boxed))
}
