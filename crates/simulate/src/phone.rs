//! One phone: who it is, what state it is in, what it says at check-in.

use crate::answer::Life;
use crate::dice::Dice;
use crate::handset::Handset;
use crate::http::{Connection, Response};
use crate::keys::PhoneKey;
use crate::network::Network;
use crate::report::{dict, write};
use crate::sign::MessageSigner;
use crate::{Failure, Fault, Step, numbers};
use http::Uri;
use model::{CommandId, EnrolmentId};
use plist::{Dictionary, Value};
use rustls::ClientConfig;
use std::collections::VecDeque;
use std::sync::Arc;

/// Where in its life a phone is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, minicbor::Encode, minicbor::Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum State {
    /// Not managed yet; an enrolment that failed half-way goes on from where it stopped.
    #[n(0)]
    New,
    /// Managed.
    #[n(1)]
    Enrolled,
    /// Managed and switched off: it answers nothing until [`Phone::switch_on`].
    #[n(2)]
    Off,
    /// Erased: it forgot everything.
    #[n(3)]
    Erased,
    /// No longer managed: it checked out, or a 401 or 403 made it drop management.
    #[n(4)]
    CheckedOut,
}

/// One simulated phone. Some 3.5 KB while it rests ([`Phone::rest`]), more than half of it key and certificate.
#[derive(Debug)]
pub struct Phone {
    pub(crate) seed: u64,
    pub(crate) index: u32,
    pub(crate) state: State,
    /// Kept when an enrolment fails half-way: the challenge is good for one key.
    pub(crate) key: Option<PhoneKey>,
    pub(crate) identity: Option<Box<Identity>>,
    pub(crate) life: Life,
    pub(crate) conversations: u32,
    /// Its push token is new to the server, as after a restart.
    pub(crate) token_due: bool,
    /// The last commands whose reports the server has confirmed.
    pub(crate) confirmed: VecDeque<CommandId>,
}

/// What enrolment gave it.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) key: PhoneKey,
    pub(crate) certificate: Box<[u8]>,
    pub(crate) enrolment: Option<EnrolmentId>,
    pub(crate) authenticated: bool,
    pub(crate) server: Uri,
    pub(crate) check_in: Uri,
    pub(crate) topic: Box<str>,
    pub(crate) network: Network,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// `SignMessage`: a load balancer ends its TLS.
    pub(crate) sign_messages: bool,
}

impl Phone {
    /// The `index`-th phone of the fleet with this seed, new from the shop.
    #[must_use]
    pub fn new(seed: u64, index: u32) -> Self {
        let passcode = Handset::of(seed, index).passcode;
        Self {
            seed,
            index,
            state: State::New,
            key: None,
            identity: None,
            life: Life { passcode, ..Life::default() },
            conversations: 0,
            token_due: false,
            confirmed: VecDeque::new(),
        }
    }

    /// What it is.
    #[must_use]
    pub fn handset(&self) -> Handset {
        Handset::of(self.seed, self.index)
    }

    /// Which of the fleet.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Where in its life it is.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// The enrolment id that its certificate names, once it has one that does.
    #[must_use]
    pub fn enrolment(&self) -> Option<EnrolmentId> {
        self.identity.as_ref().and_then(|identity| identity.enrolment)
    }

    /// Its certificate, DER, once it has one.
    #[must_use]
    pub fn certificate_der(&self) -> Option<&[u8]> {
        self.identity.as_ref().map(|identity| &*identity.certificate)
    }

    /// Identifiers of the profiles on it, the enrolment profile first.
    pub fn profiles(&self) -> impl Iterator<Item = &str> {
        self.life.profiles.iter().map(|p| p.identifier.as_str())
    }

    /// Is a passcode set?
    #[must_use]
    pub fn has_passcode(&self) -> bool {
        self.life.passcode
    }

