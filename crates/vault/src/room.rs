//! The vault as a process: its wall (`rpc/proto/vault.proto`) in front of the chamber.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use apple::x509::{Algorithms, Certificate};
use ledger::Body;
use model::{Clock, EnrolmentId, SealedRow, SystemClock};
use order::{Refusal, encode};
use rpc::alarm::{AlarmKind, AlarmWriter};
use rpc::control::{ControlEnd, RoomEvent, ToSupervisor};
use rpc::proto::vault_server::{Vault, VaultServer};
use rpc::{pair, proto};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use crate::Error;
use crate::alarms::{Alarms, alarm};
use crate::chamber::{Awaited, Chamber, Door, NotDurable, start};
use crate::command::PreparedCommand;
use crate::declarations::PhoneDeclarations;
use crate::give_back::Asked;
use crate::rows::invited;
use crate::standing::Asking;
use crate::state::records_of;
use crate::submit::Submitted;

/// The vault's part of the configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The vault's own folder.
    pub data_dir: PathBuf,
    /// Where phones reach the door, e.g. `https://mdm.example.org`.
    pub base_url: String,
    /// Shown on phones.
    pub organization: String,
    /// The number to call that a lost phone shows, when there is one.
    pub organization_phone: Option<String>,
    /// The push topic, `com.apple.mgmt.…`.
    pub topic: String,
    /// Serve enrolment profiles without a CMS signature, for simulators that can't read one.
    pub unsigned_profiles: bool,
    /// Admit SHA-1 in certificate requests of older phones and simulators.
    pub admit_old_algorithms: bool,
    /// How long a phone's certificate lives.
    pub certificate_days: u32,
    /// Phones sign their messages (`SignMessage`): a load balancer ends their TLS.
    pub sign_messages: bool,
}

impl Config {
    pub(crate) fn admitted(&self) -> Algorithms {
        if self.admit_old_algorithms { Algorithms::AdmitOld } else { Algorithms::Strong }
    }
}

/// Runs the vault until it is told to stop or its ledger fails.
///
/// # Errors
/// [`Error`] when it can't start, or the ledger can't be written.
pub async fn run(
    config: Config,
    control: ControlEnd,
    mut events: mpsc::UnboundedReceiver<RoomEvent>,
) -> Result<(), Error> {
    let dir = config.data_dir.clone();
    let chamber = Chamber::open(&dir, config, Arc::new(SystemClock))?;
    let alarms = chamber.alarms.clone();
    let (door, mut ended) = start(chamber)?;
    let tiles = ledger::TileFolder(dir.join(ledger::TREE_DIR));
    let (core, incoming) = pair::PeerIncoming::new();
    let room = Room { door, tiles, alarms: alarms.clone() };
    let mut awaited = room.door.awaited.clone();
    let chamber = room.door.clone();
    let service = VaultServer::new(room)
        .max_decoding_message_size(pair::LARGEST_MESSAGE_BYTES)
        .max_encoding_message_size(pair::LARGEST_MESSAGE_BYTES);
    let mut serving = tokio::spawn(pair::server().add_service(service).serve_with_incoming(incoming));
    control.send(&ToSupervisor::Ready, &[]).map_err(|e| Error::Wall(e.to_string()))?;
    awaited.mark_changed();
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = every_second.tick() => alarms.tick(),
            Ok(()) = awaited.changed() => {
                let Awaited { keys, authorities } = awaited.borrow_and_update().clone();
                if let Err(e) = control.send(&ToSupervisor::KeysWanted { keys, authorities }, &[]) {
                    tracing::warn!(error = %e, "the supervisor could not be asked for rooms' new keys");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    awaited.mark_changed();
                }
            }
            event = events.recv() => match event {
                Some(RoomEvent::Alarms(end)) => alarms.attach(AlarmWriter::new(end)),
                Some(RoomEvent::Peer(room, pair)) if room == "core" => {
                    if let Err(e) = core.renew(pair) {
                        tracing::warn!(error = %e, "a pair with core could not be used");
                    }
                }
                Some(RoomEvent::KeyMade(key, number, public)) => {
                    let _ = chamber.decide(move |c| c.room_key_made(key, number, public)).await;
                }
                Some(RoomEvent::Stop) | None => {
                    serving.abort();
                    return Ok(());
                }
                Some(_) => {}
            },
            result = &mut ended => {
                return result.unwrap_or_else(|_| Err(Error::Wall("the chamber ended".into())));
            }
            _ = &mut serving => return Err(Error::Wall("the server ended".into())),
        }
    }
}

