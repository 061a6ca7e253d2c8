//! One's own key: joining, a key for a newcomer, who one is, signing in and out.

use clap::{Args, Subcommand};
use model::Digest;
use model::clock::HOUR_MS;
use order::{Ed25519Secret, JoinSecrets, OrderKind, encode, sha256};
use serde_json::json;
use zeroize::Zeroizing;

use super::desk::{Desk, to_base64};
use super::failure::{CliError, Result, failed, usage};
use super::home::{KeyFile, KeyState, PendingJoin, Seen, hex};
use super::place::{Draft, resend, send_order};
use super::{people, show};

#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// The first administrator joins, with the one-time token that 'matron serve' printed.
    Join(Join),
    /// Make a key for yourself; an administrator then adds it with 'matron people add'.
    Key(MakeKey),
    /// Another key for yourself, by its public half.
    AddKey(super::keys::AddKey),
    /// End a key of yours, once you have another.
    EndKey(super::keys::EndKey),
    /// Who you are here: key, person, server, and the fingerprint a newcomer needs.
    Whoami,
}

#[derive(Args)]
pub(crate) struct Join {
    /// The token: matron-join-…
    #[arg(long, env = "MATRON_JOIN_TOKEN", hide_env_values = true)]
    token: String,
    /// Your name; it is sealed to the vault.
    #[arg(long)]
    name: String,
}

impl std::fmt::Debug for Join {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Join(sealed)")
    }
}

#[derive(Debug, Args)]
pub(crate) struct MakeKey {
    /// The root key's fingerprint, from an administrator's 'matron admin whoami' (16 digits or more).
    #[arg(long)]
    fingerprint: Option<String>,
}

/// The vault's one-time token, taken apart.
struct Token {
    seed: Zeroizing<[u8; 32]>,
    fingerprint: String,
    hash: Digest,
}

impl Token {
    /// `matron-join-<64 digits: seed>-<16 digits: the root key's fingerprint>`.
    fn read(text: &str) -> Result<Self> {
        let text = text.trim();
        let parts = text.strip_prefix("matron-join-").and_then(|rest| rest.split_once('-'));
        let read = parts.and_then(|(seed, fingerprint)| {
            let is_hex = |t: &str| t.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            let good = fingerprint.len() == 16 && is_hex(fingerprint) && is_hex(seed);
            let seed: Digest = seed.parse().ok().filter(|_| good)?;
            Some(Self {
                seed: Zeroizing::new(seed.0),
                fingerprint: fingerprint.to_owned(),
                hash: sha256(text.as_bytes()),
            })
        });
        // The token is a secret: it is not quoted.
        read.ok_or_else(|| {
            usage("--token: not a whole token; copy the line 'matron-join-…' that 'matron serve' printed")
        })
    }
}

pub(crate) fn run(desk: &Desk, command: AdminCommand) -> Result<()> {
    match command {
        AdminCommand::Join(join) => self::join(desk, &join),
        AdminCommand::Key(make) => make_key(desk, &make),
        AdminCommand::AddKey(a) => super::keys::add_key(desk, a),
        AdminCommand::EndKey(e) => super::keys::end_key(desk, e),
        AdminCommand::Whoami => whoami(desk),
    }
}

/// Joins as the first administrator, as `matron admin join` does.
pub(crate) fn join_first(desk: &Desk, token: String, name: String) -> Result<()> {
    join(desk, &Join { token, name })
}

fn join(desk: &Desk, join: &Join) -> Result<()> {
    let token = Token::read(&join.token)?;
    if join.name.trim().is_empty() || join.name.chars().count() > 200 {
        return Err(usage("--name: 1 to 200 characters"));
    }
    match desk.home.find_key()? {
        Some(k) if k.token_hash == Some(token.hash) && k.state != KeyState::Made => {
            if k.state == KeyState::Joined { tell_joined(desk, &k) } else { finish(desk, k) }
        }
        Some(k) if k.state == KeyState::Joined => Err(usage(format!(
            "there is a key in {} already, and it has joined; give --home for another one",
            desk.home.path().display()
        ))),
        Some(k) if k.state == KeyState::Pending => Err(usage(
            "joining with another token is not finished; run that again, or give --home for another key",
        )),
        made => {
            let (statement, root_key) = desk.fetch_statement()?;
            if !sha256(&root_key.0).to_string().starts_with(&token.fingerprint) {
                return Err(failed(format!(
                    "{} is not the Matron that this token is for: its root key has another fingerprint. Nothing \
                     was sent",
                    desk.client.server()
                )));
            }
            let statement = desk.trust(&statement, root_key)?;
            let mut file = match made {
                Some(k) => k,
                None => KeyFile::new(&Zeroizing::new(desk.random::<32>()?)),
            };
            let seed_key = Ed25519Secret::from_seed(*token.seed).ok_or_else(|| failed("the token's key"))?;
            let kind = OrderKind::JoinFirst { key: file.secret()?.person_key() };
            let name = join.name.trim().to_owned();
            let signed = Draft::new(kind, "the first administrator joins")
                .sealing(&JoinSecrets { name })
                .sign_with(desk, &seed_key, statement.order_key)?;
            file.state = KeyState::Pending;
            file.root_key = Some(root_key);
            file.server = Some(desk.client.server().to_owned());
            file.token_hash = Some(token.hash);
            file.pending = Some(PendingJoin {
                signed_order: to_base64(&encode(&signed.signed)),
                sealed_arguments: signed.sealed.as_deref().map(to_base64).unwrap_or_default(),
            });
            // On the disk before it is sent: a crash from here on loses no key that the vault knows.
            desk.home.keep_key(&file)?;
            finish(desk, file)
        }
    }
}

