//! One attack in its many spellings. Everything is inert: `x` stands where a payload would.

use super::{assess, grounds};

/// Grade of one line in a log with ordinary lines around it.
fn grade(method: &str, target: &str, status: u16, bytes: u64) -> (String, String) {
    let mut text = String::new();
    for m in 0..300u32 {
        text.push_str(&format!(
            "10.20.3.{}:51544 - - 2025-05-16--{:02}-{:02}-00 \"PUT /mifs/c/i/mdm/mdm.html HTTP/1.1\" 200 0 \"-\" \"MDM/1.0\" 77\n",
            m % 200,
            m / 60,
            m % 60
        ));
    }
    text.push_str(&format!(
        "203.0.113.7:51544 - - 2025-05-16--05-01-00 \"{method} {target} HTTP/1.1\" {status} {bytes} \"-\" \"UA\" 77\n"
    ));
    let (_, v) = assess("https-access_log", text.as_bytes(), &[]);
    (v["evidence"]["grade"].as_str().unwrap().to_owned(), grounds(&v))
}

fn all_are(want: &str, method: &str, status: u16, bytes: u64, targets: &[&str]) {
    let wrong: Vec<String> = targets
        .iter()
        .map(|t| (t, grade(method, t, status, bytes)))
        .filter(|(_, (got, _))| got != want)
        .map(|(t, (got, why))| format!("{t}: {got}\n{why}"))
        .collect();
    assert!(wrong.is_empty(), "{method} {status} not {want}:\n{}", wrong.join("\n"));
}

#[test]
fn the_attack_of_2025_is_found_in_every_spelling() {
    all_are(
        "attempted",
        "GET",
        400,
        168,
        &[
            "/mifs/rs/api/v2/featureusage?format=${x}",
            "/mifs/rs/api/v2/featureusage?format=#{x}",
            "/mifs/rs/api/v2/featureusage?format=%24%7bx%7d",
            "/mifs/rs/api/v2/featureusage?format=$%7Bx",
            "/mifs/rs/api/v2/featureusage?format=%2524%257Bx%257D",
            "/mifs/rs/api/v2/featureusage?format=%252524%25257Bx",
            "/mifs/rs/api/v2/featureusage?format=%u0024%u007bx",
            "/mifs/rs/api/v2/featureusage?format=%c0%a4%c1%bbx",
            "/mifs/rs/api/v2/featureusage?format=%e0%80%a4%e0%81%bbx",
            "/mifs/rs/api/v2/featureusage?format=$+{x}",
            "/mifs/rs/api/v2/featureusage?format=$%09{x}",
            "/mifs/rs/api/v2/featureusage?format=csv&format=${x}",
            "/mifs/rs/api/v2/featureusage?FORMAT=${x}",
            "/mifs/rs/api/v2/featureusage?%66ormat=${x}",
            "/mifs/rs/api/v2/featureusage?a=1&format[]=${x}",
            "/mifs/rs/api/v2/featureusage/?format=${x}",
            "/mifs/rs/api/v2/featureusage;a=b?format=${x}",
            "/mifs/rs/api/v2/featureusage;format=${x}",
            "/mifs/rs/api/v2/featureusage.json?format=${x}",
            "/mifs/rs/api/v2/featureusage/x/..?format=${x}",
            "/mifs/rs/api/v2/featureusage%3Fformat=${x}",
            "/mifs/rs/api/v2/featureusage%00?format=${x}",
            "/mifs/rs/api/v2//featureusage_history?format=${x}",
            "/mifs/rs/api/v2%2Ffeatureusage?format=${x}",
            "/mifs/rs/api/v2%2f%2ffeatureusage?format=${x}",
            "/mifs/rs/api/v2%252ffeatureusage?format=${x}",
            "/mifs%c0%afrs/api/v2/featureusage?format=${x}",
            "/mifs/rs/api/./v2/featureusage?format=${x}",
            "/mifs/user/..;/rs/api/v2/featureusage?format=${x}",
            "/mifs/user/%2e%2e%3b/rs/api/v2/featureusage?format=${x}",
            "/mifs;/rs;/api;/v2;/featureusage;?format=${x}",
            "/MIFS/RS/API/V2/FEATUREUSAGE?format=${x}",
            "/mifs/rs/api/v2/%66%65%61tureusage?format=${x}",
            "/mifs/rs/api/v2/%2566eatureusage?format=${x}",
            "/rs/api/v2/featureusage?format=${x}",
            "/api/v2/featureusage_history?format=${x}",
            "https://mdm.example.org/mifs/rs/api/v2/featureusage?format=${x}",
            "HTTPS://mdm.example.org:443/mifs/rs/api/v2/featureusage?format=${x}",
            "//mifs/rs/api/v2/featureusage?format=${x}",
            "\\\\mifs\\\\rs\\\\api\\\\v2\\\\featureusage?format=${x}",
            "/mifs/rs/api/v2/featureusage?format=\\x24\\x7bx",
            "/mifs/rs/api/v2/featureusage?x=1;format=${x}",
        ],
    );
    for method in ["POST", "HEAD", "OPTIONS", "get", "PROPFIND"] {
        all_are("attempted", method, 200, 1, &["/mifs/rs/api/v2/featureusage?format=${x}"]);
    }
    for status in [200, 204, 302, 400, 401, 403, 404, 500, 503] {
        all_are("attempted", "GET", status, 0, &["/mifs/rs/api/v2/featureusage?format=${x}"]);
    }
}

