//! Standing faults: rules that match requests by model, path, client or header, for a number of times or until cleared.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Fault, SpecError, parse_specs};

/// Rules at once; each request looks at all of them.
const MAX_RULES: usize = 256;

/// One standing fault, as the admin endpoint takes and shows it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Unique name.
    pub name: String,
    /// Which requests; by default all.
    #[serde(rename = "match", default)]
    pub matches: Match,
    /// Fault spec, see the crate documentation.
    pub fault: String,
    /// How many requests it strikes before it is spent; by default it strikes until it is cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Chance that it strikes a matching request, 0 to 1; by default it always does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
}

/// What a request must be for a rule to strike; everything given must hold.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Model name; a trailing `*` matches any ending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Request path; a trailing `*` matches any ending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Address or network of the caller: `127.0.1.2`, `127.0.1.0/24`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// A request header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderMatch>,
}

/// A request header to look for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderMatch {
    /// Its name, in any case.
    pub name: String,
    /// Its value, a trailing `*` matches any ending; by default presence is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Why a rule is refused.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// Its fault spec is not understood.
    #[error("rule {name:?} has a bad fault")]
    Fault {
        /// Name of the rule.
        name: String,
        /// What is wrong.
        #[source]
        source: SpecError,
    },
    /// Its client is neither an address nor a network.
    #[error("rule {name:?}: client {client:?} is not an address or a network")]
    Client {
        /// Name of the rule.
        name: String,
        /// What was given.
        client: String,
    },
    /// Its probability is not one.
    #[error("rule {name:?}: probability is not between 0 and 1")]
    Probability {
        /// Name of the rule.
        name: String,
    },
    /// Two rules have this name.
    #[error("two rules are named {0:?}")]
    Duplicate(String),
    /// There would be more than 256.
    #[error("more than {MAX_RULES} rules")]
    TooMany,
}

/// The request, or at accept only the client, that rules are held against.
pub(crate) struct Subject<'a> {
    pub(crate) client: IpAddr,
    pub(crate) path: &'a str,
    pub(crate) model: Option<&'a str>,
    pub(crate) headers: &'a http::HeaderMap,
}

/// The standing rules of a simulator.
#[derive(Debug)]
pub struct Rules {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rules: Vec<Standing>,
    random: StdRng,
}

#[derive(Debug)]
struct Standing {
    rule: Rule,
    client: Option<IpNet>,
    faults: Arc<[Fault]>,
    since: Instant,
    applied: u64,
}

/// A rule and how often it has struck.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    #[serde(flatten)]
    rule: Rule,
    /// Requests, and for `refuse` connections, that it has struck.
    applied: u64,
}

/// Faults of one rule that strike, and how long ago the rule was set.
pub(crate) struct Strike {
    pub(crate) faults: Arc<[Fault]>,
    pub(crate) age: Duration,
}

