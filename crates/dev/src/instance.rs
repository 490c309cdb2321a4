//! What a running instance says about itself: one JSON object for scripts and for the command line.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Addresses and a working key of a running `meridian dev`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The admin API, `host:port`.
    pub admin: String,
    /// Base URL of the control plane's `/metrics`; a node has its own beside its HTTP. Empty: an older build wrote this.
    #[serde(default)]
    pub metrics: String,
    /// DNS over UDP and TCP, `host:port`.
    pub dns: String,
    /// The zone that DNS answers for.
    pub zone: String,
    /// A name in it whose answers are steered.
    pub name: String,
    /// A key that opens every node.
    pub key: String,
    /// The provider simulator.
    pub sim: String,
    /// One node a region.
    pub nodes: Vec<InstanceNode>,
    /// The process: who finds a file whose process is gone has found a stale one.
    pub pid: u32,
}

/// A node of the instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceNode {
    /// Its region.
    pub region: String,
    /// Base URL of its public listener.
    pub http: String,
}

impl Instance {
    /// Where the command line looks for a running instance: `$XDG_STATE_HOME/meridian/dev.json`, else
    /// `~/.local/state/meridian/dev.json`
    /// (<https://specifications.freedesktop.org/basedir-spec/latest/>); `None` without a home directory.
    pub fn well_known_path() -> Option<PathBuf> {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))?;
        Some(state.join("meridian/dev.json"))
    }

    /// Reads a file that [`Instance::to_json`] was written to. Blocks.
    pub fn read(path: &Path) -> io::Result<Self> {
        serde_json::from_slice(&std::fs::read(path)?).map_err(io::Error::other)
    }

    /// Whether its process is still there. A number may have been given to another process since, so that the
    /// connection must still be tried.
    pub fn is_alive(&self) -> bool {
        // Linux and macOS differ in /proc; signal 0 asks without touching.
        i32::try_from(self.pid).is_ok_and(|pid| {
            let asked = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None);
            matches!(asked, Ok(()) | Err(nix::errno::Errno::EPERM))
        })
    }

    /// One line of JSON.
    pub fn to_json(&self) -> String {
        // Strings, numbers and lists of them: nothing in it can fail to be written.
        let mut json = serde_json::to_string(self).unwrap_or_default();
        json.push('\n');
        json
    }
}
