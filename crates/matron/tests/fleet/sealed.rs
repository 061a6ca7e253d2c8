//! What is sealed stands nowhere.

use super::*;
use std::net::TcpListener;
use testkit::recorded::Recorded;

/// How many phones are enrolled for it.
const PHONES: u32 = 100;

/// A value in each encoding that a file, a log or a message could have it in.
fn encodings(value: &[u8]) -> Vec<Vec<u8>> {
    use base64::Engine as _;
    let hex: String = value.iter().map(|b| format!("{b:02x}")).collect();
    let mut all = vec![value.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()];
    for engine in
        [&base64::engine::general_purpose::STANDARD_NO_PAD, &base64::engine::general_purpose::URL_SAFE_NO_PAD]
    {
        // Base64 at each of the three places it can begin at, without the characters that depend on neighbours.
        for before in 0..3 {
            let padded = [&vec![0; before][..], value].concat();
            let text = engine.encode(padded);
            let from = [0, 2, 3][before];
            let to = text.len() - 2;
            if to > from + 8 {
                all.push(text.as_bytes()[from..to].to_vec());
            }
        }
    }
    if let Ok(text) = std::str::from_utf8(value) {
        all.push(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
        all.push(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
        all.push(text.to_lowercase().into_bytes());
        all.push(text.chars().rev().collect::<String>().into_bytes());
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        if digits.len() >= 9 {
            all.push(digits.into_bytes());
        }
    }
    all
}

/// All that a phone says which must not be readable anywhere.
fn secrets_of(phone: &Phone, person: &simulate::Person) -> Vec<(&'static str, Vec<u8>)> {
    let h = phone.handset();
    let mut all = vec![
        ("holder", person.name.clone().into_bytes()),
        ("email", person.email.clone().into_bytes()),
        ("udid", h.udid.into_bytes()),
        ("serial", h.serial.into_bytes()),
        ("wifi", h.wifi_mac.into_bytes()),
        ("bluetooth", h.bluetooth_mac.into_bytes()),
        ("push token", phone.push_token()),
        ("push magic", phone.push_magic().into_bytes()),
    ];
    // Some are just called "iPhone", as their model is.
    if h.device_name.contains(' ') {
        all.push(("device name", h.device_name.into_bytes()));
    }
    for line in h.lines {
        all.push(("number", line.phone_number.into_bytes()));
        // Phones report it in one piece or with spaces.
        let part = |from, to| &line.imei[from..to];
        let spaced = format!("{} {} {} {}", part(0, 2), part(2, 8), part(8, 14), part(14, 15));
        all.push(("imei", spaced.into_bytes()));
        all.push(("imei", line.imei.into_bytes()));
        all.push(("iccid", line.iccid.into_bytes()));
        all.extend(line.eid.map(|e| ("eid", e.into_bytes())));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_sealed_value_stands_in_any_file_log_or_message() {
    let binary = env!("CARGO_BIN_EXE_matron");
    let mut first = House::start(binary, &[]).unwrap();
    first.stop().unwrap();
    let listen = |at| TcpListener::bind(at).unwrap();
    let (phones_at, admins_at) = (listen(first.phones()), listen(first.administrators()));
    let log = first.data().join("log");
    let rooms =
        Recorded::start(Path::new(binary), &first.data(), &first.base_url(), &phones_at, &admins_at, &log)
            .unwrap();

    let admin = Admin::join(&first.administrators().to_string(), first.token()).await.unwrap();
    let network = Network::trusting(&std::fs::read(first.ca_pem()).unwrap()).unwrap();
    let keys = KeyPool::made(8, 2).unwrap();
    let people = simulate::people(7, PHONES);
    let mut secrets = Vec::new();
    let mut phones = Vec::new();
    let mut links = Vec::new();
    for (index, person) in (0u32..).zip(&people) {
        let link = admin.invite(&person.name, &person.email).await.unwrap();
        let mut phone = Phone::new(7, index);
        let mut connection = phone.enrol(&link, &network, &keys, &SystemClock).await.unwrap().connection;
        phone.converse(&mut connection, Temper::obliging()).await.unwrap();
        secrets.extend(secrets_of(&phone, person));
        links.push(link.rsplit('/').next().unwrap().to_owned().into_bytes());
        phones.push(phone);
    }
    // A lock with a message, so that secrets of orders pass as well.
    let message = "Ring ward seven on extension 5309".to_owned();
    let kind = OrderKind::Command { command: Command::DeviceLock };
    let lock = CommandSecrets { message: Some(message.clone()), ..Default::default() };
    admin.order(kind, vec![id(&phones[0])], Some(&encode(&lock))).await.unwrap();
    let mut connection = phones[0].connect().await.unwrap();
    phones[0].converse(&mut connection, Temper::obliging()).await.unwrap();
    secrets.push(("lock message", message.into_bytes()));
    secrets.extend(links.into_iter().map(|l| ("invitation link", l)));

    // Everything that could hold it: all files (database, WAL, ledger, keys, log) and all walls but one.
    let mut places: Vec<(String, Vec<u8>)> = Vec::new();
    places.extend(files_below(&first.data()).into_iter().map(|(f, bytes)| (f.display().to_string(), bytes)));
    for (who, bytes) in rooms.heard() {
        assert!(!bytes.is_empty() || who.contains("courier"), "nothing was heard of {who}");
        if !matches!(who.as_str(), "door to reader" | "reader to door") {
            places.push((who, bytes));
        }
    }
    let database: usize = places.iter().filter(|(p, _)| p.contains("/core/")).map(|(_, b)| b.len()).sum();
    assert!(database > 500_000, "the database was looked at: {database} bytes");

    let mut patterns: Vec<Vec<u8>> = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for (what, value) in &secrets {
        for pattern in encodings(value) {
            patterns.push(pattern);
            names.push(what);
        }
    }
    let search = aho_corasick::AhoCorasick::new(&patterns).unwrap();
    // The search finds what is there: the one wall that may say it.
    let heard = rooms.heard();
    let spoken = &heard["door to reader"];
    assert!(search.find_iter(spoken).count() > 1000, "the search itself works");
    for (place, bytes) in &places {
        if let Some(found) = search.find(bytes) {
            let (from, to) = (found.start().saturating_sub(60), (found.end() + 60).min(bytes.len()));
            panic!(
                "{} stands in {place} at {}: …{}…",
                names[found.pattern().as_usize()],
                found.start(),
                String::from_utf8_lossy(&bytes[from..to])
            );
        }
    }
}
