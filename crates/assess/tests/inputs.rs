//! Every kind of input, through the command.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may fail loudly")]

mod kit;

use kit::*;

#[test]
fn a_log_packed_in_any_way_gives_the_same_step_at_the_same_line() {
    let t = tempfile::tempdir().unwrap();
    let log = day(&[exploit(100)]);
    let b = log.as_bytes();
    for (name, bytes, kind) in [
        ("plain.log", b.to_vec(), "web_log"),
        ("a.gz", gz(b), "archive"),
        ("a.zst", zst(b), "archive"),
        ("a.xz", xz(b), "archive"),
        ("a.bz2", bz2(b), "archive"),
        ("a.tar", tar(&[("var/log/access_log", b'0', b)]), "archive"),
        ("a.zip", zip(&[("logs/access_log", b)]), "archive"),
        // Two members of gzip, bzip2 or zstd, one after the other, are one content.
        ("two.gz", [gz(&b[..9000]), gz(&b[9000..])].concat(), "archive"),
        ("two.bz2", [bz2(&b[..9000]), bz2(&b[9000..])].concat(), "archive"),
        ("two.xz", [xz(&b[..9000]), xz(&b[9000..])].concat(), "archive"),
        ("two.zst", [zst(&b[..9000]), zst(&b[9000..])].concat(), "archive"),
    ] {
        let p = put(t.path(), name, bytes);
        let (code, v) = run(&[&p]);
        assert_eq!((code, v["coverage"]["grade"].as_str().unwrap()), (11, "whole"), "{name}: {v}");
        assert_eq!(input(&v, name)["kind"], kind, "{name}");
        let s = steps(&v);
        assert_eq!((s.len(), &s[0]["cite"]["line"]), (1, &102.into()), "{name}");
        let cited = s[0]["cite"]["byte_offset"].as_u64().unwrap();
        assert!(log[usize::try_from(cited).unwrap()..].starts_with("203.0.113.7"), "{name}");
    }
}

#[test]
fn a_gzipped_tar_in_a_zip_in_a_tar_in_zst_is_read_to_its_innermost_line() {
    let t = tempfile::tempdir().unwrap();
    let inner = gz(&tar(&[("logs/https-access_log.1.bz2", b'0', &bz2(day(&[exploit(7)]).as_bytes()))]));
    let outer = zst(&tar(&[("deep/bundle.zip", b'0', &zip(&[("showtech.tgz", &inner)]))]));
    let p = put(t.path(), "all.tar.zst", outer);
    let (code, v) = run(&[&p]);
    assert_eq!(code, 11, "{}", v["coverage"]);
    let file = steps(&v)[0]["cite"]["file"].as_str().unwrap();
    assert!(
        file.ends_with("all.tar.zst!/all.tar!/deep/bundle.zip!/showtech.tgz!/showtech.tar!/logs/https-access_log.1.bz2!/https-access_log.1"),
        "{file}"
    );
}

#[test]
fn utf_16_of_both_orders_and_lines_that_end_with_a_carriage_return_are_read() {
    let t = tempfile::tempdir().unwrap();
    let log = day(&[exploit(100)]);
    for (name, bytes) in [
        ("le.log", utf16(&log, true)),
        ("be.log", utf16(&log, false)),
        ("crlf.log", log.replace('\n', "\r\n").into_bytes()),
        ("utf16-crlf.log", utf16(&log.replace('\n', "\r\n"), true)),
        ("bom.log", [b"\xef\xbb\xbf".as_slice(), log.as_bytes()].concat()),
        ("latin1.log", [b"caf\xe9 \xff\xfe rubbish\n".as_slice(), log.as_bytes()].concat()),
    ] {
        let p = put(t.path(), name, bytes);
        let (code, v) = run(&[&p]);
        assert_eq!(code, 11, "{name}: {}", v["coverage"]);
        assert!(!steps(&v)[0]["cite"]["raw"].as_str().unwrap().contains("\\x0d"), "{name}");
    }
}

#[test]
fn a_line_cut_at_the_end_of_the_file_still_counts_and_the_cut_is_named() {
    let t = tempfile::tempdir().unwrap();
    let half = exploit(1439);
    let p = put(t.path(), "a.log", day(&[]) + &half[..half.len() - 30]);
    let (code, v) = run(&[&p]);
    assert_eq!(code, 11, "{}", v["evidence"]);
    assert!(v["integrity"].to_string().contains("ends inside a line"), "{}", v["integrity"]);
}

