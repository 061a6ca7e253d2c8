//! What a phone is: everything about it that doesn't change while it lives, made from a seed.

use crate::dice::Dice;
use crate::numbers;
use crate::people;

/// A kind of iPhone. Sources: Apple's identifiers as seen in `ProductName`; part numbers are made up.
struct Kind {
    product: &'static str,
    /// The chip id at the head of its UDIDs.
    chip: u32,
    part: &'static str,
    esim: bool,
    capacities_gb: &'static [u16],
    /// The newest system it runs, as an index into [`SYSTEMS`].
    newest: usize,
}

const KINDS: [Kind; 12] = [
    Kind {
        product: "iPhone9,3",
        chip: 0x8010,
        part: "MN8X2",
        esim: false,
        capacities_gb: &[32, 128],
        newest: 1,
    },
    Kind {
        product: "iPhone10,4",
        chip: 0x8015,
        part: "MQ6G2",
        esim: false,
        capacities_gb: &[64, 256],
        newest: 3,
    },
    Kind {
        product: "iPhone11,8",
        chip: 0x8020,
        part: "MRY42",
        esim: true,
        capacities_gb: &[64, 128],
        newest: 8,
    },
    Kind {
        product: "iPhone12,1",
        chip: 0x8030,
        part: "MWLT2",
        esim: true,
        capacities_gb: &[64, 128],
        newest: 8,
    },
    Kind {
        product: "iPhone12,8",
        chip: 0x8030,
        part: "MHGP3",
        esim: true,
        capacities_gb: &[64, 128],
        newest: 8,
    },
    Kind {
        product: "iPhone13,2",
        chip: 0x8101,
        part: "MGJ53",
        esim: true,
        capacities_gb: &[64, 128],
        newest: 8,
    },
    Kind {
        product: "iPhone14,5",
        chip: 0x8110,
        part: "MLPF3",
        esim: true,
        capacities_gb: &[128, 256],
        newest: 8,
    },
    Kind {
        product: "iPhone14,6",
        chip: 0x8110,
        part: "MMXF3",
        esim: true,
        capacities_gb: &[64, 128],
        newest: 8,
    },
    Kind {
        product: "iPhone14,7",
        chip: 0x8110,
        part: "MPVN3",
        esim: true,
        capacities_gb: &[128, 256],
        newest: 8,
    },
    Kind {
        product: "iPhone15,4",
        chip: 0x8120,
        part: "MTP13",
        esim: true,
        capacities_gb: &[128, 256],
        newest: 8,
    },
    Kind {
        product: "iPhone16,1",
        chip: 0x8130,
        part: "MTUV3",
        esim: true,
        capacities_gb: &[128, 512],
        newest: 8,
    },
    Kind {
        product: "iPhone17,3",
        chip: 0x8140,
        part: "MYEF3",
        esim: true,
        capacities_gb: &[128, 256],
        newest: 8,
    },
];

/// Version, build, major. In the order of their age.
const SYSTEMS: [(&str, &str, u16); 9] = [
    ("15.7.9", "19H365", 15),
    ("15.8.3", "19H386", 15),
    ("16.6.1", "20G81", 16),
    ("16.7.10", "20H350", 16),
    ("17.5.1", "21F90", 17),
    ("17.6.1", "21G93", 17),
    ("17.7.2", "21H221", 17),
    ("18.0.1", "22A3370", 18),
    ("18.1.1", "22B91", 18),
];

const CARRIERS: [(&str, &str); 4] =
    [("Example Mobile", "10"), ("Sample Telecom", "15"), ("Specimen", "20"), ("Demo Net", "30")];

/// An app on a phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Bundle identifier.
    pub identifier: &'static str,
    /// What people see.
    pub name: &'static str,
    /// `CFBundleShortVersionString`.
    pub short_version: String,
    /// `CFBundleVersion`.
    pub version: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Installed by management.
    pub managed: bool,
}

