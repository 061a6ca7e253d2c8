//! What the vault knows: a replay of its ledger, nothing else. Whatever is decided becomes an entry,
//! and the entry changes the state here, in one place, at a replay as at the moment itself.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;

use apple::x509::Certificate;
use ledger::{Body, Effect, FileLedger, Opaque, PersonalSealed, Publisher, SigningPublicKey};
use model::{
    CommandId, CommandKind, Compartment, DataSubject, DeviceGroupId, Digest, Duty, EnrolmentId, Group, KeyId,
    KeyName, LinkHash, OrderId, PersonId, Role, StandingTemplate, TimeMs,
};

use order::{Assertion, PersonKey, Scheme};

use crate::Error;
use crate::budget::Budgets;
use crate::declared::DeclaredState;
use crate::device_groups::DeviceGroup;
use crate::give_back::Given;
use crate::library::Library;
use crate::restored::Unconfirmed;
use crate::rotation::{Breach, Rotations};
use crate::standing::{Renewal, Standing};

/// A person who signs orders.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) role: Role,
    pub(crate) group: Option<Group>,
    pub(crate) present: bool,
}

/// A key and whose it is.
#[derive(Debug, Clone)]
pub(crate) struct HeldKey {
    pub(crate) person: PersonId,
    pub(crate) key: PersonKey,
    /// How often it had signed, by its own count, in the newest order that was accepted; always 0 where it keeps none.
    pub(crate) sign_count: u32,
}

impl HeldKey {
    fn new(person: PersonId, scheme: Scheme, public: &[u8]) -> Self {
        Self { person, key: PersonKey { scheme, public: public.to_vec() }, sign_count: 0 }
    }
}

/// One phone's place in the house, from its invitation on.
#[derive(Debug, Clone)]
pub(crate) struct Enrolment {
    pub(crate) group: Group,
    pub(crate) expires_at_ms: TimeMs,
    pub(crate) holder: PersonalSealed,
    pub(crate) withdrawn: bool,
    /// The newest certificate, once one was issued.
    pub(crate) issued: Option<Issued>,
    /// When the certificate before that one ends.
    pub(crate) not_after_before_ms: Option<TimeMs>,
    /// The epoch of the CA that signed its first certificate.
    pub(crate) first_ca_epoch: Option<u32>,
    /// The epoch of the CA whose certificate the phone uses: its first one's, until core says that it came with a later one.
    pub(crate) used_ca_epoch: Option<u32>,
    /// How many were issued.
    pub(crate) certificates: u32,
    /// It was asked to renew.
    pub(crate) renewal: Option<Renewal>,
    /// How many certificate requests were refused and written down.
    pub(crate) refused_requests: u8,
    /// By core's word the phone left, or enrolled anew under another id.
    pub(crate) left: bool,
    /// The hash of the code of the holder's newest card.
    pub(crate) card: Option<Digest>,
}

impl Enrolment {
    /// Whether the phone may still be given commands, or may still come. That it left is core's word, which
    /// here only makes room for what an administrator signed.
    pub(crate) fn is_under_management(&self, now_ms: TimeMs) -> bool {
        let until_ms = self.issued.as_ref().map_or(self.expires_at_ms, |i| i.not_after_ms);
        !self.withdrawn && !self.left && now_ms < until_ms
    }
}

/// A certificate that was issued.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) key_digest: Digest,
    pub(crate) certificate: Vec<u8>,
    pub(crate) at_ms: TimeMs,
    pub(crate) not_after_ms: TimeMs,
    /// The epoch of the CA that signed it.
    pub(crate) ca_epoch: u32,
}

impl Issued {
    fn new(key_digest: Digest, certificate: Vec<u8>, at_ms: TimeMs, ca_epoch: u32) -> Self {
        // One of ours is always readable; were it not, it would count as ended.
        let not_after_ms = Certificate::parse(&certificate).map_or(0, |c| c.not_after_ms());
        Self { key_digest, certificate, at_ms, not_after_ms, ca_epoch }
    }
}

