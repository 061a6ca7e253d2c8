//! Makes a tree's tiles out of its entries' places, one after the other.

use crate::frame::Position;
use crate::tile::{Level, TILE_HEIGHT, TILE_WIDTH, Tile, bundle};
use crate::tree::{Edge, leaf, leaf_hash};
use model::Digest;

/// A tile with its bytes.
pub(crate) type Made = (Tile, Vec<u8>);

/// What is not yet full, at each level, and the edge.
#[derive(Debug, Default)]
pub(crate) struct TileBuilder {
    edge: Edge,
    bundle: Vec<u8>,
    levels: Vec<Vec<Digest>>,
}

impl TileBuilder {
    pub(crate) fn edge(&self) -> &Edge {
        &self.edge
    }

    /// Takes the next entry in; tiles that it fills are added to `full`.
    pub(crate) fn push(&mut self, position: &Position, full: &mut Vec<Made>) {
        let leaf = leaf(position);
        let mut hash = leaf_hash(&leaf);
        bundle(&mut self.bundle, &leaf);
        // The edge makes the root of each full tile on its way: none is hashed twice.
        let mut roots = Vec::new();
        self.edge.push_noting(hash, |level, root| {
            if level.is_multiple_of(TILE_HEIGHT) {
                roots.push(*root);
            }
        });
        let mut roots = roots.into_iter();
        let size = self.edge.size();
        let width = u64::from(TILE_WIDTH);
        if size.is_multiple_of(width) {
            full.push((Tile::full(Level::Entries, size / width - 1), std::mem::take(&mut self.bundle)));
        }
        let mut tiles = size;
        for level in 0..=u8::MAX {
            let place = usize::from(level);
            if self.levels.len() <= place {
                self.levels.push(Vec::with_capacity(usize::from(TILE_WIDTH)));
            }
            let Some(hashes) = self.levels.get_mut(place) else { return };
            hashes.push(hash);
            if hashes.len() < usize::from(TILE_WIDTH) {
                return;
            }
            tiles /= width;
            full.push((Tile::full(Level::Hashes(level), tiles - 1), joined(hashes)));
            hashes.clear();
            let Some(root) = roots.next() else { return };
            hash = root;
        }
    }

    /// The partial tiles of the tree as it is.
    pub(crate) fn partials(&self) -> Vec<Made> {
        let size = self.edge.size();
        let tile = |level, filled: u64, bytes: Vec<u8>| {
            let index = filled / u64::from(TILE_WIDTH);
            let width = u16::try_from(filled % u64::from(TILE_WIDTH)).unwrap_or(0);
            (width > 0).then_some((Tile { level, index, width }, bytes))
        };
        let entries = tile(Level::Entries, size, self.bundle.clone());
        let levels = (0u8..).zip(&self.levels).filter_map(|(level, hashes)| {
            let filled = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
            tile(Level::Hashes(level), filled, joined(hashes))
        });
        entries.into_iter().chain(levels).collect()
    }
}

fn joined(hashes: &[Digest]) -> Vec<u8> {
    hashes.iter().flat_map(|h| h.0).collect()
}
