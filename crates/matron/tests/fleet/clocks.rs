//! The whole house under a clock that jumps: the binary is given a library of a few lines that moves what
//! the host's clock shows (CLOCK_REALTIME; timers go on), by as much as a file says.

use std::os::unix::fs::FileExt;
use std::path::Path;

use super::*;

const HOUR_S: i64 = 3600;
const DAY_S: i64 = 24 * HOUR_S;

const SHIFT: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static volatile const int64_t *by;
__attribute__((constructor)) static void look(void) {
    int f = open(OFFSET_FILE, O_RDONLY | O_CLOEXEC);
    void *m = f < 0 ? MAP_FAILED : mmap(0, 8, PROT_READ, MAP_SHARED, f, 0);
    if (m != MAP_FAILED) by = m;
    if (f >= 0) close(f);
}
int clock_gettime(clockid_t id, struct timespec *t) {
    int r = syscall(SYS_clock_gettime, id, t);
    if (r == 0 && id == CLOCK_REALTIME && by) t->tv_sec += *by;
    return r;
}
"#;

fn run(program: &str, arguments: &[&std::ffi::OsStr]) {
    let out = std::process::Command::new(program).args(arguments).output();
    let out = out.unwrap_or_else(|e| panic!("{program}: {e}; ./test installs it"));
    assert!(out.status.success(), "{program}: {}", String::from_utf8_lossy(&out.stderr));
}

/// The binary, with a clock of its own.
struct Moved {
    offset: std::fs::File,
    binary: std::path::PathBuf,
    _dir: tempfile::TempDir,
}

impl Moved {
    fn make() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("offset"), 0_i64.to_ne_bytes()).unwrap();
        std::fs::write(at("shift.c"), SHIFT).unwrap();
        let define = format!("-DOFFSET_FILE=\"{}\"", at("offset").display());
        let (source, library, binary) = (at("shift.c"), at("shift.so"), at("matron"));
        run(
            "cc",
            &[
                "-shared".as_ref(),
                "-fPIC".as_ref(),
                "-O1".as_ref(),
                define.as_ref(),
                "-o".as_ref(),
                library.as_ref(),
                source.as_ref(),
            ],
        );
        std::fs::copy(env!("CARGO_BIN_EXE_matron"), &binary).unwrap();
        // Rooms are started without an environment, so the library is needed by the program itself.
        run("patchelf", &["--add-needed".as_ref(), library.as_ref(), binary.as_ref()]);
        let offset = std::fs::File::options().write(true).open(at("offset")).unwrap();
        Self { offset, binary, _dir: dir }
    }

    /// From now on the house's clock shows so many seconds more than ours.
    fn to(&self, seconds: i64) {
        self.offset.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }
}

async fn ward(binary: &Path) -> Ward {
    let house = House::start(binary, &[]).unwrap();
    let admin = Admin::join(&house.administrators().to_string(), house.token()).await.unwrap();
    let network = Network::trusting(&std::fs::read(house.ca_pem()).unwrap()).unwrap();
    Ward { house, admin, network, keys: KeyPool::made(4, 2).unwrap() }
}