/// The most rows that are indexed in one call: everyone else waits while it is done.
const MOST_INDEXED: usize = 1_000;
/// The most phones whose declarations are told in one call.
const MOST_DECLARED: usize = 100;
/// The most of core's words in one call.
const MOST_WORDS: usize = 1_000;

struct Room {
    door: Door,
    tiles: ledger::TileFolder,
    alarms: Arc<Alarms>,
}

fn not_durable(_: NotDurable) -> Status {
    Status::unavailable("the ledger can't be written")
}

fn invalid(e: rpc::ConvertError) -> Status {
    Status::invalid_argument(e.to_string())
}

fn number(refusal: Option<Refusal>) -> u32 {
    refusal.map_or(0, |r| u32::from(r.number()))
}

fn rows_from(rows: Vec<proto::PhoneRow>) -> Result<Vec<(EnrolmentId, SealedRow)>, Status> {
    rows.into_iter().map(|r| rpc::phone_row(r).map_err(invalid)).collect()
}

fn warrants_to(warrants: Vec<(EnrolmentId, order::SignedWarrant)>) -> Vec<proto::PhoneWarrant> {
    let to = |(e, w): (EnrolmentId, order::SignedWarrant)| proto::PhoneWarrant {
        enrolment: e.0.to_vec(),
        warrant: encode(&w),
    };
    warrants.into_iter().map(to).collect()
}

fn command_to(c: PreparedCommand) -> proto::CommandBytes {
    proto::CommandBytes {
        command: c.command.0.to_vec(),
        body: c.body,
        sealed: c.sealed,
        warrants: warrants_to(c.warrants),
    }
}

#[tonic::async_trait]
impl Vault for Room {
    async fn submit(&self, request: Request<proto::Submission>) -> Result<Response<proto::Outcome>, Status> {
        let r = request.into_inner();
        let submitted = Submitted {
            signed: r.signed_order,
            sealed_arguments: r.sealed_arguments,
            rows: rows_from(r.rows)?,
            profile: r.profile.map(|row| rpc::row_from(row).map_err(invalid)).transpose()?,
        };
        let o = self.door.decide(move |c| c.submit(&submitted)).await.map_err(not_durable)?;
        let commands = o.commands.into_iter().map(command_to);
        Ok(Response::new(proto::Outcome {
            refusal: number(o.refusal),
            order: o.order.map(|o| o.0.to_vec()).unwrap_or_default(),
            position: o.position,
            sealed_answer: o.sealed_answer,
            commands: commands.collect(),
            erasing: o.erasing,
            hold: o.hold.map(|h| encode(&h)).unwrap_or_default(),
            cools_until_ms: o.cools_until_ms.unwrap_or(0),
            profile: o.profile.map(rpc::row_to),
            detail: o.detail.unwrap_or_default(),
            declarations: o
                .declarations
                .into_iter()
                .map(|d| proto::DeclarationBody { digest: d.digest.0.to_vec(), sealed_body: d.sealed_body })
                .collect(),
        }))
    }

    async fn declarations(
        &self,
        request: Request<proto::DeclarationsRequest>,
    ) -> Result<Response<proto::DeclarationsAnswer>, Status> {
        let asked = request.into_inner().enrolments;
        if asked.len() > MOST_DECLARED {
            return Err(Status::invalid_argument("more phones than are told at once"));
        }
        let phones: Vec<EnrolmentId> =
            asked.iter().map(|e| rpc::enrolment_id(e).map_err(invalid)).collect::<Result<_, _>>()?;
        let made = self.door.decide(move |c| c.declarations(&phones)).await.map_err(not_durable)?;
        let to = |p: PhoneDeclarations| proto::PhoneDeclarations {
            enrolment: p.enrolment.0.to_vec(),
            warrant: encode(&p.warrant),
            tokens: p.tokens,
            items: p.items,
        };
        Ok(Response::new(match made {
            Ok(phones) => {
                proto::DeclarationsAnswer { refusal: 0, phones: phones.into_iter().map(to).collect() }
            }
            Err(r) => proto::DeclarationsAnswer { refusal: number(Some(r)), phones: vec![] },
        }))
    }

    async fn profile(
        &self,
        request: Request<proto::ProfileRequest>,
    ) -> Result<Response<proto::ProfileAnswer>, Status> {
        let link = rpc::link_hash(&request.into_inner().link).map_err(invalid)?;
        let made = self.door.decide(move |c| c.profile(&link)).await.map_err(not_durable)?;
        Ok(Response::new(match made {
            Ok((warrant, sealed_body)) => {
                proto::ProfileAnswer { refusal: 0, warrant: encode(&warrant), sealed_body }
            }
            Err(r) => proto::ProfileAnswer { refusal: number(Some(r)), ..Default::default() },
        }))
    }

