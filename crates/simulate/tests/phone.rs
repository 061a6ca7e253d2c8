//! One phone against a small server: enrolment, commands, and servers that misbehave.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // tests may fail loudly

mod house;

use apple::report::{Answer, Status};
use house::{House, Trouble};
use model::{Command, CommandId, CommandSecrets, EnrolmentId, Setting, SystemClock};
use order::FreeQuery;
use simulate::{Ending, Fault, Handset, KeyPool, Phone, ProfileTrust, State, Step, Talk, Temper};
use std::sync::Arc;

const SEED: u64 = 11;

fn phone_that(is: impl Fn(&Handset) -> bool) -> Phone {
    let index = (0..500).find(|i| is(&Handset::of(SEED, *i))).expect("fleets are mixed");
    Phone::new(SEED, index)
}

async fn enrolled(house: &House, phone: &mut Phone) -> EnrolmentId {
    let (link, id) = house.invite();
    let enrolled = phone.enrol(&link, &house.network(), &KeyPool::fresh(), &SystemClock).await.unwrap();
    assert_eq!(enrolled.profile, Some(ProfileTrust::Verified));
    assert_eq!((phone.state(), phone.enrolment()), (State::Enrolled, Some(id)));
    id
}

async fn converse(phone: &mut Phone) -> Talk {
    let mut connection = phone.connect().await.unwrap();
    phone.converse(&mut connection, Temper::obliging()).await.unwrap()
}

struct Orders(u8);

impl Orders {
    fn id(&mut self) -> CommandId {
        self.0 += 1;
        CommandId([self.0; 16])
    }

    fn make(&mut self, command: Command, secrets: CommandSecrets, unlock_token: Option<&[u8]>) -> Vec<u8> {
        apple::command::build(self.id(), &command, &secrets, unlock_token).unwrap()
    }

    fn plain(&mut self, command: Command) -> Vec<u8> {
        self.make(command, CommandSecrets::default(), None)
    }
}

fn lost_mode() -> (Command, CommandSecrets) {
    (Command::EnableLostMode, CommandSecrets { message: Some("Lost".into()), ..CommandSecrets::default() })
}

#[tokio::test]
async fn a_phone_enrols_and_answers_every_free_query_as_the_reader_expects() {
    let house = House::start().await;
    for mut phone in [phone_that(|h| !h.binary && h.supervised), phone_that(|h| h.binary)] {
        let id = enrolled(&house, &mut phone).await;
        let handset = phone.handset();
        let mut orders = Orders(0);
        for query in FreeQuery::ALL {
            house.queue(id, query.bytes(orders.id()));
        }
        let talk = converse(&mut phone).await;
        assert_eq!((talk.commands.len(), talk.ending), (FreeQuery::ALL.len(), Ending::Quiet));
        // The list of users is for shared iPads, the bypass code for supervised phones.
        let refused =
            |kind: &str| kind == "UserList" || (kind == "ActivationLockBypassCode" && !handset.supervised);
        assert!(talk.commands.iter().all(|(kind, status)| (*status == "Error") == refused(kind)));

        let reports = house.reports(id);
        let find =
            |answer| reports.iter().find(|r| r.answer == answer).unwrap_or_else(|| panic!("{answer:?}"));
        let information = find(Answer::DeviceInformation);
        let text = |name: &str| information.find(name).and_then(|v| v.as_text()).map(str::to_owned);
        assert_eq!(text("SerialNumber").unwrap(), handset.serial);
        assert_eq!(text("ServiceSubscriptions.0.PhoneNumber").unwrap(), handset.lines[0].phone_number);
        assert_eq!(find(Answer::InstalledApplicationList).items.len(), handset.apps.len());
        assert_eq!(find(Answer::ProfileList).items.len(), 1);
        assert_eq!(find(Answer::CertificateList).items.len(), 2);
        assert!(find(Answer::SecurityInfo).find("SecurityInfo.PasscodePresent").is_some());
        assert!(!find(Answer::ManagedApplicationList).items.is_empty());
    }
}

