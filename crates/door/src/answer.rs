//! What leaves. The check that stands between core's word and a phone.

use bytes::Bytes;
use model::{CommandId, Digest, TimeMs};
use order::{
    AnswerClass, DeclarationAnswer, DeclarationsError, FreeQuery, SignedDeclarations, SignedWarrant, Subject,
    TrustedStatement, Warrant, WarrantError, WarrantedAnswer,
};
use rpc::proto::{CoreReply, Warranted, core_reply};
use seal::KeyPairSecret;

use crate::delivery;

/// An answer that may go to a phone. There is no other way to make one than the functions here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) status: u16,
    pub(crate) content_type: Option<&'static str>,
    pub(crate) body: Bytes,
    pub(crate) kind: OutgoingKind,
}

/// What kind of answer left, for the counters and the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutgoingKind {
    Plain,
    Free,
    Warranted,
    Scep,
}

/// Why core's answer was not let out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotLetOut {
    #[error("core's answer is not on the door's list")]
    Unlisted,
    #[error("this class of answer does not leave on this route")]
    WrongRoute,
    #[error("{0}")]
    Warrant(#[from] WarrantError),
    #[error("{0}")]
    Declarations(#[from] DeclarationsError),
    #[error("what is sealed to the door can't be opened")]
    Sealed,
    #[error("no key statement is in force")]
    NoStatement,
}

/// Statuses that need no warrant.
const PLAIN: [u16; 5] = [200, 400, 410, 413, 503];

impl Outgoing {
    /// An answer without a body. A status off the list becomes 503.
    pub(crate) fn plain(status: u16) -> Self {
        let status = if PLAIN.contains(&status) { status } else { 503 };
        Self { status, content_type: None, body: Bytes::new(), kind: OutgoingKind::Plain }
    }

    /// For a path that is on no list; no phone asks for one.
    pub(crate) fn unknown_path() -> Self {
        Self { status: 404, ..Self::plain(400) }
    }

    /// A SCEP answer of the reader's. It leaves on the SCEP route alone: nothing else calls this.
    pub(crate) fn scep(content_type: &str, body: Vec<u8>) -> Option<Self> {
        let known = [
            "text/plain",
            "application/x-x509-ca-cert",
            "application/x-x509-ca-ra-cert",
            "application/x-pki-message",
        ];
        let content_type = known.into_iter().find(|k| *k == content_type)?;
        Some(Self {
            status: 200,
            content_type: Some(content_type),
            body: body.into(),
            kind: OutgoingKind::Scep,
        })
    }
}

/// What the check needs to know.
pub(crate) struct Check<'a> {
    pub(crate) subject: Subject,
    /// The hash of the declarative-management endpoint that was asked, by the reader's word; `None` for any
    /// other request.
    pub(crate) endpoint: Option<Digest>,
    pub(crate) statement: Option<&'a TrustedStatement>,
    /// The newest first.
    pub(crate) delivery: &'a [KeyPairSecret],
    pub(crate) now_ms: TimeMs,
}

/// Lets core's answer out, or says why not.
pub(crate) fn check(reply: CoreReply, check: &Check<'_>) -> Result<Outgoing, NotLetOut> {
    match reply.answer.ok_or(NotLetOut::Unlisted)? {
        core_reply::Answer::Plain(status) => {
            let status = u16::try_from(status).map_err(|_| NotLetOut::Unlisted)?;
            if !PLAIN.contains(&status) {
                return Err(NotLetOut::Unlisted);
            }
            Ok(Outgoing::plain(status))
        }
        core_reply::Answer::Free(free) => {
            if !matches!(check.subject, Subject::Enrolment(_)) || check.endpoint.is_some() {
                return Err(NotLetOut::WrongRoute);
            }
            let number = u8::try_from(free.query).map_err(|_| NotLetOut::Unlisted)?;
            let query = FreeQuery::from_number(number).ok_or(NotLetOut::Unlisted)?;
            let command = rpc::command_id(&free.command).map_err(|_| NotLetOut::Unlisted)?;
            Ok(Outgoing {
                status: 200,
                content_type: Some("application/xml"),
                body: query.bytes(command).into(),
                kind: OutgoingKind::Free,
            })
        }
        core_reply::Answer::Warranted(w) if w.class == DECLARATION => declaration(w, check),
        core_reply::Answer::Warranted(w) => warranted(w, check),
        // Certificates go through the reader; on any other route they are out of place.
        core_reply::Answer::ScepIssued(_)
        | core_reply::Answer::ScepRefused(_)
        | core_reply::Answer::OwnCertificate(_) => Err(NotLetOut::WrongRoute),
    }
}

