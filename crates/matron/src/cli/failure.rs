//! What can go wrong on the command line, by who has to act, and the exit code scripts see.

use std::process::ExitCode;

/// What went wrong: what happened, to which thing, what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The person's: an argument. Exit 2.
    #[error("{0}")]
    Usage(String),
    /// The vault's no, in its words. Exit 3.
    #[error("the vault refused: {why}")]
    Refused {
        /// The reason.
        why: String,
        /// `order::Refusal`'s number.
        number: u16,
    },
    /// The order takes another person's signature, and waits for it. Exit 6.
    #[error("{why}")]
    Waits {
        /// What stood in the way, and what to do.
        why: String,
        /// The order.
        order: Option<model::OrderId>,
    },
    /// There is no such thing. Exit 4.
    #[error("{0}")]
    NotFound(String),
    /// The server, or its vault, does not answer. Exit 5.
    #[error("{0}")]
    Unreachable(String),
    /// The session is unknown or over; the caller makes a new one. Exit 1.
    #[error("the server does not know this session; run 'matron signin'")]
    NoSession,
    /// All else. Exit 1.
    #[error("{0}")]
    Failed(String),
}

/// Shorthand of this folder.
pub(crate) type Result<T, E = CliError> = std::result::Result<T, E>;

impl CliError {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Refused { .. } => 3,
            Self::Waits { .. } => 6,
            Self::NotFound(_) => 4,
            Self::Unreachable(_) => 5,
            Self::NoSession | Self::Failed(_) => 1,
        }
    }

    /// Tells it on standard error, as JSON where that was asked for.
    pub(crate) fn tell(&self, json: bool) -> ExitCode {
        let text = super::show::plain(&self.to_string());
        if json {
            let mut error = serde_json::json!({ "exit_code": self.code(), "message": text });
            if let (Self::Refused { number, .. }, Some(map)) = (self, error.as_object_mut()) {
                map.insert("refusal".into(), (*number).into());
            }
            if let (Self::Waits { order: Some(order), .. }, Some(map)) = (self, error.as_object_mut()) {
                map.insert("order".into(), order.to_string().into());
            }
            eprintln!("{}", serde_json::json!({ "error": error }));
        } else {
            eprintln!("matron: {text}");
        }
        ExitCode::from(self.code())
    }
}

pub(crate) fn failed(why: impl std::fmt::Display) -> CliError {
    CliError::Failed(why.to_string())
}

pub(crate) fn usage(why: impl std::fmt::Display) -> CliError {
    CliError::Usage(why.to_string())
}
