//! Another maker's implementations of C2SP tlog-tiles, tlog-checkpoint and signed-note read what this
//! crate writes, and this crate reads what they write.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use ledger::checkpoint::{log_key, origin_of};
use ledger::tile::TileFolder;
use ledger::tree::{self, Edge, LEAF_BYTES, leaf, leaf_hash};
use ledger::{
    Body, CHECKPOINT_FILE, FileLedger, Level, Note, Position, Publisher, SignedCheckpoint, SigningPublicKey,
    TREE_DIR, Tile, TileNodes, TileSource, VerifierKey,
};
use model::{Digest, EnrolmentId};
use proptest::prelude::*;
use signed_note::{StandardSigner, StandardVerifier, VerifierList};
use tempfile::TempDir;
use tlog_tiles::{Error, Hash, HashReader, TileHashReader, TileReader, check_record, check_tree};

fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn root_key() -> [u8; 32] {
    pair().public_key().as_ref().try_into().unwrap()
}

fn sign(message: &[u8]) -> Vec<u8> {
    pair().sign(message).as_ref().to_vec()
}

fn body(n: u64) -> Body {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.to_be_bytes());
    match n {
        0 => Body::Genesis {
            root_key: SigningPublicKey(root_key()),
            first_token_key: SigningPublicKey([1; 32]),
        },
        _ => Body::TokenUpdated { enrolment: EnrolmentId(id) },
    }
}

/// A real ledger of so many entries with its tree beside it.
fn published(entries: u64) -> (TempDir, Vec<Position>) {
    let dir = TempDir::new().unwrap();
    let mut ledger = FileLedger::open(dir.path()).unwrap();
    let mut publisher = Publisher::open(dir.path(), &[root_key()]).unwrap();
    let records = ledger.append_batch((0..entries).map(body).collect(), 1_780_000_000_000).unwrap();
    let positions: Vec<Position> = records.iter().map(|r| r.position).collect();
    positions.iter().for_each(|p| publisher.push(p).unwrap());
    publisher.publish(sign).unwrap();
    (dir, positions)
}

/// Their reader over our folder.
struct Folder(TileFolder);

