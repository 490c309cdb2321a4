//! A simulator on an address of choice: `cargo run -p meridian-sim --example serve -- 127.0.0.1:8089`.

use std::sync::Arc;

use meridian_host::{Network, SystemClock, TcpNetwork};
use meridian_lifecycle::shutdown;
use meridian_sim::{Options, Simulator};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8089".to_owned()).parse()?;
    let listener = TcpNetwork.listen(address).await?;
    // Ends with the process: there is nothing to drain.
    let (_trigger, shutdown) = shutdown();
    Simulator::new(Options::default(), Arc::new(SystemClock)).serve(listener, shutdown).await?;
    Ok(())
}