impl Rules {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: Mutex::new(State { rules: Vec::new(), random: StdRng::seed_from_u64(seed) }) }
    }

    /// Replaces all rules; none is changed when one is refused.
    ///
    /// # Errors
    /// The first rule that is not understood.
    pub fn replace(&self, rules: Vec<Rule>) -> Result<(), RuleError> {
        if rules.len() > MAX_RULES {
            return Err(RuleError::TooMany);
        }
        let mut standing: Vec<Standing> = Vec::with_capacity(rules.len());
        for rule in rules {
            if standing.iter().any(|other| other.rule.name == rule.name) {
                return Err(RuleError::Duplicate(rule.name));
            }
            standing.push(Standing::new(rule)?);
        }
        self.lock().rules = standing;
        Ok(())
    }

    /// Sets one rule; one of the same name is replaced and starts anew.
    ///
    /// # Errors
    /// The rule is not understood, or there are too many.
    pub fn put(&self, rule: Rule) -> Result<(), RuleError> {
        let standing = Standing::new(rule)?;
        let mut state = self.lock();
        if let Some(place) = state.rules.iter_mut().find(|other| other.rule.name == standing.rule.name) {
            *place = standing;
        } else if state.rules.len() < MAX_RULES {
            state.rules.push(standing);
        } else {
            return Err(RuleError::TooMany);
        }
        Ok(())
    }

    /// Removes one rule; whether it was there.
    pub fn remove(&self, name: &str) -> bool {
        let mut state = self.lock();
        let before = state.rules.len();
        state.rules.retain(|standing| standing.rule.name != name);
        state.rules.len() < before
    }

    /// Removes every rule.
    pub fn clear(&self) {
        self.lock().rules.clear();
    }

    /// The rules, spent ones included.
    pub fn status(&self) -> Vec<Status> {
        self.lock().rules.iter().map(|s| Status { rule: s.rule.clone(), applied: s.applied }).collect()
    }

    /// Whether a connection of this client is reset at accept.
    pub(crate) fn refuses(&self, client: IpAddr) -> bool {
        let headers = http::HeaderMap::new();
        let subject = Subject { client, path: "", model: None, headers: &headers };
        let strikes = self.strike(&subject, |standing| {
            standing.rule.matches.only_client() && standing.faults.contains(&Fault::Refuse)
        });
        !strikes.is_empty()
    }

    /// The rules that strike this request, in order; each is counted.
    pub(crate) fn strikes(&self, subject: &Subject<'_>) -> Vec<Strike> {
        self.strike(subject, |_| true)
    }

    fn strike(&self, subject: &Subject<'_>, wanted: impl Fn(&Standing) -> bool) -> Vec<Strike> {
        let mut state = self.lock();
        let State { rules, random } = &mut *state;
        let mut strikes = Vec::new();
        for standing in rules.iter_mut().filter(|standing| wanted(standing) && standing.matches(subject)) {
            if standing.rule.probability.is_some_and(|chance| !random.random_bool(chance)) {
                continue;
            }
            standing.applied += 1;
            strikes.push(Strike { faults: standing.faults.clone(), age: standing.since.elapsed() });
        }
        strikes
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing in here panics half-way through a change, so the state behind a poisoned lock is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    fn new(rule: Rule) -> Result<Self, RuleError> {
        let faults =
            parse_specs(&rule.fault).map_err(|source| RuleError::Fault { name: rule.name.clone(), source })?.into();
        let client = match &rule.matches.client {
            None => None,
            Some(text) => {
                let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
                Some(network.map_err(|_| RuleError::Client { name: rule.name.clone(), client: text.clone() })?)
            }
        };
        if rule.probability.is_some_and(|chance| !(0.0..=1.0).contains(&chance)) {
            return Err(RuleError::Probability { name: rule.name });
        }
        Ok(Self { rule, client, faults, since: Instant::now(), applied: 0 })
    }

    fn matches(&self, subject: &Subject<'_>) -> bool {
        let Match { model, path, header, .. } = &self.rule.matches;
        self.rule.count.is_none_or(|count| self.applied < count)
            && self.client.is_none_or(|network| network.contains(&subject.client.to_canonical()))
            && model.as_ref().is_none_or(|pattern| subject.model.is_some_and(|model| like(pattern, model)))
            && path.as_ref().is_none_or(|pattern| like(pattern, subject.path))
            && header.as_ref().is_none_or(|header| header.found(subject.headers))
    }
}

impl Match {
    fn only_client(&self) -> bool {
        self.model.is_none() && self.path.is_none() && self.header.is_none()
    }
}

impl HeaderMatch {
    fn found(&self, headers: &http::HeaderMap) -> bool {
        headers.get_all(self.name.as_str()).iter().any(|value| match (&self.value, value.to_str()) {
            (None, _) => true,
            (Some(pattern), Ok(text)) => like(pattern, text),
            (Some(_), Err(_)) => false,
        })
    }
}

