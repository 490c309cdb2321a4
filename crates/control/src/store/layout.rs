//! Where things lie under `/meridian/<cluster>/`.

use meridian_types::{CommitId, Digest, KeyHash, RegionName, TenantName};

use crate::rollout::CellId;

/// The role whose holder plans.
const PLANNER: &str = "planner";

/// Makes and reads the keys of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    prefix: String,
}

/// What a key is about, its variable part included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key<'a> {
    Epoch,
    Head,
    Commit(CommitId),
    Rollout(CommitId),
    Pin { region: &'a str, cell: &'a str },
    Tenant(&'a str),
    Account(KeyHash),
    Override(&'a str),
    Faults,
    Switches,
    Node { region: &'a str, node: &'a str },
    Replica(&'a str),
    Leader,
    Summary(&'a str),
    Plan,
    Audit(&'a str),
    Beacon(&'a str),
}

impl Layout {
    pub(crate) fn new(cluster: &str) -> Self {
        Self { prefix: format!("/meridian/{cluster}/") }
    }

    /// Everything of the cluster.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn epoch(&self) -> String {
        self.key("epoch")
    }

    pub(crate) fn head(&self) -> String {
        self.key("head")
    }

    pub(crate) fn commit(&self, id: CommitId) -> String {
        // Padded, so that keys sort as numbers.
        self.key(&format!("commit/{:020}", id.0))
    }

    pub(crate) fn rollout(&self, commit: CommitId) -> String {
        self.key(&format!("rollout/{:020}", commit.0))
    }

    pub(crate) fn pin(&self, cell: &CellId) -> String {
        self.key(&format!("pin/{cell}"))
    }

    pub(crate) fn tenants(&self) -> String {
        self.key("tenant/")
    }

    pub(crate) fn tenant(&self, name: &TenantName) -> String {
        self.key(&format!("tenant/{name}"))
    }

    pub(crate) fn account_keys(&self) -> String {
        self.key("key/")
    }

    pub(crate) fn account_key(&self, hash: KeyHash) -> String {
        self.key(&format!("key/{}", hash.0))
    }

    pub(crate) fn region_override(&self, region: &RegionName) -> String {
        self.key(&format!("ops/region/{region}"))
    }

    pub(crate) fn faults(&self) -> String {
        self.key("ops/fault/all")
    }

    pub(crate) fn switches(&self) -> String {
        self.key("ops/switch/all")
    }

    pub(crate) fn node(&self, region: &str, node: &str) -> String {
        self.key(&format!("node/{region}/{node}"))
    }

    pub(crate) fn replica(&self, id: &str) -> String {
        self.key(&format!("cp/{id}"))
    }

    pub(crate) fn leader(&self) -> String {
        self.key(&format!("lead/{PLANNER}"))
    }

    pub(crate) fn summary(&self, region: &RegionName) -> String {
        self.key(&format!("sum/{region}"))
    }

    pub(crate) fn plan(&self) -> String {
        self.key("plan")
    }

    pub(crate) fn request(&self, id: &str) -> String {
        self.key(&format!("req/{id}"))
    }

    pub(crate) fn audit(&self, ulid: &str) -> String {
        self.key(&format!("audit/{ulid}"))
    }

    pub(crate) fn beacon(&self, id: &str) -> String {
        self.key(&format!("beacon/{id}"))
    }

    /// Where every replica says that it lives.
    pub(crate) fn replicas(&self) -> String {
        self.key("cp/")
    }

    pub(crate) fn key(&self, rest: &str) -> String {
        format!("{}{rest}", self.prefix)
    }

    /// What a key is about; `None` for keys that the mirror does not hold, and for those of a newer build.
    pub(crate) fn parse<'a>(&self, key: &'a str) -> Option<Key<'a>> {
        let rest = key.strip_prefix(&self.prefix)?;
        let Some((kind, name)) = rest.split_once('/') else {
            return match rest {
                "epoch" => Some(Key::Epoch),
                "head" => Some(Key::Head),
                "plan" => Some(Key::Plan),
                _ => None,
            };
        };
        match kind {
            "commit" => name.parse().ok().map(CommitId).map(Key::Commit),
            "rollout" => name.parse().ok().map(CommitId).map(Key::Rollout),
            "pin" => name.split_once('/').map(|(region, cell)| Key::Pin { region, cell }),
            "tenant" => Some(Key::Tenant(name)),
            "key" => {
                let bytes = hex::decode(name).ok()?;
                Digest::from_slice(&bytes).map(KeyHash).map(Key::Account)
            }
            "ops" if name == "fault/all" => Some(Key::Faults),
            "ops" if name == "switch/all" => Some(Key::Switches),
            "ops" => name.strip_prefix("region/").map(Key::Override),
            "node" => name.split_once('/').map(|(region, node)| Key::Node { region, node }),
            "cp" => Some(Key::Replica(name)),
            "lead" => (name == PLANNER).then_some(Key::Leader),
            "sum" => Some(Key::Summary(name)),
            "audit" => Some(Key::Audit(name)),
            "beacon" => Some(Key::Beacon(name)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_as_they_were_written() {
        let layout = Layout::new("prod");
        let region = RegionName::new("eu-west").unwrap();
        let tenant = TenantName::new("acme").unwrap();
        let hash = KeyHash::of("secret");
        for (key, expected) in [
            (layout.epoch(), Key::Epoch),
            (layout.head(), Key::Head),
            (layout.commit(CommitId(12)), Key::Commit(CommitId(12))),
            (layout.rollout(CommitId(12)), Key::Rollout(CommitId(12))),
            (layout.pin(&CellId::new(&region, "a").unwrap()), Key::Pin { region: "eu-west", cell: "a" }),
            (layout.tenant(&tenant), Key::Tenant("acme")),
            (layout.account_key(hash), Key::Account(hash)),
            (layout.region_override(&region), Key::Override("eu-west")),
            (layout.faults(), Key::Faults),
            (layout.switches(), Key::Switches),
            (layout.node("eu-west", "n1"), Key::Node { region: "eu-west", node: "n1" }),
            (layout.replica("cp-1"), Key::Replica("cp-1")),
            (layout.leader(), Key::Leader),
            (layout.summary(&region), Key::Summary("eu-west")),
            (layout.plan(), Key::Plan),
            (layout.audit("01ABC"), Key::Audit("01ABC")),
            (layout.beacon("cp-1"), Key::Beacon("cp-1")),
        ] {
            assert_eq!(layout.parse(&key), Some(expected), "{key}");
        }
        assert_eq!(layout.parse("/meridian/other/head"), None);
        assert_eq!(layout.parse(&layout.request("x")), None);
        assert!(layout.commit(CommitId(9)) < layout.commit(CommitId(10)));
    }
}
