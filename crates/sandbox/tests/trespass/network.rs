//! Ways out: TCP, datagrams, socket paths, abstract sockets.

use std::net::TcpListener;
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
    for room in Room::ALL {
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
    for room in Room::ALL {
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
