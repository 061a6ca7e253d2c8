//! Conversations: a phone reports, gets a command, obeys, reports again, until there is none left.

use crate::answer::{After, Own, Reply, answer, code, may_be_put_off};
use crate::dice::Dice;
use crate::http::{Connection, Response};
use crate::phone::{Phone, State, target};
use crate::report::{Status, report};
use crate::{Failure, Fault, Step};
use model::{Clock as _, CommandId};
use plist::Dictionary;

/// `Content-Type` of a command report.
pub(crate) const REPORT_TYPE: &str = "application/x-apple-aspen-mdm";
/// How many commands a phone obeys in one conversation.
const MAX_COMMANDS: u32 = 10_000;

/// How many confirmed commands a phone remembers.
const MAX_CONFIRMED: usize = 32;

/// How obliging a phone is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Temper {
    /// Of a thousand commands that can be put off, how many are (`NotNow`).
    pub not_now_per_mille: u16,
}

impl Default for Temper {
    fn default() -> Self {
        Self { not_now_per_mille: 40 }
    }
}

impl Temper {
    /// Obeys at once, always.
    #[must_use]
    pub fn obliging() -> Self {
        Self { not_now_per_mille: 0 }
    }
}

/// How a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Nothing more to do.
    Quiet,
    /// The last word was `NotNow`: the phone comes back by itself.
    PutOff,
    /// It restarts, and comes back by itself.
    Restarting,
    /// It was switched off.
    Off,
    /// It was erased.
    Erased,
    /// It checked out, since its enrolment profile was removed.
    CheckedOut,
    /// A 401 or 403 made it drop its management.
    Dropped,
}

/// What was said in a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Talk {
    /// Each command's `RequestType` and the status that was reported.
    pub commands: Vec<(String, &'static str)>,
    /// How many commands came again although the server had confirmed the report on them: none, if it keeps
    /// what it acknowledged. (`NotNow` aside, after which a command is meant to come again.)
    pub repeated: u32,
    /// How it ended.
    pub ending: Ending,
}

impl Phone {
    /// One conversation on an open connection of this phone's.
    ///
    /// # Errors
    /// [`Failure`] at [`Step::Conversation`]; what was obeyed before stays obeyed, and its report may be lost.
    /// [`Fault::State`] unless the phone is [`State::Enrolled`].
    pub async fn converse(&mut self, connection: &mut Connection, temper: Temper) -> Result<Talk, Failure> {
        self.talk(connection, temper).await.map_err(|fault| fault.at(Step::Conversation))
    }

    async fn talk(&mut self, connection: &mut Connection, temper: Temper) -> Result<Talk, Fault> {
        let server = match &self.identity {
            Some(identity) if self.state == State::Enrolled => identity.server.clone(),
            _ => return Err(Fault::State("it isn't enrolled, or not any more")),
        };
        if self.token_due {
            self.update_token(connection).await.map_err(|failure| failure.fault)?;
        }
        let handset = self.handset();
        self.conversations = self.conversations.wrapping_add(1);
        let mut dice = Dice::of(self.seed, self.index, 1000 + u64::from(self.conversations));
        // Between conversations time goes by: somebody used it.
        self.life.drained = (self.life.drained + u8::try_from(dice.below(4)).unwrap_or(0)) % 60;

        let (mut commands, mut repeated) = (Vec::new(), 0);
        let (mut last, mut reported) = (Status::Idle, None);
        let mut body = report(&handset.udid, Status::Idle, None, Dictionary::new(), handset.binary)?;
        for _ in 0..MAX_COMMANDS {
            let reply = self.say(connection, target(&server), &body).await?;
            match reply.status {
                200 => {}
                401 | 403 => {
                    self.forget(State::CheckedOut);
                    return Ok(Talk { commands, repeated, ending: Ending::Dropped });
                }
                status => return Err(Fault::Status(status)),
            }
            if let Some(id) = reported.take() {
                self.confirm(id);
            }
            if reply.body.is_empty() {
                if self.life.declared.on {
                    self.sync_declarations(connection).await.map_err(|failure| failure.fault)?;
                }
                let ending = if last == Status::NotNow { Ending::PutOff } else { Ending::Quiet };
                return Ok(Talk { commands, repeated, ending });
            }
            let (id, request_type, command) = apple::command::parse(&reply.body).map_err(Fault::Command)?;
            let mut reply = self.obey(&request_type, &command, temper, &mut dice);
            if reply.after == After::Renew {
                reply = self.renew(&command).await;
                // From here on it is known by its new certificate, on a connection of its own.
                *connection = self.connect().await.map_err(|failure| failure.fault)?;
            }
            last = reply.status;
            repeated += u32::from(self.confirmed.contains(&id));
            reported = (last != Status::NotNow).then_some(id);
            commands.push((request_type, last.name()));
            body = report(&handset.udid, last, Some(&id.to_string()), reply.content, handset.binary)?;
            if let Some(ending) = self.last_word(connection, &body, target(&server), reply.after).await? {
                return Ok(Talk { commands, repeated, ending });
            }
        }
        Err(Fault::Endless(MAX_COMMANDS))
    }

