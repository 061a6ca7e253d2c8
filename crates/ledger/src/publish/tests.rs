use super::*;
use crate::checkpoint::log_key;
use crate::frame::sha256;
use crate::tile::{Level, TileFolder, TileNodes, TileSource};
use crate::tree;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn root_key() -> [u8; 32] {
    pair().public_key().as_ref().try_into().unwrap()
}

fn sign(message: &[u8]) -> Vec<u8> {
    pair().sign(message).as_ref().to_vec()
}

fn position(index: u64) -> Position {
    Position { index, hash: sha256(&index.to_be_bytes()) }
}

fn publisher(dir: &TempDir, size: u64) -> Publisher {
    let mut publisher = Publisher::open(dir.path(), &[root_key()]).unwrap();
    (0..size).for_each(|i| publisher.push(&position(i)).unwrap());
    publisher
}

fn root_at(size: u64) -> model::Digest {
    let mut edge = tree::Edge::new();
    (0..size).for_each(|i| edge.push_entry(&position(i)));
    edge.root()
}

/// What anyone would check who has the folder and the root key alone: the checkpoint's signature, its root
/// from the tiles, and every leaf in its bundle. The checkpoint's size; 0 when there is none.
fn verified(dir: &Path) -> u64 {
    let dir = dir.join(TREE_DIR);
    let Ok(bytes) = fs::read(dir.join(CHECKPOINT_FILE)) else { return 0 };
    let signed = SignedCheckpoint::open(&bytes, &log_key(&root_key())).unwrap();
    let folder = TileFolder(dir);
    let nodes = TileNodes::new(&folder, signed.size());
    assert_eq!(tree::root(&nodes, signed.size()).unwrap(), signed.root());
    for index in 0..signed.size() {
        assert_eq!(nodes.leaf(index).unwrap(), position(index));
    }
    signed.size()
}

#[test]
fn tiles_and_checkpoint_hold_at_every_size_and_after_every_start() {
    let dir = TempDir::new().unwrap();
    for size in [1, 2, 255, 256, 257, 511, 512, 700] {
        let mut publisher = publisher(&dir, size);
        publisher.check().unwrap();
        assert_eq!(publisher.publish(sign).unwrap().unwrap().root(), root_at(size));
        assert_eq!(verified(dir.path()), size);
    }
    let mut tall = publisher(&dir, 66_000);
    tall.publish(sign).unwrap();
    let folder = TileFolder(dir.path().join(TREE_DIR));
    let nodes = TileNodes::new(&folder, 66_000);
    assert_eq!(tree::root(&nodes, 66_000).unwrap(), root_at(66_000));
    let top = folder.tile(Tile::full(Level::Hashes(1), 0)).unwrap();
    assert_eq!(top.len(), 8192);
}

#[test]
fn an_older_trees_partial_tiles_are_found_in_the_full_ones() {
    let dir = TempDir::new().unwrap();
    publisher(&dir, 300).publish(sign).unwrap();
    let old = tree::root(&TileNodes::new(&TileFolder(dir.path().join(TREE_DIR)), 300), 300).unwrap();
    publisher(&dir, 600).publish(sign).unwrap();
    assert!(!dir.path().join("tree/tile/0/001.p").exists());
    let folder = TileFolder(dir.path().join(TREE_DIR));
    assert_eq!(tree::root(&TileNodes::new(&folder, 300), 300).unwrap(), old);
    let proof = tree::prove_consistency(&TileNodes::new(&folder, 600), 300, 600).unwrap();
    tree::check_consistency(300, &old, 600, &root_at(600), &proof).unwrap();
}

#[test]
fn what_is_missing_or_wrong_is_written_again_at_the_next_start() {
    let dir = TempDir::new().unwrap();
    publisher(&dir, 600).publish(sign).unwrap();
    let tree = dir.path().join(TREE_DIR);
    for path in ["tile/0/000", "tile/entries/001", "tile/0/002.p/88", "tile/1/000.p/2", CHECKPOINT_FILE] {
        for damage in [None, Some(&b"x"[..])] {
            match damage {
                None => fs::remove_file(tree.join(path)).unwrap(),
                Some(bytes) => fs::write(tree.join(path), bytes).unwrap(),
            }
            let mut again = publisher(&dir, 600);
            assert_eq!(again.was_damaged(), path == CHECKPOINT_FILE && damage.is_some());
            again.publish(sign).unwrap();
            assert_eq!(verified(dir.path()), 600, "{path}");
        }
    }
}

