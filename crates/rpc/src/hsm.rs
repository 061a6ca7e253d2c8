//! The wall around the process that speaks to a PKCS#11 token (crate `hsm`), where the house has one.
//!
//! Two ways lead to it. The supervisor's control pair ([`ToHsm`], [`ToSupervisor`]): by it each room's secret for
//! [`crate::at_rest`] goes from the token into a pipe of which the supervisor has given the other end to the room, so
//! that it passes nobody else. And the vault's stream: a closed set of questions ([`Ask`]), each frame a length (4
//! bytes, big endian) and CBOR. The vault believes no signature that it has not verified.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use aws_lc_rs::signature::{ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// The most bytes of a frame.
const LARGEST_BYTES: usize = 64 << 10;
/// A token that takes longer is as good as gone. Before the supervisor's patience with a room ends.
const PATIENCE: Duration = Duration::from_secs(15);

/// What the supervisor says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum ToHsm {
    /// The first message; the PIN comes with it (one descriptor), but for [`Make::Look`].
    Start {
        /// Which token, and what the kernel lets the process do.
        config: Start,
    },
    /// The answer to [`ToSupervisor::Making`]: the supervisor has noted it.
    Make,
    /// Write this room's secret into the pipe that comes with the message (one descriptor).
    Unlock {
        /// The room's name.
        room: String,
    },
    /// Answer the vault over the stream that comes with the message (one descriptor).
    Vault,
    /// Answer with [`ToSupervisor::Alive`], from where the token is spoken to.
    Ping,
}

/// Which token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The PKCS#11 module, a shared library.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// What the labels of the house's keys on it begin with.
    pub keys: String,
    /// Whether keys are made.
    pub make: Make,
    /// As the crate `sandbox` reads it.
    pub sandbox: serde_json::Value,
}

/// Whether keys are made on the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Make {
    /// They have to be there.
    No,
    /// A first start: they must not be there yet.
    New,
    /// A first start that was broken off has perhaps made some of them; nobody was told of those.
    GoOn,
    /// Nothing is opened, no PIN given: only whether the token is there and can do what is needed. The process ends then.
    Look,
}

/// What the process says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum ToSupervisor {
    /// There are no keys of these names, and they are made once [`ToHsm::Make`] comes.
    Making,
    /// The token is open.
    Ready,
    /// It can't start or go on.
    Failed {
        /// What happened, to which thing, what to do.
        why: String,
        /// The token has refused the PIN: it must not be tried again before somebody has looked, since tokens lock
        /// themselves after a few.
        pin_refused: bool,
    },
    /// The answer to [`ToHsm::Ping`].
    Alive,
}

