//! How a room ended, in the operator's words.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// What the sandbox ends is no crash.
pub(super) fn ending(status: ExitStatus) -> String {
    if status.signal() == Some(rustix::process::Signal::SYS.as_raw()) {
        return "the kernel ended it: it made a system call that no room makes; treat the room as taken"
            .into();
    }
    status.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_that_the_sandbox_ended_is_called_taken_and_a_crash_is_not() {
        let of = |signal| ending(ExitStatus::from_raw(signal));
        assert!(of(rustix::process::Signal::SYS.as_raw()).contains("taken"));
        assert!(!of(rustix::process::Signal::SEGV.as_raw()).contains("taken"));
    }
}
