//! Signed notes, keys and checkpoints: what is read is written the same; what is believed was signed.
#![no_main]
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use ledger::checkpoint::log_key;
use ledger::{Checkpoint, Note, NoteSignature, SignedCheckpoint, Signs, VerifierKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed");
    let public: [u8; 32] = pair.public_key().as_ref().try_into().expect("32 bytes");
    let log = log_key(&public);
    match choice % 4 {
        // As it comes.
        0 => {
            if let Ok(note) = Note::read(rest) {
                let text = note.to_string();
                assert_eq!(Note::read(text.as_bytes()).as_ref(), Ok(&note));
                if let Ok(signed) = SignedCheckpoint::open(rest, &log) {
                    assert!(log.verify(signed.note()).is_ok() && signed.checkpoint().origin == log.name());
                }
            }
        }
        // A text that the log signed, whatever it is: a checkpoint of its own, or none.
        1 => {
            let Ok(text) = std::str::from_utf8(rest) else { return };
            let line = log.sign(text, 0, |m| pair.sign(m).as_ref().to_vec());
            let note = Note { text: text.to_owned(), signatures: vec![line] };
            if let Ok(signed) = SignedCheckpoint::open(note.to_string().as_bytes(), &log) {
                let read = Checkpoint::read(text).expect("it was opened");
                assert_eq!((&read, read.origin.as_str()), (signed.checkpoint(), log.name()));
                assert!(text.starts_with(&read.text()));
            }
        }
        2 => {
            let Ok(text) = std::str::from_utf8(rest) else { return };
            if let Ok(key) = text.parse::<VerifierKey>() {
                assert_eq!(key.to_string().parse(), Ok(key));
            }
        }
        _ => {
            let Ok(text) = std::str::from_utf8(rest) else { return };
            if let Ok(line) = text.parse::<NoteSignature>() {
                assert_eq!(line.to_string().parse(), Ok(line.clone()));
                // A line of somebody's is nobody's cosignature of ours.
                let witness = VerifierKey::new("witness.example.org", Signs::Cosigns, public).expect("a name");
                let note = Note { text: "a text\n".into(), signatures: vec![line] };
                assert!(witness.verify(&note).is_err());
            }
        }
    }
});
