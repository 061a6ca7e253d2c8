//! What is posted to a witness: a request has one spelling, and what is cosigned was signed and goes on.
#![no_main]
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use ledger::checkpoint::{log_key, origin_of};
use ledger::tree::Edge;
use ledger::witness::{AddCheckpoint, judge, origin_of_request};
use ledger::{Checkpoint, Position};
use libfuzzer_sys::fuzz_target;
use model::Digest;

fn checkpoint(root_key: &[u8; 32], size: u64) -> Checkpoint {
    let mut edge = Edge::new();
    (0..size).for_each(|index| edge.push_entry(&Position { index, hash: Digest([1; 32]) }));
    Checkpoint { origin: origin_of(root_key), size, root: edge.root() }
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed");
    let public: [u8; 32] = pair.public_key().as_ref().try_into().expect("32 bytes");
    let before = checkpoint(&public, 5);
    let request = match choice % 2 {
        0 => AddCheckpoint::read(rest),
        // The log signs an arbitrary text, and an arbitrary proof comes with it.
        _ => {
            let (proof, text) = rest.split_at(rest.len().min(usize::from(*choice)));
            let Ok(text) = std::str::from_utf8(text) else { return };
            let line = log_key(&public).sign(text, 0, |m| pair.sign(m).as_ref().to_vec());
            let note = format!("{text}\n{line}");
            let proof = proof.as_chunks::<32>().0.iter().map(|h| Digest(*h)).collect();
            Some(AddCheckpoint { old: 5, proof, note: note.into_bytes() })
        }
    };
    let Some(request) = request else { return };
    if choice % 2 == 0 {
        assert_eq!(AddCheckpoint::read(request.to_string().as_bytes()).as_ref(), Some(&request));
    }
    if let Ok(signed) = judge(&request, &log_key(&public), Some(&before)) {
        assert!(signed.size() >= 5 && signed.checkpoint().origin == before.origin);
        assert_eq!(origin_of_request(&request), Some(before.origin.as_str()));
        assert!(signed.size() > 5 || signed.root() == before.root);
    }
});
