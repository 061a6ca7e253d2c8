//! A phone's body into what core may know of it.

use apple::message::{Channel, Message};
use apple::report::Status;
use model::EnrolmentId;
use rpc::proto::{self, observed::What};

use crate::fields::{Sealing, Sorted, plain_text};
use crate::reason::Refusal;
use crate::{content, declared};

/// Under this the same phone has the same tag in every enrolment, so that core sees a phone come back.
const ANY_ENROLMENT: EnrolmentId = EnrolmentId([0; 16]);

/// Seals what is in a message. The message's own claim of who it is counts for nothing but the
/// tag: the enrolment comes from the door.
pub(crate) fn observe(message: &Message, sealing: &mut Sealing<'_>) -> Result<proto::Observed, Refusal> {
    let who = message.who();
    let udid_tag = who.device_id().map(|id| phone_tag(sealing, id)).unwrap_or_default();
    let user_channel = who.channel() == Channel::User;
    let what = what(message, sealing)?;
    Ok(proto::Observed { udid_tag, user_channel, what: Some(what) })
}

fn phone_tag(sealing: &Sealing<'_>, device_id: &str) -> Vec<u8> {
    sealing.tags.tag(&ANY_ENROLMENT, "UDID", device_id.as_bytes()).to_vec()
}

fn what(message: &Message, sealing: &mut Sealing<'_>) -> Result<What, Refusal> {
    Ok(match message {
        Message::Authenticate(m) => {
            let Sorted { clear, sealed } = sealing.sort(&m.fields)?;
            What::Authenticate(proto::Authenticate { topic: topic(&m.topic)?, clear, sealed })
        }
        Message::TokenUpdate(m) => {
            let Sorted { clear, sealed } = sealing.sort(&m.fields)?;
            What::TokenUpdate(proto::TokenUpdate {
                topic: topic(&m.topic)?,
                awaiting_configuration: m.awaiting_configuration,
                sealed,
                clear,
            })
        }
        Message::CheckOut(_) => What::CheckOut(proto::CheckOut {}),
        Message::UserAuthenticate(_) => What::UserAuthenticate(proto::UserAuthenticate {}),
        Message::Report(report) => {
            let status = match report.status {
                Status::Idle => proto::ReportStatus::Idle,
                Status::Acknowledged => proto::ReportStatus::Acknowledged,
                Status::NotNow => proto::ReportStatus::NotNow,
                Status::Error => proto::ReportStatus::Error,
                Status::CommandFormatError => proto::ReportStatus::CommandFormatError,
            };
            What::Report(proto::Report {
                status: status.into(),
                command: report.command_id.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
                errors: content::errors(report),
                content: content::content(report, sealing)?,
            })
        }
        Message::DeclarativeManagement(m) => declared::what(m, sealing)?,
        Message::Unknown { message_type, .. } => other(message_type),
        known => other(known.kind()),
    })
}

fn other(message_type: &str) -> What {
    What::Other(proto::OtherCheckIn { message_type: message_type.to_owned() })
}

/// A topic stands in the clear, so it must look like one.
fn topic(text: &str) -> Result<String, Refusal> {
    let fits =
        plain_text(text) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
    if fits { Ok(text.to_owned()) } else { Err(Refusal::bad("bad_topic")) }
}

/// The kind of a message, for counters.
pub(crate) fn kind(observed: &proto::Observed) -> &'static str {
    match &observed.what {
        Some(What::Authenticate(_)) => "authenticate",
        Some(What::TokenUpdate(_)) => "token_update",
        Some(What::CheckOut(_)) => "check_out",
        Some(What::UserAuthenticate(_)) => "user_authenticate",
        Some(What::Report(_)) => "report",
        Some(What::DeclarationsAsked(_)) => "declarations_asked",
        Some(What::StatusReport(_)) => "status_report",
        Some(What::Other(_)) | None => "other",
    }
}
