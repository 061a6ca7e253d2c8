//! Enrolment: from the invitation link to `TokenUpdate`.

use crate::answer::{Installed, read_profile};
use crate::http::{Connection, Response};
use crate::keys::{KeyPool, PhoneKey};
use crate::network::{Network, https};
use crate::phone::{Identity, Phone, State, target};
use crate::scep;
use crate::{Failure, Fault, Step};
use apple::profile::ReadEnrolment;
use apple::scep::client::{self, Answer, Request};
use apple::x509::{
    Algorithms, Certificate, Signer as _, SystemRandom, Window, self_signed_request_certificate,
};
use apple::{cms, csr};
use aws_lc_rs::digest;
use base64::Engine as _;
use http::Uri;
use model::Clock;
use model::clock::DAY_MS;

/// What the phone would show about who signed the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProfileTrust {
    /// Signed by a certificate below an anchor: *Verified*.
    Verified,
    /// Signed by somebody else: *Not Verified*.
    NotVerified,
    /// Not signed at all.
    Unsigned,
}

/// A finished enrolment.
#[derive(Debug)]
pub struct Enrolled {
    /// Open, with the phone's certificate: the first conversation may follow on it.
    pub connection: Connection,
    /// Who signed the profile; None when an earlier try had read it.
    pub profile: Option<ProfileTrust>,
}

impl Phone {
    /// Enrols by an invitation link, up to and including `TokenUpdate`.
    ///
    /// A try that failed may be repeated: it goes on with the same key and, if it has one, the certificate.
    ///
    /// # Errors
    /// [`Failure`] with the step; [`Fault::State`] unless the phone is [`State::New`].
    pub async fn enrol(
        &mut self,
        link: &str,
        network: &Network,
        keys: &KeyPool,
        clock: &dyn Clock,
    ) -> Result<Enrolled, Failure> {
        if self.state != State::New {
            return Err(Fault::State("it is enrolled, or was").at(Step::Profile));
        }
        let mut profile = None;
        if self.identity.is_none() {
            profile = Some(self.get_identity(link, network, keys, clock).await?);
        }
        let handset = self.handset();
        let mut connection = self.connect().await?;
        if !self.identity()?.authenticated {
            let message = self.authenticate_message(&handset);
            self.check_in(&mut connection, message, Step::Authenticate).await?;
            self.identity()?.authenticated = true;
        }
        let mut message = self.token_message(&handset);
        message.insert("UnlockToken".to_owned(), plist::Value::Data(self.unlock_token()));
        self.check_in(&mut connection, message, Step::TokenUpdate).await?;
        self.state = State::Enrolled;
        Ok(Enrolled { connection, profile })
    }

    /// Profile, key, SCEP.
    async fn get_identity(
        &mut self,
        link: &str,
        network: &Network,
        keys: &KeyPool,
        clock: &dyn Clock,
    ) -> Result<ProfileTrust, Failure> {
        let url = https(link).map_err(|f| f.at(Step::Profile))?;
        let mut line = Line { network: network.clone(), open: None };
        let answer = line.get(&url, target(&url), Step::Profile).await?;
        let (read, installed, trust) = open_profile(&answer, network).map_err(|f| f.at(Step::Profile))?;

        let key = match &self.key {
            Some(key) => key.clone(),
            None => {
                let key = keys.take().await.map_err(|f| f.at(Step::Key))?;
                self.key.insert(key).clone()
            }
        };
        line.network = network.and_trusting(&read.roots_der).map_err(|f| f.at(Step::Profile))?;
        let scep_url = https(&read.scep_url).map_err(|f| f.at(Step::Profile))?;
        let certificate = self.get_certificate(&mut line, &scep_url, &read, &key, clock).await?;

        let in_profile = |url: &str| https(url).map_err(|f| f.at(Step::Profile));
        let name =
            Certificate::parse(&certificate).ok().and_then(|cert| cert.common_name().map(str::to_owned));
        self.identity = Some(Box::new(Identity {
            key,
            certificate: certificate.into(),
            enrolment: name.and_then(|name| name.parse().ok()),
            authenticated: false,
            server: in_profile(&read.server_url)?,
            check_in: in_profile(&read.check_in_url)?,
            topic: read.topic.into(),
            network: line.network,
            tls: None,
            sign_messages: read.sign_message,
        }));
        self.life.profiles = vec![installed];
        Ok(trust)
    }