/// What the vault asks.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Ask {
    /// The public halves.
    #[n(0)]
    Publics,
    /// A signature with the root key.
    #[n(1)]
    SignRoot(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// A signature with the CA's key.
    #[n(2)]
    SignCa(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// The public half of a later CA's key, by its number.
    #[n(3)]
    LaterCa(#[n(0)] u32),
    /// The same, made first if it is not there.
    #[n(4)]
    MakeLaterCa(#[n(0)] u32),
    /// A signature with a later CA's key.
    #[n(5)]
    SignLaterCa(#[n(0)] u32, #[cbor(n(1), with = "minicbor::bytes")] Vec<u8>),
    /// The public half of a root key that took the installation's place, by its number.
    #[n(6)]
    LaterRoot(#[n(0)] u32),
    /// The same, made first if it is not there.
    #[n(7)]
    MakeLaterRoot(#[n(0)] u32),
    /// A signature with a later root key.
    #[n(8)]
    SignLaterRoot(#[n(0)] u32, #[cbor(n(1), with = "minicbor::bytes")] Vec<u8>),
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Answer {
    /// To [`Ask::Publics`].
    #[n(0)]
    Publics(#[n(0)] Publics),
    /// To what asks for a signature.
    #[n(1)]
    Signature(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// The token did not do it; the process ends after this.
    #[n(2)]
    Failed(#[n(0)] String),
    /// To [`Ask::LaterCa`] and [`Ask::MakeLaterCa`].
    #[n(3)]
    Ca(#[n(0)] CaPublic),
    /// To [`Ask::LaterRoot`] and [`Ask::MakeLaterRoot`].
    #[n(4)]
    Root(#[cbor(n(0), with = "minicbor::bytes")] [u8; 32]),
}

/// The public half of a CA's key on the token.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CaPublic {
    /// The RSA modulus, big endian, without leading zeros.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub modulus: Vec<u8>,
    /// The exponent, the same.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub exponent: Vec<u8>,
}

/// The public halves of what signs on the token.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Publics {
    /// The root key: Ed25519.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub root: [u8; 32],
    /// The CA's RSA modulus, big endian.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub ca_modulus: Vec<u8>,
    /// And its exponent.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub ca_exponent: Vec<u8>,
}

/// Writes one frame.
///
/// # Errors
/// When the other end is gone.
pub fn write_frame<M: Encode<()>>(stream: &mut impl Write, message: &M) -> io::Result<()> {
    let body = order::encode(message);
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    if body.len() > LARGEST_BYTES {
        return Err(io::Error::other("what is to be signed is larger than 64 KiB"));
    }
    // At once: neither end then waits for the rest of a frame.
    stream.write_all(&[length.to_be_bytes().as_slice(), &body].concat())
}

/// Reads one frame. `None`: the other end is gone.
///
/// # Errors
/// When it is too long, cut, or none.
pub fn read_frame<M: for<'b> Decode<'b, ()>>(stream: &mut impl Read) -> io::Result<Option<M>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
    if length > LARGEST_BYTES {
        return Err(io::Error::other("a frame is larger than 64 KiB"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let message =
        minicbor::decode(&body).map_err(|_| io::Error::other("a frame is no message of this wall"))?;
    Ok(Some(message))
}

/// The token, as the vault sees it.
#[derive(Debug)]
pub struct Hsm {
    /// `None` once it has failed: an answer that comes too late would be taken for the next one's.
    stream: Mutex<Option<UnixStream>>,
    publics: Publics,
}

static OF_THIS_PROCESS: OnceLock<Hsm> = OnceLock::new();

/// The token of this process, if it was handed one.
#[must_use]
pub fn of_this_process() -> Option<&'static Hsm> {
    OF_THIS_PROCESS.get()
}

/// Takes the stream that the supervisor handed the vault; once, and before the sandbox, in which no timeout is set.
///
/// # Errors
/// When the token's process does not answer.
pub fn connect(stream: Option<OwnedFd>) -> io::Result<()> {
    let Some(stream) = stream else { return Ok(()) };
    let hsm = Hsm::open(UnixStream::from(stream))?;
    OF_THIS_PROCESS.set(hsm).map_err(|_| io::Error::other("the token was handed in twice"))
}

impl Hsm {
    /// Asks for the public halves.
    ///
    /// # Errors
    /// When the token's process does not answer, or not with keys.
    pub fn open(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let none = Publics { root: [0; 32], ca_modulus: Vec::new(), ca_exponent: Vec::new() };
        let mut hsm = Self { stream: Mutex::new(Some(stream)), publics: none };
        hsm.publics = match hsm.ask(&Ask::Publics)? {
            Answer::Publics(publics) => publics,
            other => return Err(unexpected(other)),
        };
        Ok(hsm)
    }

    /// The public halves.
    #[must_use]
    pub fn publics(&self) -> &Publics {
        &self.publics
    }

    /// The root key's signature (Ed25519, 64 bytes), verified.
    ///
    /// # Errors
    /// When the token does not sign, or not with that key: it is asked no more then.
    pub fn sign_root(&self, message: &[u8]) -> io::Result<Vec<u8>> {
        let signature = self.signature(&Ask::SignRoot(message.to_vec()))?;
        self.believed_root(&self.publics.root, message, signature)
    }

    /// The public half of a later root key (32 bytes); `make`: it is made first if it is not there.
    ///
    /// # Errors
    /// When the token has it not, or does not make it.
    pub fn later_root(&self, number: u32, make: bool) -> io::Result<[u8; 32]> {
        let ask = if make { Ask::MakeLaterRoot(number) } else { Ask::LaterRoot(number) };
        match self.ask(&ask)? {
            Answer::Root(public) => Ok(public),
            other => Err(unexpected(other)),
        }
    }

    /// A later root key's signature, verified with `public`.
    ///
    /// # Errors
    /// As [`Hsm::sign_root`].
    pub fn sign_later_root(&self, number: u32, public: &[u8; 32], message: &[u8]) -> io::Result<Vec<u8>> {
        let signature = self.signature(&Ask::SignLaterRoot(number, message.to_vec()))?;
        self.believed_root(public, message, signature)
    }

    fn believed_root(&self, public: &[u8; 32], message: &[u8], signature: Vec<u8>) -> io::Result<Vec<u8>> {
        let fits = UnparsedPublicKey::new(&ED25519, public).verify(message, &signature).is_ok();
        self.believed(signature, fits)
    }

    /// The CA's signature (RSASSA-PKCS1-v1_5 with SHA-256), verified.
    ///
    /// # Errors
    /// As [`Hsm::sign_root`].
    pub fn sign_ca(&self, message: &[u8]) -> io::Result<Vec<u8>> {
        let signature = self.signature(&Ask::SignCa(message.to_vec()))?;
        let key = RsaPublicKeyComponents { n: &self.publics.ca_modulus, e: &self.publics.ca_exponent };
        let fits = key.verify(&RSA_PKCS1_2048_8192_SHA256, message, &signature).is_ok();
        self.believed(signature, fits)
    }

    /// The public half of a later CA's key; `make`: it is made first if it is not there.
    ///
    /// # Errors
    /// When the token has it not, or does not make it.
    pub fn later_ca(&self, number: u32, make: bool) -> io::Result<CaPublic> {
        let ask = if make { Ask::MakeLaterCa(number) } else { Ask::LaterCa(number) };
        match self.ask(&ask)? {
            Answer::Ca(public) => Ok(public),
            other => Err(unexpected(other)),
        }
    }

    /// A later CA's signature, verified with `public`.
    ///
    /// # Errors
    /// As [`Hsm::sign_root`].
    pub fn sign_later_ca(&self, number: u32, public: &CaPublic, message: &[u8]) -> io::Result<Vec<u8>> {
        let signature = self.signature(&Ask::SignLaterCa(number, message.to_vec()))?;
        let key = RsaPublicKeyComponents { n: &public.modulus, e: &public.exponent };
        let fits = key.verify(&RSA_PKCS1_2048_8192_SHA256, message, &signature).is_ok();
        self.believed(signature, fits)
    }

    fn believed(&self, signature: Vec<u8>, fits: bool) -> io::Result<Vec<u8>> {
        if fits {
            return Ok(signature);
        }
        *self.stream.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Err(io::Error::other("the token's signature does not verify with the key that it named"))
    }

    fn signature(&self, ask: &Ask) -> io::Result<Vec<u8>> {
        match self.ask(ask)? {
            Answer::Signature(signature) => Ok(signature),
            other => Err(unexpected(other)),
        }
    }

    fn ask(&self, ask: &Ask) -> io::Result<Answer> {
        let mut held = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = || io::Error::other("the token's process is gone; see its lines in the log");
        let mut stream = held.take().ok_or_else(gone)?;
        let said = |e: io::Error| match e.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                io::Error::other(format!("the token did not answer within {} s", PATIENCE.as_secs()))
            }
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => gone(),
            _ => e,
        };
        write_frame(&mut stream, ask).map_err(said)?;
        let answer = read_frame(&mut stream).map_err(said)?;
        let answer = answer.ok_or_else(gone)?;
        *held = Some(stream);
        Ok(answer)
    }
}

fn unexpected(answer: Answer) -> io::Error {
    match answer {
        Answer::Failed(why) => io::Error::other(why),
        _ => io::Error::other("the token's process answered something else"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    /// A token's process that answers as it is told.
    fn answering(answers: Vec<Answer>) -> UnixStream {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        std::thread::spawn(move || {
            for answer in answers {
                let _: Ask = read_frame(&mut theirs).unwrap().unwrap();
                write_frame(&mut theirs, &answer).unwrap();
            }
        });
        ours
    }

    fn publics(root: &Ed25519KeyPair) -> Answer {
        let root = root.public_key().as_ref().try_into().unwrap();
        Answer::Publics(Publics { root, ca_modulus: vec![0xc1; 384], ca_exponent: vec![1, 0, 1] })
    }

    #[test]
    fn a_signature_that_does_not_verify_is_not_believed_and_nothing_is_asked_after_it() {
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let signed = |text: &[u8]| Answer::Signature(key.sign(text).as_ref().to_vec());
        let hsm =
            Hsm::open(answering(vec![publics(&key), signed(b"this"), signed(b"that"), signed(b"this")]));
        let hsm = hsm.unwrap();
        assert_eq!(hsm.sign_root(b"this").unwrap(), key.sign(b"this").as_ref());
        assert!(hsm.sign_root(b"this").unwrap_err().to_string().contains("does not verify"));
        assert!(hsm.sign_root(b"this").unwrap_err().to_string().contains("is gone"));

        let hsm = Hsm::open(answering(vec![publics(&key), signed(b"this")])).unwrap();
        assert!(hsm.sign_ca(b"this").unwrap_err().to_string().contains("does not verify"));
    }

    #[test]
    fn a_token_that_fails_or_is_gone_is_said_so() {
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let hsm = Hsm::open(answering(vec![publics(&key), Answer::Failed("made up".into())])).unwrap();
        assert_eq!(hsm.sign_root(b"x").unwrap_err().to_string(), "made up");
        assert!(hsm.sign_root(b"x").is_err());
        assert!(Hsm::open(answering(vec![Answer::Signature(vec![1])])).is_err());
        assert!(Hsm::open(answering(Vec::new())).unwrap_err().to_string().contains("gone"));
    }

    #[test]
    fn a_frame_is_bounded_and_nothing_but_a_message_is_read() {
        let mut frame = Vec::new();
        write_frame(&mut frame, &Ask::SignRoot(b"x".to_vec())).unwrap();
        assert_eq!(read_frame::<Ask>(&mut frame.as_slice()).unwrap(), Some(Ask::SignRoot(b"x".to_vec())));
        for at in 4..frame.len() {
            assert!(read_frame::<Ask>(&mut &frame[..at]).is_err(), "cut at {at}");
        }
        assert_eq!(read_frame::<Ask>(&mut [].as_slice()).unwrap(), None);
        assert!(read_frame::<Ask>(&mut [0, 1, 0, 1].as_slice()).unwrap_err().to_string().contains("64 KiB"));
        assert!(write_frame(&mut Vec::new(), &Ask::SignCa(vec![0; LARGEST_BYTES])).is_err());
    }
}
