//! The reader's work without its pair: one request in, one reply out.

use std::sync::{Arc, Mutex, PoisonError};

use apple::message::{self, MAX_MESSAGE_BYTES};
use apple::x509::Algorithms;
use aws_lc_rs::rand::SystemRandom;
use bytes::Bytes;
use model::Clock;
use order::TrustedStatement;
use prost::Message as _;
use rpc::proto::read_request::What as Asked;
use rpc::proto::{self, ReadReply, ReadRequest, read_reply::What};
use seal::{CompartmentPublic, PublicKey, Sealer};

use crate::fields::Sealing;
use crate::keys::Keys;
use crate::reason::{Counters, Refusal};
use crate::signed::{self, Signer};
use crate::{Config, Error, declared, observe, scep};

/// Bodies up to this are worth no thread of their own: a millisecond at most.
const INLINE_BODY_BYTES: usize = 64 << 10;

/// Keys, trust and sealers; answers requests from any thread.
pub struct Desk {
    keys: Keys,
    clock: Arc<dyn Clock>,
    rng: SystemRandom,
    admit: Algorithms,
    largest_body_bytes: usize,
    /// For small bodies, and for large ones, so that the small never wait for a large one's sealing.
    lanes: [Lane; 2],
    counters: Counters,
}

/// A sealer, and the statement it was made for.
type Lane = Mutex<Option<(Arc<TrustedStatement>, Sealer)>>;

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Desk(sealed)")
    }
}

