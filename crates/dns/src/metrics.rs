//! What the authority counts. Labels come from closed sets: zones and regions of the configuration, and the types and
//! codes written here.

use std::sync::OnceLock;
use std::sync::atomic::AtomicI64;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use meridian_types::{DomainName, RegionName};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::answer::{Facts, Standing};
use crate::encode::Transport;
use crate::geo::GeoDatabase;
use crate::limit::Verdict;
use crate::snapshot::Snapshot;

/// Stands for "none" and "none of those".
const NONE: &str = "none";

/// Counters of one authority; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    queries: Family<QueryLabels, Counter>,
    dropped: Counter,
    limited: Family<LimitedLabels, Counter>,
    cookies: Family<CookieLabels, Counter>,
    pub(crate) tcp_connections: Gauge<i64, AtomicI64>,
    pub(crate) tcp_refused: Counter,
    geo_built: Gauge<i64, AtomicI64>,
    pub(crate) geo_refused: Counter,
    unready_names: Gauge<i64, AtomicI64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueryLabels {
    zone: Label<DomainName>,
    r#type: &'static str,
    rcode: &'static str,
    region: Label<RegionName>,
    transport: &'static str,
}

/// A name that is shared, not copied: there is one for each query.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Label<T>(Option<T>);

impl<T: AsRef<str> + std::fmt::Debug> EncodeLabelValue for Label<T> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.as_ref().map_or(NONE, AsRef::as_ref).encode(encoder)
    }
}

/// The counter of answers that are alike, once the first of them has looked it up.
#[derive(Debug, Default)]
pub(crate) struct Series(OnceLock<Counter>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitedLabels {
    /// `dropped`, or `hint`: answered truncated or with BADCOOKIE.
    action: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CookieLabels {
    /// `recognised` or `unknown`.
    cookie: &'static str,
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("meridian_dns");
        registry.register(
            "queries",
            "Queries that were understood, also where the rate limit kept the answer back",
            self.queries.clone(),
        );
        registry.register("dropped", "Packets that deserve no answer: short ones and responses", self.dropped.clone());
        let help = "Answers over UDP that the rate limit kept back";
        registry.register("rate_limited", help, self.limited.clone());
        registry.register("cookies", "Queries with a cookie", self.cookies.clone());
        registry.register("tcp_connections", "Open TCP connections", self.tcp_connections.clone());
        let help = "When the geo database in use was made, in seconds since 1970; 0: there is none";
        registry.register("geo_database_built_seconds", help, self.geo_built.clone());
        let help = "Geo databases that were not used: damaged, or of another kind";
        registry.register("geo_databases_refused", help, self.geo_refused.clone());
        let help = "Steered names whose answers found no room and are made when they are asked for";
        registry.register("unready_names", help, self.unready_names.clone());
        registry.register(
            "tcp_refused",
            "TCP connections closed at once: too many in all or of one network",
            self.tcp_refused.clone(),
        );
    }

    pub(crate) fn geo_loaded(&self, database: Option<&GeoDatabase>) {
        let built_unix_s = database.map_or(0, GeoDatabase::built_unix_s);
        self.geo_built.set(i64::try_from(built_unix_s).unwrap_or(i64::MAX));
    }

    pub(crate) fn compiled(&self, snapshot: &Snapshot) {
        self.unready_names.set(i64::try_from(snapshot.unready_names()).unwrap_or(i64::MAX));
    }

    pub(crate) fn record(&self, facts: Option<Facts<'_>>, verdict: Verdict, transport: Transport) {
        let Some(facts) = facts else {
            self.dropped.inc();
            return;
        };
        match facts.standing {
            Standing::Unknown => {}
            Standing::Unproven => drop(self.cookies.get_or_create(&CookieLabels { cookie: "unknown" }).inc()),
            Standing::Proven => drop(self.cookies.get_or_create(&CookieLabels { cookie: "recognised" }).inc()),
        }
        match verdict {
            Verdict::Send => {}
            Verdict::Slip => drop(self.limited.get_or_create(&LimitedLabels { action: "hint" }).inc()),
            Verdict::Drop => drop(self.limited.get_or_create(&LimitedLabels { action: "dropped" }).inc()),
        }
        let labels = || QueryLabels {
            zone: Label(facts.zone.cloned()),
            r#type: facts.qtype.map_or(NONE, type_label),
            rcode: rcode_label(facts.rcode),
            region: Label(facts.region.cloned()),
            transport: match transport {
                Transport::Udp => "udp",
                Transport::Tcp => "tcp",
            },
        };
        match facts.series {
            Some(Series(counter)) => counter.get_or_init(|| self.queries.get_or_create_owned(&labels())).inc(),
            None => self.queries.get_or_create(&labels()).inc(),
        };
    }
}

fn type_label(qtype: RecordType) -> &'static str {
    match qtype {
        RecordType::A => "A",
        RecordType::AAAA => "AAAA",
        RecordType::ANY => "ANY",
        RecordType::CAA => "CAA",
        RecordType::CNAME => "CNAME",
        RecordType::DS => "DS",
        RecordType::HTTPS => "HTTPS",
        RecordType::MX => "MX",
        RecordType::NS => "NS",
        RecordType::PTR => "PTR",
        RecordType::SOA => "SOA",
        RecordType::SRV => "SRV",
        RecordType::SVCB => "SVCB",
        RecordType::TXT => "TXT",
        _ => "other",
    }
}

fn rcode_label(rcode: ResponseCode) -> &'static str {
    match rcode {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::BADVERS => "BADVERS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_can_make_up_does_not_make_labels() {
        let metrics = Metrics::default();
        for code in 0..=u16::MAX {
            let qtype = Some(RecordType::from(code));
            let (zone, region, standing) = (None, None, Standing::Unknown);
            let facts = Facts { standing, zone, qtype, rcode: ResponseCode::Refused, region, series: None };
            metrics.record(Some(facts), Verdict::Send, Transport::Udp);
        }
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let series = text.lines().filter(|line| line.starts_with("meridian_dns_queries_total")).count();
        assert_eq!(series, 15, "{text}");
    }
}
