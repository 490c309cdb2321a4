//! A value for every client unit, as a flat table of ranges: a bucket by the highest 16 bits, then a binary search among
//! the few ranges that begin in it. Some nanoseconds, where the tree of a database takes hundreds.
//!
//! What a look-up costs is the memory that it touches: neighbours with one value are one range, also across buckets.

use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::subnet::{UNIT_V4, UNIT_V6, Unit};

/// Stands for "no value".
pub(crate) const NOTHING: u32 = u32::MAX;

/// Bits of a unit that choose its bucket.
const BUCKET_BITS: u32 = 16;

/// An address family's units: /24 networks by their number, or /48 networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// Of the family's unit.
    pub(crate) fn prefix(self) -> u8 {
        match self {
            Self::V4 => UNIT_V4,
            Self::V6 => UNIT_V6,
        }
    }

    /// Bits of a unit below its bucket.
    fn low_bits(self) -> u32 {
        u32::from(self.prefix()) - BUCKET_BITS
    }

    fn last_unit(self) -> u64 {
        (1 << self.prefix()) - 1
    }

    /// Where addresses have a place: of IPv6 that is global unicast (RFC 4291 section 2.4).
    pub(crate) fn network(self) -> &'static str {
        match self {
            Self::V4 => "0.0.0.0/0",
            Self::V6 => "2000::/3",
        }
    }
}

/// The units of a network; one that is smaller than a unit has that unit.
pub(crate) fn units(network: IpNet) -> (Family, RangeInclusive<u64>) {
    let (family, first) = Unit::of(network.addr()).number();
    let spare = family.prefix().saturating_sub(network.prefix_len());
    (family, first..=first.saturating_add((1 << spare) - 1))
}

/// The table of one family.
#[derive(Debug)]
pub(crate) struct Ranges {
    family: Family,
    /// Before it there is no value.
    first_bucket: u64,
    /// Where each bucket's ranges begin in `ranges`, and at the end where they all end.
    buckets: Vec<u32>,
    /// Start and value side by side.
    ranges: Vec<Range>,
}

#[derive(Debug, Clone, Copy)]
struct Range {
    /// The low bits of its first unit.
    start: u32,
    value: u32,
}

/// What a table says about a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hit {
    /// [`NOTHING`] included.
    pub(crate) value: u32,
    /// Prefix length of the widest network around the unit that has the same value everywhere. Such networks do not
    /// overlap, so that answers with these scopes keep out of each other's way in caches (RFC 7871 section 7.2.1).
    pub(crate) block: u8,
}

impl Ranges {
    /// `None`: before or behind all values.
    pub(crate) fn get(&self, unit: u64) -> Option<Hit> {
        let low_bits = self.family.low_bits();
        let bucket = usize::try_from((unit >> low_bits).checked_sub(self.first_bucket)?).ok()?;
        let begin = *self.buckets.get(bucket)? as usize;
        let end = *self.buckets.get(bucket.checked_add(1)?)? as usize;
        let low = (unit & ((1 << low_bits) - 1)) as u32;
        let starts = self.ranges.get(begin..end)?;
        let begun = starts.partition_point(|range| range.start <= low);
        // Where none has begun yet, the one that the bucket began with goes on.
        let place = begin.checked_add(begun)?.checked_sub(1)?;
        let Range { start, value } = *self.ranges.get(place)?;
        // The units around the range; those of other buckets do not matter, since a block stays in its bucket.
        let before = if begun > 0 { start.checked_sub(1) } else { None };
        let behind = starts.get(begun).map(|range| range.start);
        let free = |neighbour: Option<u32>| match neighbour {
            // The block may grow up to the highest bit in which the neighbour differs.
            Some(neighbour) => (low ^ neighbour).ilog2(),
            None => low_bits,
        };
        let block = self.family.prefix().saturating_sub(free(before).min(free(behind)) as u8);
        Some(Hit { value, block })
    }

    /// Every range that has a value, in order: units and value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (RangeInclusive<u64>, u32)> {
        let end = (self.first_bucket + self.buckets.len().saturating_sub(1) as u64) << self.family.low_bits();
        let ends = self.starts().skip(1).map(|(start, _)| start).chain([end]);
        let ranges = self.starts().zip(ends).map(|((start, value), end)| (start..=end.saturating_sub(1), value));
        ranges.filter(|(_, value)| *value != NOTHING)
    }

    /// The first unit of each range, and its value.
    fn starts(&self) -> impl Iterator<Item = (u64, u32)> {
        let bounds = self.buckets.iter().zip(self.buckets.iter().skip(1)).zip(self.first_bucket..);
        bounds.flat_map(|((begin, end), bucket)| {
            let ranges = self.ranges.get(*begin as usize..*end as usize).unwrap_or_default();
            let high = bucket << self.family.low_bits();
            ranges.iter().map(move |range| (high | u64::from(range.start), range.value))
        })
    }

    /// Ranges that the table holds.
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }
}

/// Makes a table from ranges in the order of their units.
pub(crate) struct Builder {
    table: Ranges,
    /// The first unit that nothing was said about yet; `None` before the first range.
    next: Option<u64>,
}

impl Builder {
    pub(crate) fn new(family: Family) -> Self {
        let table = Ranges { family, first_bucket: 0, buckets: Vec::new(), ranges: Vec::new() };
        Self { table, next: None }
    }

