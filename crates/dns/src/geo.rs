//! A MaxMind-format database of where networks are (<https://maxmind.github.io/MaxMind-DB/>): GeoLite2/GeoIP2 City,
//! DB-IP City and whatever else has `location.latitude` and `location.longitude`.
//!
//! It is held in memory: a mapped file that somebody overwrites in place would kill the process.

use std::net::IpAddr;
use std::path::Path;

use maxminddb::{MaxMindDbError, PathElement, Reader};
use meridian_host::Files;
use meridian_types::Coordinates;

/// GeoLite2-City has 60 MB, the largest commercial ones ten times as much; more is a mistake in the path.
pub const MAX_DATABASE_BYTES: usize = 1 << 30;

/// A database that was found sound.
pub struct GeoDatabase {
    reader: Reader<Vec<u8>>,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum GeoError {
    /// It cannot be read.
    #[error("the geo database cannot be read")]
    Read(#[source] std::io::Error),
    /// It is larger than [`MAX_DATABASE_BYTES`].
    #[error("the geo database has {0} bytes, more than {MAX_DATABASE_BYTES}")]
    TooLarge(usize),
    /// It is no database, or a damaged one.
    #[error("the geo database is damaged")]
    Damaged(#[source] MaxMindDbError),
    /// The thread that checked it ended before it was through.
    #[error("the check of the geo database broke off")]
    Aborted,
    /// It knows no coordinates: one of countries or of networks' owners, for example.
    #[error("the geo database {0:?} has no coordinates")]
    NoCoordinates(String),
}

impl GeoDatabase {
    /// Reads and checks the file, on a thread of its own: the check is long, and queries go on meanwhile.
    pub async fn load(files: &dyn Files, path: &Path) -> Result<Self, GeoError> {
        let bytes = files.read(path).await.map_err(GeoError::Read)?;
        let (done, checked) = tokio::sync::oneshot::channel();
        let check = move || drop(done.send(Self::from_bytes(bytes)));
        std::thread::Builder::new().name("geo-check".to_owned()).spawn(check).map_err(GeoError::Read)?;
        checked.await.map_err(|_| GeoError::Aborted)?
    }

    /// Checks the whole of the database, so that no lookup can meet damage later: about a second of CPU for
    /// GeoLite2-City.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, GeoError> {
        if bytes.len() > MAX_DATABASE_BYTES {
            return Err(GeoError::TooLarge(bytes.len()));
        }
        let reader = Reader::from_source(bytes).map_err(GeoError::Damaged)?;
        reader.verify().map_err(GeoError::Damaged)?;
        let database = Self { reader };
        if database.knows_coordinates()? {
            Ok(database)
        } else {
            Err(GeoError::NoCoordinates(database.reader.metadata().database_type.clone()))
        }
    }

    /// What it calls itself, for example `GeoLite2-City`.
    pub fn kind(&self) -> &str {
        &self.reader.metadata().database_type
    }

    /// When it was made, in seconds since 1970.
    pub fn built_unix_s(&self) -> u64 {
        self.reader.metadata().build_epoch
    }

    /// Where the address is, and the prefix length of the block around it that has the same entry (`None` if that
    /// block is not of the address's family).
    pub(crate) fn locate(&self, address: IpAddr) -> Option<(Coordinates, Option<u8>)> {
        let found = self.reader.lookup(address).ok()?;
        let coordinates = coordinates(&found)?;
        let block = found.network().ok().filter(|network| network.is_ipv4() == address.is_ipv4());
        Some((coordinates, block.map(|network| network.prefix())))
    }

    fn knows_coordinates(&self) -> Result<bool, GeoError> {
        // Databases of another kind have no coordinates anywhere; those of the right kind in nearly every entry.
        const ENTRIES_LOOKED_AT: usize = 10_000;
        let networks = self.reader.networks(Default::default()).map_err(GeoError::Damaged)?;
        for entry in networks.take(ENTRIES_LOOKED_AT) {
            if coordinates(&entry.map_err(GeoError::Damaged)?).is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl std::fmt::Debug for GeoDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GeoDatabase")
            .field("kind", &self.kind())
            .field("built_unix_s", &self.built_unix_s())
            .finish_non_exhaustive()
    }
}

fn coordinates(entry: &maxminddb::LookupResult<'_, Vec<u8>>) -> Option<Coordinates> {
    let degrees = |key| {
        let path = [PathElement::Key("location"), PathElement::Key(key)];
        entry.decode_path::<f64>(&path).ok().flatten()
    };
    Coordinates::new(degrees("latitude")?, degrees("longitude")?)
}
