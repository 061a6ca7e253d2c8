//! The desk a command works at: the home folder, the server, the trusted statement, the session.

use std::cell::OnceCell;
use std::path::PathBuf;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use clap::Args;
use http::Method;
use model::{Clock, Compartment, Digest, PersonId, SystemClock, TimeMs};
use order::limits::Hold;
use order::{Ed25519Secret, OrderKind, Refusal, SignedStatement, TrustedStatement, sha256};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::failure::{CliError, Result, failed, usage};
use super::home::{Home, KeyFile, KeyState, Seen, Session};
use super::http::{Answer, Client};
use super::place::{Draft, send_order};
use words::limits;

const DEFAULT_SERVER: &str = "http://127.0.0.1:8444";

/// Where Matron is, and how to answer.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Reaching Matron")]
pub(crate) struct Reach {
    /// The administrators' address [default: where you joined, else http://127.0.0.1:8444].
    #[arg(long, env = "MATRON_URL", global = true, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// The folder with your signing key and session [default: ~/.config/matron].
    #[arg(long, env = "MATRON_HOME", global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Certificates (PEM) to trust the server by; default: those of this machine.
    #[arg(long, env = "MATRON_SERVER_CA", global = true, value_name = "FILE")]
    pub(crate) server_ca: Option<PathBuf>,
    /// Speak plain http to another machine: everyone in between sees your session.
    #[arg(long, global = true)]
    pub(crate) danger_plain_http: bool,
    /// Answer in JSON, for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// All that a command needs.
pub(crate) struct Desk {
    pub(crate) reach: Reach,
    pub(crate) home: Home,
    pub(crate) client: Client,
    pub(crate) rng: SystemRandom,
    clock: SystemClock,
    statement: OnceCell<TrustedStatement>,
}

/// A key that may sign, with the root key it trusts.
pub(crate) struct Signer {
    pub(crate) key: Ed25519Secret,
    pub(crate) person: Option<PersonId>,
    pub(crate) root_key: Digest,
}

#[derive(Deserialize)]
struct StatementBody {
    statement: String,
    root_key: String,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    instance: String,
    refusal: Option<u16>,
    #[serde(default)]
    enrolments: Vec<String>,
    hold: Option<Hold>,
    misfits: Option<String>,
}

pub(crate) fn from_base64(what: &str, text: &str) -> Result<Vec<u8>> {
    STANDARD.decode(text).map_err(|_| failed(format!("the server's {what} is not base64")))
}

pub(crate) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The answer's JSON, or the problem in words.
pub(crate) fn read_answer(answer: &Answer) -> Result<Value> {
    if (200..300).contains(&answer.status) {
        return serde_json::from_slice(&answer.body).map_err(|_| {
            failed("the server's answer is not JSON; is --server the administrators' address of a Matron?")
        });
    }
    let problem: Option<Problem> = serde_json::from_slice(&answer.body).ok();
    let Some(p) = problem else {
        return Err(failed(format!(
            "the server answered {} and no reason; is --server the administrators' address of a Matron?",
            answer.status
        )));
    };
    if let Some(number) = p.refusal {
        // The vault's own words where this release knows them, whatever the server says.
        let mut why = Refusal::from_number(number).map_or(p.detail, |r| r.to_string());
        let waits = number == Refusal::NeedsSignatures.number();
        if let Some(hold) = &p.hold {
            let told = limits::hold(hold, waits);
            why = if waits { told } else { format!("{why}.\n{told}") };
        }
        if let Some(misfits) = &p.misfits {
            why = format!("{why}: {}", words::line(misfits));
        }
        if waits {
            return Err(CliError::Waits { why, order: None });
        }
        return Err(CliError::Refused { why, number });
    }
    let mut text = p.detail;
    if !p.enrolments.is_empty() {
        text = format!("{text}: {}", p.enrolments.join(", "));
    }
    Err(match (answer.status, p.code.as_str()) {
        (401, _) => CliError::NoSession,
        (404, _) => CliError::NotFound(text),
        (503, _) => CliError::Unreachable(text),
        (s, _) if s >= 500 => failed(format!("{text} (request {})", p.instance)),
        _ => failed(text),
    })
}

/// JSON as the shape that this release knows.
pub(crate) fn shaped<T: DeserializeOwned>(value: &Value) -> Result<T> {
    serde_json::from_value(value.clone())
        .map_err(|e| failed(format!("the server's answer has another shape than this version knows: {e}")))
}

impl Desk {
    pub(crate) fn open(reach: Reach) -> Result<Self> {
        let home = Home::at(reach.home.as_deref())?;
        let joined_at = home.find_key()?.and_then(|k| k.server.clone());
        let server = reach.server.clone().or(joined_at).unwrap_or_else(|| DEFAULT_SERVER.to_owned());
        let client = Client::new(&server, reach.server_ca.as_deref(), reach.danger_plain_http)?;
        Ok(Self {
            reach,
            home,
            client,
            rng: SystemRandom::new(),
            clock: SystemClock,
            statement: OnceCell::new(),
        })
    }

