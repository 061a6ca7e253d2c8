//! The library of profiles: what is saved, what is told of it, and that what is installed is what was saved.

use super::*;
use model::{Clock as _, OutlinedValue, ProfileId, Since};
use order::{SaveSecrets, SavedAnswer, profile_place};

const WIFI: ProfileId = ProfileId([0x77; 16]);
const CANARY: &str = "canary-password-4711";

/// A network with this password, of this encryption.
fn wifi(password: &str, encryption: &str) -> Vec<u8> {
    format!(
        "<plist version=\"1.0\"><dict><key>PayloadType</key><string>Configuration</string>
         <key>PayloadVersion</key><integer>1</integer><key>PayloadUUID</key><string>A</string>
         <key>PayloadIdentifier</key><string>org.example.wifi</string><key>PayloadContent</key><array><dict>
         <key>PayloadType</key><string>com.apple.wifi.managed</string><key>PayloadVersion</key><integer>1</integer>
         <key>PayloadUUID</key><string>B</string><key>PayloadIdentifier</key><string>org.example.wifi.1</string>
         <key>SSID_STR</key><string>Ward</string><key>EncryptionType</key><string>{encryption}</string>
         <key>AutoJoin</key><true/><key>Password</key><string>{password}</string>
         </dict></array></dict></plist>"
    )
    .into_bytes()
}

impl House {
    fn save_with(
        &mut self,
        key: &Ed25519Secret,
        content: &[u8],
        before: Option<SealedRow>,
    ) -> (SignedOrder, Vec<u8>, Outcome) {
        self.save_as(key, WIFI, content, before)
    }

    fn save_as(
        &mut self,
        key: &Ed25519Secret,
        profile: ProfileId,
        content: &[u8],
        before: Option<SealedRow>,
    ) -> (SignedOrder, Vec<u8>, Outcome) {
        let secrets = encode(&SaveSecrets { profile: content.to_vec(), salt: vec![self.next; 32] });
        let (signed, sealed) = self.order(key, OrderKind::SaveProfile { profile }, vec![], Some(&secrets));
        let submitted = Submitted {
            signed: encode(&signed),
            sealed_arguments: sealed.clone(),
            profile: before,
            rows: vec![],
        };
        let outcome = self.durable(|c| c.submit(&submitted));
        (signed, sealed, outcome)
    }

    fn save(
        &mut self,
        key: &Ed25519Secret,
        profile: &[u8],
        before: Option<SealedRow>,
    ) -> (SealedRow, SavedAnswer) {
        let (signed, _, outcome) = self.save_with(key, profile, before);
        assert_eq!(outcome.refusal, None, "{:?}", outcome.detail);
        let answer = decode(&self.answer(&signed, &outcome)).unwrap();
        (outcome.profile.unwrap(), answer)
    }

    fn install(
        &mut self,
        key: &Ed25519Secret,
        version: u32,
        row: Option<SealedRow>,
        phones: Vec<EnrolmentId>,
        holder_name: Option<&str>,
    ) -> Outcome {
        let kind = self.install_kind(version);
        self.install_as(key, kind, row, phones, holder_name)
    }

    /// As somebody signs it who was shown what was saved, out of the ledger.
    fn install_kind(&self, version: u32) -> OrderKind {
        let (identifier, erasing, shown) = self.chamber.state.library.shown(&WIFI, version).unwrap_or((
            String::new(),
            false,
            model::Digest([0; 32]),
        ));
        OrderKind::InstallSaved { profile: WIFI, version, identifier, erasing, shown }
    }

    fn install_as(
        &mut self,
        key: &Ed25519Secret,
        kind: OrderKind,
        row: Option<SealedRow>,
        phones: Vec<EnrolmentId>,
        holder_name: Option<&str>,
    ) -> Outcome {
        let secrets = holder_name.map(|name| encode(&holder(name)));
        let (signed, sealed) = self.order(key, kind, phones, secrets.as_deref());
        let submitted =
            Submitted { signed: encode(&signed), sealed_arguments: sealed, profile: row, rows: vec![] };
        self.durable(|c| c.submit(&submitted))
    }

