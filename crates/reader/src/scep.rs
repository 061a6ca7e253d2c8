//! The SCEP route: capabilities and certificates from what is here; requests opened and sealed to the
//! vault; the vault's answers wrapped for the phone.

use std::sync::Arc;

use apple::scep::{self, Context, FailInfo, MessageType, RaKey, SealedRequest};
use apple::x509::{Algorithms, SystemRandom};
use order::{Refusal as VaultRefusal, TrustedStatement};
use rpc::proto::{self, ScepOperation, read_reply::What};
use seal::PublicKey;
use zeroize::Zeroizing;

use crate::keys::Current;
use crate::reason::Refusal;

/// What a request needs besides the keys.
pub(crate) struct Asked<'a> {
    pub keys: Arc<Current>,
    pub ca_certificate: &'a [u8],
    /// The statement in force.
    pub statement: Result<Arc<TrustedStatement>, Refusal>,
    pub admit: Algorithms,
    pub rng: &'a dyn aws_lc_rs::rand::SecureRandom,
}

fn body(content_type: &str, body: impl Into<Vec<u8>>) -> What {
    What::ScepBody(proto::ScepBody { content_type: content_type.to_owned(), body: body.into() })
}

/// Answers one of the four operations.
pub(crate) fn query(query: &proto::ScepQuery, asked: &Asked<'_>) -> Result<What, Refusal> {
    match query.operation() {
        ScepOperation::CaCaps => Ok(body(scep::CA_CAPS_TYPE, scep::ca_caps())),
        ScepOperation::CaCert => {
            Ok(body(scep::CA_CERT_TYPE, scep::ca_cert(asked.keys.ra.1.cert_der(), asked.ca_certificate)))
        }
        ScepOperation::PkiGet => {
            let text = std::str::from_utf8(&query.message).map_err(|_| Refusal::bad("scep_not_base64"))?;
            let message = scep::decode_get_message(text).map_err(|e| match e {
                scep::Reason::TooLarge => Refusal::too_large("too_large"),
                _ => Refusal::bad("scep_not_base64"),
            })?;
            open(&message, asked)
        }
        ScepOperation::PkiPost => open(&query.message, asked),
        ScepOperation::Unspecified => Err(Refusal::bad("unknown_request")),
    }
}

/// Opens a request and seals certification request and challenge together to the vault, as the reader.
fn open(message: &[u8], asked: &Asked<'_>) -> Result<What, Refusal> {
    let statement = asked.statement.clone()?;
    let sender = asked.keys.sender(&statement).ok_or(Refusal::later("not_the_stated_reader"))?;
    let mut tried = asked.keys.ras().map(|(number, ra)| {
        scep::request::open(message, ra, asked.admit, &SystemRandom).map(|opened| (*number, opened))
    });
    let first = tried.next().ok_or(Refusal::later("scep_failed"))?;
    // A phone that was told the RA of before goes by it; what neither opens is answered by the newest.
    let (number, opened) = match first.or_else(|e| tried.find_map(Result::ok).ok_or(e)) {
        Ok(opened) => opened,
        Err(e) => {
            tracing::debug!(reason = %e.reason, "a SCEP request was refused");
            let Some(context) = &e.answer else { return Err(Refusal::from(&e.reason)) };
            return failure(context, e.fail_info(), &asked.keys.ra.1);
        }
    };
    // Renewal is not offered (GetCACaps), since no one here can say whose certificate signed it.
    if opened.message_type != MessageType::PkcsReq {
        return failure(&opened.context, FailInfo::BadRequest, asked.keys.ra_of(number));
    }
    let request = SealedRequest {
        challenge: opened.csr.challenge.clone().unwrap_or_else(|| Zeroizing::new(String::new())),
        csr: opened.csr_der,
    };
    let sealed = seal::to::seal_auth(
        sender,
        &PublicKey(statement.order_key.0),
        seal::to::INFO_SCEP,
        b"",
        &request.to_bytes(),
        asked.rng,
    )
    .map_err(|e| {
        tracing::error!(error = %e, "a SCEP request could not be sealed");
        Refusal::later("sealing_failed")
    })?;
    // Whoever asked one RA is answered by it.
    let context = [number.to_be_bytes().as_slice(), &opened.context.to_bytes()].concat();
    Ok(What::ScepOpened(proto::ScepOpened { context, sealed }))
}

/// Wraps the vault's answer for whoever asked.
pub(crate) fn answer(answer: &proto::ScepAnswer, asked: &Asked<'_>) -> Result<What, Refusal> {
    let (number, context) = answer.context.split_first_chunk::<4>().ok_or(Refusal::bad("unknown_request"))?;
    let context = Context::from_bytes(context).ok_or(Refusal::bad("unknown_request"))?;
    let ra = asked.keys.ra_of(u32::from_be_bytes(*number));
    if answer.certificate.is_empty() {
        return failure(&context, fail_info(answer.refusal), ra);
    }
    let chain: [&[u8]; 1] = [asked.ca_certificate];
    scep::response::success(&context, &answer.certificate, &chain, ra, &SystemRandom)
        .map(|b| body(scep::PKI_MESSAGE_TYPE, b))
        .map_err(|e| ours(&e))
}

fn failure(context: &Context, info: FailInfo, ra: &RaKey) -> Result<What, Refusal> {
    scep::response::failure(context, info, ra, &SystemRandom)
        .map(|b| body(scep::PKI_MESSAGE_TYPE, b))
        .map_err(|e| ours(&e))
}

fn ours(error: &impl std::fmt::Display) -> Refusal {
    tracing::error!(%error, "a SCEP answer could not be made");
    Refusal::later("scep_failed")
}

/// Why the vault gives no certificate, in RFC 8894's few words.
fn fail_info(refusal: u32) -> FailInfo {
    let refusal = u16::try_from(refusal).ok().and_then(VaultRefusal::from_number);
    match refusal {
        Some(VaultRefusal::BadCertificateRequest) => FailInfo::BadAlg,
        Some(VaultRefusal::CannotOpen | VaultRefusal::BadSealedArguments) => FailInfo::BadMessageCheck,
        _ => FailInfo::BadRequest,
    }
}
