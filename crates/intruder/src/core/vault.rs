//! Every call that core can make of the vault, with forged, altered, repeated and guessed things in it.

use ledger::Body;
use model::{Clock, Compartment, Digest, EnrolmentId, SealedRow, SystemClock};
use order::{
    Ed25519Secret, KeyStatement, Order, OrderKind, Refusal, SearchSecrets, SignedOrder, SignedStatement,
    encode, sha256,
};
use rpc::proto;
use seal::{CompartmentPublic, KeyPairSecret, PublicKey, Sealer, to};

use super::forged::{erase, in_the_name_of, under};
use super::{Core, Vault, random};
use crate::tell;

/// How many guesses at what is random.
pub(crate) const GUESSES: usize = 200;
/// The most rows that are handed to the vault at once.
const ROWS_AT_ONCE: usize = 500;

/// Who refused, in the vault's own word.
pub(crate) fn refusal(number: u32) -> String {
    let known = u16::try_from(number).ok().and_then(Refusal::from_number);
    known.map_or_else(|| format!("the vault ({number})"), |r| format!("the vault ({r:?})"))
}

pub(crate) fn rows_to(rows: &[(EnrolmentId, SealedRow)]) -> Vec<proto::PhoneRow> {
    let to = |(e, row): &(EnrolmentId, SealedRow)| proto::PhoneRow {
        enrolment: e.0.to_vec(),
        row: Some(rpc::row_to(row.clone())),
    };
    rows.iter().map(to).collect()
}

/// Tells of a call that is refused by a number.
pub(crate) fn told<T>(
    name: &str,
    answer: Result<tonic::Response<T>, tonic::Status>,
    number: impl Fn(&T) -> u32,
) -> Option<T> {
    match answer {
        Ok(answer) => {
            let answer = answer.into_inner();
            match number(&answer) {
                0 => {
                    tell::attempt(name, true, "nobody");
                    return Some(answer);
                }
                n => tell::attempt(name, false, refusal(n)),
            }
        }
        Err(status) => tell::attempt(name, false, format!("the vault ({:?})", status.code())),
    }
    None
}

impl Core {
    pub(crate) async fn try_the_vault(&self, mut vault: Vault) {
        self.forge_orders(&mut vault).await;
        self.alter_and_repeat_orders(&mut vault).await;
        self.guess(&mut vault).await;
        self.seal_and_move(&mut vault).await;
        self.point_elsewhere(&mut vault).await;
        self.install_by_standing_orders(&mut vault).await;
        self.be_a_phone(&mut vault).await;
        self.write_history(&mut vault).await;
        self.seal_again(&mut vault).await;
        self.ask_too_much(&mut vault).await;
    }

    /// What the vault seals again for core, it opens first: rows of others' places and of the own making.
    async fn seal_again(&self, vault: &mut Vault) {
        let moved: Vec<_> = (self.loot.rows.iter().zip(self.told.enrolments.iter().cycle().skip(1)))
            .map(|((_, row), e)| (*e, row.clone()))
            .filter(|moved| !self.loot.rows.contains(moved))
            .take(ROWS_AT_ONCE)
            .collect();
        let name = "have a moved value sealed again where it does not belong";
        for some in moved.chunks(100) {
            match vault.reseal(proto::ResealRequest { rows: rows_to(some) }).await {
                Ok(answer) => {
                    let answer = answer.into_inner();
                    let by = if answer.refusal == 0 {
                        "the vault (it does not open there)".into()
                    } else {
                        refusal(answer.refusal)
                    };
                    tell::attempt(name, !answer.rows.is_empty(), by);
                }
                Err(status) => tell::attempt(name, false, format!("the vault ({:?})", status.code())),
            }
        }
        for key in 0..40 {
            let asked = proto::NothingLeftRequest { key, before: self.statement.epoch + 1 };
            told("have a key destroyed that is in use", vault.nothing_left(asked).await, |a| a.refusal);
        }
    }

    /// Larger, more and further than anything that is meant.
    async fn ask_too_much(&self, vault: &mut Vault) {
        let name = "stop the vault by asking too much";
        let large = proto::Submission { signed_order: vec![0x9f; 15 << 20], ..Default::default() };
        told(name, vault.submit(large).await, |o| o.refusal);
        let many: Vec<_> = self.loot.rows.iter().cycle().take(1_001).cloned().collect();
        told(name, vault.index(proto::IndexRequest { rows: rows_to(&many) }).await, |_| 0);
        let phones = vec![vec![7; 16]; 100_000];
        told(name, vault.declarations(proto::DeclarationsRequest { enrolments: phones }).await, |a| {
            a.refusal
        });
        let words = proto::CoreWords { bodies: vec![vec![0x81]; 1_001], numbers: vec![1; 1_001] };
        told(name, vault.witness(words).await, |_| 0);
        let odd = proto::GrantUse {
            session: vec![1; 31],
            open: vec![proto::PhoneRow::default()],
            sealed_search: vec![],
        };
        told(name, vault.use_grant(odd).await, |a| a.refusal);
    }

