use super::*;
use proptest::prelude::*;

/// All leaf hashes: the plainest source there is.
struct Leaves(Vec<Digest>);

impl Nodes for Leaves {
    type Error = std::convert::Infallible;

    fn node(&self, level: u8, index: u64) -> Result<Digest, Self::Error> {
        let from = usize::try_from(index << level).unwrap();
        let mut hashes = self.0[from..from + (1 << level)].to_vec();
        while hashes.len() > 1 {
            hashes = hashes.chunks(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
        }
        Ok(hashes[0])
    }
}

fn leaves(n: u64) -> Leaves {
    Leaves((0..n).map(|i| leaf_hash(&leaf(&Position { index: i, hash: sha256(&i.to_be_bytes()) }))).collect())
}

fn edge(leaves: &Leaves, size: usize) -> Edge {
    let mut edge = Edge::new();
    leaves.0[..size].iter().for_each(|l| edge.push(*l));
    edge
}

/// The definition of RFC 6962, section 2.1, word for word.
fn by_definition(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => sha256(&[]),
        [one] => *one,
        many => {
            let k = many.len().next_power_of_two() / 2;
            node_hash(&by_definition(&many[..k]), &by_definition(&many[k..]))
        }
    }
}

#[test]
fn the_edge_has_the_root_of_the_definition_at_every_size() {
    let all = leaves(300);
    for size in 0..=300 {
        let edge = edge(&all, size);
        assert_eq!(edge.root(), by_definition(&all.0[..size]), "{size}");
        assert_eq!(edge.root(), root(&all, size as u64).unwrap(), "{size}");
        assert!(edge.roots.len() <= 9);
    }
}

#[test]
fn the_roots_are_those_of_the_known_example() {
    // The leaves and roots that Certificate Transparency's own tests use.
    let data: [&[u8]; 4] = [&[], &[0], &[0x10], &[0x20, 0x21]];
    let mut edge = Edge::new();
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ];
    for (data, expected) in data.iter().zip(roots) {
        edge.push(leaf_hash(data));
        assert_eq!(edge.root().to_string(), expected);
    }
}

#[test]
fn every_inclusion_proof_holds_and_for_no_other_place() {
    let all = leaves(70);
    for size in 1..=70 {
        let root = root(&all, size).unwrap();
        for index in 0..size {
            let proof = prove_inclusion(&all, index, size).unwrap();
            let leaf = all.0[usize::try_from(index).unwrap()];
            check_inclusion(&leaf, index, size, &root, &proof).unwrap();
            for other in 0..size {
                let held = check_inclusion(&leaf, other, size, &root, &proof).is_ok();
                assert_eq!(held, other == index, "{index} as {other} of {size}");
            }
        }
        assert_eq!(check_inclusion(&root, size, size, &root, &[]), Err(ProofError::Sizes));
    }
}

#[test]
fn every_consistency_proof_holds_and_no_shorter_or_longer_one() {
    let all = leaves(70);
    for size in 0..=70 {
        let new = root(&all, size).unwrap();
        for old in 0..=size {
            let before = root(&all, old).unwrap();
            let mut proof = prove_consistency(&all, old, size).unwrap();
            check_consistency(old, &before, size, &new, &proof).unwrap();
            proof.push(Digest([1; 32]));
            assert!(check_consistency(old, &before, size, &new, &proof).is_err(), "{old} {size}");
            proof.pop();
            if proof.pop().is_some() {
                assert!(check_consistency(old, &before, size, &new, &proof).is_err(), "{old} {size}");
            }
        }
        assert_eq!(check_consistency(size + 1, &new, size, &new, &[]), Err(ProofError::Sizes));
    }
}

#[test]
fn a_leaf_reads_back_to_the_entrys_place() {
    let position = Position { index: 7, hash: sha256(b"x") };
    assert_eq!(position_of(&leaf(&position)), Some(position));
    assert_eq!(position_of(&leaf(&position)[1..]), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_flipped_bit_of_a_consistency_proof_is_refused(
        size in 2u64..2000, old in 1u64..2000, bit in any::<prop::sample::Index>(),
    ) {
        prop_assume!(old < size);
        let all = leaves(size);
        let (before, new) = (root(&all, old).unwrap(), root(&all, size).unwrap());
        let mut proof = prove_consistency(&all, old, size).unwrap();
        prop_assert!(check_consistency(old, &before, size, &new, &proof).is_ok());
        let bit = bit.index(proof.len() * 256);
        proof[bit / 256].0[bit % 256 / 8] ^= 1 << (bit % 8);
        prop_assert!(check_consistency(old, &before, size, &new, &proof).is_err());
    }

    #[test]
    fn any_flipped_bit_of_an_inclusion_proof_is_refused(
        size in 2u64..2000, index in 0u64..2000, bit in any::<prop::sample::Index>(),
    ) {
        prop_assume!(index < size);
        let all = leaves(size);
        let root = root(&all, size).unwrap();
        let leaf = all.0[usize::try_from(index).unwrap()];
        let mut proof = prove_inclusion(&all, index, size).unwrap();
        prop_assert!(check_inclusion(&leaf, index, size, &root, &proof).is_ok());
        let bit = bit.index(proof.len() * 256);
        proof[bit / 256].0[bit % 256 / 8] ^= 1 << (bit % 8);
        prop_assert!(check_inclusion(&leaf, index, size, &root, &proof).is_err());
    }

    #[test]
    fn a_forked_tree_has_no_proof(
        size in 3u64..500, old in any::<prop::sample::Index>(), changed in any::<prop::sample::Index>(),
    ) {
        let old = 1 + old.index(usize::try_from(size).unwrap() - 1) as u64;
        let changed = changed.index(usize::try_from(old).unwrap()) as u64;
        let all = leaves(size);
        let mut forked = leaves(size);
        forked.0[usize::try_from(changed).unwrap()] = Digest([9; 32]);
        let before = root(&all, old).unwrap();
        let new = root(&forked, size).unwrap();
        for source in [&all, &forked] {
            let proof = prove_consistency(source, old, size).unwrap();
            prop_assert!(check_consistency(old, &before, size, &new, &proof).is_err());
        }
    }

    #[test]
    fn checking_any_proof_never_panics(
        old in any::<u64>(), size in any::<u64>(), n in 0usize..70,
    ) {
        let proof = vec![Digest([3; 32]); n];
        let any = Digest([4; 32]);
        let _ = check_consistency(old, &any, size, &any, &proof);
        let _ = check_inclusion(&any, old, size, &any, &proof);
    }
}