    /// Units that an earlier range has keep its value.
    pub(crate) fn push(&mut self, units: RangeInclusive<u64>, value: u32) {
        let low_bits = self.table.family.low_bits();
        let next = *self.next.get_or_insert_with(|| {
            self.table.first_bucket = units.start() >> low_bits;
            self.table.first_bucket << low_bits
        });
        let (first, last) = (next.max(*units.start()), *units.end().min(&self.table.family.last_unit()));
        if first > last {
            return;
        }
        if first > next {
            self.emit(next, first - 1, NOTHING);
        }
        self.emit(first, last, value);
        self.next = Some(last.saturating_add(1));
    }

    pub(crate) fn finish(mut self) -> Ranges {
        let mask = (1u64 << self.table.family.low_bits()) - 1;
        if let Some(next) = self.next.filter(|next| next & mask != 0) {
            self.emit(next, next | mask, NOTHING);
        }
        let mut table = self.table;
        table.buckets.push(count(table.ranges.len()));
        table
    }

    fn emit(&mut self, first: u64, last: u64, value: u32) {
        let Ranges { family, buckets, ranges, .. } = &mut self.table;
        let (low_bits, mask) = (family.low_bits(), (1u64 << family.low_bits()) - 1);
        if first & mask == 0 {
            buckets.push(count(ranges.len()));
        }
        if ranges.last().is_none_or(|last| last.value != value) {
            ranges.push(Range { start: (first & mask) as u32, value });
        }
        // Of the buckets that begin within the range, none has a range of its own yet.
        let more = (last >> low_bits).saturating_sub(first >> low_bits);
        buckets.resize(buckets.len().saturating_add(more as usize), count(ranges.len()));
    }
}

/// There are fewer units of IPv4 than a `u32` counts, and no database has as many ranges of IPv6.
fn count(ranges: usize) -> u32 {
    u32::try_from(ranges).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(address: &str) -> u64 {
        Unit::of(address.parse().unwrap()).number().1
    }

    fn table(family: Family, networks: &[(&str, u32)]) -> Ranges {
        let mut builder = Builder::new(family);
        for (network, value) in networks {
            builder.push(units(network.parse().unwrap()).1, *value);
        }
        builder.finish()
    }

    #[test]
    fn a_unit_has_the_value_of_its_range_and_the_widest_block_around_it() {
        let v4 = table(
            Family::V4,
            &[("10.0.0.0/8", 1), ("192.0.2.0/24", 2), ("192.0.3.0/24", 2), ("192.0.4.0/22", 2), ("203.0.113.77/32", 3)],
        );
        let check = |address: &str, value: u32, block: u8| {
            assert_eq!(v4.get(number(address)), Some(Hit { value, block }), "{address}");
        };
        check("10.7.8.9", 1, 16);
        check("192.0.2.1", 2, 23);
        check("192.0.5.1", 2, 22);
        check("192.0.0.1", NOTHING, 23);
        check("192.0.8.1", NOTHING, 21);
        check("203.0.113.1", 3, 24);
        check("11.0.0.0", NOTHING, 16);
        assert_eq!(v4.get(number("0.0.0.0")), None);
        assert_eq!(v4.get(number("255.255.255.255")), None);
        let v6 = table(Family::V6, &[("2001:db8::/32", 4), ("2a00::/12", 5)]);
        let check = |address: &str, expected: Option<(u32, u8)>| {
            let expected = expected.map(|(value, block)| Hit { value, block });
            assert_eq!(v6.get(number(address)), expected, "{address}");
        };
        check("2001:db8:7::", Some((4, 32)));
        check("2001:db9::", Some((NOTHING, 32)));
        check("2a0f:ffff::", Some((5, 16)));
        check("2a10::", None);
        check("::1", None);
        check("fd00::1", None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn a_table_says_what_it_was_told_and_a_block_has_one_value(
            cuts in proptest::collection::btree_set(0u64..1 << 24, 1..40),
            values in proptest::collection::vec(0u32..3, 40),
            probes in proptest::collection::vec(0u64..1 << 24, 40),
        ) {
            let cuts: Vec<u64> = cuts.into_iter().collect();
            let mut builder = Builder::new(Family::V4);
            for (pair, value) in cuts.windows(2).zip(&values) {
                builder.push(pair[0]..=pair[1] - 1, *value);
            }
            let table = builder.finish();
            let expected = |unit: u64| {
                let place = cuts.windows(2).position(|pair| (pair[0]..pair[1]).contains(&unit));
                place.map_or(NOTHING, |place| values[place])
            };
            for unit in probes.into_iter().chain(cuts.iter().copied()) {
                let Some(hit) = table.get(unit) else {
                    prop_assert_eq!(expected(unit), NOTHING);
                    continue;
                };
                prop_assert_eq!(hit.value, expected(unit));
                let free = 24 - u32::from(hit.block);
                let first = unit >> free << free;
                for other in [first, first + (1 << free) - 1, first + (1 << free) / 2] {
                    prop_assert_eq!(expected(other), hit.value);
                }
                for cut in &cuts {
                    if (first..first + (1 << free)).contains(cut) {
                        prop_assert_eq!(expected(*cut), hit.value);
                    }
                }
            }
            // Read out and put in again it is the same.
            let mut again = Builder::new(Family::V4);
            table.iter().for_each(|(units, value)| again.push(units, value));
            prop_assert_eq!(format!("{table:?}"), format!("{:?}", again.finish()));
        }
    }
}
