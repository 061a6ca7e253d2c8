//! Enters a room's sandbox by the room's own function, then does what that room may not, and says what the
//! kernel answered. Started by the tests of this crate; no part of the product, and nothing here gets round
//! anything: each act is the plain system call.

#![allow(unsafe_code, missing_docs)]

mod act;

use std::ffi::CString;
use std::io::{Error, Read, Write};
use std::net::{TcpListener, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use act::{Act, OWN_PID, Task};

fn answer(returned: i64) -> i64 {
    if returned < 0 { -i64::from(Error::last_os_error().raw_os_error().unwrap_or(0)) } else { returned }
}

fn path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}

fn open(at: &Path, flags: i32) -> i64 {
    let at = path(at);
    // SAFETY: a string that ends in 0, plain numbers.
    answer(i64::from(unsafe { libc::open(at.as_ptr(), flags | libc::O_CLOEXEC, 0o600) }))
}

/// The address of a port of 127.0.0.1.
fn loopback(port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    }
}

fn socket(family: i32, kind: i32) -> i32 {
    // SAFETY: plain numbers.
    unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, 0) }
}

fn size<T>() -> u32 {
    u32::try_from(std::mem::size_of::<T>()).unwrap_or(0)
}

fn connect(socket: i32, port: u16) -> i64 {
    let to = loopback(port);
    // SAFETY: the address outlives the call, its size is its own.
    answer(i64::from(unsafe { libc::connect(socket, (&raw const to).cast(), size::<libc::sockaddr_in>()) }))
}

fn bind(socket: i32, port: u16) -> i64 {
    let to = loopback(port);
    // SAFETY: as above.
    answer(i64::from(unsafe { libc::bind(socket, (&raw const to).cast(), size::<libc::sockaddr_in>()) }))
}

fn fast_open(socket: i32, port: u16) -> i64 {
    let to = loopback(port);
    let flags = libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL;
    // SAFETY: as above; four bytes of a constant are sent.
    answer(unsafe {
        libc::sendto(
            socket,
            c"here".as_ptr().cast(),
            4,
            flags,
            (&raw const to).cast(),
            size::<libc::sockaddr_in>(),
        )
    } as i64)
}

/// A Unix address with this name; an abstract one begins with 0.
fn unix(name: &[u8]) -> (libc::sockaddr_un, u32) {
    // SAFETY: all zeros is a value of this type.
    let mut to: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    to.sun_family = libc::AF_UNIX as u16;
    for (into, byte) in to.sun_path.iter_mut().zip(name) {
        *into = *byte as libc::c_char;
    }
    let family = std::mem::size_of::<libc::sa_family_t>();
    (to, u32::try_from(family + name.len()).unwrap_or(0))
}

fn connect_unix(name: &[u8]) -> i64 {
    let socket = socket(libc::AF_UNIX, libc::SOCK_STREAM);
    if socket < 0 {
        return answer(-1);
    }
    let (to, length) = unix(name);
    // SAFETY: the address outlives the call.
    answer(i64::from(unsafe { libc::connect(socket, (&raw const to).cast(), length) }))
}

fn datagram(to: &Path) -> i64 {
    let mut pair = [0; 2];
    // SAFETY: room for two descriptors.
    if unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_DGRAM, 0, pair.as_mut_ptr()) } < 0 {
        return answer(-1);
    }
    let (to, length) = unix(to.as_os_str().as_bytes());
    // SAFETY: the address outlives the call.
    answer(unsafe { libc::sendto(pair[0], c"here".as_ptr().cast(), 4, 0, (&raw const to).cast(), length) }
        as i64)
}

fn device_command(at: &Path) -> i64 {
    let device = open(at, libc::O_RDONLY);
    if device < 0 {
        return device;
    }
    let mut settings = [0u8; 256];
    // SAFETY: room for what TCGETS writes.
    answer(i64::from(unsafe { libc::ioctl(device as i32, libc::TCGETS, settings.as_mut_ptr()) }))
}

fn execute(at: &Path) -> i64 {
    let at = path(at);
    let none: [*const libc::c_char; 1] = [std::ptr::null()];
    // SAFETY: a string that ends in 0 and empty lists that end in null.
    answer(i64::from(unsafe { libc::execve(at.as_ptr(), none.as_ptr(), none.as_ptr()) }))
}

fn call(number: i64, with: &[i64; 6]) -> i64 {
    let own = i64::from(std::process::id());
    let [a, b, c, d, e, f] = with.map(|v| if v == OWN_PID { own } else { v });
    // SAFETY: none in general: the kernel is to refuse it. The tests pass no address but 0 and -1.
    answer(unsafe { libc::syscall(number, a, b, c, d, e, f) })
}

#[cfg(target_arch = "x86_64")]
fn old_interface() -> i64 {
    const GETPID: u64 = 20;
    let answer: u64;
    // SAFETY: a call without arguments; it touches no memory.
    unsafe { std::arch::asm!("int 0x80", inlateout("rax") GETPID => answer, options(nostack)) };
    answer.cast_signed()
}

#[cfg(not(target_arch = "x86_64"))]
fn old_interface() -> i64 {
    -1
}

