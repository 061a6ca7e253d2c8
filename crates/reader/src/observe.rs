//! A phone's body into what core may know of it.

use apple::checkin::TokenUpdate;
use apple::message::{Channel, FieldValue, Message, SHARED_IPAD_USER_ID, Who};
use apple::report::Status;
use apple::returned::is_service_type;
use model::{Compartment, EnrolmentId};
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
    let user_tag = if user_channel { user_tag(sealing, who) } else { Vec::new() };
    // A user's rows carry the user in their names, so that none can take the place of the device's.
    let what = match message {
        Message::TokenUpdate(m) if user_channel => What::TokenUpdate(users_token(m, &user_tag, sealing)?),
        _ => what(message, sealing)?,
    };
    Ok(proto::Observed { udid_tag, user_channel, user_tag, what: Some(what) })
}

fn phone_tag(sealing: &Sealing<'_>, device_id: &str) -> Vec<u8> {
    sealing.names.tag(&ANY_ENROLMENT, "UDID", device_id.as_bytes()).to_vec()
}

/// Equal for the same user of this device. Every user of a Shared iPad has the same `UserID`; the short name
/// tells them apart.
fn user_tag(sealing: &Sealing<'_>, who: &Who) -> Vec<u8> {
    let shared = who.user_id.as_deref() == Some(SHARED_IPAD_USER_ID);
    let ids = [&who.user_short_name, &who.user_id, &who.enrollment_user_id];
    let named = ids.into_iter().flatten().filter(|id| *id != SHARED_IPAD_USER_ID);
    let id: Vec<&str> = named.take(if shared { 1 } else { 3 }).map(String::as_str).collect();
    sealing.names.tag(&sealing.enrolment, "User", id.join("\0").as_bytes()).to_vec()
}

/// Token and magic of a user's channel, and the user's names: nothing of it in the clear.
fn users_token(
    m: &TokenUpdate,
    user_tag: &[u8],
    sealing: &mut Sealing<'_>,
) -> Result<proto::TokenUpdate, Refusal> {
    let prefix = users_prefix(user_tag);
    let mut sealed = Vec::new();
    for field in &m.fields {
        let compartment = match field.name.as_str() {
            "Token" | "PushMagic" => Compartment::Push,
            "UserID" | "UserShortName" | "UserLongName" | "EnrollmentUserID" => Compartment::Identity,
            // The device's own; its own messages say it.
            _ => continue,
        };
        let value = match &field.value {
            FieldValue::Text(text) => text.as_bytes(),
            FieldValue::Bytes(bytes) => bytes,
            _ => continue,
        };
        let name = format!("{prefix}{}", field.name);
        sealed.push(sealing.row(&name, compartment, value, value, String::new())?);
    }
    Ok(proto::TokenUpdate {
        topic: topic(&m.topic)?,
        awaiting_configuration: false,
        sealed,
        clear: Vec::new(),
    })
}

/// What a user's rows begin with: `UserChannel.<tag in hexadecimal>.`.
fn users_prefix(user_tag: &[u8]) -> String {
    let hex: String = user_tag.iter().map(|b| format!("{b:02x}")).collect();
    format!("UserChannel.{hex}.")
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
        Message::SetBootstrapToken(m) => {
            let mut sealed = Vec::new();
            if let Some(token) = &m.token {
                sealed.push(sealing.row(
                    "BootstrapToken",
                    Compartment::Escrow,
                    token,
                    token,
                    String::new(),
                )?);
            }
            What::SetBootstrapToken(proto::SetBootstrapToken { sealed })
        }
        Message::GetBootstrapToken(_) => What::GetBootstrapToken(proto::GetBootstrapToken {}),
        Message::GetToken(m) if is_service_type(&m.service_type) => {
            What::GetToken(proto::GetToken { service: m.service_type.clone() })
        }
        Message::GetToken(_) => return Err(Refusal::bad("bad_service")),
        Message::Unknown { message_type, .. } => other(message_type),
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
        Some(What::SetBootstrapToken(_)) => "set_bootstrap_token",
        Some(What::GetBootstrapToken(_)) => "get_bootstrap_token",
        Some(What::GetToken(_)) => "get_token",
        Some(What::Other(_)) | None => "other",
    }
}
