//! Orders and warrants that nobody signed.

use model::clock::{DAY_MS, HOUR_MS};
use model::{Clock, Command, CommandId, Compartment, EnrolmentId, OrderId, Role, SystemClock};
use order::{
    AnswerClass, Ed25519Secret, Order, OrderKind, SignedOrder, SignedWarrant, Subject, Warrant, X25519Public,
    sha256,
};
use seal::{PublicKey, to};

use super::{Core, random};

/// The command that erases.
pub(crate) fn erase() -> Command {
    Command::EraseDevice { preserve_data_plan: false, disallow_proximity_setup: false }
}

impl Core {
    /// An order as a person would make it.
    pub(crate) fn order(&self, kind: OrderKind, targets: Vec<EnrolmentId>, sealed: Option<&[u8]>) -> Order {
        let now_ms = SystemClock.now_ms();
        Order {
            version: Order::VERSION,
            id: OrderId(random(&self.rng)),
            kind,
            targets,
            reason: "intruder".into(),
            made_at_ms: now_ms,
            expires_at_ms: now_ms + DAY_MS,
            answer_key: X25519Public(random(&self.rng)),
            sealed_digest: sealed.map(sha256),
            outline: None,
        }
    }

    /// Arguments sealed to the vault, as anyone can.
    pub(crate) fn seal_arguments(&self, order: &OrderId, arguments: &[u8]) -> Vec<u8> {
        let key = PublicKey(self.statement.order_key.0);
        to::seal(&key, to::INFO_ORDER_ARGS, order.as_bytes(), arguments, &self.rng).unwrap_or_default()
    }

    /// What the intruder would order, if anyone signed it.
    pub(crate) fn wishes(&self) -> Vec<(&'static str, OrderKind, Vec<EnrolmentId>)> {
        let all = self.told.enrolments.clone();
        let grant = OrderKind::Grant {
            session: sha256(&random::<32>(&self.rng)),
            records: 100_000,
            searches: 100_000,
            compartments: Compartment::ALL.to_vec(),
            valid_ms: HOUR_MS,
        };
        let fields =
            vec!["holder".to_owned(), "PhoneNumber".to_owned(), "IMEI".to_owned(), "SerialNumber".to_owned()];
        let mine = self.key.person_key();
        let group = model::Group::new("intruder").ok();
        let mut wishes = vec![
            ("sign a grant", grant, vec![]),
            ("order records to be opened", OrderKind::Open { fields }, all.clone()),
            (
                "become an administrator",
                OrderKind::AddPerson { key: mine.clone(), role: Role::Administrator, group: None },
                vec![],
            ),
            ("become an administrator", OrderKind::AddKey { key: mine.clone() }, vec![]),
            ("become an administrator", OrderKind::JoinFirst { key: mine }, vec![]),
            ("order a phone erased", OrderKind::Command { command: erase() }, all),
            (
                "raise a limit",
                OrderKind::SetLimit { limit: model::Limit::Alone { duty: model::Duty::Erase }, value: 3 },
                vec![],
            ),
        ];
        wishes.extend(group.map(|group| {
            ("invite a phone of the own", OrderKind::Invite { group, valid_ms: DAY_MS }, vec![])
        }));
        wishes
    }

    /// A warrant by the intruder's own key.
    pub(crate) fn own_warrant(
        &self,
        subject: Subject,
        class: AnswerClass,
        command: Option<CommandId>,
        bytes: &[u8],
    ) -> SignedWarrant {
        let warrant = Warrant {
            version: 1,
            subject,
            class,
            status: 200,
            command,
            digest: sha256(bytes),
            expires_at_ms: SystemClock.now_ms() + DAY_MS,
        };
        SignedWarrant::sign(&warrant, &self.key)
    }
}

/// The order's bytes under signatures that were made for others.
pub(crate) fn under(order: &Order, signatures: &SignedOrder) -> SignedOrder {
    SignedOrder { order: order::encode(order), signatures: signatures.signatures.clone() }
}

/// Signed by the intruder, in another's name.
pub(crate) fn in_the_name_of(order: &Order, key: &Ed25519Secret, name: model::KeyId) -> SignedOrder {
    let mut signed = SignedOrder::sign(order, key);
    signed.signatures.iter_mut().for_each(|s| s.key = name);
    signed
}