#[test]
fn the_attack_of_2026_is_found_in_every_spelling() {
    all_are(
        "attempted",
        "GET",
        404,
        196,
        &[
            "/mifs/c/appstore/fob/3/5/sha256:kid=1,st=theValue%20%20,et=1,h=gPath%5B%60x%60%5D/a.ipa",
            "/mifs/c/aftstore/fob/3/5/sha256:kid=1,st=theValue++,et=1,h=gPath[`x`]/a.ipa",
            "/mifs/c/appstore/fob/3/5/sha256:kid=1,st=1,et=1,h=%24(x)/a.ipa",
            "/mifs/c/appstore/fob/3/5/sha256:kid=1,st=1,et=1,h=%2524%2528x%2529/a.ipa",
            "/mifs/c/appstore/fob/3/5/sha256:kid=1,st=$%7bx%7d,et=1,h=1/a.ipa",
            "/mifs/c/appstore/fob/3/5/sha256:kid=1,st=1,et=1,h=1;sleep%205/a.ipa",
            "/mifs/c/appstore/fob/3/5/sha256:kid=1,st=1,et=1,h=1%7Cx%20/etc/INERT",
            "/mifs/c/appstore/fob/3/5/sha256:kid=1,st=1,et=1,h=1&&x/a.ipa",
            "/mifs/c/appstore/fob/3/5/sha256:kid=1,st=1,et=1,h=1%0Ax/a.ipa",
            "/mifs/c/appstore/fob/3/5/sha256:kid=1,st=1,et=1,h=a[$x]/a.ipa",
            "/mifs/c//appstore/fob/`x`",
            "/mifs/c%2fappstore%2ffob/3/5/`x`/a.ipa",
            "/mifs/x/..;/c/appstore/fob/3/5/`x`/a.ipa",
            "/MIFS/c/AppStore/FOB/3/5/`x`/a.ipa",
            "/mifs/c/appstore/f%6fb/3/5/`x`/a.ipa",
            "https://mdm.example.org/mifs/c/appstore/fob/3/5/`x`/a.ipa",
            "/mifs/c/appstore;a/fob;b/3/5/`x`/a.ipa",
            "/mifs/c/appstore/fob/3/5/a.ipa?q=`x`",
        ],
    );
    all_are(
        "probed",
        "GET",
        404,
        196,
        &["/mifs/c/appstore/fob/3/5/sha256:INERT/a.ipa", "/mifs/c/aftstore/fob/", "/mifs/c/appstore/fob/x"],
    );
    // The status alone proves nothing, in either direction.
    for status in [200, 302, 400, 403, 500] {
        all_are("attempted", "GET", status, 91_404, &["/mifs/c/appstore/fob/3/5/`x`/a.ipa"]);
        all_are(
            "no_trace",
            "GET",
            status,
            91_404,
            &["/mifs/c/appstore/fob/3/5/sha256:kid=1,st=17,et=18,h=0a1b/a.ipa"],
        );
    }
}

#[test]
fn the_aliases_of_2023_are_found_in_every_spelling() {
    for alias in [
        "aad",
        "asfV3",
        "ASFv3",
        "%61%61d",
        "%2561ad",
        "aad;x",
        "./aad",
        "x/../aad",
        "/aad",
        "x/..;/aad",
        "x/%2e%2e/aad",
    ] {
        all_are("probed", "GET", 401, 0, &[&format!("/mifs/{alias}/api/v2/ping")]);
        all_are("attempted", "GET", 200, 90, &[&format!("/mifs/{alias}/api/v2/ping")]);
        all_are(
            "likely_compromised",
            "GET",
            200,
            90_000,
            &[&format!("/mifs/{alias}/api/v2/authorized/users?adminDeviceSpaceId=1")],
        );
    }
    all_are(
        "no_trace",
        "GET",
        200,
        90_000,
        &["/mifs/rs/api/v2/authorized/users", "/mifs/aad/api/v1/ping", "/mifs/aadx/api/v2/ping"],
    );
}

#[test]
fn after_steps_are_found_in_every_spelling() {
    all_are(
        "likely_compromised",
        "GET",
        200,
        12,
        &[
            "/mifs/403.jsp?k0f53=x",
            "/mifs//403.jsp?k=x",
            "/mifs/403.jsp;a=b?kx=x",
            "/mifs/403.JSP?K1=x",
            "/mifs/403%2ejsp?%6b1=x",
            "/mifs/x/..;/403.jsp?a=1&k1=x",
            "https://mdm.example.org/mifs/403.jsp?k1=x",
            "/mifs/error.jsp?x=yv66vgAAADQx",
            "/mifs/error.jsp?x=%79v66vgAAADQx",
        ],
    );
    all_are(
        "data_left",
        "GET",
        200,
        9_000_000,
        &[
            "/mifs/css/mibasecss1.css",
            "/mifs/css/mibasecss12.css?v=1",
            "/mifs/css//mibasecss1.css",
            "/mifs/CSS/miBaseCSS1.css",
            "/mifs/css/x/../mibasecss1.css",
            "/mifs/css/mibasecss1%2Ecss",
            "/mifs/css/mibasecss1.css;a",
            "https://mdm.example.org/mifs/css/mibasecss1.css",
        ],
    );
    all_are("probed", "GET", 404, 196, &["/mifs/css/mibasecss1.css"]);
    all_are("likely_compromised", "HEAD", 200, 0, &["/mifs/css/mibasecss1.css"]);
    all_are(
        "probed",
        "POST",
        200,
        9,
        &["/mics/api/v2/sentry/mics-config/handleMessage", "/mics//api/v2/sentry/mics-config/HANDLEMESSAGE/"],
    );
    all_are(
        "attempted",
        "GET",
        200,
        9,
        &[
            "/mics/api/v2/sentry/mics-config/handleMessage?message=execute%20x",
            "/mics/api/v2/sentry/mics-config/handleMessage?m=%65xecute",
            "/mics/api/v2/sentry/mics-config/handleMessage/EXECUTE",
        ],
    );
}
