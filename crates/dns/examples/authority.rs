//! A small fleet's zone on loopback, to be asked by hand:
//!
//! ```text
//! cargo run -p meridian-dns --example authority [ADDRESS [GEO_DATABASE]]
//! dig @127.0.0.1 -p 5300 api.gslb.example +subnet=203.0.113.0/24 +nsid
//! ```

#![expect(clippy::print_stdout, reason = "a program for a terminal")]

#[path = "support/fleet.rs"]
mod fleet;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use meridian_dns::{GeoDatabase, Options, RateLimit, Service};
use meridian_host::Host;
use meridian_types::CommitId;
use prometheus_client::registry::Registry;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let host = Host::real();
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().as_deref().unwrap_or("127.0.0.1:5300").parse()?;
    let geo = match arguments.next() {
        Some(path) => Some(GeoDatabase::load(&*host.files, Path::new(&path)).await?),
        None => None,
    };
    let options = Options {
        udp: host.net.datagrams(address, 1).await?,
        tcp: host.net.listen(address).await?,
        geo,
        geo_file: None,
        node: "example".to_owned(),
        host: host.clone(),
        cookies: None,
        rate_limit: Some(RateLimit::default()),
        query_log_one_in: None,
    };
    let service = Service::new(options, &mut Registry::default());
    let handle = service.handle();
    handle.update(CommitId(1), Arc::new(fleet::configuration()?), Some(Arc::new(fleet::plan()?)));
    println!("answering for gslb.example on {address}");
    for line in handle.explain("api.gslb.example", "203.0.113.0/24") {
        println!("  {line}");
    }
    let (trigger, shutdown) = meridian_lifecycle::shutdown();
    tokio::spawn(meridian_lifecycle::on_signals(trigger, Duration::from_secs(1)));
    Ok(service.run(shutdown).await?)
}
