//! A running instance: what it prints, and how it stops.

use std::fmt::Write;
use std::path::PathBuf;

use meridian_lifecycle::Tasks;
use meridian_store::embedded::EmbeddedStore;

use crate::Instance;
use crate::seed::Hosted;

/// An instance that serves.
pub struct RunningInstance {
    pub(crate) instance: Instance,
    pub(crate) hosted: Vec<Hosted>,
    pub(crate) own_addresses: bool,
    pub(crate) data_dir: PathBuf,
    pub(crate) tasks: Tasks,
    pub(crate) store: EmbeddedStore,
}

impl RunningInstance {
    /// What scripts and the command line need.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// What listens where, a working key, and three commands to try.
    pub fn banner(&self) -> String {
        let i = &self.instance;
        let mut text = String::from("Meridian is serving.\n\n");
        let mut line = |name: &str, value: &str| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {name:<14} {value}");
        };
        for node in &i.nodes {
            line(&node.region, &format!("{}/v1", node.http));
        }
        line("DNS", &format!("{}, UDP and TCP, zone {}", i.dns, i.zone));
        line("admin API", &i.admin);
        line("metrics", &format!("{}/metrics of the control plane, and each node's own", i.metrics));
        line("simulator", &i.sim);
        line("key", &i.key);
        line("state", &self.data_dir.display().to_string());
        for Hosted { provider, variable, .. } in &self.hosted {
            line("provider", &format!("{provider}, in use because {variable} is set"));
        }
        text.push('\n');
        if !self.own_addresses {
            text.push_str(
                "This platform has only 127.0.0.1, so that the nodes differ by port and a DNS answer, which names none,\nis not enough to reach them.\n\n",
            );
        }
        text.push_str(&self.commands());
        text
    }

    fn commands(&self) -> String {
        let i = &self.instance;
        let (host, port) = i.dns.rsplit_once(':').unwrap_or((&i.dns, "53"));
        let node = i.nodes.first().map(|node| node.http.as_str()).unwrap_or_default();
        let name = &i.name;
        format!(
            r#"Try, in another terminal:

# a streamed chat
curl -N {node}/v1/chat/completions -H 'authorization: Bearer {key}' -H 'content-type: application/json' \
  -d '{{"model": "gpt-4o", "stream": true, "messages": [{{"role": "user", "content": "hello"}}]}}'

# the nearest region, as a client in America and one in Europe see it
dig +short @{host} -p {port} {name} +subnet=192.0.2.0/24; dig +short @{host} -p {port} {name} +subnet=198.51.100.0/24

# move all traffic away from a region; `fleet` says why, `undrain` takes it back
{program} drain eu-west --reason "kernel update" && {program} fleet

Ctrl-C drains and leaves.
"#,
            key = i.key,
            program = program(),
        )
    }

    /// Waits until every part has stopped. Call it when the drain began.
    pub async fn stopped(self) {
        self.tasks.finished().await;
        self.store.close().await;
    }
}

/// As the person who reads it can call it from where they are.
fn program() -> String {
    let path = std::env::current_exe().ok();
    path.map_or_else(|| "meridian".to_owned(), |path| path.display().to_string())
}
