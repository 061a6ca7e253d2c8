//! What can go wrong for a phone, and at which step of its life.

use std::fmt;

/// Where in a phone's life something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// TCP and TLS.
    Connect,
    /// GET of the invitation link, and reading the profile.
    Profile,
    /// Making the RSA key.
    Key,
    /// SCEP `GetCACaps`.
    CaCaps,
    /// SCEP `GetCACert`.
    CaCert,
    /// SCEP `PKIOperation`.
    Certificate,
    /// Check-in `Authenticate`.
    Authenticate,
    /// Check-in `TokenUpdate`.
    TokenUpdate,
    /// Reports and commands.
    Conversation,
    /// Check-in `CheckOut`.
    CheckOut,
}

impl Step {
    /// The step's name in summaries.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Profile => "profile",
            Self::Key => "key",
            Self::CaCaps => "ca_caps",
            Self::CaCert => "ca_cert",
            Self::Certificate => "certificate",
            Self::Authenticate => "authenticate",
            Self::TokenUpdate => "token_update",
            Self::Conversation => "conversation",
            Self::CheckOut => "check_out",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What was wrong, grouped by who is at fault. Holds nothing that a server or a person said.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The operator's: the trust anchor.
    #[error("the trust anchor was refused: {0}; give the CA's or the server's certificate as PEM or DER")]
    Anchor(&'static str),
    /// The operator's: the invitation link, or a URL in the profile.
    #[error("the URL was refused: {0}")]
    Url(&'static str),
    /// The operator's: a kept fleet, which is not one, or not whole.
    #[error("the kept fleet was refused: {0}; enrol a new one")]
    Kept(&'static str),
    /// The network's: no connection.
    #[error("no connection: {0}")]
    Io(#[from] std::io::Error),
    /// The network's or the server's: the connection ended in the midst of an answer, or before it.
    #[error("the connection ended before the answer did")]
    Ended,
    /// The network's or the server's: no answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The server's: its certificate or its TLS.
    #[error("TLS failed: {0}")]
    Tls(rustls::Error),
    /// The server's: an answer that isn't HTTP/1.1, or larger than is read.
    #[error("the answer was refused: {0}")]
    Http(&'static str),
    /// The server's: another status than the step needs.
    #[error("the server answered {0}")]
    Status(u16),
    /// The server's: the profile.
    #[error("the profile was refused: {0}")]
    Profile(apple::Malformed),
    /// The server's: the profile's signature, or a certificate's.
    #[error("a signature was refused: {0}")]
    Signature(apple::cms::CmsError),
    /// The server's: something in SCEP is not as RFC 8894 or the profile says.
    #[error("SCEP failed: {0}")]
    Scep(&'static str),
    /// The server's: the certificate was refused (RFC 8894 `failInfo`, if it gave one).
    #[error("the certificate was refused (failInfo {0:?})")]
    Refused(Option<apple::scep::FailInfo>),
    /// The server's: the command.
    #[error("the command can't be read: {0}")]
    Command(apple::Malformed),
    /// The server's: more commands in one conversation than a phone is ready to obey.
    #[error("the conversation didn't end after {0} commands")]
    Endless(u32),
    /// The caller's: the phone isn't in the state for this.
    #[error("the phone can't do this now: {0}")]
    State(&'static str),
    /// Ours: a key, or the random numbers.
    #[error("a key failed: {0}")]
    Key(#[from] apple::x509::X509Error),
    /// Ours: a property list that couldn't be written, a thread that died.
    #[error("the simulator failed: {0}")]
    Own(&'static str),
}

impl From<rustls::Error> for Fault {
    fn from(e: rustls::Error) -> Self {
        Self::Tls(e)
    }
}

impl Fault {
    /// A closed word for it, for counting.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Anchor(_) => "anchor",
            Self::Url(_) => "url",
            Self::Kept(_) => "kept",
            Self::Io(_) => "io",
            Self::Ended => "ended",
            Self::Timeout => "timeout",
            Self::Tls(_) => "tls",
            Self::Http(_) => "http",
            Self::Status(400) => "status_400",
            Self::Status(401) => "status_401",
            Self::Status(403) => "status_403",
            Self::Status(404) => "status_404",
            Self::Status(410) => "status_410",
            Self::Status(413) => "status_413",
            Self::Status(429) => "status_429",
            Self::Status(500) => "status_500",
            Self::Status(502) => "status_502",
            Self::Status(503) => "status_503",
            Self::Status(_) => "status_other",
            Self::Profile(_) => "profile",
            Self::Signature(_) => "signature",
            Self::Scep(_) => "scep",
            Self::Refused(_) => "refused",
            Self::Command(_) => "command",
            Self::Endless(_) => "endless",
            Self::State(_) => "state",
            Self::Key(_) => "key",
            Self::Own(_) => "own",
        }
    }

    /// The same, at a step.
    #[must_use]
    pub fn at(self, step: Step) -> Failure {
        Failure { step, fault: self }
    }
}

/// What went wrong, and where.
#[derive(Debug)]
pub struct Failure {
    /// The step it happened at.
    pub step: Step,
    /// What was wrong.
    pub fault: Fault,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.fault)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.fault)
    }
}