/// A message is locked onto the phone: ordered, signed, and let out by the door.
async fn locks(ward: &Ward, phone: &mut Phone) {
    let ended = Instant::now() + Duration::from_secs(60);
    while let Err(e) = ward.command(Command::DeviceLock, &[id(phone)], &CommandSecrets::default()).await {
        assert!(Instant::now() < ended, "{e}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    loop {
        if let Ok(mut connection) = phone.connect().await
            && let Ok(talk) = phone.converse(&mut connection, Temper::obliging()).await
            && talk.commands.iter().any(|(kind, said)| kind == "DeviceLock" && *said == "Acknowledged")
        {
            return;
        }
        assert!(Instant::now() < ended, "the phone is not locked: {}", ward.house.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn anew(ward: &Ward, rooms: &[&str]) {
    for room in rooms {
        let before = ward.house.pid(room);
        ward.house.kill_room(room).unwrap();
        until("the room to be there again", || async {
            let now = ward.house.pid(room);
            now.is_some() && now != before
        })
        .await;
    }
}

const ALL: [&str; 5] = ["door", "reader", "core", "courier", "vault"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_house_goes_on_when_its_clock_jumps_by_hours_whichever_rooms_start_anew() {
    let moved = Moved::make();
    let ward = ward(&moved.binary).await;
    let mut phone = ward.phone(0).await;
    // Ahead, and put right again: within a day nobody follows it back.
    for hours in [2, 0, -3] {
        moved.to(hours * HOUR_S);
        locks(&ward, &mut phone).await;
        anew(&ward, &ALL).await;
        locks(&ward, &mut phone).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_house_goes_on_when_its_clock_jumps_by_days_and_is_put_right() {
    let moved = Moved::make();
    let mut ward = ward(&moved.binary).await;
    let mut phone = ward.phone(0).await;
    for days in [9, 0] {
        moved.to(days * DAY_S);
        ward.admin.ahead_ms = days * model::clock::DAY_MS;
        let ended = Instant::now() + Duration::from_secs(30);
        while let Err(e) = ward.admin.sign_in(0).await {
            assert!(Instant::now() < ended, "{e}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        locks(&ward, &mut phone).await;
        anew(&ward, &ALL).await;
        locks(&ward, &mut phone).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_ran_out_is_not_let_out_after_the_clock_is_set_back() {
    let moved = Moved::make();
    let ward = ward(&moved.binary).await;
    let mut phone = ward.phone(0).await;
    // An order of these tests lives for a day.
    ward.command(Command::DeviceLock, &[id(&phone)], &CommandSecrets::default()).await.unwrap();
    moved.to(25 * HOUR_S);
    // The vault's next statement says how late it is.
    tokio::time::sleep(Duration::from_secs(12)).await;
    moved.to(2 * HOUR_S);
    for rooms in [&["door"][..], &["door", "core"], &ALL] {
        anew(&ward, rooms).await;
        let mut told = Vec::new();
        let ended = Instant::now() + Duration::from_secs(30);
        loop {
            if let Ok(mut connection) = phone.connect().await
                && let Ok(talk) = phone.converse(&mut connection, Temper::obliging()).await
            {
                told.extend(talk.commands);
                break;
            }
            assert!(Instant::now() < ended, "the phone is not served: {}", ward.house.log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert!(told.iter().all(|(kind, _)| kind != "DeviceLock"), "{rooms:?}: {told:?}");
    }
}

/// The certificate that the phones' listener shows, whoever signed it and whenever it counts.
fn shown(ward: &Ward) -> Option<Vec<u8>> {
    let at = ward.house.phones().to_string();
    let line = format!(
        "openssl s_client -connect {at} -servername localhost </dev/null | openssl x509 -outform der"
    );
    let out = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
    (!out.stdout.is_empty()).then_some(out.stdout)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_houses_own_certificate_is_renewed_while_it_runs_and_shown_from_then_on() {
    let moved = Moved::make();
    let ward = ward(&moved.binary).await;
    let file = ward.house.room_dir("door").join("tls.cert.der");
    let first = std::fs::read(&file).unwrap();
    assert_eq!(shown(&ward).as_ref(), Some(&first));
    // It lives for 820 days and is due when a third of that is left; the door looks at its start and every six hours.
    moved.to(600 * DAY_S);
    anew(&ward, &["door"]).await;
    let ended = Instant::now() + Duration::from_secs(60);
    while shown(&ward).is_none_or(|c| c == first) {
        assert!(Instant::now() < ended, "{}", ward.house.log());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let second = std::fs::read(&file).unwrap();
    assert_eq!(shown(&ward), Some(second.clone()));
    let read = |der: &[u8]| {
        let (_, c) = x509_parser::parse_x509_certificate(der).unwrap();
        (c.public_key().raw.to_vec(), c.validity().not_after.timestamp())
    };
    let ((key, until), (same, later)) = (read(&first), read(&second));
    assert!(key == same && later > until);
    assert!(ward.house.log().contains("the door's own certificate was renewed"));
}
