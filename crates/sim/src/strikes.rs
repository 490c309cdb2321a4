//! Which faults strike a request: standing rules first, then its model name, then its header; the later win.

use std::time::Duration;

use crate::fault::{Fault, Latency, Plan, SpecError, Subject, parse_specs};
use crate::record::Arrival;
use crate::server::Shared;

/// Request header that asks for faults.
const HEADER: &str = "x-sim-fault";
/// What in a model name precedes a fault spec.
const MODEL_MARK: &str = "sim-fault-";

/// A fault spec of a request that is not understood.
#[derive(Debug)]
pub(crate) struct SpecRefused {
    pub(crate) origin: &'static str,
    pub(crate) source: SpecError,
}

/// The merged faults of a request, and the text of each for the log.
pub(crate) fn plan(
    shared: &Shared,
    arrival: &Arrival,
    model: Option<&str>,
) -> Result<(Plan, Vec<String>), SpecRefused> {
    let in_model = model.and_then(|model| model.split_once(MODEL_MARK)).map(|(_, spec)| spec);
    let in_header = match arrival.headers.get(HEADER).map(|value| value.to_str()) {
        None => None,
        Some(Ok(spec)) => Some(spec),
        Some(Err(_)) => {
            return Err(SpecRefused { origin: HEADER, source: SpecError::UnknownFault("(not text)".into()) });
        }
    };
    // Parsed before the rules are counted: a request that is refused here uses up no rule.
    let mut own = requested(in_model, "model name")?;
    own.extend(requested(in_header, HEADER)?);
    let subject = Subject { client: arrival.client.ip(), path: &arrival.path, model, headers: &arrival.headers };
    let mut plan = Plan::default();
    let mut names = Vec::new();
    for strike in shared.rules.strikes(&subject) {
        for fault in strike.faults.iter() {
            plan.add(fault, strike.age);
            names.push(fault.to_string());
        }
    }
    for fault in &own {
        plan.add(fault, Duration::ZERO);
        names.push(fault.to_string());
    }
    Ok((plan, names))
}

fn requested(spec: Option<&str>, origin: &'static str) -> Result<Vec<Fault>, SpecRefused> {
    let Some(spec) = spec else { return Ok(Vec::new()) };
    let faults = parse_specs(spec).map_err(|source| SpecRefused { origin, source })?;
    if faults.iter().any(|fault| matches!(fault, Fault::Latency(Latency::Ramp { .. }))) {
        return Err(SpecRefused { origin, source: SpecError::RampWithoutRule });
    }
    Ok(faults)
}