/// A session and what is left of its grant.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) order: OrderId,
    pub(crate) person: PersonId,
    /// Several signed it: it pays for itself.
    pub(crate) approved: bool,
    pub(crate) records_left: u32,
    pub(crate) searches_left: u32,
    pub(crate) compartments: Vec<Compartment>,
    pub(crate) expires_at_ms: TimeMs,
}

/// A command's order, for as long as warrants may be signed for it.
#[derive(Debug, Clone)]
pub(crate) struct Commanded {
    pub(crate) command: CommandId,
    pub(crate) kind: CommandKind,
    pub(crate) digest: Digest,
    pub(crate) erasing: bool,
    /// Ascending.
    pub(crate) targets: Vec<EnrolmentId>,
    pub(crate) per_phone: HashMap<EnrolmentId, (CommandId, Digest)>,
    pub(crate) expires_at_ms: TimeMs,
    /// It cools off: no warrant is signed before then.
    pub(crate) not_before_ms: TimeMs,
    pub(crate) recalled: bool,
}

impl Commanded {
    /// Command id and digest for one of the targets.
    pub(crate) fn for_phone(&self, phone: &EnrolmentId) -> Option<(CommandId, Digest)> {
        if !self.per_phone.is_empty() {
            return self.per_phone.get(phone).copied();
        }
        self.targets.binary_search(phone).is_ok().then_some((self.command, self.digest))
    }
}

/// An order that waits for another signature.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeldOrder {
    pub(crate) digest: Digest,
    pub(crate) expires_at_ms: TimeMs,
}

/// How an order was decided.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decided {
    pub(crate) digest: Digest,
    /// The refusal's number; 0: accepted.
    pub(crate) refusal: u16,
    pub(crate) position: u64,
    pub(crate) at_ms: TimeMs,
}

/// What has run out is kept so long, in case a clock was wrong; then its lists are dropped.
const KEPT_MS: TimeMs = 30 * model::clock::DAY_MS;
/// A clock that is behind by more was set on purpose.
const CLOCK_TRUSTED_MS: TimeMs = model::clock::SET_BACK_MS;
/// What has run out is looked for once in so many entries.
const SWEEP_EVERY: u64 = 256;

/// The whole state.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) entries: u64,
    /// When the newest entry was written.
    last_at_ms: TimeMs,
    /// The installation's.
    pub(crate) root_key: Option<SigningPublicKey>,
    /// Those that took its place, one after the other.
    pub(crate) later_roots: Vec<[u8; 32]>,
    pub(crate) first_token: Option<SigningPublicKey>,
    pub(crate) people: HashMap<PersonId, Person>,
    pub(crate) keys: HashMap<KeyId, HeldKey>,
    pub(crate) enrolments: HashMap<EnrolmentId, Enrolment>,
    pub(crate) links: HashMap<LinkHash, EnrolmentId>,
    pub(crate) sessions: HashMap<Digest, Session>,
    /// By core's word: sessions that read masks, and until when. They open nothing, so they are known to be ended alone.
    pub(crate) readers: HashMap<Digest, TimeMs>,
    /// The session that an order granted.
    granted: HashMap<OrderId, Digest>,
    pub(crate) commanded: HashMap<OrderId, Commanded>,
    pub(crate) declared: DeclaredState,
    pub(crate) library: Library,
    pub(crate) api_keys: HashMap<Digest, TimeMs>,
    pub(crate) device_groups: HashMap<DeviceGroupId, DeviceGroup>,
    pub(crate) standing: HashMap<OrderId, Standing>,
    /// What phones get when they ask for a service's token, sealed to the vault itself.
    pub(crate) service_tokens: HashMap<String, Opaque>,
    pub(crate) given: HashMap<EnrolmentId, Given>,
    pub(crate) decided: HashMap<OrderId, Decided>,
    pub(crate) limits: order::limits::Limits,
    pub(crate) budgets: Budgets,
    /// Orders that wait for another signature.
    pub(crate) held: HashMap<OrderId, HeldOrder>,
    /// Two administrators have joined at some time: from then on the house has two, and what takes two takes two.
    pub(crate) two_administrators: bool,
    pub(crate) refused_orders: u64,
    /// The house was restored from a backup, and that is not confirmed yet.
    pub(crate) unconfirmed: Option<Unconfirmed>,
    /// Whose keys are to be destroyed, if they are not yet.
    pub(crate) erased: HashSet<DataSubject>,
    pub(crate) rotations: Rotations,
    /// A breach was assumed; the newest one.
    pub(crate) breach: Option<Breach>,
    heard: Heard,
}

