//! Mail to a relay: SMTP (RFC 5321) over TLS, as much as one short message to fixed recipients takes
//! (`docs/decisions/0031-mail.md` says why it is our own).
//!
//! Nothing but the greeting and `STARTTLS` is ever said in the clear, and nothing that came in the clear counts
//! afterwards. What a relay writes is never repeated: its numbers are.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use zeroize::Zeroizing;

use super::config::{AlarmsConfig, MailTls, Relay, read_password};
use super::message::Message;
use super::send::{Delivered, over_tls, reach, tls};

/// RFC 5321, 4.5.3.1.5 allows 512 octets; some say more.
const MOST_LINE_BYTES: u64 = 2_048;
const MOST_LINES: usize = 128;
/// The mail is with the relay; how long it is waited for to say good-bye.
const LEAVING: Duration = Duration::from_secs(2);

/// A reply of the relay.
struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Reply {
    /// The code, and the enhanced one (RFC 3463) where there is one.
    fn numbers(&self) -> String {
        let enhanced = self.lines.last().and_then(|l| l.split(' ').next()).filter(|word| {
            let parts: Vec<&str> = word.split('.').collect();
            let number = |p: &&str| (1..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit());
            parts.len() == 3 && parts.iter().all(number)
        });
        enhanced.map_or_else(|| self.code.to_string(), |e| format!("{} {e}", self.code))
    }

    /// What follows a keyword of the answer to `EHLO`; `None` when the relay does not offer it.
    fn offers(&self, keyword: &str) -> Option<Vec<String>> {
        self.lines.iter().skip(1).find_map(|line| {
            let mut words = line.split(' ');
            let is_it = words.next().is_some_and(|w| w.eq_ignore_ascii_case(keyword));
            is_it.then(|| words.map(str::to_ascii_uppercase).collect())
        })
    }
}

/// A conversation with the relay.
struct Talk<S> {
    host: String,
    stream: BufReader<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    fn new(host: &str, stream: S) -> Self {
        Self { host: host.to_owned(), stream: BufReader::new(stream) }
    }

    fn lost(&self, error: &std::io::Error) -> String {
        format!("{} broke the connection off: {error}", self.host)
    }

    async fn line(&mut self) -> Result<String, String> {
        let mut line = Vec::new();
        let read = (&mut self.stream).take(MOST_LINE_BYTES).read_until(b'\n', &mut line).await;
        read.map_err(|e| self.lost(&e))?;
        let text = line.strip_suffix(b"\n").map(|l| l.strip_suffix(b"\r").unwrap_or(l));
        text.map(|t| String::from_utf8_lossy(t).into_owned())
            .ok_or_else(|| format!("{} ended the connection, or said a line too long", self.host))
    }

    async fn reply(&mut self) -> Result<Reply, String> {
        let no_smtp = format!("what {} answers is no SMTP", self.host);
        let mut reply = Reply { code: 0, lines: Vec::new() };
        while reply.lines.len() < MOST_LINES {
            let line = self.line().await?;
            let (code, rest) = line.split_at_checked(3).ok_or(&no_smtp)?;
            let code: u16 = code.parse().map_err(|_| &no_smtp)?;
            if !(200..600).contains(&code) || (reply.code != 0 && reply.code != code) {
                return Err(no_smtp);
            }
            reply.code = code;
            let more = rest.starts_with('-');
            if !more && !rest.is_empty() && !rest.starts_with(' ') {
                return Err(no_smtp);
            }
            reply.lines.push(rest.get(1..).unwrap_or_default().to_owned());
            if !more {
                return Ok(reply);
            }
        }
        Err(no_smtp)
    }

    /// Says a line, or several, and hears the reply to it.
    async fn say(&mut self, text: &str) -> Result<Reply, String> {
        let all = Zeroizing::new(format!("{text}\r\n"));
        let written = async {
            self.stream.write_all(all.as_bytes()).await?;
            self.stream.flush().await
        };
        written.await.map_err(|e| self.lost(&e))?;
        self.reply().await
    }

    /// The reply, if it has this code; `what` says to what it was.
    fn expect(&self, reply: Reply, code: u16, what: &str) -> Result<Reply, String> {
        if reply.code == code {
            Ok(reply)
        } else {
            Err(format!("{} answered {} to {what}", self.host, reply.numbers()))
        }
    }

    async fn greeting(&mut self) -> Result<(), String> {
        let reply = self.reply().await?;
        self.expect(reply, 220, "the connection").map(drop)
    }

    async fn hello(&mut self, name: &str) -> Result<Reply, String> {
        let reply = self.say(&format!("EHLO {name}")).await?;
        self.expect(reply, 250, "EHLO")
    }

