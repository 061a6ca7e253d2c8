//! What a list may show of a sealed value.

use model::{Compartment, FieldClass, classify};

/// Shorter values show nothing: two characters of them would be too much.
const SHORTEST_SHOWN: usize = 8;

/// The mask of a value: for a number or hardware id of eight characters or more its last two
/// (`•••••••••23`), for all else nothing. The dots are always nine, so a mask does not tell the
/// value's length. A field that is not sealed has no mask.
#[must_use]
pub fn mask(field: &str, value: &str) -> String {
    match classify(field) {
        FieldClass::Sealed(Compartment::Contact | Compartment::Hardware) => {
            let shown: Vec<char> = value.chars().filter(|c| c.is_alphanumeric()).collect();
            match shown.as_slice() {
                [.., a, b] if shown.len() >= SHORTEST_SHOWN => format!("•••••••••{a}{b}"),
                _ => "•••••••••".to_owned(),
            }
        }
        FieldClass::Sealed(_) | FieldClass::Clear => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_shows_its_last_two_characters_at_most() {
        assert_eq!(mask("PhoneNumber", "+44 7700 900123"), "•••••••••23");
        assert_eq!(mask("ServiceSubscriptions.0.IMEI", "49 015420 323751 8"), "•••••••••18");
        assert_eq!(mask("WiFiMAC", "00:00:5e:00:53:af"), "•••••••••af");
        assert_eq!(mask("PhoneNumber", "12345"), "•••••••••");
        assert_eq!(mask("PhoneNumber", ""), "•••••••••");
    }

    #[test]
    fn names_addresses_tokens_and_unknown_fields_show_nothing() {
        for field in ["FullName", "Email", "DeviceName", "Token", "UnlockToken", "Latitude", "NewInOS27"] {
            assert_eq!(mask(field, "something long enough"), "", "{field}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn no_mask_tells_more_than_two_characters(value in "\\PC{0,60}") {
            for field in ["PhoneNumber", "IMEI", "UDID", "FullName", "Email", "Other", "OSVersion"] {
                let shown = mask(field, &value).chars().filter(|c| *c != '•').count();
                prop_assert!(shown <= 2);
            }
        }
    }
}
