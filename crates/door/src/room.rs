//! The door as a process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::{Clock, KeyName, SteadyClock, SystemClock};
use rpc::control::{ControlEnd, RoomEvent, ToSupervisor};
use rpc::pair;
use rpc::proto::door_server::DoorServer;
use rpc::trust::Trust;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

use crate::Error;
use crate::acme::{Acme, AcmeConfig, Shown, serve_http01};
use crate::connection::{Ends, Entrance, Limits, accept};
use crate::counters::Counters;
use crate::delivery::Delivery;
use crate::flow::{Flow, Places};
use crate::own;
use crate::proxy::Network;
use crate::served::{self, PemFiles};
use crate::tls::{Front, authorities_of, balancer_config};
use crate::tls_keys::TlsKeys;
use crate::walls::{DoorService, Held, Walls};

/// The door's part of the configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The door's own folder.
    pub data_dir: PathBuf,
    /// PEM file with the TLS certificate and its chain; absent: the one that our CA made.
    pub tls_certificate: Option<PathBuf>,
    /// PEM file with its key.
    pub tls_key: Option<PathBuf>,
    /// How often those two files are looked at for a new certificate.
    pub tls_reload_ms: u64,
    /// Where the phones' TLS ends.
    pub tls_ends: TlsEnds,
    /// Load balancers that pass TLS through and say for whom they speak (PROXY protocol, version 2). Given, every
    /// connection has to come from one of them and to begin so.
    pub proxy_from: Option<Vec<Network>>,
    /// The largest body a phone may send.
    pub largest_body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_timeout_ms: u64,
    /// How long a kept connection may be silent.
    pub idle_timeout_ms: u64,
    /// The most connections at once.
    pub connections: usize,
    /// A public certificate by ACME; absent: none.
    #[serde(default)]
    pub acme: Option<AcmeConfig>,
}

/// Where the phones' TLS ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsEnds {
    /// At the door: a phone is who its certificate says.
    Here,
    /// At a load balancer before it: a phone is who signed its message, by the reader's word.
    LoadBalancer {
        /// PEM of the CA of the load balancer's own certificate, which it has to show. Absent: plain HTTP.
        ca: Option<PathBuf>,
    },
}

