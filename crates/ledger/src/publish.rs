//! Writes the tree beside the ledger: tiles, and the signed checkpoint, in a folder of their own.
//!
//! The folder is a cache. It is held against the ledger at every start and what is missing or wrong is
//! written again; deleting it costs a replay and nothing else. Its order of writes is what counts:
//! **entries durable, then tiles durable, then the checkpoint** in one rename, so that a crash at any
//! write leaves a checkpoint that verifies against tiles and entries that are there.
//!
//! A signed checkpoint is also a promise: a ledger that has fewer entries than one, or others, was put
//! back or rewritten, and nothing more is signed for it ([`LedgerError::WentBack`],
//! [`LedgerError::Rewritten`]).

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::builder::{Made, TileBuilder};
use crate::checkpoint::{Checkpoint, SignedCheckpoint, origin_of};
use crate::disk::io_error;
use crate::error::LedgerError;
use crate::frame::Position;
use crate::note::NoteError;
use crate::tile::Tile;

/// The folder's name beside the ledger.
pub const TREE_DIR: &str = "tree";
/// The checkpoint's name in it.
pub const CHECKPOINT_FILE: &str = "checkpoint";

/// So many full tiles wait in memory at most before they are written.
const MOST_WAITING: usize = 128;

/// Where whole files go.
pub trait Shelf: Send {
    /// Writes a file whole or not at all, in place of one that may be there. Its bytes are durable when
    /// this returns; its name is once [`Shelf::sync`] has.
    ///
    /// # Errors
    /// The system's; the file may be the old one, the new one, or not there.
    fn put(&mut self, path: &str, bytes: &[u8]) -> io::Result<()>;

    /// Makes the names durable.
    ///
    /// # Errors
    /// The system's.
    fn sync(&mut self) -> io::Result<()>;
}

/// A folder of the host's file system.
#[derive(Debug)]
pub struct FolderShelf {
    dir: PathBuf,
    touched: BTreeSet<PathBuf>,
}

impl FolderShelf {
    /// The folder; it is made when something is put into it.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, touched: BTreeSet::new() }
    }

    fn make_folder(&mut self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        if let Some(parent) = dir.parent() {
            self.make_folder(parent)?;
            self.touched.insert(parent.to_owned());
        }
        match fs::DirBuilder::new().mode(0o700).create(dir) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
            _ => Ok(()),
        }
    }
}

impl Shelf for FolderShelf {
    fn put(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let target = self.dir.join(path);
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        self.make_folder(parent)?;
        let unfinished = parent.join(format!(".{}.new", name.to_string_lossy()));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, &target)?;
        self.touched.insert(parent.to_owned());
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        for dir in &self.touched {
            File::open(dir)?.sync_all()?;
        }
        self.touched.clear();
        Ok(())
    }
}

/// Keeps tiles and checkpoint in step with the ledger.
pub struct Publisher {
    shelf: Box<dyn Shelf>,
    dir: PathBuf,
    /// The log's name, the first one's; the newest, which signs, stands last.
    roots: Vec<[u8; 32]>,
    tiles: TileBuilder,
    /// Full tiles that are not on the shelf yet.
    waiting: Vec<Made>,
    /// The checkpoint on the shelf.
    signed: Option<SignedCheckpoint>,
    /// A checkpoint file was there and is none that the root key signed.
    damaged: bool,
    /// The checkpoint's root was another one than the entries'.
    rewritten: bool,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher")
            .field("dir", &self.dir)
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

impl Publisher {
    /// Opens the folder beside the ledger in `ledger_dir`. `roots`: the house's root keys, the first one first. Give it every entry of the ledger with
    /// [`Publisher::push`], then call [`Publisher::check`].
    ///
    /// # Errors
    /// [`LedgerError::Io`] when a checkpoint is there and can't be read.
    pub fn open(ledger_dir: &Path, roots: &[[u8; 32]]) -> Result<Self, LedgerError> {
        let dir = ledger_dir.join(TREE_DIR);
        let shelf = Box::new(FolderShelf::new(dir.clone()));
        Self::open_with(dir, roots, shelf)
    }

    /// As [`Publisher::open`] for a folder of any name, writing through another [`Shelf`].
    ///
    /// # Errors
    /// As [`Publisher::open`].
    pub fn open_with(dir: PathBuf, roots: &[[u8; 32]], shelf: Box<dyn Shelf>) -> Result<Self, LedgerError> {
        let path = dir.join(CHECKPOINT_FILE);
        let found = match fs::read(&path) {
            Ok(bytes) => Some(SignedCheckpoint::of_house(&bytes, roots)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(io_error("can't read", &path)(e)),
        };
        Ok(Self {
            shelf,
            dir,
            roots: roots.to_vec(),
            tiles: TileBuilder::default(),
            waiting: Vec::new(),
            damaged: found.as_ref().is_some_and(Result::is_err),
            signed: found.and_then(Result::ok),
            rewritten: false,
        })
    }

    /// How many entries it was given.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.tiles.edge().size()
    }

    /// The newest checkpoint that is on the disk.
    #[must_use]
    pub fn signed(&self) -> Option<&SignedCheckpoint> {
        self.signed.as_ref()
    }