#[test]
fn a_file_given_twice_or_by_another_name_is_counted_once() {
    let t = tempfile::tempdir().unwrap();
    let log = day(&[exploit(100)]);
    let a = put(t.path(), "a.log", &log);
    let b = put(t.path(), "b.log", &log);
    let c = put(t.path(), "c.gz", gz(log.as_bytes()));
    std::fs::hard_link(&a, t.path().join("d.log")).unwrap();
    let (code, v) = run(&[t.path().to_str().unwrap(), &a, &b, &c, "--no-hash"]);
    assert_eq!(code, 11);
    let s = steps(&v);
    assert_eq!((s.len(), &s[0]["repeats"]), (1, &0.into()), "{v}");
    let doubles = v["inputs"].as_array().unwrap().iter().filter(|i| !i["double_of"].is_null()).count();
    assert!(doubles >= 2, "{}", v["inputs"]);
    // A rotated copy that grew on shares lines without being the same file.
    let longer = put(t.path(), "longer.log", log + &line(1439, "10.0.0.1", "GET /mifs/x", 200, 1));
    let (_, v) = run(&[&a, &longer]);
    assert_eq!((steps(&v).len(), &steps(&v)[0]["repeats"]), (1, &0.into()));
}

#[test]
fn layouts_may_be_mixed_line_by_line_and_each_tells_what_it_can() {
    let t = tempfile::tempdir().unwrap();
    let b = "2025-05-16--01-40-00 198.51.100.9 TLSv1.2 X \"GET /mifs/rs/api/v2/featureusage?format=%24%7BINERT%7D HTTP/1.1\" 277 \"-\" \"UA\"\n";
    let common =
        "198.51.100.10 - - [16/May/2025:01:50:00 +0100] \"GET /mifs/aad/api/v2/ping HTTP/1.1\" 401 80\n";
    let combined = "198.51.100.11 - - [16/May/2025:01:55:00 +0100] \"GET /mifs/asfV3/api/v2/ping HTTP/1.1\" 401 80 \"-\" \"UA\"\n";
    let json = "{\"@timestamp\":\"2025-05-16T01:00:00Z\",\"src_ip\":\"198.51.100.12\",\"method\":\"GET\",\"uri\":\"/mifs/rs/api/v2/featureusage?format=INERT\",\"status\":400,\"bytes\":168}\n";
    let p = put(t.path(), "mixed.log", day(&[exploit(100)]) + b + common + combined + json);
    let (code, v) = run(&[&p]);
    assert_eq!(code, 11);
    let clients: Vec<&str> =
        v["clients"].as_array().unwrap().iter().map(|c| c["address"].as_str().unwrap()).collect();
    for c in ["203.0.113.7", "198.51.100.9", "198.51.100.10", "198.51.100.11", "198.51.100.12"] {
        assert!(clients.contains(&c), "{c} in {clients:?}");
    }
}

#[test]
fn a_format_of_the_users_is_followed_in_apaches_and_in_nginx_words() {
    let t = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for m in 0..600 {
        text.push_str(&format!(
            "[16/May/2025:{:02}:{:02}:00 +0100]|10.0.0.{}|200|300|GET /mifs/c/i/mdm.html HTTP/1.1|UA\n",
            m / 60,
            m % 60,
            m % 90
        ));
    }
    text.push_str("[16/May/2025:10:00:00 +0100]|203.0.113.7|400|168|GET /mifs/rs/api/v2/featureusage?format=%24%7BINERT%7D HTTP/1.1|UA\n");
    let p = put(t.path(), "own.log", text);
    for format in [
        "[%t]|%h|%>s|%b|%r|%{User-Agent}i",
        "%t|%a|%s|%B|%r|%{User-Agent}i",
        "[$time_local]|$remote_addr|$status|$body_bytes_sent|$request|$http_user_agent",
    ] {
        let (code, v) = run(&[&p, "--format", format]);
        assert_eq!(code, 11, "{format}: {}", v["coverage"]);
        let s = steps(&v)[0];
        assert_eq!(
            (&s["client"], &s["status"], &s["bytes_out"]),
            (&"203.0.113.7".into(), &400.into(), &168.into()),
            "{format}"
        );
        assert_eq!(s["at_ms"], 1_747_386_000_000_i64, "{format}");
        assert!(input(&v, "own.log")["layouts"].to_string().contains("custom"), "{format}");
    }
}

