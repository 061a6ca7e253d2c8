//! A vault that believes what it is given, but keeps a real ledger and signs real warrants.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use aws_lc_rs::rand::SystemRandom;
use ledger::{Body, Effect, Entry, PersonalSealed, SigningPublicKey};
use model::{
    CommandId, Compartment, Digest, EnrolmentId, KeyId, LinkHash, OrderId, PersonId, Role, SealedRow, TimeMs,
};
use order::{
    AnswerClass, Ed25519Secret, KeyStatement, Order, OrderKind, Refusal, SignedOrder, SignedStatement,
    SignedWarrant, Subject, Warrant, X25519Public,
};
use rpc::proto::vault_server::Vault;
use rpc::proto::{self, CommandBytes, LedgerItem, Outcome, PhoneWarrant};
use seal::{IndexKey, SearchField};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::START_MS;

pub const ADMINISTRATOR: PersonId = PersonId([5; 16]);
/// Of the profile that is saved.
pub const PROFILE_IDENTIFIER: &str = "org.example.wifi";

pub struct State {
    pub items: Vec<LedgerItem>,
    pub outcomes: BTreeMap<OrderId, Outcome>,
    pub words: Vec<Body>,
    pub submissions: Vec<proto::Submission>,
    pub warrants_asked: usize,
    pub declared: Vec<proto::PhoneDeclarations>,
    pub declarations_asked: usize,
    pub warrant_life_ms: TimeMs,
    pub refuse: Option<Refusal>,
    pub opened: Vec<(EnrolmentId, String)>,
    pub role: Role,
    /// Its checkpoints are of another first entry than it hands over.
    pub lies: bool,
    /// How often it was asked for entries that it does not have: a real vault raises an alarm.
    pub asked_beyond: usize,
    /// So many of its decisions don't reach who asked for them.
    pub loses: usize,
    /// What it was asked to do under standing orders.
    pub acted: Vec<proto::ActRequest>,
    /// It does what it is asked under standing orders; else it knows none.
    pub acts: bool,
    /// Its answers to that bring no command.
    pub acts_empty: bool,
    /// When what it writes was, by its ledger.
    pub at_ms: TimeMs,
    /// So many more of its acts of installing fit into the hour.
    pub acts_left: usize,
    /// It refuses to install, for this.
    pub installs_not: Option<Refusal>,
    /// So many of its acts don't reach who asked for them.
    pub acts_lost: usize,
    /// Until when a phone may do what it makes under standing orders.
    pub act_expires_at_ms: TimeMs,
    /// An ask to install waits for one of these.
    pub gate: Option<Arc<tokio::sync::Semaphore>>,
    /// Its newest act for a phone under a standing order: as the real one, it remembers no other.
    pub newest: BTreeMap<(OrderId, EnrolmentId), CommandId>,
    commands: BTreeMap<OrderId, CommandId>,
    cut: Option<UnixStream>,
}

#[derive(Clone)]
pub struct FakeVault {
    state: Arc<Mutex<State>>,
    length: watch::Sender<u64>,
}

pub fn index_key() -> IndexKey {
    IndexKey::from_bytes([8; 32])
}

pub fn sealed(name: &str, compartment: Compartment, value: &str) -> SealedRow {
    // What a fake seals a fake can open: the value turned round, so that a grep for it finds nothing.
    let turned: Vec<u8> = value.bytes().map(|b| b ^ 0xff).collect();
    SealedRow {
        name: name.into(),
        compartment,
        wrapped_key: vec![compartment.number(); 100],
        ciphertext: turned.clone(),
        mask: seal::mask(name, value),
        change_tag: turned.iter().cycle().take(16).copied().collect(),
    }
}

fn opened(row: &SealedRow) -> Vec<u8> {
    row.ciphertext.iter().map(|b| b ^ 0xff).collect()
}

fn warrant(enrolment: EnrolmentId, command: CommandId, body: &[u8], expires_at_ms: TimeMs) -> Vec<u8> {
    let w = Warrant {
        version: 1,
        subject: Subject::Enrolment(enrolment),
        class: AnswerClass::Command,
        status: 200,
        command: Some(command),
        digest: order::sha256(body),
        expires_at_ms,
    };
    order::encode(&SignedWarrant::sign(&w, &Ed25519Secret::from_seed([2; 32]).unwrap()))
}