    /// What the door would give the phone.
    fn delivered(&self, outcome: &Outcome) -> String {
        let c = &outcome.commands[0];
        assert!(c.sealed);
        let warrant: order::Warrant = decode(&c.warrants[0].1.warrant).unwrap();
        let bytes = to::open(&self.door, to::INFO_DELIVERY, warrant.digest.as_bytes(), &c.body).unwrap();
        assert_eq!(sha256(&bytes), warrant.digest);
        String::from_utf8(bytes.to_vec()).unwrap()
    }
}

/// The profile in an InstallProfile command, as text.
fn profile_in(command: &str) -> String {
    use base64::Engine as _;
    let payload = command.split("<data>").nth(1).and_then(|t| t.split("</data>").next()).unwrap();
    let packed: String = payload.split_whitespace().collect();
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(packed).unwrap()).unwrap()
}

#[test]
fn a_saved_version_installs_as_what_was_saved_and_the_ledger_holds_nothing_of_its_texts() {
    let (mut house, ada) = House::joined();
    let phone = house.enrolled(&ada, "Pat Example", "ward-7");
    let (row, answer) = house.save(&ada, &wifi(CANARY, "WPA2"), None);
    assert_eq!((answer.version, row.name.as_str(), row.compartment), (1, "Profile.1", Compartment::Secret));
    assert!(answer.texts.iter().any(|t| t.path == "SSID_STR" && t.text == "Ward"));
    assert!(answer.texts.iter().all(|t| t.text != CANARY), "not even to whoever saved it");
    assert_eq!((answer.because.len(), answer.remarks.len(), answer.signed_by.as_str()), (0, 0, ""));
    let ledger = std::fs::read(house.dir.path().join(ledger::FILE_NAME)).unwrap();
    let holds = |text: &str| ledger.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(holds("org.example.wifi") && holds("WPA2") && !holds(CANARY) && !holds("Ward"));
    // Also after a restart: it is a replay.
    let mut house = house.restart();
    let outcome = house.install(&ada, 1, Some(row), vec![phone], None);
    assert_eq!((outcome.refusal, outcome.erasing), (None, false));
    let profile = profile_in(&house.delivered(&outcome));
    assert!(profile.contains(CANARY) && profile.contains("<string>Ward</string>"), "{profile}");
}

#[test]
fn only_what_was_saved_as_a_version_is_installed_as_it_whoever_sealed_something_else() {
    let (mut house, ada) = House::joined();
    let phone = house.enrolled(&ada, "Pat Example", "ward-7");
    let (one, _) = house.save(&ada, &wifi("made up one", "WPA2"), None);
    let (two, _) = house.save(&ada, &wifi("made up two", "WPA2"), None);
    let mut why = |version, row| house.install(&ada, version, row, vec![phone], None).refusal;
    assert_eq!(why(1, None), Some(Refusal::SavedProfileLost));
    assert_eq!(why(1, Some(two.clone())), Some(Refusal::SavedProfileLost));
    let renamed = SealedRow { name: "Profile.1".into(), ..two.clone() };
    assert_eq!(why(1, Some(renamed)), Some(Refusal::SavedProfileLost));
    let elsewhere = SealedRow { compartment: Compartment::Other, ..one.clone() };
    assert_eq!(why(1, Some(elsewhere)), Some(Refusal::SavedProfileLost));
    let mut altered = one.clone();
    *altered.ciphertext.last_mut().unwrap() ^= 1;
    assert_eq!(why(1, Some(altered)), Some(Refusal::SavedProfileLost));
    assert_eq!(why(3, Some(one.clone())), Some(Refusal::UnknownProfile));
    assert_eq!(why(0, Some(one.clone())), Some(Refusal::UnknownProfile));
    assert_eq!(why(2, Some(two)), None);
    // A taken reader can seal for every compartment, and in any phone's place.
    let content = [&[9; 32], wifi("of someone else", "WPA2").as_slice()].concat();
    let forged = house.row(profile_place(&WIFI), "Profile.1", Compartment::Secret, &content);
    let outcome = house.install(&ada, 1, Some(forged), vec![phone], None);
    assert_eq!(outcome.refusal, Some(Refusal::SavedProfileLost));
    assert_eq!(house.install(&ada, 1, Some(one), vec![phone], None).refusal, None);
}

