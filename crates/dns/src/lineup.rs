//! Answers of steered names that are encoded when a plan comes: one for each crowd of clients, each region that the plan
//! sends some of the crowd to, each address of it and each turn. A query finds its crowd, picks one and copies.
//!
//! [`Steering::choose`] says the same for any client, and the tests compare.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::rr::RecordType;

use crate::arrange::{Behind, Row, first, turn};
use crate::choose::{Crowd, Few, Ranks, in_front};
use crate::encode::put_record;
use crate::pool::{Member, Members, Steering};
use crate::rendezvous::Seed;
use crate::response::{Owner, Rdata, Rr};
use crate::subnet::Unit;

/// Bytes of the answers that one snapshot keeps. A fleet of twenty regions with ten addresses each takes a tenth of it,
/// however many names are answered with them; to fill it takes some tens of milliseconds of the task that brings a plan.
const MAX_BYTES: usize = 8 << 20;

/// Places from which they are found, of some 32 bytes each. Names that find no room are thought about.
const MAX_FRONTS: usize = 65_536;

/// A record's TTL stands behind the pointer to its name, the type and the class.
const TTL_AT: usize = 6;

/// The answers of one snapshot. Names that may be answered alike share them: the name is not in them, nor is the TTL.
#[derive(Debug)]
pub(crate) struct Shelf {
    sheets: BTreeMap<Title, Arc<Sheet>>,
    bytes_left: usize,
    fronts_left: usize,
}

/// What is on a sheet.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Title {
    rtype: u16,
    max: usize,
    behind: Behind,
    /// The regions and, where these matter, their weights; the front first.
    regions: Few<(usize, u32)>,
}

/// Every answer with one region in front: by its address in front, and by turn.
#[derive(Debug)]
struct Sheet {
    seeds: Vec<Seed>,
    turns: usize,
    /// Records of each answer, and bytes of each record; all are of one family.
    count: usize,
    record: usize,
    bytes: Vec<u8>,
}

/// The answers for one name and type.
#[derive(Debug)]
pub(crate) struct Lineups {
    /// For the world, or for strangers.
    plain: Lineup,
    /// By class, and within it by the origin's place in its band.
    classes: Vec<Vec<Lineup>>,
}

/// The answers for one crowd: by the region in front. None where the crowd is answered from another pool.
#[derive(Debug, Default)]
struct Lineup(Vec<Front>);

#[derive(Debug)]
struct Front {
    seed: Seed,
    share: u32,
    /// Its place among the members.
    member: usize,
    sheet: Arc<Sheet>,
}

/// The answer to one client.
#[derive(Debug)]
pub(crate) struct Ready<'s> {
    /// The region in front.
    pub(crate) front: &'s Member,
    pub(crate) scope: u8,
    pub(crate) count: usize,
    bytes: &'s [u8],
    record: usize,
}

impl Default for Shelf {
    fn default() -> Self {
        Self::of(MAX_BYTES)
    }
}

impl Steering {
    /// The answer for the clients of `unit`; `None`: it is not ready.
    pub(crate) fn ready<'s>(&self, members: &'s Members, unit: Unit) -> Option<Ready<'s>> {
        let lineups = members.lineups.as_ref()?;
        let crowd = self.crowd(members, unit);
        let lineup = match crowd {
            Crowd::Class { found, origin_place } => lineups.classes.get(found.number)?.get(origin_place)?,
            Crowd::World | Crowd::Strangers => &lineups.plain,
        };
        let front = in_front(lineup.0.iter(), unit, |front| (front.seed, front.share))?;
        let scope = match &*front.sheet {
            Sheet { seeds, turns: 1, .. } if lineup.0.len() == 1 && seeds.len() == 1 => crowd.scope(unit),
            _ => unit.prefix(),
        };
        let Sheet { count, record, .. } = *front.sheet;
        Some(Ready { front: members.list.get(front.member)?, scope, count, bytes: front.sheet.answer(unit)?, record })
    }

    /// Encodes what `members` are answered as: to the clients of the one origin that they are there for, or to all for
    /// whom there are no others. `None`: there is no room.
    pub(crate) fn line_up(&self, members: &Members, only: Option<usize>, shelf: &mut Shelf) -> Option<Lineups> {
        let mut lineup = |ranks: Ranks<'_>| -> Option<Lineup> {
            let front = |(seed, share, place)| {
                let row = ranks.row(place)?;
                let member = members.place_of(row.front)?;
                Some(Front { seed, share, member, sheet: shelf.sheet(&row)? })
            };
            ranks.fronts().map(front).collect::<Option<_>>().map(Lineup)
        };
        let plain = if only.is_none() { lineup(self.ranks_of_all(members))? } else { Lineup::default() };
        let classes = self.classes.iter().filter(|_| self.minds_place(members)).flat_map(|classes| classes.iter());
        let of_class = |class| {
            let is_here = |origin: usize| only.map_or_else(|| !self.has_own_pools(origin), |only| only == origin);
            let of_origin = |origin: (usize, &usize)| match is_here(*origin.1) {
                true => lineup(self.ranks_of_class(members, class, origin.0)),
                false => Some(Lineup::default()),
            };
            class.order.iter().take(class.band).enumerate().map(of_origin).collect()
        };
        Some(Lineups { plain, classes: classes.map(of_class).collect::<Option<_>>()? })
    }
}