impl FakeVault {
    pub fn new() -> Self {
        let state = State {
            items: vec![],
            outcomes: BTreeMap::new(),
            words: vec![],
            submissions: vec![],
            warrants_asked: 0,
            declared: vec![],
            declarations_asked: 0,
            warrant_life_ms: model::clock::DAY_MS,
            refuse: None,
            opened: vec![],
            role: Role::Administrator,
            lies: false,
            asked_beyond: 0,
            loses: 0,
            acted: vec![],
            acts: false,
            acts_empty: false,
            at_ms: START_MS,
            acts_left: usize::MAX,
            installs_not: None,
            acts_lost: 0,
            act_expires_at_ms: START_MS + 7 * model::clock::DAY_MS,
            gate: None,
            newest: BTreeMap::new(),
            commands: BTreeMap::new(),
            cut: None,
        };
        let vault = Self { state: Arc::new(Mutex::new(state)), length: watch::Sender::new(0) };
        let key = SigningPublicKey([1; 32]);
        vault.append(Body::Genesis { root_key: key, first_token_key: key }, vec![], vec![]);
        vault
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn cut(&self, pair: UnixStream) {
        self.lock().cut = Some(pair);
    }

    pub fn die(&self) {
        if let Some(pair) = self.lock().cut.take() {
            let _ = pair.shutdown(std::net::Shutdown::Both);
        }
    }

    pub fn statement(&self) -> Vec<u8> {
        let key = |n| X25519Public([n; 32]);
        let s = KeyStatement {
            version: 1,
            epoch: 1,
            made_at_ms: START_MS,
            expires_at_ms: START_MS + 30 * model::clock::DAY_MS,
            warrant_key: Ed25519Secret::from_seed([2; 32]).unwrap().public(),
            order_key: key(3),
            delivery_key: key(4),
            compartments: vec![(Compartment::Push, key(5))],
            reader_key: key(6),
            vault_sender_key: key(7),
            ca_fingerprint: Digest([8; 32]),
            ra_fingerprint: Digest([9; 32]),
            older_needed: None,
            older_readers: None,
            ra_certificate: None,
            authorities: None,
        };
        order::encode(&SignedStatement::sign(&s, &super::root()))
    }

    /// The checkpoint over all that it has, or over what it is told to claim.
    pub fn checkpoint(&self) -> proto::LedgerCheckpoint {
        let state = self.lock();
        let mut edge = ledger::Edge::new();
        for item in &state.items {
            let hash = order::sha256(&item.entry);
            let hash = if state.lies && item.index == 0 { Digest([9; 32]) } else { hash };
            edge.push_entry(&ledger::Position { index: item.index, hash });
        }
        let root = super::root();
        let public: [u8; 32] = root.public().try_into().unwrap();
        let origin = ledger::checkpoint::origin_of(&public);
        let checkpoint = ledger::Checkpoint { origin, size: edge.size(), root: edge.root() };
        proto::LedgerCheckpoint { note: checkpoint.sign(&public, |m| root.sign(m)).to_string() }
    }

    /// Forgets its last entries, as a vault restored from an old backup would.
    pub fn roll_back(&self, entries: usize) {
        let mut state = self.lock();
        let left = state.items.len() - entries;
        state.items.truncate(left);
        self.length.send_replace(left as u64);
    }

    pub fn append(&self, body: Body, rows: Vec<proto::PhoneRow>, entries: Vec<proto::IndexRow>) -> u64 {
        let mut state = self.lock();
        let index = state.items.len() as u64;
        let previous = state.items.last().map_or(Digest([0; 32]), |i| order::sha256(&i.entry));
        let witness = body.witness();
        let entry = Entry { version: 1, index, at_ms: state.at_ms, previous, witness, body, word: None };
        let entry = entry.encode().unwrap();
        state.items.push(LedgerItem { index, entry, rows, entries, not_after_ms: 0 });
        self.length.send_replace(index + 1);
        index
    }

    fn accept(&self, order: &Order, bytes: &SignedOrder, effect: Effect, holder: Option<SealedRow>) -> u64 {
        let enrolment = match &effect {
            Effect::Invited { enrolment, .. } => *enrolment,
            _ => EnrolmentId([0; 16]),
        };
        let body = Body::OrderAccepted {
            order: order.id,
            digest: order::sha256(&bytes.order),
            signer: KeyId([6; 16]),
            person: ADMINISTRATOR,
            bytes: ledger::Opaque(bytes.order.clone()),
            signature: ledger::Opaque(vec![1; 64]),
            effect,
            counted: None,
        };
        let mut rows = vec![];
        let mut entries = vec![];
        if let Some(row) = holder {
            let value = String::from_utf8(opened(&row)).unwrap();
            let made = index_key().entries(SearchField::Name, &value, &SystemRandom::new()).unwrap();
            entries.extend(made.into_iter().map(|e| index_row(enrolment, &row.name, &e)));
            rows.push(proto::PhoneRow { enrolment: enrolment.0.to_vec(), row: Some(rpc::row_to(row)) });
        }
        self.append(body, rows, entries)
    }

    fn decide(&self, order: &Order, bytes: &SignedOrder) -> Outcome {
        let mut outcome =
            Outcome { order: order.id.0.to_vec(), sealed_answer: b"answer".to_vec(), ..Outcome::default() };
        if let Some(refusal) = self.lock().refuse {
            outcome.refusal = u32::from(refusal.number());
            return outcome;
        }
        let (effect, holder) = match &order.kind {
            OrderKind::JoinFirst { key } => (
                Effect::PersonJoined {
                    person: ADMINISTRATOR,
                    role: self.lock().role,
                    group: None,
                    key_id: order::key_id(&key.public),
                    public_key: SigningPublicKey(key.public.clone().try_into().unwrap()),
                    name: PersonalSealed(vec![1]),
                },
                None,
            ),
            OrderKind::Invite { group, .. } => {
                let n = order.id.0[0];
                let effect = Effect::Invited {
                    enrolment: EnrolmentId([n; 16]),
                    link: LinkHash([n; 32]),
                    group: group.clone(),
                    expires_at_ms: START_MS + model::clock::DAY_MS,
                    holder: PersonalSealed(vec![1]),
                    card: order::HolderCode::read(&card_code(n)).map(|c| c.hash()),
                };
                (effect, Some(sealed("Holder.Name", Compartment::Identity, &holder_name(n))))
            }
            OrderKind::WithdrawInvitation => {
                (Effect::InvitationWithdrawn { enrolment: order.targets[0] }, None)
            }
            OrderKind::Grant { session, records, searches, compartments, valid_ms } => (
                Effect::Granted {
                    session: *session,
                    records: *records,
                    searches: *searches,
                    compartments: compartments.clone(),
                    expires_at_ms: START_MS + valid_ms,
                },
                None,
            ),
            OrderKind::MakeApiKey { hash, scopes, valid_ms, label } => (
                Effect::ApiKeyMade {
                    hash: *hash,
                    scopes: scopes.iter().fold(0, |b, s| b | 1 << (*s as u32)),
                    expires_at_ms: START_MS + valid_ms,
                    label: label.clone(),
                },
                None,
            ),
            OrderKind::Open { fields } => {
                let fields = fields.iter().map(|f| (order.targets[0], f.clone())).collect();
                (Effect::Opened { fields }, None)
            }
            OrderKind::Recall { order } => (Effect::Recalled { order: *order }, None),
            OrderKind::Command { command } => {
                let id = CommandId(order.id.0);
                let life = self.lock().warrant_life_ms;
                let body = format!("<bytes of {id}>").into_bytes();
                let warrants = order.targets.iter().map(|e| PhoneWarrant {
                    enrolment: e.0.to_vec(),
                    warrant: warrant(*e, id, &body, START_MS + life),
                });
                outcome.commands.push(CommandBytes {
                    command: id.0.to_vec(),
                    warrants: warrants.collect(),
                    sealed: false,
                    body: body.clone(),
                });
                self.lock().commands.insert(order.id, id);
                let effect = Effect::Commanded {
                    command: id,
                    kind: command.kind(),
                    answer_digest: order::sha256(&body),
                    erasing: false,
                    targets: order.targets.clone(),
                    expires_at_ms: order.expires_at_ms,
                    per_phone: vec![],
                };
                (effect, None)
            }
            OrderKind::SaveProfile { profile } => {
                let row = sealed("Profile.1", Compartment::Secret, "a made-up profile");
                outcome.profile = Some(rpc::row_to(row));
                let outline = model::Outline {
                    identifier: PROFILE_IDENTIFIER.into(),
                    keys: vec![],
                    payloads: vec![],
                    left_out: 0,
                };
                let effect = Effect::ProfileSaved {
                    profile: *profile,
                    version: 1,
                    outline: Box::new(outline),
                    commitment: Digest([1; 32]),
                    signed: false,
                    erasing: false,
                    because: vec![],
                };
                (effect, None)
            }
            other => panic!("this fake knows no {}", other.name()),
        };
        outcome.position = self.accept(order, bytes, effect, holder);
        outcome
    }
}

/// The code of the card that comes with the invitation of that number.
pub fn card_code(n: u8) -> String {
    let digit = |n: u8| char::from(order::HolderCode::ALPHABET[usize::from(n % 32)]);
    format!("abcd-efgh-ijkm-npqr-22{}{}", digit(n / 32), digit(n))
}

pub fn holder_name(n: u8) -> String {
    format!("Nurse Madeup{}", char::from(b'a' + n % 26))
}

fn index_row(enrolment: EnrolmentId, name: &str, e: &seal::IndexEntry) -> proto::IndexRow {
    proto::IndexRow {
        enrolment: enrolment.0.to_vec(),
        name: name.into(),
        r: e.r.to_vec(),
        prf: e.prf.to_vec(),
    }
}

#[tonic::async_trait]
impl Vault for FakeVault {
    async fn act(
        &self,
        request: Request<rpc::proto::ActRequest>,
    ) -> Result<Response<rpc::proto::ActAnswer>, Status> {
        let r = request.into_inner();
        let installs = r.profile.is_some();
        let gate = {
            let mut state = self.lock();
            state.acted.push(r.clone());
            state.gate.clone().filter(|_| installs)
        };
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        let mut state = self.lock();
        if !state.acts {
            let refusal = u32::from(order::Refusal::NoSuchStanding.number());
            return Ok(Response::new(rpc::proto::ActAnswer { refusal, ..Default::default() }));
        }
        if state.acts_empty {
            return Ok(Response::new(rpc::proto::ActAnswer::default()));
        }
        let at = (rpc::order_id(&r.standing).unwrap(), rpc::enrolment_id(&r.enrolment).unwrap());
        let over = r.over.map(|c| rpc::command_id(&c).unwrap());
        let made = CommandId([u8::try_from(0xa0 + state.acted.len()).unwrap(); 16]);
        let newest = state.newest.get(&at).copied();
        let refused = state
            .installs_not
            .or((newest.is_none() && state.acts_left == 0).then_some(Refusal::StandingCapReached));
        if let Some(refusal) = refused.filter(|_| installs) {
            let refusal = u32::from(refusal.number());
            return Ok(Response::new(rpc::proto::ActAnswer { refusal, ..Default::default() }));
        }
        let command = newest.filter(|c| installs || over.is_some_and(|o| o != *c)).unwrap_or(made);
        if newest.is_none() && installs {
            state.acts_left -= 1;
        }
        state.newest.insert(at, command);
        if state.acts_lost > 0 {
            state.acts_lost -= 1;
            return Err(Status::unavailable("the answer is lost"));
        }
        let body = format!("<bytes of {command}>").into_bytes();
        let expires_at_ms = START_MS + state.warrant_life_ms;
        let warrant = warrant(at.1, command, &body, expires_at_ms);
        let warrants = vec![PhoneWarrant { enrolment: r.enrolment, warrant }];
        let command = Some(CommandBytes { command: command.0.to_vec(), warrants, sealed: false, body });
        let expires_at_ms = state.act_expires_at_ms;
        Ok(Response::new(rpc::proto::ActAnswer { refusal: 0, position: 1, command, expires_at_ms }))
    }