    async fn issue(
        &self,
        request: Request<proto::IssueRequest>,
    ) -> Result<Response<proto::IssueAnswer>, Status> {
        let sealed = request.into_inner().sealed;
        let made = self.door.decide(move |c| c.issue(&sealed)).await.map_err(not_durable)?;
        Ok(Response::new(match made {
            Ok((enrolment, certificate)) => {
                proto::IssueAnswer { refusal: 0, certificate, enrolment: enrolment.0.to_vec() }
            }
            Err(r) => proto::IssueAnswer { refusal: number(Some(r)), ..Default::default() },
        }))
    }

    async fn act(&self, request: Request<proto::ActRequest>) -> Result<Response<proto::ActAnswer>, Status> {
        let r = request.into_inner();
        let standing = rpc::order_id(&r.standing).map_err(invalid)?;
        let enrolment = rpc::enrolment_id(&r.enrolment).map_err(invalid)?;
        let code = r.holder_code.map(Zeroizing::new);
        let profile = r.profile.map(rpc::row_from).transpose().map_err(invalid)?;
        let over = r.over.map(|c| rpc::command_id(&c)).transpose().map_err(invalid)?;
        let act = move |c: &mut Chamber| {
            let code = code.as_ref().map(|c| c.as_str());
            c.act(&standing, &enrolment, &Asking { code, over }, profile.as_ref())
        };
        let acted = self.door.decide(act).await.map_err(not_durable)?;
        Ok(Response::new(match acted {
            Ok(a) => proto::ActAnswer {
                refusal: 0,
                position: a.position,
                command: Some(command_to(a.command)),
                expires_at_ms: a.expires_at_ms,
            },
            Err(r) => proto::ActAnswer { refusal: number(Some(r)), ..Default::default() },
        }))
    }

    async fn give_back(
        &self,
        request: Request<proto::GiveBackRequest>,
    ) -> Result<Response<proto::GiveBackAnswer>, Status> {
        let r = request.into_inner();
        let enrolment = rpc::enrolment_id(&r.enrolment).map_err(invalid)?;
        let asked = match r.what {
            Some(proto::give_back_request::What::BootstrapToken(row)) => {
                Asked::Bootstrap(rpc::row_from(row).map_err(invalid)?)
            }
            Some(proto::give_back_request::What::Service(service)) => Asked::Service(service),
            None => return Err(Status::invalid_argument("nothing is asked for")),
        };
        let made = self.door.decide(move |c| c.give_back(enrolment, asked)).await.map_err(not_durable)?;
        Ok(Response::new(match made {
            Ok((warrant, sealed_body)) => {
                proto::GiveBackAnswer { refusal: 0, warrant: encode(&warrant), sealed_body }
            }
            Err(r) => proto::GiveBackAnswer { refusal: number(Some(r)), ..Default::default() },
        }))
    }

    async fn renew_server(
        &self,
        request: Request<proto::ServerCertificate>,
    ) -> Result<Response<proto::ServerCertificateAnswer>, Status> {
        let current = request.into_inner().certificate;
        let made = self.door.decide(move |c| c.renew_server(&current)).await.map_err(not_durable)?;
        Ok(Response::new(match made {
            Ok(certificate) => proto::ServerCertificateAnswer { refusal: 0, certificate },
            Err(r) => proto::ServerCertificateAnswer { refusal: number(Some(r)), ..Default::default() },
        }))
    }

    async fn warrants(
        &self,
        request: Request<proto::WarrantsRequest>,
    ) -> Result<Response<proto::WarrantsAnswer>, Status> {
        let r = request.into_inner();
        let order = rpc::order_id(&r.order).map_err(invalid)?;
        let phones: Vec<EnrolmentId> =
            r.enrolments.iter().map(|e| rpc::enrolment_id(e).map_err(invalid)).collect::<Result<_, _>>()?;
        let made = self.door.decide(move |c| c.warrants(&order, &phones)).await.map_err(not_durable)?;
        Ok(Response::new(match made {
            Ok(w) => proto::WarrantsAnswer { refusal: 0, warrants: warrants_to(w) },
            Err(r) => proto::WarrantsAnswer { refusal: number(Some(r)), warrants: vec![] },
        }))
    }

