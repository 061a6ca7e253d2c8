//! Tiles: the tree's hashes as static files (C2SP tlog-tiles). A full tile has 256 hashes of one level
//! and is the whole subtree of height 8 above them; a level's last tile may be partial.
//!
//! Beside the hashes stand the *entry bundles*: here 256 leaves of 40 bytes each with a length of two
//! bytes before it, big endian. They name each entry by its hash and hold nothing of what it says.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::str::FromStr;

use model::Digest;

use crate::tree::{LEAF_BYTES, Nodes, leaf_hash, node_hash, position_of};
use crate::{LedgerError, Position};

/// The hashes of a full tile.
pub const TILE_WIDTH: u16 = 256;
/// How many levels of the tree a tile spans.
pub(crate) const TILE_HEIGHT: u8 = 8;
/// The highest level a tile's path may name.
const HIGHEST_LEVEL: u8 = 63;
/// The bytes of one leaf in a bundle, with its length.
pub const BUNDLED_BYTES: usize = 2 + LEAF_BYTES;

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// The leaves themselves, in a bundle.
    Entries,
    /// Hashes of subtrees of `256^level` leaves.
    Hashes(u8),
}

/// Names one tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tile {
    /// What it holds.
    pub level: Level,
    /// Its place within the level.
    pub index: u64,
    /// How many hashes or leaves it holds: 1 to [`TILE_WIDTH`].
    pub width: u16,
}

/// A text names no tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no tile's path, such as 0/x001/234 or entries/000.p/17")]
pub struct NoTile;

impl Tile {
    /// A full tile.
    #[must_use]
    pub fn full(level: Level, index: u64) -> Self {
        Self { level, index, width: TILE_WIDTH }
    }

    /// The tile of a tree of `size` leaves at that place; `None` when it would be empty.
    #[must_use]
    pub fn of_tree(level: Level, index: u64, size: u64) -> Option<Self> {
        let level_number = match level {
            Level::Entries => 0,
            Level::Hashes(n) => n,
        };
        let hashes = size.checked_shr(8 * u32::from(level_number)).unwrap_or(0);
        let left = hashes.checked_sub(index.checked_mul(u64::from(TILE_WIDTH))?)?;
        let width = u16::try_from(left.min(u64::from(TILE_WIDTH))).unwrap_or(TILE_WIDTH);
        (width > 0).then_some(Self { level, index, width })
    }

    /// Whether it has all its hashes.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// How many bytes it has.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let each = match self.level {
            Level::Entries => BUNDLED_BYTES,
            Level::Hashes(_) => 32,
        };
        usize::from(self.width) * each
    }

    /// Its path below the log's prefix, such as `tile/0/x001/x234/067.p/5`.
    #[must_use]
    pub fn path(&self) -> String {
        let level = match self.level {
            Level::Entries => "entries".to_owned(),
            Level::Hashes(n) => n.to_string(),
        };
        let mut number = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            number = format!("x{:03}/{number}", rest % 1000);
            rest /= 1000;
        }
        let partial = if self.is_full() { String::new() } else { format!(".p/{}", self.width) };
        format!("tile/{level}/{number}{partial}")
    }
}

/// Reads what stands after `tile/`, in its one spelling.
impl FromStr for Tile {
    type Err = NoTile;

    fn from_str(text: &str) -> Result<Self, NoTile> {
        let (level, rest) = text.split_once('/').ok_or(NoTile)?;
        let level = match level {
            "entries" => Level::Entries,
            n => Level::Hashes(n.parse().ok().filter(|n| *n <= HIGHEST_LEVEL).ok_or(NoTile)?),
        };
        let (number, width) = match rest.split_once(".p/") {
            None => (rest, TILE_WIDTH),
            Some((number, width)) => (number, width.parse().map_err(|_| NoTile)?),
        };
        if !(1..=TILE_WIDTH).contains(&width) {
            return Err(NoTile);
        }
        let mut index = 0u64;
        for part in number.split('/') {
            let digits: u64 = part.trim_start_matches('x').parse().map_err(|_| NoTile)?;
            index = index.checked_mul(1000).and_then(|n| n.checked_add(digits)).ok_or(NoTile)?;
        }
        let tile = Self { level, index, width };
        // Every other spelling of the same tile is refused.
        if tile.path().strip_prefix("tile/") == Some(text) { Ok(tile) } else { Err(NoTile) }
    }
}

