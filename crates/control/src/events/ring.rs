//! The events that a replica remembers, and from where on it remembers all.

use std::collections::VecDeque;

use meridian_proto::admin::v1::Event;

use super::cursor::Place;

/// Events remembered: days of a fleet at rest, minutes of one in flames. Each is a few hundred bytes.
const REMEMBERED: usize = 4096;

/// Events in order.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    events: VecDeque<(Place, Event)>,
    /// Everything after this place is here.
    floor: Place,
    newest: Place,
}

/// What comes after a place.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// This.
    Event(Place, Event),
    /// Nothing yet.
    Nothing,
    /// Not all of it is known; the newest place instead.
    Gap(Place),
}

impl Ring {
    /// Takes all events of one revision.
    pub(crate) fn extend(&mut self, at: Place, events: Vec<Event>) {
        self.newest = at;
        for (event, index) in events.into_iter().zip(1..) {
            self.newest = Place { index, ..at };
            self.events.push_back((self.newest, event));
        }
        while self.events.len() > REMEMBERED {
            if let Some((place, _)) = self.events.pop_front() {
                self.floor = place;
            }
        }
    }

    /// What happened up to `at` is not known one by one.
    pub(crate) fn restart(&mut self, at: Place) {
        self.events.clear();
        (self.floor, self.newest) = (at, at);
    }

    pub(crate) fn after(&self, place: Place) -> Next {
        if place < self.floor {
            return Next::Gap(self.newest);
        }
        let found = self.events.partition_point(|(at, _)| *at <= place);
        match self.events.get(found) {
            Some((at, event)) => Next::Event(*at, event.clone()),
            None => Next::Nothing,
        }
    }

    pub(crate) fn newest(&self) -> Place {
        self.newest
    }

    pub(crate) fn about(&self, subject: &str) -> Vec<Event> {
        self.events.iter().filter(|(_, event)| event.subject == subject).map(|(_, event)| event.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(revision: u64, index: u32) -> Place {
        Place { revision, index }
    }

    fn event(text: &str) -> Event {
        Event { text: text.to_owned(), ..Event::default() }
    }

    #[test]
    fn every_place_leads_to_the_next_event_and_a_place_before_the_memory_to_a_gap() {
        let mut ring = Ring::default();
        ring.restart(at(5, 0));
        assert_eq!(ring.after(at(4, 0)), Next::Gap(at(5, 0)));
        assert_eq!(ring.after(at(5, 0)), Next::Nothing);
        ring.extend(at(6, 0), vec![event("a"), event("b")]);
        ring.extend(at(7, 0), Vec::new());
        ring.extend(at(8, 0), vec![event("c")]);
        let mut place = at(5, 0);
        let mut seen = Vec::new();
        while let Next::Event(next, event) = ring.after(place) {
            assert!(next > place);
            (place, seen) = (next, [seen, vec![event.text]].concat());
        }
        assert_eq!((seen.join(""), place), ("abc".to_owned(), at(8, 1)));
        // A cursor of a replica that is ahead waits.
        assert_eq!(ring.after(at(99, 0)), Next::Nothing);
        // Older events than are remembered are a gap, to the last one.
        for revision in 0..REMEMBERED as u64 {
            ring.extend(at(10 + revision, 0), vec![event("x")]);
        }
        assert_eq!(ring.after(at(8, 0)), Next::Gap(ring.newest()));
        assert_eq!(ring.after(at(8, 1)), Next::Event(at(10, 1), event("x")));
    }
}
