//! What was done to a phone, as its holder reads it.

/// A command by its `RequestType`, as something that was asked of the phone.
#[must_use]
pub fn done_to_phone(request_type: &str) -> String {
    match request_type {
        "EnableLostMode" => "Lost mode turned on",
        "DisableLostMode" => "Lost mode ended",
        "PlayLostModeSound" => "Made to ring",
        "DeviceLocation" => "Asked where it is",
        "DeviceLock" => "Screen locked",
        "ClearPasscode" => "Passcode removed",
        "EraseDevice" => "Everything deleted",
        "InstallProfile" => "Settings installed",
        "RemoveProfile" => "Settings removed",
        "InstallApplication" => "App installed",
        "RemoveApplication" => "App removed",
        "RestartDevice" => "Restarted",
        "ShutDownDevice" => "Switched off",
        "Settings" => "Settings changed",
        "DeclarativeManagement" => "Asked to look at the hospital's rules for it",
        other => return format!("Asked something else ({})", crate::line(other)),
    }
    .to_owned()
}

/// That sealed values were opened, by their compartments' names.
#[must_use]
pub fn opened_of_holder<T: AsRef<str>>(compartments: &[T]) -> String {
    let of = |name: &str| match name {
        "identity" => "a name or email address",
        "contact" => "the phone number",
        "hardware" => "a number of the device",
        "escrow" => "a key that unlocks the phone",
        "location" => "where it was",
        "secret" => "a password of its settings",
        "push" => "the address by which it is woken",
        _ => "something else that it reported",
    };
    let names: Vec<_> = compartments.iter().map(|c| of(c.as_ref())).collect();
    format!("Somebody read {}", if names.is_empty() { "a sealed value".to_owned() } else { names.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_command_and_every_compartment_has_words_for_a_holder() {
        for kind in model::CommandKind::ALL.into_iter().filter(|k| !k.request_type().starts_with("Managed")) {
            let told = done_to_phone(kind.request_type());
            let other = told.starts_with("Asked something else");
            assert_eq!(
                other,
                matches!(
                    kind.request_type(),
                    "Raw" | "ClearActivationLockBypassCode" | "ValidateApplications"
                ),
                "{told}"
            );
        }
        for compartment in model::Compartment::ALL {
            let told = opened_of_holder(&[compartment.name()]);
            assert_eq!(
                told.ends_with("something else that it reported"),
                compartment == model::Compartment::Other
            );
        }
        assert_eq!(
            opened_of_holder(&["contact", "hardware"]),
            "Somebody read the phone number, a number of the device"
        );
    }
}
