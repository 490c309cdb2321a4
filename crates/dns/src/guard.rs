//! What stands between the sockets and the answers: cookies and the rate limit.

use std::net::IpAddr;
use std::num::NonZero;
use std::sync::Arc;

use meridian_host::{Host, WallClock};

use crate::answer::{Arrival, Facts, Manner, Standing, respond};
use crate::cookie::CookieSecrets;
use crate::encode::Transport;
use crate::limit::{Class, Limiter, RateLimit, Verdict};
use crate::metrics::Metrics;
use crate::query_log::QueryLog;
use crate::snapshot::Snapshot;

/// One for all sockets of an authority; cheap to clone.
#[derive(Clone)]
pub(crate) struct Guard {
    cookies: Arc<CookieSecrets>,
    limiter: Option<Arc<Limiter>>,
    query_log: Option<Arc<QueryLog>>,
    clock: Arc<dyn WallClock>,
    metrics: Metrics,
}

impl Guard {
    pub(crate) fn new(
        host: &Host,
        cookies: Option<CookieSecrets>,
        limit: Option<RateLimit>,
        log_one_in: Option<NonZero<u32>>,
        metrics: Metrics,
    ) -> Self {
        let cookies = cookies.unwrap_or_else(|| CookieSecrets::random(&*host.entropy));
        let limiter = limit.map(|limit| Arc::new(Limiter::new(limit, &*host.entropy)));
        let query_log = log_one_in.map(|one_in| Arc::new(QueryLog::new(one_in)));
        Self { cookies: Arc::new(cookies), limiter, query_log, clock: Arc::clone(&host.clock), metrics }
    }

    /// Writes what is sent to `source` for the packet into `out`; `false`: nothing.
    pub(crate) fn reply(
        &self,
        snapshot: &Snapshot,
        packet: &[u8],
        source: IpAddr,
        transport: Transport,
        out: &mut Vec<u8>,
    ) -> bool {
        let cookies = Some((&*self.cookies, &*self.clock));
        let arrival = Arrival { source, transport, cookies, manner: Manner::Full };
        let facts = respond(snapshot, packet, &arrival, out);
        let verdict = facts.as_ref().map_or(Verdict::Send, |facts| self.judge(facts, &arrival, out.len()));
        self.metrics.record(facts, verdict, transport);
        if let (Some(log), Some(facts)) = (&self.query_log, &facts) {
            log.see(packet, source, transport, facts);
        }
        match verdict {
            Verdict::Send => facts.is_some(),
            Verdict::Slip => respond(snapshot, packet, &Arrival { manner: Manner::Hint, ..arrival }, out).is_some(),
            Verdict::Drop => false,
        }
    }

    fn judge(&self, facts: &Facts<'_>, arrival: &Arrival<'_>, bytes: usize) -> Verdict {
        match &self.limiter {
            // A connection proves the address as well as a cookie does.
            Some(limiter) if arrival.transport == Transport::Udp && facts.standing != Standing::Proven => {
                limiter.judge(arrival.source, Class { zone: facts.zone, qtype: facts.qtype, rcode: facts.rcode }, bytes)
            }
            _ => Verdict::Send,
        }
    }
}
