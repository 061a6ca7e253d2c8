//! Parts that are whole, cut, changed, someone else's.

use super::*;
use age::secrecy::ExposeSecret;
use std::path::PathBuf;
use tempfile::TempDir;

/// A key pair as an operator has it: the public half, and the file with the secret one.
fn keys(dir: &Path, name: &str) -> (Recipients, Identities) {
    let secret = age::x25519::Identity::generate();
    let path = dir.join(name);
    fs::write(&path, format!("# made up\n{}\n", secret.to_string().expose_secret())).unwrap();
    let recipients = Recipients::parse(&[secret.to_public().to_string()]).unwrap();
    (recipients, Identities::read(&path).unwrap())
}

fn part_of(dir: &Path, recipients: &Recipients, files: &[(&str, &[u8])]) -> PartMade {
    let out = File::create(dir.join("door.tar.age")).unwrap();
    let mut part = PartWriter::begin("door", out, recipients).unwrap();
    for (name, content) in files {
        part.put(name, content.len() as u64, *content).unwrap();
    }
    part.finish(None).unwrap()
}

fn into(dir: PathBuf) -> impl Fn(&str) -> Option<PathBuf> {
    move |name| ["tls.key.der", "push/push.pem", "large"].contains(&name).then(|| dir.join(name))
}