#[test]
fn json_lines_are_read_by_the_users_names_of_fields() {
    let t = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for m in 0..300 {
        text.push_str(&format!("{{\"when\":\"2025-05-16T{:02}:{:02}:00Z\",\"who\":{{\"from\":\"10.0.0.{}\"}},\"what\":\"/mifs/c/i/mdm.html\",\"verb_\":\"GET\",\"code\":\"200\"}}\n", m / 60, m % 60, m % 90));
    }
    text.push_str("{\"when\":\"2025-05-16T05:00:00Z\",\"who\":{\"from\":\"203.0.113.7\"},\"what\":\"/mifs/rs/api/v2/featureusage?format=\\u0024\\u007bINERT}\",\"verb_\":\"GET\",\"code\":\"400\"}\n");
    let p = put(t.path(), "siem.jsonl", text);
    let (code, v) = run(&[
        &p,
        "--json-map",
        "time=when,client=who.from,url=what",
        "--json-map",
        "method=verb_,status=code",
    ]);
    assert_eq!(code, 11, "{}", v["coverage"]);
    let s = steps(&v)[0];
    assert_eq!(
        (&s["client"], &s["status"], &s["at_ms"]),
        (&"203.0.113.7".into(), &400.into(), &1_747_371_600_000_i64.into())
    );
    assert_eq!(input(&v, "siem.jsonl")["kind"], "json_lines");
}

#[test]
fn a_new_administrator_and_a_mass_wipe_in_epmms_audit_export_count_after_an_exploit_only() {
    let t = tempfile::tempdir().unwrap();
    let mut csv = "\"Date\",\"Performed By\",\"Action\",\"IP Address\",\"Details\"\n2025-05-16 05:00:00,admin,Create Admin User,203.0.113.7,\"INERT, new account\"\n".to_owned();
    for m in 0..12 {
        csv.push_str(&format!(
            "2025-05-16 05:{m:02}:30,admin,Wipe Device,203.0.113.7,\"INERT device {m}\"\n"
        ));
    }
    let audit = put(t.path(), "audit.csv", csv);
    let before = run(&[&audit]).1;
    assert_eq!(input(&before, "audit.csv")["kind"], "epmm_audit", "{}", before["inputs"]);
    assert_eq!(
        before["evidence"]["grade"], "probed",
        "a mass wipe alone is asked about: {}",
        before["evidence"]
    );
    let log = put(t.path(), "a.log", day(&[exploit(200)]));
    let (code, after) = run(&[&audit, &log]);
    assert_eq!(code, 12, "{}", after["evidence"]);
    let stages: Vec<&str> = steps(&after).iter().map(|s| s["stage"].as_str().unwrap()).collect();
    assert!(stages.contains(&"destruction") && stages.contains(&"persistence"), "{stages:?}");
}

#[test]
fn sentrys_json_audit_log_is_known_and_its_route_is_found() {
    let t = tempfile::tempdir().unwrap();
    let entry = |n: u32, url: &str| {
        format!(
            "{{\"publishTime\":\"2026-06-12T{:02}:{:02}:00Z\",\"entryID\":{n},\"useCaseID\":\"x\",\"entryType\":\"y\",\"userID\":\"u\",\"deviceID\":\"d\",\"clientHost\":\"10.0.0.5\",\"forwardedFor\":\"203.0.113.{}\",\"requestUrl\":\"{url}\",\"httpMethod\":\"POST\",\"action\":\"z\"}}\n",
            n / 60,
            n % 60,
            n % 60
        )
    };
    let mut text: String = (0..200).map(|n| entry(n, "/mics/mics.html")).collect();
    text.push_str(&entry(201, "/mics/api/v2/sentry/mics-config/handleMessage?message=execute_INERT"));
    let p = put(t.path(), "sentry-audit.json", text);
    let (code, v) = run(&[&p]);
    assert_eq!(code, 11, "{}", v["evidence"]);
    assert_eq!(input(&v, "sentry-audit.json")["kind"], "sentry_audit");
    assert_eq!(steps(&v)[0]["client"], "203.0.113.21", "the forwarded address is the client");
}