/// Sends the kept bytes, as often as it takes; the vault acts on them once.
fn finish(desk: &Desk, mut file: KeyFile) -> Result<()> {
    let pending = file.pending.clone().ok_or_else(|| failed("key.json: the pending order is missing"))?;
    match resend(desk, &pending.signed_order, &pending.sealed_arguments) {
        Ok(_) => {
            file.state = KeyState::Joined;
            file.pending = None;
            desk.home.keep_key(&file)?;
            tell_joined(desk, &file)
        }
        Err(CliError::Refused { why, number }) => {
            // Decided for good: the next join makes a new order. The key itself is kept.
            file.state = KeyState::Made;
            file.pending = None;
            file.token_hash = None;
            desk.home.keep_key(&file)?;
            Err(CliError::Refused { why, number })
        }
        Err(CliError::Unreachable(why)) => Err(CliError::Unreachable(format!(
            "{why}\nYour key is kept. Run the same 'matron admin join' again"
        ))),
        Err(e) => Err(e),
    }
}

fn tell_joined(desk: &Desk, file: &KeyFile) -> Result<()> {
    let key = file.secret()?;
    if desk.reach.json {
        return show::print_json(&json!({ "joined": true, "key": key.id(), "home": desk.home.path() }));
    }
    show::print(&format!(
        "You are the first administrator.\n\
         Your key {} is in {}: keep a copy where nobody else reads it.\n\
         Next, let the vault renew the phones' certificates by itself: 'matron standing make'.\n",
        key.id(),
        desk.home.path().join("key.json").display()
    ))
}

fn make_key(desk: &Desk, make: &MakeKey) -> Result<()> {
    let mut file = match desk.home.find_key()? {
        Some(k) if k.state == KeyState::Pending => {
            return Err(usage("joining is not finished: run the same 'matron admin join' again"));
        }
        Some(k) => k,
        None => KeyFile::new(&Zeroizing::new(desk.random::<32>()?)),
    };
    if let Some(fingerprint) = &make.fingerprint {
        let wanted = fingerprint.trim().to_ascii_lowercase();
        if wanted.len() < 16 || !wanted.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(usage(
                "--fingerprint: 16 to 64 hexadecimal digits, as 'matron admin whoami' shows them",
            ));
        }
        let (statement, root_key) = desk.fetch_statement()?;
        if !sha256(&root_key.0).to_string().starts_with(&wanted) {
            return Err(failed(format!(
                "{} has another root key than the fingerprint says; nothing was trusted",
                desk.client.server()
            )));
        }
        let seen = desk.home.seen(file.root_key.unwrap_or(root_key))?;
        if seen.former_roots.contains(&root_key) {
            // Restored from before its root key was changed. Whoever gives the fingerprint has compared it.
            statement.verify(&root_key.0, desk.now_ms(), 0).map_err(|e| failed(e.to_string()))?;
            file.root_key = Some(root_key);
            desk.home.keep_key(&file)?;
            desk.home.keep_seen(&Seen::of(root_key))?;
            eprintln!(
                "matron: this home goes back to a root key that it trusted before, and forgets what it saw since"
            );
        } else if file.root_key.is_some_and(|r| r != root_key) {
            return Err(usage("this key trusts another Matron already; give --home for another one"));
        }
        desk.trust(&statement, root_key)?;
        file.root_key = Some(root_key);
        file.server = Some(desk.client.server().to_owned());
    }
    desk.home.keep_key(&file)?;
    let key = file.secret()?;
    let (public, trusts) = (hex(&key.public()), file.root_key.is_some());
    if desk.reach.json {
        return show::print_json(&json!({ "public_key": public, "key": key.id(), "trusts_server": trusts }));
    }
    let next = if trusts {
        String::new()
    } else {
        "Ask them for the fingerprint that their 'matron admin whoami' shows, and run\n  \
         matron admin key --fingerprint …\n"
            .to_owned()
    };
    show::print(&format!(
        "{public}\n\nThis is your public key. Give it to an administrator, who runs\n  \
         matron people add --name 'Your Name' --role … --key {public}\n{next}"
    ))
}

