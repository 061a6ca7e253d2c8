//! The Merkle tree over the ledger's entries (RFC 6962, section 2.1; the checks are those of RFC 9162,
//! sections 2.1.3.2 and 2.1.4.2). SHA-256 throughout.
//!
//! A leaf of the tree is a [`leaf`]: 40 bytes that name the entry's index and the SHA-256 of its bytes,
//! the hash that the next entry names too. So a leaf has one size whatever the entry's, says nothing of
//! what the entry says, and commits to every byte of it.

use aws_lc_rs::digest::{Context, SHA256};
use model::Digest;

use crate::frame::{Position, digest_of, sha256};

/// The bytes of one leaf.
pub const LEAF_BYTES: usize = 8 + 32;

/// What the tree holds of an entry: its index as eight bytes, big endian, then the SHA-256 of its bytes.
#[must_use]
pub fn leaf(position: &Position) -> [u8; LEAF_BYTES] {
    let mut out = [0; LEAF_BYTES];
    let bytes = position.index.to_be_bytes().into_iter().chain(position.hash.0);
    out.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    out
}

/// The entry's place, read back from its leaf; `None` for another length.
#[must_use]
pub fn position_of(leaf: &[u8]) -> Option<Position> {
    let (index, hash) = leaf.split_first_chunk::<8>()?;
    Some(Position { index: u64::from_be_bytes(*index), hash: Digest(hash.try_into().ok()?) })
}

/// The hash of a leaf: SHA-256 of a zero byte and its data.
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Digest {
    let mut buffer = [0; 1 + LEAF_BYTES];
    if data.len() == LEAF_BYTES {
        buffer.iter_mut().skip(1).zip(data).for_each(|(to, from)| *to = *from);
        return sha256(&buffer);
    }
    let mut hash = Context::new(&SHA256);
    hash.update(&[0]);
    hash.update(data);
    digest_of(hash.finish())
}

/// The hash of an inner node: SHA-256 of a one byte and its two children.
#[must_use]
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut buffer = [1; 65];
    let bytes = left.0.iter().chain(&right.0);
    buffer.iter_mut().skip(1).zip(bytes).for_each(|(to, from)| *to = *from);
    sha256(&buffer)
}

/// The right edge of a tree that grows: the roots of its perfect subtrees, the largest first. It is all
/// that appending and the root need, at most 64 hashes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edge {
    size: u64,
    roots: Vec<Digest>,
}

impl Edge {
    /// The empty tree's.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many leaves the tree has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf by its hash.
    pub fn push(&mut self, leaf_hash: Digest) {
        self.push_noting(leaf_hash, |_, _| {});
    }

    /// As [`Edge::push`], telling of each perfect subtree that the leaf completes: how many levels it has above
    /// its leaves, and its root.
    pub(crate) fn push_noting(&mut self, leaf_hash: Digest, mut completed: impl FnMut(u8, &Digest)) {
        let mut node = leaf_hash;
        let mut size = self.size;
        let mut level = 0;
        while size % 2 == 1 {
            let Some(left) = self.roots.pop() else { break };
            node = node_hash(&left, &node);
            size /= 2;
            level += 1;
            completed(level, &node);
        }
        self.roots.push(node);
        self.size += 1;
    }

    /// Appends an entry.
    pub fn push_entry(&mut self, position: &Position) {
        self.push(leaf_hash(&leaf(position)));
    }

    /// The tree's root; of the empty tree the SHA-256 of nothing.
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut roots = self.roots.iter().rev();
        let Some(last) = roots.next() else { return sha256(&[]) };
        roots.fold(*last, |right, left| node_hash(left, &right))
    }
}

/// Where the hashes of perfect subtrees come from.
pub trait Nodes {
    /// Why a hash is not there.
    type Error;

    /// The hash of the subtree of `2^level` leaves that begins at leaf `index * 2^level`.
    ///
    /// # Errors
    /// When the source has no such hash, or can't be read.
    fn node(&self, level: u8, index: u64) -> Result<Digest, Self::Error>;
}

/// The largest power of two below `n`, for `n` above 1.
fn split(n: u64) -> u64 {
    1 << (63 - (n - 1).leading_zeros())
}

/// The root of the leaves `from..to`, which begin where a subtree of that size can.
fn root_of<N: Nodes>(nodes: &N, from: u64, to: u64) -> Result<Digest, N::Error> {
    let n = to - from;
    if n.is_power_of_two() {
        let level = n.trailing_zeros();
        return nodes.node(u8::try_from(level).unwrap_or(u8::MAX), from >> level);
    }
    let k = split(n);
    Ok(node_hash(&root_of(nodes, from, from + k)?, &root_of(nodes, from + k, to)?))
}