    /// Whether the vault knows the key of this home.
    pub(crate) fn has_joined(&self) -> Result<bool> {
        Ok(self.home.find_key()?.is_some_and(|k| k.state == KeyState::Joined))
    }

    /// Where the key is kept.
    pub(crate) fn home_path(&self) -> &std::path::Path {
        self.home.path()
    }

    pub(crate) fn now_ms(&self) -> TimeMs {
        self.clock.now_ms()
    }

    pub(crate) fn random<const N: usize>(&self) -> Result<[u8; N]> {
        let mut out = [0u8; N];
        self.rng.fill(&mut out).map_err(|_| failed("this machine gives no random numbers"))?;
        Ok(out)
    }

    /// The key of this home that the vault knows.
    pub(crate) fn signer(&self) -> Result<Signer> {
        let no_key = || {
            usage(format!(
                "there is no signing key in {}; join with 'matron admin join --token …', make one with 'matron \
                 admin key', or say with --home where yours is",
                self.home.path().display()
            ))
        };
        let file: KeyFile = self.home.find_key()?.ok_or_else(no_key)?;
        if file.state == KeyState::Pending {
            return Err(usage("joining is not finished: run the same 'matron admin join' again"));
        }
        let root_key = file.root_key.ok_or_else(|| {
            usage(
                "this key does not know which Matron to trust; run 'matron admin key --fingerprint …' with the \
                 fingerprint that an administrator's 'matron admin whoami' shows",
            )
        })?;
        Ok(Signer { key: file.secret()?, person: file.person, root_key })
    }

    /// The statement as the server gives it, with the root key it names. Not trusted yet.
    pub(crate) fn fetch_statement(&self) -> Result<(SignedStatement, Digest)> {
        let value = read_answer(&self.client.send(Method::GET, "/api/v1/statement", None, None)?)?;
        let body: StatementBody = shaped(&value)?;
        let statement = order::decode(&from_base64("statement", &body.statement)?)
            .map_err(|_| failed("the server's key statement can't be read by this version"))?;
        let root: [u8; 32] = from_base64("root key", &body.root_key)?
            .try_into()
            .map_err(|_| failed("the server's root key is not 32 bytes"))?;
        Ok((statement, Digest(root)))
    }

    /// Today's keys, checked against the pinned root key and never older than what was seen.
    pub(crate) fn statement(&self) -> Result<&TrustedStatement> {
        if let Some(s) = self.statement.get() {
            return Ok(s);
        }
        let root_key = self.signer()?.root_key;
        let (signed, _) = self.fetch_statement()?;
        let trusted = self.trust(&signed, root_key)?;
        Ok(self.statement.get_or_init(|| trusted))
    }

