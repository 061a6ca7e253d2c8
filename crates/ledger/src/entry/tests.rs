use super::*;
use model::Group;
use model::{
    CommandKind, Compartment, Condition, DeclarationId, DeclarationKind, DeviceGroupDefinition,
    DeviceGroupId, DeviceGroupName, DeviceGroupRule, Join, LinkHash, OsVersion, Outline, OutlinedKey,
    OutlinedPayload, OutlinedValue, ProfileId, Role, SetName, Since,
};
use proptest::prelude::*;

fn key(n: u8) -> SigningPublicKey {
    SigningPublicKey([n; 32])
}

fn effects() -> Vec<Effect> {
    let phone = EnrolmentId([1; 16]);
    let group = || Group::new("ward-7").unwrap();
    vec![
        Effect::PersonJoined {
            person: PersonId([2; 16]),
            role: Role::WardManager,
            group: Some(group()),
            key_id: KeyId([3; 16]),
            public_key: key(4),
            name: PersonalSealed(vec![5; 40]),
        },
        Effect::PersonKeyAdded { person: PersonId([2; 16]), key_id: KeyId([3; 16]), public_key: key(4) },
        Effect::PersonRemoved { person: PersonId([2; 16]) },
        Effect::Invited {
            enrolment: phone,
            link: LinkHash([6; 32]),
            group: group(),
            expires_at_ms: 1_700_000_000_000,
            holder: PersonalSealed(vec![7; 50]),
            card: None,
        },
        Effect::InvitationWithdrawn { enrolment: phone },
        Effect::Opened { fields: vec![(phone, "IMEI".into()), (phone, "PhoneNumber".into())] },
        Effect::Granted {
            session: Digest([8; 32]),
            records: 50,
            searches: 10,
            compartments: vec![Compartment::Identity, Compartment::Contact],
            expires_at_ms: 1,
        },
        Effect::Commanded {
            command: CommandId([9; 16]),
            kind: CommandKind::ClearPasscode,
            answer_digest: Digest([10; 32]),
            erasing: false,
            targets: vec![phone],
            expires_at_ms: -1,
            per_phone: vec![(phone, CommandId([11; 16]), Digest([12; 32]))],
        },
        Effect::Recalled { order: OrderId([13; 16]) },
        Effect::ApiKeyMade {
            hash: Digest([14; 32]),
            scopes: 0b101,
            expires_at_ms: i64::MAX,
            label: "monitoring".into(),
        },
        Effect::ApiKeyRevoked { hash: Digest([14; 32]) },
        Effect::SessionEnded { session: Digest([8; 32]) },
        Effect::DeclarationsSet {
            set: SetName::new("ward-policy").unwrap(),
            declarations: vec![Declared {
                kind: DeclarationKind::Configuration,
                identifier: DeclarationId::new("org.example.passcode").unwrap(),
                declared_type: "com.apple.configuration.passcode.settings".into(),
                token: Digest([15; 32]),
                answer_digest: Digest([16; 32]),
                in_force: true,
            }],
            targets: vec![phone],
            erasing: false,
            command: CommandId([17; 16]),
            answer_digest: Digest([18; 32]),
            expires_at_ms: 1,
        },
        Effect::ServiceTokenSet { service: "com.apple.maid".into(), sealed: Opaque(vec![15; 60]) },
    ]
}

