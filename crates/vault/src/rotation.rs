//! Rotation: which keys were made anew, what is still under older ones, and a breach that is assumed.
//!
//! The order is written first; the keys are made when that is durable ([`crate::keys::Keys::settle`]), and at the next
//! start if a crash came in between. Rows that core keeps are handed in, opened, sealed again and handed back; that
//! tells core nothing, spends nobody's budget, and is written down with its count. An older key is destroyed once core
//! says that nothing is left under it: core has the rows and could as well throw them away.

use std::collections::BTreeMap;

use apple::x509::Certificate;
use ledger::{Body, Effect, Opaque};
use model::clock::HOUR_MS;
use model::{EnrolmentId, KeyId, KeyName, SealedRow, StandingTemplate, TimeMs};
use order::{Order, Refusal};
use rpc::alarm::AlarmKind;
use rpc::proto;
use seal::to;

use crate::chamber::Chamber;
use crate::root;
use crate::standing::Standing;
use crate::state::State;
use crate::submit::{Consequence, Signer};

/// The most rows that are sealed again in one call, and in one hour.
const MOST_AT_ONCE: usize = 1_000;
const MOST_AN_HOUR: u32 = 2_000_000;
/// So long after a rotation everyone goes by the new statement, and nothing is sealed under an older one any more.
const SETTLED_MS: TimeMs = 30_000;
/// The most CAs before the newest that count at once: each is one more link of the chain that the door sends.
const MOST_OLDER_CAS: usize = 4;
/// How long the reader opens what is sealed to an older RA: an enrolment takes a minute.
const RA_KEPT_MS: TimeMs = HOUR_MS;
/// How long the standing order lives that a breach brings, to give phones new certificates.
const REISSUES_MS: TimeMs = 365 * model::clock::DAY_MS;

/// An older key that is still needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Old {
    /// Keys of epochs below this one.
    pub(crate) before: u32,
    /// Since when there is a newer one.
    pub(crate) since_ms: TimeMs,
}

/// What was made anew with an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Made {
    /// The vault's own of these, and when.
    Own(Vec<KeyName>, TimeMs),
    /// A room's, with its public half, and when.
    Room(KeyName, Vec<u8>, TimeMs),
}

/// What the ledger says of rotations.
#[derive(Debug, Default)]
pub(crate) struct Rotations {
    /// By epoch, ascending.
    done: Vec<(u32, Made)>,
    /// Rooms were asked for these, by orders that began this epoch.
    awaited: BTreeMap<KeyName, u32>,
    /// For which order's epoch a room's newest key was made.
    ordered: BTreeMap<KeyName, u32>,
    made: BTreeMap<KeyName, (u32, TimeMs)>,
    old: BTreeMap<KeyName, Old>,
    /// CAs before this epoch's ended.
    cas_ended_before: u32,
    /// How much was sealed again in this hour.
    hour: i64,
    resealed: u32,
}

impl Rotations {
    pub(crate) fn rotate(&mut self, keys: &[KeyName], epoch: u32, at_ms: TimeMs) {
        self.done.push((epoch, Made::Own(keys.to_vec(), at_ms)));
        for key in keys {
            match key.made_by() {
                Some(_) => drop(self.awaited.insert(*key, epoch)),
                None => self.made_anew(*key, epoch, at_ms),
            }
        }
    }

    /// A room's key came that was ordered.
    pub(crate) fn taken(&mut self, key: KeyName, number: u32, epoch: u32, public: &[u8], at_ms: TimeMs) {
        self.done.push((epoch, Made::Room(key, public.to_vec(), at_ms)));
        // Ordered again meanwhile, a newer one is still awaited.
        if self.awaited.get(&key).is_some_and(|wanted| *wanted <= number) {
            self.awaited.remove(&key);
        }
        self.ordered.insert(key, number);
        self.made_anew(key, epoch, at_ms);
    }

    fn made_anew(&mut self, key: KeyName, epoch: u32, at_ms: TimeMs) {
        self.made.insert(key, (epoch, at_ms));
        let old = Old { before: epoch, since_ms: at_ms };
        match key {
            // What the vault itself sealed is in every compartment whose key it holds.
            KeyName::VaultSender => {
                let own = |k: &&KeyName| k.compartment().is_some() && k.made_by().is_none();
                for key in KeyName::ALL.iter().filter(own) {
                    self.old.insert(*key, old);
                }
            }
            // What the reader sealed is in every compartment.
            KeyName::ReaderSender => {
                for key in KeyName::ALL.iter().filter(|k| k.compartment().is_some()) {
                    self.old.insert(*key, old);
                }
            }
            // They serve for what is made anew at once.
            KeyName::Warrant | KeyName::Links | KeyName::ChangeTags | KeyName::Root => {}
            _ => {
                self.old.insert(key, old);
            }
        }
    }