impl TileReader for Folder {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, Error> {
        let read = |t: &tlog_tiles::Tile| {
            let width = u16::try_from(t.width()).unwrap();
            let ours = Tile { level: Level::Hashes(t.level()), index: t.level_index(), width };
            let theirs = t.path().replacen("tile/8/", "tile/", 1);
            assert_eq!(ours.path(), theirs);
            self.0.tile(ours).unwrap()
        };
        Ok(tiles.iter().map(read).collect())
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

fn hash(d: Digest) -> Hash {
    Hash(d.0)
}

#[test]
fn another_implementation_verifies_checkpoint_tiles_and_proofs() {
    let (dir, positions) = published(700);
    let tree_dir = dir.path().join(TREE_DIR);
    let bytes = std::fs::read(tree_dir.join(CHECKPOINT_FILE)).unwrap();
    let key = log_key(&root_key());
    let verifier = StandardVerifier::new(&key.to_string()).unwrap();
    let note = signed_note::Note::from_bytes(&bytes).unwrap();
    let (good, unknown) = note.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
    assert_eq!((good.len(), unknown.len()), (1, 0));
    let checkpoint = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!((checkpoint.size(), checkpoint.origin()), (700, origin_of(&root_key()).as_str()));

    // Their reader authenticates every tile that it reads against the checkpoint's root.
    let root = *checkpoint.hash();
    let folder = Folder(TileFolder(tree_dir.clone()));
    let reader = TileHashReader::new(700, root, &folder);
    let nodes = TileNodes::new(&folder.0, 700);
    for n in [0u64, 1, 255, 256, 511, 512, 698, 699] {
        let position = positions[usize::try_from(n).unwrap()];
        let ours = tree::prove_inclusion(&nodes, n, 700).unwrap();
        let theirs = tlog_tiles::prove_record(700, n, &reader).unwrap();
        assert_eq!(ours.iter().copied().map(hash).collect::<Vec<_>>(), theirs);
        let record = tlog_tiles::record_hash(&leaf(&position));
        check_record(&theirs, 700, root, n, record).unwrap();
        let proof: Vec<Digest> = theirs.iter().map(|h| Digest(h.0)).collect();
        tree::check_inclusion(&leaf_hash(&leaf(&position)), n, 700, &Digest(root.0), &proof).unwrap();
    }
    // The bundle is the leaves with their lengths.
    let bundle = std::fs::read(tree_dir.join("tile/entries/002.p/188")).unwrap();
    assert_eq!(bundle.len(), 188 * (2 + LEAF_BYTES));
    assert_eq!(bundle[..2], [0, 40]);
    assert_eq!(bundle[2..42], leaf(&positions[512]));
}

#[test]
fn a_note_that_another_implementation_signed_is_read_here() {
    let mut rng = rand_core::OsRng;
    let (skey, vkey) = signed_note::generate_key(&mut rng, "log.example.org/x");
    let root = Hash([5; 32]);
    let text = tlog_tiles::Checkpoint::new("log.example.org/x", 20_852_163, root, "").unwrap().to_bytes();
    let mut note = signed_note::Note::new(&text, &[]).unwrap();
    note.add_sigs(&[&StandardSigner::new(&skey).unwrap()]).unwrap();
    let key: VerifierKey = vkey.parse().unwrap();
    let opened = SignedCheckpoint::open(&note.to_bytes(), &key).unwrap();
    assert_eq!((opened.size(), opened.root()), (20_852_163, Digest([5; 32])));
    assert_eq!(Note::read(&note.to_bytes()).unwrap().to_string().into_bytes(), note.to_bytes());
    assert_eq!(key.to_string(), vkey);
}

/// Their stored hashes, in memory.
#[derive(Default)]
struct Stored(Vec<Hash>);

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        Ok(indexes.iter().map(|i| self.0[usize::try_from(*i).unwrap()]).collect())
    }
}

fn stored(size: u64) -> (Stored, Vec<Edge>) {
    let mut stored = Stored::default();
    let mut edges = vec![Edge::new()];
    for n in 0..size {
        let leaf = leaf(&Position { index: n, hash: Digest([u8::try_from(n % 251).unwrap(); 32]) });
        let more = tlog_tiles::stored_hashes(n, &leaf, &stored).unwrap();
        stored.0.extend(more);
        let mut edge = edges.last().unwrap().clone();
        edge.push(leaf_hash(&leaf));
        edges.push(edge);
    }
    (stored, edges)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_two_sizes_proof_of_the_one_holds_for_the_other(size in 1u64..700, old in 1u64..700, n in 0u64..700) {
        prop_assume!(old <= size && n < size);
        let (stored, edges) = stored(size);
        let at = |n: u64| edges[usize::try_from(n).unwrap()].root();
        let (old_root, root) = (at(old), at(size));
        prop_assert_eq!(tlog_tiles::tree_hash(size, &stored).unwrap(), hash(root));
        let theirs = tlog_tiles::prove_tree(size, old, &stored).unwrap();
        let proof: Vec<Digest> = theirs.iter().map(|h| Digest(h.0)).collect();
        prop_assert!(tree::check_consistency(old, &old_root, size, &root, &proof).is_ok());
        prop_assert!(check_tree(&theirs, size, hash(root), old, hash(old_root)).is_ok());
        let theirs = tlog_tiles::prove_record(size, n, &stored).unwrap();
        let proof: Vec<Digest> = theirs.iter().map(|h| Digest(h.0)).collect();
        let leaf = Position { index: n, hash: Digest([u8::try_from(n % 251).unwrap(); 32]) };
        prop_assert!(tree::check_inclusion(&leaf_hash(&tree::leaf(&leaf)), n, size, &root, &proof).is_ok());
    }
}
