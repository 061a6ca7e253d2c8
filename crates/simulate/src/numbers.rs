//! Numbers and hardware ids that look real and belong to nobody.

use crate::dice::Dice;

/// Ofcom's telephone numbers for use in TV and radio drama, each a block of 1,000, in E.164 without the
/// plus sign. The mobile block comes first: most fleets need no other.
/// Source: Ofcom, "Telephone numbers for use in TV and radio drama programmes".
const DRAMA_BLOCKS: [(&str, u32); 20] = [
    ("44770090", 0),    // 07700 900000 to 900999, mobile
    ("44113496", 0),    // 0113 496 0000 to 0999, Leeds
    ("44114496", 0),    // Sheffield
    ("44115496", 0),    // Nottingham
    ("44116496", 0),    // Leicester
    ("44117496", 0),    // Bristol
    ("44118496", 0),    // Reading
    ("44121496", 0),    // Birmingham
    ("44131496", 0),    // Edinburgh
    ("44141496", 0),    // Glasgow
    ("44151496", 0),    // Liverpool
    ("44161496", 0),    // Manchester
    ("44207946", 0),    // 020 7946 0000 to 0999, London
    ("44191498", 0),    // Tyneside
    ("44289649", 6000), // 028 9649 6000 to 6999, Northern Ireland
    ("44292018", 0),    // 029 2018 0000 to 0999, Cardiff
    ("44163296", 0),    // 01632 960000 to 960999, no area
    ("44306999", 0),    // 03069 990000 to 990999, UK-wide
    ("44808157", 0),    // 0808 157 0000 to 0999, freephone
    ("44909879", 0),    // 0909 8790000 to 0999, premium
];

/// How many drama numbers there are; with more phones than that, numbers come again.
pub(crate) const DRAMA_NUMBERS: u32 = 20_000;

/// The drama number for the `n`-th line, as a phone reports it: `+447700900123`.
pub(crate) fn drama_number(n: u32) -> String {
    let n = n % DRAMA_NUMBERS;
    let (block, first) = DRAMA_BLOCKS.get((n / 1000) as usize).copied().unwrap_or(("44770090", 0));
    format!("+{block}{:04}", first + n % 1000)
}

/// The check digit that makes `digits` pass Luhn's test (ISO/IEC 7812-1, annex B).
pub(crate) fn luhn(digits: &str) -> u32 {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(i, digit)| {
            let digit = u32::from(digit.saturating_sub(b'0'));
            match i % 2 {
                0 if digit > 4 => digit * 2 - 9,
                0 => digit * 2,
                _ => digit,
            }
        })
        .sum();
    (10 - sum % 10) % 10
}

/// An IMEI, 15 digits: a TAC of the GSMA's range for test equipment (reporting body 00, TS.06), the
/// phone's index as its serial number, and the check digit. Equal only for phones a million apart.
pub(crate) fn imei(index: u32, slot: u32) -> String {
    let tac = 100_151 + slot + 2 * (index / 1_000_000);
    let digits = format!("00{tac:06}{:06}", index % 1_000_000);
    format!("{digits}{}", luhn(&digits))
}

/// An IMEI as older systems write it: `00 100151 000012 3`.
pub(crate) fn spaced(imei: &str) -> String {
    let part = |from, to| imei.get(from..to).unwrap_or_default();
    format!("{} {} {} {}", part(0, 2), part(2, 8), part(8, 14), part(14, 15))
}

/// A SIM's ICCID: telecoms, UK, an issuer nobody has, and the check digit; 19 digits.
pub(crate) fn iccid(dice: &mut Dice) -> String {
    let digits = format!("894400{}", dice.digits(12));
    format!("{digits}{}", luhn(&digits))
}

/// An eSIM's EID, 32 digits with the two check digits of GSMA SGP.29 (modulo 97, as in ISO 7064).
pub(crate) fn eid(dice: &mut Dice) -> String {
    let digits = format!("89044000{}", dice.digits(22));
    let remainder = digits.bytes().chain(*b"00").fold(0u32, |r, d| (r * 10 + u32::from(d - b'0')) % 97);
    format!("{digits}{:02}", 98 - remainder)
}

