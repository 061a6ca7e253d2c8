//! Holds a ledger against its tree from outside: needs the files and the root key, and nothing else.

use std::fs;
use std::path::Path;

use model::Digest;

use crate::builder::{Made, TileBuilder};
use crate::checkpoint::SignedCheckpoint;
use crate::disk::io_error;
use crate::error::LedgerError;
use crate::frame::Position;
use crate::publish::CHECKPOINT_FILE;
use crate::tile::{Level, TILE_WIDTH, Tile, TileFolder, TileSource, unbundle};

/// Takes every entry's place in order and holds it against a checkpoint and, where there is a folder of
/// them, tiles. Keeps one tile a level in memory.
#[derive(Debug)]
pub struct Audit {
    tiles: TileBuilder,
    folder: Option<TileFolder>,
    signed: Option<SignedCheckpoint>,
    /// The leaves that the folder has for the entries that come next.
    bundle: Vec<Position>,
    full: Vec<Made>,
    compared: u64,
}

impl Audit {
    /// An audit against a checkpoint that was fetched, without tiles.
    #[must_use]
    pub fn of(signed: Option<SignedCheckpoint>) -> Self {
        Self {
            tiles: TileBuilder::default(),
            folder: None,
            signed,
            bundle: Vec::new(),
            full: Vec::new(),
            compared: 0,
        }
    }

    /// An audit against the folder of tiles at `dir`, signed by one of these root keys, the newest of which stands last.
    /// A folder without a checkpoint holds nothing to audit against.
    ///
    /// # Errors
    /// [`LedgerError::Note`] when none of them has signed the checkpoint there.
    pub fn with_folder(dir: &Path, roots: &[[u8; 32]]) -> Result<Self, LedgerError> {
        let path = dir.join(CHECKPOINT_FILE);
        let signed = match fs::read(&path) {
            Ok(bytes) => Some(SignedCheckpoint::of_house(&bytes, roots)?),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(io_error("can't read", &path)(e)),
        };
        Ok(Self { folder: signed.is_some().then(|| TileFolder(dir.to_owned())), ..Self::of(signed) })
    }

    /// The checkpoint that is audited against.
    #[must_use]
    pub fn signed(&self) -> Option<&SignedCheckpoint> {
        self.signed.as_ref()
    }

