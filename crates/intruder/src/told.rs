//! What the drill tells the intruder, so that nothing is missed for want of a lucky find: ids that could have been
//! harvested, numbers worth guessing, where the house lies, where to call out to.

use std::path::{Path, PathBuf};

use model::EnrolmentId;
use serde::Deserialize;

use crate::Outcome;

/// The file's name, in the room's own folder.
pub(crate) const TOLD_FILE: &str = "intruder.told";

/// A file in the room's own folder.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Told {
    /// The room's own folder.
    #[serde(skip)]
    pub(crate) folder: PathBuf,
    /// The house's data folder.
    pub(crate) data: PathBuf,
    /// Processes of the house: the supervisor's and the other rooms'.
    pub(crate) processes: Vec<u32>,
    /// Every phone's enrolment id.
    pub(crate) enrolments: Vec<EnrolmentId>,
    /// Numbers that phones may have.
    pub(crate) guesses: Vec<String>,
    /// Files outside the data folder that would open everything.
    pub(crate) secrets: Vec<PathBuf>,
    /// Listens on 127.0.0.1 and counts who comes.
    pub(crate) tcp_port: u16,
    /// Takes datagrams on 127.0.0.1 and counts them.
    pub(crate) udp_port: u16,
    /// A Unix socket that listens.
    pub(crate) unix_path: PathBuf,
    /// A file that a program would make, were one started.
    pub(crate) canary: PathBuf,
    /// How many administrators will sign in meanwhile.
    pub(crate) sign_ins: usize,
    /// How long to wait for phones and administrators.
    pub(crate) patience_s: u64,
}

impl Told {
    pub(crate) fn read(folder: &Path) -> Outcome<Self> {
        let text = std::fs::read_to_string(folder.join(TOLD_FILE))?;
        Ok(Self { folder: folder.to_owned(), ..serde_json::from_str(&text)? })
    }
}
