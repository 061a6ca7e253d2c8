//! Tokens that a phone gives into keeping and asks back, and what users of a shared device say.

use crate::http::{Connection, Response};
use crate::phone::{Phone, target};
use crate::report::{dict, write};
use crate::{Failure, Fault, Step};
use plist::{Dictionary, Value};

/// The `UserID` of every user of a Shared iPad.
const SHARED: &str = "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF";

impl Phone {
    async fn send_as(
        &mut self,
        connection: &mut Connection,
        message: Dictionary,
        kind: &str,
    ) -> Result<Response, Failure> {
        let at = |f: Fault| f.at(Step::Conversation);
        let body = write(message, self.handset().binary).map_err(at)?;
        let server = self.identity()?.check_in.clone();
        self.put(connection, target(&server), kind, &body).await?.map_err(at)
    }

    async fn check_in_for(
        &mut self,
        connection: &mut Connection,
        message: Dictionary,
    ) -> Result<Response, Failure> {
        self.send_as(connection, message, "application/x-apple-aspen-mdm-checkin").await
    }

    /// `SetBootstrapToken`; an empty one clears what the server keeps. Gives the answer's status.
    ///
    /// # Errors
    /// [`Failure`] when there is no answer.
    pub async fn set_bootstrap_token(
        &mut self,
        connection: &mut Connection,
        token: &[u8],
    ) -> Result<u16, Failure> {
        let mut message = self.check_in_message("SetBootstrapToken", &self.handset());
        message.insert("BootstrapToken".into(), Value::Data(token.to_vec()));
        Ok(self.check_in_for(connection, message).await?.status)
    }

    /// `GetBootstrapToken`: what the server kept, if anything.
    ///
    /// # Errors
    /// [`Failure`] when there is no answer, or one other than 200.
    pub async fn get_bootstrap_token(
        &mut self,
        connection: &mut Connection,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let message = self.check_in_message("GetBootstrapToken", &self.handset());
        let answer = self.check_in_for(connection, message).await?;
        match answer.status {
            200 => Ok(apple::returned::read("BootstrapToken", &answer.body)),
            status => Err(Fault::Status(status).at(Step::Conversation)),
        }
    }

    /// `GetToken`: the answer's status, and the token.
    ///
    /// # Errors
    /// [`Failure`] when there is no answer.
    pub async fn get_token(
        &mut self,
        connection: &mut Connection,
        service: &str,
    ) -> Result<(u16, Option<Vec<u8>>), Failure> {
        let mut message = self.check_in_message("GetToken", &self.handset());
        message.insert("TokenServiceType".into(), service.into());
        let answer = self.check_in_for(connection, message).await?;
        Ok((answer.status, apple::returned::read("TokenData", &answer.body)))
    }

    /// A message of a user of a Shared iPad: a `MessageType`, or else a report with that `Status`. `besides`
    /// are further keys. Gives the answer's status and body.
    ///
    /// # Errors
    /// [`Failure`] when there is no answer.
    pub async fn say_as_user(
        &mut self,
        connection: &mut Connection,
        short_name: &str,
        message_type: &str,
        besides: Dictionary,
    ) -> Result<(u16, Vec<u8>), Failure> {
        let handset = self.handset();
        let is_report = matches!(message_type, "Idle" | "Acknowledged" | "NotNow" | "Error");
        let mut message = if is_report {
            dict([("UDID", handset.udid.as_str().into()), ("Status", message_type.into())])
        } else {
            self.check_in_message(message_type, &handset)
        };
        message.insert("UserID".into(), SHARED.into());
        message.insert("UserShortName".into(), short_name.into());
        message.extend(besides);
        let kind = if is_report { crate::talk::REPORT_TYPE } else { "application/x-apple-aspen-mdm-checkin" };
        let answer = self.send_as(connection, message, kind).await?;
        Ok((answer.status, answer.body.to_vec()))
    }
}
