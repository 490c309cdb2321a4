//! What came of asking other regions in vain, for the client's error message.

use std::collections::BTreeSet;
use std::fmt::Write;

use meridian_ingress::Refused;
use meridian_types::RegionName;

/// One region asked in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vain {
    pub(crate) region: RegionName,
    /// From closed words.
    pub(crate) why: String,
}

/// Everything that came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Told {
    pub(crate) vain: Vec<Vain>,
    /// Regions that were not asked because the caller's data must not go there.
    pub(crate) forbidden: BTreeSet<RegionName>,
    /// Attempts that they made.
    pub(crate) attempts: usize,
}

impl Told {
    /// Adds it to a refusal of our own making; an upstream's own words stay as they are.
    pub(crate) fn add_to(&self, refused: &mut Refused) {
        if refused.reply.is_some() || (self.vain.is_empty() && self.forbidden.is_empty()) {
            return;
        }
        let mut text = std::mem::take(&mut refused.error.message).into_owned();
        // Writing to a string cannot fail.
        for Vain { region, why } in &self.vain {
            let _ = write!(text, "; region {region} {why}");
        }
        if !self.forbidden.is_empty() {
            let names: Vec<_> = self.forbidden.iter().map(RegionName::as_str).collect();
            let _ = write!(text, "; not asked, outside the allowed jurisdictions: {}", names.join(", "));
        }
        refused.error.message = text.into();
    }
}

#[cfg(test)]
mod tests {
    use meridian_types::ErrorCode;

    use super::*;

    #[test]
    fn a_refusal_says_who_else_was_asked_and_who_must_not_be() {
        let told = Told {
            vain: vec![Vain { region: "eu".parse().unwrap(), why: "answered 503 after 12 ms".to_owned() }],
            forbidden: ["us".parse().unwrap(), "ap".parse().unwrap()].into(),
            attempts: 0,
        };
        let mut refused = Refused::new(ErrorCode::UpstreamUnavailable, "nobody serves");
        Told::default().add_to(&mut refused);
        assert_eq!(refused.error.message, "nobody serves");
        told.add_to(&mut refused);
        let expected =
            "nobody serves; region eu answered 503 after 12 ms; not asked, outside the allowed jurisdictions: ap, us";
        assert_eq!(refused.error.message, expected);
    }
}