#[tokio::test]
async fn a_supervised_phone_obeys_lost_mode_and_tells_where_it_is_only_then() {
    let house = House::start().await;
    let mut phone = phone_that(|h| h.supervised);
    let id = enrolled(&house, &mut phone).await;
    let mut orders = Orders(0);
    house.queue(id, orders.plain(Command::DeviceLocation));
    let (command, secrets) = lost_mode();
    house.queue(id, orders.make(command, secrets, None));
    house.queue(id, orders.plain(Command::DeviceLocation));
    house.queue(id, orders.plain(Command::PlayLostModeSound));
    house.queue(id, orders.plain(Command::DisableLostMode));
    let talk = converse(&mut phone).await;
    let statuses: Vec<_> = talk.commands.iter().map(|(_, status)| *status).collect();
    assert_eq!(statuses, ["Error", "Acknowledged", "Acknowledged", "Acknowledged", "Acknowledged"]);
    assert!(!phone.in_lost_mode());
    let reports = house.reports(id);
    let located = reports.iter().find(|r| r.answer == Answer::DeviceLocation).unwrap();
    assert!(located.find("Latitude").is_some() && located.find("Timestamp").is_some());
}

#[tokio::test]
async fn an_unsupervised_phone_refuses_with_an_error_chain() {
    let house = House::start().await;
    let mut phone = phone_that(|h| !h.supervised);
    let id = enrolled(&house, &mut phone).await;
    let mut orders = Orders(0);
    let (command, secrets) = lost_mode();
    house.queue(id, orders.make(command, secrets, None));
    house.queue(id, orders.plain(Command::RestartDevice { notify_user: false }));
    house.queue(id, orders.plain(Command::ShutDownDevice));
    let talk = converse(&mut phone).await;
    assert!(talk.commands.iter().all(|(_, status)| *status == "Error"));
    assert_eq!(phone.state(), State::Enrolled);
    for report in house.reports(id).iter().filter(|r| r.status == Status::Error) {
        assert_eq!(report.error_chain[0].domain.as_deref(), Some("MCMDMErrorDomain"));
    }
}

fn wifi_profile() -> Vec<u8> {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?><plist version=\"1.0\"><dict>");
    for (key, value) in [
        ("PayloadType", "Configuration"),
        ("PayloadIdentifier", "test.wifi"),
        ("PayloadUUID", "11111111-1111-1111-1111-111111111111"),
        ("PayloadDisplayName", "Ward network"),
    ] {
        text.push_str(&format!("<key>{key}</key><string>{value}</string>"));
    }
    text.push_str(
        "<key>PayloadVersion</key><integer>1</integer><key>PayloadContent</key><array/></dict></plist>",
    );
    text.into_bytes()
}

#[tokio::test]
async fn profiles_stay_until_they_are_removed_and_one_that_is_not_there_cannot_be() {
    let house = House::start().await;
    let mut phone = phone_that(|_| true);
    let id = enrolled(&house, &mut phone).await;
    let mut orders = Orders(0);
    let secrets = || CommandSecrets { profile: Some(wifi_profile()), ..CommandSecrets::default() };
    house.queue(id, orders.make(Command::InstallProfile, secrets(), None));
    house.queue(id, orders.make(Command::InstallProfile, secrets(), None));
    converse(&mut phone).await;
    assert_eq!(phone.profiles().collect::<Vec<_>>(), ["matron.enrolment", "test.wifi"]);
    for _ in 0..2 {
        house.queue(id, orders.plain(Command::RemoveProfile { identifier: "test.wifi".into() }));
    }
    let talk = converse(&mut phone).await;
    assert_eq!(talk.commands.iter().map(|c| c.1).collect::<Vec<_>>(), ["Acknowledged", "Error"]);
    assert_eq!(phone.profiles().count(), 1);
    // With the enrolment profile goes management.
    house.queue(id, orders.plain(Command::RemoveProfile { identifier: "matron.enrolment".into() }));
    assert_eq!(converse(&mut phone).await.ending, Ending::CheckedOut);
    assert_eq!(phone.state(), State::CheckedOut);
    let heard = house.heard.lock().unwrap();
    assert!(matches!(heard.last(), Some((from, apple::message::Message::CheckOut(_))) if *from == id));
}