    /// The keys that rooms are to make, with their orders' epochs.
    pub(crate) fn awaited(&self) -> Vec<(KeyName, u32)> {
        self.awaited.iter().map(|(key, number)| (*key, *number)).collect()
    }

    /// Rooms' keys of which an older one is needed still.
    pub(crate) fn older_needed(&self) -> Vec<KeyName> {
        self.old.keys().copied().filter(|k| k.made_by().is_some()).collect()
    }

    pub(crate) fn destroyed(&mut self, keys: &[KeyName], before: u32) {
        if keys.contains(&KeyName::Ca) {
            self.cas_ended_before = self.cas_ended_before.max(before);
        }
        self.old.retain(|k, old| !keys.contains(k) || old.before > before);
    }

    /// An epoch begins that brings no key: something is stated no more.
    pub(crate) fn begin(&mut self, epoch: Option<u32>, at_ms: TimeMs) {
        self.done.extend(epoch.map(|epoch| (epoch, Made::Own(Vec::new(), at_ms))));
    }

    /// CAs before the newest that have not ended.
    fn older_cas(&self) -> usize {
        let new_ca = |made: &Made| matches!(made, Made::Own(keys, _) if keys.contains(&KeyName::Ca));
        self.after(self.cas_ended_before).filter(|(_, made)| new_ca(made)).count()
    }

    /// The door's own TLS key has its certificate: the one before is shown no more, and the door destroys its key.
    pub(crate) fn door_certified(&mut self, certificate: &[u8]) {
        let Ok(certificate) = Certificate::parse(certificate) else { return };
        let newest = self.done.iter().rev().find_map(|(epoch, made)| match made {
            Made::Room(KeyName::Tls, public, _) => Some((*epoch, public)),
            _ => None,
        });
        if let Some((epoch, public)) = newest
            && certificate.spki_der() == *public
        {
            self.destroyed(&[KeyName::Tls], epoch);
        }
    }

    pub(crate) fn resealed(&mut self, rows: u32, at_ms: TimeMs) {
        if at_ms.div_euclid(HOUR_MS) > self.hour {
            self.hour = at_ms.div_euclid(HOUR_MS);
            self.resealed = 0;
        }
        self.resealed = self.resealed.saturating_add(rows);
    }

    /// How much may still be sealed again in this hour.
    fn left(&self, now_ms: TimeMs) -> u32 {
        if now_ms.div_euclid(HOUR_MS) > self.hour {
            MOST_AN_HOUR
        } else {
            MOST_AN_HOUR.saturating_sub(self.resealed)
        }
    }

    /// The rotations after that epoch.
    pub(crate) fn after(&self, epoch: u32) -> impl Iterator<Item = (u32, &Made)> {
        self.done.iter().filter(move |(e, _)| *e > epoch).map(|(e, made)| (*e, made))
    }

    /// The epoch that began with the newest key of this name.
    pub(crate) fn made_in(&self, key: KeyName) -> u32 {
        self.made.get(&key).map_or(1, |(epoch, _)| *epoch)
    }

    /// The present epoch.
    pub(crate) fn epoch(&self) -> u32 {
        self.done.last().map_or(1, |(epoch, _)| *epoch)
    }

    pub(crate) fn old(&self, key: KeyName) -> Option<Old> {
        self.old.get(&key).copied()
    }

    /// The same, of the courier's rows too.
    pub(crate) fn any_rows_wait(&self) -> bool {
        self.old.keys().any(|k| k.compartment().is_some())
    }

    /// Rows may still be under older keys or by an older sender.
    pub(crate) fn rows_wait(&self) -> bool {
        self.old.keys().any(|k| k.compartment().is_some() && k.made_by().is_none())
    }
}

/// A breach that was assumed.
#[derive(Debug, Clone)]
pub(crate) struct Breach {
    pub(crate) position: u64,
    pub(crate) at_ms: TimeMs,
    pub(crate) epoch: u32,
    /// The keys that signed it: the only ones that were left, and to be replaced.
    pub(crate) signers: Vec<KeyId>,
}

