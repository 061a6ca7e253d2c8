//! A backup's folder, as a restore reads it: manifest, part, and what a part holds once it is opened. Nothing is
//! written but where a room keeps such a file.
#![no_main]
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use age::secrecy::ExposeSecret;
use backup::{Identities, MANIFEST_FILE, Manifest, PartMade, part_file, unpack};
use libfuzzer_sys::fuzz_target;

struct Place {
    dir: PathBuf,
    recipient: age::x25519::Recipient,
    identities: Identities,
}

/// A folder in memory, where the machine has one, and a key that was made for it.
fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        let shm = Path::new("/dev/shm");
        let at = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
        let dir = tempfile::Builder::new().prefix("matron-fuzz").tempdir_in(at).expect("a folder").keep();
        let identity = age::x25519::Identity::generate();
        let key = dir.join("key");
        std::fs::write(&key, identity.to_string().expose_secret()).expect("a key file");
        let identities = Identities::read(&key).expect("an identity");
        Place { dir, recipient: identity.to_public(), identities }
    })
}

fn made(bytes: &[u8]) -> PartMade {
    let sha256 = order::sha256(bytes);
    PartMade { name: "vault".into(), bytes: bytes.len() as u64, sha256, place: None }
}

/// A part with these bytes, opened into a folder that holds two of its files at most.
fn open(part: &[u8]) {
    let p = place();
    let into = p.dir.join("into");
    let _ = std::fs::remove_dir_all(&into);
    std::fs::write(p.dir.join(part_file("vault")), part).expect("a part");
    let kept = |name: &str| matches!(name, "ledger.log" | "tree/checkpoint").then(|| into.join(name));
    if let Ok(names) = unpack(&p.dir, &made(part), &p.identities, &kept) {
        assert!(names.iter().all(|n| n == "ledger.log" || n == "tree/checkpoint"));
    }
    let mut there: Vec<_> = std::fs::read_dir(&p.dir).expect("a folder").filter_map(|e| e.ok()).collect();
    there.retain(|e| !matches!(e.file_name().to_str(), Some("into" | "key" | "vault.tar.age" | "manifest.json")));
    assert!(there.is_empty(), "{there:?}");
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    match choice % 3 {
        0 => {
            std::fs::write(place().dir.join(MANIFEST_FILE), rest).expect("a manifest");
            // Nobody signs for what a fuzzer makes.
            if let Ok(manifest) = Manifest::read(&place().dir) {
                std::fs::write(place().dir.join(MANIFEST_FILE), manifest.encode()).expect("a manifest");
                assert_eq!(Manifest::read(&place().dir).ok(), Some(manifest));
            }
        }
        // The encrypted file as it comes.
        1 => open(rest),
        // Rightly encrypted, whatever it holds.
        _ => {
            let recipients: [&dyn age::Recipient; 1] = [&place().recipient];
            let encryptor = age::Encryptor::with_recipients(recipients.into_iter()).expect("a recipient");
            let mut part = Vec::new();
            let mut writer = encryptor.wrap_output(&mut part).expect("a header");
            writer.write_all(rest).expect("a part");
            writer.finish().expect("its end");
            open(&part);
        }
    }
});