/// The newest of core's words by their numbers, so that one that comes again is not written again. Core
/// brings them one call after the other, so only those of the last call can.
#[derive(Default)]
struct Heard {
    bodies: HashMap<u64, Digest>,
    order: VecDeque<u64>,
}

impl Heard {
    /// More than one call brings.
    const MOST: usize = 4096;

    fn add(&mut self, number: u64, body: Digest) {
        if self.bodies.insert(number, body).is_none() {
            self.order.push_back(number);
        }
        if self.order.len() > Self::MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.bodies.remove(&oldest);
        }
    }
}

fn digest_of(word: &Body) -> Digest {
    order::sha256(&order::encode(word))
}

/// Opens the ledger in `dir` and replays it.
pub(crate) fn open_ledger(dir: &Path) -> Result<(FileLedger, State), Error> {
    open_with(dir, |_| {})
}

/// The same with its tree. A ledger that is not the one its checkpoint was signed for is refused.
pub(crate) fn open_with_tree(
    dir: &Path,
    roots: &[[u8; 32]],
) -> Result<(FileLedger, State, Publisher), Error> {
    let mut publisher = Publisher::open(dir, roots)?;
    // A tile that can't be written waits; whoever publishes tries it again and says so.
    let (ledger, state) = open_with(dir, |position| drop(publisher.push(&position)))?;
    if publisher.was_damaged() {
        tracing::warn!("the ledger's checkpoint was none that the root key signed; it is made anew");
    }
    publisher.check()?;
    Ok((ledger, state, publisher))
}

fn open_with(dir: &Path, mut each: impl FnMut(ledger::Position)) -> Result<(FileLedger, State), Error> {
    let mut state = State::default();
    let ledger = FileLedger::open_replaying(dir, |record| {
        state.apply(&record.entry.body, record.entry.at_ms);
        if let Some(number) = record.entry.word {
            state.hear(number, &record.entry.body);
        }
        each(record.position);
    })?;
    Ok((ledger, state))
}

impl State {
    /// The time to decide by, when the clock shows `clock_ms` and it can't be earlier than `floor_ms` by what was
    /// decided before and has passed since. A clock set back by up to a day prolongs nothing; one that is set back
    /// by more counts (it was perhaps wrong before), and every session ends.
    pub(crate) fn time_ms(&mut self, clock_ms: TimeMs, floor_ms: TimeMs) -> TimeMs {
        let floor_ms = floor_ms.max(self.last_at_ms);
        if clock_ms >= floor_ms {
            return clock_ms;
        }
        if floor_ms - clock_ms <= CLOCK_TRUSTED_MS {
            return floor_ms;
        }
        self.sessions.clear();
        self.budgets.clock_went_back(clock_ms);
        clock_ms
    }

    /// Notes that this word of core's, under its number, is written.
    pub(crate) fn hear(&mut self, number: u64, word: &Body) {
        self.heard.add(number, digest_of(word));
    }

    /// Whether this very word was written under this number.
    pub(crate) fn was_heard(&self, number: u64, word: &Body) -> bool {
        self.heard.bodies.get(&number).is_some_and(|known| *known == digest_of(word))
    }

    /// Keeps the highest count that a passkey has signed with.
    fn note_sign_count(&mut self, key: &KeyId, signature: &Opaque) {
        let Some(held) = self.keys.get_mut(key).filter(|k| k.key.scheme == Scheme::Passkey) else { return };
        let count = order::decode::<Assertion>(&signature.0).ok().and_then(|a| a.sign_count());
        held.sign_count = held.sign_count.max(count.unwrap_or(0));
    }