#[test]
fn a_saved_version_that_counts_as_erasure_takes_the_holders_name_like_a_given_one() {
    let (mut house, ada) = House::joined();
    let phone = house.enrolled(&ada, "Pat Example", "ward-7");
    let (open, answer) = house.save(&ada, &wifi("", "None"), None);
    assert!(answer.because.iter().any(|b| b.contains("EncryptionType")), "{:?}", answer.because);
    let mut why = |name| house.install(&ada, 1, Some(open.clone()), vec![phone], name).refusal;
    assert_eq!(why(None), Some(Refusal::WrongHolder));
    assert_eq!(why(Some("Someone Else")), Some(Refusal::WrongHolder));
    let desk = house.person(&ada, 9, Role::ServiceDesk, None);
    let outcome = house.install(&desk, 1, Some(open.clone()), vec![phone], Some("Pat Example"));
    assert_eq!(outcome.refusal, Some(Refusal::RoleNotAllowed));
    let outcome = house.install(&ada, 1, Some(open), vec![phone], Some("Pat Example"));
    assert_eq!((outcome.refusal, outcome.erasing), (None, true));
}

#[test]
fn a_new_version_says_which_sealed_values_are_others_than_before() {
    let (mut house, ada) = House::joined();
    let (one, first) = house.save(&ada, &wifi("made up one", "WPA2"), None);
    let value = |answer: &SavedAnswer, path: &str| {
        let keys = &answer.outline.payloads[0].keys;
        keys.iter().find(|k| k.path == path).map(|k| k.value.clone()).unwrap()
    };
    assert_eq!(value(&first, "Password"), OutlinedValue::Set(Since::Unknown));
    assert_eq!(value(&first, "AutoJoin"), OutlinedValue::Truth(true));
    let (_, second) = house.save(&ada, &wifi("made up two", "WPA3"), Some(one.clone()));
    assert_eq!(value(&second, "Password"), OutlinedValue::Set(Since::Changed));
    assert_eq!(value(&second, "SSID_STR"), OutlinedValue::Set(Since::Same));
    assert_eq!(value(&second, "EncryptionType"), OutlinedValue::Word("WPA3".into()));
    // With another version than the one before, nothing is claimed.
    let (_, third) = house.save(&ada, &wifi("made up two", "WPA3"), Some(one));
    assert_eq!(value(&third, "Password"), OutlinedValue::Set(Since::Unknown));
}

#[test]
fn what_does_not_fit_is_refused_with_the_keys_path_and_nothing_is_saved() {
    let (mut house, ada) = House::joined();
    let text = |s: &str| String::from_utf8(wifi(s, "WPA2")).unwrap();
    let wrong = text("x").replace("<key>AutoJoin</key><true/>", "<key>AutoJoin</key><string>yes</string>");
    let (_, _, outcome) = house.save_with(&ada, wrong.as_bytes(), None);
    assert_eq!(outcome.refusal, Some(Refusal::ProfileMisfit));
    let detail = outcome.detail.unwrap();
    assert!(detail.starts_with("PayloadContent.0.AutoJoin: "), "{detail}");
    let missing = text("x").replace("<key>PayloadUUID</key><string>B</string>", "");
    let (_, _, outcome) = house.save_with(&ada, missing.as_bytes(), None);
    assert_eq!(outcome.detail.as_deref(), Some("PayloadContent.0.PayloadUUID: this key is missing"));
    assert_eq!(house.save_with(&ada, b"no profile", None).2.refusal, Some(Refusal::BadProfile));
    assert_eq!(
        house.save_with(&ada, b"\x30\x03\x02\x01\x01", None).2.refusal,
        Some(Refusal::BadProfileSignature)
    );
    // Told, not refused.
    let odd = text("x").replace("<key>AutoJoin</key>", "<key>NewInOS27</key><true/><key>AutoJoin</key>");
    let (_, answer) = house.save(&ada, odd.as_bytes(), None);
    assert_eq!(answer.version, 1, "nothing was saved before");
    assert!(answer.remarks[0].starts_with("PayloadContent.0.NewInOS27"), "{:?}", answer.remarks);
    let auditor = house.person(&ada, 9, Role::Auditor, None);
    assert_eq!(house.save_with(&auditor, &wifi("x", "WPA2"), None).2.refusal, Some(Refusal::RoleNotAllowed));
}

