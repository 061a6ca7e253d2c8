//! The paths that the user named: files, folders, standard input.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::sniff::{HEAD_BYTES, Shape, sniff};
use super::{Allowance, Content, Options, Reading, plain, unpack};
use crate::finding::{InputKind, ReadState};
use crate::fold::inert;
use crate::scan::{Progress, Setup};

/// Deepest folder.
const MAX_FOLDERS: usize = 64;
/// Least allowance of a packed file.
const LEAST_UNPACKED: u64 = 4 << 30;
/// A log packs well, but rarely better than this.
const RATIO: u64 = 250;

/// Reads all of it. `stdin` is read for a path of `-`.
pub fn read_all(
    paths: &[PathBuf],
    stdin: &mut (dyn Read + Send),
    setup: &Setup,
    options: &Options,
    progress: &Progress,
) -> Vec<Content> {
    let mut r = Reading { setup, options, progress, contents: Vec::new() };
    let mut seen = BTreeSet::new();
    let mut sorted = paths.to_vec();
    sorted.sort();
    sorted.dedup();
    for p in &sorted {
        if p.as_os_str() == "-" {
            let mut c = Content::new("(standard input)".into(), None);
            c.remarks.push("Read from standard input: keep the original, and note how it was made.".into());
            if let Some(i) = r.add(c) {
                let of = options.max_unpacked.unwrap_or(1 << 40);
                r.content(i, stdin, 0, &mut Allowance { unpacked: of, of }, true);
            }
        } else {
            r.path(p, 0, true, &mut seen);
        }
    }
    doubles(&mut r.contents);
    r.contents
}

/// Sum of the sizes of all files under the paths, for the progress bar. Errors count as nothing.
pub fn total_bytes(paths: &[PathBuf]) -> u64 {
    let mut left: Vec<(PathBuf, usize)> = paths.iter().map(|p| (p.clone(), 0)).collect();
    let (mut sum, mut n) = (0u64, 0usize);
    while let Some((p, depth)) = left.pop() {
        n += 1;
        let meta = if depth == 0 { fs::metadata(&p) } else { fs::symlink_metadata(&p) };
        match meta {
            Ok(m) if m.is_file() => sum = sum.saturating_add(m.len()),
            Ok(m) if m.is_dir() && depth < MAX_FOLDERS && n < super::MAX_CONTENTS => {
                left.extend(fs::read_dir(&p).into_iter().flatten().flatten().map(|e| (e.path(), depth + 1)));
            }
            _ => {}
        }
    }
    sum
}

fn label(p: &Path) -> String {
    inert(p.as_os_str().as_encoded_bytes())
}

