//! Forms that add to the library: a file, or the settings of the most usual profiles. The browser writes the profile and
//! seals it (`web/src/profiles.js`); nothing that is typed here reaches the server.

use std::collections::BTreeMap;

use maud::{Markup, html};
use model::ProfileId;

use super::parts::{in_ascii, why};
use crate::layout::status_line;
use crate::shapes::Profile;

/// A setting of a form: the payload's key, what the browser makes of it, its label.
enum Field {
    /// A text; required, secret.
    Text(&'static str, &'static str, bool, bool),
    /// A whole number between these.
    Whole(&'static str, &'static str, i64, i64),
    /// True where it is ticked, and left out where not.
    Tick(&'static str, &'static str),
    /// False where it is ticked, and left out where not.
    Forbid(&'static str, &'static str),
    /// One of these words.
    Word(&'static str, &'static str, &'static [&'static str]),
    /// A file's bytes.
    File(&'static str, &'static str),
}

struct Form {
    id: &'static str,
    title: &'static str,
    payload_type: &'static str,
    says: &'static str,
    fields: &'static [Field],
}

const FORMS: &[Form] = &[
    Form {
        id: "wifi",
        title: "Wi-Fi",
        payload_type: "com.apple.wifi.managed",
        says: "Phones join this network by themselves. Open networks and WEP come by a file, and count as erasure.",
        fields: &[
            Field::Text("SSID_STR", "Network name (SSID)", true, false),
            Field::Word("EncryptionType", "Security", &["WPA2", "WPA3", "WPA"]),
            Field::Text("Password", "Password of the network, 8 to 63 characters", true, true),
            Field::Tick("HIDDEN_NETWORK", "The network does not show its name"),
        ],
    },
    Form {
        id: "passcode",
        title: "Passcode",
        payload_type: "com.apple.mobiledevice.passwordpolicy",
        says: "What a passcode has to be. Fields that are left empty are not set. Fewer than six attempts count as erasure.",
        fields: &[
            Field::Tick("forcePIN", "A passcode is required"),
            Field::Forbid("allowSimple", "No simple ones, such as 1234 or 1111"),
            Field::Whole("minLength", "Shortest passcode, in characters", 0, 16),
            Field::Whole(
                "maxFailedAttempts",
                "Failed attempts before everything on the phone is erased",
                2,
                11,
            ),
            Field::Whole("maxInactivity", "Minutes until it locks by itself", 1, 15),
            Field::Whole("maxGracePeriod", "Minutes in which it opens again without the passcode", 0, 15),
        ],
    },
    Form {
        id: "restrictions",
        title: "Restrictions",
        payload_type: "com.apple.applicationaccess",
        says: "What phones keep in. Those offered here are mild; others come by a file.",
        fields: &[
            Field::Forbid("allowAssistantWhileLocked", "No Siri while it is locked"),
            Field::Forbid("allowLockScreenNotificationsView", "No notifications on the locked screen"),
            Field::Forbid("allowDiagnosticSubmission", "No diagnostics to Apple"),
            Field::Forbid("allowUntrustedTLSPrompt", "No way past a warning of an untrusted certificate"),
            Field::Tick("forceEncryptedBackup", "Backups to a computer are encrypted"),
            Field::Tick("forceAirDropUnmanaged", "AirDrop counts as unmanaged"),
            Field::Tick("forceLimitAdTracking", "Limited ad tracking"),
        ],
    },
    Form {
        id: "clip",
        title: "Web clip",
        payload_type: "com.apple.webClip.managed",
        says: "A link on the home screen. The address has to begin with https.",
        fields: &[
            Field::Text("Label", "Name under the icon", true, false),
            Field::Text("URL", "Address", true, false),
            Field::Tick("IsRemovable", "People may remove it"),
            Field::File("Icon", "Icon, a PNG file (if you like)"),
        ],
    },
    Form {
        id: "certificate",
        title: "Certificate",
        payload_type: "com.apple.security.root",
        says: "A root certificate (DER) that phones trust from then on. Whoever has its key can read what phones send, so it counts as erasure.",
        fields: &[
            Field::Text("PayloadCertificateFileName", "File name, as people see it", false, false),
            Field::File("PayloadContent", "Certificate, a .cer or .der file"),
        ],
    },
];

/// The upload and the forms.
pub(super) fn all(known: &[Profile]) -> Markup {
    let known: BTreeMap<&str, String> =
        known.iter().map(|p| (p.newest.identifier.as_str(), p.profile.to_string())).collect();
    let known = in_ascii(&serde_json::json!(known));
    html! {
        section.app-actions #save-forms data-known=(known) aria-labelledby="h-new" {
            h2.nhsuk-heading-m #h-new { "Save a profile" }
            p.nhsuk-hint { "With an identifier that is there already it becomes that profile's next version. The identifier stands in the ledger in the clear, for good." }
            (file(None))
            @for f in FORMS { (form(f)) }
        }
    }
}