#[test]
fn a_signed_profile_is_unwrapped_and_a_broken_signature_is_refused() {
    let (mut house, ada) = House::joined();
    let signer = apple::x509::P256Signer::generate().unwrap();
    let window = apple::x509::Window { not_before_ms: 0, not_after_ms: NOW_MS + DAY_MS };
    let certificate =
        apple::x509::self_signed_request_certificate(&signer, "Example Hospital IT", [7; 16], window)
            .unwrap();
    let plain = wifi("made up one", "WPA2");
    let mut signed = apple::cms::sign_attached(&plain, &signer, &[&certificate], NOW_MS).unwrap();
    let (_, answer) = house.save(&ada, &signed, None);
    assert_eq!(answer.signed_by, "Example Hospital IT");
    let at = signed.windows(4).position(|w| w == b"Ward").unwrap();
    signed[at] = b'C';
    let (_, _, outcome) = house.save_with(&ada, &signed, None);
    assert_eq!(outcome.refusal, Some(Refusal::BadProfileSignature));
}

#[test]
fn a_saved_order_that_comes_again_saves_no_second_version_and_hands_the_same_content_back() {
    let (mut house, ada) = House::joined();
    let phone = house.enrolled(&ada, "Pat Example", "ward-7");
    let (signed, sealed, first) = house.save_with(&ada, &wifi("made up one", "WPA2"), None);
    let position = first.position;
    let submitted = Submitted { signed: encode(&signed), sealed_arguments: sealed, ..Submitted::default() };
    let again = house.durable(|c| c.submit(&submitted));
    assert_eq!((again.refusal, again.position), (None, position));
    let outcome = house.install(&ada, 1, again.profile, vec![phone], None);
    assert_eq!(outcome.refusal, None);
    assert_eq!(house.save(&ada, &wifi("made up two", "WPA2"), None).1.version, 2);
}

#[test]
fn a_version_is_sealed_again_when_its_compartments_key_rotates_and_still_installs() {
    let (mut house, ada) = House::joined();
    let phone = house.enrolled(&ada, "Pat Example", "ward-7");
    let (row, _) = house.save(&ada, &wifi("made up one", "WPA2"), None);
    let kind = OrderKind::RotateKeys { keys: vec![model::KeyName::Secret] };
    let (signed, sealed) = house.order(&ada, kind, vec![], None);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
    let place = profile_place(&WIFI);
    let unknown = profile_place(&ProfileId([1; 16]));
    let answer = house.durable(|c| c.reseal(&[(place, row.clone()), (unknown, row.clone())])).unwrap();
    assert_eq!((answer.rows.len(), answer.lost.as_slice()), (1, &[1][..]));
    let again = rpc::row_from(answer.rows[0].row.clone().unwrap()).unwrap();
    assert_ne!(again.wrapped_key, row.wrapped_key);
    house.chamber.now_ms += 60_000;
    let before = seal::epoch_of(&again.wrapped_key).unwrap();
    house.clock.advance(60_000);
    house.durable(|c| c.nothing_left(model::KeyName::Secret, before)).unwrap();
    assert_eq!(house.install(&ada, 1, Some(row), vec![phone], None).refusal, Some(Refusal::SavedProfileLost));
    let outcome = house.install(&ada, 1, Some(again), vec![phone], None);
    assert_eq!(outcome.refusal, None);
    assert!(profile_in(&house.delivered(&outcome)).contains("made up one"));
}

