//! Admits requests up to the node's capacity, and sheds the rest at once, the lowest class first.
//!
//! One number is counted: the places taken. Each class has a limit for it, so that the top of the node's capacity stays
//! free for those above: whatever the lower ones do, it is there. When the node is late for its own timers, or holds most of
//! the bytes that it may, the limits sink: work that is not begun costs least.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use meridian_ingress::{Refused, Retry};
use meridian_types::{Class, ErrorCode};

use crate::pressure::Pressure;

/// What a shed client is asked to wait: long enough for resolvers to hand out another region, short for a person.
const SHED_PAUSE: Duration = Duration::from_secs(1);

/// Work that can wait comes back when a burst is over: ten times as late.
const BATCH_PAUSE: Duration = Duration::from_secs(10);

/// Tenths of the places that are kept for the classes above batch ...
const KEPT_FROM_BATCH: u32 = 3;
/// ... and for critical requests alone. The planner fills regions to 85 %, so that in an even load nobody notices.
const KEPT_FROM_DEFAULT: u32 = 1;

/// The node's capacity; cheap to clone.
#[derive(Clone)]
pub(crate) struct Admission {
    taken: Arc<AtomicU32>,
    max_in_flight: u32,
}

/// A place for one request; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicU32>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Admission {
    pub(crate) fn new(max_in_flight: u32) -> Self {
        Self { taken: Arc::default(), max_in_flight: max_in_flight.max(1) }
    }

    /// A place for one request of the class.
    ///
    /// # Errors
    /// 503 when the class may have none.
    pub(crate) fn admit(&self, class: Class, pressure: Pressure) -> Result<Place, Refused> {
        let limit = self.limit(class, pressure);
        let take = |taken: u32| (taken < limit).then(|| taken + 1);
        match self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, take) {
            Ok(_) => Ok(Place(Arc::clone(&self.taken))),
            Err(_) => Err(refused(class)),
        }
    }

    /// Up to how many places may be taken after a request of the class was admitted.
    fn limit(&self, class: Class, pressure: Pressure) -> u32 {
        let whole = self.max_in_flight;
        // Of a node with a handful of places none is kept; a tenth of 4 billion times 3 still fits.
        let kept = |tenths: u32| whole / 10 * tenths + whole % 10 * tenths / 10;
        match (class, pressure) {
            (Class::Critical, _) => whole,
            (Class::Default, Pressure::None | Pressure::High) => whole - kept(KEPT_FROM_DEFAULT),
            // Some, or nobody would find out that it is over.
            (Class::Default, Pressure::Extreme) => kept(1).max(1),
            (Class::Batch, Pressure::None) => whole - kept(KEPT_FROM_BATCH),
            (Class::Batch, Pressure::High | Pressure::Extreme) => 0,
        }
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.taken.load(Ordering::Acquire)
    }

    /// Whether requests of the default class are shed.
    pub(crate) fn is_full(&self, pressure: Pressure) -> bool {
        self.in_flight() >= self.limit(Class::Default, pressure)
    }
}

fn refused(class: Class) -> Refused {
    let (message, pause) = match class {
        Class::Batch => ("the node has no place for batch requests now", BATCH_PAUSE),
        Class::Default | Class::Critical => ("the node holds as many requests as it may", SHED_PAUSE),
    };
    Refused::new(ErrorCode::Overloaded, message).retry(Retry::After(pause))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PRESSURES: [Pressure; 3] = [Pressure::None, Pressure::High, Pressure::Extreme];

    #[track_caller]
    fn check(whole: u32, batch: u32, default: u32) {
        let admission = Admission::new(whole);
        let limit = |class| admission.limit(class, Pressure::None);
        assert_eq!([limit(Class::Batch), limit(Class::Default), limit(Class::Critical)], [batch, default, whole]);
    }

    #[test]
    fn shares_are_kept_for_the_classes_above() {
        check(1, 1, 1);
        check(5, 4, 5);
        check(10, 7, 9);
        check(2000, 1400, 1800);
        check(u32::MAX, 3_006_477_107, 3_865_470_566);
    }

    #[test]
    fn a_node_under_pressure_sheds_batch_and_then_all_but_some_of_the_others() {
        let admission = Admission::new(100);
        let limits = |pressure| Class::ALL.map(|class| admission.limit(class, pressure));
        assert_eq!(PRESSURES.map(limits), [[70, 90, 100], [0, 90, 100], [0, 10, 100]]);
    }

    #[test]
    fn batch_is_asked_to_come_back_later() {
        let admission = Admission::new(1);
        let _held = admission.admit(Class::Batch, Pressure::None).unwrap();
        let wait = |class| admission.admit(class, Pressure::None).unwrap_err().retry;
        assert_eq!(wait(Class::Batch), Retry::After(BATCH_PAUSE));
        assert_eq!(wait(Class::Critical), Retry::After(SHED_PAUSE));
    }

    proptest! {
        /// Whatever comes and goes in whatever order.
        #[test]
        fn capacity_holds_and_the_lowest_class_is_shed_first(
            whole in 1u32..60,
            steps in prop::collection::vec((0usize..4, 0usize..3), 0..300),
        ) {
            let admission = Admission::new(whole);
            let mut held = Vec::new();
            for (step, pressure) in steps {
                let pressure = PRESSURES[pressure];
                match Class::ALL.get(step) {
                    Some(class) => {
                        let before = admission.in_flight();
                        let admitted = admission.admit(*class, pressure).ok();
                        // Whoever is shed, everyone below is too; and who is admitted, everyone above would be.
                        for other in Class::ALL {
                            let would = before < admission.limit(other, pressure);
                            prop_assert!(other <= *class || would || admitted.is_none());
                            prop_assert!(other >= *class || !would || admitted.is_some());
                        }
                        held.extend(admitted);
                    }
                    None => drop(held.pop()),
                }
                prop_assert!(admission.in_flight() <= whole);
                prop_assert_eq!(admission.in_flight() as usize, held.len());
            }
        }

        #[test]
        fn critical_never_starves_behind_the_others(whole in 1u32..500, flood in 0u32..2000, batch in any::<bool>()) {
            let admission = Admission::new(whole);
            let class = if batch { Class::Batch } else { Class::Default };
            let held: Vec<_> = (0..flood).filter_map(|_| admission.admit(class, Pressure::None).ok()).collect();
            let kept = whole * if batch { KEPT_FROM_BATCH } else { KEPT_FROM_DEFAULT } / 10;
            let critical: Vec<_> = (0..kept).map(|_| admission.admit(Class::Critical, Pressure::None)).collect();
            prop_assert!(critical.iter().all(Result::is_ok));
            prop_assert!(held.len() as u32 + kept <= whole);
        }
    }
}