#[tokio::test]
async fn a_passcode_is_cleared_with_its_own_unlock_token_alone() {
    let house = House::start().await;
    let mut phone = phone_that(|h| h.passcode);
    let id = enrolled(&house, &mut phone).await;
    let mut orders = Orders(0);
    let token = house.unlock_token(id).unwrap();
    let mut wrong = token.clone();
    wrong[0] ^= 1;
    house.queue(id, orders.plain(Command::DeviceLock));
    house.queue(id, orders.make(Command::ClearPasscode, CommandSecrets::default(), Some(&wrong)));
    converse(&mut phone).await;
    assert!(phone.has_passcode() && phone.is_locked());
    house.queue(id, orders.make(Command::ClearPasscode, CommandSecrets::default(), Some(&token)));
    converse(&mut phone).await;
    assert!(!phone.has_passcode() && !phone.is_locked());
}

#[tokio::test]
async fn settings_are_kept_and_answered_one_by_one() {
    let house = House::start().await;
    let mut phone = phone_that(|h| !h.supervised);
    let id = enrolled(&house, &mut phone).await;
    let mut orders = Orders(0);
    let items = vec![Setting::DataRoaming { enabled: true }, Setting::Bluetooth { enabled: false }];
    house.queue(id, orders.plain(Command::Settings { items }));
    house.queue(id, FreeQuery::DeviceInformation.bytes(orders.id()));
    converse(&mut phone).await;
    let reports = house.reports(id);
    let has = |name: &str, value: &str| {
        reports.iter().any(|r| r.find(name).and_then(|v| v.as_text()) == Some(value))
    };
    assert!(has("Settings.0.Status", "Acknowledged") && has("Settings.1.Status", "Error"));
    let information = reports.iter().find(|r| r.answer == Answer::DeviceInformation).unwrap();
    assert_eq!(information.find("DataRoamingEnabled"), Some(&apple::message::FieldValue::Bool(true)));
}

#[tokio::test]
async fn a_restarted_phone_comes_back_with_a_token_and_keeps_its_escrow_token_to_itself() {
    let house = House::start().await;
    let mut phone = phone_that(|h| h.supervised);
    let id = enrolled(&house, &mut phone).await;
    let escrowed = house.unlock_token(id);
    house.queue(id, Orders(0).plain(Command::RestartDevice { notify_user: false }));
    assert_eq!(converse(&mut phone).await.ending, Ending::Restarting);
    assert_eq!(converse(&mut phone).await.ending, Ending::Quiet);
    let heard = house.heard.lock().unwrap();
    let updates = heard.iter().filter_map(|(_, m)| match m {
        apple::message::Message::TokenUpdate(t) => Some(t.unlock_token().is_some()),
        _ => None,
    });
    assert_eq!(updates.collect::<Vec<_>>(), [true, false]);
    drop(heard);
    assert_eq!(house.unlock_token(id), escrowed);
}

#[tokio::test]
async fn an_erased_phone_answers_and_is_gone() {
    let house = House::start().await;
    let mut phone = phone_that(|_| true);
    let id = enrolled(&house, &mut phone).await;
    let erase = Command::EraseDevice { preserve_data_plan: false, disallow_proximity_setup: false };
    house.queue(id, Orders(0).plain(erase));
    assert_eq!(converse(&mut phone).await.ending, Ending::Erased);
    assert_eq!((phone.state(), phone.enrolment()), (State::Erased, None));
    assert!(matches!(phone.connect().await.unwrap_err().fault, Fault::State(_)));
    assert!(house.reports(id).iter().any(|r| r.status == Status::Acknowledged));
}

