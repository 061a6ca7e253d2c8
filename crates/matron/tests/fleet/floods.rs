//! Clients that are slow, many, or both. They come from 127.0.0.2, the phones from 127.0.0.1.

use std::net::{Ipv4Addr, SocketAddr};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::*;

async fn from_elsewhere(to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 0, 0, 2), 0).into())?;
    socket.connect(to).await
}

/// Comes, and says nothing that it has to say at once: `word`, then a byte a second, until it is shown out.
async fn slow(to: SocketAddr, word: &[u8]) -> Duration {
    let begun = Instant::now();
    let Ok(mut stream) = from_elsewhere(to).await else { return begun.elapsed() };
    let _ = stream.write_all(word).await;
    let mut heard = [0; 64];
    loop {
        tokio::select! {
            read = stream.read(&mut heard) => match read {
                Ok(0) | Err(_) => return begun.elapsed(),
                Ok(_) => {}
            },
            () = tokio::time::sleep(Duration::from_secs(1)) => {
                let _ = stream.write_all(b"\x16").await;
            }
        }
    }
}

/// TLS without a phone's certificate, and without tickets: each handshake is a whole one.
fn stranger(house: &House) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(house.ca_pem()).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

/// The phone's next ten conversations, each on a connection of its own.
async fn phone_is_served(phone: &mut Phone) {
    for n in 0..10 {
        let mut connection = phone.connect().await.unwrap_or_else(|e| panic!("connection {n}: {e}"));
        phone.converse(&mut connection, Temper::obliging()).await.unwrap_or_else(|e| panic!("{n}: {e}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_send_a_byte_a_second_take_no_phones_place_and_are_shown_out() {
    // 64 places, and 300 that would like to sit on them.
    let ward = Ward::open(&["phones.connections=64"]).await;
    let mut phone = ward.phone(0).await;
    let to = ward.house.phones();
    let slow_ones: Vec<_> = (0..300).map(|_| tokio::spawn(slow(to, b"\x16\x03\x01\x02"))).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    phone_is_served(&mut phone).await;
    for one in slow_ones {
        let stayed = one.await.unwrap();
        assert!(stayed < Duration::from_secs(60), "one was let sit for {stayed:?}");
    }
    phone_is_served(&mut phone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_handshakes_does_not_keep_phones_out() {
    let ward = Ward::open(&["phones.connections=64"]).await;
    let mut phone = ward.phone(0).await;
    let to = ward.house.phones();
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let connector = stranger(&ward.house);
    let flood: Vec<_> = (0..100)
        .map(|_| {
            let (over, connector) = (over.clone(), connector.clone());
            tokio::spawn(async move {
                let mut done = 0;
                while !over.load(std::sync::atomic::Ordering::SeqCst) {
                    let Ok(stream) = from_elsewhere(to).await else { continue };
                    let name = ServerName::try_from("localhost").unwrap();
                    done += usize::from(connector.connect(name, stream).await.is_ok());
                }
                done
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    for _ in 0..5 {
        phone_is_served(&mut phone).await;
    }
    over.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut done = 0;
    for one in flood {
        done += one.await.unwrap();
    }
    assert!(done > 100, "only {done} handshakes: no flood");
}

/// `MATRON_IDLE` connections (300); `scripts/idle-connections` does 10,000.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_cost_little_memory_and_a_phone_among_them_is_served() {
    let count: usize = std::env::var("MATRON_IDLE").map_or(300, |v| v.parse().unwrap());
    let ward = Ward::open(&["phones.idle_timeout_ms=600000"]).await;
    let mut phone = ward.phone(0).await;
    let resident_kb = || {
        let status = format!("/proc/{}/status", ward.house.pid("door").unwrap());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap().trim().to_owned();
        line.trim_end_matches(" kB").parse::<usize>().unwrap()
    };
    let before_kb = resident_kb();
    let mut kept = Vec::with_capacity(count);
    while kept.len() < count {
        let mut connection = phone.connect().await.unwrap();
        phone.converse(&mut connection, Temper::obliging()).await.unwrap();
        kept.push(connection);
    }
    // By then the last of them rests too.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after_kb = resident_kb();
    eprintln!("{count} idle connections: door {after_kb} kB ({before_kb} kB before)");
    assert!(after_kb < 200 << 10, "{after_kb} kB");
    // 200 MB for 10,000 is 20 kB each; what the first few cost once is not theirs.
    let each_kb = after_kb.saturating_sub(before_kb + (4 << 10)) / count;
    assert!(each_kb < 20, "{each_kb} kB a connection: {after_kb} kB after, {before_kb} before");
    phone_is_served(&mut phone).await;
    // On the very connection that has rested.
    let mut first = kept.swap_remove(0);
    phone.converse(&mut first, Temper::obliging()).await.unwrap();
    drop(kept);
}