    async fn give_back(
        &self,
        _: Request<rpc::proto::GiveBackRequest>,
    ) -> Result<Response<rpc::proto::GiveBackAnswer>, Status> {
        let refusal = u32::from(order::Refusal::NoServiceToken.number());
        Ok(Response::new(rpc::proto::GiveBackAnswer { refusal, ..Default::default() }))
    }

    async fn renew_server(
        &self,
        _: Request<rpc::proto::ServerCertificate>,
    ) -> Result<Response<rpc::proto::ServerCertificateAnswer>, Status> {
        let refusal = u32::from(order::Refusal::CertificateNotDue.number());
        Ok(Response::new(rpc::proto::ServerCertificateAnswer { refusal, ..Default::default() }))
    }

    async fn submit(&self, r: Request<proto::Submission>) -> Result<Response<Outcome>, Status> {
        let r = r.into_inner();
        let bytes: SignedOrder = order::decode(&r.signed_order).unwrap();
        let order: Order = order::decode(&bytes.order).unwrap();
        self.lock().submissions.push(r);
        let known = self.lock().outcomes.get(&order.id).cloned();
        let outcome = known.unwrap_or_else(|| self.decide(&order, &bytes));
        let mut state = self.lock();
        if outcome.refusal != u32::from(Refusal::NeedsSignatures.number()) {
            state.outcomes.insert(order.id, outcome.clone());
        }
        if state.loses > 0 {
            state.loses -= 1;
            return Err(Status::unavailable("the answer is lost"));
        }
        Ok(Response::new(outcome))
    }