impl State {
    /// Takes in what an order does to keys.
    pub(crate) fn rotated(&mut self, order: model::OrderId, position: u64, at_ms: TimeMs, effect: &Effect) {
        match effect {
            Effect::KeysRotated { keys, epoch } => self.rotations.rotate(keys, *epoch, at_ms),
            Effect::OlderCaEnded { before, epoch } => {
                self.rotations.destroyed(&[KeyName::Ca], *before);
                self.rotations.begin(Some(*epoch), at_ms);
            }
            Effect::BreachAssumed { epoch, signers, reissues_an_hour, expires_at_ms, keys } => {
                let keys = keys.clone().unwrap_or_else(|| KeyName::of_first_breaches().collect());
                self.rotations.rotate(&keys, *epoch, at_ms);
                self.end_what_was_before(signers);
                let before_ms = StandingTemplate::USUAL_BEFORE_MS;
                let template = StandingTemplate::RenewCertificates { before_ms };
                self.standing.insert(order, Standing::new(template, *reissues_an_hour, *expires_at_ms));
                self.breach = Some(Breach { position, at_ms, epoch: *epoch, signers: signers.clone() });
            }
            _ => {}
        }
    }

    fn end_what_was_before(&mut self, signers: &[KeyId]) {
        self.first_token = None;
        self.sessions.clear();
        self.readers.clear();
        self.api_keys.clear();
        self.held.clear();
        self.keys.retain(|id, _| signers.contains(id));
        self.commanded.values_mut().for_each(|c| c.recalled = true);
        self.standing.values_mut().for_each(Standing::end);
        for e in self.enrolments.values_mut() {
            e.withdrawn |= e.issued.is_none();
            e.renewal = None;
            // Whoever was in may have seen codes, or the key they come from.
            e.card = None;
        }
    }

    /// Whether this was signed or decided before the breach that was assumed.
    pub(crate) fn is_before_breach(&self, position: u64) -> bool {
        self.breach.as_ref().is_some_and(|b| position < b.position)
    }

    /// Phones whose newest certificate is from before the breach.
    fn phones_to_reissue(&self, breach: &Breach, now_ms: TimeMs) -> u64 {
        let old = |e: &&crate::state::Enrolment| {
            e.is_under_management(now_ms) && e.issued.as_ref().is_some_and(|i| i.at_ms <= breach.at_ms)
        };
        self.enrolments.values().filter(old).count() as u64
    }
}

/// Keys whose older ones go by time and not by core's word.
fn by_itself(key: KeyName) -> bool {
    matches!(key, KeyName::Orders | KeyName::ScepRa | KeyName::Tls)
}

impl Chamber {
    pub(crate) fn next_epoch(&self) -> u32 {
        self.keys.file.epoch.max(self.state.rotations.epoch()).saturating_add(1)
    }

    pub(crate) fn rotate_keys(&self, order: &Order, keys: &[KeyName]) -> Result<Consequence, Refusal> {
        let ascending = keys.windows(2).all(|w| w.first() < w.last());
        if keys.is_empty() || !ascending || keys.contains(&KeyName::Links) || !order.targets.is_empty() {
            return Err(Refusal::BadArgument);
        }
        if keys.contains(&KeyName::Ca) {
            // The door's certificate would be of the older CA, and the vault has no key to make another for.
            if self.keys.file.tls_spki.is_none() && !keys.contains(&KeyName::Tls) {
                return Err(Refusal::CaWithoutTls);
            }
            if self.state.rotations.older_cas() >= MOST_OLDER_CAS {
                return Err(Refusal::TooManyOlderCas);
            }
        }
        if keys.contains(&KeyName::Root) && self.state.later_roots.len() >= root::MOST {
            return Err(Refusal::TooManyRoots);
        }
        Ok(Consequence::of(Effect::KeysRotated { keys: keys.to_vec(), epoch: self.next_epoch() }))
    }

    /// Whose keys are left is filled in when it is known who signed.
    pub(crate) fn assume_breach(&self, order: &Order, reissues_an_hour: u32) -> Result<Consequence, Refusal> {
        if !(1..=StandingTemplate::MOST_AN_HOUR).contains(&reissues_an_hour) || !order.targets.is_empty() {
            return Err(Refusal::BadArgument);
        }
        let full = self.state.later_roots.len() >= root::MOST;
        let all = KeyName::ALL.iter().copied().filter(|k| *k != KeyName::Root || !full).collect();
        Ok(Consequence::of(Effect::BreachAssumed {
            epoch: self.next_epoch(),
            signers: Vec::new(),
            reissues_an_hour,
            expires_at_ms: self.now_ms + REISSUES_MS,
            keys: Some(all),
        }))
    }