/// The upload alone, for the next version of one profile.
pub(super) fn upload(of: ProfileId) -> Markup {
    html! {
        section.app-actions #save-forms data-known="{}" aria-labelledby="h-new" {
            h2.nhsuk-heading-m #h-new { "Save the next version" }
            (file(Some(of)))
        }
    }
}

fn folded(id: &str, title: &str, inside: Markup) -> Markup {
    html! {
        details.nhsuk-details.app-action id={ "new-" (id) } {
            summary.nhsuk-details__summary { span.nhsuk-details__summary-text { (title) } }
            .nhsuk-details__text { (inside) }
        }
    }
}

fn end(id: &str) -> Markup {
    html! {
        (why(&format!("{id}-reason")))
        (status_line())
        div data-saved="" hidden {
            p { a data-saved-link="" href="/profiles" { "Look at it" } }
            ul.nhsuk-list.nhsuk-list--bullet data-saved-told="" {}
        }
        button.nhsuk-button.nhsuk-button--small type="submit" { "Save" }
    }
}

fn file(of: Option<ProfileId>) -> Markup {
    let inside = html! {
        p { "It is read by the vault: against Apple's schema, for what it could do, and its signature where it has one. Nothing reaches a phone." }
        form method="dialog" data-save="file" data-profile=[of.map(|id| id.to_string())] {
            .nhsuk-form-group {
                label.nhsuk-label for="file-profile" { "Profile, a .mobileconfig file" }
                input.nhsuk-input #file-profile type="file" name="profile" required accept=".mobileconfig,.plist,.xml";
            }
            (end("file"))
        }
    };
    folded("file", "From a file", inside)
}

fn form(f: &Form) -> Markup {
    let inside = html! {
        p { (f.says) }
        form method="dialog" data-save="form" data-payload=(f.payload_type) {
            .nhsuk-form-group {
                label.nhsuk-label for={ (f.id) "-identifier" } { "Identifier" }
                .nhsuk-hint id={ (f.id) "-identifier-hint" } { "Yours for this profile, such as org.example.ward-" (f.id) ". Letters, digits, dots and hyphens." }
                input.nhsuk-input id={ (f.id) "-identifier" } name="identifier" required pattern="[A-Za-z0-9.\\-]{1,200}" maxlength="200" autocomplete="off" aria-describedby={ (f.id) "-identifier-hint" };
            }
            @for field in f.fields { (control(f.id, field)) }
            (end(f.id))
        }
    };
    folded(f.id, f.title, inside)
}

fn control(form: &str, field: &Field) -> Markup {
    let id = |key: &str| format!("{form}-{key}");
    match field {
        Field::Text(key, label, required, secret) => html! {
            .nhsuk-form-group {
                label.nhsuk-label for=(id(key)) { (label) }
                input.nhsuk-input id=(id(key)) data-key=(key) data-kind="text" type=(if *secret { "password" } else { "text" }) required[*required] maxlength="500" autocomplete="off";
            }
        },
        Field::Whole(key, label, min, max) => html! {
            .nhsuk-form-group {
                label.nhsuk-label for=(id(key)) { (label) }
                input.nhsuk-input.nhsuk-input--width-4 id=(id(key)) data-key=(key) data-kind="whole" type="number" min=(min) max=(max) step="1";
            }
        },
        Field::Tick(key, label) => tick(&id(key), key, label, "true"),
        Field::Forbid(key, label) => tick(&id(key), key, label, "false"),
        Field::Word(key, label, of) => html! {
            .nhsuk-form-group {
                label.nhsuk-label for=(id(key)) { (label) }
                select.nhsuk-select id=(id(key)) data-key=(key) data-kind="text" { @for w in *of { option value=(w) { (w) } } }
            }
        },
        Field::File(key, label) => html! {
            .nhsuk-form-group {
                label.nhsuk-label for=(id(key)) { (label) }
                input.nhsuk-input id=(id(key)) data-key=(key) data-kind="data" type="file" required[*key == "PayloadContent"];
            }
        },
    }
}

fn tick(id: &str, key: &str, label: &str, kind: &str) -> Markup {
    html! {
        .nhsuk-form-group { .nhsuk-checkboxes.nhsuk-checkboxes--small { .nhsuk-checkboxes__item {
            input.nhsuk-checkboxes__input id=(id) data-key=(key) data-kind=(kind) type="checkbox";
            label.nhsuk-label.nhsuk-checkboxes__label for=(id) { (label) }
        } } }
    }
}