impl Desk {
    /// Opens the room's folder.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::BadFile`] when it is not usable.
    pub fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        Ok(Self {
            keys: Keys::open(&config.data_dir, &*clock)?,
            clock,
            rng: SystemRandom::new(),
            admit: if config.admit_old_algorithms { Algorithms::AdmitOld } else { Algorithms::Strong },
            largest_body_bytes: config.largest_body_bytes.min(MAX_MESSAGE_BYTES),
            lanes: Default::default(),
            counters: Counters::default(),
        })
    }

    /// Whether a request is worth a thread of its own.
    #[must_use]
    pub fn is_heavy(request: &ReadRequest) -> bool {
        match &request.what {
            Some(Asked::Device(device)) => device.body.len() > INLINE_BODY_BYTES,
            Some(Asked::Scep(query)) => {
                matches!(query.operation(), proto::ScepOperation::PkiGet | proto::ScepOperation::PkiPost)
            }
            Some(Asked::ScepAnswer(_)) => true,
            None => false,
        }
    }

    /// Answers one request.
    #[must_use]
    pub fn answer(&self, request: &ReadRequest) -> ReadReply {
        let authorities = self.keys.authorities.all();
        let ca_certificate = authorities.first().map(|ca| ca.certificate.as_slice()).unwrap_or_default();
        let asked = || scep::Asked {
            keys: self.keys.current(),
            ca_certificate,
            statement: self.statement(),
            admit: self.admit,
            rng: &self.rng,
        };
        let (mut signer, mut endpoint) = (None, Bytes::new());
        let what = match &request.what {
            Some(Asked::Device(device)) => {
                self.device(&request.enrolment, device, &mut signer, &mut endpoint)
            }
            Some(Asked::Scep(query)) => {
                self.counters.count("scep_query");
                scep::query(query, &asked())
            }
            Some(Asked::ScepAnswer(answer)) => {
                self.counters.count("scep_answer");
                scep::answer(answer, &asked())
            }
            None => Err(Refusal::bad("unknown_request")),
        };
        let reply = ReadReply { endpoint, ..self.reply(request.call, what) };
        match signer {
            None => reply,
            Some(Signer { enrolment, certificate }) => ReadReply {
                enrolment: Bytes::copy_from_slice(&enrolment.0),
                certificate: Bytes::copy_from_slice(&certificate.0),
                ..reply
            },
        }
    }

    /// The reply when too much is under way.
    #[must_use]
    pub fn busy(&self, call: u64) -> ReadReply {
        self.reply(call, Err(Refusal::later("busy")))
    }

    fn reply(&self, call: u64, what: Result<What, Refusal>) -> ReadReply {
        let what = what.unwrap_or_else(|refusal| {
            self.counters.count(refusal.reason);
            tracing::debug!(refused.status = refusal.status, refused.reason = refusal.reason, "refused");
            What::Refused(refusal.into())
        });
        ReadReply { call, what: Some(what), ..ReadReply::default() }
    }

    /// Makes a key of the room's anew for an order's number, or finds it; its public half.
    ///
    /// # Errors
    /// When it can't be written, or is no key of the reader's.
    pub fn make_key(&self, key: model::KeyName, number: u32) -> Result<Vec<u8>, Error> {
        self.keys.make(key, number)
    }

    /// Believes a key statement, or says why not.
    #[must_use]
    pub fn believe(&self, statement: &proto::Statement) -> proto::Believed {
        let believed = self.keys.trust.believe(statement, &*self.clock);
        if let Some(statement) = self.keys.trust.current(self.clock.now_ms()) {
            self.keys.follow(&statement);
            if statement.ra_fingerprint != order::sha256(self.keys.current().ra.1.cert_der()) {
                tracing::error!("the key statement names another RA certificate than this room's");
            }
        }
        believed
    }

    /// The statement in force, if it names this reader.
    fn statement(&self) -> Result<Arc<TrustedStatement>, Refusal> {
        let statement = self.keys.trust.current(self.clock.now_ms()).ok_or(Refusal::later("no_statement"))?;
        if self.keys.current().sender(&statement).is_none() {
            return Err(Refusal::later("not_the_stated_reader"));
        }
        Ok(statement)
    }

    /// `signer` is filled in when the message says by its signature whose it is, `endpoint` with the hash of
    /// where declarations were asked for.
    fn device(
        &self,
        enrolment: &[u8],
        device: &proto::DeviceBody,
        signer: &mut Option<Signer>,
        endpoint: &mut Bytes,
    ) -> Result<What, Refusal> {
        if device.body.len() > self.largest_body_bytes {
            return Err(Refusal::too_large("too_large"));
        }
        let enrolment = if enrolment.is_empty() && !device.signature.is_empty() {
            let (cas, now_ms) = (self.keys.authorities.all(), self.clock.now_ms());
            let found = signed::signer(&device.signature, &device.body, &cas, now_ms, self.admit)?;
            signer.insert(found).enrolment
        } else {
            rpc::enrolment_id(enrolment).map_err(|_| Refusal::bad("no_enrolment"))?
        };
        let statement = self.statement()?;
        let message = message::parse(&device.body)?;
        let [small, large] = &self.lanes;
        let lane = if device.body.len() > INLINE_BODY_BYTES { large } else { small };
        // A sealer that was left in the middle of a field is as good as before it.
        let mut lane = lane.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, sealer) = match &mut *lane {
            Some(current) if Arc::ptr_eq(&current.0, &statement) => current,
            stale => stale.insert((statement.clone(), self.sealer(&statement)?)),
        };
        let current = self.keys.current();
        let (tags, names) = (&current.tags, &current.names);
        let now_ms = self.clock.now_ms();
        let mut sealing = Sealing { sealer, tags, names, rng: &self.rng, enrolment, now_ms };
        let observed = observe::observe(&message, &mut sealing)?;
        drop(lane);
        self.counters.count(observe::kind(&observed));
        *endpoint = declared::endpoint_of(&message);
        Ok(What::Observed(Bytes::from(observed.encode_to_vec())))
    }

    /// A sealer to the compartments' keys of this statement, whose epoch they carry.
    fn sealer(&self, statement: &TrustedStatement) -> Result<Sealer, Refusal> {
        let keys = statement.compartments.iter().map(|(compartment, key)| CompartmentPublic {
            compartment: *compartment,
            epoch: statement.epoch,
            key: PublicKey(key.0),
        });
        let current = self.keys.current();
        let sender = current.sender(statement).ok_or(Refusal::later("not_the_stated_reader"))?;
        Ok(Sealer::new(sender.clone(), keys.collect()))
    }

    pub(crate) fn log_counters(&self) {
        let counts = self.counters.all();
        if !counts.is_empty() {
            tracing::info!(counts = ?counts, "reader counters since the start");
        }
    }
}
