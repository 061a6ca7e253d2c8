//! Certificates and identities. See the module above for where this comes from.

use super::super::Kind::{Data, List, Object, OneOf, Text, Truth, WholeOf};
use super::super::{PayloadKind, WHOLE, opt, req};

pub(super) const KINDS: &[PayloadKind] = &[
    PayloadKind {
        payload_type: "com.apple.security.acme",
        keys: &[
            req("DirectoryURL", Text),
            req("ClientIdentifier", Text),
            req("KeySize", WHOLE),
            req("KeyType", OneOf(&["RSA", "ECSECPrimeRandom"])),
            req("HardwareBound", Truth),
            req("Subject", List(&List(&List(&Text)))),
            opt(
                "SubjectAltName",
                Object(&[
                    opt("rfc822Name", Text),
                    opt("dNSName", Text),
                    opt("uniformResourceIdentifier", Text),
                    opt("ntPrincipalName", Text),
                ]),
            ),
            opt("UsageFlags", WHOLE),
            opt("ExtendedKeyUsage", List(&Text)),
            opt("Attest", Truth),
            opt("KeyIsExtractable", Truth),
            opt("AllowAllAppsAccess", Truth),
        ],
    },
    PayloadKind {
        payload_type: "com.apple.security.certificaterevocation",
        keys: &[opt(
            "EnabledForCerts",
            List(&Object(&[req("Algorithm", OneOf(&["sha256"])), req("Hash", Data)])),
        )],
    },
    PayloadKind {
        payload_type: "com.apple.security.certificatetransparency",
        keys: &[
            opt(
                "DisabledForCerts",
                List(&Object(&[req("Algorithm", OneOf(&["sha256"])), req("Hash", Data)])),
            ),
            opt("DisabledForDomains", List(&Text)),
        ],
    },
    PayloadKind {
        payload_type: "com.apple.security.pem",
        keys: &[opt("PayloadCertificateFileName", Text), req("PayloadContent", Data)],
    },
    PayloadKind {
        payload_type: "com.apple.security.pkcs1",
        keys: &[opt("PayloadCertificateFileName", Text), req("PayloadContent", Data)],
    },
    PayloadKind {
        payload_type: "com.apple.security.pkcs12",
        keys: &[
            opt("PayloadCertificateFileName", Text),
            req("PayloadContent", Data),
            opt("Password", Text),
            opt("AllowAllAppsAccess", Truth),
            opt("KeyIsExtractable", Truth),
        ],
    },
    PayloadKind {
        payload_type: "com.apple.security.root",
        keys: &[opt("PayloadCertificateFileName", Text), req("PayloadContent", Data)],
    },
    PayloadKind {
        payload_type: "com.apple.security.scep",
        keys: &[req(
            "PayloadContent",
            Object(&[
                req("URL", Text),
                opt("Name", Text),
                opt("Subject", List(&List(&List(&Text)))),
                opt("Challenge", Text),
                opt("Keysize", WholeOf(&[1024, 2048, 4096])),
                opt("Key Type", Text),
                opt("Key Usage", WHOLE),
                opt("CAFingerprint", Data),
                opt("Retries", WHOLE),
                opt("RetryDelay", WHOLE),
                opt(
                    "SubjectAltName",
                    Object(&[
                        opt("rfc822Name", Text),
                        opt("dNSName", Text),
                        opt("uniformResourceIdentifier", Text),
                        opt("ntPrincipalName", Text),
                    ]),
                ),
                opt("KeyIsExtractable", Truth),
                opt("AllowAllAppsAccess", Truth),
            ]),
        )],
    },
];
