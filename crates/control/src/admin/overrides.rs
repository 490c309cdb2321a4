//! Overrides: drain, undrain, weight. They take effect with the next plan and wait for no rollout.

use meridian_proto::admin::v1::{self as admin, set_override_request::Change};
use meridian_proto::fleet::v1::OverrideTerms;
use meridian_proto::store::v1 as stored;
use meridian_store::{Compare, Revision, Txn};
use meridian_types::RegionName;
use tonic::Status;

use super::rehearse;
use super::write::{Decision, refused};
use crate::overrides;
use crate::shared::Shared;
use crate::store::document;

/// Decides a change of one region's override.
///
/// The document stays when nothing is overridden any more: its revision tells a later change from a lost update.
pub(super) async fn decide(
    shared: &Shared,
    author: &str,
    request: &admin::SetOverrideRequest,
) -> Result<Decision<admin::SetOverrideResponse>, Status> {
    let view = shared.mirror.view();
    let head = view.head.as_ref();
    let region = RegionName::new(&request.region).map_err(|error| Status::invalid_argument(error.to_string()))?;
    if !head.is_some_and(|head| head.configuration.regions.contains_key(&region)) {
        let known = head.into_iter().flat_map(|head| head.configuration.regions.keys()).map(RegionName::as_str);
        return Err(Status::not_found(format!("there is no region {region}; there are: {}", super::listed(known))));
    }
    let now = shared.now_unix_ms();
    let key = shared.layout.region_override(&region);
    let entry = shared.store.get(&key).await.map_err(|error| refused(&error))?;
    let revision = entry.as_ref().map_or(Revision::ZERO, |entry| entry.mod_revision);
    let held: stored::Override = match &entry {
        Some(entry) => {
            document::read(&entry.value).map_err(|error| Status::internal(format!("the override {error}")))?
        }
        None => stored::Override::default(),
    };
    if request.expected_revision != revision.0 {
        return Err(Status::aborted(format!(
            "the override of {region} has revision {revision} (by {}: {}), and the change was decided on revision {}; \
             look at the fleet and try again",
            held.author, held.reason, request.expected_revision
        )));
    }
    if matches!(request.change, Some(Change::Drained(true)))
        && !request.force
        && let Some(objection) = rehearse::objection(shared, &region)
    {
        return Err(Status::failed_precondition(objection));
    }
    let terms = OverrideTerms {
        author: author.to_owned(),
        reason: request.reason.clone(),
        made_at_unix_ms: now,
        until_unix_ms: request.until_unix_ms,
    };
    let (document, what) =
        overrides::change(&held, region.as_str(), request.change, terms).map_err(Status::invalid_argument)?;
    let txn = Txn::new().when(Compare::mod_revision(&key, revision)).put(key, document::write(&document));
    // The revision is that of the write; the caller fills it in.
    let answer = admin::SetOverrideResponse { revision: 0 };
    let outcome = "in force from the next plan on".to_owned();
    Ok(Decision::Write { txn, answer, summary: format!("region {region} {what}"), outcome })
}