fn stay() -> i64 {
    println!("here");
    let _ = std::io::stdout().flush();
    let mut end = [0];
    let _ = std::io::stdin().read(&mut end);
    0
}

fn two(
    from: &Path,
    to: &Path,
    how: unsafe extern "C" fn(*const libc::c_char, *const libc::c_char) -> i32,
) -> i64 {
    let (from, to) = (path(from), path(to));
    // SAFETY: two strings that end in 0.
    answer(i64::from(unsafe { how(from.as_ptr(), to.as_ptr()) }))
}

fn act(act: &Act, listener: &TcpListener) -> i64 {
    let one = |at: &Path, how: &dyn Fn(*const libc::c_char) -> i32| {
        let at = path(at);
        answer(i64::from(how(at.as_ptr())))
    };
    let tcp = || socket(libc::AF_INET, libc::SOCK_STREAM);
    match act {
        Act::Call { number, with } => call(*number, with),
        Act::OldInterface => old_interface(),
        Act::Read(at) => open(at, libc::O_RDONLY),
        Act::List(at) => open(at, libc::O_RDONLY | libc::O_DIRECTORY),
        Act::Write(at) => open(at, libc::O_WRONLY),
        Act::OpenShort(at) => open(at, libc::O_RDONLY | libc::O_TRUNC),
        Act::Make(at) => open(at, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL),
        // SAFETY (these five): a string that ends in 0, plain numbers.
        Act::Short(at) => one(at, &|p| unsafe { libc::truncate(p, 0) }),
        Act::MakeFolder(at) => one(at, &|p| unsafe { libc::mkdir(p, 0o700) }),
        Act::Remove(at) => one(at, &|p| unsafe { libc::unlink(p) }),
        Act::RemoveFolder(at) => one(at, &|p| unsafe { libc::rmdir(p) }),
        Act::Node(at, mode) => one(at, &|p| unsafe { libc::mknod(p, mode | 0o600, 0) }),
        Act::Rename(from, to) => two(from, to, libc::rename),
        Act::Link(from, to) => two(from, to, libc::link),
        Act::Symlink(from, to) => two(from, to, libc::symlink),
        Act::DeviceCommand(at) => device_command(at),
        Act::Execute(at) => execute(at),
        Act::Connect(port) => match tcp() {
            socket if socket < 0 => answer(-1),
            socket => connect(socket, *port),
        },
        Act::Bind(port) => match tcp() {
            socket if socket < 0 => answer(-1),
            socket => bind(socket, *port),
        },
        Act::FastOpen(port) => match tcp() {
            socket if socket < 0 => answer(-1),
            socket => fast_open(socket, *port),
        },
        Act::ListenerFastOpen(port) => {
            // SAFETY: a descriptor of ours.
            unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RD) };
            fast_open(listener.as_raw_fd(), *port)
        }
        Act::Resolve(name) => match (name.as_str(), 443).to_socket_addrs() {
            Ok(found) => i64::try_from(found.count()).unwrap_or(i64::MAX),
            Err(_) => -1,
        },
        Act::ConnectPath(at) => connect_unix(at.as_os_str().as_bytes()),
        Act::ConnectAbstract(name) => connect_unix(format!("\0{name}").as_bytes()),
        Act::DatagramTo(at) => datagram(at),
        // SAFETY: plain numbers; signal 0 asks only.
        Act::Signal(pid) => answer(i64::from(unsafe { libc::kill(*pid, 0) })),
        Act::Thread => match std::thread::Builder::new().spawn(|| {}).map(|t| t.join().is_ok()) {
            Ok(true) => 0,
            _ => -1,
        },
        Act::Stay => stay(),
    }
}

/// From here on the kernel answers these as one that does not have them.
fn seem_to_lack(calls: &[i64]) -> Option<()> {
    use seccompiler::{SeccompAction, SeccompFilter, TargetArch};
    let rules = calls.iter().map(|call| (*call, Vec::new())).collect();
    let arch = TargetArch::try_from(std::env::consts::ARCH).ok()?;
    let not_there = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, not_there, arch).ok()?;
    seccompiler::apply_filter(&seccompiler::BpfProgram::try_from(filter).ok()?).ok()
}

fn main() -> ExitCode {
    let Some(Ok(task)) = std::env::args().nth(1).map(|a| serde_json::from_str::<Task>(&a)) else {
        return ExitCode::from(2);
    };
    // As the supervisor hands one to door and core.
    let Ok(listener) = TcpListener::bind(("127.0.0.1", 0)) else { return ExitCode::from(2) };
    if !task.lacking.is_empty() && seem_to_lack(&task.lacking).is_none() {
        return ExitCode::from(2);
    }
    if let Err(e) = sandbox::enter(task.room, &task.allowed) {
        println!("{e}");
        return ExitCode::from(3);
    }
    let outcomes: Vec<i64> = task.acts.iter().map(|a| act(a, &listener)).collect();
    // Whoever asked may have heard enough.
    let _ = writeln!(std::io::stdout(), "{}", serde_json::to_string(&outcomes).unwrap_or_default());
    ExitCode::SUCCESS
}
