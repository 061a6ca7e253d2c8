//! What live grants still pay for is core's to take: each is drawn on until the vault refuses, and then some more.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Compartment, Digest, EnrolmentId, Role, SealedRow};
use order::{OrderKind, OrderSignature, SignedOrder};
use rpc::proto;
use seal::{IndexEntry, SearchToken};

use super::vault::{refusal, rows_to};
use super::{Core, Vault, random};
use crate::tell;

/// How often it tries on after the first refusal of a session.
const TRIES_BEYOND: usize = 20;
/// How many guesses at numbers are searched for.
const MOST_SEARCHES: usize = 200;

impl Core {
    pub(crate) async fn use_grants(&self, mut vault: Vault) {
        let mut signed_in = self.signed_in.subscribe();
        let patience = Duration::from_secs(self.told.patience_s);
        let all = |n: &usize| *n >= self.told.sign_ins;
        let _ = tokio::time::timeout(patience, signed_in.wait_for(all)).await;
        let sessions = self.sessions.lock().await.clone();
        let mut phones: BTreeMap<EnrolmentId, Vec<SealedRow>> = BTreeMap::new();
        for (phone, row) in &self.loot.rows {
            phones.entry(*phone).or_default().push(row.clone());
        }
        // From another phone on in each session, so that none is paid for twice.
        let mut next = phones.iter().cycle();
        for session in &sessions {
            self.open_until_refused(&mut vault, session, &mut next, phones.len()).await;
            self.open_otherwise(&mut vault, session, &phones).await;
            self.search_until_refused(&mut vault, session).await;
        }
        self.reuse_signatures(&mut vault).await;
    }

    /// Opens these rows under a session; says what came.
    async fn open(
        &self,
        vault: &mut Vault,
        session: &[u8],
        rows: Vec<proto::PhoneRow>,
    ) -> Result<usize, String> {
        let used = proto::GrantUse { session: session.to_vec(), open: rows, sealed_search: vec![] };
        match vault.use_grant(used).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                for o in &answer.opened {
                    let text = String::from_utf8_lossy(&o.value);
                    tell::value(rpc::enrolment_id(&o.enrolment).ok(), &text);
                }
                match answer.refusal {
                    0 => Ok(answer.opened.len()),
                    n => Err(refusal(n)),
                }
            }
            Err(status) => Err(format!("the vault ({:?})", status.code())),
        }
    }

    async fn open_until_refused<'a>(
        &self,
        vault: &mut Vault,
        session: &Digest,
        next: &mut impl Iterator<Item = (&'a EnrolmentId, &'a Vec<SealedRow>)>,
        most: usize,
    ) {
        let mut beyond = 0;
        for (phone, rows) in next.take(most) {
            // A record is a phone: all that is sealed of it, but what no grant covers.
            let open = rows.iter().filter(|r| {
                !matches!(r.compartment, Compartment::Push | Compartment::Escrow | Compartment::Secret)
            });
            let open: Vec<_> = open.map(|r| (*phone, r.clone())).collect();
            match self.open(vault, session.as_bytes(), rows_to(&open)).await {
                Ok(n) => tell::attempt("open a record within a live grant", n > 0, "nobody: it is paid for"),
                Err(by) => {
                    tell::attempt("open a record beyond a grant", false, by);
                    beyond += 1;
                }
            }
            if beyond > TRIES_BEYOND {
                return;
            }
        }
    }

    /// Many at once, other phones' rows under one phone's id, no session, half a session.
    async fn open_otherwise(
        &self,
        vault: &mut Vault,
        session: &Digest,
        phones: &BTreeMap<EnrolmentId, Vec<SealedRow>>,
    ) {
        let name = "open a record beyond a grant";
        let all: Vec<_> = self.loot.rows.iter().take(999).cloned().collect();
        let one = phones.keys().next().copied();
        let as_one: Vec<_> = one
            .into_iter()
            .flat_map(|one| self.loot.rows.iter().take(200).map(move |(_, row)| (one, row.clone())))
            .collect();
        let twice: Vec<_> = self.loot.rows.iter().take(1).flat_map(|r| vec![r.clone(); 2]).collect();
        let half = session.0.split_at(16).0.to_vec();
        for (session, rows) in [
            (session.0.to_vec(), rows_to(&all)),
            (session.0.to_vec(), rows_to(&as_one)),
            (session.0.to_vec(), rows_to(&twice)),
            (vec![], rows_to(&twice)),
            (half, rows_to(&twice)),
            (random::<32>(&self.rng).to_vec(), rows_to(&twice)),
        ] {
            match self.open(vault, &session, rows).await {
                Ok(n) => tell::attempt(name, n > 0, "nobody"),
                Err(by) => tell::attempt(name, false, by),
            }
        }
    }

    /// A guess that a search confirms is read too.
    async fn search_until_refused(&self, vault: &mut Vault, session: &Digest) {
        for guess in self.told.guesses.iter().take(MOST_SEARCHES) {
            let sealed_search = self.seal_search("phone", guess, session);
            let used = proto::GrantUse { session: session.0.to_vec(), open: vec![], sealed_search };
            let answer = match vault.use_grant(used).await {
                Ok(answer) => answer.into_inner(),
                Err(status) => {
                    return tell::attempt(
                        "search beyond a grant",
                        false,
                        format!("the vault ({:?})", status.code()),
                    );
                }
            };
            if answer.refusal != 0 {
                return tell::attempt("search beyond a grant", false, refusal(answer.refusal));
            }
            tell::attempt("search within a live grant", true, "nobody: it is paid for");
            let tokens = answer.tokens.iter().filter_map(|t| <[u8; 32]>::try_from(t.as_slice()).ok());
            for token in tokens.map(SearchToken::from_bytes) {
                let fits = |entry: &[u8]| IndexEntry::from_bytes(entry).is_some_and(|e| token.matches(&e));
                for (slot, _) in self.loot.index.iter().filter(|(_, entry)| fits(entry)) {
                    let phone = self.loot.phones.iter().find(|(s, _)| s == slot);
                    tell::value(phone.map(|(_, e)| *e), guess);
                }
            }
        }
    }

    /// Two people's signatures, made for their grants, under an order that takes two.
    async fn reuse_signatures(&self, vault: &mut Vault) {
        let harvested = self.harvested.lock().await.clone();
        let signatures: Vec<OrderSignature> = harvested.iter().flat_map(|s| s.signatures.clone()).collect();
        if signatures.is_empty() {
            return;
        }
        let key = self.key.person_key();
        let order =
            self.order(OrderKind::AddPerson { key, role: Role::Administrator, group: None }, vec![], None);
        let stolen = SignedOrder {
            order: order::encode(&order),
            signatures: signatures.iter().take(8).cloned().collect(),
        };
        let name = "become an administrator by two harvested sign-ins";
        self.submit(vault, name, &stolen, vec![]).await;
        let mut with_own = SignedOrder::sign(&order, &self.key);
        with_own.signatures.extend(signatures.iter().take(4).cloned());
        self.submit(vault, name, &with_own, vec![]).await;
        // A grant with another person's signature beside its own: the bytes are signed, the budget is not raised.
        for one in &harvested {
            let mut both = one.clone();
            both.signatures
                .extend(signatures.iter().filter(|s| !one.signatures.contains(s)).take(4).cloned());
            let widened = both.signatures.len() > one.signatures.len();
            if widened {
                self.submit(vault, "widen a grant by another's signature", &both, vec![]).await;
            }
        }
    }
}