    fn confirm(&mut self, id: CommandId) {
        if self.confirmed.len() >= MAX_CONFIRMED {
            self.confirmed.pop_front();
        }
        self.confirmed.push_back(id);
    }

    /// Sends a report.
    async fn say(
        &mut self,
        connection: &mut Connection,
        target: &str,
        body: &[u8],
    ) -> Result<Response, Fault> {
        // Some systems name the character set.
        let kind =
            if self.index % 4 == 3 { "application/x-apple-aspen-mdm; charset=UTF-8" } else { REPORT_TYPE };
        self.put(connection, target, kind, body).await.map_err(|failure| failure.fault)?
    }

    fn obey(&mut self, request_type: &str, command: &Dictionary, temper: Temper, dice: &mut Dice) -> Reply {
        if may_be_put_off(request_type) && dice.per_mille(temper.not_now_per_mille) {
            return Reply { status: Status::NotNow, content: Dictionary::new(), after: After::Go };
        }
        let handset = self.handset();
        let unlock_token = self.unlock_token();
        let identity = self.identity.as_deref();
        let own = Own {
            handset: &handset,
            seed: self.seed,
            index: self.index,
            certificate: identity.map(|i| &*i.certificate).unwrap_or_default(),
            roots: identity.map(|i| i.network.anchors().collect()).unwrap_or_default(),
            unlock_token: &unlock_token,
            now_ms: model::SystemClock.now_ms(),
        };
        answer(&own, &mut self.life, request_type, command)
    }

    /// Takes its enrolment profile anew, and a new certificate for a new key with it. When that fails the phone
    /// keeps what it has.
    async fn renew(&mut self, command: &Dictionary) -> Reply {
        let payload = command.get("Payload").and_then(plist::Value::as_data).unwrap_or_default();
        match self.renew_identity(payload, &model::SystemClock).await {
            Ok(()) => Reply::ok(),
            Err(_) => Reply::error(code::PROFILE_REPLACEMENT, "The identity could not be renewed."),
        }
    }

    /// Reports a command that ends the conversation, and does what it asked; None for any other.
    async fn last_word(
        &mut self,
        connection: &mut Connection,
        body: &[u8],
        target: &str,
        after: After,
    ) -> Result<Option<Ending>, Fault> {
        if after == After::Go {
            return Ok(None);
        }
        // The phone has accepted: it goes through with it even if nobody hears its answer.
        let heard = self.say(connection, target, body).await;
        let ending = match after {
            After::Go | After::Renew => return Ok(None),
            After::Erased => {
                self.forget(State::Erased);
                Ending::Erased
            }
            After::Off => {
                self.state = State::Off;
                Ending::Off
            }
            After::Restart => {
                self.token_due = true;
                self.life.locked = true;
                Ending::Restarting
            }
            After::Leave => {
                // Best effort, as Apple's.
                let _ = self.check_out(connection).await;
                Ending::CheckedOut
            }
        };
        match heard?.status {
            200 => Ok(Some(ending)),
            status => Err(Fault::Status(status)),
        }
    }
}

impl Phone {
    /// The report on one command, obeyed at once. For load, where no command ends a phone.
    pub(crate) fn obey_at_once(
        &mut self,
        command_uuid: &str,
        request_type: &str,
        command: &Dictionary,
    ) -> Result<Vec<u8>, Fault> {
        let mut dice = Dice::of(self.seed, self.index, 999);
        let reply = self.obey(request_type, command, Temper::obliging(), &mut dice);
        let handset = self.handset();
        report(&handset.udid, reply.status, Some(command_uuid), reply.content, handset.binary)
    }
}