fn like(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => text == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: &str) -> Rule {
        serde_json::from_str(json).unwrap()
    }

    fn struck(rules: &Rules, client: &str, model: &str) -> bool {
        let mut headers = http::HeaderMap::new();
        headers.insert("x-team", "blue-1".parse().unwrap());
        let subject =
            Subject { client: client.parse().unwrap(), path: "/v1/messages", model: Some(model), headers: &headers };
        !rules.strikes(&subject).is_empty()
    }

    #[test]
    fn everything_that_a_rule_names_must_hold() {
        for (matches, expected) in [
            ("{}", true),
            (r#"{"client":"127.0.1.2"}"#, true),
            (r#"{"client":"127.0.1.0/24"}"#, true),
            (r#"{"client":"127.0.1.3"}"#, false),
            (r#"{"model":"gpt-*"}"#, true),
            (r#"{"model":"gpt"}"#, false),
            (r#"{"path":"/v1/messages"}"#, true),
            (r#"{"path":"/v1/chat*"}"#, false),
            (r#"{"header":{"name":"X-Team"}}"#, true),
            (r#"{"header":{"name":"x-team","value":"blue*"}}"#, true),
            (r#"{"header":{"name":"x-team","value":"red"}}"#, false),
            (r#"{"client":"127.0.1.2","model":"claude"}"#, false),
        ] {
            let rules = Rules::new(1);
            rules.put(rule(&format!(r#"{{"name":"a","match":{matches},"fault":"hang"}}"#))).unwrap();
            assert_eq!(struck(&rules, "127.0.1.2", "gpt-4o"), expected, "{matches}");
        }
    }

    #[test]
    fn a_counted_rule_is_spent_and_a_replaced_one_starts_anew() {
        let rules = Rules::new(1);
        let twice = rule(r#"{"name":"a","fault":"hang","count":2}"#);
        rules.put(twice.clone()).unwrap();
        let hits = |rules: &Rules| (0..5).filter(|_| struck(rules, "127.0.0.1", "m")).count();
        assert_eq!(hits(&rules), 2);
        rules.put(twice).unwrap();
        assert_eq!(hits(&rules), 2);
        assert_eq!(rules.status()[0].applied, 2);
        assert!(rules.remove("a") && !rules.remove("a"));
    }

    #[test]
    fn probability_is_kept_and_repeats_with_the_seed() {
        let run = |seed| -> Vec<bool> {
            let rules = Rules::new(seed);
            rules.put(rule(r#"{"name":"a","fault":"hang","probability":0.3}"#)).unwrap();
            (0..1000).map(|_| struck(&rules, "127.0.0.1", "m")).collect()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let struck = run(7).into_iter().filter(|hit| *hit).count();
        assert!((250..350).contains(&struck), "{struck}");
    }

    #[test]
    fn only_a_rule_about_clients_alone_refuses_at_accept() {
        let rules = Rules::new(1);
        rules.put(rule(r#"{"name":"m","match":{"model":"gpt*"},"fault":"refuse"}"#)).unwrap();
        assert!(!rules.refuses("127.0.1.2".parse().unwrap()));
        rules.put(rule(r#"{"name":"c","match":{"client":"127.0.1.2"},"fault":"refuse"}"#)).unwrap();
        assert!(rules.refuses("127.0.1.2".parse().unwrap()));
        assert!(!rules.refuses("127.0.1.3".parse().unwrap()));
    }

    #[test]
    fn a_bad_rule_changes_nothing() {
        let rules = Rules::new(1);
        rules.put(rule(r#"{"name":"good","fault":"hang"}"#)).unwrap();
        for (bad, expected) in [
            (r#"{"name":"x","fault":"boom"}"#, "rule \"x\" has a bad fault"),
            (
                r#"{"name":"x","fault":"hang","match":{"client":"nowhere"}}"#,
                "rule \"x\": client \"nowhere\" is not an address or a network",
            ),
            (r#"{"name":"x","fault":"hang","probability":1.5}"#, "rule \"x\": probability is not between 0 and 1"),
        ] {
            assert_eq!(rules.replace(vec![rule(bad)]).unwrap_err().to_string(), expected);
        }
        assert_eq!(rules.status().len(), 1);
    }
}
