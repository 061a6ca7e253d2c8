//! Logs that real servers wrote (`servers/make.sh` says how): each is told by its layout, nothing in their
//! ordinary lines is called an attack, and inert lines of EPMM's routes are found in all of them.

// Helpers of tests may fail as tests may.
#![allow(clippy::unwrap_used)]

mod kit;

use std::path::{Path, PathBuf};

use kit::run;

/// Program and log format, and the layout that is told.
const SERVERS: &[(&str, &str)] = &[
    ("nginx-combined", "combined"),
    ("nginx-json", "json"),
    ("apache2-common", "common"),
    ("apache2-combined", "combined"),
    ("apache2-vhost-combined", "combined"),
    ("lighttpd", "combined"),
    ("haproxy-httplog", "haproxy"),
    ("caddy", "json"),
];

fn log(name: &str, which: &str) -> String {
    let file = PathBuf::from(format!("{name}.{which}.log"));
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers").join(file).to_str().unwrap().to_owned()
}

#[test]
fn of_each_servers_own_log_the_layout_is_told_every_line_is_read_and_none_of_them_is_called_an_attack() {
    for (name, layout) in SERVERS {
        let (code, v) = run(&[&log(name, "ordinary")]);
        assert_eq!(v["evidence"]["grade"], "no_trace", "{name}: {}", v["evidence"]);
        assert!(matches!(code, 0 | 3), "{name}: {code}");
        let file = &v["inputs"][0];
        assert_eq!(file["read"]["state"], "whole", "{name}: {file}");
        assert_eq!(file["layouts"], serde_json::json!([layout]), "{name}: {file}");
        assert_eq!(file["relevant_lines"], 0, "{name}: {file}");
        assert_eq!(v["coverage"]["not_epmm"].as_array().unwrap().len(), 1, "{name}: {}", v["coverage"]);
    }
}

#[test]
fn inert_lines_of_epmms_routes_are_found_in_each_servers_own_log_with_client_time_and_status() {
    for (name, _) in SERVERS {
        let (code, v) = run(&[&log(name, "inert")]);
        assert_eq!(code, 11, "{name}: {}", v["evidence"]);
        assert_eq!(v["inputs"][0]["relevant_lines"], 4, "{name}: {}", v["inputs"][0]);
        let steps: Vec<_> =
            v["chains"].as_array().unwrap().iter().flat_map(|c| c["steps"].as_array().unwrap()).collect();
        assert!(!steps.is_empty(), "{name}");
        for s in steps {
            assert!(s["client"].as_str().unwrap().starts_with("127.0.0."), "{name}: {s}");
            assert!(s["at_ms"].is_i64() && s["status"].is_u64(), "{name}: {s}");
        }
    }
}