/// One body of each kind, and one accepted order for each effect.
pub(crate) fn bodies() -> Vec<Body> {
    let phone = EnrolmentId([1; 16]);
    let mut out = vec![
        Body::Genesis { root_key: key(1), first_token_key: key(2) },
        Body::KeysStated { epoch: 7, statement_digest: Digest([3; 32]) },
        Body::OrderRefused {
            order: None,
            digest: Digest([4; 32]),
            signer: Some(KeyId([5; 16])),
            reason: RefusalCode(300),
            key: ReasonKey::new("wrong_role").unwrap(),
        },
        Body::GrantUsed {
            grant: OrderId([6; 16]),
            opened: vec![(phone, "ServiceSubscriptions.0.PhoneNumber".into())],
            searches: 2,
        },
        Body::GivenBack { enrolment: phone, what: "BootstrapToken".into() },
        Body::CertificateIssued {
            enrolment: phone,
            key_digest: Digest([7; 32]),
            certificate: Opaque(vec![0x30; 700]),
        },
        Body::CertificateRefused { enrolment: None, reason: RefusalCode(1) },
        Body::Authenticated { enrolment: phone, replaced: Some(EnrolmentId([8; 16])) },
        Body::TokenUpdated { enrolment: phone },
        Body::CheckedOut { enrolment: phone },
        Body::CommandFinished { enrolment: phone, command: CommandId([9; 16]), status: 2 },
        Body::PhoneRefused { enrolment: phone, reason: RefusalCode(0) },
    ];
    out.extend(effects().into_iter().map(|effect| Body::OrderAccepted {
        order: OrderId([10; 16]),
        digest: Digest([11; 32]),
        signer: KeyId([12; 16]),
        person: PersonId([13; 16]),
        bytes: Opaque(vec![14; 300]),
        signature: Opaque(vec![15; 64]),
        effect,
        counted: None,
    }));
    out
}

fn entry(body: Body) -> Entry {
    Entry {
        version: ENTRY_VERSION,
        index: 1000,
        at_ms: 1_764_000_000_000,
        previous: Digest([0xaa; 32]),
        witness: body.witness(),
        body,
        word: None,
    }
}

#[test]
fn a_word_of_cores_may_carry_its_number_and_an_entry_of_the_vaults_may_not() {
    let word = entry(Body::TokenUpdated { enrolment: EnrolmentId([1; 16]) });
    let numbered = Entry { word: Some(7), ..word.clone() };
    let (bare, long) = (word.encode().unwrap(), numbered.encode().unwrap());
    // A seventh element, where there is one: entries without it are as they ever were.
    assert_eq!(
        (bare[0], long[0], &long[1..bare.len()], &long[bare.len()..]),
        (0x86, 0x87, &bare[1..], &[7][..])
    );
    assert_eq!(Entry::decode(&long), Ok(numbered));
    let own = Entry { word: Some(7), ..entry(bodies().remove(0)) };
    assert_eq!(own.encode(), Err(EntryError::Witness));
}

/// What standing orders and renewal brought.
fn renewal_bodies() -> Vec<Body> {
    let phone = EnrolmentId([1; 16]);
    let accepted = |effect| Body::OrderAccepted {
        order: OrderId([10; 16]),
        digest: Digest([11; 32]),
        signer: KeyId([12; 16]),
        person: PersonId([13; 16]),
        bytes: Opaque(vec![14; 3]),
        signature: Opaque(vec![15; 64]),
        effect,
        counted: None,
    };
    let template = model::StandingTemplate::RenewCertificates { before_ms: 5_184_000_000 };
    vec![
        accepted(Effect::StandingMade { template, cap_an_hour: 200, expires_at_ms: 1_800_000_000_000 }),
        accepted(Effect::StandingEnded { order: OrderId([16; 16]) }),
        Body::StandingUsed {
            standing: OrderId([16; 16]),
            enrolment: phone,
            number: 1,
            command: CommandId([17; 16]),
            answer_digest: Digest([18; 32]),
            expires_at_ms: 1_800_000_000_000,
        },
        Body::ServerCertificateIssued { certificate: Opaque(vec![0x30; 7]) },
        Body::CertificateTaken { enrolment: phone, certificate: Digest([19; 32]) },
    ]
}

/// What backups brought.
fn restore_bodies() -> Vec<Body> {
    vec![
        Body::Restored { manifest: Digest([20; 32]), made_at_ms: 1_764_000_000_000, entries: 1000 },
        Body::OrderAccepted {
            order: OrderId([10; 16]),
            digest: Digest([11; 32]),
            signer: KeyId([12; 16]),
            person: PersonId([13; 16]),
            bytes: Opaque(vec![14; 3]),
            signature: Opaque(vec![15; 64]),
            effect: Effect::RestoreConfirmed {
                restored: 1000,
                without: vec![PersonId([21; 16])],
                complete: true,
            },
            counted: None,
        },
    ]
}

#[test]
fn the_encoding_of_a_restores_entries_stays_what_it_is() {
    let all: Vec<u8> = restore_bodies().into_iter().flat_map(|b| entry(b).encode().unwrap()).collect();
    assert_eq!(crate::frame::sha256(&all).to_string(), GOLDEN_RESTORE);
}