    pub(crate) fn trust(&self, signed: &SignedStatement, root_key: Digest) -> Result<TrustedStatement> {
        let mut seen = self.home.seen(root_key)?;
        let trusted = signed.verify(&root_key.0, self.now_ms(), seen.epoch).map_err(|e| {
            failed(format!(
                "{}: {e}. Nothing was sent. Either this is another Matron than the one you joined, or someone \
                 stands in between",
                self.client.server()
            ))
        })?;
        if let [_, after @ ..] = trusted.roots()
            && let Some(newest) = after.last()
        {
            self.follow_root(&mut seen, root_key, after)?;
            let fingerprint = sha256(newest).to_string();
            eprintln!(
                "matron: this Matron has another root key since; the one that this home trusted has signed it, and it is trusted \
                 from now on. Its fingerprint: {}",
                fingerprint.get(..16).unwrap_or_default()
            );
        }
        if trusted.epoch > seen.epoch {
            seen.epoch = trusted.epoch;
            self.home.keep_seen(&seen)?;
        }
        Ok(trusted)
    }

    /// Trusts the newest of these in place of `before`. What was seen is kept first: by it the former key still finds it.
    fn follow_root(&self, seen: &mut Seen, before: Digest, after: &[[u8; 32]]) -> Result<()> {
        let led = std::iter::once(before).chain(after.iter().map(|key| Digest(*key)));
        let roots: Vec<Digest> =
            seen.former_roots.iter().copied().filter(|r| *r != before).chain(led).collect();
        let Some((newest, former)) = roots.split_last() else { return Ok(()) };
        (seen.root_key, seen.former_roots) = (*newest, former.to_vec());
        self.home.keep_seen(seen)?;
        if let Some(mut file) = self.home.find_key()?.filter(|f| f.root_key == Some(before)) {
            file.root_key = Some(*newest);
            self.home.keep_key(&file)?;
        }
        Ok(())
    }

    /// The root key that this home trusts, after whatever took its place since; where the server gives no statement now,
    /// the one that is known.
    pub(crate) fn root(&self) -> Result<Option<Digest>> {
        let pinned =
            |desk: &Self| -> Result<Option<Digest>> { Ok(desk.home.find_key()?.and_then(|k| k.root_key)) };
        let Some(before) = pinned(self)? else { return Ok(None) };
        if self.statement.get().is_none() {
            let trusted = self.fetch_statement().and_then(|(signed, _)| self.trust(&signed, before));
            match trusted {
                Ok(trusted) => drop(self.statement.set(trusted)),
                Err(CliError::Unreachable(_) | CliError::NotFound(_)) => {}
                Err(e) => return Err(e),
            }
        }
        pinned(self)
    }

    /// A session that is good for the next request.
    fn session(&self) -> Result<Session> {
        let kept = self.home.find_session()?;
        let good =
            kept.filter(|s| s.expires_at_ms > self.now_ms() + 30_000 && s.server == self.client.server());
        match good {
            Some(s) => Ok(s),
            None => self.new_session(0, 0, order::session::LIFE_MS, "a session that reads masks", |_| Ok(())),
        }
    }

    /// Signs a grant for a new session and keeps it; the one before, if any, ends.
    pub(crate) fn new_session(
        &self,
        records: u32,
        searches: u32,
        valid_ms: TimeMs,
        reason: &str,
        show: impl FnOnce(&super::place::Signed) -> Result<()>,
    ) -> Result<Session> {
        let secret = format!("ms_{}", URL_SAFE_NO_PAD.encode(self.random::<32>()?));
        let kind = OrderKind::Grant {
            session: sha256(secret.as_bytes()),
            records,
            searches,
            compartments: if records > 0 { vec![Compartment::Identity] } else { vec![] },
            valid_ms,
        };
        let signed = Draft::new(kind, reason).sign(self)?;
        show(&signed)?;
        send_order(self, &signed)?;
        let before = self.home.find_session()?.filter(|s| s.server == self.client.server());
        let server = self.client.server().to_owned();
        // The vault counts from when it decided, which is a moment later.
        let expires_at_ms = self.now_ms() + valid_ms;
        let session = Session { secret, expires_at_ms, records, searches, server };
        self.home.keep_session(&session)?;
        if let Some(before) = before.filter(|s| s.expires_at_ms > self.now_ms()) {
            let kind = OrderKind::EndSession { session: sha256(before.secret.as_bytes()) };
            // It would run out by itself; that it is already gone is no failure.
            let _ = send_order(self, &Draft::new(kind, "another session took its place").sign(self)?);
        }
        Ok(session)
    }

