//! A part: a tar archive in an age file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use age::stream::StreamWriter;
use aws_lc_rs::digest::{Context, SHA256};
use model::Digest;

use crate::{BackupError, Identities, Made, PartMade, Place, Recipients, Request};

/// Where a part's bytes go.
pub trait Sink: Write {
    /// Makes durable what was written.
    ///
    /// # Errors
    /// The system's.
    fn sync(&mut self) -> io::Result<()>;
}

impl Sink for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Counts and hashes what passes.
struct Counting<W> {
    to: W,
    bytes: u64,
    hash: Context,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.to.write(buf)?;
        self.hash.update(buf.get(..n).unwrap_or(buf));
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn digest_of(hash: Context) -> Digest {
    let mut out = [0; 32];
    out.iter_mut().zip(hash.finish().as_ref()).for_each(|(to, from)| *to = *from);
    Digest(out)
}

/// Writes one part. Until [`PartWriter::finish`] has returned it is no part: an age file without its end
/// does not open.
pub struct PartWriter<W: Sink> {
    name: String,
    tar: tar::Builder<StreamWriter<Counting<BufWriter<W>>>>,
}

impl<W: Sink> PartWriter<W> {
    /// Begins the part `name` in `out`, encrypted to `recipients`.
    ///
    /// # Errors
    /// [`BackupError::Write`].
    pub fn begin(name: &str, out: W, recipients: &Recipients) -> Result<Self, BackupError> {
        let to =
            Counting { to: BufWriter::with_capacity(1 << 18, out), bytes: 0, hash: Context::new(&SHA256) };
        let encrypted = recipients.encryptor()?.wrap_output(to).map_err(|source| wrong(name, source))?;
        Ok(Self { name: name.to_owned(), tar: tar::Builder::new(encrypted) })
    }

    /// Adds a file with exactly `bytes` of `content`.
    ///
    /// # Errors
    /// [`BackupError::Changed`] when the content is shorter, [`BackupError::Write`] when either side fails.
    pub fn put(&mut self, file: &str, bytes: u64, content: impl Read) -> Result<(), BackupError> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(bytes);
        header.set_mode(0o600);
        let mut limited = content.take(bytes);
        self.tar.append_data(&mut header, file, &mut limited).map_err(|e| wrong(&self.name, e))?;
        if limited.limit() > 0 {
            return Err(BackupError::Changed { part: self.name.clone(), name: file.to_owned() });
        }
        Ok(())
    }

    /// Adds a file as it lies on the disk.
    ///
    /// # Errors
    /// [`BackupError::File`], and as [`PartWriter::put`].
    pub fn put_file(&mut self, file: &str, path: &Path) -> Result<(), BackupError> {
        let from = File::open(path).map_err(BackupError::read(path))?;
        let bytes = from.metadata().map_err(BackupError::read(path))?.len();
        self.put(file, bytes, from)
    }

    /// Adds the files of `dir` that are there, of those named, as `read` has them: a key that lies wrapped on the disk
    /// goes in as it is. A room's files are written whole and renamed, so each is one that counted at some moment.
    ///
    /// # Errors
    /// As [`PartWriter::put_file`].
    pub fn put_files_by<B: AsRef<[u8]>>(
        &mut self,
        dir: &Path,
        files: &[&str],
        read: impl Fn(&Path) -> io::Result<B>,
    ) -> Result<(), BackupError> {
        for file in files {
            let path = dir.join(file);
            match read(&path) {
                Ok(content) => self.put(file, content.as_ref().len() as u64, content.as_ref())?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(BackupError::read(&path)(e)),
            }
        }
        Ok(())
    }

    /// Ends the part and makes it durable.
    ///
    /// # Errors
    /// [`BackupError::Write`]: then it is no part.
    pub fn finish(self, place: Option<Place>) -> Result<PartMade, BackupError> {
        let name = self.name;
        let ended = (|| {
            let counted = self.tar.into_inner()?.finish()?;
            let mut out = counted.to.into_inner().map_err(io::IntoInnerError::into_error)?;
            out.flush()?;
            out.sync()?;
            Ok((counted.bytes, digest_of(counted.hash)))
        })();
        let (bytes, sha256) = ended.map_err(|e| wrong(&name, e))?;
        Ok(PartMade { name, bytes, sha256, place })
    }
}

/// A room's part that is made of whole files alone: those of `files` that are there in `dir`, as `read` has them.
///
/// # Errors
/// As [`PartWriter::put_file`].
pub fn back_up_files<B: AsRef<[u8]>>(
    name: &str,
    dir: &Path,
    files: &[&str],
    read: impl Fn(&Path) -> io::Result<B>,
    request: &Request,
    out: File,
) -> Result<Made, BackupError> {
    let mut part = PartWriter::begin(name, out, &request.recipients()?)?;
    part.put_files_by(dir, files, read)?;
    Ok(Made { part: part.finish(None)?, signed: None })
}

