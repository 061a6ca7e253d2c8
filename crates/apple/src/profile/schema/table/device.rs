//! Passcode, web clips, layout, notifications and the rest. See the module above for where this comes from.

use super::super::Kind::{Any, Data, List, Object, OneOf, Text, Truth, Whole, WholeOf};
use super::super::{PayloadKind, WHOLE, opt, req};

pub(super) const KINDS: &[PayloadKind] = &[
    PayloadKind {
        payload_type: "com.apple.SetupAssistant.managed",
        keys: &[
            opt("SkipCloudSetup", Truth),
            opt("SkipSiriSetup", Truth),
            opt("SkipPrivacySetup", Truth),
            opt("SkipiCloudStorageSetup", Truth),
            opt("SkipTrueTone", Truth),
            opt("SkipAppearance", Truth),
            opt("SkipTouchIDSetup", Truth),
            opt("SkipScreenTime", Truth),
            opt("SkipAccessibility", Truth),
            opt("SkipSetupItems", List(&Text)),
            opt("SkipUnlockWithWatch", Truth),
            opt("SkipWallpaper", Truth),
        ],
    },
    PayloadKind {
        payload_type: "com.apple.app.lock",
        keys: &[req(
            "App",
            Object(&[
                req("Identifier", Text),
                opt(
                    "Options",
                    Object(&[
                        opt("DisableTouch", Truth),
                        opt("DisableDeviceRotation", Truth),
                        opt("DisableVolumeButtons", Truth),
                        opt("DisableRingerSwitch", Truth),
                        opt("DisableSleepWakeButton", Truth),
                        opt("DisableAutoLock", Truth),
                        opt("EnableVoiceOver", Truth),
                        opt("EnableZoom", Truth),
                        opt("EnableInvertColors", Truth),
                        opt("EnableAssistiveTouch", Truth),
                        opt("EnableSpeakSelection", Truth),
                        opt("EnableMonoAudio", Truth),
                        opt("EnableVoiceControl", Truth),
                    ]),
                ),
                opt(
                    "UserEnabledOptions",
                    Object(&[
                        opt("VoiceControl", Truth),
                        opt("VoiceOver", Truth),
                        opt("Zoom", Truth),
                        opt("InvertColors", Truth),
                        opt("AssistiveTouch", Truth),
                    ]),
                ),
            ]),
        )],
    },
    PayloadKind { payload_type: "com.apple.declarations", keys: &[req("Declarations", List(&Data))] },
    PayloadKind { payload_type: "com.apple.font", keys: &[opt("Name", Text), req("Font", Data)] },
    PayloadKind {
        payload_type: "com.apple.homescreenlayout",
        keys: &[
            opt(
                "Dock",
                List(&Object(&[
                    req("Type", OneOf(&["App", "Folder", "WebClip"])),
                    opt("DisplayName", Text),
                    opt("BundleID", Text),
                    opt("Pages", List(&List(&Any))),
                    opt("URL", Text),
                ])),
            ),
            req(
                "Pages",
                List(&List(&Object(&[
                    req("Type", OneOf(&["App", "Folder", "WebClip"])),
                    opt("DisplayName", Text),
                    opt("BundleID", Text),
                    opt("Pages", List(&Any)),
                    opt("URL", Text),
                ]))),
            ),
        ],
    },
    PayloadKind {
        payload_type: "com.apple.mdm",
        keys: &[
            req("IdentityCertificateUUID", Text),
            req("Topic", Text),
            req("ServerURL", Text),
            opt("CheckInURL", Text),
            opt("SignMessage", Truth),
            opt("AccessRights", WHOLE),
            opt("UseDevelopmentAPNS", Truth),
            opt("ManagedAppleID", Text),
            opt("AssignedManagedAppleID", Text),
            opt("EnrollmentMode", OneOf(&["BYOD", "ADDE"])),
            opt("ServerURLPinningCertificateUUIDs", List(&Text)),
            opt("CheckInURLPinningCertificateUUIDs", List(&Text)),
            opt("PinningRevocationCheckRequired", Truth),
            opt(
                "ServerCapabilities",
                List(&OneOf(&[
                    "com.apple.mdm.per-user-connections",
                    "com.apple.mdm.bootstraptoken",
                    "com.apple.mdm.token",
                ])),
            ),
            opt("CheckOutWhenRemoved", Truth),
            opt("RequiredAppIDForMDM", WHOLE),
            opt("PromptUserToAllowBootstrapTokenForAuthentication", Truth),
        ],
    },
    PayloadKind {
        payload_type: "com.apple.mobiledevice.passwordpolicy",
        keys: &[
            opt("allowSimple", Truth),
            opt("forcePIN", Truth),
            opt("maxFailedAttempts", Whole(2, 11)),
            opt("maxInactivity", Whole(0, 15)),
            opt("maxPINAgeInDays", Whole(0, 730)),
            opt("minComplexChars", Whole(0, 4)),
            opt("minLength", Whole(0, 16)),
            opt("requireAlphanumeric", Truth),
            opt("pinHistory", Whole(1, 50)),
            opt("maxGracePeriod", WHOLE),
            opt("minutesUntilFailedLoginReset", WHOLE),
            opt("changeAtNextAuth", Truth),
            opt(
                "customRegex",
                Object(&[
                    req("passwordContentRegex", Text),
                    opt("passwordContentDescription", Object(&[opt("*", Text)])),
                ]),
            ),
        ],
    },
    PayloadKind {
        payload_type: "com.apple.notificationsettings",
        keys: &[req(
            "NotificationSettings",
            List(&Object(&[
                req("BundleIdentifier", Text),
                opt("NotificationsEnabled", Truth),
                opt("ShowInNotificationCenter", Truth),
                opt("ShowInLockScreen", Truth),
                opt("AlertType", WholeOf(&[0, 1, 2])),
                opt("BadgesEnabled", Truth),
                opt("SoundsEnabled", Truth),
                opt("ShowInCarPlay", Truth),
                opt("CriticalAlertEnabled", Truth),
                opt("GroupingType", WholeOf(&[0, 1, 2])),
                opt("PreviewType", WholeOf(&[0, 1, 2])),
            ])),
        )],
    },
    PayloadKind { payload_type: "com.apple.profileRemovalPassword", keys: &[opt("RemovalPassword", Text)] },
    PayloadKind {
        payload_type: "com.apple.shareddeviceconfiguration",
        keys: &[
            opt("AssetTagInformation", Text),
            opt("IfLostReturnToMessage", Text),
            opt("LockScreenFootnote", Text),
        ],
    },
    PayloadKind {
        payload_type: "com.apple.tvremote",
        keys: &[
            opt("AllowedRemotes", List(&Object(&[req("RemoteDeviceID", Text)]))),
            opt("AllowedTVs", List(&Object(&[req("TVDeviceID", Text), opt("TVDeviceName", Text)]))),
        ],
    },
    PayloadKind {
        payload_type: "com.apple.webClip.managed",
        keys: &[
            opt("Precomposed", Truth),
            opt("FullScreen", Truth),
            req("URL", Text),
            opt("Icon", Data),
            opt("IsRemovable", Truth),
            req("Label", Text),
            opt("IgnoreManifestScope", Truth),
            opt("TargetApplicationBundleIdentifier", Text),
        ],
    },
];