#[test]
fn a_version_is_installed_only_by_an_order_that_carries_what_was_saved_as_it() {
    let (mut house, ada) = House::joined();
    let phone = house.enrolled(&ada, "Pat Example", "ward-7");
    let (mild, answer) = house.save(&ada, &wifi("made up one", "WPA2"), None);
    let (open, _) = house.save(&ada, &wifi("", "None"), None);
    let saved_by = |house: &House, n: u32| {
        let found = house.chamber.state.library.orders.iter().find(|(_, at)| at.1 == n);
        *found.unwrap().0
    };
    // What a command line computes from what it prints.
    let printed = order::ShownVersion {
        saved_by: saved_by(&house, 1),
        outline: answer.outline,
        erasing: false,
        because: vec![],
    };
    let as_shown = |version, identifier: &str, erasing, shown| OrderKind::InstallSaved {
        profile: WIFI,
        version,
        identifier: identifier.into(),
        erasing,
        shown,
    };
    let (right, id) = (printed.digest(), "org.example.wifi");
    let (_, _, second) = house.chamber.state.library.shown(&WIFI, 2).unwrap();
    let other = order::ShownVersion { saved_by: saved_by(&house, 2), ..printed.clone() };
    for kind in [
        // One version's outline with another's number, and the other way round.
        as_shown(2, id, false, right),
        as_shown(1, id, false, second),
        as_shown(2, id, false, other.digest()),
        as_shown(1, "org.example.other", false, right),
        // What erases is never installed by an order that does not say so.
        as_shown(2, id, false, second),
        as_shown(1, id, true, right),
    ] {
        let version = if matches!(kind, OrderKind::InstallSaved { version: 1, .. }) { &mild } else { &open };
        let outcome =
            house.install_as(&ada, kind.clone(), Some(version.clone()), vec![phone], Some("Pat Example"));
        assert_eq!(outcome.refusal, Some(Refusal::ShownOtherwise), "{kind:?}");
    }
    let outcome = house.install_as(&ada, as_shown(1, id, false, right), Some(mild), vec![phone], None);
    assert_eq!(outcome.refusal, None);
    let right = as_shown(2, id, true, second);
    let outcome = house.install_as(&ada, right, Some(open), vec![phone], Some("Pat Example"));
    assert_eq!((outcome.refusal, outcome.erasing), (None, true));
}

#[test]
fn one_profile_has_one_identifier_and_one_identifier_is_one_profiles() {
    let (mut house, ada) = House::joined();
    house.save(&ada, &wifi("made up one", "WPA2"), None);
    let renamed =
        String::from_utf8(wifi("x", "WPA2")).unwrap().replace("org.example.wifi<", "org.example.vpn<");
    let other = ProfileId([0x78; 16]);
    let mut why = |profile, bytes: &[u8]| house.save_as(&ada, profile, bytes, None).2.refusal;
    assert_eq!(why(WIFI, renamed.as_bytes()), Some(Refusal::OtherIdentifier));
    assert_eq!(why(other, &wifi("x", "WPA2")), Some(Refusal::IdentifierTaken));
    assert_eq!(why(other, renamed.as_bytes()), None);
    assert_eq!(why(WIFI, &wifi("x", "WPA2")), None);
}

#[test]
fn one_person_saves_some_thirty_versions_an_hour_and_no_more() {
    let (mut house, ada) = House::joined();
    let eli = house.person(&ada, 9, Role::Engineer, None);
    let mut saved = 0;
    while house.save_with(&eli, &wifi("made up one", "WPA2"), None).2.refusal.is_none() {
        saved += 1;
        assert!(saved < 100, "nothing stops it");
    }
    assert_eq!(saved, 33);
}