fn whoami(desk: &Desk) -> Result<()> {
    let signer = desk.signer()?;
    let me = people::find_by_key(desk, &signer.key.id())?;
    if signer.person.is_none()
        && let (Some(me), Some(mut file)) = (&me, desk.home.find_key()?)
    {
        file.person = Some(me.person);
        file.state = KeyState::Joined;
        desk.home.keep_key(&file)?;
    }
    let session = desk.home.find_session()?;
    // The root key after that: another may have taken its place.
    let epoch = desk.statement()?.epoch;
    let fingerprint = sha256(&desk.signer()?.root_key.0).to_string();
    if desk.reach.json {
        return show::print_json(&json!({
            "key": signer.key.id(),
            "public_key": hex(&signer.key.public()),
            "person": me.as_ref().map(|m| m.person),
            "role": me.as_ref().map(|m| &m.role),
            "group": me.as_ref().and_then(|m| m.group.as_ref()),
            "server": desk.client.server(),
            "root_fingerprint": fingerprint,
            "statement_epoch": epoch,
            "session_expires_at_ms": session.as_ref().map(|s| s.expires_at_ms),
        }));
    }
    let (person, role) = match &me {
        Some(m) => {
            let of = m.group.as_ref().map(|g| format!(" of {g}")).unwrap_or_default();
            (m.person.to_string(), format!("{}{of}", m.role))
        }
        None => ("unknown to the vault".into(), "none".into()),
    };
    let until = session.as_ref().map(|s| {
        format!(
            "until {}, opens {} records and {} searches",
            show::time(s.expires_at_ms),
            s.records,
            s.searches
        )
    });
    show::print(&show::facts(&[
        ("person", person),
        ("role", role),
        ("key", signer.key.id().to_string()),
        ("public key", hex(&signer.key.public())),
        ("server", desk.client.server().to_owned()),
        ("fingerprint", fingerprint.get(..32).unwrap_or_default().to_owned()),
        ("session", until.unwrap_or_else(|| "none".into())),
    ]))
}

#[derive(Debug, Args)]
pub(crate) struct SignIn {
    /// How many records (names on list pages) the session may open.
    #[arg(long, default_value_t = 0)]
    records: u32,
    /// How many searches it may make.
    #[arg(long, default_value_t = 0)]
    searches: u32,
    /// How long it lives, 1 to 12.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=12))]
    hours: u8,
    /// Why; needed when it opens or searches anything. No names here: auditors read it.
    #[arg(long)]
    reason: Option<String>,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

/// Makes a session as wide as asked; the one before ends.
pub(crate) fn sign_in(desk: &Desk, args: SignIn) -> Result<()> {
    let reason = match args.reason {
        None if args.records == 0 && args.searches == 0 => "a session that reads masks".to_owned(),
        given => super::place::reason(given)?,
    };
    let valid_ms = i64::from(args.hours) * HOUR_MS;
    let session = desk.new_session(args.records, args.searches, valid_ms, &reason, |signed| {
        signed.show_and_ask(desk, args.yes)
    })?;
    if desk.reach.json {
        return show::print_json(&json!({
            "expires_at_ms": session.expires_at_ms,
            "records": session.records,
            "searches": session.searches,
        }));
    }
    show::print(&format!(
        "Signed in until {}: {} and {} may be opened.\n",
        show::time(session.expires_at_ms),
        show::count(session.records.into(), "record"),
        if session.searches == 1 { "1 search".into() } else { format!("{} searches", session.searches) },
    ))
}

/// Ends the session at once.
pub(crate) fn sign_out(desk: &Desk) -> Result<()> {
    let Some(session) = desk.home.find_session()? else {
        return Err(CliError::NotFound("there is no session here; nothing to end".into()));
    };
    let kind = OrderKind::EndSession { session: sha256(session.secret.as_bytes()) };
    let sent = send_order(desk, &Draft::new(kind, "signed out").sign(desk)?);
    match sent {
        // A session that the vault no longer knows has ended.
        Ok(_) | Err(CliError::Refused { number: 16, .. }) => desk.home.forget_session()?,
        Err(e) => return Err(e),
    }
    if desk.reach.json {
        return show::print_json(&json!({ "signed_out": true }));
    }
    show::print("Signed out: the session and its grant have ended.\n")
}

#[derive(Debug, Subcommand)]
pub(crate) enum ApiKeysCommand {
    /// Make a read-only key for a program. It is shown once.
    Make(MakeApiKey),
    /// End a key.
    End(EndApiKey),
}

#[derive(Debug, Args)]
pub(crate) struct MakeApiKey {
    /// What it is for, as people will see it.
    #[arg(long)]
    label: String,
    /// What it may read: devices, commands, ledger, metrics (masks only, ever).
    #[arg(long, required = true, value_delimiter = ',', value_parser = ["devices", "commands", "ledger", "metrics"])]
    scope: Vec<String>,
    /// How long it lives, 1 to 731.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=731))]
    days: u16,
    /// Why.
    #[arg(long)]
    reason: Option<String>,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Args)]