/// A UDID in Apple's form since 2018: chip id, hyphen, ECID.
pub(crate) fn udid(chip: u32, dice: &mut Dice) -> String {
    // A real ECID has its upper bits zero.
    format!("{chip:08X}-{:016X}", dice.next() >> 11)
}

/// A serial number in Apple's form since 2021: ten letters and digits.
pub(crate) fn serial(dice: &mut Dice) -> String {
    const ALPHABET: &[u8] = b"0123456789CDFGHJKLMNPQRTVWXY";
    (0..10).filter_map(|_| dice.pick(ALPHABET)).map(|c| char::from(*c)).collect()
}

/// A hardware address that no maker owns (locally administered).
pub(crate) fn mac(dice: &mut Dice) -> String {
    let [a, b, c, d, e] = dice.bytes();
    format!("02:{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}")
}

/// A random UUID (version 4), upper case.
pub(crate) fn uuid(dice: &mut Dice) -> String {
    let mut bytes: [u8; 16] = dice.bytes();
    let [.., v, _, r, _, _, _, _, _, _, _] = &mut bytes;
    *v = *v & 0x0f | 0x40;
    *r = *r & 0x3f | 0x80;
    model::CommandId(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn passes_luhn(digits: &str) -> bool {
        let (body, check) = digits.split_at(digits.len() - 1);
        luhn(body).to_string() == check
    }

    #[test]
    fn the_first_thousand_numbers_are_the_mobile_drama_numbers_and_all_differ() {
        assert_eq!(drama_number(0), "+447700900000");
        assert_eq!(drama_number(999), "+447700900999");
        assert_eq!(drama_number(1000), "+441134960000");
        assert_eq!(drama_number(12_345), "+442079460345");
        let all: HashSet<_> = (0..DRAMA_NUMBERS).map(drama_number).collect();
        assert_eq!(all.len(), DRAMA_NUMBERS as usize);
        assert!(all.iter().all(|n| n.len() == 13 && n.starts_with("+44")));
        assert_eq!(drama_number(DRAMA_NUMBERS), drama_number(0));
    }

    #[test]
    fn luhns_digit_is_the_one_of_the_known_example() {
        // The example of 3GPP TS 23.003, annex B.
        assert_eq!(luhn("26053179311383"), 7);
        assert_eq!(luhn("49015420323751"), 8);
    }

    #[test]
    fn imeis_are_valid_of_the_test_range_and_differ() {
        let mut seen = HashSet::new();
        for index in [0, 1, 7, 99_999, 999_999, 1_000_000] {
            for slot in [0, 1] {
                let imei = imei(index, slot);
                assert!(imei.len() == 15 && imei.starts_with("001") && passes_luhn(&imei), "{imei}");
                assert_eq!(spaced(&imei).replace(' ', ""), imei);
                assert!(seen.insert(imei));
            }
        }
    }

    #[test]
    fn sim_ids_carry_valid_check_digits() {
        let mut dice = Dice::of(1, 1, 1);
        for _ in 0..50 {
            let iccid = iccid(&mut dice);
            assert!(iccid.len() == 19 && passes_luhn(&iccid));
            let eid = eid(&mut dice);
            assert_eq!(eid.len(), 32);
            assert_eq!(eid.bytes().fold(0u32, |r, d| (r * 10 + u32::from(d - b'0')) % 97), 1);
        }
    }

    #[test]
    fn ids_have_apples_forms() {
        let mut dice = Dice::of(1, 1, 1);
        let udid = udid(0x8110, &mut dice);
        assert!(udid.starts_with("00008110-00") && udid.len() == 25, "{udid}");
        assert_eq!(serial(&mut dice).len(), 10);
        let uuid = uuid(&mut dice);
        assert!(
            uuid.len() == 36 && uuid.as_bytes()[14] == b'4' && b"89AB".contains(&uuid.as_bytes()[19]),
            "{uuid}"
        );
    }
}