    pub(crate) fn end_key(&self, signer: &Signer, key: &KeyId) -> Result<Consequence, Refusal> {
        let ended =
            self.state.keys.get(key).filter(|k| k.person == signer.person).ok_or(Refusal::KeyStays)?;
        // Whoever could sign outside the browser goes on being able to: people, keys and limits take that.
        let outside = ended.key.scheme.is_outside_browser();
        let mut others = self
            .state
            .keys
            .iter()
            .filter(|(id, k)| k.person == signer.person && *id != key)
            .map(|(_, k)| &k.key);
        if !others.any(|k| !outside || k.scheme.is_outside_browser()) {
            return Err(Refusal::KeyStays);
        }
        Ok(Consequence::of(Effect::PersonKeyEnded { person: signer.person, key_id: *key }))
    }

    /// Opens rows and seals them again under the newest keys; gives those that changed with their places, and the
    /// places of those that no key here opens.
    pub(crate) fn reseal(
        &mut self,
        rows: &[(EnrolmentId, SealedRow)],
    ) -> Result<proto::ResealAnswer, Refusal> {
        self.check_budgets_are_confirmed()?;
        if rows.len() > MOST_AT_ONCE {
            return Err(Refusal::BadArgument);
        }
        let asked = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        if self.state.rotations.left(self.now_ms) < asked {
            self.alarm(AlarmKind::BudgetHit).refusal = Some(Refusal::ResealCapReached.number());
            return Err(Refusal::ResealCapReached);
        }
        let mut answer = proto::ResealAnswer::default();
        for (at, (enrolment, row)) in (0u32..).zip(rows) {
            // Push tokens are the courier's to seal again.
            let own = KeyName::of(row.compartment).filter(|k| k.made_by().is_none());
            let Some(old) = own.and_then(|k| self.state.rotations.old(k)) else {
                continue;
            };
            if seal::epoch_of(&row.wrapped_key).is_some_and(|epoch| epoch >= old.before) {
                continue;
            }
            let known =
                self.state.enrolments.contains_key(enrolment) || self.state.library.has_place(enrolment);
            match self.sealed_again(enrolment, row).filter(|_| known) {
                Some(row) => answer.rows.push(proto::ResealedRow { at, row: Some(rpc::row_to(row)) }),
                None => answer.lost.push(at),
            }
        }
        // Those that did not open too: which do is something to learn, and costs as much.
        let tried = answer.rows.len() + answer.lost.len();
        if tried > 0 {
            self.record(Body::Resealed { rows: u32::try_from(tried).unwrap_or(u32::MAX) });
        }
        Ok(answer)
    }

    fn sealed_again(&mut self, enrolment: &EnrolmentId, row: &SealedRow) -> Option<SealedRow> {
        let value = self.opener.open(enrolment, row).ok()?;
        let (mask, tag) = (row.mask.clone(), row.change_tag.clone());
        let (rng, now_ms) = (&self.rng, self.now_ms);
        self.sealer.seal(rng, now_ms, enrolment, &row.name, row.compartment, &value, mask, tag).ok()
    }

    /// Core says that nothing is left under an older key.
    pub(crate) fn nothing_left(&mut self, key: KeyName, before: u32) -> Result<(), Refusal> {
        let old = self.state.rotations.old(key).filter(|o| o.before == before && !by_itself(key));
        let old = old.ok_or(Refusal::BadArgument)?;
        // The vault sees for itself whether a phone is left that uses an older CA's certificate.
        let needed = key == KeyName::Ca && self.state.phones_of_older_ca(self.now_ms) > 0;
        if needed || self.now_ms < old.since_ms + SETTLED_MS {
            return Err(Refusal::OldKeyStillNeeded);
        }
        tracing::info!(
            key = key.name(),
            epoch = before,
            "nothing is left under the older key; it is destroyed"
        );
        // What an older CA signed is believed by a statement of before, so there is none of that epoch any more.
        let epoch = (key == KeyName::Ca).then(|| self.next_epoch());
        self.record(Body::KeysDestroyed { keys: vec![key], before, epoch });
        Ok(())
    }

