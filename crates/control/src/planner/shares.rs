//! Permille that add up.

use std::collections::BTreeMap;

use meridian_types::{RegionName, Shares};

use super::WHOLE;

/// Shares proportional to `parts`, adding up to 1,000 by the largest-remainder method; of equal remainders the
/// first name wins. Regions with nothing are left out. `None` when all parts are 0.
pub(crate) fn proportional(parts: &BTreeMap<RegionName, f64>) -> Option<Shares> {
    let sum: f64 = parts.values().filter(|part| **part > 0.0).sum();
    if !sum.is_finite() || sum <= 0.0 {
        return None;
    }
    let mut left = WHOLE;
    let mut remainders = Vec::new();
    let mut shares = Shares::new();
    for (name, part) in parts.iter().filter(|(_, part)| **part > 0.0) {
        let exact = part / sum * f64::from(WHOLE);
        // Exact is between 0 and 1,000.
        let whole = exact.floor() as u32;
        left = left.saturating_sub(whole);
        remainders.push((exact - f64::from(whole), name));
        shares.insert(name.clone(), whole);
    }
    remainders.sort_by(|(a, a_name), (b, b_name)| b.total_cmp(a).then_with(|| a_name.cmp(b_name)));
    for (_, name) in remainders.iter().cycle().take(left as usize) {
        *shares.entry((*name).clone()).or_default() += 1;
    }
    shares.retain(|_, share| *share > 0);
    Some(shares)
}

/// Everything for one region.
pub(crate) fn all_to(name: &RegionName) -> Shares {
    Shares::from([(name.clone(), WHOLE)])
}

/// A region's share; 0 if it is not named.
pub(crate) fn of(shares: &Shares, name: &RegionName) -> u32 {
    shares.get(name).copied().unwrap_or(0)
}

/// The largest change of any share.
pub(crate) fn distance(a: &Shares, b: &Shares) -> u32 {
    a.keys().chain(b.keys()).map(|name| of(a, name).abs_diff(of(b, name))).max().unwrap_or(0)
}