    /// Takes in the next entry, which was written at `at_ms`. Nothing else may count here, or a replay
    /// would come to another state.
    pub(crate) fn apply(&mut self, body: &Body, at_ms: TimeMs) {
        let position = self.entries;
        self.entries += 1;
        if at_ms < self.last_at_ms - CLOCK_TRUSTED_MS {
            // As when it was decided: see `time_ms`.
            self.sessions.clear();
            self.budgets.clock_went_back(at_ms);
        }
        self.last_at_ms = at_ms;
        if position.is_multiple_of(SWEEP_EVERY) {
            self.sweep(at_ms - KEPT_MS);
        }
        match body {
            Body::Genesis { root_key, first_token_key } => {
                self.root_key = Some(*root_key);
                self.first_token = Some(*first_token_key);
            }
            Body::OrderAccepted { order, digest, signer, person, signature, effect, counted, .. } => {
                self.held.remove(order);
                self.note_sign_count(signer, signature);
                for a in counted.iter().flat_map(|c| &c.approvals) {
                    self.note_sign_count(&a.key, &a.signature);
                }
                let approved = counted.as_ref().is_some_and(|c| !c.approvals.is_empty());
                if let (Some(c), Some(role)) = (counted, self.people.get(person).map(|p| p.role)) {
                    self.budgets.spend(c.duty, (*person, role), approved, c.count, at_ms);
                }
                self.decided.insert(*order, Decided { digest: *digest, refusal: 0, position, at_ms });
                self.declared.apply(*order, position, at_ms, effect);
                self.take_effect(*order, *person, effect);
                self.rotated(*order, position, at_ms, effect);
                if let Effect::Granted { session, .. } = effect
                    && let Some(s) = self.sessions.get_mut(session)
                {
                    s.approved = approved;
                }
                if let Effect::Rejected { order } = effect
                    && let Some(held) = self.held.remove(order)
                {
                    let refusal = order::Refusal::Rejected.number();
                    let decided = Decided { digest: held.digest, refusal, position, at_ms };
                    self.decided.entry(*order).or_insert(decided);
                }
                if let Some(c) = self.commanded.get_mut(order) {
                    c.not_before_ms = counted.as_ref().and_then(|c| c.not_before_ms).unwrap_or(i64::MIN);
                }
            }
            Body::OrderRefused { order, digest, reason, .. } => {
                self.refused_orders += 1;
                if let Some(order) = order {
                    let decided = Decided { digest: *digest, refusal: reason.0, position, at_ms };
                    self.decided.entry(*order).or_insert(decided);
                }
            }
            Body::GrantUsed { grant, opened, searches } => {
                let session = self.granted.get(grant);
                if let Some(s) = session.and_then(|s| self.sessions.get_mut(s)) {
                    let records = records_of(opened);
                    s.records_left = s.records_left.saturating_sub(records);
                    s.searches_left = s.searches_left.saturating_sub(*searches);
                    if let Some(role) = self.people.get(&s.person).map(|p| p.role) {
                        for (duty, count) in [(Duty::Open, records), (Duty::Search, *searches)] {
                            if count > 0 {
                                self.budgets.spend(duty, (s.person, role), s.approved, count, at_ms);
                            }
                        }
                    }
                }
            }
            Body::OrderHeld { order, digest, expires_at_ms, .. } => {
                self.held.insert(*order, HeldOrder { digest: *digest, expires_at_ms: *expires_at_ms });
            }
            Body::CertificateIssued { enrolment, key_digest, certificate } => {
                let ca_epoch = self.rotations.made_in(KeyName::Ca);
                if let Some(e) = self.enrolments.get_mut(enrolment) {
                    e.not_after_before_ms = e.issued.take().map(|i| i.not_after_ms);
                    let issued = Issued::new(*key_digest, certificate.0.clone(), at_ms, ca_epoch);
                    e.first_ca_epoch.get_or_insert(ca_epoch);
                    e.used_ca_epoch.get_or_insert(ca_epoch);
                    e.issued = Some(issued);
                    e.certificates = e.certificates.saturating_add(1);
                }
            }
            Body::CertificateRefused { enrolment, .. } => {
                if let Some(e) = enrolment.and_then(|e| self.enrolments.get_mut(&e)) {
                    e.refused_requests = e.refused_requests.saturating_add(1);
                }
            }
            Body::StandingUsed { standing, enrolment, number, command, answer_digest, expires_at_ms } => {
                let mut renews = false;
                if let Some(s) = self.standing.get_mut(standing) {
                    renews = matches!(s.template, StandingTemplate::RenewCertificates { .. });
                    s.used(*enrolment, (*command, *answer_digest), *expires_at_ms, (position, at_ms));
                }
                if let Some(e) = self.enrolments.get_mut(enrolment).filter(|_| renews) {
                    let (standing, number, expires_at_ms) = (*standing, *number, *expires_at_ms);
                    e.renewal = Some(Renewal { standing, number, expires_at_ms });
                }
            }
            Body::GivenBack { enrolment, .. } => {
                self.given.entry(*enrolment).or_insert_with(Given::none).once_more(at_ms);
            }
            Body::Restored { manifest, made_at_ms, entries } => {
                self.restored(position, *manifest, *made_at_ms, *entries);
            }
            Body::Authenticated { replaced: Some(enrolment), .. } | Body::CheckedOut { enrolment } => {
                if let Some(e) = self.enrolments.get_mut(enrolment) {
                    e.left = true;
                }
            }
            Body::CertificateTaken { enrolment, certificate } => {
                if let Some(e) = self.enrolments.get_mut(enrolment)
                    && let Some(issued) = &e.issued
                    && order::sha256(&issued.certificate) == *certificate
                {
                    e.used_ca_epoch = Some(issued.ca_epoch);
                }
            }
            Body::ServerCertificateIssued { certificate } => {
                self.rotations.door_certified(&certificate.0);
            }
            Body::Resealed { rows } => self.rotations.resealed(*rows, at_ms),
            Body::KeysDestroyed { keys, before, epoch } => {
                self.rotations.destroyed(keys, *before);
                self.rotations.begin(*epoch, at_ms);
            }
            Body::RoomKeyTaken { key, number, epoch, public } => {
                self.rotations.taken(*key, *number, *epoch, &public.0, at_ms);
            }
            Body::RootSucceeded { succession } => self.root_succeeded(succession),
            Body::ServiceTokenResealed { service, sealed } => {
                self.service_tokens.insert(service.clone(), sealed.clone());
            }
            Body::OidcSignedIn { session, expires_at_ms, .. } => {
                self.readers.insert(*session, *expires_at_ms);
            }
            // Core's word changes nothing else that the vault decides by.
            Body::KeysStated { .. }
            | Body::Authenticated { replaced: None, .. }
            | Body::TokenUpdated { .. }
            | Body::CommandFinished { .. }
            | Body::PhoneRefused { .. } => {}
        }
    }

