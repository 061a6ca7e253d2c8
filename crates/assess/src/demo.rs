//! `--demo`: a small made-up showtech bundle, so that a newcomer sees a whole
//! report in a minute. Addresses are documentation ranges, lines are inert.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::corpus::{self, Plan};
use crate::finding::Layout;
use crate::input::tar;

/// 14 May 2025, 00:00 UTC.
const START_S: i64 = 1_747_180_800;

fn at(minute: i64) -> String {
    // The appliance's clock shows British Summer Time.
    let t = jiff::Timestamp::from_second(START_S + 2 * 86_400 + minute * 60 + 3600).unwrap_or_default();
    t.strftime("%Y-%m-%d--%H-%M-%S").to_string()
}

fn intrusion() -> Vec<(i64, String)> {
    let line = |m: i64, client: &str, request: &str, status: u16, bytes: u64| {
        (
            m,
            format!(
                "{client}:51544 - - {} \"{request} HTTP/1.1\" {status} {bytes} \"-\" \"python-requests/2.31\" 77\n",
                at(m)
            ),
        )
    };
    vec![
        line(121, "203.0.113.7", "GET /mifs/rs/api/v2/featureusage?format=INERT", 400, 168),
        line(124, "203.0.113.7", "GET /mifs/rs/api/v2/featureusage?format=%24%7BINERT%7D", 400, 168),
        line(
            126,
            "203.0.113.7",
            "GET /mifs/rs/api/v2/featureusage?format=%2524%257BINERT-AGAIN%257D",
            400,
            168,
        ),
        line(190, "203.0.113.7", "GET /mifs/css/mibasecss3.css", 200, 9_417_216),
        line(195, "198.51.100.23", "GET /mifs/css/mibasecss3.css", 200, 9_417_216),
        line(260, "198.51.100.23", "GET /mifs/css/mibasecss3.css", 404, 196),
    ]
}

/// Writes the bundle into `dir` and returns its path.
///
/// # Errors
/// When the folder can't be made, or there is one that is not this user's own: in a folder for
/// everyone's temporary files another could have laid a link there.
pub fn write(dir: &Path) -> io::Result<PathBuf> {
    own_folder(dir)?;
    let mut log = Vec::new();
    let plan = Plan {
        bytes: 500_000,
        seed: 8,
        layout: Layout::EpmmAccess,
        one_in: 0,
        start_s: START_S + 3600,
        lines_a_day: 700,
        scanners: false,
        ..Plan::default()
    };
    corpus::write(&plan, &mut log)?;
    // The intruder's lines go in by time; the clock of a line stands in its fourth word.
    let mut lines: Vec<(Vec<u8>, Vec<u8>)> =
        log.split_inclusive(|b| *b == b'\n').map(|l| (clock(l), l.to_vec())).collect();
    lines.extend(intrusion().into_iter().map(|(_, l)| (clock(l.as_bytes()), l.into_bytes())));
    lines.sort_by(|a, b| a.0.cmp(&b.0));
    let access: Vec<u8> = lines.into_iter().flat_map(|(_, l)| l).collect();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(&access)?;
    let packed = gz.finish()?;
    let readme = b"A made-up showtech bundle of `matron assess --demo`. Nothing in it is real.\n";
    let mut out = Vec::new();
    for (name, body) in [
        ("showtech/README.txt", &readme[..]),
        ("showtech/var/log/httpd/https-access_log-20250517.gz", &packed),
    ] {
        out.extend_from_slice(&tar::header(name, body.len() as u64, b'0', 1_747_440_000));
        out.extend_from_slice(body);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    let path = dir.join("showtech-demo.tar");
    fs::write(&path, out)?;
    Ok(path)
}

fn own_folder(dir: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made,
    }
    let found = fs::symlink_metadata(dir)?;
    if found.is_dir() && found.uid() == fs::metadata("/proc/self")?.uid() {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("{} is there already and is not your folder; set TMPDIR to one of your own", dir.display()),
    ))
}

fn clock(line: &[u8]) -> Vec<u8> {
    line.split(|b| *b == b' ').nth(3).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_link_in_the_bundles_place_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (there, link) = (dir.path().join("there"), dir.path().join("link"));
        fs::create_dir(&there).unwrap();
        std::os::unix::fs::symlink(&there, &link).unwrap();
        let refused = write(&link).unwrap_err();
        assert!(refused.to_string().contains("TMPDIR"), "{refused}");
        assert!(fs::read_dir(&there).unwrap().next().is_none());
        // One's own is written again.
        write(&there).unwrap();
        write(&there).unwrap();
    }
}
