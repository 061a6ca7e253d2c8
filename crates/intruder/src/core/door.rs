//! What core answers phones through the door, when it would rather wipe them.

use std::sync::Arc;
use std::time::Duration;

use model::{CommandId, EnrolmentId};
use order::{AnswerClass, Subject, encode};
use rpc::proto::core_reply::Answer;
use rpc::proto::core_request::What;
use rpc::proto::door_client::DoorClient;
use rpc::proto::{CoreReply, CoreRequest, Free, Statement, Warranted};
use seal::{PublicKey, to};
use store::Next;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::{Core, random};
use crate::reader::erase;
use crate::tell;

/// How many forms of a forged answer there are.
pub(crate) const FORMS: usize = 18;

fn number(class: AnswerClass) -> u32 {
    match class {
        AnswerClass::Command => 1,
        AnswerClass::EnrolmentProfile => 2,
        AnswerClass::Declaration => 3,
        AnswerClass::Dismissal => 4,
        AnswerClass::Escrow => 5,
    }
}

fn warranted(
    warrant: Vec<u8>,
    class: AnswerClass,
    status: u32,
    command: &[u8],
    body: Vec<u8>,
    sealed: bool,
) -> Answer {
    Answer::Warranted(Warranted {
        warrant: warrant.into(),
        class: number(class),
        status,
        command: command.to_vec().into(),
        body: body.into(),
        sealed,
    })
}