    /// Fetches another certificate, for a new key, as an update of its enrolment profile asks: the server, its
    /// topic and the enrolment stay what they are, since Apple freezes them.
    pub(crate) async fn renew_identity(&mut self, profile: &[u8], clock: &dyn Clock) -> Result<(), Failure> {
        let network = self.identity()?.network.clone();
        let (read, _, trust) = read_enrolment(profile, &network).map_err(|f| f.at(Step::Profile))?;
        let identity = self.identity()?;
        let same = https(&read.server_url).is_ok_and(|url| url == identity.server)
            && https(&read.check_in_url).is_ok_and(|url| url == identity.check_in)
            && *read.topic == *identity.topic;
        if !same || trust == ProfileTrust::NotVerified {
            return Err(Fault::State("the profile is no update of its own").at(Step::Profile));
        }
        let key = tokio::task::spawn_blocking(PhoneKey::make)
            .await
            .map_err(|_| Fault::Own("a thread that makes keys died"))
            .and_then(|made| made)
            .map_err(|f| f.at(Step::Key))?;
        // The profile may bring another root.
        let network = network.and_trusting(&read.roots_der).map_err(|f| f.at(Step::Profile))?;
        let mut line = Line { network, open: None };
        let scep_url = https(&read.scep_url).map_err(|f| f.at(Step::Profile))?;
        let certificate = self.get_certificate(&mut line, &scep_url, &read, &key, clock).await?;
        let identity = self.identity()?;
        identity.network = line.network;
        identity.key = key;
        identity.certificate = certificate.into();
        // Tickets of the old certificate would bring it back.
        identity.tls = None;
        identity.sign_messages = read.sign_message;
        Ok(())
    }

    /// SCEP (RFC 8894): what the server can, whom to encrypt to, the request.
    async fn get_certificate(
        &self,
        line: &mut Line,
        url: &Uri,
        read: &ReadEnrolment,
        key: &PhoneKey,
        clock: &dyn Clock,
    ) -> Result<Vec<u8>, Failure> {
        let caps = line.get(url, &operation(url, "GetCACaps"), Step::CaCaps).await?;
        let caps = scep::read_caps(&caps.body);
        let cipher = caps.cipher(self.index).map_err(|f| f.at(Step::CaCaps))?;

        let answer = line.get(url, &operation(url, "GetCACert"), Step::CaCert).await?;
        let certs = scep::read_ca_certs(answer.content_type.as_deref().unwrap_or_default(), &answer.body);
        let certs = certs.map_err(|f| f.at(Step::CaCert))?;
        let ra_cert =
            scep::choose_ra(&certs, read.ca_fingerprint.as_deref()).map_err(|f| f.at(Step::CaCert))?;

        let common_name = read.common_name.clone().unwrap_or_else(|| "Phone".to_owned());
        let challenge = Some(read.scep_challenge.clone()).filter(|c| !c.is_empty());
        let (key, ra_cert, now_ms) = (key.clone(), ra_cert.to_vec(), clock.now_ms());
        // Three RSA operations: some 3 ms, too long for a thread that serves other phones.
        let asked = off_thread(move || {
            Asked::make(&key, ra_cert, cipher, &common_name, challenge.as_deref(), now_ms)
        });
        let asked = asked.await.map_err(|f| f.at(Step::Certificate))?;

        // Some clients only know GET, whatever is offered.
        let answer = if caps.post && self.index % 16 != 5 {
            let target = operation(url, "PKIOperation");
            line.send(
                "POST",
                url,
                &target,
                Some("application/x-pki-message"),
                &asked.message,
                Step::Certificate,
            )
            .await?
        } else {
            let message = base64::engine::general_purpose::STANDARD.encode(&asked.message);
            let message = message.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
            line.get(url, &format!("{}&message={message}", operation(url, "PKIOperation")), Step::Certificate)
                .await?
        };
        if answer.content_type.as_deref() != Some("application/x-pki-message") {
            return Err(
                Fault::Scep("PKIOperation has another content type than RFC 8894 says").at(Step::Certificate)
            );
        }
        let issued = off_thread(move || asked.read(&answer.body, now_ms));
        issued.await.map_err(|f| f.at(Step::Certificate))
    }
}

/// A SCEP request under way.
struct Asked {
    signer: apple::x509::RsaSigner,
    signer_cert: Vec<u8>,
    csr_der: Vec<u8>,
    ra_cert: Vec<u8>,
    transaction_id: String,
    sender_nonce: [u8; 16],
    cipher: apple::scep::ContentCipher,
    message: Vec<u8>,
}

impl Asked {
    fn make(
        key: &PhoneKey,
        ra_cert: Vec<u8>,
        cipher: apple::scep::ContentCipher,
        common_name: &str,
        challenge: Option<&str>,
        now_ms: model::TimeMs,
    ) -> Result<Self, Fault> {
        let signer = key.signer()?;
        let csr_der = csr::build(&signer, common_name, challenge)?;
        // The same for the same key, so that a request sent again is known as one.
        let hash = digest::digest(&digest::SHA256, signer.spki_der());
        let transaction_id: String = hash.as_ref().iter().map(|b| format!("{b:02X}")).collect();
        let mut serial = [1; 16];
        for (s, h) in serial.iter_mut().skip(1).zip(hash.as_ref()) {
            *s = *h;
        }
        let window = Window { not_before_ms: now_ms - DAY_MS, not_after_ms: now_ms + DAY_MS };
        let signer_cert = self_signed_request_certificate(&signer, common_name, serial, window)?;
        let mut sender_nonce = [0; 16];
        apple::x509::Random::fill(&SystemRandom, &mut sender_nonce)?;
        let mut asked = Self {
            signer,
            signer_cert,
            csr_der,
            ra_cert,
            transaction_id,
            sender_nonce,
            cipher,
            message: Vec::new(),
        };
        asked.message = client::pkcs_req(&asked.request(), &SystemRandom).map_err(Fault::Signature)?;
        Ok(asked)
    }

