//! A mail relay on loopback, strict: TLS or nothing, RFC 5321's order, CRLF, short lines; with the faults that a
//! client has to survive.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// RFC 5321, 4.5.3.1.4 and 4.5.3.1.6, with the line's end.
const MOST_COMMAND_BYTES: usize = 512;
const MOST_TEXT_BYTES: usize = 1_000;

/// How the relay is set.
#[derive(Debug, Clone, Default)]
pub struct Relay {
    /// TLS from the first byte; else by `STARTTLS`.
    pub implicit: bool,
    /// Name, password, and the mechanisms that are offered for them.
    pub wants: Option<(String, String, Vec<&'static str>)>,
    /// Addresses that get `550 5.1.1`.
    pub refuses: Vec<String>,
    /// Says nothing of `STARTTLS`, as if someone in between had taken it out.
    pub strips_starttls: bool,
    /// Sends further replies behind `220` to `STARTTLS`, in the clear, as someone in between would.
    pub injects: bool,
    /// What it answers to the mail itself; 0: `250`, and it is taken.
    pub answers_mail: Arc<std::sync::atomic::AtomicU16>,
}

/// A mail that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// `MAIL FROM`.
    pub from: String,
    /// Each `RCPT TO`.
    pub to: Vec<String>,
    /// Head and body, without the dots that the way adds.
    pub text: String,
    /// Who signed in.
    pub user: Option<String>,
}

/// The running relay.
#[derive(Debug, Clone)]
pub struct Smtp {
    /// Its port on `localhost`.
    pub port: u16,
    /// The anchor to trust it by, PEM.
    pub ca_pem: String,
    came: Arc<Mutex<Vec<Mail>>>,
    wrongs: Arc<Mutex<Vec<String>>>,
}