const GOLDEN_RESTORE: &str = "53e9010aa166fd31de00e157c5154ab2154473ca6809c9736236c624592106d8";

#[test]
fn the_encoding_of_renewals_entries_stays_what_it_is() {
    let all: Vec<u8> = renewal_bodies().into_iter().flat_map(|b| entry(b).encode().unwrap()).collect();
    assert_eq!(crate::frame::sha256(&all).to_string(), GOLDEN_RENEWAL);
}

/// What signing in to read brought.
fn reader_bodies() -> Vec<Body> {
    let signed_in = |role, group| Body::OidcSignedIn {
        session: Digest([21; 32]),
        subject: Digest([22; 32]),
        role,
        group,
        expires_at_ms: 1_800_000_000_000,
    };
    vec![signed_in(Role::WardManager, Some(Group::new("ward-7").unwrap())), signed_in(Role::Auditor, None)]
}

#[test]
fn the_encoding_of_sign_ins_to_read_stays_what_it_is() {
    let all: Vec<u8> = reader_bodies().into_iter().flat_map(|b| entry(b).encode().unwrap()).collect();
    assert_eq!(crate::frame::sha256(&all).to_string(), GOLDEN_READER);
}

const GOLDEN_READER: &str = "db07895c3ea6741563ab9a1115aa52e10ceea7b37b17b0e8d6211975e540517b";

/// What holders' cards brought.
fn card_bodies() -> Vec<Body> {
    let phone = EnrolmentId([1; 16]);
    let invited = Effect::Invited {
        enrolment: phone,
        link: LinkHash([6; 32]),
        group: Group::new("ward-7").unwrap(),
        expires_at_ms: 1_700_000_000_000,
        holder: PersonalSealed(vec![7; 50]),
        card: Some(Digest([8; 32])),
    };
    let made =
        |template| Effect::StandingMade { template, cap_an_hour: 20, expires_at_ms: 1_800_000_000_000 };
    vec![
        accepted(invited),
        accepted(Effect::HolderCardsMade {
            cards: vec![(phone, Digest([9; 32])), (EnrolmentId([2; 16]), Digest([10; 32]))],
        }),
        accepted(made(model::StandingTemplate::HolderLostMode)),
        accepted(made(model::StandingTemplate::HolderRings)),
    ]
}

#[test]
fn the_encoding_of_holders_cards_stays_what_it_is_and_an_invitation_of_before_reads_on() {
    let all: Vec<u8> = card_bodies().into_iter().flat_map(|b| entry(b).encode().unwrap()).collect();
    assert_eq!(crate::frame::sha256(&all).to_string(), GOLDEN_CARDS);
    // One element more, where there is a card: an invitation without one is as it ever was.
    let bare = effects().into_iter().find(|e| matches!(e, Effect::Invited { .. })).unwrap();
    let Body::OrderAccepted { effect: with, .. } = card_bodies().remove(0) else { unreachable!() };
    let (bare, with) = (minicbor::to_vec(&bare).unwrap(), minicbor::to_vec(&with).unwrap());
    assert_eq!((bare[2], with[2], &with[3..bare.len()]), (0x85, 0x86, &bare[3..]));
}

const GOLDEN_CARDS: &str = "4c0317afb948d62b6070db8e9042099f1f3e2b2a643f529a36227ba01a1bbf8a";

/// What limits brought.
fn limit_bodies() -> Vec<Body> {
    let limit = model::Limit::Budget {
        duty: Duty::Erase,
        whose: model::Whose::Person(Role::Administrator),
        window: model::Window::Day,
    };
    let approval =
        Approval { key: KeyId([20; 16]), person: PersonId([21; 16]), signature: Opaque(vec![22; 64]) };
    let counted = Counted { duty: Duty::Limits, count: 1, approvals: vec![approval], not_before_ms: Some(5) };
    vec![
        Body::OrderAccepted {
            order: OrderId([10; 16]),
            digest: Digest([11; 32]),
            signer: KeyId([12; 16]),
            person: PersonId([13; 16]),
            bytes: Opaque(vec![14; 3]),
            signature: Opaque(vec![15; 64]),
            effect: Effect::LimitSet { limit, value: 4 },
            counted: Some(counted.into()),
        },
        Body::OrderHeld {
            order: OrderId([16; 16]),
            digest: Digest([17; 32]),
            people: vec![PersonId([13; 16])],
            duty: Duty::Erase,
            count: 20,
            needs: 2,
            expires_at_ms: 1_800_000_000_000,
        },
    ]
}