/// Where tiles come from: a folder, or a server.
pub trait TileSource {
    /// Why a tile is not there.
    type Error: From<BadTile>;

    /// The tile's bytes. A source that has only the full one gives that one's beginning.
    ///
    /// # Errors
    /// When it can't be had.
    fn tile(&self, tile: Tile) -> Result<Vec<u8>, Self::Error>;
}

/// A tile came with another number of bytes than it has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} has another length than that tile's")]
pub struct BadTile {
    /// Which.
    pub path: String,
}

impl From<BadTile> for LedgerError {
    fn from(e: BadTile) -> Self {
        Self::Tile(e)
    }
}

/// A folder of tiles, as [`crate::Publisher`] writes it.
#[derive(Debug, Clone)]
pub struct TileFolder(pub PathBuf);

impl TileSource for TileFolder {
    type Error = LedgerError;

    fn tile(&self, tile: Tile) -> Result<Vec<u8>, LedgerError> {
        let path = self.0.join(tile.path());
        match std::fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !tile.is_full() => {
                let whole = self.0.join(Tile::full(tile.level, tile.index).path());
                let mut bytes = std::fs::read(&whole).map_err(crate::disk::io_error("can't read", &path))?;
                bytes.truncate(tile.bytes());
                Ok(bytes)
            }
            read => read.map_err(crate::disk::io_error("can't read", &path)),
        }
    }
}

type Hashes = Rc<Vec<Digest>>;

/// The hashes of a tree, out of its tiles; each tile is fetched once. What comes from a source that is
/// not trusted shows itself when the proof, or the root, does not fit.
pub struct TileNodes<'a, S> {
    source: &'a S,
    size: u64,
    known: RefCell<BTreeMap<(u8, u64), Hashes>>,
}

impl<'a, S: TileSource> TileNodes<'a, S> {
    /// Of the tree with so many leaves.
    pub fn new(source: &'a S, size: u64) -> Self {
        Self { source, size, known: RefCell::default() }
    }

    fn hashes(&self, level: u8, index: u64) -> Result<Hashes, S::Error> {
        if let Some(known) = self.known.borrow().get(&(level, index)) {
            return Ok(Rc::clone(known));
        }
        let tile = Tile::of_tree(Level::Hashes(level), index, self.size)
            .ok_or(BadTile { path: format!("tile/{level}/{index}") })?;
        let bytes = self.source.tile(tile)?;
        if bytes.len() != tile.bytes() {
            return Err(BadTile { path: tile.path() }.into());
        }
        let hashes: Vec<Digest> = bytes.as_chunks::<32>().0.iter().map(|h| Digest(*h)).collect();
        let hashes = Rc::new(hashes);
        self.known.borrow_mut().insert((level, index), Rc::clone(&hashes));
        Ok(hashes)
    }

    /// The leaf at `index`, out of its bundle.
    ///
    /// # Errors
    /// The source's, or [`BadTile`] when the bundle does not hold that leaf.
    pub fn leaf(&self, index: u64) -> Result<Position, S::Error> {
        let width = u64::from(TILE_WIDTH);
        let tile = Tile::of_tree(Level::Entries, index / width, self.size)
            .ok_or(BadTile { path: format!("tile/entries/{}", index / width) })?;
        let bytes = self.source.tile(tile)?;
        let bad = || BadTile { path: tile.path() };
        let place = usize::try_from(index % width).unwrap_or(usize::MAX);
        let leaves = unbundle(&bytes).ok_or_else(bad)?;
        Ok(leaves.get(place).copied().filter(|p| p.index == index).ok_or_else(bad)?)
    }
}

