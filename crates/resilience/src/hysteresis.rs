//! What a row of probes says: one alone says nothing.

/// Bad probes in a row after which something is dead.
const BAD: u32 = 3;

/// Good probes in a row after which it lives.
const GOOD: u32 = 2;

/// What the probes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It answers.
    Alive,
    /// It does not.
    Dead,
}

/// The probes of one thing.
#[derive(Debug, Default)]
pub struct Hysteresis {
    good: u32,
    bad: u32,
}

impl Hysteresis {
    /// Takes the outcome of one probe; gives a verdict when a row is full, and then begins a new row.
    pub fn record(&mut self, good: bool) -> Option<Verdict> {
        (self.good, self.bad) = if good { (self.good + 1, 0) } else { (0, self.bad + 1) };
        let verdict = match (self.good, self.bad) {
            (GOOD.., _) => Verdict::Alive,
            (_, BAD..) => Verdict::Dead,
            _ => return None,
        };
        *self = Self::default();
        Some(verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `probes`: `+` and `-`; `expected`: a letter or a dot for each.
    #[track_caller]
    fn check(probes: &str, expected: &str) {
        let mut row = Hysteresis::default();
        let said: String = probes
            .chars()
            .map(|probe| match row.record(probe == '+') {
                None => '.',
                Some(Verdict::Alive) => 'A',
                Some(Verdict::Dead) => 'D',
            })
            .collect();
        assert_eq!(said, expected, "{probes}");
    }

    #[test]
    fn only_rows_count_and_a_verdict_begins_a_new_one() {
        check("++++", ".A.A");
        check("------", "..D..D");
        check("--+--+-+", "........");
        check("---++", "..D.A");
    }
}