    async fn profile(
        &self,
        r: Request<proto::ProfileRequest>,
    ) -> Result<Response<proto::ProfileAnswer>, Status> {
        let link = r.into_inner().link;
        let known = link.iter().all(|b| *b == link[0]) && link[0] != 0;
        Ok(Response::new(if known {
            proto::ProfileAnswer { refusal: 0, warrant: b"w".to_vec(), sealed_body: b"profile".to_vec() }
        } else {
            let refusal = u32::from(Refusal::InvitationNotOpen.number());
            proto::ProfileAnswer { refusal, ..Default::default() }
        }))
    }

    /// `sealed` is the enrolment's 16 bytes.
    async fn issue(&self, r: Request<proto::IssueRequest>) -> Result<Response<proto::IssueAnswer>, Status> {
        let sealed = r.into_inner().sealed;
        let Ok(enrolment) = rpc::enrolment_id(&sealed) else {
            let refusal = u32::from(Refusal::BadCertificateRequest.number());
            return Ok(Response::new(proto::IssueAnswer { refusal, ..Default::default() }));
        };
        let certificate = ledger::Opaque(b"der".to_vec());
        let body = Body::CertificateIssued { enrolment, key_digest: Digest([1; 32]), certificate };
        self.append(body, vec![], vec![]);
        Ok(Response::new(proto::IssueAnswer { refusal: 0, certificate: b"der".to_vec(), enrolment: sealed }))
    }

