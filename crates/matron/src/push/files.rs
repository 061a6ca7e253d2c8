//! The folder `DATA/push`: `next.key` and `next.csr` of a request under way, `push.pem` in use,
//! `push.previous.pem` before it.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use crate::cli::failure::{Result, failed};

/// The folder, and who owns what is written there.
pub(crate) struct Folder {
    dir: PathBuf,
    /// The courier's folder's owner, or the data folder's: root may run this for the user that reads it.
    owner: Option<(u32, u32)>,
}

impl Folder {
    /// The push folder of a data folder. Nothing is made yet.
    pub(crate) fn of(data: &Path) -> Result<Self> {
        let data = std::path::absolute(data).map_err(failed)?;
        let courier = fs::metadata(data.join("rooms/courier")).or_else(|_| fs::metadata(&data));
        let owner = courier.ok().map(|m| (m.uid(), m.gid()));
        Ok(Self { dir: data.join("push"), owner })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn next_key(&self) -> PathBuf {
        self.dir.join("next.key")
    }

    pub(crate) fn next_csr(&self) -> PathBuf {
        self.dir.join("next.csr")
    }

    /// Certificate, chain and key in one file.
    pub(crate) fn current(&self) -> PathBuf {
        self.dir.join("push.pem")
    }

    pub(crate) fn previous(&self) -> PathBuf {
        self.dir.join("push.previous.pem")
    }

    fn told(&self, path: &Path) -> impl Fn(std::io::Error) -> crate::cli::failure::CliError {
        let path = path.to_owned();
        move |e| failed(format!("{}: {e}", path.display()))
    }

    fn give(&self, path: &Path) -> Result<()> {
        let Some((uid, gid)) = self.owner else { return Ok(()) };
        let now = fs::metadata(path).map_err(self.told(path))?;
        if (now.uid(), now.gid()) == (uid, gid) {
            return Ok(());
        }
        chown(path, Some(uid), Some(gid)).map_err(|e| {
            failed(format!(
                "{}: it can't be given to the user that reads it (uid {uid}): {e}",
                path.display()
            ))
        })
    }

    /// Makes the folder (0700), and the data folder above it when there is none.
    pub(crate) fn make(&self) -> Result<()> {
        if !self.dir.is_dir() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.dir)
                .map_err(self.told(&self.dir))?;
        }
        self.give(&self.dir)
    }

    /// Forgets the request under way.
    pub(crate) fn forget_next(&self) -> Result<()> {
        for path in [self.next_csr(), self.next_key()] {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(self.told(&path)(e)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes a file whole or not at all, for its owner alone.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        use std::io::Write;
        let path = self.dir.join(name);
        let unfinished = self.dir.join(format!(".{name}.{}", std::process::id()));
        let _ = fs::remove_file(&unfinished);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)
            .map_err(self.told(&path))?;
        file.write_all(content).and_then(|()| file.sync_all()).map_err(self.told(&path))?;
        self.give(&unfinished)?;
        fs::rename(&unfinished, &path).map_err(self.told(&path))?;
        fs::File::open(&self.dir).and_then(|d| d.sync_all()).map_err(self.told(&self.dir))
    }

    pub(crate) fn write_pem(&self, name: &str, label: &str, der: &[u8]) -> Result<()> {
        let text = zeroize::Zeroizing::new(pem::encode(&pem::Pem::new(label, der)));
        self.write(name, text.as_bytes())
    }
}