    async fn use_grant(
        &self,
        request: Request<proto::GrantUse>,
    ) -> Result<Response<proto::GrantAnswer>, Status> {
        let r = request.into_inner();
        let session = rpc::digest(&r.session).map_err(invalid)?;
        let rows = rows_from(r.open)?;
        let search = r.sealed_search;
        let used = self.door.decide(move |c| {
            let used = c.use_grant(&session, &rows, &search);
            let searches = u32::from(!search.is_empty());
            let of = |r| {
                if r == Refusal::BudgetSpent {
                    c.budgets_pay(&session, records_of(&rows), searches).err()
                } else {
                    None
                }
            };
            used.map_err(|r| (r, of(r)))
        });
        Ok(Response::new(match used.await.map_err(not_durable)? {
            Ok(g) => proto::GrantAnswer {
                refusal: 0,
                opened: g
                    .opened
                    .into_iter()
                    .map(|(e, name, v)| proto::Opened { enrolment: e.0.to_vec(), name, value: v.to_vec() })
                    .collect(),
                tokens: g.tokens.iter().map(|t| t.as_bytes().to_vec()).collect(),
                names: g.field.map(|f| f.name().to_owned()).into_iter().collect(),
                records_left: g.records_left,
                searches_left: g.searches_left,
                hold: Vec::new(),
            },
            Err((r, hold)) => proto::GrantAnswer {
                refusal: number(Some(r)),
                hold: hold.map(|h| encode(&h)).unwrap_or_default(),
                ..Default::default()
            },
        }))
    }

    async fn index(
        &self,
        request: Request<proto::IndexRequest>,
    ) -> Result<Response<proto::IndexAnswer>, Status> {
        let rows = request.into_inner().rows;
        if rows.len() > MOST_INDEXED {
            return Err(Status::invalid_argument("more rows than are indexed at once"));
        }
        let rows = rows_from(rows)?;
        let entries = self.door.decide(move |c| c.index(&rows)).await.map_err(not_durable)?;
        Ok(Response::new(proto::IndexAnswer { entries }))
    }

    async fn witness(
        &self,
        request: Request<proto::CoreWords>,
    ) -> Result<Response<proto::Witnessed>, Status> {
        let proto::CoreWords { bodies, numbers } = request.into_inner();
        if bodies.len() > MOST_WORDS || bodies.len() != numbers.len() {
            return Err(Status::invalid_argument(
                "more words than are taken at once, or not a number for each",
            ));
        }
        let mut words = Vec::new();
        for (body, number) in bodies.iter().zip(numbers) {
            let body: Body =
                order::decode(body).map_err(|_| Status::invalid_argument("no entry of the ledger"))?;
            if body.witness() != ledger::Witness::Core {
                return Err(Status::invalid_argument("an entry that core can't have witnessed"));
            }
            words.push((body, number));
        }
        let position = self.door.decide(move |c| c.witness(words)).await.map_err(not_durable)?;
        Ok(Response::new(proto::Witnessed { position }))
    }

    type FollowStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<proto::LedgerItem, Status>> + Send>>;

    async fn follow(
        &self,
        request: Request<proto::FollowRequest>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let from = request.into_inner().from;
        if from > *self.door.durable.borrow() {
            self.alarms.raise(alarm(AlarmKind::LedgerOlder, SystemClock.now_ms()));
            return Err(Status::out_of_range("the ledger is shorter than that: it was rolled back"));
        }
        let (tx, rx) = mpsc::channel(64);
        tokio::spawn(follow(self.door.clone(), from, tx));
        Ok(Response::new(Box::pin(ReceiverStream::new(rx))))
    }

    async fn limits(
        &self,
        _: Request<proto::LimitsRequest>,
    ) -> Result<Response<proto::LimitsAnswer>, Status> {
        let overview = self.door.decide(|c| c.overview()).await.map_err(not_durable)?;
        Ok(Response::new(proto::LimitsAnswer { overview: encode(&overview) }))
    }

    type CheckpointsStream =
        Pin<Box<dyn tokio_stream::Stream<Item = Result<proto::LedgerCheckpoint, Status>> + Send>>;

    async fn checkpoints(
        &self,
        _: Request<proto::CheckpointsRequest>,
    ) -> Result<Response<Self::CheckpointsStream>, Status> {
        let stream = tokio_stream::wrappers::WatchStream::new(self.door.checkpoint.clone());
        let said = tokio_stream::StreamExt::filter_map(stream, |newest| {
            newest.map(|note| Ok(proto::LedgerCheckpoint { note: note.to_string() }))
        });
        Ok(Response::new(Box::pin(said)))
    }