pub(crate) struct EndApiKey {
    /// The key's SHA-256 (64 digits; the ledger shows it), or '-' to read the key from standard input.
    key: String,
    /// Why.
    #[arg(long)]
    reason: Option<String>,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

impl std::fmt::Debug for EndApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EndApiKey(sealed)")
    }
}

pub(crate) fn api_keys(desk: &Desk, command: ApiKeysCommand) -> Result<()> {
    use base64::Engine;
    use order::ApiScope;
    match command {
        ApiKeysCommand::Make(m) => {
            let random = desk.random::<32>()?;
            let key = Zeroizing::new(format!(
                "mk_{}",
                base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random)
            ));
            let all = [ApiScope::Devices, ApiScope::Commands, ApiScope::Ledger, ApiScope::Metrics];
            let scopes: Vec<_> =
                all.into_iter().filter(|s| m.scope.iter().any(|t| t == words::scope_name(*s))).collect();
            let valid_ms = i64::from(m.days) * model::clock::DAY_MS;
            let hash = sha256(key.as_bytes());
            let label = m.label;
            let kind = OrderKind::MakeApiKey { hash, scopes, valid_ms, label };
            let reason = m.reason.unwrap_or_else(|| "an API key for a program".into());
            let placed = Draft::new(kind, &reason).place(desk, m.yes)?;
            if desk.reach.json {
                return show::print_json(
                    &json!({ "api_key": key.as_str(), "hash": hash, "order": placed.order }),
                );
            }
            show::print(&format!("{}\n", key.as_str()))?;
            eprintln!("This is shown once and kept nowhere. To end it: matron api-keys end {hash}");
            Ok(())
        }
        ApiKeysCommand::End(e) => {
            let hash = if e.key == "-" {
                let key = Zeroizing::new(std::io::read_to_string(std::io::stdin()).map_err(failed)?);
                sha256(key.trim().as_bytes())
            } else {
                e.key.parse().map_err(|_| {
                    usage("give the key's SHA-256 (64 digits), or '-' and the key on standard input")
                })?
            };
            let reason = e.reason.unwrap_or_else(|| "an API key is no longer needed".into());
            let placed = Draft::new(OrderKind::EndApiKey { hash }, &reason).place(desk, e.yes)?;
            if desk.reach.json {
                return show::print_json(&json!({ "ended": hash, "order": placed.order }));
            }
            show::print("The API key has ended.\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_not_whole_is_refused_without_being_quoted() {
        let seed = "0123456789abcdef".repeat(4);
        let whole = format!("matron-join-{seed}-00112233aabbccdd");
        let token = Token::read(&whole).unwrap();
        assert_eq!(hex(token.seed.as_ref()), seed);
        assert_eq!(token.fingerprint, "00112233aabbccdd");
        assert_eq!(Token::read(&format!(" {whole}\n")).unwrap().hash, token.hash);
        for bad in [
            String::new(),
            whole.get(..40).unwrap().to_owned(),
            format!("matron-join-{seed}-"),
            format!("matron-join-{seed}-0011"),
            format!("matron-join-{}-00112233aabbccdd", seed.get(2..).unwrap()),
            format!("matron-join-{seed}-zz112233aabbccdd"),
        ] {
            let e = Token::read(&bad).err().unwrap();
            assert!(e.code() == 2 && !e.to_string().contains("0123"), "{bad}");
        }
    }
}