impl<S: TileSource> Nodes for TileNodes<'_, S> {
    type Error = S::Error;

    fn node(&self, level: u8, index: u64) -> Result<Digest, S::Error> {
        let (tile_level, height) = (level / 8, level % 8);
        let first = index << height;
        let width = u64::from(TILE_WIDTH);
        let hashes = self.hashes(tile_level, first / width)?;
        let from = usize::try_from(first % width).unwrap_or(usize::MAX);
        let part = from.checked_add(1 << height).and_then(|to| hashes.get(from..to));
        let part = part.ok_or_else(|| BadTile { path: format!("tile/{tile_level}/{}", first / width) })?;
        Ok(subtree(part))
    }
}

/// The root over a power of two of hashes.
pub(crate) fn subtree(hashes: &[Digest]) -> Digest {
    match hashes {
        [] => Digest([0; 32]),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(many.len() / 2);
            node_hash(&subtree(left), &subtree(right))
        }
    }
}

/// Adds a leaf to a bundle.
pub(crate) fn bundle(into: &mut Vec<u8>, leaf: &[u8; LEAF_BYTES]) {
    let length = u16::try_from(LEAF_BYTES).unwrap_or(u16::MAX);
    into.extend_from_slice(&length.to_be_bytes());
    into.extend_from_slice(leaf);
}

/// Takes a bundle apart; `None` when it is none of ours.
#[must_use]
pub fn unbundle(bytes: &[u8]) -> Option<Vec<Position>> {
    let (each, rest) = bytes.as_chunks::<BUNDLED_BYTES>();
    let length = u16::try_from(LEAF_BYTES).ok()?.to_be_bytes();
    let positions = each.iter().map(|b| position_of(b.strip_prefix(&length)?)).collect::<Option<Vec<_>>>()?;
    rest.is_empty().then_some(positions)
}

/// The hash of an entry's leaf.
#[must_use]
pub fn hash_of(position: &Position) -> Digest {
    leaf_hash(&crate::tree::leaf(position))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_tile_has_the_path_of_the_specification() {
        let at = |level, index, width| Tile { level, index, width }.path();
        assert_eq!(at(Level::Hashes(0), 0, 256), "tile/0/000");
        assert_eq!(at(Level::Hashes(0), 1_234_067, 256), "tile/0/x001/x234/067");
        assert_eq!(at(Level::Hashes(2), 5, 17), "tile/2/005.p/17");
        assert_eq!(at(Level::Entries, 1_000, 1), "tile/entries/x001/000.p/1");
    }

    #[test]
    fn a_tree_of_70_000_has_the_tiles_of_the_specification() {
        let tile = |level, index| Tile::of_tree(Level::Hashes(level), index, 70_000).map(|t| t.width);
        assert_eq!((tile(0, 272), tile(0, 273), tile(0, 274)), (Some(256), Some(112), None));
        assert_eq!((tile(1, 0), tile(1, 1), tile(1, 2)), (Some(256), Some(17), None));
        assert_eq!((tile(2, 0), tile(3, 0), tile(63, 0)), (Some(1), None, None));
        assert_eq!(Tile::of_tree(Level::Hashes(1), 0, 256).map(|t| t.width), Some(1));
    }

    #[test]
    fn there_is_one_spelling_of_each_tile() {
        for text in [
            "0/0",
            "0/0000",
            "00/000",
            "+1/000",
            "64/000",
            "0/x000/000",
            "0/001/000",
            "0/000.p/0",
            "0/000.p/256",
            "0/000.p/01",
            "0/000.p/",
            "0/000.p",
            "0/../000",
            "0/000/",
            "/000",
            "entries",
            "entries/000/../001",
            "",
            "0/xx1/000",
            "0/x1/000",
            "0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(text.parse::<Tile>(), Err(NoTile), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_tile_reads_back_from_its_path(level in 0u8..=63, index: u64, width in 1u16..=256, entries: bool) {
            let level = if entries { Level::Entries } else { Level::Hashes(level) };
            let tile = Tile { level, index, width };
            prop_assert_eq!(tile.path().strip_prefix("tile/").unwrap().parse(), Ok(tile));
        }

        #[test]
        fn reading_any_path_or_bundle_never_panics(text in ".{0,40}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = text.parse::<Tile>();
            let _ = unbundle(&bytes);
        }
    }
}