    async fn tile(
        &self,
        request: Request<proto::TileRequest>,
    ) -> Result<Response<proto::TileAnswer>, Status> {
        let tile: ledger::Tile = request
            .into_inner()
            .path
            .parse()
            .map_err(|e: ledger::tile::NoTile| Status::invalid_argument(e.to_string()))?;
        let tiles = self.tiles.clone();
        let read = tokio::task::spawn_blocking(move || ledger::TileSource::tile(&tiles, tile)).await;
        match read {
            Ok(Ok(tile)) => Ok(Response::new(proto::TileAnswer { tile })),
            _ => Err(Status::not_found("there is no such tile")),
        }
    }

    async fn keys(&self, _: Request<proto::KeysRequest>) -> Result<Response<proto::KeysAnswer>, Status> {
        let overview = self.door.decide(|c| c.keys_overview()).await.map_err(not_durable)?;
        Ok(Response::new(overview))
    }

    async fn reseal(
        &self,
        request: Request<proto::ResealRequest>,
    ) -> Result<Response<proto::ResealAnswer>, Status> {
        let rows = rows_from(request.into_inner().rows)?;
        let made = self.door.decide(move |c| c.reseal(&rows)).await.map_err(not_durable)?;
        Ok(Response::new(
            made.unwrap_or_else(|r| proto::ResealAnswer { refusal: number(Some(r)), ..Default::default() }),
        ))
    }

    async fn nothing_left(
        &self,
        request: Request<proto::NothingLeftRequest>,
    ) -> Result<Response<proto::NothingLeftAnswer>, Status> {
        let r = request.into_inner();
        let key = u8::try_from(r.key).ok().and_then(model::KeyName::from_number);
        let key = key.ok_or_else(|| Status::invalid_argument("no such key"))?;
        let done = self.door.decide(move |c| c.nothing_left(key, r.before)).await.map_err(not_durable)?;
        Ok(Response::new(proto::NothingLeftAnswer { refusal: number(done.err()) }))
    }

    async fn current_statement(
        &self,
        _: Request<proto::StatementRequest>,
    ) -> Result<Response<proto::Statement>, Status> {
        let s = self.door.decide(Chamber::statement).await.map_err(not_durable)?;
        Ok(Response::new(proto::Statement { signed: encode(&s) }))
    }

    async fn health(
        &self,
        _: Request<proto::VaultHealthRequest>,
    ) -> Result<Response<proto::VaultHealth>, Status> {
        let seen = |c: &mut Chamber| (c.state.refused_orders, c.state.unconfirmed.clone());
        let (refused_orders, unconfirmed) = self.door.decide(seen).await.map_err(not_durable)?;
        let entries = *self.door.durable.borrow();
        let restored = unconfirmed.map(|u| proto::UnconfirmedRestore {
            manifest: u.manifest.0.to_vec(),
            made_at_ms: u.made_at_ms,
            entries: u.entries,
            position: u.position,
            needed: u32::try_from(u.needed).unwrap_or(u32::MAX),
            confirmed: u32::try_from(u.confirmed.len()).unwrap_or(u32::MAX),
        });
        Ok(Response::new(proto::VaultHealth { entries, refused_orders, ledger: "ok".into(), restored }))
    }
}

/// Hands entries over as they become durable, until the one who follows is gone.
async fn follow(door: Door, from: u64, tx: mpsc::Sender<Result<proto::LedgerItem, Status>>) {
    let mut durable = door.durable.clone();
    let broken = |e: ledger::LedgerError| Status::data_loss(e.to_string());
    let mut entries = match door.reader.read_from(from) {
        Ok(e) => e,
        Err(e) => {
            let _ = tx.send(Err(broken(e))).await;
            return;
        }
    };
    loop {
        for record in entries.by_ref() {
            let record = match record {
                Ok(r) => r,
                Err(e) => {
                    let _ = tx.send(Err(broken(e))).await;
                    return;
                }
            };
            let (index, entry, body) = (record.position.index, record.bytes, record.entry.body);
            let not_after_ms = match &body {
                Body::CertificateIssued { certificate, .. } => {
                    Certificate::parse(&certificate.0).map_or(0, |c| c.not_after_ms())
                }
                _ => 0,
            };
            let (rows, index_rows) = if invited(&body).is_some() {
                let Ok(made) = door.decide(move |c| c.personal_rows(&body)).await else { return };
                made
            } else {
                Default::default()
            };
            let item = proto::LedgerItem { index, entry, rows, entries: index_rows, not_after_ms };
            if tx.send(Ok(item)).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = tx.closed() => return,
            changed = durable.changed() => if changed.is_err() { return },
        }
    }
}