#[test]
fn the_encoding_of_limits_entries_stays_what_it_is() {
    let all: Vec<u8> = limit_bodies().into_iter().flat_map(|b| entry(b).encode().unwrap()).collect();
    assert_eq!(crate::frame::sha256(&all).to_string(), GOLDEN_LIMITS);
}

/// What rejecting an order brought.
fn rejected_body() -> Body {
    Body::OrderAccepted {
        order: OrderId([10; 16]),
        digest: Digest([11; 32]),
        signer: KeyId([12; 16]),
        person: PersonId([13; 16]),
        bytes: Opaque(vec![14; 3]),
        signature: Opaque(vec![15; 64]),
        effect: Effect::Rejected { order: OrderId([16; 16]) },
        counted: None,
    }
}

#[test]
fn the_encoding_of_a_rejection_stays_what_it_is() {
    let bytes = entry(rejected_body()).encode().unwrap();
    assert_eq!(crate::frame::sha256(&bytes).to_string(), GOLDEN_REJECTED);
}

const GOLDEN_REJECTED: &str = "a66f923cb8219e04ac55a05c31cdac957cd85fc8d9eb48f004db9a447b79454c";

const GOLDEN_LIMITS: &str = "1631e0dbc8dbc680360c675fb9fc431a32d0e3d932219ac78d74d5723adc0768";

const GOLDEN_RENEWAL: &str = "0229a84447f10b396b772257829b5158c4a733fc7ca4698b14d5f0a239a02757";

/// What the rotation of keys brought.
fn key_bodies() -> Vec<Body> {
    let accepted = |effect| Body::OrderAccepted {
        order: OrderId([10; 16]),
        digest: Digest([11; 32]),
        signer: KeyId([12; 16]),
        person: PersonId([13; 16]),
        bytes: Opaque(vec![14; 3]),
        signature: Opaque(vec![15; 64]),
        effect,
        counted: None,
    };
    vec![
        accepted(Effect::KeysRotated { keys: of_the_first_rotations(), epoch: 2 }),
        accepted(Effect::BreachAssumed {
            epoch: 3,
            signers: vec![KeyId([12; 16])],
            reissues_an_hour: 500,
            expires_at_ms: 1_800_000_000_000,
            keys: None,
        }),
        accepted(Effect::PersonKeyEnded { person: PersonId([13; 16]), key_id: KeyId([12; 16]) }),
        Body::Resealed { rows: 500 },
        Body::KeysDestroyed { keys: vec![model::KeyName::Contact], before: 3, epoch: None },
        Body::ServiceTokenResealed { service: "com.example".into(), sealed: Opaque(vec![16; 40]) },
        accepted(Effect::BreachAssumed {
            epoch: 4,
            signers: vec![],
            reissues_an_hour: 500,
            expires_at_ms: 1_800_000_000_000,
            keys: Some(vec![model::KeyName::Ca]),
        }),
        accepted(Effect::OlderCaEnded { before: 4, epoch: 5 }),
        Body::KeysDestroyed { keys: vec![model::KeyName::Ca], before: 4, epoch: Some(5) },
    ]
}

/// The keys that there were when rotations came: what was written then stays what it is.
fn of_the_first_rotations() -> Vec<model::KeyName> {
    [1, 2, 3, 5, 6, 7, 8, 20, 21, 22, 23, 24]
        .into_iter()
        .map(|n| model::KeyName::from_number(n).unwrap())
        .collect()
}