#[test]
fn listings_of_an_image_are_read_in_both_forms_and_packed() {
    let t = tempfile::tempdir().unwrap();
    let body: String = (0..300)
        .map(|n| format!("0|/mi/tomcat/webapps/mifs/js/f{n}.js|{n}|r/rrw-r--r--|0|0|900|1747000000|1747000000|1747000000|1747000000\n"))
        .collect::<String>()
        + "0|/mi/tomcat/webapps/mifs/css/mibasecss4.css (deleted)|7|r/rrw|0|0|9000000|1747274496|1747274497|1|1\n";
    let sums = format!(
        "{}  /etc/hosts\n097b051c9c9138ada0d2a9fb4dfe463d358299d4bd0e81a1db2f69f32578747a  /mi/tomcat/webapps/mifs/403.jsp\n",
        "ab".repeat(32)
    );
    for (name, bytes, line) in [
        ("body.txt", body.clone().into_bytes(), 301),
        ("body.gz", gz(body.as_bytes()), 301),
        ("sums.txt", sums.clone().into_bytes(), 2),
        ("sums.xz", xz(sums.as_bytes()), 2),
    ] {
        let p = put(t.path(), name, bytes);
        let (code, v) = run(&[&p]);
        assert_eq!(code, 12, "{name}: {}", v["evidence"]);
        assert!(v["inputs"].to_string().contains("file_listing"), "{name}");
        assert!(steps(&v).iter().all(|s| s["cite"]["line"] == line), "{name}");
    }
}

#[test]
fn a_log_and_its_packed_copy_are_one_and_a_packed_file_alone_is_known_by_its_own_digest() {
    let t = tempfile::tempdir().unwrap();
    let log = day(&[exploit(100)]);
    let packed = put(t.path(), "b.gz", gz(log.as_bytes()));
    let (_, v) = run(&[&packed]);
    assert!(v["inputs"][0]["sha256"].is_string() && v["inputs"][1]["sha256"].is_null(), "{}", v["inputs"]);
    let plain = put(t.path(), "a.log", &log);
    let zst = put(t.path(), "c.zst", zst(log.as_bytes()));
    for args in [
        vec![plain.as_str(), &packed, &zst],
        vec![&packed, &zst],
        vec![&plain, "--compare", &packed],
        vec![&packed, "--compare", &plain],
    ] {
        let (code, v) = run(&args);
        assert_eq!((code, steps(&v).len()), (11, 1), "{args:?}");
        let inputs = v["inputs"].as_array().unwrap();
        let logs = inputs.iter().filter(|i| i["lines"] == 1441);
        let copies = logs.clone().filter(|i| !i["double_of"].is_null()).count();
        assert_eq!(copies + 1, logs.count(), "{args:?}: {}", v["inputs"]);
        for i in inputs.iter().filter(|i| i["inside"].is_u64()) {
            let outer = inputs[i["inside"].as_u64().unwrap() as usize]["name"].as_str().unwrap();
            assert!(i["name"].as_str().unwrap().starts_with(outer), "{i}");
        }
    }
    // Another log of the same size is another log.
    let other = put(t.path(), "d.log", log.replace("10.0.", "10.1."));
    let (_, v) = run(&[&packed, &other]);
    assert!(v["inputs"].as_array().unwrap().iter().all(|i| i["double_of"].is_null()), "{}", v["inputs"]);
}

#[test]
fn standard_input_is_read_plain_and_packed() {
    let log = day(&[exploit(100)]);
    for bytes in [
        log.clone().into_bytes(),
        gz(log.as_bytes()),
        zip(&[("a.log", log.as_bytes())]),
        tar(&[("a.log", b'0', log.as_bytes())]),
    ] {
        let (code, v) = run_with(&["-"], &mut bytes.as_slice());
        assert_eq!(code, 11);
        assert!(steps(&v)[0]["cite"]["file"].as_str().unwrap().starts_with("(standard input)"));
        assert!(v["inputs"][0]["sha256"].as_str().unwrap().len() == 64);
    }
}