impl Smtp {
    /// Starts one that runs as long as the runtime.
    ///
    /// # Errors
    /// When no certificate can be made or no port be had.
    pub async fn start(relay: Relay) -> Result<Self, std::io::Error> {
        let other = std::io::Error::other::<Box<dyn std::error::Error + Send + Sync>>;
        let made =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(|e| other(e.into()))?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|b| b.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key))
            .map_err(|e| other(e.into()))?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let smtp = Self {
            port: listener.local_addr()?.port(),
            ca_pem: made.cert.pem(),
            came: Arc::default(),
            wrongs: Arc::default(),
        };
        let (serving, tls) = (smtp.clone(), TlsAcceptor::from(Arc::new(config)));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (smtp, relay, tls) = (serving.clone(), relay.clone(), tls.clone());
                tokio::spawn(async move {
                    // A client that goes away ends its conversation, nothing more.
                    let _ = smtp.serve(tcp, &relay, &tls).await;
                });
            }
        });
        Ok(smtp)
    }

    /// What was taken so far.
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        self.came.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a client did that the RFCs don't have.
    #[must_use]
    pub fn wrongs(&self) -> Vec<String> {
        self.wrongs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn wrong(&self, what: impl Into<String>) {
        self.wrongs.lock().unwrap_or_else(PoisonError::into_inner).push(what.into());
    }

    async fn serve(&self, tcp: TcpStream, relay: &Relay, tls: &TlsAcceptor) -> std::io::Result<()> {
        if relay.implicit {
            return self.talk(BufReader::new(tls.accept(tcp).await?), relay, true, true).await.map(drop);
        }
        let clear = BufReader::new(tcp);
        let Some(clear) = self.talk(clear, relay, false, true).await? else { return Ok(()) };
        if !clear.buffer().is_empty() {
            self.wrong("went on in the clear after STARTTLS");
            return Ok(());
        }
        let stream = tls.accept(clear.into_inner()).await?;
        self.talk(BufReader::new(stream), relay, true, false).await.map(drop)
    }

    /// The conversation, to its end or to `STARTTLS`, after which the stream is given back.
    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut stream: BufReader<S>,
        relay: &Relay,
        over_tls: bool,
        greets: bool,
    ) -> std::io::Result<Option<BufReader<S>>> {
        if greets {
            stream.write_all(b"220 localhost ESMTP\r\n").await?;
        }
        let (mut greeted, mut user, mut from, mut to) = (false, None, None, Vec::<String>::new());
        loop {
            stream.flush().await?;
            let Some(line) = self.line(&mut stream, MOST_COMMAND_BYTES).await? else { return Ok(None) };
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let allowed = over_tls && greeted && (relay.wants.is_none() || user.is_some());
            let answer: String = match verb.as_str() {
                "EHLO" => {
                    greeted = true;
                    self.offers(relay, over_tls)
                }
                "STARTTLS" if greeted && !over_tls => {
                    let more = if relay.injects { "250 localhost\r\n250 2.0.0 ok\r\n" } else { "" };
                    stream.write_all(format!("220 go ahead\r\n{more}").as_bytes()).await?;
                    stream.flush().await?;
                    return Ok(Some(stream));
                }
                "AUTH" if over_tls && greeted && user.is_none() => {
                    let (name, password) = self.credentials(&mut stream, &line).await?;
                    let known = relay.wants.as_ref().is_some_and(|(n, p, _)| (n, p) == (&name, &password));
                    user = known.then_some(name);
                    if known { "235 2.7.0 ok".into() } else { "535 5.7.8 no".into() }
                }
                "MAIL" if allowed && from.is_none() => {
                    from = between(&line, "MAIL FROM:<");
                    if from.is_some() { "250 2.1.0 ok".into() } else { "501 5.5.4 what".into() }
                }
                "RCPT" if from.is_some() => match between(&line, "RCPT TO:<") {
                    Some(address) if relay.refuses.contains(&address) => {
                        format!("550 5.1.1 <{address}>: nobody here")
                    }
                    Some(address) => {
                        to.push(address);
                        "250 2.1.5 ok".into()
                    }
                    None => "501 5.5.4 what".into(),
                },
                "DATA" if !to.is_empty() => {
                    stream.write_all(b"354 go on\r\n").await?;
                    stream.flush().await?;
                    let Some(text) = self.text(&mut stream).await? else { return Ok(None) };
                    let mail = Mail {
                        from: from.take().unwrap_or_default(),
                        to: std::mem::take(&mut to),
                        text,
                        user: user.clone(),
                    };
                    match relay.answers_mail.load(std::sync::atomic::Ordering::SeqCst) {
                        0 => {
                            self.came.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
                            "250 2.0.0 queued".into()
                        }
                        code => format!("{code} not now"),
                    }
                }
                "QUIT" => {
                    stream.write_all(b"221 bye\r\n").await?;
                    stream.flush().await?;
                    return Ok(None);
                }
                _ => {
                    self.wrong(format!("{verb} where it does not belong"));
                    "503 5.5.1 not now".into()
                }
            };
            stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
        }
    }

    fn offers(&self, relay: &Relay, over_tls: bool) -> String {
        let mut lines = vec!["localhost".to_owned(), "SIZE 10240000".to_owned()];
        if !over_tls && !relay.strips_starttls {
            lines.push("STARTTLS".into());
        }
        if let (true, Some((_, _, mechanisms))) = (over_tls, &relay.wants) {
            lines.push(format!("AUTH {}", mechanisms.join(" ")));
        }
        let last = lines.len() - 1;
        let with = |(n, line): (usize, &String)| format!("250{}{line}", if n == last { ' ' } else { '-' });
        lines.iter().enumerate().map(with).collect::<Vec<_>>().join("\r\n")
    }

    async fn credentials<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut BufReader<S>,
        line: &str,
    ) -> std::io::Result<(String, String)> {
        let read =
            |text: &str| String::from_utf8(STANDARD.decode(text).unwrap_or_default()).unwrap_or_default();
        if let Some(response) = line.strip_prefix("AUTH PLAIN ") {
            let all = read(response);
            let mut parts = all.split('\0').skip(1).map(str::to_owned);
            return Ok((parts.next().unwrap_or_default(), parts.next().unwrap_or_default()));
        }
        let mut said = Vec::new();
        for question in ["Username:", "Password:"] {
            stream.write_all(format!("334 {}\r\n", STANDARD.encode(question)).as_bytes()).await?;
            stream.flush().await?;
            said.push(read(&self.line(stream, MOST_COMMAND_BYTES).await?.unwrap_or_default()));
        }
        let password = said.pop().unwrap_or_default();
        Ok((said.pop().unwrap_or_default(), password))
    }

    /// A line without its end; `None` at the connection's end.
    async fn line<S: AsyncRead + Unpin>(
        &self,
        stream: &mut BufReader<S>,
        most: usize,
    ) -> std::io::Result<Option<String>> {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Ok(None);
        }
        if line.len() > most {
            self.wrong(format!("a line of {} bytes", line.len()));
        }
        let text = line.strip_suffix(b"\r\n").filter(|l| !l.contains(&b'\r') && l.is_ascii());
        match text {
            Some(text) => Ok(Some(String::from_utf8_lossy(text).into_owned())),
            None => {
                self.wrong("a line that does not end in CRLF, or is not ASCII");
                Ok(None)
            }
        }
    }

    async fn text<S: AsyncRead + Unpin>(&self, stream: &mut BufReader<S>) -> std::io::Result<Option<String>> {
        let mut text = String::new();
        while let Some(line) = self.line(stream, MOST_TEXT_BYTES).await? {
            if line == "." {
                return Ok(Some(text));
            }
            text.push_str(line.strip_prefix('.').unwrap_or(&line));
            text.push_str("\r\n");
        }
        Ok(None)
    }
}

fn between(line: &str, before: &str) -> Option<String> {
    line.strip_prefix(before)?.strip_suffix('>').map(str::to_owned)
}