    /// A request under the session, or the API key of `MATRON_API_KEY`.
    pub(crate) fn call(&self, method: &Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let bytes = body.map(serde_json::to_vec).transpose().map_err(failed)?;
        self.send(method, path, bytes, read_answer)
    }

    /// The same for an answer that is no JSON.
    pub(crate) fn get_bytes(&self, path: &str) -> Result<Vec<u8>> {
        self.send(&Method::GET, path, None, |answer| {
            if answer.status == 200 {
                return Ok(answer.body.to_vec());
            }
            // A problem, in words.
            Err(read_answer(answer).err().unwrap_or_else(|| failed("the server answered something else")))
        })
    }

    fn send<T>(
        &self,
        method: &Method,
        path: &str,
        bytes: Option<Vec<u8>>,
        read: impl Fn(&Answer) -> Result<T>,
    ) -> Result<T> {
        if let Ok(key) = std::env::var("MATRON_API_KEY") {
            if key.len() != 46 || !key.starts_with("mk_") || !key.is_ascii() {
                return Err(usage("MATRON_API_KEY is no API key (mk_ and 43 characters)"));
            }
            let answer = read(&self.client.send(method.clone(), path, Some(&key), bytes)?);
            return answer.map_err(|e| match e {
                CliError::NoSession => failed("the server does not know this API key, or it has run out"),
                e => e,
            });
        }
        // Whom a session's secret is shown to has to prove itself first.
        self.statement()?;
        let first = self.session()?;
        match read(&self.client.send(method.clone(), path, Some(&first.secret), bytes.clone())?) {
            Err(CliError::NoSession) => {
                self.home.forget_session()?;
                let again = self.session()?;
                read(&self.client.send(method.clone(), path, Some(&again.secret), bytes)?)
            }
            other => other,
        }
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        self.call(&Method::GET, path, None)
    }

    /// The session's hash, for what is sealed to it.
    pub(crate) fn session_hash(&self) -> Result<Digest> {
        Ok(sha256(self.session()?.secret.as_bytes()))
    }

    /// Pages of a list, until `limit` items are there: `{items, next_cursor}`.
    pub(crate) fn list(
        &self,
        path: &str,
        query: &[(&str, Option<String>)],
        limit: u32,
        cursor: Option<String>,
    ) -> Result<Value> {
        let mut items = Vec::new();
        let mut cursor = cursor;
        loop {
            let left = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(items.len());
            let mut query = query.to_vec();
            query.push(("limit", Some(left.clamp(1, 200).to_string())));
            query.push(("cursor", cursor.take()));
            let mut page = self.get(&format!("{path}{}", super::http::query(&query)))?;
            let Some(Value::Array(mut found)) = page.get_mut("items").map(Value::take) else {
                return Err(failed("the server's list has no items field"));
            };
            let none = found.is_empty();
            items.append(&mut found);
            cursor = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
            if cursor.is_none() || none || items.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
                return Ok(serde_json::json!({ "items": items, "next_cursor": cursor }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn error_of(status: u16, body: &str) -> CliError {
        read_answer(&Answer { status, body: Bytes::copy_from_slice(body.as_bytes()) }).unwrap_err()
    }

    #[test]
    fn a_problem_becomes_its_exit_code_and_the_vaults_words_are_its_own() {
        let refused = error_of(403, r#"{"code":"refused","detail":"all is well","refusal":14}"#);
        assert_eq!(refused.code(), 3);
        assert!(refused.to_string().contains("not the name on the invitation"), "{refused}");
        assert_eq!(error_of(404, r#"{"code":"not_found","detail":"there is no such device"}"#).code(), 4);
        assert_eq!(error_of(503, r#"{"code":"vault_away","detail":"later"}"#).code(), 5);
        let supervision = r#"{"code":"needs_supervision","detail":"needs it","enrolments":["ab"]}"#;
        let told = error_of(409, supervision);
        assert!(told.code() == 1 && told.to_string().contains("ab"));
        assert_eq!(error_of(502, "<html>").code(), 1);
        assert_eq!(error_of(200, "<html>").code(), 1);
    }
}
