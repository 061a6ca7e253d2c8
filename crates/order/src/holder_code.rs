//! The code of a holder's card: 100 bits on paper, by which a phone's holder is known to the house.

use model::Digest;
use zeroize::Zeroizing;

use crate::sha256;

/// The code of a holder's card, in its one spelling. No `Display`, and `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct HolderCode(Zeroizing<String>);

impl std::fmt::Debug for HolderCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HolderCode(sealed)")
    }
}

impl HolderCode {
    /// How many characters it has, without hyphens; each carries 5 bits.
    pub const CHARACTERS: usize = 20;
    /// What it is made of: what survives being read aloud and typed (no 0, 1, l, o).
    pub const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    /// The most that somebody may type for it, in bytes.
    pub const LONGEST_TYPED_BYTES: usize = 64;
    const LABEL: &[u8] = b"matron/holder-code/1\0";

    /// Reads what somebody typed: capitals, hyphens and spaces don't count. `None`: it is no code at all.
    #[must_use]
    pub fn read(typed: &str) -> Option<Self> {
        if typed.len() > Self::LONGEST_TYPED_BYTES {
            return None;
        }
        let mut code = Zeroizing::new(String::with_capacity(Self::CHARACTERS));
        for c in typed.chars().filter(|c| !c.is_whitespace() && !matches!(c, '-' | '\u{2010}'..='\u{2015}')) {
            let c = c.to_ascii_lowercase();
            if code.len() == Self::CHARACTERS || !u8::try_from(c).is_ok_and(|b| Self::ALPHABET.contains(&b)) {
                return None;
            }
            code.push(c);
        }
        (code.len() == Self::CHARACTERS).then_some(Self(code))
    }

    /// As it stands on the card: groups of four with hyphens.
    #[must_use]
    pub fn grouped(&self) -> Zeroizing<String> {
        let mut out = Zeroizing::new(String::with_capacity(Self::CHARACTERS + 4));
        for (n, c) in self.0.chars().enumerate() {
            if n > 0 && n % 4 == 0 {
                out.push('-');
            }
            out.push(c);
        }
        out
    }

    /// What everyone but its holder keeps of it: SHA-256 of a label and the code. 100 random bits are not guessed from it.
    #[must_use]
    pub fn hash(&self) -> Digest {
        let mut labelled = Zeroizing::new(Self::LABEL.to_vec());
        labelled.extend_from_slice(self.0.as_bytes());
        sha256(&labelled)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CODE: &str = "abcd-efgh-ijkm-npqr-2345";

    #[test]
    fn a_code_is_read_whatever_its_capitals_hyphens_and_spaces() {
        let code = HolderCode::read(CODE).unwrap();
        for typed in
            ["ABCD EFGH IJKM NPQR 2345", " abcdefghijkmnpqr2345\n", "Abcd\u{2011}efgh\u{2013}ijkm-npqr 2345"]
        {
            assert_eq!(HolderCode::read(typed), Some(code.clone()), "{typed}");
        }
        assert_eq!(code.grouped().as_str(), CODE);
    }

    #[test]
    fn what_is_too_long_too_short_or_of_other_characters_is_no_code() {
        let long = "a".repeat(21);
        let endless = "-".repeat(65);
        for typed in [
            "",
            "abcd",
            "abcd-efgh-ijkm-npqr-234",
            &long,
            &endless,
            "abcd-efgh-ijkm-npqr-2340",
            "abcd-efgh-ijkm-npqr-234\u{ff15}",
        ] {
            assert!(HolderCode::read(typed).is_none(), "{typed}");
        }
    }

    #[test]
    fn its_hash_stays_what_it_is_and_says_nothing_to_who_reads_logs() {
        let code = HolderCode::read(CODE).unwrap();
        assert_eq!(
            code.hash().to_string(),
            "3c52ff204b196d6b78001bdb5d9482068b67f88ace5a4689b30177047871fc3c"
        );
        assert_ne!(code.hash(), sha256(b"abcdefghijkmnpqr2345"));
        assert_eq!(format!("{code:?}"), "HolderCode(sealed)");
    }

    proptest! {
        #[test]
        fn what_is_read_reads_back_from_the_card(typed in "[-a-zA-Z0-9 ]{0,40}") {
            if let Some(code) = HolderCode::read(&typed) {
                prop_assert_eq!(HolderCode::read(&code.grouped()), Some(code));
            }
        }
    }
}
