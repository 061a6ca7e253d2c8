//! The rules of [`calls`](crate::calls) as three seccomp programs. The kernel asks each and takes the strictest
//! answer (seccomp(2)): end the process, then an error, then allow.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

use crate::calls::{self, Argument, Is, NOT_THERE, THREAD, THREAD_MASK, THREADS_ALONE};
use crate::{Missing, Room};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn failed(e: impl std::fmt::Display) -> Missing {
    Missing::Step { step: "the list of system calls", why: e.to_string() }
}

fn condition(argument: &Argument) -> Result<SeccompCondition, Missing> {
    let Argument(index, is) = argument;
    let (length, how, value) = match *is {
        Is::Word(value) => (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, u64::from(value)),
        Is::Whole(value) => (SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value),
        Is::Masked { mask, value } => {
            (SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(u64::from(mask)), u64::from(value))
        }
    };
    SeccompCondition::new(*index, length, how, value).map_err(failed)
}

fn program(rules: Rules, otherwise: SeccompAction, matched: SeccompAction) -> Result<BpfProgram, Missing> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(failed)?;
    SeccompFilter::new(rules, otherwise, matched, arch).and_then(BpfProgram::try_from).map_err(failed)
}

/// In the order they are put in force; the last one forbids to add more.
fn programs(room: Room, pid: u32, dns_over_udp: bool) -> Result<[BpfProgram; 3], Missing> {
    let not_there = Rules::from([(NOT_THERE.number, Vec::new())]);
    let mut killed: Rules = calls::killed().map(|c| (c.number, Vec::new())).collect();
    // MaskedEq has no negation: one rule for each way of not being a thread.
    let mut not_a_thread = Vec::new();
    for bit in (0..32).map(|n| 1u32 << n).filter(|bit| THREAD_MASK & bit != 0) {
        let wrong = Is::Masked { mask: bit, value: bit & !THREAD };
        not_a_thread.push(SeccompRule::new(vec![condition(&Argument(0, wrong))?]).map_err(failed)?);
    }
    killed.insert(THREADS_ALONE.number, not_a_thread);
    let mut allowed = Rules::from([(NOT_THERE.number, Vec::new())]);
    for allow in calls::allowed(room, pid, dns_over_udp) {
        let mut any = Vec::new();
        for all in &allow.when {
            let conditions = all.iter().map(condition).collect::<Result<Vec<_>, _>>()?;
            any.push(SeccompRule::new(conditions).map_err(failed)?);
        }
        allowed.insert(allow.call.number, any);
    }
    let refuse = |error: i32| SeccompAction::Errno(error.unsigned_abs());
    Ok([
        program(not_there, SeccompAction::Allow, refuse(libc::ENOSYS))?,
        program(killed, SeccompAction::Allow, SeccompAction::KillProcess)?,
        program(allowed, refuse(libc::EPERM), SeccompAction::Allow)?,
    ])
}

/// From here on this thread, and each that it starts, is held to the room's calls.
pub(crate) fn enforce(room: Room, dns_over_udp: bool) -> Result<u32, Missing> {
    let programs = programs(room, std::process::id(), dns_over_udp)?;
    for program in &programs {
        seccompiler::apply_filter(program)
            .map_err(|e| Missing::Step { step: "putting a seccomp filter in force", why: e.to_string() })?;
    }
    u32::try_from(programs.len()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_every_room_compile() {
        for room in Room::ALL.into_iter().chain([Room::Hsm]) {
            for program in programs(room, 1, true).unwrap() {
                assert!(program.len() > 3 && program.len() < 4096);
            }
        }
    }
}
