//! An appliance at work: what phones, administrators and monitoring ask for on ordinary days.

use super::{assess, grounds};

/// A line of layout A.
fn line(minute: u32, client: &str, request: &str, status: u16, bytes: u64) -> String {
    let (day, minute) = (14 + minute / 1440, minute % 1440);
    format!(
        "{client}:51544 - - 2025-05-{day:02}--{:02}-{:02}-00 \"{request} HTTP/1.1\" {status} {bytes} \"-\" \"Mozilla/5.0\" 77\n",
        minute / 60,
        minute % 60
    )
}

fn fob(device: u32) -> String {
    format!(
        "/mifs/c/appstore/fob/3/{device}/sha256:kid=1,st=17473{device:05},et=17474{device:05},h={:064x}/Ward%20List%20(v2).ipa",
        device * 977
    )
}

/// Three days of ordinary work.
fn days() -> Vec<String> {
    let mut out = Vec::new();
    for m in 0..4000u32 {
        let phone = format!("10.20.{}.{}", m % 7, m % 250 + 1);
        let admin = format!("10.1.1.{}", m % 3 + 1);
        let (who, what, status, bytes): (&str, String, u16, u64) = match m % 25 {
            0 => (&phone, "PUT /mifs/c/i/mdm/mdm.html".into(), 200, 0),
            1 => (&phone, "POST /mifs/c/windows/api/v1/enroll".into(), 200, 411),
            2 => (&phone, "GET /mifs/c/i/reg/reg.html".into(), 200, 5_110),
            3 => (&admin, "GET /mifs/user/index.html".into(), 200, 9_000),
            4 => (
                &admin,
                format!(
                    "GET /mifs/rs/api/v2/devices?adminDeviceSpaceId=1&limit=200&fields=common.uuid&query=%22common.platform%22%3D%22iOS%22&offset={m}"
                ),
                200,
                88_000,
            ),
            5 => (
                &admin,
                "GET /mifs/rs/api/v2/featureusage?format=csv&adminDeviceSpaceId=1".into(),
                200,
                15_000,
            ),
            6 => (&admin, "GET /mifs/rs/api/v2/featureusage_history?format=json".into(), 200, 15_000),
            7 => (&admin, "GET /mifs/rs/api/v2/featureusage".into(), 401, 0),
            8 => (&phone, format!("GET {}", fob(m % 90)), 200, 44_000_000),
            9 => (&phone, format!("GET {}", fob(m % 90)), 206, 1_000_000),
            10 => (&phone, format!("GET /mifs/c/appstore/icons/{}.png", m % 40), 200, 7_000),
            11 => (&phone, format!("GET /mifs/c/appstore/icons/{}.png", 400 + m % 9), 404, 196),
            12 => (&phone, "GET /mifs/c/appstore/app/list?format=json".into(), 200, 30_000),
            13 => (&admin, "GET /mifs/admin/js/lib/ext-all.js".into(), 200, 2_400_000),
            14 => (&admin, "GET /mifs/css/core.css".into(), 200, 44_000),
            15 => ("10.1.9.9", "HEAD /status/status.html".into(), 200, 0),
            16 => ("10.1.9.9", "GET /mifs/services/monitor?k=1".into(), 200, 12),
            17 => (&admin, format!("GET /mifs/admin/reports/weekly-{}.csv", m / 1440), 200, 900_000),
            18 => (&phone, "GET /mifs/user/login.jsp;jsessionid=0A1B2C".into(), 200, 4_000),
            19 => (&admin, "GET /mifs/rs/api/v2/appstore/apps?search=%24name&sort=asc".into(), 200, 9_900),
            20 => (&phone, "GET /mifs/asfV3x/help".into(), 404, 196),
            21 => (&admin, "GET /mifs/rs/api/v2/labels?query=%26%26%7Bname%7D".into(), 200, 900),
            22 => (&phone, "POST /mifs/c/d/android.html?command=checkin".into(), 200, 80),
            23 => (&phone, "GET /mifs/images/splash@3x.png".into(), 304, 0),
            _ => (&phone, "GET /mifs/c/appstore/img/%E2%9C%93.png?k=x".into(), 200, 900),
        };
        out.push(line(m, who, &what, status, bytes));
    }
    out
}

#[test]
fn three_ordinary_days_of_an_appliance_are_no_trace() {
    let (code, v) = assess("https-access_log", days().concat().as_bytes(), &["--tz", "Europe/London"]);
    assert_eq!(
        (code, v["verdict"].as_str().unwrap()),
        (0, "no_trace"),
        "{}\n{}",
        grounds(&v),
        v["coverage"]["reasons"]
    );
    assert!(v["coverage"]["not_epmm"].as_array().unwrap().is_empty());
}

#[test]
fn a_withdrawn_app_and_a_page_of_refusal_are_at_most_probes() {
    let mut lines = days();
    for i in 0..300 {
        let phone = format!("10.20.3.{}", i % 200);
        lines.push(line(4001 + i / 60, &phone, &format!("GET {}", fob(i)), 404, 196));
    }
    lines.push(line(4010, "10.1.1.2", "GET /mifs/403.jsp", 403, 1_200));
    lines.push(line(4011, "10.1.1.2", "GET /mifs/403.jsp", 200, 1_200));
    let (code, v) = assess("https-access_log", lines.concat().as_bytes(), &["--epmm-version", "12.5.0.0"]);
    assert_eq!((code, v["evidence"]["grade"].as_str().unwrap()), (10, "probed"), "{}", grounds(&v));
}

#[test]
fn an_app_whose_name_has_odd_characters_is_not_an_attack() {
    let mut lines = days();
    for (i, name) in [
        "Fish%20%26%20Chips.ipa",
        "A%3CB%3E.ipa",
        "Ward%7CList.apk",
        "50%25%20off;v=2.ipa",
        "it's%20%24ome.ipa",
        "{x}.ipa",
        "a;id=3.ipa",
    ]
    .iter()
    .enumerate()
    {
        let i = u32::try_from(i).unwrap();
        let good = fob(i);
        let (start, _) = good.rsplit_once('/').unwrap();
        lines.push(line(4001 + i, "10.20.3.4", &format!("GET {start}/{name}"), 200, 9_000_000));
    }
    let (code, v) = assess("https-access_log", lines.concat().as_bytes(), &[]);
    assert_eq!((code, v["evidence"]["grade"].as_str().unwrap()), (0, "no_trace"), "{}", grounds(&v));
}

#[test]
fn an_upgrade_after_a_scanners_visit_is_not_loot() {
    let mut lines = days();
    lines.push(line(4001, "203.0.113.9", "GET /mifs/rs/api/v2/featureusage?format=${INERT}", 400, 168));
    // New, large, soon after, asked for first by few; a weekly report too.
    for (i, what) in
        ["/mifs/admin/js/app-12.5.0.1.js", "/mifs/css/theme-12.5.0.1.css", "/mifs/admin/reports/weekly-9.csv"]
            .iter()
            .enumerate()
    {
        for k in 0..2 {
            let m = 4100 + u32::try_from(i).unwrap() * 3 + k;
            lines.push(line(
                m,
                &format!("10.1.1.{}", k + 1),
                &format!("GET {what}"),
                200,
                6_800_000 >> (i * 2),
            ));
        }
    }
    let (code, v) = assess("https-access_log", lines.concat().as_bytes(), &[]);
    assert_eq!(code, 11, "{}", grounds(&v));
}