    fn request(&self) -> Request<'_> {
        Request {
            signer: &self.signer,
            signer_cert: &self.signer_cert,
            csr_der: &self.csr_der,
            ra_cert: &self.ra_cert,
            transaction_id: &self.transaction_id,
            sender_nonce: self.sender_nonce,
            cipher: self.cipher,
        }
    }

    fn read(&self, body: &[u8], now_ms: model::TimeMs) -> Result<Vec<u8>, Fault> {
        match client::open_cert_rep(body, &self.request(), &SystemRandom).map_err(Fault::Signature)? {
            Answer::Issued(certs) => scep::ours(&certs, self.signer.spki_der(), now_ms).map(<[u8]>::to_vec),
            Answer::Refused(why) => Err(Fault::Refused(why)),
            Answer::Pending => Err(Fault::Scep("the request is pending, which no phone waits for")),
        }
    }
}

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Fault::Own("a thread of a phone's died"))?
}

/// A connection without a client certificate, opened when needed and to whichever host is needed.
struct Line {
    network: Network,
    open: Option<(Uri, Connection)>,
}

impl Line {
    async fn get(&mut self, url: &Uri, target: &str, step: Step) -> Result<Response, Failure> {
        self.send("GET", url, target, None, &[], step).await
    }

    async fn send(
        &mut self,
        method: &str,
        url: &Uri,
        target: &str,
        kind: Option<&str>,
        body: &[u8],
        step: Step,
    ) -> Result<Response, Failure> {
        let kept = self.open.take().filter(|(to, open)| open.usable() && to.authority() == url.authority());
        let (mut connection, mut answer) = match kept {
            Some((_, mut connection)) => {
                let answer = connection.request(method, target, kind, body).await;
                (connection, answer)
            }
            None => self.fresh(method, url, target, kind, body).await?,
        };
        // A server may close a kept connection while the phone makes its key: once more, on a new one.
        // Nothing that is sent here does harm when it comes twice.
        if matches!(answer, Err(Fault::Ended | Fault::Io(_))) {
            (connection, answer) = self.fresh(method, url, target, kind, body).await?;
        }
        let answer = answer.map_err(|f| f.at(step))?;
        self.open = Some((url.clone(), connection));
        match answer.status {
            200 => Ok(answer),
            status => Err(Fault::Status(status).at(step)),
        }
    }
}

impl Line {
    async fn fresh(
        &self,
        method: &str,
        url: &Uri,
        target: &str,
        kind: Option<&str>,
        body: &[u8],
    ) -> Result<(Connection, Result<Response, Fault>), Failure> {
        let tls = self.network.tls(None).map_err(|f| f.at(Step::Connect))?;
        let mut connection = self.network.connect(url, tls).await?;
        let answer = connection.request(method, target, kind, body).await;
        Ok((connection, answer))
    }
}

/// The request target for a SCEP operation.
fn operation(url: &Uri, operation: &str) -> String {
    let join = if url.query().is_some() { '&' } else { '?' };
    format!("{}{join}operation={operation}", target(url))
}

/// Unwraps, verifies and reads the enrolment profile.
fn open_profile(
    answer: &Response,
    network: &Network,
) -> Result<(ReadEnrolment, Installed, ProfileTrust), Fault> {
    if answer.content_type.as_deref() != Some("application/x-apple-aspen-config") {
        return Err(Fault::Http("its content type isn't a profile's"));
    }
    read_enrolment(&answer.body, network)
}

/// The same from its bytes.
fn read_enrolment(
    profile: &[u8],
    network: &Network,
) -> Result<(ReadEnrolment, Installed, ProfileTrust), Fault> {
    let mut trust = ProfileTrust::Unsigned;
    let unwrapped;
    let mut content = profile;
    if content.first() == Some(&0x30) {
        unwrapped = cms::unwrap_signed(content).map_err(Fault::Signature)?;
        let signer =
            cms::verify_detached(content, &unwrapped, Algorithms::Strong).map_err(Fault::Signature)?;
        trust =
            if is_anchored(&signer, network) { ProfileTrust::Verified } else { ProfileTrust::NotVerified };
        content = &unwrapped;
    }
    let read = apple::profile::parse(content).map_err(Fault::Profile)?;
    if read.key_size_bits != 2048 {
        return Err(Fault::Scep("the profile asks for a key of another size than 2048 bits"));
    }
    let installed = read_profile(content).map_err(Fault::Profile)?;
    Ok((read, installed, trust))
}

fn is_anchored(signer: &[u8], network: &Network) -> bool {
    let Ok(signer_cert) = Certificate::parse(signer) else { return false };
    network.anchors().any(|anchor| {
        anchor == signer || Certificate::parse(anchor).is_ok_and(|ca| signer_cert.is_issued_by(&ca))
    })
}