    async fn warrants(
        &self,
        r: Request<proto::WarrantsRequest>,
    ) -> Result<Response<proto::WarrantsAnswer>, Status> {
        let r = r.into_inner();
        let mut state = self.lock();
        state.warrants_asked += 1;
        let order = rpc::order_id(&r.order).unwrap();
        if let Some(refusal) = state.refuse {
            let refusal = u32::from(refusal.number());
            return Ok(Response::new(proto::WarrantsAnswer { refusal, warrants: vec![] }));
        }
        let warrants = r.enrolments.into_iter().map(|e| {
            let phone = rpc::enrolment_id(&e).unwrap();
            let command = state.newest.get(&(order, phone)).copied();
            let command = command.unwrap_or_else(|| state.commands[&order]);
            let body = format!("<bytes of {command}>").into_bytes();
            let expires_at_ms = START_MS + 10 * model::clock::DAY_MS;
            PhoneWarrant { warrant: warrant(phone, command, &body, expires_at_ms), enrolment: e }
        });
        Ok(Response::new(proto::WarrantsAnswer { refusal: 0, warrants: warrants.collect() }))
    }

    /// What was put there for the phone.
    async fn declarations(
        &self,
        r: Request<proto::DeclarationsRequest>,
    ) -> Result<Response<proto::DeclarationsAnswer>, Status> {
        let mut state = self.lock();
        state.declarations_asked += 1;
        let asked = r.into_inner().enrolments;
        let phones: Vec<_> =
            state.declared.iter().filter(|p| asked.contains(&p.enrolment)).cloned().collect();
        let refusal = if phones.is_empty() { u32::from(Refusal::NoDeclarations.number()) } else { 0 };
        Ok(Response::new(proto::DeclarationsAnswer { refusal, phones }))
    }

    /// A search's `sealed_search` is `field:term`.
    async fn use_grant(&self, r: Request<proto::GrantUse>) -> Result<Response<proto::GrantAnswer>, Status> {
        let r = r.into_inner();
        let mut answer = proto::GrantAnswer { records_left: 7, searches_left: 3, ..Default::default() };
        if let Some(refusal) = self.lock().refuse {
            answer.refusal = u32::from(refusal.number());
            return Ok(Response::new(answer));
        }
        for row in r.open {
            let (enrolment, row) = rpc::phone_row(row).unwrap();
            self.lock().opened.push((enrolment, row.name.clone()));
            let value = opened(&row);
            answer.opened.push(proto::Opened { enrolment: enrolment.0.to_vec(), name: row.name, value });
        }
        if !r.sealed_search.is_empty() {
            let text = String::from_utf8(r.sealed_search).unwrap();
            let (field, term) = text.split_once(':').unwrap();
            let kind = SearchField::from_name(field).unwrap();
            answer.tokens = index_key().tokens(kind, term).iter().map(|t| t.as_bytes().to_vec()).collect();
            answer.names = vec![field.to_owned()];
        }
        Ok(Response::new(answer))
    }