    /// A room made a key that was ordered, as the supervisor says. Said again, or not asked for, it changes nothing.
    pub(crate) fn room_key_made(&mut self, key: KeyName, number: u32, public: Vec<u8>) {
        if !self.state.rotations.awaited().contains(&(key, number)) {
            return;
        }
        if let Err(why) = self.keys.fits(key, &public) {
            tracing::error!(key = key.name(), reason = why, "a room's new key is not taken");
            return;
        }
        let epoch = self.next_epoch();
        tracing::info!(key = key.name(), epoch, "a room's new key is taken");
        self.record(Body::RoomKeyTaken { key, number, epoch, public: Opaque(public) });
    }

    /// What the vault does about its keys by itself: services' tokens are sealed again, and older keys of orders go
    /// when every order that was sealed to them has run out; after a breach at once.
    pub(crate) fn keep_keys(&mut self) {
        self.keep_ra();
        let Some(old) = self.state.rotations.old(KeyName::Orders) else { return };
        let epoch = self.keys.file.epoch;
        if epoch < old.before {
            return;
        }
        // Once: what is set later is sealed to the newest key, and this is asked before every batch.
        if self.tokens_sealed_for != epoch {
            self.seal_tokens_again();
            self.tokens_sealed_for = epoch;
        }
        let breached = self.state.breach.as_ref().is_some_and(|b| b.epoch >= old.before);
        if breached || self.now_ms >= old.since_ms + Order::LONGEST_LIFE_MS {
            self.record(Body::KeysDestroyed { keys: vec![KeyName::Orders], before: old.before, epoch: None });
        }
    }

    /// A phone that was told the RA's certificate before has a while to use it; after a breach none.
    fn keep_ra(&mut self) {
        let Some(old) = self.state.rotations.old(KeyName::ScepRa) else { return };
        let number = self.state.rotations.ordered.get(&KeyName::ScepRa);
        let breached = self.state.breach.as_ref().is_some_and(|b| number.is_some_and(|n| b.epoch >= *n));
        if breached || self.now_ms >= old.since_ms + RA_KEPT_MS {
            self.record(Body::KeysDestroyed { keys: vec![KeyName::ScepRa], before: old.before, epoch: None });
        }
    }

    fn seal_tokens_again(&mut self) {
        let key = &self.keys.file.order_key;
        let mut again = Vec::new();
        for (service, sealed) in &self.state.service_tokens {
            let (info, aad) = (to::INFO_SERVICE_TOKEN, service.as_bytes());
            if to::open(key, info, aad, &sealed.0).is_ok() {
                continue;
            }
            let Ok(token) = self.keys.open_order(info, aad, &sealed.0) else {
                tracing::error!(service, "a service's token opens with no key of the vault's; set it anew");
                continue;
            };
            if let Ok(sealed) = to::seal(&key.public(), info, aad, &token, &self.rng) {
                again.push((service.clone(), sealed));
            }
        }
        for (service, sealed) in again {
            self.record(Body::ServiceTokenResealed { service, sealed: Opaque(sealed) });
        }
    }

    /// How the keys stand, and what a breach has left to do.
    pub(crate) fn keys_overview(&self) -> proto::KeysAnswer {
        let rotations = &self.state.rotations;
        let key = |name: &KeyName| {
            let (epoch, made_at_ms) = rotations.made.get(name).copied().unwrap_or((1, 0));
            let old = rotations.old(*name);
            proto::KeyState {
                key: u32::from(name.number()),
                epoch,
                made_at_ms,
                old_before: old.map_or(0, |o| o.before),
                rotated_at_ms: old.map_or(0, |o| o.since_ms),
                awaited: rotations.awaited.contains_key(name),
                phones_left: match (name, old) {
                    (KeyName::Ca, Some(_)) => self.state.phones_of_older_ca(self.now_ms),
                    _ => 0,
                },
            }
        };
        let breach = self.state.breach.as_ref().map(|b| proto::BreachState {
            at_ms: b.at_ms,
            position: b.position,
            epoch: b.epoch,
            phones_left: self.state.phones_to_reissue(b, self.now_ms),
            signers_left: b.signers.iter().filter(|k| self.state.keys.contains_key(k)).count() as u64,
            people_without_key: self.people_without_key(),
        });
        proto::KeysAnswer {
            epoch: self.keys.file.epoch,
            keys: KeyName::ALL.iter().map(key).collect(),
            breach,
        }
    }

    fn people_without_key(&self) -> u64 {
        let has_key = |p: &model::PersonId| self.state.keys.values().any(|k| k.person == *p);
        self.state.people.iter().filter(|(id, p)| p.present && !has_key(id)).count() as u64
    }
}