    /// The root of what was taken.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.tiles.edge().root()
    }

    /// How many tiles were held against the folder's.
    #[must_use]
    pub fn tiles_compared(&self) -> u64 {
        self.compared
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// [`LedgerError::NotInTree`] names an entry that is another one than the tree's,
    /// [`LedgerError::Rewritten`] tells of a checkpoint over other entries, [`LedgerError::Tile`] of a tile
    /// that is not the entries'.
    pub fn take(&mut self, position: &Position) -> Result<(), LedgerError> {
        let size = self.signed.as_ref().map_or(0, SignedCheckpoint::size);
        if self.folder.is_some() && position.index < size {
            self.hold_against_bundle(position, size)?;
        }
        self.tiles.push(position, &mut self.full);
        let now = self.tiles.edge().size();
        if !self.full.is_empty() {
            let full = std::mem::take(&mut self.full);
            if now <= size {
                full.iter().try_for_each(|made| self.hold_against(made))?;
            }
        }
        if now == size {
            self.tiles.partials().iter().try_for_each(|made| self.hold_against(made))?;
            self.check_root()?;
        }
        Ok(())
    }

    /// Says whether the checkpoint's entries were all there.
    ///
    /// # Errors
    /// [`LedgerError::WentBack`].
    pub fn finish(&self) -> Result<(), LedgerError> {
        let entries = self.tiles.edge().size();
        match &self.signed {
            Some(s) if s.size() > entries => {
                Err(LedgerError::WentBack { path: CHECKPOINT_FILE.into(), signed: s.size(), entries })
            }
            _ => Ok(()),
        }
    }

    fn check_root(&self) -> Result<(), LedgerError> {
        match &self.signed {
            Some(s) if s.root() != self.root() => {
                Err(LedgerError::Rewritten { path: CHECKPOINT_FILE.into(), signed: s.size() })
            }
            _ => Ok(()),
        }
    }

    fn hold_against_bundle(&mut self, position: &Position, size: u64) -> Result<(), LedgerError> {
        let width = u64::from(TILE_WIDTH);
        let tile = || Tile::of_tree(Level::Entries, position.index / width, size);
        if position.index.is_multiple_of(width) {
            let Some(tile) = tile() else { return Ok(()) };
            let bytes = self.folder.as_ref().map(|f| f.tile(tile)).transpose()?.unwrap_or_default();
            self.bundle = unbundle(&bytes)
                .filter(|b| b.len() == usize::from(tile.width))
                .ok_or_else(|| crate::tile::BadTile { path: tile.path() })?;
        }
        let place = usize::try_from(position.index % width).unwrap_or(usize::MAX);
        if self.bundle.get(place) == Some(position) {
            return Ok(());
        }
        let tile = tile().map(|t| t.path()).unwrap_or_default();
        Err(LedgerError::NotInTree { index: position.index, tile })
    }

    fn hold_against(&mut self, (tile, bytes): &Made) -> Result<(), LedgerError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        self.compared += 1;
        if folder.tile(*tile)? == *bytes {
            return Ok(());
        }
        Err(crate::tile::BadTile { path: tile.path() }.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::scan;
    use crate::{Body, FILE_NAME, FileLedger, Publisher, SigningPublicKey, TREE_DIR};
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use model::EnrolmentId;
    use std::os::unix::fs::FileExt;
    use tempfile::TempDir;

    fn pair() -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
    }

    fn root_key() -> [u8; 32] {
        pair().public_key().as_ref().try_into().unwrap()
    }

    fn body(n: u16) -> Body {
        let key = SigningPublicKey(root_key());
        let [a, b] = n.to_be_bytes();
        match n {
            0 => Body::Genesis { root_key: key, first_token_key: key },
            _ => Body::TokenUpdated {
                enrolment: EnrolmentId([a, b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            },
        }
    }

    fn ledger(bodies: impl Fn(u16) -> Body, entries: u16) -> TempDir {
        let dir = TempDir::new().unwrap();
        let mut ledger = FileLedger::open(dir.path()).unwrap();
        let mut publisher = Publisher::open(dir.path(), &[root_key()]).unwrap();
        for n in 0..entries {
            for r in ledger.append_batch(vec![bodies(n)], 5).unwrap() {
                publisher.push(&r.position).unwrap();
            }
        }
        publisher.publish(|m| pair().sign(m).as_ref().to_vec()).unwrap();
        dir
    }

    fn audited(dir: &Path) -> Result<(u64, u64), LedgerError> {
        let mut audit = Audit::with_folder(&dir.join(TREE_DIR), &[root_key()])?;
        let report = scan(dir, |s| audit.take(&s.position))?;
        audit.finish()?;
        assert_eq!(audit.signed().map(SignedCheckpoint::root), Some(audit.root()));
        Ok((report.entries, audit.tiles_compared()))
    }

    #[test]
    fn a_copied_folder_holds_against_its_tree_by_the_root_key_alone() {
        let dir = ledger(body, 520);
        // Two full bundles and tiles, and partial ones of three levels' worth.
        assert_eq!(audited(dir.path()).unwrap(), (520, 2 + 2 + 2 + 1));
        let other = [9; 32];
        assert!(matches!(
            Audit::with_folder(&dir.path().join(TREE_DIR), &[other]),
            Err(LedgerError::Note(_))
        ));
    }

    #[test]
    fn the_entry_that_was_changed_is_named_though_the_chain_was_made_whole_again() {
        for changed in [1u16, 255, 256, 300, 519] {
            let dir = ledger(body, 520);
            let other = |n| if n == changed { body(999) } else { body(n) };
            let forged = ledger(other, 520);
            fs::copy(forged.path().join(FILE_NAME), dir.path().join(FILE_NAME)).unwrap();
            match audited(dir.path()) {
                Err(LedgerError::NotInTree { index, .. }) => assert_eq!(index, u64::from(changed)),
                found => panic!("{changed}: {found:?}"),
            }
        }
    }

    #[test]
    fn any_flipped_byte_of_a_tile_or_of_the_file_is_noticed() {
        let dir = ledger(body, 300);
        let mut files = vec![dir.path().join(FILE_NAME)];
        let tree = dir.path().join(TREE_DIR);
        for tile in
            ["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/44"]
        {
            files.push(tree.join(tile));
        }
        files.push(tree.join(CHECKPOINT_FILE));
        for path in files {
            let whole = fs::read(&path).unwrap();
            for at in (0..whole.len()).step_by(97) {
                // The mark alone may say nothing.
                if path.ends_with(FILE_NAME) && (16..64).contains(&at) {
                    continue;
                }
                let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
                file.write_all_at(&[whole[at] ^ 4], at as u64).unwrap();
                assert!(audited(dir.path()).is_err(), "{} byte {at}", path.display());
                file.write_all_at(&[whole[at]], at as u64).unwrap();
            }
        }
        audited(dir.path()).unwrap();
    }

    #[test]
    fn a_ledger_that_was_cut_is_behind_its_checkpoint() {
        let (long, short) = (ledger(body, 20), ledger(body, 19));
        fs::copy(short.path().join(FILE_NAME), long.path().join(FILE_NAME)).unwrap();
        assert!(matches!(audited(long.path()), Err(LedgerError::WentBack { signed: 20, entries: 19, .. })));
    }
}
