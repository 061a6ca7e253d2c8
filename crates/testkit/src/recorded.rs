//! The five rooms with a recorder in every wall: what a listener between the rooms would see.
//!
//! It stands in for the supervisor: it starts the real rooms on an installed data folder, and joins
//! neighbours by two pairs with a copier between them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rpc::control::{ControlEnd, ToRoom, ToSupervisor, neighbours, pair};
use serde_json::{Value, json};

use crate::house::HouseError;

/// Who talks to whom; the first is named first in [`Recorded::heard`].
const PAIRS: [(&str, &str); 4] =
    [("door", "reader"), ("door", "core"), ("core", "vault"), ("core", "courier")];

type Tape = Arc<Mutex<Vec<u8>>>;

/// Five rooms whose words are recorded.
#[derive(Debug)]
pub struct Recorded {
    rooms: Vec<(Child, ControlEnd)>,
    tapes: BTreeMap<String, Tape>,
}

fn copy(from: OwnedFd, to: OwnedFd, tape: Tape) {
    let (mut from, mut to) = (UnixStream::from(from), UnixStream::from(to));
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            let Some(bytes) = buffer.get(..n) else { return };
            tape.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            if to.write_all(bytes).is_err() {
                return;
            }
        }
    });
}

/// The configuration of each room on this data folder, with nothing but defaults.
fn config_of(room: &str, data: &Path, base_url: &str) -> Value {
    let dir = data.join("rooms").join(room);
    match room {
        "door" => json!({
            "data_dir": dir, "tls_certificate": null, "tls_key": null, "largest_body_bytes": 4_194_304,
            "body_timeout_ms": 30_000, "idle_timeout_ms": 120_000, "connections": 20_000,
            "tls_reload_ms": 30_000, "tls_ends": "Here", "proxy_from": null,
        }),
        "vault" => json!({
            "data_dir": dir, "base_url": base_url, "organization": "Example Hospital",
            "organization_phone": null, "topic": "com.apple.mgmt.External.matron-without-push", "unsigned_profiles": false,
            "admit_old_algorithms": false, "certificate_days": 730, "sign_messages": false,
        }),
        _ => json!({ "data_dir": dir }),
    }
}

/// Starts one room of an installed house as the supervisor does: the real binary, held by the kernel.
pub(crate) fn start_room(
    binary: &Path,
    data: &Path,
    room: &str,
    base_url: &str,
    listener: Option<(&str, &TcpListener)>,
    log_filter: &str,
    log: &Path,
) -> Result<(Child, ControlEnd), HouseError> {
    let (control, theirs) = pair()?;
    let log = std::fs::File::options().create(true).append(true).open(log)?;
    let child = Command::new(binary)
        .args(["room", room])
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()?;
    let config = json!({
        "room": config_of(room, data, base_url),
        "log": { "filter": log_filter, "json": true },
        "journal": false,
        "sandbox": { "folder": data.join("rooms").join(room) },
    });
    control.send(&ToRoom::Start { config }, &[])?;
    if let Some((name, listener)) = listener {
        let handed = OwnedFd::from(listener.try_clone()?);
        control.send(&ToRoom::Listener { name: name.into() }, &[handed])?;
    }
    Ok((child, control))
}

impl Recorded {
    /// Starts the rooms of an installed house and waits until each is ready. Their logs go to `log`.
    ///
    /// # Errors
    /// [`HouseError`] when a room can't start.
    pub fn start(
        binary: &Path,
        data: &Path,
        base_url: &str,
        phones: &TcpListener,
        administrators: &TcpListener,
        log: &Path,
    ) -> Result<Self, HouseError> {
        let mut recorded = Self { rooms: Vec::new(), tapes: BTreeMap::new() };
        let mut controls: BTreeMap<&str, ControlEnd> = BTreeMap::new();
        for room in ["vault", "courier", "reader", "core", "door"] {
            let listener = match room {
                "door" => Some(("phones", phones)),
                "core" => Some(("administrators", administrators)),
                _ => None,
            };
            let (child, control) = start_room(binary, data, room, base_url, listener, "trace", log)?;
            controls.insert(room, control.try_clone()?);
            recorded.rooms.push((child, control));
        }
        for (a, b) in PAIRS {
            let ((a_end, a_tap), (b_end, b_tap)) = (neighbours()?, neighbours()?);
            let (Some(to_a), Some(to_b)) = (controls.get(a), controls.get(b)) else { continue };
            to_a.send(&ToRoom::Peer { room: b.into() }, &[a_end])?;
            to_b.send(&ToRoom::Peer { room: a.into() }, &[b_end])?;
            let tape = |from: &str, to: &str| (format!("{from} to {to}"), Tape::default());
            let (there, back) = (tape(a, b), tape(b, a));
            copy(a_tap.try_clone()?, b_tap.try_clone()?, there.1.clone());
            copy(b_tap, a_tap, back.1.clone());
            recorded.tapes.extend([there, back]);
        }
        for (room, control) in controls {
            match control.receive::<ToSupervisor>()? {
                Some((ToSupervisor::Ready, _)) => {}
                other => return Err(HouseError::NotReady(format!("{room}: {other:?}"))),
            }
        }
        Ok(recorded)
    }

    /// What was said so far, by `who to whom`.
    #[must_use]
    pub fn heard(&self) -> BTreeMap<String, Vec<u8>> {
        let read = |t: &Tape| t.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.tapes.iter().map(|(name, tape)| (name.clone(), read(tape))).collect()
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        for (_, control) in &self.rooms {
            let _ = control.send(&ToRoom::Stop, &[]);
        }
        for (child, _) in &mut self.rooms {
            let _ = child.wait();
        }
    }
}
