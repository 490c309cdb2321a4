//! What a node runs: one configuration, compiled, immutable, swapped whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use meridian_control_client::Published;
use meridian_providers as providers;
use meridian_routing::{Availability, Health, Table, TargetId};
use meridian_types::model::Policy;
use meridian_types::{Digest, ErrorCode, Kind, Mistake, ModelName, Provider, ProviderName, served};
use meridian_upstream::{Transport, Upstream};

use crate::account::Account;
use crate::hedge::Budget;
use crate::switches::Held;
use crate::target::Target;

/// One compiled configuration.
pub(crate) struct Snapshot {
    pub(crate) published: Arc<Published>,
    pub(crate) table: Table,
    pub(crate) providers: BTreeMap<ProviderName, Arc<Account>>,
    pub(crate) targets: BTreeMap<TargetId, Arc<Target>>,
    /// What models that hedge may spend on it.
    pub(crate) hedges: BTreeMap<ModelName, Arc<Budget>>,
    /// Seconds since 1970.
    pub(crate) loaded_at: i64,
}

impl Snapshot {
    /// Compiles. What did not change is taken over from `previous`: pools, breakers, statistics.
    ///
    /// # Errors
    /// Every provider that this build cannot speak to.
    pub(crate) fn compile(
        published: Arc<Published>,
        previous: Option<&Self>,
        transport: &Transport,
        now_unix_ms: i64,
    ) -> Result<Self, Vec<Mistake>> {
        let configuration = &published.configuration;
        let mut mistakes = Vec::new();
        let mut accounts = BTreeMap::new();
        for (name, provider) in &configuration.providers {
            let before = previous.and_then(|snapshot| snapshot.providers.get(name));
            match account(provider, before, transport) {
                Ok(account) => drop(accounts.insert(name.clone(), account)),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let table = Table::compile(configuration);
        let targets = table
            .targets()
            .into_iter()
            .map(|id| {
                let before = previous.and_then(|snapshot| {
                    let same = same_upstream(snapshot.providers.get(&id.provider)?, accounts.get(&id.provider)?);
                    snapshot.targets.get(&id).filter(|_| same)
                });
                let target = before.map_or_else(|| Arc::new(Target::new(id.clone())), Arc::clone);
                (id, target)
            })
            .collect();
        let hedges = configuration.models.iter().filter_map(|(name, model)| {
            let of = model.policy.hedge?;
            let before = previous.and_then(|snapshot| snapshot.hedges.get(name)).filter(|before| before.of == of);
            Some((name.clone(), before.map_or_else(|| Arc::new(Budget::new(of)), Arc::clone)))
        });
        let hedges = hedges.collect();
        Ok(Self { table, providers: accounts, targets, hedges, loaded_at: now_unix_ms / 1000, published })
    }
}

impl Snapshot {
    /// How requests for the model are treated.
    pub(crate) fn policy(&self, model: &str) -> Policy {
        self.published.configuration.models.get(model).map(|model| model.policy.clone()).unwrap_or_default()
    }

    /// Of what requests are served from now: the tables themselves, not what they once were made from.
    pub(crate) fn tables_digest(&self) -> Digest {
        let providers = self.providers.values().map(|account| account.upstream.provider());
        served::digest(providers, self.table.routes(|model| self.policy(model.as_str())))
    }

    /// What is known of the target while `off` is switched off, for a request that is `streamed` or not.
    pub(crate) fn health(&self, id: &TargetId, off: &Held, streamed: bool) -> Health {
        let load = self.targets.get(id).map(|target| target.load(streamed)).unwrap_or_default();
        Health { availability: self.availability(id), is_off: off.is_off(id), load }
    }

    /// Whether the target would be asked now.
    pub(crate) fn availability(&self, id: &TargetId) -> Availability {
        match (self.targets.get(id), self.providers.get(&id.provider)) {
            (Some(target), Some(account)) => target.availability(account),
            _ => Availability::Available,
        }
    }
}

/// What was learned of a target holds for one address and one credential.
fn same_upstream(before: &Account, now: &Account) -> bool {
    let key = |account: &Account| {
        let Provider { codec, base_url, credential, .. } = account.upstream.provider().clone();
        (codec, base_url, credential)
    };
    key(before) == key(now)
}

fn account(provider: &Provider, before: Option<&Arc<Account>>, transport: &Transport) -> Result<Arc<Account>, Mistake> {
    if let Some(same) = before.filter(|before| before.upstream.provider() == provider) {
        return Ok(Arc::clone(same));
    }
    let mistake = |path: &str, code, text: String| Mistake {
        kind: Kind::Provider,
        name: provider.name.to_string(),
        path: path.to_owned(),
        code,
        text,
    };
    let codec = providers::find(&provider.codec).ok_or_else(|| {
        let known = providers::names().join(", ");
        let text = format!("there is no codec {:?}; there are: {known}", provider.codec);
        mistake("codec", ErrorCode::UnknownReference, text)
    })?;
    Upstream::new(transport, provider.clone(), codec)
        .map(|upstream| Arc::new(Account::new(upstream)))
        .map_err(|error| mistake("baseUrl", ErrorCode::InvalidField, error.to_string()))
}
