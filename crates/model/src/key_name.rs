//! The keys of the house that can be rotated, each by its name.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::Compartment;
use crate::duty::named;

named!(
    /// A key that an order rotates: the vault's, or one that another room makes for itself and the vault states.
    /// Closed: numbers are never reused.
    KeyName {
        /// Opens names, emails, user ids.
        Identity = 1, "identity";
        /// Opens phone numbers.
        Contact = 2, "contact";
        /// Opens hardware ids.
        Hardware = 3, "hardware";
        /// Opens push tokens; the courier makes it.
        Push = 4, "push";
        /// Opens unlock and bootstrap tokens, PINs, bypass codes.
        Escrow = 5, "escrow";
        /// Opens where a lost phone is.
        Location = 6, "location";
        /// Opens profile payloads and integration tokens.
        Secret = 7, "secret";
        /// Opens whatever else a phone says that is not on the list.
        Other = 8, "other";
        /// Search entries are made with it.
        Index = 20, "index";
        /// Warrants are signed with it.
        Warrant = 21, "warrant";
        /// Orders' arguments and services' tokens are sealed to it.
        Orders = 22, "orders";
        /// The vault proves itself with it when it seals.
        VaultSender = 23, "vault_sender";
        /// Invitations' links and challenges are derived from it. Rotated with a breach alone: what it made before
        /// is not found again.
        Links = 24, "links";
        /// What goes to a phone and is secret is sealed to it; the door makes it.
        Delivery = 25, "delivery";
        /// The reader proves itself with it when it seals; the reader makes it.
        ReaderSender = 26, "reader_sender";
        /// Phones' certificate requests are sealed to it, and answers signed with it; the reader makes it.
        ScepRa = 27, "scep_ra";
        /// The certificate authority's: it signs phones' certificates. Rotated by its own name alone, since every phone
        /// then gets a new certificate.
        Ca = 28, "ca";
        /// The one that the house makes for its phones' listener, where no other is configured; the door makes it.
        Tls = 29, "tls";
        /// By it the reader says whether a value has changed, so that core needs not be told the value; the reader makes it.
        ChangeTags = 30, "change_tags";
        /// The key that every room, administrator and witness has pinned: it signs key statements, checkpoints and backups'
        /// manifests. Rotated by its own name alone, since witnesses and who wrote its fingerprint down hear of it.
        Root = 31, "root";
    }
);

impl KeyName {
    /// The compartment that it opens, if it opens one.
    #[must_use]
    pub fn compartment(self) -> Option<Compartment> {
        match self {
            Self::Identity => Some(Compartment::Identity),
            Self::Contact => Some(Compartment::Contact),
            Self::Hardware => Some(Compartment::Hardware),
            Self::Push => Some(Compartment::Push),
            Self::Escrow => Some(Compartment::Escrow),
            Self::Location => Some(Compartment::Location),
            Self::Secret => Some(Compartment::Secret),
            Self::Other => Some(Compartment::Other),
            _ => None,
        }
    }

    /// The room that makes it for itself, by name; `None`: the vault.
    #[must_use]
    pub fn made_by(self) -> Option<&'static str> {
        match self {
            Self::Push => Some("courier"),
            Self::Delivery | Self::Tls => Some("door"),
            Self::ReaderSender | Self::ScepRa | Self::ChangeTags => Some("reader"),
            _ => None,
        }
    }

    /// Its number, the same in the ledger and on the wire.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Identity => 1,
            Self::Contact => 2,
            Self::Hardware => 3,
            Self::Push => 4,
            Self::Escrow => 5,
            Self::Location => 6,
            Self::Secret => 7,
            Self::Other => 8,
            Self::Index => 20,
            Self::Warrant => 21,
            Self::Orders => 22,
            Self::VaultSender => 23,
            Self::Links => 24,
            Self::Delivery => 25,
            Self::ReaderSender => 26,
            Self::ScepRa => 27,
            Self::Ca => 28,
            Self::Tls => 29,
            Self::ChangeTags => 30,
            Self::Root => 31,
        }
    }

    /// The key of that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|k| k.number() == number)
    }

    /// The key that opens a compartment.
    #[must_use]
    pub fn of(compartment: Compartment) -> Option<Self> {
        Self::ALL.iter().copied().find(|k| k.compartment() == Some(compartment))
    }

    /// What 'all' means in an order: what is made anew without any phone, witness or
    /// administrator having to do something.
    pub fn rotatable() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|k| !matches!(k, Self::Links | Self::Ca | Self::Root))
    }

    /// What a breach that was assumed made anew in ledgers that don't say it: the keys that there were then.
    pub fn of_first_breaches() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|k| k.number() <= Self::ScepRa.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_compartment_has_a_key_of_its_own_name_and_push_is_the_couriers() {
        for c in Compartment::ALL {
            let key = KeyName::of(c).unwrap();
            assert_eq!(key.name(), c.name());
            assert_eq!(key.made_by(), (c == Compartment::Push).then_some("courier"));
        }
    }
}