/// The library's, numbered after these.
fn profile_bodies() -> Vec<Body> {
    let effect = Effect::ProfileSaved {
        profile: ProfileId([19; 16]),
        version: 2,
        outline: Box::new(Outline {
            identifier: "org.example.wifi".into(),
            keys: vec![],
            payloads: vec![OutlinedPayload {
                payload_type: "com.apple.wifi.managed".into(),
                known: true,
                keys: vec![OutlinedKey {
                    path: "Password".into(),
                    value: OutlinedValue::Set(Since::Changed),
                }],
                unknown_keys: 0,
            }],
            left_out: 0,
        }),
        commitment: Digest([20; 32]),
        signed: false,
        erasing: true,
        because: vec![ErasingKey {
            payload_type: "com.apple.wifi.managed".into(),
            key: "EncryptionType".into(),
        }],
    };
    let mut accepted = bodies().into_iter().filter(|b| matches!(b, Body::OrderAccepted { .. }));
    let Some(Body::OrderAccepted { order, digest, signer, person, bytes, signature, counted, .. }) =
        accepted.next()
    else {
        return vec![];
    };
    vec![Body::OrderAccepted { order, digest, signer, person, bytes, signature, effect, counted }]
}

/// What taking profiles out of the library brought.
fn ended_profile_bodies() -> Vec<Body> {
    vec![accepted(Effect::ProfileEnded { profile: ProfileId([19; 16]) })]
}

#[test]
fn the_encoding_of_a_profiles_end_stays_what_it_is() {
    let all: Vec<u8> = ended_profile_bodies().into_iter().flat_map(|b| entry(b).encode().unwrap()).collect();
    assert_eq!(crate::frame::sha256(&all).to_string(), GOLDEN_ENDED_PROFILES);
}

const GOLDEN_ENDED_PROFILES: &str = "236ef67538a9b302a00bc9acd3792473dca3ef9648754a786386231c56db960e";

#[test]
fn the_encoding_of_saved_profiles_stays_what_it_is() {
    let all: Vec<u8> = profile_bodies().into_iter().flat_map(|b| entry(b).encode().unwrap()).collect();
    assert_eq!(crate::frame::sha256(&all).to_string(), GOLDEN_PROFILES);
}

const GOLDEN_PROFILES: &str = "83635ba00c4b1d5b2fdc5bc73339d07e64bc99045ab5ee35a26975d2f79b716a";

/// Keys that other rooms make, numbered after these.
fn room_key_bodies() -> Vec<Body> {
    let taken = |key| Body::RoomKeyTaken { key, number: 3, epoch: 4, public: Opaque(vec![7; 32]) };
    vec![
        taken(model::KeyName::Push),
        taken(model::KeyName::Delivery),
        Body::KeysDestroyed { keys: vec![model::KeyName::Delivery], before: 4, epoch: None },
    ]
}

/// What device groups brought.
fn device_group_bodies() -> Vec<Body> {
    let conditions = vec![
        Condition::OsBelow(OsVersion { major: 17, minor: 5, patch: 1 }),
        Condition::OsAtLeast(OsVersion { major: 16, minor: 0, patch: 0 }),
        Condition::Models(vec!["iPhone12,8".into(), "iPhone14,5".into()]),
        Condition::HomeGroups(vec![Group::new("ward-7").unwrap()]),
        Condition::SilentForDays(30),
        Condition::Supervised(true),
        Condition::PasscodeCompliant(false),
        Condition::Lost(true),
        Condition::DataProtected(false),
    ];
    let saved = |name, definition, phones| {
        accepted(Effect::DeviceGroupSaved {
            group: DeviceGroupId([20; 16]),
            name: DeviceGroupName::new(name).unwrap(),
            definition,
            phones,
        })
    };
    let rule = |join| DeviceGroupDefinition::Rule(DeviceGroupRule { join, conditions: conditions.clone() });
    vec![
        saved("Old systems", rule(Join::All), vec![]),
        saved("Any of these", rule(Join::Any), vec![]),
        saved("Theatre 4", DeviceGroupDefinition::List, vec![EnrolmentId([1; 16]), EnrolmentId([2; 16])]),
        accepted(Effect::DeviceGroupEnded { group: DeviceGroupId([20; 16]) }),
    ]
}

fn accepted(effect: Effect) -> Body {
    Body::OrderAccepted {
        order: OrderId([10; 16]),
        digest: Digest([11; 32]),
        signer: KeyId([12; 16]),
        person: PersonId([13; 16]),
        bytes: Opaque(vec![14; 3]),
        signature: Opaque(vec![15; 64]),
        effect,
        counted: None,
    }
}

