//! Latency sketches.

use meridian_types::LatencySketch;

use crate::node::v1 as wire;

/// Reads a sketch.
pub fn latencies(message: &wire::LatencySketch) -> Result<LatencySketch, String> {
    let offset = usize::try_from(message.offset).unwrap_or(usize::MAX);
    LatencySketch::from_counts(offset, &message.counts)
        .ok_or_else(|| format!("{} counts from bucket {offset} on go beyond the last", message.counts.len()))
}

/// Writes a sketch; `None`: there is nothing in it.
#[must_use]
pub fn latencies_to_wire(sketch: &LatencySketch) -> Option<wire::LatencySketch> {
    let (offset, counts) = sketch.counts();
    let offset = u32::try_from(offset).ok()?;
    (!counts.is_empty()).then(|| wire::LatencySketch { offset, counts: counts.to_vec() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_and_small(samples in prop::collection::vec((0.0f64..1e6, 1u32..), 1..200)) {
            let mut sketch = LatencySketch::default();
            for (ms, times) in samples {
                sketch.add_ms(ms, times);
            }
            let bytes = latencies_to_wire(&sketch).unwrap().encode_to_vec();
            prop_assert!(bytes.len() <= 703, "{}", bytes.len());
            let message = wire::LatencySketch::decode(bytes.as_slice()).unwrap();
            prop_assert_eq!(latencies(&message), Ok(sketch));
        }

        #[test]
        fn hostile_bytes_are_read_as_a_sketch_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            if let Ok(message) = wire::LatencySketch::decode(bytes.as_slice())
                && let Ok(sketch) = latencies(&message)
            {
                prop_assert_eq!(sketch.quantile_ms(0.99).is_some(), sketch.count() > 0);
            }
        }

        #[test]
        fn a_sketch_that_goes_beyond_the_last_bucket_is_refused(offset in any::<u32>(), length in 0usize..5000) {
            let read = latencies(&wire::LatencySketch { offset, counts: vec![u32::MAX; length] });
            prop_assert_eq!(read.is_ok(), u64::from(offset) + length as u64 <= 140);
        }
    }

    #[test]
    fn twenty_busy_targets_fit_into_a_kilobyte_of_a_report() {
        // 300 answers in a second that began after 0.2 to 5 s.
        let mut sketch = LatencySketch::default();
        for sample in 0..300 {
            sketch.add_ms(200.0 * 25.0f64.powf(f64::from(sample) / 300.0), 1);
        }
        let with = |first_tokens: Option<wire::LatencySketch>| {
            let target = wire::TargetReport { first_tokens, ..wire::TargetReport::default() };
            wire::Report { targets: vec![target; 20], ..wire::Report::default() }.encoded_len()
        };
        let more = with(latencies_to_wire(&sketch)) - with(None);
        assert!((500..=1000).contains(&more), "{more} bytes");
        assert_eq!(latencies_to_wire(&LatencySketch::default()), None);
    }
}