/// Identifier, name, of a thousand phones how many have it, managed.
const APPS: [(&str, &str, u16, bool); 24] = [
    ("org.example.hospital.pager", "Ward Pager", 950, true),
    ("org.example.hospital.rota", "Rota", 900, true),
    ("org.example.hospital.charts", "Bedside Charts", 700, true),
    ("org.example.hospital.obs", "Observations", 650, true),
    ("org.example.hospital.formulary", "Formulary", 500, true),
    ("org.example.hospital.handover", "Handover", 400, true),
    ("org.example.hospital.porter", "Porter Calls", 150, true),
    ("org.example.vpn", "Trust Connect", 600, true),
    ("org.example.authenticator", "Sign-in Codes", 800, true),
    ("org.example.mail", "Staff Mail", 850, true),
    ("org.example.scanner", "Label Scanner", 300, true),
    ("org.example.translate", "Interpreter", 200, true),
    ("test.maps.streets", "Streets", 300, false),
    ("test.news.daily", "Daily News", 200, false),
    ("test.weather.sky", "Sky Tomorrow", 250, false),
    ("test.music.stream", "Streamer", 220, false),
    ("test.transit.bus", "Bus Times", 260, false),
    ("test.chat.hello", "Hello Chat", 350, false),
    ("test.bank.pebble", "Pebble Bank", 120, false),
    ("test.shop.basket", "Basket", 110, false),
    ("test.photo.frame", "Frame", 90, false),
    ("test.fitness.steps", "Steps", 140, false),
    ("test.game.tiles", "Tiles", 80, false),
    ("test.notes.page", "Page", 130, false),
];

/// One telephone line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `CTSubscriptionSlotOne` or `…Two`.
    pub slot: &'static str,
    /// As a phone reports it: `+447700900123`. A drama number.
    pub phone_number: String,
    /// 15 digits.
    pub imei: String,
    /// The first 14 digits of the IMEI, as phones without CDMA report it.
    pub meid: String,
    /// The SIM.
    pub iccid: String,
    /// The eSIM chip, on phones that have one.
    pub eid: Option<String>,
    /// The network's name.
    pub carrier: &'static str,
    /// Mobile network code; the country code is 234.
    pub mnc: &'static str,
}

/// What a phone is. Made anew from the seed when needed, so that 100,000 phones fit into memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Handset {
    /// Apple's form since 2018.
    pub udid: String,
    /// Ten letters and digits.
    pub serial: String,
    /// `iPhone14,6`.
    pub product_name: &'static str,
    /// Part number.
    pub model: String,
    /// `17.6.1`.
    pub os_version: &'static str,
    /// `21G93`.
    pub build_version: &'static str,
    /// 15 to 18.
    pub os_major: u16,
    /// Named by its holder.
    pub device_name: String,
    /// Supervised by the hospital; about half are.
    pub supervised: bool,
    /// In GB of 10⁹ bytes.
    pub capacity_gb: f64,
    /// In GB.
    pub available_gb: f64,
    /// 0 to 1.
    pub battery: f64,
    /// `Europe/London`.
    pub time_zone: &'static str,
    /// Baseband firmware.
    pub modem: String,
    /// Hardware address.
    pub wifi_mac: String,
    /// Hardware address.
    pub bluetooth_mac: String,
    /// One line, or two for about one phone in six that can.
    pub lines: Vec<Line>,
    /// What is installed.
    pub apps: Vec<App>,
    /// A passcode was set; nearly all have one.
    pub passcode: bool,
    /// Speaks binary property lists instead of XML; few do.
    pub binary: bool,
    /// Finds itself in Find My.
    pub locator: bool,
    /// A Siri-and-settings set of yes and no: cloud backup, store account, analytics, diagnostics, roaming.
    pub switches: [bool; 5],
}

impl Handset {
    /// The `index`-th phone of the fleet with this seed.
    #[must_use]
    pub fn of(seed: u64, index: u32) -> Self {
        let mut dice = Dice::of(seed, index, 2);
        let kind = dice.pick(&KINDS).unwrap_or(&KINDS[0]);
        // Most phones are up to date, a few lag far behind.
        let lag = if dice.per_mille(650) { 0 } else { dice.below(5) };
        let system = SYSTEMS.get(kind.newest.saturating_sub(usize::try_from(lag).unwrap_or(0)));
        let (os_version, build_version, os_major) = system.copied().unwrap_or(("18.1.1", "22B91", 18));
        let capacity_gb = dice.pick(kind.capacities_gb).map_or(64.0, |gb| f64::from(*gb));
        let person = people::person(seed, index);
        let first = person.name.split(' ').next().unwrap_or_default();
        let device_name = match dice.below(4) {
            0 => "iPhone".to_owned(),
            1 => format!("{}-{:04}", person.group, index % 10_000),
            2 => format!("{first} work phone"),
            _ => format!("{first}’s iPhone"),
        };
        Self {
            udid: numbers::udid(kind.chip, &mut dice),
            serial: numbers::serial(&mut dice),
            product_name: kind.product,
            model: format!("{}B/A", kind.part),
            os_version,
            build_version,
            os_major,
            device_name,
            supervised: dice.per_mille(500),
            capacity_gb,
            available_gb: capacity_gb * tenths(&mut dice),
            battery: tenths(&mut dice).max(0.03),
            time_zone: if dice.per_mille(970) { "Europe/London" } else { "Europe/Dublin" },
            modem: format!("{}.{:02}.{:02}", 2 + dice.below(6), dice.below(90), dice.below(10)),
            wifi_mac: numbers::mac(&mut dice),
            bluetooth_mac: numbers::mac(&mut dice),
            lines: lines(kind.esim, index, &mut dice),
            apps: APPS.iter().filter_map(|app| self::app(app, &mut dice)).collect(),
            passcode: dice.per_mille(960),
            binary: dice.per_mille(60),
            locator: dice.per_mille(400),
            switches: std::array::from_fn(|_| dice.per_mille(450)),
        }
    }
}