#[test]
fn the_encoding_of_entries_about_device_groups_stays_what_it_is() {
    let all: Vec<u8> = device_group_bodies().into_iter().flat_map(|b| entry(b).encode().unwrap()).collect();
    assert_eq!(crate::frame::sha256(&all).to_string(), GOLDEN_DEVICE_GROUPS);
}

const GOLDEN_DEVICE_GROUPS: &str = "2b91dc1af6db4b175f2d3adffc418a595def548b393c833c79f608dc1ff0187b";

#[test]
fn the_encoding_of_entries_about_rooms_keys_stays_what_it_is() {
    let all: Vec<u8> = room_key_bodies().into_iter().flat_map(|b| entry(b).encode().unwrap()).collect();
    assert_eq!(crate::frame::sha256(&all).to_string(), GOLDEN_ROOM_KEYS);
}

const GOLDEN_ROOM_KEYS: &str = "c9eae0f4deafdb9f7ba73280ffc4d52e3ea775028c073b71fcfc78c797cca490";

#[test]
fn the_encoding_of_rotations_entries_stays_what_it_is() {
    let all: Vec<u8> = key_bodies().into_iter().flat_map(|b| entry(b).encode().unwrap()).collect();
    assert_eq!(crate::frame::sha256(&all).to_string(), GOLDEN_KEYS);
}

const GOLDEN_KEYS: &str = "9ade878241ed7d10cc233b8996945080deff37440fb7a15230818d2e5632aae5";

#[test]
fn every_kind_of_entry_reads_back_as_it_was_written() {
    let later = renewal_bodies()
        .into_iter()
        .chain(restore_bodies())
        .chain(limit_bodies())
        .chain([rejected_body()])
        .chain(key_bodies())
        .chain(room_key_bodies())
        .chain(device_group_bodies())
        .chain(profile_bodies())
        .chain(card_bodies())
        .chain(reader_bodies());
    for body in bodies().into_iter().chain(later) {
        let entry = entry(body);
        let bytes = entry.encode().unwrap();
        assert_eq!(Entry::decode(&bytes).unwrap(), entry);
    }
}

#[test]
fn the_encoding_of_every_kind_is_what_it_was_in_version_1() {
    // If this changes, ledgers that exist can't be read any more: add, never alter.
    let (later, first): (Vec<Body>, Vec<Body>) = bodies().into_iter().partition(came_later);
    let digest = |bodies: Vec<Body>| {
        let all: Vec<u8> = bodies.into_iter().flat_map(|b| entry(b).encode().unwrap()).collect();
        crate::frame::sha256(&all).to_string()
    };
    assert_eq!(digest(first), GOLDEN);
    assert_eq!(digest(later), GOLDEN_LATER);
    let first = Entry { index: 0, at_ms: 5, previous: NO_PREVIOUS, ..entry(bodies().remove(0)) };
    let hex: String = first.encode().unwrap().iter().map(|b| format!("{b:02x}")).collect();
    let (one, two, zero) = ("01".repeat(32), "02".repeat(32), "00".repeat(32));
    assert_eq!(hex, format!("86010005{}{zero}01{}{one}{}{two}", "5820", "8201825820", "5820"));
}

const GOLDEN: &str = "b5e3eeac412eb56a54a79633bed2037abcfc56226d60e23c68bc1c73ca79a82d";
const GOLDEN_LATER: &str = "88f096388bf4ec884ed76c70728ec820ffe66c9424c32a704216b1174c4d920f";

/// Kinds that the first ledgers did not have.
fn came_later(body: &Body) -> bool {
    let of_effect = |e: &Effect| matches!(e, Effect::DeclarationsSet { .. } | Effect::ServiceTokenSet { .. });
    match body {
        Body::GivenBack { .. } => true,
        Body::OrderAccepted { effect, .. } => of_effect(effect),
        _ => false,
    }
}