    async fn sign_in(&mut self, offered: &Reply, user: &str, password: &str) -> Result<(), String> {
        let mechanisms = offered.offers("AUTH").unwrap_or_default();
        let has = |name: &str| mechanisms.iter().any(|m| m == name);
        let last = if has("PLAIN") {
            let response =
                Zeroizing::new(STANDARD.encode(Zeroizing::new(format!("\0{user}\0{password}")).as_bytes()));
            self.say(&Zeroizing::new(format!("AUTH PLAIN {}", response.as_str()))).await?
        } else if has("LOGIN") {
            let reply = self.say("AUTH LOGIN").await?;
            self.expect(reply, 334, "AUTH LOGIN")?;
            let reply = self.say(&STANDARD.encode(user)).await?;
            self.expect(reply, 334, "the name of alarms.email_user")?;
            self.say(&Zeroizing::new(STANDARD.encode(password))).await?
        } else {
            return Err(format!("{} takes neither AUTH PLAIN nor AUTH LOGIN", self.host));
        };
        self.expect(last, 235, "name and password").map(drop)
    }

    /// Hands over one message. What not everybody gets is said; what nobody gets is an error.
    async fn hand_over(&mut self, from: &str, to: &[String], mail: &str) -> Result<Delivered, String> {
        let reply = self.say(&format!("MAIL FROM:<{from}>")).await?;
        self.expect(reply, 250, "alarms.email_from")?;
        let mut refused = Vec::new();
        for (at, address) in to.iter().enumerate() {
            let reply = self.say(&format!("RCPT TO:<{address}>")).await?;
            if !matches!(reply.code, 250 | 251) {
                // By its place: an address is somebody's.
                refused.push(format!("number {} ({})", at + 1, reply.numbers()));
            }
        }
        let complaint = format!("{} refuses of alarms.email_to: {}", self.host, refused.join(", "));
        if refused.len() == to.len() {
            return Err(complaint);
        }
        let reply = self.say("DATA").await?;
        self.expect(reply, 354, "DATA")?;
        let reply = self.say(&format!("{}\r\n.", stuffed(mail))).await?;
        self.expect(reply, 250, "the mail")?;
        Ok(if refused.is_empty() { Delivered::ToAll } else { Delivered::ToSome(complaint) })
    }
}

/// RFC 5321, 4.5.2: a dot more before each line that begins with one.
fn stuffed(mail: &str) -> String {
    let mail = mail.strip_suffix("\r\n").unwrap_or(mail);
    let dot = |line: &str| if line.starts_with('.') { format!(".{line}") } else { line.to_owned() };
    mail.split("\r\n").map(dot).collect::<Vec<_>>().join("\r\n")
}

/// How the house names itself: a host name, or an address in brackets (RFC 5321, 4.1.3).
fn own_name(sender: &str) -> String {
    match sender.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(address)) => format!("[{address}]"),
        Ok(std::net::IpAddr::V6(address)) => format!("[IPv6:{address}]"),
        Err(_) if super::config::is_domain(sender) => sender.to_owned(),
        Err(_) => "localhost".to_owned(),
    }
}

/// Hands an alarm to the relay.
pub(super) async fn mail(config: &AlarmsConfig, message: &Message) -> Result<Delivered, String> {
    let (Some(Ok(relay)), Some(from)) = (config.relay(), config.email_from.as_deref()) else {
        return Err("no relay for mail is configured".into());
    };
    let Relay { authority, mode } = relay;
    let (host, name) = (authority.host.as_str(), own_name(&config.sender));
    let password = config.email_password.as_deref().map(read_password).transpose()?;
    let tls = tls(config, false)?;
    let tcp = reach(&authority).await?;
    let mut talk = match mode {
        MailTls::Implicit => {
            let mut talk = Talk::new(host, over_tls(&authority, tls, tcp).await?);
            talk.greeting().await?;
            talk
        }
        MailTls::Starttls => {
            let mut clear = Talk::new(host, tcp);
            clear.greeting().await?;
            if clear.hello(&name).await?.offers("STARTTLS").is_none() {
                return Err(format!("{host} does not offer STARTTLS, and nothing is sent in the clear"));
            }
            let reply = clear.say("STARTTLS").await?;
            clear.expect(reply, 220, "STARTTLS")?;
            // Whoever sits in between could have put replies behind it, to be believed once TLS stands.
            if !clear.stream.buffer().is_empty() {
                return Err(format!("{host} went on in the clear after STARTTLS: someone sits in between"));
            }
            Talk::new(host, over_tls(&authority, tls, clear.stream.into_inner()).await?)
        }
    };
    let offered = talk.hello(&name).await?;
    if let (Some(user), Some(password)) = (&config.email_user, &password) {
        talk.sign_in(&offered, user, password).await?;
    }
    let delivered = talk.hand_over(from, &config.email_to, &message.mail(from, &config.email_to)).await?;
    let _ = tokio::time::timeout(LEAVING, talk.say("QUIT")).await;
    Ok(delivered)
}

#[cfg(test)]
mod tests;