/// 0 to 0.99 in hundredths, so that it is written the same everywhere.
fn tenths(dice: &mut Dice) -> f64 {
    f64::from(u32::try_from(dice.below(100)).unwrap_or(0)) / 100.0
}

fn lines(esim: bool, index: u32, dice: &mut Dice) -> Vec<Line> {
    let two = esim && dice.per_mille(170);
    let eid = esim.then(|| numbers::eid(dice));
    let slots = ["CTSubscriptionSlotOne", "CTSubscriptionSlotTwo"];
    slots
        .into_iter()
        .zip(0..)
        .take(if two { 2 } else { 1 })
        .map(|(slot, i)| {
            let imei = numbers::imei(index, i);
            let (carrier, mnc) = dice.pick(&CARRIERS).copied().unwrap_or(("Example Mobile", "10"));
            // Second lines take their numbers from the other end, so that small fleets have no number twice.
            let nth =
                if i == 0 { index } else { numbers::DRAMA_NUMBERS - 1 - index % numbers::DRAMA_NUMBERS };
            Line {
                slot,
                phone_number: numbers::drama_number(nth),
                meid: imei.get(..14).unwrap_or_default().to_owned(),
                imei,
                iccid: numbers::iccid(dice),
                eid: eid.clone(),
                carrier,
                mnc,
            }
        })
        .collect()
}

fn app(
    &(identifier, name, share, managed): &(&'static str, &'static str, u16, bool),
    dice: &mut Dice,
) -> Option<App> {
    let installed = dice.per_mille(share);
    let (major, minor, build) = (1 + dice.below(9), dice.below(20), dice.below(4000));
    let size_bytes = 4_000_000 + dice.below(240_000_000);
    installed.then(|| App {
        identifier,
        name,
        short_version: format!("{major}.{minor}"),
        version: format!("{major}.{minor}.{build}"),
        size_bytes,
        managed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_handset_is_the_same_for_a_seed_and_no_two_are_alike() {
        let fleet: Vec<_> = (0..1000).map(|i| Handset::of(5, i)).collect();
        assert_eq!(fleet[17], Handset::of(5, 17));
        assert_ne!(fleet[17], Handset::of(6, 17));
        let unique = |of: &dyn Fn(&Handset) -> String| fleet.iter().map(of).collect::<HashSet<_>>().len();
        assert_eq!(unique(&|h| h.udid.clone()), 1000);
        assert_eq!(unique(&|h| h.serial.clone()), 1000);
        let numbers: Vec<_> = fleet.iter().flat_map(|h| &h.lines).map(|l| &l.phone_number).collect();
        assert_eq!(numbers.iter().collect::<HashSet<_>>().len(), numbers.len());
        assert!(fleet.iter().all(|h| h.lines[0].phone_number.starts_with("+447700900")));
    }

    #[test]
    fn a_fleet_is_mixed() {
        let fleet: Vec<_> = (0..1000).map(|i| Handset::of(5, i)).collect();
        let count = |of: &dyn Fn(&Handset) -> bool| fleet.iter().filter(|h| of(h)).count();
        for (what, n) in [
            ("supervised", count(&|h| h.supervised)),
            ("not supervised", count(&|h| !h.supervised)),
            ("old", count(&|h| h.os_major == 15)),
            ("new", count(&|h| h.os_major == 18)),
            ("with two lines", count(&|h| h.lines.len() == 2)),
            ("without a passcode", count(&|h| !h.passcode)),
            ("binary", count(&|h| h.binary)),
            ("with apps of their own", count(&|h| h.apps.iter().any(|a| !a.managed))),
        ] {
            assert!((10..=950).contains(&n), "{what}: {n}");
        }
    }
}