/// Runs the door until it is told to stop.
///
/// # Errors
/// [`Error`] when it can't start.
pub async fn run(
    config: Config,
    control: ControlEnd,
    mut events: mpsc::UnboundedReceiver<RoomEvent>,
) -> Result<(), Error> {
    let clock = SteadyClock::new(SystemClock);
    let trust = Trust::open(&config.data_dir, &clock)
        .map_err(|e| Error::files("pinned root key", &config.data_dir, e))?;
    let authorities = Arc::new(authorities_of(&config)?);
    if let Some(statement) = trust.current(clock.now_ms()) {
        // Believed before a crash, and perhaps not kept.
        authorities.follow(&statement);
    }
    let served = served::open(&config, &authorities.all())?;
    let acme = match config.acme.clone() {
        Some(part) => Some(Acme::open(part, config.data_dir.clone(), served.clone())?),
        None => None,
    };
    let answers = acme.as_ref().map(|a| a.answers.clone());
    let shown = Shown { served: served.clone(), answers: answers.clone() };
    let ends = match &config.tls_ends {
        TlsEnds::Here => Ends::Here(Front::new(&config, shown, authorities.clone())?),
        TlsEnds::LoadBalancer { ca: Some(ca) } => {
            Ends::Behind(Some(TlsAcceptor::from(balancer_config(ca, served.clone())?)))
        }
        TlsEnds::LoadBalancer { ca: None } => Ends::Behind(None),
    };
    let delivery = Delivery::open(&config.data_dir)?;
    if let Some(statement) = trust.current(clock.now_ms()) {
        delivery.follow(&statement);
    }
    let own = TlsKeys::open(&config.data_dir)?;
    let rooms = Held { trust, delivery, authorities, tls: own, clock };
    let walls = Walls::new(rooms, Duration::from_secs(10), served.clone(), acme);
    // Beside the operator's files too: the house's own is there for whoever takes them out again.
    let renewing = tokio::spawn(own::renew(config.data_dir.clone(), served.clone(), walls.clone()));
    let watching = match PemFiles::of(&config) {
        Some(files) => {
            let period = Duration::from_millis(config.tls_reload_ms);
            let counted = walls.clone();
            let refused = move || Counters::add(&counted.counters.certificates_refused);
            Some(tokio::spawn(served::watch(served, files, period, refused)))
        }
        None => None,
    };
    let flow = Arc::new(Flow {
        walls: walls.clone(),
        largest_body_bytes: config.largest_body_bytes,
        body_timeout: Duration::from_millis(config.body_timeout_ms),
        room: Places::default(),
    });
    let limits = Limits {
        connections: config.connections,
        handshake_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_millis(config.idle_timeout_ms),
    };
    let entrance = Arc::new(Entrance { ends, proxy_from: config.proxy_from.clone(), flow, limits });
    let following = tokio::spawn(follow_authorities(entrance.clone(), walls.clone()));
    let (core, incoming) = pair::PeerIncoming::new();
    let service = DoorServer::new(DoorService(walls.clone()))
        .max_decoding_message_size(pair::LARGEST_MESSAGE_BYTES)
        .max_encoding_message_size(pair::LARGEST_MESSAGE_BYTES);
    let serving = tokio::spawn(pair::server().add_service(service).serve_with_incoming(incoming));
    let reading = tokio::spawn(walls.clone().keep_reader());
    let (stop_tx, stop) = watch::channel(false);
    let mut accepting = Vec::new();
    control.send(&ToSupervisor::Ready, &[]).map_err(|e| Error::Wall(e.to_string()))?;
    loop {
        match events.recv().await {
            Some(RoomEvent::Peer(room, pair)) => {
                let taken = match room.as_str() {
                    "core" => core.renew(pair),
                    "reader" => walls.reader_slot.renew(pair),
                    _ => Ok(()),
                };
                if let Err(e) = taken {
                    tracing::warn!(room, error = %e, "a pair could not be used");
                }
            }
            Some(RoomEvent::Listener(name, listener)) => {
                let wall = |e: std::io::Error| Error::Wall(e.to_string());
                listener.set_nonblocking(true).map_err(wall)?;
                let listener = TcpListener::from_std(listener).map_err(wall)?;
                if name == "acme" {
                    if let Some(answers) = answers.clone() {
                        accepting.push(tokio::spawn(serve_http01(listener, answers, stop.clone())));
                    }
                    continue;
                }
                let task = accept(listener, entrance.clone(), stop.clone());
                accepting.push(tokio::spawn(task));
            }
            Some(RoomEvent::Alarms(_)) => tracing::warn!("the pipe for alarms is not the door's"),
            Some(RoomEvent::MakeKey(KeyName::Delivery, number)) => match walls.delivery.make(number) {
                Ok(public) => {
                    let made = rpc::control::key_made(KeyName::Delivery, number, &public.0);
                    let _ = control.send(&made, &[]);
                }
                Err(e) => tracing::error!(error = %e, "a delivery key can't be made; it is asked for again"),
            },
            Some(RoomEvent::MakeKey(KeyName::Tls, number)) => match walls.tls.make(number) {
                Ok(public) => {
                    let made = rpc::control::key_made(KeyName::Tls, number, &public);
                    let _ = control.send(&made, &[]);
                    walls.house_changed.send_modify(|n| *n += 1);
                }
                Err(e) => tracing::error!(error = %e, "a TLS key can't be made; it is asked for again"),
            },
            Some(RoomEvent::MakeKey(key, _) | RoomEvent::KeyMade(key, ..)) => {
                tracing::warn!(key = key.name(), "that key is not the door's to make");
            }
            Some(RoomEvent::Stop) | None => break,
        }
    }
    stop_tx.send_replace(true);
    for task in accepting {
        let _ = task.await;
    }
    reading.abort();
    renewing.abort();
    following.abort();
    if let Some(watching) = watching {
        watching.abort();
    }
    serving.abort();
    Ok(())
}

/// The phones' listener goes by the CAs that count.
async fn follow_authorities(entrance: Arc<Entrance>, walls: Arc<Walls>) {
    let mut changed = walls.house_changed.subscribe();
    loop {
        if let Ends::Here(front) = &entrance.ends
            && let Err(e) = front.follow()
        {
            tracing::error!(error = %e, "the CAs that count can't be taken; those before go on being taken");
        }
        if changed.changed().await.is_err() {
            return;
        }
    }
}
