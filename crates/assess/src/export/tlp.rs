//! TLP 2.0, the traffic light of sharing.

/// How far the bundle may be passed on: TLP 2.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tlp {
    /// Anyone.
    Clear,
    /// The community.
    Green,
    /// The organisation and its clients.
    Amber,
    /// The organisation only.
    #[default]
    AmberStrict,
    /// The recipients only.
    Red,
}

impl Tlp {
    /// As the command line writes it.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().trim_start_matches("tlp:") {
            "clear" => Self::Clear,
            "green" => Self::Green,
            "amber" => Self::Amber,
            "amber+strict" => Self::AmberStrict,
            "red" => Self::Red,
            _ => return None,
        })
    }

    /// Id, label and value of the marking definitions that OASIS publishes for TLP 2.0.
    pub(crate) fn marking(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Clear => ("94868c89-83c2-464b-929b-a1a8aa3c8487", "TLP:CLEAR", "clear"),
            Self::Green => ("bab4a63c-aed9-4cf5-a766-dfca5abac2bb", "TLP:GREEN", "green"),
            Self::Amber => ("55d920b0-5e8b-4f79-9ee9-91f868d9b421", "TLP:AMBER", "amber"),
            Self::AmberStrict => ("939a9414-2ddd-4d32-a0cd-375ea402b003", "TLP:AMBER+STRICT", "amber+strict"),
            Self::Red => ("e828b379-4e03-4974-9ac4-e53a884c97c1", "TLP:RED", "red"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_read_with_and_without_its_prefix() {
        assert_eq!(Tlp::parse("TLP:AMBER+STRICT"), Some(Tlp::AmberStrict));
        assert_eq!(Tlp::parse("green"), Some(Tlp::Green));
        assert_eq!(Tlp::parse("purple"), None);
    }
}