    fn joins(&mut self, person: PersonId, role: Role, group: Option<Group>) {
        self.first_token = None;
        self.people.insert(person, Person { role, group, present: true });
        self.two_administrators |= self.administrators() >= 2;
    }

    fn take_effect(&mut self, order: OrderId, signer: PersonId, effect: &Effect) {
        match effect {
            Effect::PersonJoined { person, role, group, key_id, public_key, .. } => {
                self.joins(*person, *role, group.clone());
                self.keys.insert(*key_id, HeldKey::new(*person, Scheme::Ed25519, &public_key.0));
            }
            Effect::PasskeyJoined { person, role, group, key_id, passkey, .. } => {
                self.joins(*person, *role, group.clone());
                self.keys.insert(*key_id, HeldKey::new(*person, Scheme::Passkey, &passkey.0));
            }
            Effect::PersonKeyAdded { person, key_id, public_key } => {
                self.keys.insert(*key_id, HeldKey::new(*person, Scheme::Ed25519, &public_key.0));
            }
            Effect::PasskeyAdded { person, key_id, passkey } => {
                self.keys.insert(*key_id, HeldKey::new(*person, Scheme::Passkey, &passkey.0));
            }
            Effect::PersonRemoved { person } => {
                self.remove_person(person);
            }
            Effect::RestoreConfirmed { restored, without, complete } => {
                self.restore_confirmed(*restored, signer, without, *complete);
            }
            Effect::Invited { enrolment, link, group, expires_at_ms, holder, card } => {
                self.links.insert(*link, *enrolment);
                let invited = Enrolment {
                    group: group.clone(),
                    expires_at_ms: *expires_at_ms,
                    holder: holder.clone(),
                    withdrawn: false,
                    issued: None,
                    not_after_before_ms: None,
                    first_ca_epoch: None,
                    used_ca_epoch: None,
                    certificates: 0,
                    renewal: None,
                    refused_requests: 0,
                    left: false,
                    card: *card,
                };
                self.enrolments.insert(*enrolment, invited);
            }
            Effect::InvitationWithdrawn { enrolment } => {
                if let Some(e) = self.enrolments.get_mut(enrolment) {
                    e.withdrawn = true;
                }
            }
            // A rejection is taken in where the order's place is known.
            Effect::Opened { .. } | Effect::Rejected { .. } => {}
            Effect::Granted { session, records, searches, compartments, expires_at_ms } => {
                let granted = Session {
                    order,
                    person: signer,
                    approved: false,
                    records_left: *records,
                    searches_left: *searches,
                    compartments: compartments.clone(),
                    expires_at_ms: *expires_at_ms,
                };
                self.sessions.insert(*session, granted);
                self.granted.insert(order, *session);
            }
            Effect::Commanded {
                command,
                kind,
                answer_digest,
                erasing,
                targets,
                expires_at_ms,
                per_phone,
            } => {
                let mut targets = targets.clone();
                targets.sort_unstable();
                let commanded = Commanded {
                    command: *command,
                    kind: *kind,
                    digest: *answer_digest,
                    erasing: *erasing,
                    targets,
                    per_phone: per_phone.iter().map(|(e, c, d)| (*e, (*c, *d))).collect(),
                    expires_at_ms: *expires_at_ms,
                    not_before_ms: i64::MIN,
                    recalled: false,
                };
                self.commanded.insert(order, commanded);
            }
            Effect::Recalled { order } => {
                if let Some(c) = self.commanded.get_mut(order) {
                    c.recalled = true;
                }
            }
            Effect::LimitSet { limit, value } => {
                // What an older release allowed and this one does not is not taken over.
                let _ = self.limits.set(*limit, *value);
            }
            Effect::ApiKeyMade { hash, expires_at_ms, .. } => {
                self.api_keys.insert(*hash, *expires_at_ms);
            }
            Effect::ApiKeyRevoked { hash } => {
                self.api_keys.remove(hash);
            }
            Effect::SessionEnded { session } => {
                self.sessions.remove(session);
                self.readers.remove(session);
            }
            Effect::PersonErased { subject } => {
                self.erased.insert(*subject);
                // Nobody holds the phone any more as far as is known here.
                if let DataSubject::Holder(enrolment) = subject
                    && let Some(e) = self.enrolments.get_mut(enrolment)
                {
                    e.card = None;
                    self.standing.values_mut().for_each(|s| s.card_changes(enrolment));
                }
            }
            Effect::HolderCardsMade { cards } => {
                for (enrolment, card) in cards {
                    if let Some(e) = self.enrolments.get_mut(enrolment) {
                        e.card = Some(*card);
                        self.standing.values_mut().for_each(|s| s.card_changes(enrolment));
                    }
                }
            }
            Effect::ServiceTokenSet { service, sealed } => {
                if sealed.0.is_empty() {
                    self.service_tokens.remove(service);
                } else {
                    self.service_tokens.insert(service.clone(), sealed.clone());
                }
            }
            Effect::StandingMade { template, cap_an_hour, expires_at_ms } => {
                self.standing.insert(order, Standing::new(template.clone(), *cap_an_hour, *expires_at_ms));
            }
            Effect::StandingEnded { order } => {
                if let Some(s) = self.standing.get_mut(order) {
                    s.ended = true;
                }
            }
            Effect::PersonKeyEnded { key_id, .. } => {
                self.keys.remove(key_id);
            }
            Effect::DeviceGroupSaved { group, name, .. } => {
                self.device_groups.insert(*group, DeviceGroup { saved_by: order, name: name.clone() });
            }
            Effect::DeviceGroupEnded { group } => {
                self.device_groups.remove(group);
            }
            // See `State::rotated`.
            Effect::KeysRotated { .. } | Effect::BreachAssumed { .. } | Effect::OlderCaEnded { .. } => {}
            Effect::ProfileSaved { profile, version, outline, commitment, erasing, because, .. } => {
                let because = because.iter().map(|b| (b.payload_type.clone(), b.key.clone())).collect();
                let shown = order::ShownVersion {
                    saved_by: order,
                    outline: outline.as_ref().clone(),
                    erasing: *erasing,
                    because,
                };
                self.library.saved(*profile, *version, *commitment, &shown);
            }
            Effect::ProfileEnded { profile } => self.library.end(*profile),
            // The set itself is taken in by `DeclaredState`; this is the command that has phones look.
            Effect::DeclarationsSet { command, answer_digest, erasing, targets, expires_at_ms, .. } => {
                let mut targets = targets.clone();
                targets.sort_unstable();
                let commanded = Commanded {
                    command: *command,
                    kind: CommandKind::DeclarativeManagement,
                    digest: *answer_digest,
                    erasing: *erasing,
                    targets,
                    per_phone: HashMap::new(),
                    expires_at_ms: *expires_at_ms,
                    not_before_ms: i64::MIN,
                    recalled: false,
                };
                self.commanded.insert(order, commanded);
            }
        }
    }