#[tokio::test]
async fn not_now_puts_a_command_off_and_the_phone_comes_back() {
    let house = House::start().await;
    let mut phone = phone_that(|_| true);
    let id = enrolled(&house, &mut phone).await;
    house.queue(id, FreeQuery::ProfileList.bytes(CommandId([1; 16])));
    let mut connection = phone.connect().await.unwrap();
    let talk = phone.converse(&mut connection, Temper { not_now_per_mille: 1000 }).await.unwrap();
    assert_eq!((talk.commands[0].1, talk.ending), ("NotNow", Ending::PutOff));
    let talk = phone.converse(&mut connection, Temper::obliging()).await.unwrap();
    assert_eq!((talk.commands[0].1, talk.ending), ("Acknowledged", Ending::Quiet));
}

#[tokio::test]
async fn a_second_connection_takes_a_session_ticket() {
    let house = House::start().await;
    let mut phone = phone_that(|_| true);
    enrolled(&house, &mut phone).await;
    converse(&mut phone).await;
    assert!(phone.connect().await.unwrap().resumed());
    phone.rest();
    assert!(!phone.connect().await.unwrap().resumed());
}

#[tokio::test]
async fn a_401_makes_a_phone_drop_its_management() {
    let house = House::start().await;
    let mut phone = phone_that(|_| true);
    enrolled(&house, &mut phone).await;
    house.trouble.lock().unwrap().status = Some((401, 1));
    assert_eq!(converse(&mut phone).await.ending, Ending::Dropped);
    assert_eq!(phone.state(), State::CheckedOut);
}

async fn failing(house: &Arc<House>, phone: &mut Phone, link: &str) -> (Step, &'static str) {
    let failure = phone.enrol(link, &house.network(), &KeyPool::fresh(), &SystemClock).await.unwrap_err();
    (failure.step, failure.fault.kind())
}

#[tokio::test]
async fn an_enrolment_that_broke_off_goes_on_with_the_same_key() {
    let house = House::start().await;
    let mut phone = phone_that(|_| true);
    let (link, id) = house.invite();
    house.trouble.lock().unwrap().refuse = true;
    assert_eq!(failing(&house, &mut phone, &link).await, (Step::Certificate, "refused"));
    *house.trouble.lock().unwrap() = Trouble { status: Some((503, 1)), ..Trouble::default() };
    assert_eq!(failing(&house, &mut phone, &link).await, (Step::Authenticate, "status_503"));
    phone.enrol(&link, &house.network(), &KeyPool::fresh(), &SystemClock).await.unwrap();
    assert_eq!(phone.enrolment(), Some(id));
}

#[tokio::test]
async fn a_link_that_ran_out_a_wrong_ca_and_a_stranger_are_refused() {
    let house = House::start().await;
    let mut phone = phone_that(|_| true);
    let unknown = "https://mdm.example.org/enrol/ffffffffffffffffffffffffffffffff";
    assert_eq!(failing(&house, &mut phone, unknown).await, (Step::Profile, "status_410"));
    assert_eq!(failing(&house, &mut phone, "http://mdm.example.org/x").await, (Step::Profile, "url"));
    let (link, _) = house.invite();
    house.trouble.lock().unwrap().wrong_fingerprint = true;
    assert_eq!(failing(&house, &mut phone, &link).await, (Step::CaCert, "scep"));
    // Another house's phones don't trust this one.
    let other = House::start().await;
    let network = simulate::Network::trusting(&other.ca_der).unwrap().dialling(house.addr);
    let failure = phone.enrol(&link, &network, &KeyPool::fresh(), &SystemClock).await.unwrap_err();
    assert_eq!((failure.step, failure.fault.kind()), (Step::Connect, "tls"));
    // The certificate is this server's, and the name another's.
    let elsewhere = link.replace("mdm.example.org", "other.example.org");
    assert_eq!(failing(&house, &mut phone, &elsewhere).await, (Step::Connect, "tls"));
}

#[tokio::test]
async fn an_unsigned_profile_is_taken_and_counted_as_such() {
    let house = House::start().await;
    house.trouble.lock().unwrap().unsigned = true;
    let mut phone = phone_that(|_| true);
    let (link, _) = house.invite();
    let enrolled = phone.enrol(&link, &house.network(), &KeyPool::fresh(), &SystemClock).await.unwrap();
    assert_eq!(enrolled.profile, Some(ProfileTrust::Unsigned));
}

