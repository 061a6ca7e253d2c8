//! Every declaration that an iPhone or iPad knows, with its keys and their types: what is not here is
//! refused. Made from Apple's schema (`declarative/declarations/**/*.yaml`, iOS 18.1); a test holds every
//! row against it, both ways.

use super::shape::Shape::{Any, List, Object, OneOf, Text, Truth, Whole};
use super::shape::{DeclarationType, Key, Shape, opt, req};

const WHOLE: Shape = Whole(i64::MIN, i64::MAX);
const REFERENCE: &[Key] =
    &[req("DataURL", Text), opt("ContentType", Text), opt("Size", WHOLE), opt("Hash-SHA-256", Text)];
const AUTHENTICATION: &[Key] = &[req("Type", OneOf(&["MDM", "None"]))];

/// The declarations, sorted by name.
pub const DECLARATIONS: &[DeclarationType] = &[
    DeclarationType {
        name: "com.apple.activation.simple",
        supervised: false,
        keys: &[req("StandardConfigurations", List(&Text)), opt("Predicate", Text)],
    },
    DeclarationType {
        name: "com.apple.asset.credential.acme",
        supervised: false,
        keys: &[
            req("Reference", Object(REFERENCE)),
            opt("Authentication", Object(AUTHENTICATION)),
            opt("Accessible", OneOf(&["Default", "AfterFirstUnlock"])),
        ],
    },
    DeclarationType {
        name: "com.apple.asset.credential.certificate",
        supervised: false,
        keys: &[req("Reference", Object(REFERENCE)), opt("Authentication", Object(AUTHENTICATION))],
    },
    DeclarationType {
        name: "com.apple.asset.credential.identity",
        supervised: false,
        keys: &[
            req("Reference", Object(REFERENCE)),
            opt("Authentication", Object(AUTHENTICATION)),
            opt("Accessible", OneOf(&["Default", "AfterFirstUnlock"])),
        ],
    },
    DeclarationType {
        name: "com.apple.asset.credential.scep",
        supervised: false,
        keys: &[
            req("Reference", Object(REFERENCE)),
            opt("Authentication", Object(AUTHENTICATION)),
            opt("Accessible", OneOf(&["Default", "AfterFirstUnlock"])),
        ],
    },
    DeclarationType {
        name: "com.apple.asset.credential.userpassword",
        supervised: false,
        keys: &[req("Reference", Object(REFERENCE)), opt("Authentication", Object(AUTHENTICATION))],
    },
    DeclarationType {
        name: "com.apple.asset.data",
        supervised: false,
        keys: &[req("Reference", Object(REFERENCE)), opt("Authentication", Object(AUTHENTICATION))],
    },
    DeclarationType {
        name: "com.apple.asset.useridentity",
        supervised: false,
        keys: &[opt("FullName", Text), opt("EmailAddress", Text)],
    },
    DeclarationType {
        name: "com.apple.configuration.account.caldav",
        supervised: false,
        keys: &[
            opt("VisibleName", Text),
            req("HostName", Text),
            opt("Port", WHOLE),
            opt("Path", Text),
            opt("AuthenticationCredentialsAssetReference", Text),
        ],
    },
    DeclarationType {
        name: "com.apple.configuration.account.carddav",
        supervised: false,
        keys: &[
            opt("VisibleName", Text),
            req("HostName", Text),
            opt("Port", WHOLE),
            opt("Path", Text),
            opt("AuthenticationCredentialsAssetReference", Text),
        ],
    },
    DeclarationType {
        name: "com.apple.configuration.account.exchange",
        supervised: false,
        keys: &[
            opt("VisibleName", Text),
            req("EnabledProtocolTypes", List(&OneOf(&["EAS", "EWS"]))),
            opt("UserIdentityAssetReference", Text),
            opt("HostName", Text),
            opt(
                "OAuth",
                Object(&[req("Enabled", Truth), opt("SignInURL", Text), opt("TokenRequestURL", Text)]),
            ),
            opt("AuthenticationCredentialsAssetReference", Text),
            opt("AuthenticationIdentityAssetReference", Text),
            opt(
                "SMIME",
                Object(&[
                    opt(
                        "Signing",
                        Object(&[
                            req("Enabled", Truth),
                            opt("IdentityAssetReference", Text),
                            opt("UserOverrideable", Truth),
                            opt("IdentityUserOverrideable", Truth),
                        ]),
                    ),
                    opt(
                        "Encryption",
                        Object(&[
                            req("Enabled", Truth),
                            opt("IdentityAssetReference", Text),
                            opt("UserOverrideable", Truth),
                            opt("IdentityUserOverrideable", Truth),
                            opt("PerMessageSwitchEnabled", Truth),
                        ]),
                    ),
                ]),
            ),
            opt("MailServiceActive", Truth),
            opt("LockMailService", Truth),
            opt("ContactsServiceActive", Truth),
            opt("LockContactsService", Truth),
            opt("CalendarServiceActive", Truth),
            opt("LockCalendarService", Truth),
            opt("RemindersServiceActive", Truth),
            opt("LockRemindersService", Truth),
            opt("NotesServiceActive", Truth),
            opt("LockNotesService", Truth),
        ],
    },
    DeclarationType {
        name: "com.apple.configuration.account.google",
        supervised: false,
        keys: &[opt("VisibleName", Text), req("UserIdentityAssetReference", Text)],
    },
    DeclarationType {
        name: "com.apple.configuration.account.ldap",
        supervised: false,
        keys: &[
            opt("VisibleName", Text),
            req("HostName", Text),
            opt("Port", WHOLE),
            opt("AuthenticationCredentialsAssetReference", Text),
            opt(
                "SearchSettings",
                List(&Object(&[
                    opt("VisibleDescription", Text),
                    req("SearchBase", Text),
                    opt("Scope", OneOf(&["Base", "OneLevel", "Subtree"])),
                ])),
            ),
        ],
    },
    DeclarationType {
        name: "com.apple.configuration.account.mail",
        supervised: false,
        keys: &[
            opt("VisibleName", Text),
            opt("UserIdentityAssetReference", Text),
            req(
                "IncomingServer",
                Object(&[
                    req("ServerType", OneOf(&["IMAP", "POP"])),
                    req("HostName", Text),
                    opt("Port", WHOLE),
                    req("AuthenticationMethod", OneOf(&["None", "Password", "CRAMMD5", "NTLM", "HTTPMD5"])),
                    opt("AuthenticationCredentialsAssetReference", Text),
                    opt("IMAPPathPrefix", Text),
                ]),
            ),
            req(
                "OutgoingServer",
                Object(&[
                    req("HostName", Text),
                    opt("Port", WHOLE),
                    req("AuthenticationMethod", OneOf(&["None", "Password", "CRAMMD5", "NTLM", "HTTPMD5"])),
                    opt("AuthenticationCredentialsAssetReference", Text),
                ]),
            ),
            opt(
                "SMIME",
                Object(&[
                    opt(
                        "Signing",
                        Object(&[
                            req("Enabled", Truth),
                            opt("IdentityAssetReference", Text),
                            opt("UserOverrideable", Truth),
                            opt("IdentityUserOverrideable", Truth),
                        ]),
                    ),
                    opt(
                        "Encryption",
                        Object(&[
                            req("Enabled", Truth),
                            opt("IdentityAssetReference", Text),
                            opt("UserOverrideable", Truth),
                            opt("IdentityUserOverrideable", Truth),
                            opt("PerMessageSwitchEnabled", Truth),
                        ]),
                    ),
                ]),
            ),
        ],
    },
    DeclarationType {
        name: "com.apple.configuration.account.subscribed-calendar",
        supervised: false,
        keys: &[
            opt("VisibleName", Text),
            req("CalendarURL", Text),
            opt("AuthenticationCredentialsAssetReference", Text),
        ],
    },
    DeclarationType {
        name: "com.apple.configuration.app.managed",
        supervised: false,
        keys: &[
            opt("AppStoreID", Text),
            opt("BundleID", Text),
            opt("ManifestURL", Text),
            opt(
                "InstallBehavior",
                Object(&[
                    opt("Install", OneOf(&["Optional", "Required"])),
                    opt(
                        "License",
                        Object(&[
                            opt("Assignment", OneOf(&["Device", "User"])),
                            opt("VPPType", OneOf(&["Device", "User"])),
                        ]),
                    ),
                ]),
            ),
            opt("IncludeInBackup", Truth),
            opt(
                "Attributes",
                Object(&[
                    opt("AssociatedDomains", List(&Text)),
                    opt("AssociatedDomainsEnableDirectDownloads", Truth),
                    opt("CellularSliceUUID", Text),
                    opt("ContentFilterUUID", Text),
                    opt("DNSProxyUUID", Text),
                    opt("RelayUUID", Text),
                    opt("TapToPayScreenLock", Truth),
                    opt("VPNUUID", Text),
                ]),
            ),
        ],
    },
    DeclarationType {
        name: "com.apple.configuration.legacy",
        supervised: false,
        keys: &[req("ProfileURL", Text)],
    },
    DeclarationType {
        name: "com.apple.configuration.legacy.interactive",
        supervised: false,
        keys: &[req("ProfileURL", Text), req("VisibleName", Text)],
    },
    DeclarationType {
        name: "com.apple.configuration.management.status-subscriptions",
        supervised: false,
        keys: &[req("StatusItems", List(&Object(&[req("Name", Text)])))],
    },
    DeclarationType {
        name: "com.apple.configuration.management.test",
        supervised: false,
        keys: &[
            req("Echo", Text),
            opt("EchoDataAssetReference", Text),
            opt("ReturnStatus", OneOf(&["Installed", "Failed", "Unlocked"])),
        ],
    },
    DeclarationType {
        name: "com.apple.configuration.math.settings",
        supervised: true,
        keys: &[
            opt(
                "Calculator",
                Object(&[
                    opt("BasicMode", Object(&[req("AddSquareRoot", Truth)])),
                    opt("ScientificMode", Object(&[req("Enabled", Truth)])),
                    opt("MathNotesMode", Object(&[req("Enabled", Truth)])),
                    opt("InputModes", Object(&[req("UnitConversion", Truth)])),
                ]),
            ),
            opt("SystemBehavior", Object(&[req("KeyboardSuggestions", Truth), req("MathNotes", Truth)])),
        ],
    },
    DeclarationType {
        name: "com.apple.configuration.passcode.settings",
        supervised: false,
        keys: &[
            opt("RequirePasscode", Truth),
            opt("RequireAlphanumericPasscode", Truth),
            opt("RequireComplexPasscode", Truth),
            opt("MinimumLength", Whole(0, 16)),
            opt("MinimumComplexCharacters", Whole(0, 4)),
            opt("MaximumFailedAttempts", Whole(2, 11)),
            opt("MaximumGracePeriodInMinutes", WHOLE),
            opt("MaximumInactivityInMinutes", Whole(0, 15)),
            opt("MaximumPasscodeAgeInDays", Whole(0, 730)),
            opt("PasscodeReuseLimit", Whole(1, 50)),
        ],
    },
    DeclarationType {
        name: "com.apple.configuration.safari.extensions.settings",
        supervised: true,
        keys: &[opt(
            "ManagedExtensions",
            Object(&[opt(
                "*",
                Object(&[
                    opt("State", OneOf(&["Allowed", "AlwaysOn", "AlwaysOff"])),
                    opt("PrivateBrowsing", OneOf(&["Allowed", "AlwaysOn", "AlwaysOff"])),
                    opt("AllowedDomains", List(&Text)),
                    opt("DeniedDomains", List(&Text)),
                ]),
            )]),
        )],
    },
    DeclarationType {
        name: "com.apple.configuration.security.certificate",
        supervised: false,
        keys: &[req("CredentialAssetReference", Text)],
    },
    DeclarationType {
        name: "com.apple.configuration.security.identity",
        supervised: false,
        keys: &[req("CredentialAssetReference", Text)],
    },
    DeclarationType {
        name: "com.apple.configuration.security.passkey.attestation",
        supervised: false,
        keys: &[req("AttestationIdentityAssetReference", Text), req("RelyingParties", List(&Text))],
    },
    DeclarationType {
        name: "com.apple.configuration.softwareupdate.enforcement.specific",
        supervised: false,
        keys: &[
            req("TargetOSVersion", Text),
            opt("TargetBuildVersion", Text),
            req("TargetLocalDateTime", Text),
            opt("DetailsURL", Text),
        ],
    },
    DeclarationType {
        name: "com.apple.configuration.softwareupdate.settings",
        supervised: false,
        keys: &[
            opt("Notifications", Truth),
            opt("Deferrals", Object(&[opt("CombinedPeriodInDays", Whole(1, 90))])),
            opt("RecommendedCadence", OneOf(&["All", "Oldest", "Newest"])),
            opt(
                "AutomaticActions",
                Object(&[
                    opt("Download", OneOf(&["Allowed", "AlwaysOn", "AlwaysOff"])),
                    opt("InstallOSUpdates", OneOf(&["Allowed", "AlwaysOn", "AlwaysOff"])),
                ]),
            ),
            opt("RapidSecurityResponse", Object(&[opt("Enable", Truth), opt("EnableRollback", Truth)])),
            opt(
                "Beta",
                Object(&[
                    opt("ProgramEnrollment", OneOf(&["Allowed", "AlwaysOn", "AlwaysOff"])),
                    opt("OfferPrograms", List(&Object(&[req("Description", Text), req("Token", Text)]))),
                    opt("RequireProgram", Object(&[req("Description", Text), req("Token", Text)])),
                ]),
            ),
        ],
    },
    DeclarationType {
        name: "com.apple.configuration.watch.enrollment",
        supervised: true,
        keys: &[req("EnrollmentProfileURL", Text), opt("AnchorCertificateAssetReferences", List(&Text))],
    },
    DeclarationType {
        name: "com.apple.management.organization-info",
        supervised: false,
        keys: &[
            req("Name", Text),
            opt("Email", Text),
            opt("URL", Text),
            opt("Proof", Object(&[opt("IdentityToken", Text)])),
        ],
    },
    DeclarationType { name: "com.apple.management.properties", supervised: false, keys: &[opt("*", Any)] },
    DeclarationType {
        name: "com.apple.management.server-capabilities",
        supervised: false,
        keys: &[req("Version", Text), req("SupportedFeatures", Object(&[opt("*", Any)]))],
    },
];