    /// A checkpoint file was found that the root key had not signed; another takes its place.
    #[must_use]
    pub fn was_damaged(&self) -> bool {
        self.damaged
    }

    /// Another root key signs from here on.
    pub fn succeed(&mut self, root_key: [u8; 32]) {
        self.roots.push(root_key);
    }

    /// Takes in the next entry of the ledger, which is durable.
    ///
    /// # Errors
    /// [`LedgerError::Io`] when many tiles waited and can't be written; the entry was taken in.
    pub fn push(&mut self, position: &Position) -> Result<(), LedgerError> {
        self.tiles.push(position, &mut self.waiting);
        let edge = self.tiles.edge();
        if self.signed.as_ref().is_some_and(|s| s.size() == edge.size() && s.root() != edge.root()) {
            self.rewritten = true;
        }
        if self.waiting.len() >= MOST_WAITING { self.write_waiting() } else { Ok(()) }
    }

    /// Once the whole ledger was given: is it the one that was signed for?
    ///
    /// # Errors
    /// [`LedgerError::WentBack`] and [`LedgerError::Rewritten`].
    pub fn check(&self) -> Result<(), LedgerError> {
        let Some(signed) = &self.signed else { return Ok(()) };
        let (path, signed) = (self.dir.join(CHECKPOINT_FILE), signed.size());
        if signed > self.size() {
            return Err(LedgerError::WentBack { path, signed, entries: self.size() });
        }
        if self.rewritten { Err(LedgerError::Rewritten { path, signed }) } else { Ok(()) }
    }

    /// Writes what is new of the tree, and a checkpoint over it that `sign` (Ed25519 with the root key)
    /// signs. Does nothing when all is there.
    ///
    /// # Errors
    /// As [`Publisher::check`], then nothing was written. [`LedgerError::Io`]: what was on the disk still
    /// verifies; calling again goes on.
    pub fn publish(
        &mut self,
        sign: impl FnOnce(&[u8]) -> Vec<u8>,
    ) -> Result<Option<&SignedCheckpoint>, LedgerError> {
        self.check()?;
        if self.size() == 0 {
            return Ok(None);
        }
        let filled: Vec<Tile> = self.waiting.iter().map(|(tile, _)| *tile).collect();
        self.write_waiting()?;
        for (tile, bytes) in self.tiles.partials() {
            self.write(tile, &bytes)?;
        }
        self.shelf.sync().map_err(io_error("can't sync the folder", &self.dir))?;
        if self.signed.as_ref().is_none_or(|s| s.size() < self.size()) {
            let (size, root) = (self.size(), self.tiles.edge().root());
            let (Some(first), Some(newest)) = (self.roots.first(), self.roots.last()) else {
                return Err(NoteError::Unsigned.into());
            };
            let checkpoint = Checkpoint { origin: origin_of(first), size, root };
            let note = checkpoint.sign(newest, sign).to_string();
            let signed = SignedCheckpoint::of_house(note.as_bytes(), &[*newest])?;
            let put = self.shelf.put(CHECKPOINT_FILE, note.as_bytes()).and_then(|()| self.shelf.sync());
            put.map_err(io_error("can't write the checkpoint in", &self.dir))?;
            self.signed = Some(signed);
            self.damaged = false;
        }
        // Smaller trees' tiles are parts of the full ones now.
        for tile in filled {
            let _ = fs::remove_dir_all(self.dir.join(format!("{}.p", tile.path())));
        }
        Ok(self.signed.as_ref())
    }

    /// As [`Publisher::publish`] for a copy of the tree: its tiles, and a checkpoint over all that was given
    /// which was signed elsewhere.
    ///
    /// # Errors
    /// [`LedgerError::Rewritten`] when the checkpoint is of other entries; else as [`Publisher::publish`].
    pub fn copy(&mut self, signed: &SignedCheckpoint) -> Result<(), LedgerError> {
        if (signed.size(), signed.root()) != (self.size(), self.tiles.edge().root()) {
            let path = self.dir.join(CHECKPOINT_FILE);
            return Err(LedgerError::Rewritten { path, signed: signed.size() });
        }
        self.write_waiting()?;
        for (tile, bytes) in self.tiles.partials() {
            self.write(tile, &bytes)?;
        }
        let note = signed.note().to_string();
        let put = self.shelf.sync().and_then(|()| self.shelf.put(CHECKPOINT_FILE, note.as_bytes()));
        put.and_then(|()| self.shelf.sync()).map_err(io_error("can't write the checkpoint in", &self.dir))
    }

    fn write_waiting(&mut self) -> Result<(), LedgerError> {
        while let Some((tile, bytes)) = self.waiting.pop() {
            if let Err(e) = self.write(tile, &bytes) {
                self.waiting.push((tile, bytes));
                return Err(e);
            }
        }
        Ok(())
    }

    fn write(&mut self, tile: Tile, bytes: &[u8]) -> Result<(), LedgerError> {
        let path = tile.path();
        if fs::read(self.dir.join(&path)).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        self.shelf.put(&path, bytes).map_err(io_error("can't write", &self.dir.join(&path)))
    }
}

#[cfg(test)]
mod tests;
