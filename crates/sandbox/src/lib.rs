//! What each room may do, and the kernel that holds it to that.
//!
//! A room calls [`enter`] when it knows its configuration, has one thread, and has read no byte from outside.
//! From then on it sees its own folder and what its configuration names ([`Allowed`]), makes the system calls
//! that its code needs ([`calls`]), connects to the configured ports if it is the courier, and starts nothing.
//! None of it can be undone by the process, nor by what it starts. Any program that stands in a room's stead is held
//! the same: the supervisor's first message on standard input carries the [`Allowed`] under `sandbox`. Why each rule is as it is:
//! docs/decisions/0022-sandbox.md.

#![forbid(unsafe_code)]

pub mod calls;
mod files;
mod filter;
mod process;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use files::file_rights;
pub use process::{close_to_others, keep_descriptors};

/// A room of the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Room {
    /// Ends the phones' TLS.
    Door,
    /// Parses and seals.
    Reader,
    /// Database and rules.
    Core,
    /// Keys and ledger.
    Vault,
    /// Speaks to Apple's push service.
    Courier,
    /// No room of the house, but held like one: the process that speaks to a PKCS#11 token.
    Hsm,
}

impl Room {
    /// The five rooms.
    pub const ALL: [Room; 5] = [Self::Door, Self::Reader, Self::Core, Self::Vault, Self::Courier];

    /// As its folder is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Door => "door",
            Self::Reader => "reader",
            Self::Core => "core",
            Self::Vault => "vault",
            Self::Courier => "courier",
            Self::Hsm => "hsm",
        }
    }
}

/// A part of the sandbox that a kernel may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// Filters on system calls.
    Seccomp,
    /// Rules on files.
    Landlock,
    /// Landlock's rule on cutting files short.
    LandlockTruncate,
    /// Landlock's rule on TCP ports.
    LandlockTcp,
}

impl Layer {
    /// All of them.
    pub const ALL: [Layer; 4] = [Self::Seccomp, Self::Landlock, Self::LandlockTruncate, Self::LandlockTcp];

    /// As the configuration calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Seccomp => "seccomp",
            Self::Landlock => "landlock",
            Self::LandlockTruncate => "landlock_truncate",
            Self::LandlockTcp => "landlock_tcp",
        }
    }

    /// What a kernel needs for it.
    #[must_use]
    pub fn needs(self) -> &'static str {
        match self {
            Self::Seccomp => "a kernel built with CONFIG_SECCOMP_FILTER",
            Self::Landlock => {
                "Linux 5.19, built with CONFIG_SECURITY_LANDLOCK and 'landlock' among lsm= at boot"
            }
            Self::LandlockTruncate => "Landlock of Linux 6.2",
            Self::LandlockTcp => "Landlock of Linux 6.7",
        }
    }

    /// Whether this layer is part of another, which being left out leaves it out too.
    fn within(self) -> Option<Layer> {
        match self {
            Self::LandlockTruncate | Self::LandlockTcp => Some(Self::Landlock),
            Self::Seccomp | Self::Landlock => None,
        }
    }
}

impl std::str::FromStr for Layer {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|l| l.name() == name).ok_or("no such layer of the sandbox")
    }
}

/// What one room's configuration needs beyond its calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    /// Its own folder: read and written.
    pub folder: PathBuf,
    /// Files that it reads, with what lies in the same folder, since a file is renewed by another of its name;
    /// the file alone where that folder is wide (/etc, or one that holds the house). Folders as they are.
    #[serde(default)]
    pub reads: Vec<PathBuf>,
    /// TCP ports that it connects to. The courier's alone; other rooms make no socket.
    #[serde(default)]
    pub connects: Vec<u16>,
    /// The courier's names are resolved over UDP, which Landlock does not hold to a port.
    #[serde(default)]
    pub dns_over_udp: bool,
    /// Keep the room's memory out of the swap where the limit lets it.
    #[serde(default)]
    pub lock_memory: bool,
    /// What the configuration does without.
    #[serde(default)]
    pub without: Vec<Layer>,
}

impl Allowed {
    /// Nothing but its own folder.
    #[must_use]
    pub fn only(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            reads: Vec::new(),
            connects: Vec::new(),
            dns_over_udp: false,
            lock_memory: false,
            without: Vec::new(),
        }
    }
}