#[test]
fn a_line_without_an_offset_is_read_in_the_zone_given_and_a_guess_is_said() {
    let t = tempfile::tempdir().unwrap();
    // 03:20 by the appliance's clock on 16 May: British Summer Time is an hour ahead.
    let p = put(t.path(), "a.log", day(&[exploit(200)]));
    for (tz, ms) in [
        (Some("Europe/London"), 1_747_362_000_000_i64),
        (Some("UTC"), 1_747_365_600_000),
        (Some("+01:00"), 1_747_362_000_000),
        (None, 1_747_362_000_000),
    ] {
        let mut args = vec![p.as_str()];
        args.extend(tz.iter().flat_map(|z| ["--tz", z]));
        let (_, v) = run(&args);
        assert_eq!(steps(&v)[0]["at_ms"], ms, "{tz:?}");
        assert_eq!(v["timezone"]["guessed"], tz.is_none());
        assert_eq!(steps(&v)[0]["zone_guessed"], tz.is_none());
    }
    // In January the same zone is UTC.
    let winter = put(t.path(), "w.log", day(&[exploit(200)]).replace("2025-05-16", "2026-01-30"));
    assert_eq!(steps(&run(&[&winter]).1)[0]["at_ms"], 1_769_743_200_000_i64);
}

fn behind(
    proxy: &str,
    n: u32,
    client: &str,
    request: &str,
    status: u16,
    bytes: u64,
    forwarded: bool,
) -> String {
    let passed = if forwarded { format!(" \"{client}, 10.9.9.9\"") } else { String::new() };
    format!(
        "{proxy} - - [16/May/2025:{:02}:{:02}:{:02} +0100] \"{request} HTTP/1.1\" {status} {bytes} \"-\" \"UA\"{passed}\n",
        n / 3600,
        n / 60 % 60,
        n % 60
    )
}

fn proxied(forwarded: bool) -> String {
    let mut all: Vec<(u32, String)> = (0..1440)
        .map(|m| {
            (
                m * 60,
                behind(
                    "10.1.1.1",
                    m * 60,
                    &format!("198.51.100.{}", m % 200),
                    "GET /mifs/c/i/mdm.html",
                    200,
                    300,
                    forwarded,
                ),
            )
        })
        .collect();
    let mut hit = |at: u32, client: &str, request: &str, status, bytes| {
        all.push((at, behind("10.1.1.1", at, client, request, status, bytes, forwarded)));
    };
    let exploit = "GET /mifs/rs/api/v2/featureusage?format=%24%7BINERT%7D";
    hit(7205, "203.0.113.7", exploit, 400, 168);
    hit(7505, "203.0.113.8", "GET /mifs/css/mibasecss1.css", 200, 9_000_000);
    hit(7805, "203.0.113.9", "GET /mifs/css/mibasecss1.css", 200, 9_000_000);
    // Somebody else, half a day later.
    hit(60_005, "203.0.113.50", exploit, 400, 168);
    all.sort();
    all.into_iter().map(|(_, l)| l).collect()
}

#[test]
fn a_forwarded_address_is_taken_for_the_client_and_the_proxy_is_named() {
    let t = tempfile::tempdir().unwrap();
    let p = put(t.path(), "a.log", proxied(true));
    let (code, v) = run(&[&p]);
    assert_eq!(code, 13);
    assert_eq!(
        (&v["proxy"]["addresses"][0], &v["proxy"]["forwarded_used"]),
        (&"10.1.1.1".into(), &true.into())
    );
    let top = &v["chains"][0];
    assert_eq!(top["clients"], serde_json::json!(["203.0.113.7", "203.0.113.8", "203.0.113.9"]));
    assert!(steps(&v).iter().all(|s| s["via"] == "10.1.1.1"));
    assert_eq!(v["chains"].as_array().unwrap().len(), 2, "the other visitor stands apart");
}

#[test]
fn clients_behind_one_address_are_joined_by_time_and_path_and_the_report_says_that_they_can_not_be_told_apart()
 {
    let t = tempfile::tempdir().unwrap();
    let p = put(t.path(), "a.log", proxied(false));
    let (code, v) = run(&[&p]);
    assert_eq!(code, 13);
    assert_eq!((&v["proxy"]["forwarded_used"], &v["proxy"]["share_percent"]), (&false.into(), &100.into()));
    assert!(v["proxy"]["text"].as_str().unwrap().contains("can't be told apart"));
    let chains = v["chains"].as_array().unwrap();
    assert_eq!(chains.len(), 2, "the visit half a day later is not joined by the shared address");
    assert_eq!(chains[0]["steps"].as_array().unwrap().len(), 2, "{}", chains[0]["steps"]);
    assert!(chains[0]["joined_by"].to_string().contains("one shared address"), "{}", chains[0]["joined_by"]);
}