fn wrong(part: &str, source: io::Error) -> BackupError {
    BackupError::Write { part: part.to_owned(), source }
}

/// Where a file of a part goes at a restore: the name in the part, and a folder of the caller's.
pub trait Kept {
    /// The file's path below the folder that is restored, or `None` when the part may not hold it.
    fn path_of(&self, name: &str) -> Option<std::path::PathBuf>;
}

impl<F: Fn(&str) -> Option<std::path::PathBuf>> Kept for F {
    fn path_of(&self, name: &str) -> Option<std::path::PathBuf> {
        self(name)
    }
}

/// Opens the part in `dir` and writes its files, each for its owner alone and durable, to where `kept`
/// says. The encrypted file is held against the manifest's digest before a byte of it is believed.
/// Returns the names.
///
/// # Errors
/// [`BackupError::Damaged`] says which part and why, [`BackupError::NotForThisIdentity`],
/// [`BackupError::File`]. What was written until then stays.
pub fn unpack(
    dir: &Path,
    made: &PartMade,
    identities: &Identities,
    kept: &impl Kept,
) -> Result<Vec<String>, BackupError> {
    let part = made.name.as_str();
    let path = dir.join(crate::part_file(part));
    check(dir, made)?;
    let damaged = |e: io::Error| BackupError::damaged(part, e.to_string());
    let file = File::open(&path).map_err(BackupError::read(&path))?;
    let decryptor = age::Decryptor::new_buffered(BufReader::with_capacity(1 << 18, file))
        .map_err(|e| open_error(part, e))?;
    let opened = decryptor
        .decrypt(identities.0.iter().map(|i| i.as_ref() as &dyn age::Identity))
        .map_err(|e| open_error(part, e))?;
    let mut archive = tar::Archive::new(opened);
    let mut names = Vec::new();
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let name = entry.path().ok().and_then(|p| p.to_str().map(str::to_owned)).unwrap_or_default();
        let plain = entry.header().entry_type() == tar::EntryType::Regular && is_plain(&name);
        let Some(to) = kept.path_of(&name).filter(|_| plain) else {
            let name: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
            return Err(BackupError::damaged(part, format!("it holds '{name}', which is no file of it")));
        };
        write_new(part, &to, &mut entry)?;
        names.push(name);
    }
    // The end of an age file is part of what it says: read to it.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(damaged)?;
    Ok(names)
}

/// A name of one or two components of plain characters.
fn is_plain(name: &str) -> bool {
    let component = |c: &str| {
        !c.is_empty()
            && !c.starts_with('.')
            && c.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    (1..=2).contains(&name.split('/').count()) && name.split('/').all(component)
}

fn write_new(part: &str, path: &Path, from: &mut impl Read) -> Result<(), BackupError> {
    let written = BackupError::written(path);
    if let Some(dir) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(BackupError::written(dir))?;
    }
    let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = open.map_err(BackupError::written(path))?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = from.read(&mut buffer).map_err(|e| BackupError::damaged(part, e.to_string()))?;
        match buffer.get(..n) {
            Some([]) | None => break,
            Some(bytes) => file.write_all(bytes).map_err(BackupError::written(path))?,
        }
    }
    file.sync_all().map_err(written)
}

fn open_error(part: &str, e: age::DecryptError) -> BackupError {
    match e {
        age::DecryptError::NoMatchingKeys => BackupError::NotForThisIdentity { part: part.to_owned() },
        other => BackupError::damaged(part, other.to_string()),
    }
}

/// Holds the encrypted file of a part in `dir` against what the manifest says of it.
///
/// # Errors
/// [`BackupError::Damaged`], [`BackupError::File`].
pub fn check(dir: &Path, made: &PartMade) -> Result<(), BackupError> {
    let part = made.name.as_str();
    let path = &dir.join(crate::part_file(part));
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(BackupError::damaged(part, "there is no such file"));
        }
        Err(e) => return Err(BackupError::read(path)(e)),
    };
    let bytes = file.metadata().map_err(BackupError::read(path))?.len();
    if bytes != made.bytes {
        return Err(BackupError::damaged(
            part,
            format!("it has {bytes} bytes, the manifest says {}", made.bytes),
        ));
    }
    let mut counting = Counting { to: io::sink(), bytes: 0, hash: Context::new(&SHA256) };
    io::copy(&mut BufReader::with_capacity(1 << 18, file), &mut counting).map_err(BackupError::read(path))?;
    if digest_of(counting.hash) != made.sha256 {
        return Err(BackupError::damaged(part, "its digest is not the manifest's"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
