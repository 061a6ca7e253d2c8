//! Networks: Wi-Fi, cellular, proxies, DNS, AirPlay, AirPrint. See the module above for where this comes from.

use super::super::Kind::{Any, Data, List, Object, OneOf, Real, Text, Truth, Whole, WholeOf};
use super::super::{PayloadKind, WHOLE, opt, req};

pub(super) const KINDS: &[PayloadKind] = &[
    PayloadKind {
        payload_type: "com.apple.airplay",
        keys: &[
            opt("AllowList", List(&Object(&[opt("DeviceID", Text), opt("DeviceName", Text)]))),
            opt(
                "Passwords",
                List(&Object(&[req("DeviceName", Text), req("Password", Text), opt("DeviceID", Text)])),
            ),
            opt("Whitelist", List(&Object(&[opt("DeviceID", Text), opt("DeviceName", Text)]))),
        ],
    },
    PayloadKind {
        payload_type: "com.apple.airprint",
        keys: &[req(
            "AirPrint",
            List(&Object(&[
                req("IPAddress", Text),
                req("ResourcePath", Text),
                opt("Port", Whole(0, 65535)),
                opt("ForceTLS", Truth),
            ])),
        )],
    },
    PayloadKind {
        payload_type: "com.apple.apn.managed",
        keys: &[
            req(
                "DefaultsData",
                Object(&[req(
                    "apns",
                    List(&Object(&[
                        req("apn", Text),
                        opt("username", Text),
                        opt("password", Data),
                        opt("proxy", Text),
                        opt("proxyPort", WHOLE),
                    ])),
                )]),
            ),
            req("DefaultsDomainName", OneOf(&["com.apple.managedCarrier"])),
        ],
    },
    PayloadKind {
        payload_type: "com.apple.cellular",
        keys: &[
            opt(
                "AttachAPN",
                Object(&[
                    req("Name", Text),
                    opt("AuthenticationType", OneOf(&["CHAP", "PAP"])),
                    opt("Username", Text),
                    opt("Password", Text),
                    opt("AllowedProtocolMask", WholeOf(&[1, 2, 3])),
                ]),
            ),
            opt(
                "APNs",
                List(&Object(&[
                    req("Name", Text),
                    opt("AuthenticationType", OneOf(&["CHAP", "PAP"])),
                    opt("Username", Text),
                    opt("Password", Text),
                    opt("ProxyServer", Text),
                    opt("ProxyPort", WHOLE),
                    opt("DefaultProtocolMask", WholeOf(&[1, 2, 3])),
                    opt("AllowedProtocolMask", WholeOf(&[1, 2, 3])),
                    opt("AllowedProtocolMaskInRoaming", WholeOf(&[1, 2, 3])),
                    opt("AllowedProtocolMaskInDomesticRoaming", WholeOf(&[1, 2, 3])),
                    opt("EnableXLAT464", Truth),
                ])),
            ),
        ],
    },
    PayloadKind {
        payload_type: "com.apple.cellularprivatenetwork.managed",
        keys: &[
            opt(
                "Geofences",
                List(&Object(&[
                    req("Longitude", Real),
                    req("Latitude", Real),
                    req("Radius", Real),
                    req("GeofenceId", Text),
                ])),
            ),
            req("DataSetName", Text),
            req("VersionNumber", Text),
            opt("CellularDataPreferred", Truth),
            opt("EnableNRStandalone", Truth),
            opt("NetworkIdentifier", Text),
            opt("CsgNetworkIdentifier", Text),
        ],
    },
    PayloadKind {
        payload_type: "com.apple.dnsProxy.managed",
        keys: &[
            req("AppBundleIdentifier", Text),
            opt("ProviderBundleIdentifier", Text),
            opt("ProviderConfiguration", Object(&[opt("*", Any)])),
            opt("DNSProxyUUID", Text),
        ],
    },
    PayloadKind {
        payload_type: "com.apple.dnsSettings.managed",
        keys: &[
            req(
                "DNSSettings",
                Object(&[
                    req("DNSProtocol", OneOf(&["HTTPS", "TLS"])),
                    opt("ServerURL", Text),
                    opt("ServerName", Text),
                    opt("ServerAddresses", List(&Text)),
                    opt("SupplementalMatchDomains", List(&Text)),
                ]),
            ),
            opt(
                "OnDemandRules",
                List(&Object(&[
                    req("Action", OneOf(&["Connect", "Disconnect", "EvaluateConnection"])),
                    opt(
                        "ActionParameters",
                        List(&Object(&[
                            req("Domains", List(&Text)),
                            req("DomainAction", OneOf(&["NeverConnect", "ConnectIfNeeded"])),
                        ])),
                    ),
                    opt("DNSDomainMatch", List(&Text)),
                    opt("DNSServerAddressMatch", List(&Text)),
                    opt("InterfaceTypeMatch", OneOf(&["Ethernet", "WiFi", "Cellular"])),
                    opt("SSIDMatch", List(&Text)),
                    opt("URLStringProbe", Text),
                ])),
            ),
            opt("ProhibitDisablement", Truth),
            opt("PayloadCertificateUUID", Text),
        ],
    },
    PayloadKind {
        payload_type: "com.apple.domains",
        keys: &[
            opt("EmailDomains", List(&Text)),
            opt("WebDomains", List(&Text)),
            opt("SafariPasswordAutoFillDomains", List(&Text)),
            opt("CrossSiteTrackingPreventionRelaxedDomains", List(&Text)),
        ],
    },
    PayloadKind { payload_type: "com.apple.globalethernet.managed", keys: &[opt("*", Any)] },
    PayloadKind {
        payload_type: "com.apple.networkusagerules",
        keys: &[
            opt(
                "ApplicationRules",
                List(&Object(&[
                    opt("AppIdentifierMatches", List(&Text)),
                    opt("AllowRoamingCellularData", Truth),
                    opt("AllowCellularData", Truth),
                ])),
            ),
            opt(
                "SIMRules",
                List(&Object(&[req("ICCIDs", List(&Text)), req("WiFiAssistPolicy", WholeOf(&[2, 3]))])),
            ),
        ],
    },
    PayloadKind {
        payload_type: "com.apple.proxy.http.global",
        keys: &[
            opt("ProxyType", OneOf(&["Manual", "Auto"])),
            opt("ProxyServer", Text),
            opt("ProxyServerPort", WHOLE),
            opt("ProxyUsername", Text),
            opt("ProxyPassword", Text),
            opt("ProxyPACURL", Text),
            opt("ProxyPACFallbackAllowed", Truth),
            opt("ProxyCaptiveLoginAllowed", Truth),
        ],
    },
    PayloadKind {
        payload_type: "com.apple.relay.managed",
        keys: &[
            req(
                "Relays",
                List(&Object(&[
                    opt("HTTP3RelayURL", Text),
                    opt("HTTP2RelayURL", Text),
                    opt("AdditionalHTTPHeaderFields", Object(&[opt("*", Text)])),
                    opt("PayloadCertificateUUID", Text),
                    opt("RawPublicKeys", List(&Data)),
                ])),
            ),
            opt("MatchDomains", List(&Text)),
            opt("ExcludedDomains", List(&Text)),
            opt("RelayUUID", Text),
        ],
    },
    PayloadKind {
        payload_type: "com.apple.webcontent-filter",
        keys: &[
            opt("FilterType", OneOf(&["BuiltIn", "Plugin"])),
            opt("AutoFilterEnabled", Truth),
            opt("PermittedURLs", List(&Text)),
            opt("BlacklistedURLs", List(&Text)),
            opt("DenyListURLs", List(&Text)),
            opt("HideDenyListURLs", Truth),
            opt("WhitelistedBookmarks", List(&Object(&[req("URL", Text), req("Title", Text)]))),
            opt("AllowListBookmarks", List(&Object(&[req("URL", Text), req("Title", Text)]))),
            opt("UserDefinedName", Text),
            opt("PluginBundleID", Text),
            opt("ServerAddress", Text),
            opt("UserName", Text),
            opt("Password", Text),
            opt("PayloadCertificateUUID", Text),
            opt("Organization", Text),
            opt("VendorConfig", Object(&[opt("*", Any)])),
            opt("FilterBrowsers", Truth),
            opt("FilterSockets", Truth),
            opt("FilterDataProviderDesignatedRequirement", Text),
            opt("FilterDataProviderBundleIdentifier", Text),
            opt("FilterPackets", Truth),
            opt("FilterPacketProviderDesignatedRequirement", Text),
            opt("FilterPacketProviderBundleIdentifier", Text),
            opt("FilterGrade", OneOf(&["firewall", "inspector"])),
            opt("ContentFilterUUID", Text),
        ],
    },
    PayloadKind {
        payload_type: "com.apple.wifi.managed",
        keys: &[
            opt("AutoJoin", Truth),
            opt("SSID_STR", Text),
            opt("HIDDEN_NETWORK", Truth),
            opt("ProxyType", OneOf(&["None", "Manual", "Auto"])),
            opt("EncryptionType", OneOf(&["WEP", "WPA", "WPA2", "WPA3", "Any", "None"])),
            opt("Password", Text),
            opt("PayloadCertificateUUID", Text),
            opt(
                "EAPClientConfiguration",
                Object(&[
                    req("AcceptEAPTypes", List(&WholeOf(&[13, 17, 18, 21, 23, 25, 43]))),
                    opt("UserName", Text),
                    opt("UserPassword", Text),
                    opt("PayloadCertificateAnchorUUID", List(&Text)),
                    opt("TLSTrustedCertificates", List(&Text)),
                    opt("TLSTrustedServerNames", List(&Text)),
                    opt("TLSAllowTrustExceptions", Truth),
                    opt("TLSCertificateIsRequired", Truth),
                    opt("TTLSInnerAuthentication", OneOf(&["PAP", "EAP", "CHAP", "MSCHAP", "MSCHAPv2"])),
                    opt("TLSMinimumVersion", OneOf(&["1.0", "1.1", "1.2", "1.3"])),
                    opt("TLSMaximumVersion", OneOf(&["1.0", "1.1", "1.2", "1.3"])),
                    opt("OuterIdentity", Text),
                    opt("EAPFASTUsePAC", Truth),
                    opt("EAPFASTProvisionPAC", Truth),
                    opt("EAPFASTProvisionPACAnonymously", Truth),
                    opt("EAPSIMNumberOfRANDs", WholeOf(&[2, 3])),
                    opt("SystemModeCredentialsSource", Text),
                    opt("SystemModeUseOpenDirectoryCredentials", Truth),
                    opt("OneTimeUserPassword", Truth),
                ]),
            ),
            opt("DisplayedOperatorName", Text),
            opt("DomainName", Text),
            opt("RoamingConsortiumOIs", List(&Text)),
            opt("ServiceProviderRoamingEnabled", Truth),
            opt("IsHotspot", Truth),
            opt("HESSID", Text),
            opt("NAIRealmNames", List(&Text)),
            opt("MCCAndMNCs", List(&Text)),
            opt("CaptiveBypass", Truth),
            opt(
                "QoSMarkingPolicy",
                Object(&[
                    opt("QoSMarkingAllowListAppIdentifiers", List(&Text)),
                    opt("QoSMarkingWhitelistedAppIdentifiers", List(&Text)),
                    opt("QoSMarkingAppleAudioVideoCalls", Truth),
                    opt("QoSMarkingEnabled", Truth),
                ]),
            ),
            opt("SetupModes", List(&OneOf(&["System", "Loginwindow"]))),
            opt("EnableIPv6", Truth),
            opt("TLSCertificateRequired", Truth),
            opt("ProxyServer", Text),
            opt("ProxyServerPort", Whole(0, 65535)),
            opt("ProxyUsername", Text),
            opt("ProxyPassword", Text),
            opt("ProxyPACURL", Text),
            opt("ProxyPACFallbackAllowed", Truth),
            opt("DisableAssociationMACRandomization", Truth),
        ],
    },
];