/// The least MaxMind DB: an IPv4 tree of one network, and its data.
/// <https://maxmind.github.io/MaxMind-DB/>
fn mmdb(network: [u8; 4], prefix: u32, data: &[u8], kind: &str) -> Vec<u8> {
    let bits = u32::from_be_bytes(network);
    let mut out = Vec::new();
    for n in 0..prefix {
        let way = (bits >> (31 - n)) & 1;
        // The last node's record points at the data, 16 bytes behind the tree.
        let on = if n + 1 == prefix { prefix + 16 } else { n + 1 };
        let pair = if way == 0 { [on, prefix] } else { [prefix, on] };
        for record in pair {
            out.extend_from_slice(&record.to_be_bytes()[1..]);
        }
    }
    out.extend_from_slice(&[0; 16]);
    out.extend_from_slice(data);
    out.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    let u16_ = |n: u16| [vec![0xa2], n.to_be_bytes().to_vec()].concat();
    let u32_ = |n: u32| [vec![0xc4], n.to_be_bytes().to_vec()].concat();
    out.extend(map(&[
        ("node_count", u32_(prefix)),
        ("record_size", u16_(24)),
        ("ip_version", u16_(4)),
        ("database_type", text(kind)),
        ("languages", vec![0x00, 0x04]),
        ("binary_format_major_version", u16_(2)),
        ("binary_format_minor_version", u16_(0)),
        ("build_epoch", [vec![0x08, 0x02], 1_747_000_000_u64.to_be_bytes().to_vec()].concat()),
        ("description", map(&[])),
    ]));
    out
}

fn text(s: &str) -> Vec<u8> {
    let mut out = if s.len() < 29 {
        vec![0x40 | u8::try_from(s.len()).unwrap()]
    } else {
        vec![0x40 | 29, u8::try_from(s.len() - 29).unwrap()]
    };
    out.extend_from_slice(s.as_bytes());
    out
}

fn map(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = vec![0xe0 | u8::try_from(pairs.len()).unwrap()];
    for (k, v) in pairs {
        out.extend(text(k));
        out.extend_from_slice(v);
    }
    out
}

#[test]
fn an_mmdb_file_gives_each_client_its_country_and_network_and_no_culprit() {
    let t = tempfile::tempdir().unwrap();
    let country = map(&[(
        "country",
        map(&[("iso_code", text("ZZ")), ("names", map(&[("en", text("Testland \u{1b}[31m"))]))]),
    )]);
    let asn = map(&[
        ("autonomous_system_number", vec![0xc4, 0, 0, 0xfb, 0xf0]),
        ("autonomous_system_organization", text("EXAMPLE-NET")),
    ]);
    let c = put(t.path(), "country.mmdb", mmdb([203, 0, 113, 0], 24, &country, "GeoLite2-Country"));
    let n = put(t.path(), "asn.mmdb", mmdb([203, 0, 113, 0], 24, &asn, "GeoLite2-ASN"));
    let elsewhere = line(300, "198.51.100.9", "GET /mifs/aad/api/v2/ping", 401, 80);
    let p = put(t.path(), "a.log", day(&[exploit(200), elsewhere]));
    let (code, v) = run(&[&p, "--geoip", &c, "--geoip", &n]);
    assert_eq!(code, 11);
    let o = &v["clients"][0]["origin"];
    assert_eq!(
        (&o["country"], &o["asn"], &o["network"]),
        (&"ZZ".into(), &64_496.into(), &"EXAMPLE-NET".into()),
        "{}",
        v["clients"]
    );
    assert!(!o["country_name"].as_str().unwrap().contains('\u{1b}'), "a name in the file is inert too");
    assert_eq!(v["origins"][0]["origin"]["country"], "ZZ");
    assert_eq!(v["origins"][0]["requests"], 1);
    let other = v["clients"].as_array().unwrap().iter().find(|c| c["address"] == "198.51.100.9").unwrap();
    assert!(other["origin"]["country"].is_null(), "an address outside the file has no origin: {other}");
    let bad = put(t.path(), "bad.mmdb", "not one");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let words = ["assess", &p, "--geoip", &bad].map(Into::into);
    assert_eq!(assess::cli::run_words(words, &mut std::io::empty(), &mut out, &mut err), 2);
    assert!(String::from_utf8_lossy(&err).contains("bad.mmdb can't be used as an MMDB file"));
}
