//! What an order counts as, and the numbers it is held to. The table itself is `order::limits`.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{Role, TimeMs, clock};

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$line:meta])* $variant:ident = $number:literal, $word:literal;)* }) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode,
        )]
        #[serde(rename_all = "snake_case")]
        #[cbor(index_only)]
        pub enum $name {
            $($(#[$line])* #[n($number)] $variant,)*
        }

        impl $name {
            /// Every one.
            pub const ALL: &'static [$name] = &[$(Self::$variant),*];

            /// The name used in routes, the ledger and on the command line.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// The one of that name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|d| d.name() == name)
            }
        }
    };
}

pub(crate) use named;

named!(
    /// What an order counts as: budgets, signers and cooling-off go by it. Closed: numbers are never reused.
    Duty {
        /// Erasing a phone, and whatever the vault judges to be as bad.
        Erase = 1, "erase";
        /// Locking screens.
        Lock = 2, "lock";
        /// Lost mode, where a phone is, making it ring; holder's cards, with which that is asked for.
        LostMode = 3, "lost_mode";
        /// Taking passcodes away.
        ClearPasscode = 4, "clear_passcode";
        /// Restarting and switching off.
        Restart = 5, "restart";
        /// Mild profiles, settings and declarations, apps of the App Store.
        Configure = 6, "configure";
        /// Code and settings of someone's choice: apps by a manifest, apps' settings, raw commands.
        InstallCode = 7, "install_code";
        /// Inviting phones.
        Invite = 8, "invite";
        /// Opening records: what is sealed of one phone.
        Open = 9, "open";
        /// Searching by what is sealed.
        Search = 10, "search";
        /// Adding people and taking them out.
        People = 11, "people";
        /// Changing what stands in this table.
        Limits = 12, "limits";
        /// Another key for oneself, keys for programs, tokens of services.
        Keys = 13, "keys";
        /// What the vault may do by itself.
        Standing = 14, "standing";
        /// Sessions and grants.
        SignIn = 15, "sign_in";
        /// Ending something: a recall, a session, a key, a standing order, an open invitation.
        End = 16, "end";
    }
);

named!(
    /// How far back a budget looks. It slides: what was done longer ago than that counts no more.
    Window {
        /// The last 60 minutes.
        Hour = 1, "hour";
        /// The last 24 hours.
        Day = 2, "day";
    }
);

impl Window {
    /// Its length.
    #[must_use]
    pub fn ms(self) -> TimeMs {
        match self {
            Self::Hour => clock::HOUR_MS,
            Self::Day => clock::DAY_MS,
        }
    }
}

/// Whose budget it is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode,
)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    /// Each person of that role, who signs alone.
    #[n(1)]
    Person(#[n(0)] Role),
    /// All of that role together, each signing alone.
    #[n(2)]
    Role(#[n(0)] Role),
    /// Everyone who signs alone.
    #[n(3)]
    House,
    /// What several signed together, in the whole house.
    #[n(4)]
    Approved,
}

/// One number of the table.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode,
)]
#[serde(tag = "limit", rename_all = "snake_case")]
pub enum Limit {
    /// How much of it in a window: phones, records, searches or orders.
    #[n(1)]
    Budget {
        /// Of what.
        #[n(0)]
        duty: Duty,
        /// Whose.
        #[n(1)]
        whose: Whose,
        /// In which time.
        #[n(2)]
        window: Window,
    },
    /// How many people sign each such order.
    #[n(2)]
    Signers {
        /// Of what.
        #[n(0)]
        duty: Duty,
    },
    /// How many phones one person's signature is enough for in one order.
    #[n(3)]
    Alone {
        /// Of what.
        #[n(0)]
        duty: Duty,
    },
    /// How many seconds an order for more phones than that waits before any phone is told.
    #[n(4)]
    CoolingOff {
        /// Of what.
        #[n(0)]
        duty: Duty,
    },
}

impl Limit {
    /// What it limits.
    #[must_use]
    pub fn duty(&self) -> Duty {
        match self {
            Self::Budget { duty, .. }
            | Self::Signers { duty }
            | Self::Alone { duty }
            | Self::CoolingOff { duty } => *duty,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duty_is_found_by_its_name() {
        for duty in Duty::ALL {
            assert_eq!(Duty::from_name(duty.name()), Some(*duty));
        }
        assert_eq!(Duty::from_name("wipe"), None);
    }
}