#[test]
fn a_ledger_that_went_back_behind_its_checkpoint_or_was_rewritten_gets_no_signature() {
    let dir = TempDir::new().unwrap();
    publisher(&dir, 300).publish(sign).unwrap();
    let never = |_: &[u8]| -> Vec<u8> { panic!("it was signed") };
    match publisher(&dir, 299).publish(never) {
        Err(LedgerError::WentBack { signed: 300, entries: 299, .. }) => {}
        other => panic!("{other:?}"),
    }
    let mut forked = Publisher::open(dir.path(), &[root_key()]).unwrap();
    for i in 0..400 {
        let other = Position { index: i, hash: sha256(b"other") };
        forked.push(&if i == 20 { other } else { position(i) }).unwrap();
    }
    assert!(matches!(forked.publish(never), Err(LedgerError::Rewritten { signed: 300, .. })));
    assert_eq!(verified(dir.path()), 300, "nothing was written over");
}

/// A shelf whose n-th act goes wrong.
struct FaultyShelf {
    shelf: FolderShelf,
    dir: PathBuf,
    acts: Arc<Mutex<(usize, Fault)>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// Nothing happens, and it says so.
    LostBefore,
    /// A part of the bytes is in the unfinished file.
    Torn,
    /// All is there, and it says that it failed.
    LostAfter,
}

impl FaultyShelf {
    fn due(&self) -> Option<Fault> {
        let mut acts = self.acts.lock().unwrap();
        let (left, fault) = *acts;
        acts.0 = left.wrapping_sub(1);
        (left == 0).then_some(fault)
    }
}

impl Shelf for FaultyShelf {
    fn put(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        match self.due() {
            None => return self.shelf.put(path, bytes),
            Some(Fault::LostBefore) => {}
            Some(Fault::Torn) => {
                let target = self.dir.join(path);
                fs::create_dir_all(target.parent().unwrap()).unwrap();
                let name = target.file_name().unwrap().to_string_lossy().into_owned();
                fs::write(target.with_file_name(format!(".{name}.new")), &bytes[..bytes.len() / 2]).unwrap();
            }
            Some(Fault::LostAfter) => self.shelf.put(path, bytes)?,
        }
        Err(io::Error::other("made to fail"))
    }

    fn sync(&mut self) -> io::Result<()> {
        match self.due() {
            None => self.shelf.sync(),
            Some(_) => Err(io::Error::other("made to fail")),
        }
    }
}

#[test]
fn a_crash_at_any_write_leaves_a_checkpoint_that_verifies() {
    for fault in [Fault::LostBefore, Fault::Torn, Fault::LostAfter] {
        for nth in 0..40 {
            let dir = TempDir::new().unwrap();
            publisher(&dir, 250).publish(sign).unwrap();
            let tree = dir.path().join(TREE_DIR);
            let acts = Arc::new(Mutex::new((nth, fault)));
            let shelf =
                FaultyShelf { shelf: FolderShelf::new(tree.clone()), dir: tree.clone(), acts: acts.clone() };
            let mut faulty = Publisher::open_with(tree, &[root_key()], Box::new(shelf)).unwrap();
            (0..600).for_each(|i| faulty.push(&position(i)).unwrap());
            let outcome = faulty.publish(sign).map(|_| ());
            let reached = acts.lock().unwrap().0 > nth;
            assert_eq!(outcome.is_err(), reached, "{fault:?} {nth}");
            let found = verified(dir.path());
            assert!(found == 250 || found == 600, "{fault:?} {nth}: {found}");
            if !reached {
                assert_eq!((found, nth > 5), (600, true));
                break;
            }
            // The same process goes on, as does the next one.
            if nth % 2 == 0 {
                faulty.publish(sign).unwrap();
                assert_eq!(verified(dir.path()), 600, "{fault:?} {nth}");
            }
            drop(faulty);
            let mut next = publisher(&dir, 601);
            next.check().unwrap();
            next.publish(sign).unwrap();
            assert_eq!(verified(dir.path()), 601, "{fault:?} {nth}");
        }
    }
}