#[test]
fn what_was_taken_out_of_the_library_is_not_installed_nor_saved_again_over_a_restart_too() {
    let (mut house, ada) = House::joined();
    let phone = house.enrolled(&ada, "Pat Example", "ward-7");
    let (row, _) = house.save(&ada, &wifi("made up one", "WPA2"), None);
    let end = OrderKind::EndProfile { profile: WIFI };
    let unknown = OrderKind::EndProfile { profile: ProfileId([1; 16]) };
    assert_eq!(house.says(&ada, unknown, vec![]), Err(Refusal::UnknownProfile));
    assert_eq!(house.says(&ada, end.clone(), vec![phone]), Err(Refusal::BadArgument));
    let desk = house.person(&ada, 9, Role::ServiceDesk, None);
    assert_eq!(house.says(&desk, end.clone(), vec![]), Err(Refusal::RoleNotAllowed));
    assert_eq!(house.install(&ada, 1, Some(row.clone()), vec![phone], None).refusal, None);
    house.says(&ada, end.clone(), vec![]).unwrap();
    let mut house = house.restart();
    assert_eq!(house.says(&ada, end, vec![]), Err(Refusal::ProfileEnded));
    assert_eq!(house.install(&ada, 1, Some(row), vec![phone], None).refusal, Some(Refusal::ProfileEnded));
    let next = wifi("made up two", "WPA2");
    assert_eq!(house.save_with(&ada, &next, None).2.refusal, Some(Refusal::ProfileEnded));
    let (_, _, outcome) = house.save_as(&ada, ProfileId([2; 16]), &next, None);
    assert_eq!(outcome.refusal, Some(Refusal::IdentifierEnded));
    let other = String::from_utf8(next).unwrap().replace("org.example.wifi", "org.example.other");
    assert_eq!(house.save_as(&ada, ProfileId([2; 16]), other.as_bytes(), None).2.refusal, None);
}

const GROUP: model::DeviceGroupId = model::DeviceGroupId([0x33; 16]);

impl House {
    /// A standing order that installs that version on the device group's phones.
    fn standing_install(
        &mut self,
        key: &Ed25519Secret,
        version: u32,
        home: Option<&str>,
    ) -> Result<OrderId, Refusal> {
        let (identifier, _, shown) = self.chamber.state.library.shown(&WIFI, version).unwrap();
        let install = Box::new(model::StandingInstall {
            profile: WIFI,
            version,
            identifier,
            shown,
            device_group: GROUP,
            name: model::DeviceGroupName::new("All of them").unwrap(),
            home: home.map(|h| model::Group::new(h).unwrap()),
        });
        let template = model::StandingTemplate::InstallSaved { install };
        let expires_at_ms = self.clock.now_ms() + 90 * model::clock::DAY_MS;
        self.says(key, OrderKind::MakeStanding { template, cap_an_hour: 2, expires_at_ms }, vec![])
    }

    fn save_group(&mut self, key: &Ed25519Secret) {
        let rule = model::DeviceGroupRule {
            join: model::Join::All,
            conditions: vec![model::Condition::Lost(false)],
        };
        let kind = OrderKind::SaveDeviceGroup {
            group: GROUP,
            replaces: None,
            name: model::DeviceGroupName::new("All of them").unwrap(),
            definition: model::DeviceGroupDefinition::Rule(rule),
        };
        self.says(key, kind, vec![]).unwrap();
    }
}