    /// Was its screen locked by a command, and not unlocked since?
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.life.locked
    }

    /// Is it in lost mode?
    #[must_use]
    pub fn in_lost_mode(&self) -> bool {
        self.life.lost_mode
    }

    /// Somebody switches it on again.
    pub fn switch_on(&mut self) {
        if self.state == State::Off {
            self.state = State::Enrolled;
            self.token_due = true;
        }
    }

    /// Forgets TLS keys and tickets that can be made again, to save memory.
    pub fn rest(&mut self) {
        if let Some(identity) = &mut self.identity {
            identity.tls = None;
        }
    }

    /// From its next connection on it dials `address` in its server's place; `None`: its server again. For
    /// measuring another server with the same phones.
    pub fn dial(&mut self, address: Option<std::net::SocketAddr>) {
        if let Some(identity) = &mut self.identity {
            identity.network.dial(address);
            identity.tls = None;
        }
    }

    /// Its push token: 32 bytes mostly, longer on a few phones, as Apple allows.
    #[must_use]
    pub fn push_token(&self) -> Vec<u8> {
        let mut dice = Dice::of(self.seed, self.index, 3);
        let mut token = vec![0; if dice.per_mille(30) { 80 } else { 32 }];
        dice.fill(&mut token);
        token
    }

    /// Its `PushMagic`, which a push must name to wake it.
    #[must_use]
    pub fn push_magic(&self) -> String {
        numbers::uuid(&mut Dice::of(self.seed, self.index, 4))
    }

    /// Its escrow token, without which its passcode can't be cleared.
    pub(crate) fn unlock_token(&self) -> Vec<u8> {
        Dice::of(self.seed, self.index, 9).bytes::<1200>().to_vec()
    }

    /// Connects to the server with its certificate.
    ///
    /// # Errors
    /// [`Fault::State`] before enrolment; else see [`Step::Connect`].
    pub async fn connect(&mut self) -> Result<Connection, Failure> {
        let identity = self.identity()?;
        let server = identity.server.clone();
        identity.connect(&server).await
    }

    pub(crate) fn identity(&mut self) -> Result<&mut Identity, Failure> {
        self.identity.as_deref_mut().ok_or_else(|| Fault::State("it isn't enrolled").at(Step::Connect))
    }

    /// Says that management was removed from it, and forgets it.
    ///
    /// # Errors
    /// [`Failure`] at [`Step::CheckOut`]; the phone is no longer managed all the same, as with Apple's.
    pub async fn check_out(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        let message = self.check_in_message("CheckOut", &self.handset());
        let sent = self.check_in(connection, message, Step::CheckOut).await;
        self.forget(State::CheckedOut);
        sent
    }

    /// `TokenUpdate` without the escrow token, as after a restart: the server keeps the one it has.
    ///
    /// # Errors
    /// [`Failure`] at [`Step::TokenUpdate`].
    pub async fn update_token(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        let message = self.token_message(&self.handset());
        self.check_in(connection, message, Step::TokenUpdate).await?;
        self.token_due = false;
        Ok(())
    }

    pub(crate) fn forget(&mut self, state: State) {
        self.state = state;
        self.identity = None;
        self.key = None;
        self.confirmed = VecDeque::new();
        self.life = Life::default();
    }

    pub(crate) fn check_in_message(&self, message_type: &str, handset: &Handset) -> Dictionary {
        let topic = self.identity.as_ref().map(|i| &*i.topic).unwrap_or_default();
        dict([
            ("MessageType", message_type.into()),
            ("Topic", topic.into()),
            ("UDID", handset.udid.as_str().into()),
        ])
    }

    pub(crate) fn authenticate_message(&self, handset: &Handset) -> Dictionary {
        let mut message = self.check_in_message("Authenticate", handset);
        for (key, value) in [
            ("OSVersion", handset.os_version),
            ("BuildVersion", handset.build_version),
            ("ProductName", handset.product_name),
            ("SerialNumber", &handset.serial),
            ("DeviceName", &handset.device_name),
            ("Model", &handset.model),
            ("ModelName", "iPhone"),
        ] {
            message.insert(key.to_owned(), value.into());
        }
        if let Some(line) = handset.lines.first() {
            message.insert("IMEI".to_owned(), numbers::spaced(&line.imei).into());
            message.insert("MEID".to_owned(), line.meid.as_str().into());
        }
        message
    }

    pub(crate) fn token_message(&self, handset: &Handset) -> Dictionary {
        let mut message = self.check_in_message("TokenUpdate", handset);
        message.insert("Token".to_owned(), Value::Data(self.push_token()));
        message.insert("PushMagic".to_owned(), self.push_magic().into());
        message.insert("AwaitingConfiguration".to_owned(), false.into());
        message
    }

    /// Sends a body to the server: on a new connection if the server closed this one, and once more if it
    /// closed it just now. PUT may be sent twice (RFC 9110, 9.2.2), and phones do.
    pub(crate) async fn put(
        &mut self,
        connection: &mut Connection,
        target: &str,
        kind: &str,
        body: &[u8],
    ) -> Result<Result<Response, Fault>, Failure> {
        if connection.usable() {
            let kept = connection.is_used();
            match connection.request("PUT", target, Some(kind), body).await {
                Err(Fault::Ended | Fault::Io(_)) if kept => {}
                answer => return Ok(answer),
            }
        }
        *connection = self.connect().await?;
        Ok(connection.request("PUT", target, Some(kind), body).await)
    }

    /// Sends a check-in message; anything but 200 is a failure.
    pub(crate) async fn check_in(
        &mut self,
        connection: &mut Connection,
        message: Dictionary,
        step: Step,
    ) -> Result<(), Failure> {
        match self.ask(connection, message, step).await?.status {
            200 => Ok(()),
            status => Err(Fault::Status(status).at(step)),
        }
    }

    /// Sends a check-in message and gives the answer, whatever its status.
    pub(crate) async fn ask(
        &mut self,
        connection: &mut Connection,
        message: Dictionary,
        step: Step,
    ) -> Result<Response, Failure> {
        const KIND: &str = "application/x-apple-aspen-mdm-checkin";
        let body = write(message, self.handset().binary).map_err(|f| f.at(step))?;
        let identity = self.identity()?;
        let check_in = identity.check_in.clone();
        let sent = if identity.server.authority() == check_in.authority() {
            self.put(connection, target(&check_in), KIND, &body).await?
        } else {
            identity.connect(&check_in).await?.request("PUT", target(&check_in), Some(KIND), &body).await
        };
        sent.map_err(|f| f.at(step))
    }
}

