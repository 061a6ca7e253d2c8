//! Static assets under `/mifs/`: who asked when for what, to tell a file that
//! was laid down from one that was always there.

use std::collections::HashMap;

use crate::finding::UnixMs;

/// Paths kept in one content.
const MAX_PATHS: usize = 4_000;
/// Lines kept in full of each path.
const MAX_SIGHTS: usize = 12;
/// Longest path kept.
const MAX_PATH_BYTES: usize = 512;

/// Longest part of a line that is kept of a sight.
pub const SIGHT_BYTES: usize = 512;

/// One request for an asset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Line number.
    pub line: u64,
    /// Offset of the line.
    pub offset: u64,
    /// Time.
    pub at_ms: Option<UnixMs>,
    /// The line had no offset of its own.
    pub zone_assumed: bool,
    /// Client.
    pub client: String,
    /// Peer, if it differs.
    pub via: Option<String>,
    /// GET or another method.
    pub get: bool,
    /// Status.
    pub status: Option<u16>,
    /// Bytes.
    pub bytes: Option<u64>,
    /// The line, cut at [`SIGHT_BYTES`].
    pub raw: Vec<u8>,
}

/// A path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asset {
    /// Its first requests, in order.
    pub sights: Vec<Sight>,
    /// There were more requests than these.
    pub more: bool,
}

/// All paths of one content.
#[derive(Clone, Debug, Default)]
pub struct Assets {
    /// By path, in lower case.
    pub paths: HashMap<Vec<u8>, Asset, foldhash::fast::RandomState>,
    /// There were more paths than are kept.
    pub overflow: bool,
}

impl Assets {
    /// Notes one more request for a path whose lines are known well enough; false if it must be parsed.
    pub fn known(&mut self, path: &[u8]) -> bool {
        match self.paths.get_mut(path) {
            Some(a) if a.sights.len() >= MAX_SIGHTS => {
                a.more = true;
                true
            }
            Some(_) => false,
            None => {
                let passed_over = self.paths.len() >= MAX_PATHS || path.len() > MAX_PATH_BYTES;
                self.overflow |= passed_over;
                passed_over
            }
        }
    }

    /// Adds a parsed request.
    pub fn push(&mut self, path: &[u8], sight: Sight) {
        if path.len() > MAX_PATH_BYTES || (self.paths.len() >= MAX_PATHS && !self.paths.contains_key(path)) {
            self.overflow = true;
            return;
        }
        let a = self.paths.entry(path.to_vec()).or_default();
        if a.sights.len() < MAX_SIGHTS {
            a.sights.push(sight);
        } else {
            a.more = true;
        }
    }

    /// Appends those of the next segment.
    pub fn append(&mut self, next: Self, lines_before: u64) {
        self.overflow |= next.overflow;
        let mut paths: Vec<_> = next.paths.into_iter().collect();
        paths.sort_by(|a, b| a.0.cmp(&b.0));
        for (path, asset) in paths {
            if self.paths.len() >= MAX_PATHS && !self.paths.contains_key(&path) {
                self.overflow = true;
                continue;
            }
            let a = self.paths.entry(path).or_default();
            a.more |= asset.more;
            for mut s in asset.sights {
                if a.sights.len() >= MAX_SIGHTS {
                    a.more = true;
                    break;
                }
                s.line += lines_before;
                a.sights.push(s);
            }
        }
    }
}
