//! Ways out: TCP, datagrams, socket paths, abstract sockets.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

use crate::*;

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[test]
fn the_courier_connects_to_its_ports_alone_and_the_others_to_none() {
    let house = House::new();
    let ((_a, its), (_b, another)) = (listener(), listener());
    for room in HELD {
        let connects = if room == Room::Courier { vec![its] } else { Vec::new() };
        let allowed = Allowed { connects, ..house.allowed(room) };
        let acts = [Act::Connect(its), Act::Connect(another), Act::FastOpen(another), Act::Bind(0)];
        let wanted = match room {
            Room::Courier => [0, ACCESS, PERMISSION, PERMISSION],
            _ => [PERMISSION; 4],
        };
        assert_eq!(tried(room, &allowed, &acts), wanted, "{}", room.name());
        // Landlock by itself.
        let wanted = if room == Room::Courier { 0 } else { ACCESS };
        let acts = [Act::Connect(its), Act::Connect(another), Act::Bind(0)];
        assert_eq!(
            tried(room, &landlock_alone(&allowed), &acts),
            [wanted, ACCESS, ACCESS],
            "{}",
            room.name()
        );
    }
}

#[test]
fn a_handed_listener_can_not_be_turned_into_a_way_out() {
    let house = House::new();
    let (_outside, port) = listener();
    for room in [Room::Door, Room::Core, Room::Courier] {
        let outcomes = tried(room, &house.allowed(room), &[Act::ListenerFastOpen(port)]);
        assert_eq!(outcomes, [PERMISSION], "{}", room.name());
    }
}

#[test]
fn no_room_reaches_a_socket_path_or_an_abstract_socket() {
    let house = House::new();
    let (stream, datagrams) = (house.at("stream"), house.at("datagrams"));
    let _stream = UnixListener::bind(&stream).unwrap();
    let datagram = UnixDatagram::bind(&datagrams).unwrap();
    datagram.set_nonblocking(true).unwrap();
    let name = format!("matron-trespass-{}", std::process::id());
    let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    for room in HELD {
        let acts = [
            Act::ConnectPath(stream.clone()),
            Act::DatagramTo(datagrams.clone()),
            Act::ConnectAbstract(name.clone()),
        ];
        assert_eq!(tried(room, &house.allowed(room), &acts), [PERMISSION; 3], "{}", room.name());
        assert!(datagram.recv(&mut [0; 8]).is_err());
        let scoped =
            tried(room, &landlock_alone(&house.allowed(room)), &[Act::ConnectAbstract(name.clone())]);
        assert_eq!(scoped, [PERMISSION], "{}: Landlock's scope", room.name());
    }
}

/// Answers each question for an IPv4 address with 192.0.2.7 and others with none (RFC 1035, 4.2.2: by TCP).
fn answer_names(mut asked: TcpStream) -> std::io::Result<()> {
    loop {
        let mut length = [0; 2];
        asked.read_exact(&mut length)?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        asked.read_exact(&mut message)?;
        let end = 12 + message[12..].iter().position(|b| *b == 0).unwrap() + 5;
        let wants_ipv4 = message[end - 4..end - 2] == [0, 1];
        let mut reply = message[..end].to_vec();
        reply[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(wants_ipv4), 0, 0, 0, 0]);
        if wants_ipv4 {
            reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
        }
        asked.write_all(&u16::try_from(reply.len()).unwrap().to_be_bytes())?;
        asked.write_all(&reply)?;
    }
}

#[test]
fn the_courier_resolves_names_by_tcp_within_its_room() {
    let server = "127.0.7.53";
    let Ok(listener) = TcpListener::bind((server, 53)) else {
        skipped::not_possible("port 53 needs root");
        return;
    };
    std::thread::spawn(move || listener.incoming().flatten().for_each(|c| drop(answer_names(c))));
    let house = House::new();
    let config = house.at("resolv.conf");
    std::fs::write(&config, format!("nameserver {server}\noptions timeout:1 attempts:1\n")).unwrap();
    let mut allowed = house.allowed(Room::Courier);
    allowed.connects = vec![53];
    allowed.reads.extend(["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"].map(PathBuf::from));
    let resolve = |variable: &str| {
        let inner = command(Room::Courier, &allowed, &[Act::Resolve("push.example.org".into())]);
        let within = format!("mount --bind {} /etc/resolv.conf && exec \"$@\"", config.display());
        let mut outer = Command::new("unshare");
        outer.args(["--mount", "sh", "-c", &within, "sh"]).arg(inner.get_program()).args(inner.get_args());
        outer.env("RES_OPTIONS", variable).output().unwrap()
    };
    let by_tcp = resolve("use-vc");
    if String::from_utf8_lossy(&by_tcp.stderr).contains("unshare failed") {
        skipped::not_possible("a mount namespace needs root");
        return;
    }
    assert_eq!(String::from_utf8_lossy(&by_tcp.stdout), "[1]\n", "{by_tcp:?}");
    // Not by datagrams: it can make none.
    assert_eq!(String::from_utf8_lossy(&resolve("").stdout), "[-1]\n");
}
