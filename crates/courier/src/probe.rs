//! Showing a certificate to Apple's push service without waking anybody: for the operator's commands.

use std::sync::Arc;
use std::time::Duration;

use model::TimeMs;
use zeroize::Zeroizing;

use crate::apns::{Apns, Sent};
use crate::identity::Identities;
use crate::opening::Opened;
use crate::{Config, Error};

const CONNECT: Duration = Duration::from_secs(10);

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The certificate's topic.
    pub topic: String,
    /// When the certificate runs out.
    pub expires_at_ms: TimeMs,
    /// What the service said.
    pub answer: ProbeAnswer,
}

/// What the service said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// It takes the certificate and its topic: it complained only of the made-up token.
    Taken,
    /// It refuses the certificate or the topic; its reason word.
    Refused(String),
    /// No connection, or no answer that says anything of the certificate; why.
    Unreachable(String),
}

/// Connects with the configured certificate and pushes to a token that no phone has (32 zero bytes). Apple
/// looks at the certificate and the topic first; only then it says `BadDeviceToken`. Writes nothing.
///
/// # Errors
/// [`Error`] when the configuration, the certificate or its key can't be used; all else is in the answer.
pub async fn probe(config: &Config, now_ms: TimeMs) -> Result<Probe, Error> {
    config.check()?;
    let identity = Arc::new(Identities::new(config).once()?);
    let apns = Apns::new(config.endpoint()?, 1, 1);
    let answer = match tokio::time::timeout(CONNECT, apns.connect(&identity)).await {
        Err(_) => ProbeAnswer::Unreachable("no connection within 10 seconds".into()),
        Ok(Err(e)) if refuses_certificate(&e) => ProbeAnswer::Refused(e.to_string()),
        Ok(Err(e)) => ProbeAnswer::Unreachable(e.to_string()),
        Ok(Ok(line)) => {
            drop(line);
            let nobody =
                Opened { token: Zeroizing::new(vec![0; 32]), magic: Zeroizing::new("nobody".into()) };
            judge(apns.send(&identity, &nobody, now_ms).await)
        }
    };
    Ok(Probe { topic: identity.topic.clone(), expires_at_ms: identity.expires_at_ms, answer })
}

/// A TLS alert about what we showed.
fn refuses_certificate(error: &std::io::Error) -> bool {
    use rustls::AlertDescription as Alert;
    let alert = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    matches!(
        alert,
        Some(rustls::Error::AlertReceived(
            Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
        ))
    )
}

fn judge(sent: Sent) -> ProbeAnswer {
    match sent {
        Sent::Accepted | Sent::Unregistered { .. } => ProbeAnswer::Taken,
        Sent::Refused { reason }
            if matches!(reason.as_str(), "BadDeviceToken" | "DeviceTokenNotForTopic") =>
        {
            ProbeAnswer::Taken
        }
        Sent::Refused { reason } => ProbeAnswer::Refused(reason),
        // With TLS 1.3 a client learns only here that its certificate was refused.
        Sent::Later { reason, .. } if reason == "ConnectionLost" => {
            ProbeAnswer::Refused("it closed the connection when the certificate was shown".into())
        }
        Sent::Later { reason, .. } => ProbeAnswer::Unreachable(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_complaint_about_the_token_says_that_the_certificate_is_taken() {
        let refused = |reason: &str| judge(Sent::Refused { reason: reason.into() });
        assert_eq!(refused("BadDeviceToken"), ProbeAnswer::Taken);
        assert_eq!(refused("BadCertificate"), ProbeAnswer::Refused("BadCertificate".into()));
        assert_eq!(refused("TopicDisallowed"), ProbeAnswer::Refused("TopicDisallowed".into()));
        let later = |reason: &str| judge(Sent::Later { reason: reason.into(), retry_after_ms: 0 });
        assert!(matches!(later("ConnectionLost"), ProbeAnswer::Refused(_)));
        assert!(matches!(later("NoAnswer"), ProbeAnswer::Unreachable(_)));
    }
}