impl Identity {
    pub(crate) async fn connect(&mut self, url: &Uri) -> Result<Connection, Failure> {
        let tls = match &self.tls {
            Some(tls) => tls.clone(),
            None => {
                let made = self.network.tls(Some((&self.key, &self.certificate)));
                let made = made.map_err(|f| f.at(Step::Connect))?;
                self.tls.insert(made).clone()
            }
        };
        let connection = self.network.connect(url, tls).await?;
        if !self.sign_messages {
            return Ok(connection);
        }
        let signer = MessageSigner::new(&self.key, &self.certificate).map_err(|f| f.at(Step::Connect))?;
        Ok(connection.signing(signer))
    }
}

/// What stands in the request line.
pub(crate) fn target(url: &Uri) -> &str {
    url.path_and_query().map_or("/", |target| target.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_at_rest_is_light_and_forgets_what_it_was_told_to_forget() {
        assert!(size_of::<Phone>() + size_of::<Identity>() < 800);
        let mut phone = Phone::new(1, 1);
        phone.token_due = true;
        phone.forget(State::Erased);
        assert!(phone.identity.is_none() && phone.key.is_none() && phone.profiles().count() == 0);
        phone.switch_on();
        assert_eq!(phone.state(), State::Erased);
    }

    #[test]
    fn push_tokens_differ_and_some_are_long() {
        let tokens: std::collections::HashSet<_> = (0..500).map(|i| Phone::new(1, i).push_token()).collect();
        assert_eq!(tokens.len(), 500);
        assert!(tokens.iter().any(|t| t.len() > 32) && tokens.iter().filter(|t| t.len() == 32).count() > 400);
    }
}