impl Core {
    pub(crate) async fn answer_phones(self: Arc<Self>, channel: Channel) {
        let mut client = DoorClient::new(channel).max_decoding_message_size(rpc::pair::LARGEST_MESSAGE_BYTES);
        for signed in [self.own_statement(), random::<300>(&self.rng).to_vec(), vec![]] {
            let said = client.believe(Statement { signed }).await;
            let (got, by) = match said {
                Ok(said) if said.get_ref().refused.is_empty() => (true, "nobody".to_owned()),
                Ok(said) => (false, format!("the door ({})", said.get_ref().refused)),
                Err(status) => (false, format!("the door ({:?})", status.code())),
            };
            tell::attempt("have the door and the reader believe other keys", got, by);
        }
        let (tx, rx) = mpsc::channel(256);
        let Ok(requests) = client.check_ins(ReceiverStream::new(rx)).await else { return };
        let mut requests = requests.into_inner();
        let mut n = 0usize;
        while let Ok(Some(request)) = requests.message().await {
            let answer = self.forge(n, &request);
            n += 1;
            self.forms_left.send_modify(|left| *left = FORMS.saturating_sub(n));
            if tx.send(CoreReply { call: request.call, answer }).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// A command of another phone's that waits with a real warrant.
    fn of_another(&self, phone: &EnrolmentId) -> Option<&Next> {
        self.loot.warranted.iter().find(|(e, _)| e != phone).map(|(_, next)| next)
    }

    fn own(&self, phone: &EnrolmentId) -> Option<&Next> {
        self.loot.warranted.iter().find(|(e, _)| e == phone).map(|(_, next)| next)
    }

    fn forge(&self, n: usize, request: &CoreRequest) -> Option<Answer> {
        let phone = match (&request.what, rpc::enrolment_id(&request.enrolment)) {
            (Some(What::Observed(_)), Ok(phone)) => phone,
            (what, _) => return self.forge_for_strangers(what.as_ref()),
        };
        let (erase, command) = (erase(), CommandId(random(&self.rng)));
        let subject = Subject::Enrolment(phone);
        let own = |class, bytes: &[u8]| encode(&self.own_warrant(subject, class, Some(command), bytes));
        let wipe = "wipe a phone by a forged warrant";
        let class = AnswerClass::Command;
        let (name, answer) = match n % FORMS {
            0 => (wipe, warranted(own(class, &erase), class, 200, command.as_bytes(), erase, false)),
            1 => {
                let body = self.sealed_to_door(&erase);
                (wipe, warranted(own(class, &erase), class, 200, command.as_bytes(), body, true))
            }
            2 => (wipe, warranted(vec![], class, 200, command.as_bytes(), erase, false)),
            3 => {
                let class = AnswerClass::Escrow;
                (wipe, warranted(own(class, &erase), class, 200, command.as_bytes(), erase, false))
            }
            4 => {
                let class = AnswerClass::Declaration;
                (wipe, warranted(own(class, &erase), class, 200, &[], erase, false))
            }
            5 => {
                let class = AnswerClass::EnrolmentProfile;
                (wipe, warranted(own(class, &erase), class, 200, &[], erase, false))
            }
            6 => ("wipe a phone by a re-pointed warrant", self.real(self.of_another(&phone), None)?),
            7 => ("wipe a phone by a re-pointed warrant", self.real(self.of_another(&phone), Some(erase))?),
            8 => (
                "wipe a phone by a warrant for other bytes",
                self.real(self.own(&phone).or(self.of_another(&phone)), Some(erase))?,
            ),
            9 => ("dismiss a phone by a status", Answer::Plain(401)),
            10 => ("dismiss a phone by a status", Answer::Plain(403)),
            11 => ("dismiss a phone by a status", Answer::Plain(404)),
            12 => {
                let class = AnswerClass::Dismissal;
                ("dismiss a phone by a status", warranted(own(class, b""), class, 401, &[], vec![], false))
            }
            13 => (
                "wipe a phone by a query",
                Answer::Free(Free {
                    query: u32::try_from(n / FORMS).unwrap_or(200),
                    command: command.0.to_vec(),
                }),
            ),
            14 => ("wipe a phone by an answer out of place", Answer::ScepIssued(erase.into())),
            15 => ("wipe a phone by an answer out of place", Answer::OwnCertificate(erase.into())),
            16 => {
                let next = self.own(&phone).or(self.of_another(&phone))?;
                let warrant = next.warrant.clone().unwrap_or_default();
                let answer = warranted(
                    warrant,
                    AnswerClass::Dismissal,
                    401,
                    next.command.as_bytes(),
                    next.body.clone(),
                    next.sealed,
                );
                ("wipe a phone by a warrant of another class", answer)
            }
            _ => return Some(Answer::Plain(200)),
        };
        tell::tried(name);
        Some(answer)
    }

    /// A real warrant with its own bytes, or with others.
    fn real(&self, next: Option<&Next>, bytes: Option<Vec<u8>>) -> Option<Answer> {
        let next = next?;
        let sealed = next.sealed && bytes.is_none();
        let body = bytes.unwrap_or_else(|| next.body.clone());
        let warrant = next.warrant.clone().unwrap_or_default();
        Some(warranted(warrant, AnswerClass::Command, 200, next.command.as_bytes(), body, sealed))
    }

    fn sealed_to_door(&self, bytes: &[u8]) -> Vec<u8> {
        let key = PublicKey(self.statement.delivery_key.0);
        let digest = order::sha256(bytes);
        to::seal(&key, to::INFO_DELIVERY, digest.as_bytes(), bytes, &self.rng).unwrap_or_default()
    }

    /// Who follows an invitation's link or asks for a certificate.
    fn forge_for_strangers(&self, what: Option<&What>) -> Option<Answer> {
        match what? {
            What::Profile(link) => {
                tell::tried("hand out a profile of the own");
                let link = rpc::link_hash(link).ok()?;
                let class = AnswerClass::EnrolmentProfile;
                let warrant = self.own_warrant(Subject::Link(link), class, None, b"<plist/>");
                Some(warranted(encode(&warrant), class, 200, &[], b"<plist/>".to_vec(), false))
            }
            What::Scep(_) => Some(Answer::ScepRefused(20)),
            What::OwnCertificate(_) => {
                tell::tried("swap the door's certificate");
                Some(Answer::OwnCertificate(random::<500>(&self.rng).to_vec().into()))
            }
            What::Observed(_) => Some(Answer::Plain(400)),
        }
    }
}