    pub(crate) async fn submit(
        &self,
        vault: &mut Vault,
        name: &str,
        signed: &SignedOrder,
        sealed: Vec<u8>,
    ) -> bool {
        let submission = proto::Submission {
            signed_order: encode(signed),
            sealed_arguments: sealed,
            ..Default::default()
        };
        let answer = vault.submit(submission).await;
        let refused = matches!(&answer, Ok(o) if o.get_ref().refusal != 0);
        let done = told(name, answer, |o| o.refusal).is_some();
        if refused {
            tell::forgery_refused();
        }
        done
    }

    async fn forge_orders(&self, vault: &mut Vault) {
        for (name, kind, targets) in self.wishes() {
            let mut order = self.order(kind, targets, None);
            if matches!(
                order.kind,
                OrderKind::Command { .. }
                    | OrderKind::AddPerson { .. }
                    | OrderKind::Invite { .. }
                    | OrderKind::JoinFirst { .. }
            ) {
                let sealed = self.seal_arguments(&order.id, b"\xa0");
                order.sealed_digest = Some(sha256(&sealed));
                let signed = SignedOrder::sign(&order, &self.key);
                self.submit(vault, name, &signed, sealed).await;
            }
            self.submit(vault, name, &SignedOrder::sign(&order, &self.key), vec![]).await;
            for known in self.loot.keys.iter().take(4) {
                self.submit(vault, name, &in_the_name_of(&order, &self.key, *known), vec![]).await;
            }
        }
        // Phone by phone, so that no list is too long for it.
        for phone in &self.told.enrolments {
            let order = self.order(OrderKind::Command { command: erase() }, vec![*phone], None);
            self.submit(vault, "order a phone erased", &SignedOrder::sign(&order, &self.key), vec![]).await;
        }
    }

    async fn alter_and_repeat_orders(&self, vault: &mut Vault) {
        for real in &self.loot.orders {
            let Ok(order) = order::decode::<Order>(&real.order) else { continue };
            let more = Order { targets: self.told.enrolments.clone(), ..order.clone() };
            let other = Order { kind: OrderKind::Command { command: erase() }, ..order.clone() };
            let later = Order { expires_at_ms: order.expires_at_ms + 1_000_000, ..order.clone() };
            let mine = Order { answer_key: order::X25519Public(random(&self.rng)), ..order.clone() };
            for altered in [more, other, later, mine].into_iter().filter(|a| *a != order) {
                self.submit(vault, "alter an order that was signed", &under(&altered, real), vec![]).await;
            }
            // The very same again: it gets what was recorded, and what it answers is sealed to who made it.
            let rows = rows_to(self.loot.rows.get(..ROWS_AT_ONCE).unwrap_or(&self.loot.rows));
            let submission = proto::Submission { signed_order: encode(real), rows, ..Default::default() };
            if let Ok(answer) = vault.submit(submission).await {
                let o = answer.into_inner();
                let others = o.commands.iter().flat_map(|c| &c.warrants);
                let others =
                    others.filter(|w| !order.targets.iter().any(|t| t.0[..] == w.enrolment[..])).count();
                tell::attempt(
                    "have an order carried out twice, or for others",
                    others > 0,
                    "the vault (the recorded outcome)",
                );
            }
        }
    }

    async fn guess(&self, vault: &mut Vault) {
        for _ in 0..GUESSES {
            let open = rows_to(self.loot.rows.get(..1).unwrap_or_default());
            let used =
                proto::GrantUse { session: random::<32>(&self.rng).to_vec(), open, sealed_search: vec![] };
            told("open a record under a guessed session", vault.use_grant(used).await, |a| a.refusal);
            let link = proto::ProfileRequest { link: random::<32>(&self.rng).to_vec() };
            told("guess an invitation's link", vault.profile(link).await, |a| a.refusal);
        }
        // Searching without a grant, numbers that phones really have among them.
        for number in self.told.guesses.iter().take(GUESSES) {
            let session = random::<32>(&self.rng);
            let sealed_search = self.seal_search("phone", number, &Digest(session));
            let used = proto::GrantUse { session: session.to_vec(), open: vec![], sealed_search };
            told("search for a number without a grant", vault.use_grant(used).await, |a| a.refusal);
        }
    }