impl Shelf {
    pub(crate) fn of(bytes: usize) -> Self {
        Self { sheets: BTreeMap::new(), bytes_left: bytes, fronts_left: MAX_FRONTS }
    }

    /// Bytes of the answers on it.
    pub(crate) fn bytes(&self) -> usize {
        self.sheets.values().map(|sheet| sheet.bytes.len()).sum()
    }

    /// The sheet of the row, which is made if it is not there; `None`: there is no room.
    fn sheet(&mut self, row: &Row<'_>) -> Option<Arc<Sheet>> {
        self.fronts_left = self.fronts_left.checked_sub(1)?;
        let weight = |member: &Member| if row.behind == Behind::Weighted { member.weight } else { 0 };
        let regions = std::iter::once(&row.front).chain(&row.others).map(|member| (member.number, weight(member)));
        let title = Title {
            rtype: Sheet::rtype(row).into(),
            max: row.max,
            behind: row.behind,
            // Of those that are listed, nobody behind the last that is shown matters.
            regions: if row.behind == Behind::Listed { regions.take(row.max).collect() } else { regions.collect() },
        };
        if let Some(sheet) = self.sheets.get(&title) {
            return Some(Arc::clone(sheet));
        }
        let sheet = Arc::new(Sheet::of(row, &mut self.bytes_left)?);
        self.sheets.insert(title, Arc::clone(&sheet));
        Some(sheet)
    }
}

impl Sheet {
    fn of(row: &Row<'_>, room: &mut usize) -> Option<Self> {
        let (turns, rtype) = (row.turns(), Self::rtype(row));
        let seeds: Vec<Seed> = row.front.addresses.iter().map(|address| address.seed).collect();
        let put = |ip: IpAddr, bytes: &mut Vec<u8>| {
            let record = Rr { owner: Owner::Question, rtype, ttl: 0, data: Rdata::Address(ip) };
            put_record(&[], &record, bytes);
        };
        let answer = row.arrange(0, 0);
        let mut bytes = Vec::new();
        answer.first().into_iter().for_each(|(_, address)| put(address.ip, &mut bytes));
        let (count, record) = (answer.len(), bytes.len());
        let size = seeds.len().checked_mul(turns)?.checked_mul(count * record)?;
        *room = room.checked_sub(size)?;
        bytes = Vec::with_capacity(size);
        for (first, turn) in (0..seeds.len()).flat_map(|first| (0..turns).map(move |turn| (first, turn))) {
            row.arrange(first, turn).iter().for_each(|(_, address)| put(address.ip, &mut bytes));
        }
        Some(Self { seeds, turns, count, record, bytes })
    }

    fn rtype(row: &Row<'_>) -> RecordType {
        let is_v4 = row.front.addresses.first().is_some_and(|address| address.ip.is_ipv4());
        if is_v4 { RecordType::A } else { RecordType::AAAA }
    }

    fn answer(&self, unit: Unit) -> Option<&[u8]> {
        let first = if self.seeds.len() == 1 { 0 } else { first(self.seeds.iter().copied(), unit) };
        let turn = if self.turns == 1 { 0 } else { turn(unit) % self.turns };
        let size = self.count * self.record;
        self.bytes.get((first * self.turns + turn) * size..)?.get(..size)
    }
}

impl Ready<'_> {
    /// Writes the records.
    pub(crate) fn put(&self, ttl: u32, out: &mut Vec<u8>) {
        let mut at = out.len().saturating_add(TTL_AT);
        out.extend_from_slice(self.bytes);
        for _ in 0..self.count {
            if let Some((place, _)) = out.get_mut(at..).and_then(<[u8]>::split_first_chunk_mut) {
                *place = ttl.to_be_bytes();
            }
            at = at.saturating_add(self.record);
        }
    }
}