#[tokio::test]
async fn rubbish_from_the_server_ends_a_conversation_with_a_fault() {
    let house = House::start().await;
    let mut phone = phone_that(|_| true);
    enrolled(&house, &mut phone).await;
    let nested = ["<array>"; 5000].concat().into_bytes();
    for rubbish in [b"<html>hello</html>".to_vec(), vec![0xff; 4096], nested, b"bplist00".to_vec()] {
        house.trouble.lock().unwrap().reply = Some(rubbish);
        let mut connection = phone.connect().await.unwrap();
        let failure = phone.converse(&mut connection, Temper::obliging()).await.unwrap_err();
        assert_eq!((failure.step, failure.fault.kind()), (Step::Conversation, "command"));
    }
    house.trouble.lock().unwrap().reply = None;
    assert_eq!(converse(&mut phone).await.ending, Ending::Quiet);
}

#[tokio::test]
async fn a_command_that_comes_again_after_its_report_was_confirmed_is_noticed() {
    let house = House::start().await;
    let mut phone = phone_that(|_| true);
    let id = enrolled(&house, &mut phone).await;
    let command = FreeQuery::SecurityInfo.bytes(CommandId([1; 16]));
    house.queue(id, command.clone());
    assert_eq!(converse(&mut phone).await.repeated, 0);
    house.queue(id, command);
    assert_eq!(converse(&mut phone).await.repeated, 1);
}

/// A server that speaks TLS and then says anything at all.
async fn babbler(house: &House, says: Vec<u8>) -> simulate::Network {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let network = house.network().dialling(listener.local_addr().unwrap()).with_timeout_ms(2000);
    let tls = house.tls();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (tls, says) = (tls.clone(), says.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = tls.accept(tcp).await else { return };
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(&says).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    network
}

#[tokio::test]
async fn a_server_that_babbles_is_refused_within_bounds() {
    let house = House::start().await;
    let mut phone = phone_that(|_| true);
    let (link, _) = house.invite();
    for (says, kind) in [
        (&b""[..], "ended"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "ended"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "http"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n", "http"),
        (b"\x00\x01\x02\xff", "http"),
        (&[b'A'; 40_000], "http"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "status_other"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>", "http"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/x-apple-aspen-config\r\n\r\n<html>", "profile"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/x-apple-aspen-config\r\n\r\n0\x82\xff", "signature"),
    ] {
        let network = babbler(&house, says.to_vec()).await;
        let failure = phone.enrol(&link, &network, &KeyPool::fresh(), &SystemClock).await.unwrap_err();
        assert_eq!((failure.step, failure.fault.kind()), (Step::Profile, kind), "{failure}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_on() {
    let house = House::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let network = house.network().dialling(listener.local_addr().unwrap()).with_timeout_ms(100);
    let (link, _) = house.invite();
    let failure =
        phone_that(|_| true).enrol(&link, &network, &KeyPool::fresh(), &SystemClock).await.unwrap_err();
    assert_eq!((failure.step, failure.fault.kind()), (Step::Connect, "timeout"));
}

#[tokio::test]
async fn a_connection_that_the_server_closed_meanwhile_costs_a_phone_nothing() {
    let house = House::start().await;
    house.trouble.lock().unwrap().impatient = true;
    let mut phone = phone_that(|_| true);
    // Making a key takes longer than this server waits.
    let id = enrolled(&house, &mut phone).await;
    let mut connection = phone.connect().await.unwrap();
    for n in 1..4 {
        house.queue(id, FreeQuery::SecurityInfo.bytes(CommandId([n; 16])));
        let talk = phone.converse(&mut connection, Temper::obliging()).await.unwrap();
        assert_eq!((talk.commands.len(), talk.ending), (1, Ending::Quiet));
        tokio::time::sleep(std::time::Duration::from_millis(40)).await;
    }
}
