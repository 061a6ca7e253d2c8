//! Standing orders that install, tried for more than they were made for: another profile, a phone of another group, more than the cap.

use model::{Clock, Compartment, EnrolmentId, OrderId, ProfileId, SealedRow, StandingInstall, SystemClock};
use rpc::proto;
use seal::{CompartmentPublic, KeyPairSecret, PublicKey, Sealer};

use super::vault::{GUESSES, refusal, told};
use super::{Core, Vault};
use crate::tell;

fn asked(standing: OrderId, phone: EnrolmentId, row: Option<&SealedRow>) -> proto::ActRequest {
    proto::ActRequest {
        standing: standing.0.to_vec(),
        enrolment: phone.0.to_vec(),
        profile: row.cloned().map(rpc::row_to),
        holder_code: None,
        over: None,
    }
}

impl Core {
    pub(crate) async fn install_by_standing_orders(&self, vault: &mut Vault) {
        let installs: Vec<(OrderId, StandingInstall)> = (self.loot.standing.iter())
            .filter_map(|s| Some((s.order, s.template.install()?.clone())))
            .collect();
        // First what the cap says nothing of: once it is spent nothing else is looked at.
        for (standing, of) in &installs {
            self.install_another(vault, *standing, of).await;
        }
        for (standing, of) in &installs {
            self.install_widely(vault, *standing, of).await;
        }
    }

    /// Other profiles' content, moved, renamed and of the own making.
    async fn install_another(&self, vault: &mut Vault, standing: OrderId, of: &StandingInstall) {
        let name = "have another profile installed under a standing order";
        let own_name = format!("Profile.{}", of.version);
        let others = self.loot.contents.iter().filter(|(p, v, _)| (*p, *v) != (of.profile, of.version));
        let mut rows: Vec<SealedRow> = others
            .flat_map(|(_, _, row)| [row.clone(), SealedRow { name: own_name.clone(), ..row.clone() }])
            .collect();
        for (_, _, row) in self.loot.contents.iter().filter(|(p, ..)| *p == of.profile) {
            let mut turned = row.clone();
            turned.ciphertext.iter_mut().take(1).for_each(|b| *b ^= 1);
            rows.push(turned);
        }
        rows.extend(self.sealed_profile(&of.profile, &own_name));
        for phone in self.told.enrolments.iter().take(10) {
            for row in rows.iter().map(Some).chain([None]) {
                told(name, vault.act(asked(standing, *phone, row)).await, |a| a.refusal);
            }
        }
    }

    /// A profile of the intruder's own, sealed as anyone can for the vault.
    fn sealed_profile(&self, profile: &ProfileId, name: &str) -> Option<SealedRow> {
        let own = KeyPairSecret::generate(&self.rng).ok()?;
        let keys = self.statement.compartments.iter().map(|(compartment, key)| CompartmentPublic {
            compartment: *compartment,
            epoch: self.statement.epoch,
            key: PublicKey(key.0),
        });
        let mut sealer = Sealer::new(own, keys.collect());
        let (place, now_ms) = (order::profile_place(profile), SystemClock.now_ms());
        let content = [[7; 32].as_slice(), b"<plist version=\"1.0\"><dict/></plist>"].concat();
        let sealed = sealer.seal(
            &self.rng,
            now_ms,
            &place,
            name,
            Compartment::Secret,
            &content,
            String::new(),
            vec![],
        );
        sealed.ok()
    }

    /// The right content, for every phone. What the vault does within the cap it was made to do; the ledger tells the drill how often.
    async fn install_widely(&self, vault: &mut Vault, standing: OrderId, of: &StandingInstall) {
        let right = self.loot.contents.iter().find(|(p, v, _)| (*p, *v) == (of.profile, of.version));
        let Some((_, _, row)) = right else { return };
        let at_home = of.home.as_ref().is_none_or(|home| home.as_str() == "bench");
        let (within, beyond) = if at_home {
            (
                "have a mild profile installed within a standing order's cap",
                "have a profile installed beyond a standing order's cap",
            )
        } else {
            let outside = "have a standing order's profile installed on a phone of another group";
            (outside, outside)
        };
        let mut acted: Vec<Vec<u8>> = Vec::new();
        for phone in self.told.enrolments.iter().take(GUESSES) {
            match vault.act(asked(standing, *phone, Some(row))).await {
                Ok(answer) => match answer.get_ref().refusal {
                    0 => {
                        acted.push(phone.0.to_vec());
                        tell::attempt(within, true, "nobody");
                    }
                    n => tell::attempt(beyond, false, refusal(n)),
                },
                Err(status) => tell::attempt(beyond, false, format!("the vault ({:?})", status.code())),
            }
        }
        let name = "have a standing order's warrants made for phones that it did nothing for";
        let enrolments = self.told.enrolments.iter().map(|e| e.0.to_vec()).collect();
        match vault.warrants(proto::WarrantsRequest { order: standing.0.to_vec(), enrolments }).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                let others = answer.warrants.iter().any(|w| !acted.contains(&w.enrolment));
                let by = match answer.refusal {
                    0 => "the vault (those alone that it acted for)".to_owned(),
                    n => refusal(n),
                };
                tell::attempt(name, others, by);
            }
            Err(status) => tell::attempt(name, false, format!("the vault ({:?})", status.code())),
        }
    }
}
