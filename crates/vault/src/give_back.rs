//! What a phone asks back: the bootstrap token that it gave into keeping, and the services' tokens that an
//! order set. No person signs for it: the bytes are the phone's own, they are sealed to the door and warranted
//! for that phone alone, and core learns nothing by asking. Each time stands in the ledger before the answer
//! leaves; how often is bounded, so that neither a phone nor core can fill the ledger.

use apple::returned;
use ledger::{Body, Effect, Opaque};
use model::clock::{HOUR_MS, MINUTE_MS};
use model::{Compartment, EnrolmentId, SealedRow, TimeMs};
use order::{AnswerClass, Order, Refusal, ServiceTokenSecrets, SignedWarrant, Subject, Warrant, sha256};
use seal::{PublicKey, to};
use zeroize::Zeroizing;

use crate::chamber::Chamber;
use crate::order_kinds::arguments;
use crate::submit::Consequence;

/// How often a phone gets something back in an hour. A phone asks a few times in its life.
const MOST_AN_HOUR: u32 = 12;
/// The most services that have a token.
const MOST_SERVICES: usize = 16;
/// The answer goes out at once; an old one is of no use to anyone.
const LIFE_MS: TimeMs = 5 * MINUTE_MS;

/// The one row that a phone gets back.
const BOOTSTRAP_TOKEN: &str = "BootstrapToken";

/// What a phone asked for.
pub(crate) enum Asked {
    Bootstrap(SealedRow),
    Service(String),
}

/// How often a phone got something in its latest hour, which never goes back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given {
    hour: i64,
    times: u32,
}

impl Given {
    pub(crate) fn none() -> Self {
        Self { hour: i64::MIN, times: 0 }
    }

    pub(crate) fn once_more(&mut self, at_ms: TimeMs) {
        let hour = at_ms.div_euclid(HOUR_MS);
        if hour > self.hour {
            *self = Self { hour, times: 0 };
        }
        self.times = self.times.saturating_add(1);
    }

    fn is_spent(&self, now_ms: TimeMs) -> bool {
        now_ms.div_euclid(HOUR_MS) <= self.hour && self.times >= MOST_AN_HOUR
    }

    pub(crate) fn is_before(&self, before_ms: TimeMs) -> bool {
        self.hour < before_ms.div_euclid(HOUR_MS)
    }
}

impl Chamber {
    /// Gives a phone what it asks back.
    pub(crate) fn give_back(
        &mut self,
        enrolment: EnrolmentId,
        asked: Asked,
    ) -> Result<(SignedWarrant, Vec<u8>), Refusal> {
        self.check_budgets_are_confirmed()?;
        let known = self.state.enrolments.get(&enrolment).is_some_and(|e| e.issued.is_some() && !e.withdrawn);
        if !known {
            return Err(Refusal::UnknownEnrolment);
        }
        if self.state.given.get(&enrolment).is_some_and(|g| g.is_spent(self.now_ms)) {
            return Err(Refusal::AskedTooOften);
        }
        let (what, bytes) = match asked {
            Asked::Bootstrap(row) => {
                if row.name != BOOTSTRAP_TOKEN || row.compartment != Compartment::Escrow {
                    return Err(Refusal::BadArgument);
                }
                let token = self.opener.open(&enrolment, &row).map_err(|_| Refusal::CannotOpen)?;
                (BOOTSTRAP_TOKEN.to_owned(), returned::bootstrap_token(&token))
            }
            Asked::Service(service) => {
                let sealed = self.state.service_tokens.get(&service).ok_or(Refusal::NoServiceToken)?;
                let token = self.keys.open_order(to::INFO_SERVICE_TOKEN, service.as_bytes(), &sealed.0);
                (service, returned::service_token(&token.map_err(|_| Refusal::CannotOpen)?))
            }
        };
        let bytes = Zeroizing::new(bytes.ok_or(Refusal::BadArgument)?);
        let digest = sha256(&bytes);
        let body = self.seal_to_door(&digest, &bytes)?;
        self.record(Body::GivenBack { enrolment, what });
        let warrant = Warrant {
            version: 1,
            subject: Subject::Enrolment(enrolment),
            class: AnswerClass::Escrow,
            status: 200,
            command: None,
            digest,
            expires_at_ms: self.now_ms + LIFE_MS,
        };
        Ok((SignedWarrant::sign(&warrant, &self.keys.warrant), body))
    }

    /// An order sets or takes away a service's token.
    pub(crate) fn set_service_token(
        &self,
        order: &Order,
        service: &str,
        arguments_bytes: &[u8],
    ) -> Result<Consequence, Refusal> {
        let tokens = &self.state.service_tokens;
        if !order.targets.is_empty() || !returned::is_service_type(service) {
            return Err(Refusal::BadArgument);
        }
        let sealed = if arguments_bytes.is_empty() {
            if !tokens.contains_key(service) {
                return Err(Refusal::NoServiceToken);
            }
            Opaque(Vec::new())
        } else {
            let secrets: ServiceTokenSecrets = arguments(arguments_bytes)?;
            let token = Zeroizing::new(secrets.token);
            let too_many = tokens.len() >= MOST_SERVICES && !tokens.contains_key(service);
            if token.is_empty() || token.len() > returned::MAX_TOKEN_BYTES || too_many {
                return Err(Refusal::BadArgument);
            }
            let key: PublicKey = self.keys.file.order_key.public();
            let sealed = to::seal(&key, to::INFO_SERVICE_TOKEN, service.as_bytes(), &token, &self.rng);
            Opaque(sealed.map_err(|_| Refusal::BadArgument)?)
        };
        Ok(Consequence::of(Effect::ServiceTokenSet { service: service.to_owned(), sealed }))
    }
}