/// The root of the tree of the first `size` leaves.
///
/// # Errors
/// The source's.
pub fn root<N: Nodes>(nodes: &N, size: u64) -> Result<Digest, N::Error> {
    if size == 0 { Ok(sha256(&[])) } else { root_of(nodes, 0, size) }
}

/// The proof that leaf `index` is in the tree of `size` leaves (RFC 6962, section 2.1.1), from the
/// leaf's sibling up. Empty when `index` is not below `size`.
///
/// # Errors
/// The source's.
pub fn prove_inclusion<N: Nodes>(nodes: &N, index: u64, size: u64) -> Result<Vec<Digest>, N::Error> {
    let (mut from, mut to) = (0, size);
    let mut down = Vec::new();
    while index < size && to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            down.push((middle, to));
            to = middle;
        } else {
            down.push((from, middle));
            from = middle;
        }
    }
    down.into_iter().rev().map(|(from, to)| root_of(nodes, from, to)).collect()
}

/// The proof that the tree of `old` leaves is the beginning of the tree of `size` (RFC 6962, section
/// 2.1.2). Empty when `old` is 0, `size`, or more.
///
/// # Errors
/// The source's.
pub fn prove_consistency<N: Nodes>(nodes: &N, old: u64, size: u64) -> Result<Vec<Digest>, N::Error> {
    if old == 0 || old >= size {
        return Ok(Vec::new());
    }
    let (mut from, mut to) = (0, size);
    let mut down = Vec::new();
    let mut whole = true;
    while old != to {
        let middle = from + split(to - from);
        if old <= middle {
            down.push((middle, to));
            to = middle;
        } else {
            down.push((from, middle));
            from = middle;
            whole = false;
        }
    }
    if !whole {
        down.push((from, to));
    }
    down.into_iter().rev().map(|(from, to)| root_of(nodes, from, to)).collect()
}

/// A proof does not show what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The sizes or the index don't go together.
    #[error("the proof's sizes or index can't be")]
    Sizes,
    /// It has too few or too many hashes.
    #[error("the proof has another number of hashes than its sizes call for")]
    Length,
    /// It leads to another root.
    #[error("the proof leads to another root")]
    Root,
}

/// Checks that the leaf with this hash stands at `index` of the tree of `size` leaves with this root.
///
/// # Errors
/// [`ProofError`] says what does not hold.
pub fn check_inclusion(
    leaf_hash: &Digest,
    index: u64,
    size: u64,
    root: &Digest,
    proof: &[Digest],
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Sizes);
    }
    let (mut place, mut last) = (index, size - 1);
    let mut node = *leaf_hash;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if place % 2 == 1 || place == last {
            node = node_hash(sibling, &node);
            while place % 2 == 0 && place != 0 {
                place /= 2;
                last /= 2;
            }
        } else {
            node = node_hash(&node, sibling);
        }
        place /= 2;
        last /= 2;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if node == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// Checks that the tree of `old` leaves with `old_root` is the beginning of the tree of `size` leaves
/// with `root`. The empty tree is the beginning of every tree.
///
/// # Errors
/// [`ProofError`] says what does not hold.
pub fn check_consistency(
    old: u64,
    old_root: &Digest,
    size: u64,
    root: &Digest,
    proof: &[Digest],
) -> Result<(), ProofError> {
    if old > size {
        return Err(ProofError::Sizes);
    }
    if old == size || old == 0 {
        let same = old == 0 || old_root == root;
        return match (proof.is_empty(), same) {
            (false, _) => Err(ProofError::Length),
            (true, true) => Ok(()),
            (true, false) => Err(ProofError::Root),
        };
    }
    let first = old.is_power_of_two().then_some(*old_root);
    let mut hashes = first.into_iter().chain(proof.iter().copied());
    let (mut place, mut last) = (old - 1, size - 1);
    while place % 2 == 1 {
        place /= 2;
        last /= 2;
    }
    let start = hashes.next().ok_or(ProofError::Length)?;
    let (mut old_node, mut node) = (start, start);
    for hash in hashes {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if place % 2 == 1 || place == last {
            old_node = node_hash(&hash, &old_node);
            node = node_hash(&hash, &node);
            while place % 2 == 0 && place != 0 {
                place /= 2;
                last /= 2;
            }
        } else {
            node = node_hash(&node, &hash);
        }
        place /= 2;
        last /= 2;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if old_node == *old_root && node == *root { Ok(()) } else { Err(ProofError::Root) }
}

#[cfg(test)]
mod tests;