#[test]
fn what_was_put_into_a_part_comes_out_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    let (recipients, identities) = keys(dir.path(), "key");
    let large = vec![0x5a; 300_000];
    let made = part_of(
        dir.path(),
        &recipients,
        &[("tls.key.der", b"a made-up key"), ("push/push.pem", b""), ("large", &large)],
    );
    let to = dir.path().join("restored");
    let names = unpack(dir.path(), &made, &identities, &into(to.clone())).unwrap();
    assert_eq!(names, ["tls.key.der", "push/push.pem", "large"]);
    assert_eq!(fs::read(to.join("tls.key.der")).unwrap(), b"a made-up key");
    assert_eq!(fs::read(to.join("large")).unwrap(), large);
    assert_eq!(fs::metadata(to.join("large")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn nothing_of_what_is_in_a_part_can_be_read_from_its_file() {
    let dir = TempDir::new().unwrap();
    let (recipients, _) = keys(dir.path(), "key");
    let secret = b"a made-up secret of thirty bytes";
    part_of(dir.path(), &recipients, &[("tls.key.der", secret)]);
    let bytes = fs::read(dir.path().join("door.tar.age")).unwrap();
    for word in [&secret[..], b"tls.key.der", b"ustar"] {
        assert!(!bytes.windows(word.len()).any(|w| w == word), "{}", String::from_utf8_lossy(word));
    }
}

#[test]
fn another_identity_opens_nothing_and_is_told_so() {
    let dir = TempDir::new().unwrap();
    let (recipients, _) = keys(dir.path(), "key");
    let (_, others) = keys(dir.path(), "other");
    let made = part_of(dir.path(), &recipients, &[("tls.key.der", b"a made-up key")]);
    let to = dir.path().join("restored");
    let refused = unpack(dir.path(), &made, &others, &into(to.clone())).unwrap_err();
    assert!(matches!(&refused, BackupError::NotForThisIdentity { part } if part == "door"), "{refused}");
    assert!(!to.exists());
}

#[test]
fn a_part_that_was_cut_or_changed_anywhere_is_refused_by_name_before_a_byte_is_written() {
    let dir = TempDir::new().unwrap();
    let (recipients, identities) = keys(dir.path(), "key");
    let made = part_of(dir.path(), &recipients, &[("large", &[1; 5000])]);
    let path = dir.path().join("door.tar.age");
    let whole = fs::read(&path).unwrap();
    let to = dir.path().join("restored");
    let mut tried = 0;
    for at in (0..whole.len()).step_by(97) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        for bytes in [whole[..at].to_vec(), changed] {
            fs::write(&path, bytes).unwrap();
            let refused = unpack(dir.path(), &made, &identities, &into(to.clone())).unwrap_err();
            assert!(
                matches!(&refused, BackupError::Damaged { part, .. } if part == "door"),
                "{at}: {refused}"
            );
            tried += 1;
        }
    }
    assert!(tried > 100 && !to.exists());
    fs::remove_file(&path).unwrap();
    let refused = unpack(dir.path(), &made, &identities, &into(to)).unwrap_err().to_string();
    assert!(refused.contains("door") && refused.contains("no such file"), "{refused}");
}

#[test]
fn a_cut_part_does_not_open_even_where_the_manifest_was_cut_with_it() {
    let dir = TempDir::new().unwrap();
    let (recipients, identities) = keys(dir.path(), "key");
    let made = part_of(dir.path(), &recipients, &[("large", &[1; 200_000])]);
    let path = dir.path().join("door.tar.age");
    let whole = fs::read(&path).unwrap();
    for at in [whole.len() - 1, whole.len() - 600, 150_000, 70_000, 300, 20, 0] {
        fs::write(&path, &whole[..at]).unwrap();
        let hash = aws_lc_rs::digest::digest(&SHA256, &whole[..at]);
        let sha256 = Digest(hash.as_ref().try_into().unwrap());
        let made = PartMade { bytes: at as u64, sha256, ..made.clone() };
        let to = dir.path().join(format!("restored-{at}"));
        let refused = unpack(dir.path(), &made, &identities, &into(to)).unwrap_err();
        assert!(matches!(refused, BackupError::Damaged { .. }), "{at}: {refused}");
    }
}

#[test]
fn a_part_writes_nowhere_but_where_its_room_keeps_such_a_file() {
    let dir = TempDir::new().unwrap();
    let (recipients, identities) = keys(dir.path(), "key");
    for name in ["other.key", "push/other", ".hidden", "a/b/c"] {
        let made = part_of(dir.path(), &recipients, &[(name, b"x")]);
        let to = dir.path().join("restored");
        let anything = |n: &str| (n != "other.key" && n != "push/other").then(|| to.join(n));
        let refused = unpack(dir.path(), &made, &identities, &anything).unwrap_err().to_string();
        assert!(refused.contains(name), "{refused}");
        assert!(!to.exists());
    }
    for name in ["..", "../x", "/etc/x", "a//b", "", "a/", "a b", "a\n"] {
        assert!(!is_plain(name), "{name}");
    }
}

#[test]
fn a_file_that_gets_shorter_meanwhile_ends_the_backup_by_its_name() {
    let dir = TempDir::new().unwrap();
    let (recipients, _) = keys(dir.path(), "key");
    let out = File::create(dir.path().join("door.tar.age")).unwrap();
    let mut part = PartWriter::begin("door", out, &recipients).unwrap();
    let refused = part.put("large", 10, &b"nine char"[..]).unwrap_err();
    assert!(matches!(&refused, BackupError::Changed { name, .. } if name == "large"), "{refused}");
    // One that grew is taken as long as it was.
    let out = File::create(dir.path().join("door.tar.age")).unwrap();
    let mut part = PartWriter::begin("door", out, &recipients).unwrap();
    part.put("large", 4, &b"longer"[..]).unwrap();
    part.finish(None).unwrap();
}

/// A disk that takes so many bytes, or does not sync.
struct Failing {
    left: usize,
    syncs: bool,
}

impl Write for Failing {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = buf.len().min(self.left);
        self.left -= n;
        if n == 0 && !buf.is_empty() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(n) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Failing {
    fn sync(&mut self) -> io::Result<()> {
        if self.syncs { Ok(()) } else { Err(io::Error::other("lost")) }
    }
}

#[test]
fn a_part_whose_disk_fails_anywhere_is_no_part() {
    let dir = TempDir::new().unwrap();
    let (recipients, _) = keys(dir.path(), "key");
    let make = |out: Failing| {
        let mut part = PartWriter::begin("door", out, &recipients)?;
        part.put("large", 600_000, io::repeat(3))?;
        part.finish(None)
    };
    let whole = make(Failing { left: usize::MAX, syncs: true }).unwrap().bytes as usize;
    // age's header differs by some hundred bytes from part to part.
    const HEADERS_DIFFER: usize = 4096;
    for left in (0..whole - HEADERS_DIFFER).step_by(whole / 40) {
        let refused = make(Failing { left, syncs: true }).unwrap_err();
        assert!(matches!(&refused, BackupError::Write { part, .. } if part == "door"), "{left}: {refused}");
    }
    assert!(make(Failing { left: whole + HEADERS_DIFFER, syncs: true }).is_ok());
    assert!(make(Failing { left: whole + HEADERS_DIFFER, syncs: false }).is_err());
}