    /// A search's term, sealed as anyone can, for one session.
    pub(crate) fn seal_search(&self, field: &str, term: &str, session: &Digest) -> Vec<u8> {
        let wanted = SearchSecrets { field: field.to_owned(), term: term.to_owned() };
        let key = PublicKey(self.statement.order_key.0);
        to::seal(&key, to::INFO_ORDER_ARGS, session.as_bytes(), &encode(&wanted), &self.rng)
            .unwrap_or_default()
    }

    async fn indexed(&self, vault: &mut Vault, name: &str, rows: Vec<(EnrolmentId, SealedRow)>) {
        for some in rows.chunks(ROWS_AT_ONCE) {
            match vault.index(proto::IndexRequest { rows: rows_to(some) }).await {
                Ok(answer) => {
                    let entries = answer.into_inner().entries.len();
                    tell::attempt(
                        name,
                        entries > 0,
                        "the vault (it opens only what reader sealed, where it belongs)",
                    );
                }
                Err(status) => tell::attempt(name, false, format!("the vault ({:?})", status.code())),
            }
        }
    }

    /// Seals guesses and moves sealed values, to have the vault compare them.
    async fn seal_and_move(&self, vault: &mut Vault) {
        let Ok(own) = KeyPairSecret::generate(&self.rng) else { return };
        let keys = self.statement.compartments.iter().map(|(compartment, key)| CompartmentPublic {
            compartment: *compartment,
            epoch: self.statement.epoch,
            key: PublicKey(key.0),
        });
        let mut sealer = Sealer::new(own, keys.collect());
        let now_ms = SystemClock.now_ms();
        let guesses = self.told.guesses.iter().zip(self.told.enrolments.iter().cycle());
        let sealed = guesses.filter_map(|(guess, e)| {
            let (name, contact) = ("PhoneNumber", Compartment::Contact);
            let row =
                sealer.seal(&self.rng, now_ms, e, name, contact, guess.as_bytes(), String::new(), vec![]);
            Some((*e, row.ok()?))
        });
        let sealed: Vec<_> = sealed.collect();
        self.indexed(vault, "have a guess of the own sealing looked at", sealed).await;
        let ids = self.told.enrolments.iter();
        let moved = self.loot.rows.iter().filter(|(_, r)| r.compartment == Compartment::Contact);
        let to_others: Vec<_> =
            moved.clone().zip(ids.cycle().skip(1)).map(|((_, row), e)| (*e, row.clone())).collect();
        let to_others = to_others
            .into_iter()
            .filter(|(e, row)| !self.loot.rows.contains(&(*e, row.clone())))
            .take(ROWS_AT_ONCE)
            .collect();
        self.indexed(vault, "move a sealed value to another phone", to_others).await;
        let renamed = moved
            .take(ROWS_AT_ONCE)
            .map(|(e, row)| (*e, SealedRow { name: "SerialNumber".into(), ..row.clone() }));
        self.indexed(vault, "move a sealed value to another field", renamed.collect()).await;
    }

    /// Warrants, acts and tokens for phones that they are not for.
    async fn point_elsewhere(&self, vault: &mut Vault) {
        let all: Vec<Vec<u8>> = self.told.enrolments.iter().map(|e| e.0.to_vec()).collect();
        for real in &self.loot.orders {
            let Ok(order) = order::decode::<Order>(&real.order) else { continue };
            // Of a standing order that installs see `standing.rs`: its order names no phone.
            if self.loot.standing.iter().any(|s| s.order == order.id && s.template.install().is_some()) {
                continue;
            }
            let asked = proto::WarrantsRequest { order: order.id.0.to_vec(), enrolments: all.clone() };
            match vault.warrants(asked).await {
                Ok(answer) => {
                    let answer = answer.into_inner();
                    let others = answer
                        .warrants
                        .iter()
                        .filter(|w| !order.targets.iter().any(|t| t.0[..] == w.enrolment[..]));
                    let by = if answer.refusal == 0 {
                        "the vault (those alone that the order names)".into()
                    } else {
                        refusal(answer.refusal)
                    };
                    tell::attempt("have an order's warrants made for other phones", others.count() > 0, by);
                }
                Err(status) => tell::attempt(
                    "have an order's warrants made for other phones",
                    false,
                    format!("the vault ({:?})", status.code()),
                ),
            }
        }
        let others = self.loot.standing.iter().filter(|s| s.template.install().is_none());
        let standing = others.map(|s| s.order.0).chain([random::<16>(&self.rng)]);
        for standing in standing {
            for phone in self.told.enrolments.iter().take(GUESSES) {
                let asked = |holder_code| proto::ActRequest {
                    standing: standing.to_vec(),
                    enrolment: phone.0.to_vec(),
                    profile: None,
                    holder_code,
                    over: None,
                };
                let answer = vault.act(asked(None)).await;
                told("have the vault act for a phone that is not due", answer, |a| a.refusal);
                let guess: String = random::<20>(&self.rng)
                    .iter()
                    .filter_map(|b| {
                        order::HolderCode::ALPHABET.get(usize::from(b % 32)).copied().map(char::from)
                    })
                    .collect();
                let answer = vault.act(asked(Some(guess))).await;
                told("have the vault act for a phone's holder with a guessed code", answer, |a| a.refusal);
            }
        }
        for (phone, row) in
            self.loot.rows.iter().filter(|(_, r)| r.compartment == Compartment::Escrow).take(GUESSES)
        {
            let row = SealedRow { name: "BootstrapToken".into(), ..row.clone() };
            let what = Some(proto::give_back_request::What::BootstrapToken(rpc::row_to(row)));
            let asked = proto::GiveBackRequest { enrolment: phone.0.to_vec(), what };
            told("have an escrowed token given back as another", vault.give_back(asked).await, |a| a.refusal);
        }
    }