#[test]
fn another_form_of_the_same_entry_is_refused() {
    let entry = entry(Body::KeysStated { epoch: 7, statement_digest: Digest([3; 32]) });
    let bytes = entry.encode().unwrap();
    // An array of indefinite length, closed by a break.
    let mut indefinite = bytes.clone();
    indefinite[0] = 0x9f;
    indefinite.push(0xff);
    assert_eq!(Entry::decode(&indefinite), Err(EntryError::NotCanonical));
    // The version as a two-byte integer.
    let mut wide = bytes.clone();
    wide.splice(1..2, [0x18, 0x01]);
    assert_eq!(Entry::decode(&wide), Err(EntryError::NotCanonical));
    // Something after the end.
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(Entry::decode(&longer), Err(EntryError::NotCanonical));
    // A seventh element that this version does not know.
    let mut more = bytes;
    more[0] = 0x87;
    more.push(0);
    assert!(Entry::decode(&more).is_err());
}

#[test]
fn values_outside_their_range_are_neither_written_nor_read() {
    let raw = |entry: &Entry| minicbor::to_vec(entry).unwrap();
    let good = entry(Body::CheckedOut { enrolment: EnrolmentId([1; 16]) });
    let lying = Entry { witness: Witness::Vault, ..good.clone() };
    assert_eq!(Entry::decode(&raw(&lying)), Err(EntryError::Witness));
    assert_eq!(lying.encode(), Err(EntryError::Witness));
    let newer = Entry { version: 2, ..good };
    assert_eq!(Entry::decode(&raw(&newer)), Err(EntryError::Version { found: 2 }));

    // A `Group` checks itself; `ReasonKey` decodes from any text, and the entry looks at it.
    let invited = effects().into_iter().find(|e| matches!(e, Effect::Invited { .. })).unwrap();
    let order = bodies().into_iter().find_map(|b| match b {
        Body::OrderAccepted { order, digest, signer, person, bytes, signature, .. } => {
            Some(Body::OrderAccepted {
                order,
                digest,
                signer,
                person,
                bytes,
                signature,
                effect: invited.clone(),
                counted: None,
            })
        }
        _ => None,
    });
    let mut bytes = raw(&entry(order.unwrap()));
    let at = bytes.windows(6).position(|w| w == b"ward-7").unwrap();
    bytes[at..at + 6].copy_from_slice(b"Ward 7");
    assert_eq!(Entry::decode(&bytes), Err(EntryError::Malformed));
    let mut bytes = raw(&entry(bodies().remove(2)));
    let at = bytes.windows(10).position(|w| w == b"wrong_role").unwrap();
    bytes[at] = b'<';
    assert_eq!(Entry::decode(&bytes), Err(EntryError::ReasonKey));
}

#[test]
fn an_entry_shows_neither_names_nor_signed_bytes() {
    for body in bodies() {
        let shown = format!("{body:?}");
        assert!(!shown.contains("14, 14, 14") && !shown.contains("7, 7, 7") && !shown.contains("5, 5, 5"));
    }
}

#[test]
fn a_kind_without_a_number_does_not_decode() {
    let bytes = entry(bodies().remove(1)).encode().unwrap();
    // The body is [2, [7, digest]]: 0x82 0x02.
    let at = bytes.windows(3).position(|w| w == [0x82, 0x02, 0x82]).unwrap() + 1;
    for unknown in [0, 8, 15, 23] {
        let mut bad = bytes.clone();
        bad[at] = unknown;
        assert_eq!(Entry::decode(&bad), Err(EntryError::Malformed), "{unknown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn bytes_decode_to_an_entry_only_if_they_are_its_canonical_form(
        which in 0..bodies().len(),
        at in any::<prop::sample::Index>(),
        flip in 1..=255u8,
        cut in any::<bool>(),
    ) {
        let mut bytes = entry(bodies().remove(which)).encode().unwrap();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= flip }
        if let Ok(entry) = Entry::decode(&bytes) {
            prop_assert_eq!(entry.encode().unwrap(), bytes);
        }
    }

    #[test]
    fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Entry::decode(&bytes).is_err());
    }

    #[test]
    fn deep_or_endless_cbor_is_refused(open in prop::sample::select(vec![0x81u8, 0x9f, 0xa1, 0xbf, 0xc6, 0xdb]), n in 1usize..20_000) {
        prop_assert!(Entry::decode(&vec![open; n]).is_err());
    }
}