/// What is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many seccomp programs.
    pub filters: u32,
    /// The version of Landlock's interface, if it is in force.
    pub landlock: Option<i32>,
    /// The memory stays out of the swap.
    pub memory_locked: bool,
}

/// Why a room is not held. A room that gets this must end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// The kernel lacks it.
    #[error("{}", kernel_lacks(.0))]
    Kernel(Vec<Layer>),
    /// More than one thread runs: the others would not be held.
    #[error("the sandbox: {0} threads run already, and only one would be held; that is a fault of Matron's")]
    Threads(usize),
    /// The kernel refused a step.
    #[error("the sandbox: {step} failed: {why}; is Matron itself run under a filter that forbids it?")]
    Step {
        /// Which.
        step: &'static str,
        /// The kernel's or the library's word.
        why: String,
    },
    /// A folder can't be opened.
    #[error("the sandbox: {path} can't be opened: {why}")]
    Path {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

fn kernel_lacks(layers: &[Layer]) -> String {
    let named: Vec<String> = layers.iter().map(|l| format!("{} (needs {})", l.name(), l.needs())).collect();
    let keys: Vec<String> = layers.iter().map(|l| format!("\"{}\"", l.name())).collect();
    format!(
        "the sandbox: this kernel lacks {}. Without it a room that is taken is not held to its task, so Matron \
         does not start. Run a kernel that has it, or accept the risk with sandbox.danger_without = [{}]",
        named.join(", "),
        keys.join(", ")
    )
}

/// Whether this kernel has what a layer needs.
#[must_use]
pub fn supports(layer: Layer) -> bool {
    match layer {
        Layer::Seccomp => std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail")
            .is_ok_and(|t| ["kill_process", "errno"].iter().all(|a| t.split_whitespace().any(|w| w == *a))),
        other => files::supports(other),
    }
}

/// What this kernel lacks of what is not done without, each by its name.
///
/// # Errors
/// [`Missing::Kernel`].
pub fn check(without: &[Layer]) -> Result<(), Missing> {
    let wanted = |l: &Layer| !without.contains(l) && !l.within().is_some_and(|w| without.contains(&w));
    let missing: Vec<Layer> = Layer::ALL.into_iter().filter(wanted).filter(|l| !supports(*l)).collect();
    if missing.is_empty() { Ok(()) } else { Err(Missing::Kernel(missing)) }
}

/// Holds this process to its room, for good. To be called while it has one thread, before it reads what came
/// from outside.
///
/// # Errors
/// [`Missing`]; the process may then be held in part, and must end.
pub fn enter(room: Room, allowed: &Allowed) -> Result<Report, Missing> {
    let threads = std::fs::read_dir("/proc/self/task").map(Iterator::count).unwrap_or(1);
    let unheld = [Layer::Seccomp, Layer::Landlock].iter().all(|l| allowed.without.contains(l));
    if threads != 1 && !unheld {
        return Err(Missing::Threads(threads));
    }
    check(&allowed.without)?;
    let memory_locked = allowed.lock_memory && process::lock_memory();
    close_to_others()?;
    let with = |layer: Layer| !allowed.without.contains(&layer);
    let landlock = if with(Layer::Landlock) { Some(files::enforce(allowed)?) } else { None };
    process::drop_capabilities()?;
    // Last: it forbids all that came before.
    let filters = if with(Layer::Seccomp) { filter::enforce(room, allowed.dns_over_udp)? } else { 0 };
    Ok(Report { filters, landlock, memory_locked })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_lacks_is_named_with_the_key_that_accepts_it() {
        let said = Missing::Kernel(vec![Layer::Landlock, Layer::LandlockTcp]).to_string();
        assert!(said.contains("lacks landlock (needs Linux 5.19"), "{said}");
        assert!(said.contains("sandbox.danger_without = [\"landlock\", \"landlock_tcp\"]"), "{said}");
    }

    #[test]
    fn the_names_of_layers_are_those_of_the_configuration() {
        for layer in Layer::ALL {
            let read: Layer = serde::Deserialize::deserialize(serde::de::value::StrDeserializer::<
                serde::de::value::Error,
            >::new(layer.name()))
            .unwrap();
            assert_eq!((read, layer.name().parse()), (layer, Ok(layer)));
        }
    }
}