    /// A phone of its own, a server of its own.
    async fn be_a_phone(&self, vault: &mut Vault) {
        let sealed = KeyPairSecret::generate(&self.rng).ok().and_then(|own| {
            let key = PublicKey(self.statement.order_key.0);
            let signer = apple::x509::RsaSigner::generate().ok()?;
            let csr = apple::csr::build(&signer, "intruder", Some("made up")).ok()?;
            let asked = apple::scep::SealedRequest {
                csr: zeroize::Zeroizing::new(csr),
                challenge: zeroize::Zeroizing::new("made up".into()),
            };
            to::seal_auth(&own, &key, to::INFO_SCEP, b"", &asked.to_bytes(), &self.rng).ok()
        });
        let request = proto::IssueRequest { sealed: sealed.unwrap_or_default() };
        told("have a phone's certificate made for a key of the own", vault.issue(request).await, |a| {
            a.refusal
        });
        let own = apple::x509::P256Signer::generate().map(|k| apple::x509::Signer::spki_der(&k).to_vec());
        let current = proto::ServerCertificate { certificate: own.unwrap_or_default() };
        told(
            "have the door's certificate made for a key of the own",
            vault.renew_server(current).await,
            |a| a.refusal,
        );
        let paths = [
            "../keys.cbor",
            "0/../../keys.cbor",
            "entries/../../persons.keys",
            "0/000.p/../../../keys.cbor",
            "/etc/passwd",
        ];
        for path in paths {
            let got = vault.tile(proto::TileRequest { path: path.into() }).await;
            let by =
                got.as_ref().err().map_or_else(|| "nobody".into(), |s| format!("the vault ({:?})", s.code()));
            tell::attempt("read the vault's files through the ledger's tiles", got.is_ok(), by);
        }
    }

    /// Entries that only the vault can have witnessed, and keys that it never stated.
    async fn write_history(&self, vault: &mut Vault) {
        let made_up =
            Body::GrantUsed { grant: model::OrderId(random(&self.rng)), opened: vec![], searches: 0 };
        let restored = Body::Restored { manifest: Digest(random(&self.rng)), made_at_ms: 0, entries: 0 };
        for body in [made_up, restored] {
            let words = proto::CoreWords { bodies: vec![encode(&body)], numbers: vec![1 << 40] };
            let got = vault.witness(words).await;
            let by =
                got.as_ref().err().map_or_else(|| "nobody".into(), |s| format!("the vault ({:?})", s.code()));
            tell::attempt("write an entry of the vault's into the ledger", got.is_ok(), by);
        }
        // It follows everything that the ledger says, and puts it down.
        if let Ok(stream) = vault.follow(proto::FollowRequest { from: 0 }).await {
            let mut stream = stream.into_inner();
            let mut read: Vec<u8> = Vec::new();
            let second = std::time::Duration::from_secs(1);
            while let Ok(Ok(Some(item))) = tokio::time::timeout(second, stream.message()).await {
                read.extend(item.entry);
            }
            let _ = std::fs::write(self.told.folder.join("intruder.loot.ledger"), &read);
            tell::attempt("read names in the ledger", false, format!("sealed ({} bytes)", read.len()));
        }
    }

    /// A key statement under a root of the intruder's.
    pub(crate) fn own_statement(&self) -> Vec<u8> {
        let Some(root) = Ed25519Secret::from_seed(random(&self.rng)) else { return vec![] };
        let statement: KeyStatement = (**self.statement).clone();
        let epoch = statement.epoch + 1;
        let own = KeyStatement { epoch, warrant_key: self.key.public(), ..statement };
        encode(&SignedStatement::sign(&own, &root))
    }
}