impl Reading<'_> {
    fn refuse(&mut self, p: &Path, why: &str) {
        self.add(unpack::not_a_file(label(p), why));
    }

    /// `named`: the user typed it; then a link is followed.
    fn path(&mut self, p: &Path, depth: usize, named: bool, seen: &mut BTreeSet<(u64, u64)>) {
        let meta = match if named { fs::metadata(p) } else { fs::symlink_metadata(p) } {
            Ok(m) => m,
            Err(e) => return self.refuse(p, &why(&e)),
        };
        if meta.is_symlink() {
            let mut c = unpack::not_a_file(label(p), "");
            c.state = ReadState::NotALog("a link inside a folder; name its target to have it read".into());
            self.add(c);
        } else if meta.is_dir() {
            if depth >= MAX_FOLDERS {
                return self.refuse(p, &format!("a folder deeper than {MAX_FOLDERS}"));
            }
            if !seen.insert((meta.dev(), meta.ino())) {
                return self.refuse(p, "this folder was met before (a loop)");
            }
            match fs::read_dir(p) {
                Err(e) => self.refuse(p, &why(&e)),
                Ok(entries) => {
                    let mut inner: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
                    inner.sort();
                    for i in inner {
                        if self.contents.len() > super::MAX_CONTENTS {
                            return;
                        }
                        self.path(&i, depth + 1, false, seen);
                    }
                }
            }
        } else if meta.is_file() {
            // The same file by another name (a hard link) is the same evidence.
            if meta.nlink() > 1 && !seen.insert((meta.dev(), meta.ino())) {
                let mut c = Content::new(label(p), None);
                c.bytes = meta.len();
                c.state = ReadState::NotALog(
                    "the same file as one already read, by another name (a hard link)".into(),
                );
                self.add(c);
                return;
            }
            self.file(p);
        } else {
            self.refuse(p, "neither a file nor a folder (a device, a pipe or a socket)");
        }
    }

    fn file(&mut self, p: &Path) {
        let opened = File::open(p).and_then(|f| f.metadata().map(|m| (f, m.len())));
        let (file, len) = match opened {
            Ok(x) => x,
            Err(e) => {
                let mut c = Content::new(label(p), None);
                c.bytes = fs::metadata(p).map_or(0, |m| m.len());
                c.state = ReadState::NotRead(why(&e));
                self.add(c);
                return;
            }
        };
        let mut c = Content::new(label(p), None);
        c.path = Some(p.to_owned());
        c.bytes = len;
        let Some(i) = self.add(c) else { return };
        let mut head = Vec::new();
        let _ = plain::Part::new(&file, 0, len.min(HEAD_BYTES as u64), None).read_to_end(&mut head);
        let shape = sniff(&head, self.setup);
        let of = self.options.max_unpacked.unwrap_or_else(|| LEAST_UNPACKED.max(len.saturating_mul(RATIO)));
        let mut allowance = Allowance { unpacked: of, of };
        let progress = self.progress;
        match shape {
            Shape::Zip => {
                if let Some(c) = self.contents.get_mut(i) {
                    c.kind = InputKind::Archive;
                }
                self.beside_digest(i, &file, len, |r| {
                    let outcome = file.try_clone().and_then(|f| r.zip(i, f, 0, &mut allowance));
                    progress.add(len);
                    if let (Err(e), Some(c)) = (outcome, r.contents.get_mut(i)) {
                        c.state = ReadState::Part(format!("unpacked in part: {e}"));
                    }
                });
            }
            Shape::Gzip | Shape::Zstd | Shape::Xz | Shape::Bzip2 | Shape::Tar => {
                // The packed bytes are hashed apart: a decompressor need not read them all.
                self.beside_digest(i, &file, len, |r| {
                    let mut part = plain::Part::new(&file, 0, len, Some(progress));
                    r.content(i, &mut part, 0, &mut allowance, false);
                });
            }
            _ => {
                let mut part = plain::Part::new(&file, 0, len, Some(progress));
                self.content(i, &mut part, 0, &mut allowance, self.options.hash);
            }
        }
        let now = fs::metadata(p).map(|m| m.len()).unwrap_or(len);
        if let Some(c) = self.contents.get_mut(i) {
            c.bytes = len;
            if now > len {
                c.remarks.push(format!(
                    "It grew while it was read; its first {len} bytes, those it had at the start, were read."
                ));
            }
        }
    }

    /// Reads a file with `work` while another thread hashes it.
    fn beside_digest(&mut self, i: usize, file: &File, len: u64, work: impl FnOnce(&mut Self)) {
        if !self.options.hash {
            return work(self);
        }
        let digest = std::thread::scope(|scope| {
            let hashed = scope.spawn(|| plain::sha256(file, len).ok());
            work(self);
            hashed.join().ok().flatten()
        });
        if let Some(c) = self.contents.get_mut(i) {
            c.sha256 = digest;
        }
    }
}

/// What another run read, behind what this one did.
pub fn join(contents: &mut Vec<Content>, others: Vec<Content>) {
    let before = contents.len();
    contents.extend(others.into_iter().map(|c| Content { inside: c.inside.map(|i| i + before), ..c }));
    doubles(contents);
}

/// Contents that are byte for byte the same are counted once, by their digest: what was not hashed is
/// hashed when another content is of its size.
fn doubles(contents: &mut [Content]) {
    let mut by_size: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (i, c) in contents.iter().enumerate() {
        if c.bytes > 0 && (c.findings.is_some() || c.listing.is_some()) {
            by_size.entry(c.bytes).or_default().push(i);
        }
    }
    for i in by_size.into_values().filter(|s| s.len() > 1).flatten() {
        let Some(c) = contents.get(i).filter(|c| c.sha256.is_none()) else { continue };
        let packed = c.inside.and_then(|o| contents.get(o)).and_then(|o| o.path.as_ref());
        let digest = match (&c.path, packed) {
            (Some(p), _) => File::open(p).and_then(|f| plain::sha256(&f, c.bytes)),
            // One that was cut has no digest.
            (None, Some(p)) if c.state == ReadState::Whole => unpack::unpacked_sha256(p, c.bytes),
            _ => continue,
        };
        if let Some(c) = contents.get_mut(i) {
            c.sha256 = digest.ok();
        }
    }
}

fn why(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::PermissionDenied => {
            "no permission to read it: give the user who runs this tool the right to".into()
        }
        io::ErrorKind::NotFound => "it is not there".into(),
        _ => format!("it can't be opened: {e}"),
    }
}