    async fn index(&self, r: Request<proto::IndexRequest>) -> Result<Response<proto::IndexAnswer>, Status> {
        let mut entries = vec![];
        for row in r.into_inner().rows {
            let (enrolment, row) = rpc::phone_row(row).unwrap();
            let field = SearchField::of(&row.name).unwrap();
            let value = String::from_utf8(opened(&row)).unwrap();
            for e in index_key().entries(field, &value, &SystemRandom::new()).unwrap() {
                entries.push(index_row(enrolment, &row.name, &e));
            }
        }
        Ok(Response::new(proto::IndexAnswer { entries }))
    }

    async fn witness(&self, r: Request<proto::CoreWords>) -> Result<Response<proto::Witnessed>, Status> {
        let mut position = 0;
        for body in r.into_inner().bodies {
            let body: Body = order::decode(&body).unwrap();
            self.lock().words.push(body.clone());
            position = self.append(body, vec![], vec![]);
        }
        Ok(Response::new(proto::Witnessed { position }))
    }

    type CheckpointsStream =
        Pin<Box<dyn tokio_stream::Stream<Item = Result<proto::LedgerCheckpoint, Status>> + Send>>;

    async fn checkpoints(
        &self,
        _: Request<proto::CheckpointsRequest>,
    ) -> Result<Response<Self::CheckpointsStream>, Status> {
        use tokio_stream::StreamExt;
        let vault = self.clone();
        let lengths = tokio_stream::wrappers::WatchStream::new(self.length.subscribe());
        Ok(Response::new(Box::pin(lengths.map(move |_| Ok(vault.checkpoint())))))
    }

    async fn tile(&self, _: Request<proto::TileRequest>) -> Result<Response<proto::TileAnswer>, Status> {
        Err(Status::not_found("a fake has none"))
    }

    type FollowStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<LedgerItem, Status>> + Send>>;

    async fn follow(&self, r: Request<proto::FollowRequest>) -> Result<Response<Self::FollowStream>, Status> {
        let mut at = r.into_inner().from;
        let beyond = at > self.lock().items.len() as u64;
        if beyond {
            self.lock().asked_beyond += 1;
            return Err(Status::out_of_range("the ledger is shorter than that"));
        }
        let vault = self.clone();
        let mut length = self.length.subscribe();
        let (tx, rx) = tokio::sync::mpsc::channel(16);
        tokio::spawn(async move {
            loop {
                let item = vault.lock().items.get(usize::try_from(at).unwrap()).cloned();
                match item {
                    Some(item) => {
                        at += 1;
                        if tx.send(Ok(item)).await.is_err() {
                            return;
                        }
                    }
                    None => {
                        tokio::select! {
                            c = length.changed() => if c.is_err() { return },
                            () = tx.closed() => return,
                        }
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(rx))))
    }

    async fn limits(
        &self,
        _: Request<proto::LimitsRequest>,
    ) -> Result<Response<proto::LimitsAnswer>, Status> {
        let overview = order::encode(&order::limits::Overview::default());
        Ok(Response::new(proto::LimitsAnswer { overview }))
    }

    async fn keys(&self, _: Request<proto::KeysRequest>) -> Result<Response<proto::KeysAnswer>, Status> {
        Ok(Response::new(proto::KeysAnswer { epoch: 1, ..Default::default() }))
    }

    async fn reseal(
        &self,
        _: Request<proto::ResealRequest>,
    ) -> Result<Response<proto::ResealAnswer>, Status> {
        Ok(Response::new(proto::ResealAnswer::default()))
    }

    async fn nothing_left(
        &self,
        _: Request<proto::NothingLeftRequest>,
    ) -> Result<Response<proto::NothingLeftAnswer>, Status> {
        Ok(Response::new(proto::NothingLeftAnswer::default()))
    }

    async fn current_statement(
        &self,
        _: Request<proto::StatementRequest>,
    ) -> Result<Response<proto::Statement>, Status> {
        Ok(Response::new(proto::Statement { signed: self.statement() }))
    }

    async fn health(
        &self,
        _: Request<proto::VaultHealthRequest>,
    ) -> Result<Response<proto::VaultHealth>, Status> {
        let entries = self.lock().items.len() as u64;
        Ok(Response::new(proto::VaultHealth {
            entries,
            refused_orders: 0,
            ledger: "fine".into(),
            restored: None,
        }))
    }
}