/// [`AnswerClass::Dismissal`]'s number: it may answer whatever a phone sends.
const DISMISSAL: u32 = 4;
/// [`AnswerClass::Declaration`]'s number.
const DECLARATION: u32 = 3;

/// An answer to a declarative-management check-in: only to one, and only what is warranted for the very
/// endpoint that the phone asked at.
fn declaration(w: Warranted, check: &Check<'_>) -> Result<Outgoing, NotLetOut> {
    let statement = check.statement.ok_or(NotLetOut::NoStatement)?;
    let (Subject::Enrolment(enrolment), Some(endpoint)) = (check.subject, check.endpoint) else {
        return Err(NotLetOut::WrongRoute);
    };
    let status = u16::try_from(w.status).map_err(|_| NotLetOut::Unlisted)?;
    if !w.command.is_empty() || !matches!(status, 200 | 404) {
        return Err(NotLetOut::Unlisted);
    }
    let signed: SignedDeclarations = order::decode(&w.warrant).map_err(DeclarationsError::from)?;
    let body = if w.sealed {
        let claimed = signed.claimed().map_err(DeclarationsError::from)?;
        let digest = claimed.answer(&endpoint).ok_or(DeclarationsError::OtherEndpoint)?.digest;
        let opened = delivery::open(check.delivery, &digest, &w.body);
        Bytes::from(opened.ok_or(NotLetOut::Sealed)?.to_vec())
    } else {
        w.body
    };
    let answer = DeclarationAnswer { enrolment, endpoint, status, bytes: &body };
    signed.verify(&statement.warrant_key, check.now_ms, &answer)?;
    let content_type = (!body.is_empty()).then_some("application/json");
    Ok(Outgoing { status, content_type, body, kind: OutgoingKind::Warranted })
}

fn warranted(w: Warranted, check: &Check<'_>) -> Result<Outgoing, NotLetOut> {
    let statement = check.statement.ok_or(NotLetOut::NoStatement)?;
    if check.endpoint.is_some() && w.class != DISMISSAL {
        return Err(NotLetOut::WrongRoute);
    }
    let signed: SignedWarrant = order::decode(&w.warrant).map_err(WarrantError::from)?;
    let claimed: Warrant = order::decode(&signed.warrant).map_err(WarrantError::from)?;
    let body = if w.sealed {
        let opened = delivery::open(check.delivery, &claimed.digest, &w.body);
        Bytes::from(opened.ok_or(NotLetOut::Sealed)?.to_vec())
    } else {
        w.body
    };
    let (class, content_type) = class_of(w.class, &check.subject)?;
    let status = u16::try_from(w.status).map_err(|_| NotLetOut::Unlisted)?;
    let command = match w.command.len() {
        0 => None,
        _ => Some(CommandId::try_from(&w.command[..]).map_err(|_| NotLetOut::Unlisted)?),
    };
    let answer = WarrantedAnswer { subject: check.subject, class, status, command, bytes: &body };
    signed.verify(&statement.warrant_key, check.now_ms, &answer)?;
    Ok(Outgoing { status, content_type: Some(content_type), body, kind: OutgoingKind::Warranted })
}

/// Which classes leave on the route of this subject, and as what. Declarations have a way of their own.
fn class_of(number: u32, subject: &Subject) -> Result<(AnswerClass, &'static str), NotLetOut> {
    let class = match number {
        1 => (AnswerClass::Command, "application/xml"),
        2 => (AnswerClass::EnrolmentProfile, "application/x-apple-aspen-config"),
        4 => (AnswerClass::Dismissal, "application/json"),
        5 => (AnswerClass::Escrow, "application/xml"),
        _ => return Err(NotLetOut::Unlisted),
    };
    match (class.0, subject) {
        (AnswerClass::EnrolmentProfile, Subject::Link(_)) => Ok(class),
        (AnswerClass::EnrolmentProfile, Subject::Enrolment(_)) | (_, Subject::Link(_)) => {
            Err(NotLetOut::WrongRoute)
        }
        (_, Subject::Enrolment(_)) => Ok(class),
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
