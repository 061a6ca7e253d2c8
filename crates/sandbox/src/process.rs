//! What a process gives up for good beside files and calls: privileges, being read by others, core dumps.

use rustix::io::Errno;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use crate::Missing;

fn failed(step: &'static str) -> impl Fn(Errno) -> Missing {
    move |e| Missing::Step { step, why: e.to_string() }
}

/// No program that is started gains a privilege, nobody reads this process's memory through /proc or
/// ptrace(2), none of it is written into a core dump. For the supervisor too.
///
/// # Errors
/// [`Missing::Step`] says which step the kernel refused.
pub fn close_to_others() -> Result<(), Missing> {
    set_no_new_privs(true).map_err(failed("no_new_privs"))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed("closing the process to others"))?;
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(failed("forbidding core dumps"))
}

/// What this process was started with beside the three standard descriptors stays in it: no process that it
/// starts from now on inherits one. For the supervisor, before it opens anything that it means to hand on.
pub fn keep_descriptors() {
    const FIRST_BESIDE_STANDARD: i32 = 3;
    close_fds::CloseFdsBuilder::new().cloexecfrom(FIRST_BESIDE_STANDARD);
}

/// Gives up every capability, of which a process that was not started as root has none.
pub(crate) fn drop_capabilities() -> Result<(), Missing> {
    let step = failed("giving up capabilities");
    if capabilities(None).map_err(&step)?.permitted.is_empty() {
        return Ok(());
    }
    clear_ambient_capability_set().map_err(&step)?;
    for number in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << number);
        match capability_is_in_bounding_set(one) {
            Ok(true) => match remove_capability_from_bounding_set(one) {
                // Who may not remove it can't gain it either: no_new_privs.
                Ok(()) | Err(Errno::PERM) => {}
                Err(e) => return Err(step(e)),
            },
            Ok(false) => {}
            // Beyond the last one that this kernel has.
            Err(_) => break,
        }
    }
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        .map_err(&step)
}

/// Keeps all memory, present and later, out of the swap, if the limit on locked memory lets it grow.
pub(crate) fn lock_memory() -> bool {
    let limit = getrlimit(Resource::Memlock);
    if limit.current.is_some() && setrlimit(Resource::Memlock, Rlimit { current: None, ..limit }).is_err() {
        let both = Rlimit { current: None, maximum: None };
        // A limit that is reached would fail an allocation: all or nothing.
        if setrlimit(Resource::Memlock, both).is_err() {
            return false;
        }
    }
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT).is_ok()
}
