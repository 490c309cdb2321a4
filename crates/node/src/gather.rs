//! Gathers a whole answer, within its own limit and the node's budget.

use bytes::{Bytes, BytesMut};
use meridian_ingress::{Budget, Share};

/// Largest whole answer. The longest completions are under 1 MiB; with images or audio inside some reach 20.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// Why an answer is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overfull {
    /// It is larger than any may be.
    Itself,
    /// The node holds too much already.
    Node,
}

/// What has come of an answer.
pub(crate) struct Gathered<'a> {
    bytes: BytesMut,
    share: Share,
    budget: &'a Budget,
}

impl<'a> Gathered<'a> {
    pub(crate) fn new(budget: &'a Budget) -> Self {
        Self { bytes: BytesMut::new(), share: budget.nothing(), budget }
    }

    /// Adds what comes next.
    ///
    /// # Errors
    /// When there is no room for it.
    pub(crate) fn add(&mut self, data: &[u8]) -> Result<(), Overfull> {
        if self.bytes.len() + data.len() > MAX_ANSWER_BYTES {
            return Err(Overfull::Itself);
        }
        self.bytes.extend_from_slice(data);
        // What is allocated: up to twice of what is there.
        let has_room = self.budget.grow(&mut self.share, self.bytes.capacity());
        if has_room { Ok(()) } else { Err(Overfull::Node) }
    }

    /// All of it, and the share that is to be given back with it.
    pub(crate) fn finish(self) -> (Bytes, Share) {
        (self.bytes.freeze(), self.share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_at_its_own_limit_or_at_the_nodes_and_gives_back_what_it_took() {
        let mebibyte = vec![0; 1 << 20];
        let gather = |budget: &Budget, times: usize| {
            let mut gathered = Gathered::new(budget);
            (0..times).try_for_each(|_| gathered.add(&mebibyte)).map(|()| gathered.finish())
        };
        let wide = Budget::new(1 << 30);
        let (bytes, share) = gather(&wide, 32).unwrap();
        assert_eq!(bytes.len(), 32 << 20);
        assert!(wide.held().get() >= 32 << 20, "what is held is counted: {:?}", wide.held());
        drop(share);
        assert_eq!(gather(&wide, 33).unwrap_err(), Overfull::Itself);
        let narrow = Budget::new(10 << 20);
        assert_eq!(gather(&narrow, 11).unwrap_err(), Overfull::Node);
        assert_eq!((wide.percent(), narrow.percent()), (0, 0));
    }
}