#[test]
fn what_is_installed_by_itself_is_one_mild_version_on_phones_of_its_home_group_within_the_hours_cap() {
    let (mut house, ada) = House::joined();
    let phones = ["ward-7", "ward-7", "ward-7", "ward-8"].map(|w| house.enrolled(&ada, "Pat Example", w));
    let (row, _) = house.save(&ada, &wifi(CANARY, "WPA2"), None);
    let (open, _) = house.save(&ada, &wifi("", "None"), None);
    assert_eq!(house.standing_install(&ada, 1, None), Err(Refusal::NoSuchDeviceGroup));
    house.save_group(&ada);
    assert_eq!(house.standing_install(&ada, 2, None), Err(Refusal::ShownOtherwise), "it counts as erasure");
    let engineer = house.person(&ada, 9, Role::Engineer, None);
    assert_eq!(house.standing_install(&engineer, 1, None), Err(Refusal::RoleNotAllowed));
    let standing = house.standing_install(&ada, 1, Some("ward-7")).unwrap();
    // Also after a restart: it is a replay.
    let mut house = house.restart();
    let act = |house: &mut House, phone, row: Option<&SealedRow>| {
        house
            .durable(|c| c.act(&standing, &phone, &crate::standing::Asking::default(), row))
            .map(|a| (a.position, a.command))
    };
    let (first, command) = act(&mut house, phones[0], Some(&row)).ok().unwrap();
    let warrant: order::Warrant = decode(&command.warrants[0].1.warrant).unwrap();
    let bytes = to::open(&house.door, to::INFO_DELIVERY, warrant.digest.as_bytes(), &command.body).unwrap();
    assert!(profile_in(std::str::from_utf8(&bytes).unwrap()).contains(CANARY), "what was saved");
    // Whoever lost the answer gets the same one, and nothing is spent.
    let (again, same) = act(&mut house, phones[0], Some(&row)).ok().unwrap();
    assert_eq!((again, same.command), (first, command.command));
    assert_eq!(act(&mut house, phones[3], Some(&row)).err(), Some(Refusal::OutOfScope));
    assert_eq!(act(&mut house, phones[1], Some(&open)).err(), Some(Refusal::SavedProfileLost));
    assert_eq!(act(&mut house, phones[1], None).err(), Some(Refusal::SavedProfileLost));
    assert_eq!(act(&mut house, EnrolmentId([1; 16]), Some(&row)).err(), Some(Refusal::UnknownEnrolment));
    assert!(act(&mut house, phones[1], Some(&row)).is_ok());
    assert_eq!(act(&mut house, phones[2], Some(&row)).err(), Some(Refusal::StandingCapReached));
    for unread in [None, Some(&open)] {
        let refused = act(&mut house, phones[2], unread).err();
        assert_eq!(refused, Some(Refusal::StandingCapReached), "what comes with it is not looked at");
    }
    assert!(act(&mut house, phones[0], Some(&row)).is_ok(), "what was made already costs nothing");
    let waits = |house: &House| house.chamber.standing_warrants(&standing, &phones).unwrap().map(|w| w.len());
    assert_eq!(waits(&house), Ok(2));
    house.says(&ada, OrderKind::EndDeviceGroup { group: GROUP }, vec![]).unwrap();
    assert_eq!(act(&mut house, phones[2], Some(&row)).err(), Some(Refusal::NoSuchDeviceGroup));
    house.says(&ada, OrderKind::EndProfile { profile: WIFI }, vec![]).unwrap();
    assert_eq!(act(&mut house, phones[0], Some(&row)).err(), Some(Refusal::ProfileEnded));
    assert_eq!(waits(&house), Err(Refusal::ProfileEnded), "nor what waits");
}

#[test]
fn an_install_that_ran_out_at_a_phone_is_another_command_and_counts_against_the_cap_again() {
    let (mut house, ada) = House::joined();
    let phone = house.enrolled(&ada, "Pat Example", "ward-7");
    let (row, _) = house.save(&ada, &wifi(CANARY, "WPA2"), None);
    house.save_group(&ada);
    let standing = house.standing_install(&ada, 1, None).unwrap();
    let act = |house: &mut House| {
        let asking = crate::standing::Asking::default();
        house.durable(|c| c.act(&standing, &phone, &asking, Some(&row))).map(|a| a.command.command).ok()
    };
    let first = act(&mut house).unwrap();
    house.clock.advance(7 * model::clock::DAY_MS - model::clock::HOUR_MS);
    assert_eq!(act(&mut house), Some(first), "it still waits");
    house.clock.advance(model::clock::HOUR_MS);
    // Also after a restart: what was made and when is a replay.
    let mut house = house.restart();
    let second = act(&mut house).unwrap();
    assert_ne!(second, first);
    assert_eq!(act(&mut house), Some(second));
    let now_ms = house.clock.now_ms();
    assert_eq!(house.chamber.state.standing.get(&standing).unwrap().left(now_ms), 1);
}
