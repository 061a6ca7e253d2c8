//! The process: one thread speaks to the token, the others hand it what the supervisor and the vault want.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};

use rpc::control::ControlEnd;
use rpc::hsm::{Answer, Ask, Make, ToHsm, ToSupervisor, read_frame, write_frame};
use zeroize::Zeroizing;

use crate::error::TokenError;
use crate::token::{Keys, Token};

/// A PIN is shorter.
const LONGEST_PIN_BYTES: u64 = 1024;
/// How often the token is looked for.
const LOOK: std::time::Duration = std::time::Duration::from_secs(5);

/// What is done one after another.
enum Job {
    Alive,
    Unlock(String, File),
    Ask(Ask, Sender<Answer>),
    /// The supervisor is gone.
    End,
}

fn other(e: impl std::fmt::Display) -> io::Error {
    io::Error::other(e.to_string())
}

/// Runs until the supervisor is gone; standard input is its control pair.
///
/// # Errors
/// When the token can't be opened or fails; the supervisor has been told why.
pub fn run() -> io::Result<()> {
    let control = ControlEnd::from_stdin()?;
    match begin(&control) {
        Ok(None) => control.send(&ToSupervisor::Ready, &[]),
        Ok(Some((token, keys))) => {
            control.send(&ToSupervisor::Ready, &[])?;
            let (jobs, waiting) = channel();
            let reading = control.try_clone()?;
            std::thread::Builder::new().name("control".into()).spawn(move || listen(&reading, &jobs))?;
            serve(&token, &keys, &waiting, &control).inspect_err(|e| {
                let why = e.to_string();
                let _ = control.send(&ToSupervisor::Failed { why, pin_refused: false }, &[]);
            })
        }
        Err((e, pin_refused)) => {
            let _ = control.send(&ToSupervisor::Failed { why: e.to_string(), pin_refused }, &[]);
            Err(e)
        }
    }
}

/// Opens the token and its keys, and is held from then on: nothing that came from outside was read yet. `None`: it was
/// only looked at.
fn begin(control: &ControlEnd) -> Result<Option<(Token, Keys)>, (io::Error, bool)> {
    let plain = |e: io::Error| (e, false);
    let by_hand = || (io::Error::other("this is started by 'matron serve', not by hand"), false);
    let Some((ToHsm::Start { config }, mut handed)) = control.receive::<ToHsm>().map_err(plain)? else {
        return Err(by_hand());
    };
    let of_token = |e: TokenError| (other(&e), matches!(e, TokenError::Pin(_)));
    if config.make == Make::Look {
        return Token::look(&config).map(|()| None).map_err(of_token);
    }
    let pin = read_pin(handed.pop().ok_or_else(by_hand)?).map_err(plain)?;
    let token = Token::open(&config, &pin).map_err(of_token)?;
    drop(pin);
    if config.make == Make::New {
        token.none_there().map_err(of_token)?;
        control.send(&ToSupervisor::Making, &[]).map_err(plain)?;
        let Some((ToHsm::Make, _)) = control.receive::<ToHsm>().map_err(plain)? else {
            return Err(by_hand());
        };
    }
    if config.make != Make::No {
        token.make_missing().map_err(of_token)?;
    }
    let keys = token.keys().map_err(of_token)?;
    let allowed: sandbox::Allowed = serde_json::from_value(config.sandbox).map_err(|e| plain(other(e)))?;
    sandbox::enter(sandbox::Room::Hsm, &allowed).map_err(|e| plain(other(e)))?;
    Ok(Some((token, keys)))
}

fn read_pin(file: OwnedFd) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    File::from(file)
        .take(LONGEST_PIN_BYTES)
        .read_to_string(&mut text)
        .map_err(|e| other(format!("the token's PIN: {e}")))?;
    let pin = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
    if pin.is_empty() {
        return Err(other("the token's PIN: the file is empty; nothing was tried"));
    }
    Ok(pin)
}

fn listen(control: &ControlEnd, jobs: &Sender<Job>) {
    loop {
        let Ok(Some((message, mut handed))) = control.receive::<ToHsm>() else {
            let _ = jobs.send(Job::End);
            return;
        };
        let job = match (message, handed.pop()) {
            (ToHsm::Ping, _) => Job::Alive,
            (ToHsm::Unlock { room }, Some(pipe)) => Job::Unlock(room, File::from(pipe)),
            (ToHsm::Vault, Some(stream)) => {
                let (stream, jobs) = (UnixStream::from(stream), jobs.clone());
                let answering = move || answer_vault(stream, &jobs);
                let _ = std::thread::Builder::new().name("vault".into()).spawn(answering);
                continue;
            }
            _ => continue,
        };
        if jobs.send(job).is_err() {
            return;
        }
    }
}

/// Until the vault is gone, or says what is no question.
fn answer_vault(mut stream: UnixStream, jobs: &Sender<Job>) {
    while let Ok(Some(ask)) = read_frame::<Ask>(&mut stream) {
        let (to, answer) = channel();
        if jobs.send(Job::Ask(ask, to)).is_err() {
            return;
        }
        let Ok(answer) = answer.recv() else { return };
        if write_frame(&mut stream, &answer).is_err() {
            return;
        }
    }
}

/// One job after another. A token that fails ends the process: the supervisor starts another, which opens it anew.
fn serve(token: &Token, keys: &Keys, jobs: &Receiver<Job>, control: &ControlEnd) -> io::Result<()> {
    let away =
        || other("the token is not there any more; plug it in or make it reachable, Matron goes on then");
    loop {
        let job = match jobs.recv_timeout(LOOK) {
            Ok(job) => job,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) if token.is_there() => continue,
            Err(_) => return Err(away()),
        };
        match job {
            Job::End => return Ok(()),
            Job::Alive if token.is_there() => control.send(&ToSupervisor::Alive, &[])?,
            Job::Alive => return Err(away()),
            Job::Unlock(room, mut pipe) => {
                let secret = token.secret_of(keys, &room).map_err(other)?;
                // A room that has ended meanwhile reads nothing.
                let _ = pipe.write_all(&secret);
            }
            Job::Ask(ask, to) => {
                let signed = match ask {
                    Ask::Publics => Ok(Answer::Publics(keys.publics().clone())),
                    Ask::SignRoot(message) => token.sign_root(keys, &message).map(Answer::Signature),
                    Ask::SignCa(message) => token.sign_ca(keys, &message).map(Answer::Signature),
                    Ask::LaterCa(number) => token.later_ca(number, false).map(|(_, ca)| Answer::Ca(ca)),
                    Ask::MakeLaterCa(number) => token.later_ca(number, true).map(|(_, ca)| Answer::Ca(ca)),
                    Ask::SignLaterCa(number, message) => token
                        .later_ca(number, false)
                        .and_then(|(ca, _)| token.sign_later_ca(ca, &message))
                        .map(Answer::Signature),
                    Ask::LaterRoot(number) => {
                        token.later_root(number, false).map(|(_, key)| Answer::Root(key))
                    }
                    Ask::MakeLaterRoot(number) => {
                        token.later_root(number, true).map(|(_, key)| Answer::Root(key))
                    }
                    Ask::SignLaterRoot(number, message) => token
                        .later_root(number, false)
                        .and_then(|(key, _)| token.sign_later_root(key, &message))
                        .map(Answer::Signature),
                };
                match signed {
                    Ok(answer) => drop(to.send(answer)),
                    Err(e) => {
                        let _ = to.send(Answer::Failed(e.to_string()));
                        return Err(other(e));
                    }
                }
            }
        }
    }
}
