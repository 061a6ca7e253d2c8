//! Made-up holders of phones. Any likeness is chance.

use crate::dice::Dice;

/// Whose phone it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// First and last name.
    pub name: String,
    /// An address that can't exist (`.example`, RFC 2606). Differs for each person of a fleet.
    pub email: String,
    /// A group they could belong to, such as `ward-7`.
    pub group: &'static str,
}

const FIRST: [&str; 60] = [
    "Abena",
    "Ada",
    "Aisha",
    "Alasdair",
    "Amara",
    "Anneliese",
    "Anwen",
    "Arjun",
    "Beatriz",
    "Benedict",
    "Bronwen",
    "Callum",
    "Cerys",
    "Chidi",
    "Clara",
    "Dafydd",
    "Daniela",
    "Deepa",
    "Dermot",
    "Eilidh",
    "Elif",
    "Emeka",
    "Esther",
    "Farah",
    "Fergus",
    "Fiona",
    "Gareth",
    "Grace",
    "Gwen",
    "Hamza",
    "Hannah",
    "Idris",
    "Imogen",
    "Ines",
    "Isla",
    "Jasper",
    "Joanna",
    "Kamal",
    "Keira",
    "Kwame",
    "Leila",
    "Lorcan",
    "Mabel",
    "Magda",
    "Mei",
    "Nadia",
    "Niamh",
    "Oluwaseun",
    "Owen",
    "Priya",
    "Rafael",
    "Rhiannon",
    "Rosalind",
    "Sanjay",
    "Siobhán",
    "Tamsin",
    "Theo",
    "Yusuf",
    "Zainab",
    "Zoë",
];

const LAST: [&str; 60] = [
    "Abbotsford",
    "Adeyemi-Hale",
    "Ainscough",
    "Aldermoor",
    "Banerjee",
    "Barrowclough",
    "Bexwell",
    "Birtwhistle",
    "Brackenridge",
    "Cadwallader",
    "Calloway",
    "Chandrasekhar",
    "Clutterbuck",
    "Coldharbour",
    "Crabtree",
    "Dalgleish",
    "Dimbleby",
    "Drinkwater",
    "Eastlake",
    "Elphinstone",
    "Fairweather",
    "Featherstone",
    "Fernsby",
    "Galbraith",
    "Gilderdale",
    "Greengrass",
    "Halliwell",
    "Hargreaves",
    "Heathcote",
    "Iqbal",
    "Jankowska",
    "Kettleburn",
    "Kirkbride",
    "Lanyon",
    "Llewellyn-Price",
    "Longbottom",
    "MacAskill",
    "Merriweather",
    "Mountford",
    "Nakamura",
    "Nightingale",
    "O'Rafferty",
    "Okonkwo",
    "Ollerenshaw",
    "Pemberton",
    "Penhaligon",
    "Quillfeather",
    "Ramanathan",
    "Ravenscroft",
    "Rowbottom",
    "Sallow",
    "Silverwood",
    "Strathearn",
    "Thistlewood",
    "Tregenza",
    "Umarov",
    "Vasquez",
    "Whitcombe",
    "Wolstenholme",
    "Yarrow",
];

const GROUPS: [&str; 12] = [
    "ward-1",
    "ward-2",
    "ward-3",
    "ward-4",
    "ward-7",
    "theatre",
    "emergency",
    "paediatrics",
    "pharmacy",
    "porters",
    "community",
    "it",
];

/// The holders of phones `0..n` of the fleet with this seed.
#[must_use]
pub fn people(seed: u64, n: u32) -> Vec<Person> {
    (0..n).map(|index| person(seed, index)).collect()
}

/// The holder of one phone.
pub(crate) fn person(seed: u64, index: u32) -> Person {
    let mut dice = Dice::of(seed, index, 1);
    let first = dice.pick(&FIRST).copied().unwrap_or("Ada");
    let last = dice.pick(&LAST).copied().unwrap_or("Yarrow");
    let group = dice.pick(&GROUPS).copied().unwrap_or("ward-1");
    let local: String = format!("{first}.{last}.{index}").to_lowercase().chars().filter_map(plain).collect();
    Person { name: format!("{first} {last}"), email: format!("{local}@hospital.example"), group }
}

/// What may stand in a mail address without quotes.
fn plain(c: char) -> Option<char> {
    match c {
        'á' => Some('a'),
        'ë' => Some('e'),
        'a'..='z' | '0'..='9' | '.' | '-' => Some(c),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn people_are_the_same_for_a_seed_and_their_addresses_differ() {
        let some = people(42, 500);
        assert_eq!(some, people(42, 500));
        assert_ne!(some, people(43, 500));
        let emails: HashSet<_> = some.iter().map(|p| &p.email).collect();
        assert_eq!(emails.len(), 500);
        for person in &some {
            assert!(
                person.email.is_ascii() && person.email.ends_with("@hospital.example"),
                "{}",
                person.email
            );
            assert!(model::Group::new(person.group).is_ok());
            assert!(person.name.contains(' '));
        }
    }
}