    /// A person signs no more.
    pub(crate) fn remove_person(&mut self, person: &PersonId) {
        if let Some(p) = self.people.get_mut(person) {
            p.present = false;
        }
        self.keys.retain(|_, k| k.person != *person);
        self.sessions.retain(|_, s| s.person != *person);
    }

    /// Drops the lists of orders and the sessions that ran out before `before_ms`: memory holds what
    /// can still matter, however long the ledger is.
    fn sweep(&mut self, before_ms: TimeMs) {
        for c in self.commanded.values_mut().filter(|c| c.expires_at_ms < before_ms) {
            c.targets = Vec::new();
            c.per_phone = HashMap::new();
        }
        self.standing.values_mut().for_each(|s| s.sweep(before_ms));
        self.given.retain(|_, g| !g.is_before(before_ms));
        self.sessions.retain(|_, s| s.expires_at_ms >= before_ms);
        self.readers.retain(|_, expires_at_ms| *expires_at_ms >= before_ms);
        self.held.retain(|_, held| held.expires_at_ms >= before_ms);
        self.budgets.sweep(before_ms);
        let sessions = &self.sessions;
        self.granted.retain(|_, s| sessions.contains_key(s));
    }

    /// Whoever holds this key, if they are still with us.
    pub(crate) fn holder_of(&self, key: &KeyId) -> Option<(PersonId, &Person)> {
        let held = self.keys.get(key)?;
        let person = self.people.get(&held.person).filter(|p| p.present)?;
        Some((held.person, person))
    }

    /// How many administrators there are.
    pub(crate) fn administrators(&self) -> usize {
        self.people.values().filter(|p| p.present && p.role == Role::Administrator).count()
    }
}

/// How many records a use of a grant touches: each phone once.
pub(crate) fn records_of<T>(opened: &[(EnrolmentId, T)]) -> u32 {
    let mut seen: Vec<EnrolmentId> = opened.iter().map(|(e, _)| *e).collect();
    seen.sort_unstable();
    seen.dedup();
    u32::try_from(seen.len()).unwrap_or(u32::MAX)
}
