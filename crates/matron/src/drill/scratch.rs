//! The drill's own folder.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// A folder that this drill made, that was not there before, and that goes with it. Only in such a one can a room
/// be another program (`serve::drilled`); nothing but [`ScratchFolder::make`] makes one.
#[derive(Debug)]
pub(crate) struct ScratchFolder(PathBuf);

impl ScratchFolder {
    pub(super) fn make(parent: &Path) -> Result<Self> {
        let mut random = [0u8; 8];
        SystemRandom::new().fill(&mut random).ok().context("no random numbers")?;
        let name: String = random.iter().map(|b| format!("{b:02x}")).collect();
        let path = std::path::absolute(parent)?.join(format!("matron-drill-{name}"));
        // Not recursive: one that is there already is an error.
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("the scratch folder {}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The scratch house's data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.0.join("data")
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_folder_is_new_its_owners_alone_and_goes_with_the_drill() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let folder = ScratchFolder::make(parent.path()).unwrap();
        let other = ScratchFolder::make(parent.path()).unwrap();
        assert_ne!(folder.path(), other.path());
        assert_eq!(folder.path().metadata().unwrap().permissions().mode() & 0o777, 0o700);
        drop((folder, other));
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
