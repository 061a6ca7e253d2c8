//! The two things that are asked of a disk, so that a test can let either fail.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use crate::error::LedgerError;

/// Where a file's bytes go. A call that fails leaves the bytes unknown: the caller stops writing until
/// the file is opened and read again.
pub trait Disk: Send {
    /// Writes all bytes at this place, extending the file if need be. Nothing is durable yet.
    ///
    /// # Errors
    /// The system's; any part of the bytes may have been written.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything that was written durable, with what it takes to find it (`fdatasync`).
    ///
    /// # Errors
    /// The system's; any part of what was written may be durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// The host's file system.
#[derive(Debug)]
pub struct FileDisk(pub File);

impl Disk for FileDisk {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// Names the act and the file in an I/O error.
pub(crate) fn io_error<'a>(
    what: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> LedgerError + use<'a> {
    move |source| LedgerError::Io { what, path: path.to_owned(), source }
}

/// Makes the directory (0700) if it is not there, durably.
pub(crate) fn make_directory(dir: &Path) -> Result<(), LedgerError> {
    if dir.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(io_error("can't make the directory", dir))?;
    match dir.parent() {
        Some(parent) if parent != Path::new("") => sync_directory(parent),
        _ => Ok(()),
    }
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(dir: &Path) -> Result<(), LedgerError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(io_error("can't sync the directory", dir))
}

/// What every file here begins with: 16 bytes that say what it is, then room.
pub(crate) const HEADER_BYTES: usize = 64;

/// Opens a file for this process alone (0600), making it with `magic` and zeros if it is not there or
/// its making was cut short. Returns its length, at least [`HEADER_BYTES`].
pub(crate) fn open_exclusive(dir: &Path, name: &str, magic: &[u8; 16]) -> Result<(File, u64), LedgerError> {
    make_directory(dir)?;
    let path = dir.join(name);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(io_error("can't open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => return Err(LedgerError::InUse { path }),
        Err(std::fs::TryLockError::Error(e)) => return Err(io_error("can't lock", &path)(e)),
    }
    let bytes = file.metadata().map_err(io_error("can't read", &path))?.len();
    let mut found = vec![0; HEADER_BYTES.min(usize::try_from(bytes).unwrap_or(HEADER_BYTES))];
    file.read_exact_at(&mut found, 0).map_err(io_error("can't read", &path))?;
    if found.len() == HEADER_BYTES && found.starts_with(magic) {
        return Ok((file, bytes));
    }
    let mut header = magic.to_vec();
    header.resize(HEADER_BYTES, 0);
    // A crash while the file was made leaves a part of the header, or zeros, and nothing after.
    let unfinished =
        bytes <= HEADER_BYTES as u64 && (header.starts_with(&found) || found.iter().all(|b| *b == 0));
    if !unfinished {
        return Err(LedgerError::NotOurs { path });
    }
    let write = || -> io::Result<()> {
        file.set_len(0)?;
        file.write_all_at(&header, 0)?;
        file.sync_all()
    };
    write().map_err(io_error("can't make", &path))?;
    sync_directory(dir)?;
    Ok((file, HEADER_BYTES as u64))
}

#[cfg(test)]
pub(crate) mod faulty {
    //! A disk that fails as it is told.

    use super::{Disk, FileDisk};
    use std::fs::File;
    use std::io;
    use std::sync::{Arc, Mutex};

    /// What happens to the next write or sync.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Fault {
        /// Nothing is written, and the write says so.
        LostBefore,
        /// Only so many bytes are written, and the write says that it failed.
        TornAt(usize),
        /// All is written; the sync says that it failed.
        LostAfter,
    }

    /// A file behind a switch.
    pub(crate) struct FaultyDisk {
        pub(crate) disk: FileDisk,
        pub(crate) next: Arc<Mutex<Option<Fault>>>,
    }

    impl FaultyDisk {
        pub(crate) fn wrap(next: &Arc<Mutex<Option<Fault>>>) -> impl FnOnce(File) -> Box<dyn Disk> + use<> {
            let next = Arc::clone(next);
            move |file| Box::new(Self { disk: FileDisk(file), next })
        }
    }

    impl Disk for FaultyDisk {
        fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            let fault = *self.next.lock().unwrap();
            match fault {
                Some(Fault::LostBefore) => Err(io::Error::other("lost before")),
                Some(Fault::TornAt(n)) => {
                    self.disk.write_at(offset, &bytes[..n.min(bytes.len())])?;
                    Err(io::Error::other("torn"))
                }
                _ => self.disk.write_at(offset, bytes),
            }
        }

        fn sync(&mut self) -> io::Result<()> {
            if *self.next.lock().unwrap() == Some(Fault::LostAfter) {
                return Err(io::Error::other("lost after"));
            }
            self.disk.sync()
        }
    }
}
