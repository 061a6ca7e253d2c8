//! Proof files, tiles' paths, bundles, and proofs over a tree: nothing but the tree's own proof is believed.
#![no_main]
use std::sync::OnceLock;

use ledger::checkpoint::log_key;
use ledger::tile::{hash_of, unbundle};
use ledger::tree::{Edge, check_consistency, check_inclusion};
use ledger::{Position, Proof, Tile};
use libfuzzer_sys::fuzz_target;
use model::Digest;

const LEAVES: u64 = 40;

fn position(index: u64) -> Position {
    Position { index, hash: Digest([index as u8; 32]) }
}

/// The roots of the trees of 0 to 40 leaves.
fn roots() -> &'static [Digest] {
    static ROOTS: OnceLock<Vec<Digest>> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut edge = Edge::new();
        let mut roots = vec![edge.root()];
        for index in 0..LEAVES {
            edge.push_entry(&position(index));
            roots.push(edge.root());
        }
        roots
    })
}

fn hashes(bytes: &[u8]) -> Vec<Digest> {
    bytes.as_chunks::<32>().0.iter().map(|h| Digest(*h)).collect()
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    match choice % 5 {
        0 => {
            if let Ok(proof) = Proof::read(rest) {
                let again = Proof::read(proof.to_string().as_bytes()).ok();
                assert_eq!(again.as_ref(), Some(&proof));
                assert!(proof.check(&log_key(&[1; 32])).is_err());
            }
        }
        1 => {
            let Ok(text) = std::str::from_utf8(rest) else { return };
            if let Ok(tile) = text.parse::<Tile>() {
                // One spelling, and it never leaves the folder.
                let path = tile.path();
                assert_eq!(path.strip_prefix("tile/"), Some(text));
                assert!(path.split('/').all(|part| !part.is_empty() && part != ".." && part != "."));
                assert!(tile.bytes() <= 256 * 42);
            }
        }
        2 => {
            if let Some(positions) = unbundle(rest) {
                assert_eq!(positions.len() * 42, rest.len());
            }
        }
        3 => {
            let Some(([index, size], proof)) = rest.split_first_chunk::<2>() else { return };
            let (index, size) = (u64::from(*index), u64::from(*size) % (LEAVES + 1));
            let root = roots()[size as usize];
            let leaf = hash_of(&position(index));
            if check_inclusion(&leaf, index, size, &root, &hashes(proof)).is_ok() {
                assert!(index < size, "a leaf that is not there was proved");
            }
            // The hash of no leaf of ours.
            assert!(check_inclusion(&Digest([0xaa; 32]), index, size, &root, &hashes(proof)).is_err());
        }
        _ => {
            let Some(([old, new], proof)) = rest.split_first_chunk::<2>() else { return };
            let (old, new) = (u64::from(*old) % (LEAVES + 1), u64::from(*new) % (LEAVES + 1));
            let (from, to) = (roots()[old as usize], roots()[new as usize]);
            if check_consistency(old, &from, new, &to, &hashes(proof)).is_ok() {
                assert!(old <= new, "a tree went back");
            }
            // Another past leads to no tree of ours.
            if old > 0 {
                assert!(check_consistency(old, &Digest([0xaa; 32]), new, &to, &hashes(proof)).is_err());
            }
        }
    }
});
