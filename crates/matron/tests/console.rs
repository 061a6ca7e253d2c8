//! The console in a real browser: Debian's Chromium with an authenticator of its own, the real binary, simulated phones.
//! The steps are in `crates/console/web/e2e`; pictures of every page lie under `target/console-pictures` afterwards.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testkit::house::{House, free};

fn found(name: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|p| p.join(name).is_file())
}

/// What can be asked for by GET, from the router itself, a template a line.
fn asked_for() -> String {
    let all = console::pages().into_iter().filter(|p| p.method == "GET").map(|p| p.path);
    all.collect::<Vec<_>>().join("\n")
}

/// Runs one of the scripts against a new house; every line of it that does not hold is told.
fn run(script: &str) {
    run_with(script, &[], &[]);
}

/// The same with these settings of the house, and these variables for the script.
fn run_with(script: &str, settings: &[&str], variables: &[(&str, &str)]) {
    let Some(web) = web() else { return };
    let binary = env!("CARGO_BIN_EXE_matron");
    let house = House::start(binary, settings).unwrap();
    // A setting overrules the house's own.
    let listens = settings.iter().find_map(|s| s.strip_prefix("administrators.listen=127.0.0.1:"));
    let port = listens.map_or(house.administrators().port(), |port| port.parse().unwrap());
    let mut node = node(&web, script, port);
    node.env("CA", house.ca_pem()).env("DATA", house.data()).env("TOKEN", house.token());
    ends_well(script, node.envs(variables.iter().copied()));
}

/// Where the scripts are, if this machine has what they need.
fn web() -> Option<PathBuf> {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../console/web");
    if found("chromium") && found("node") && web.join("node_modules/playwright-core").is_dir() {
        return Some(web);
    }
    skipped::not_installed("chromium, node or what crates/console/web takes of npm");
    None
}

fn pictures(script: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../console-pictures").join(script)
}

fn node(web: &Path, script: &str, port: u16) -> Command {
    let mut node = Command::new("node");
    node.arg(web.join("e2e").join(script).with_extension("mjs"))
        .env("MATRON", env!("CARGO_BIN_EXE_matron"))
        .env("MATRON_URL", format!("http://localhost:{port}"))
        .env("MATRON_SCREENSHOTS", pictures(script))
        .env("PAGES", asked_for())
        .stdin(Stdio::null());
    node
}

fn ends_well(script: &str, node: &mut Command) {
    let scratch = tempfile::tempdir().unwrap();
    let out =
        node.env("MATRON_HOME", scratch.path().join("home")).env("SCRATCH", scratch.path()).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(
        out.status.success() && !said.contains("NOT "),
        "{script}: see {}\n{said}\n{}",
        pictures(script).display(),
        String::from_utf8_lossy(&out.stderr)
    );
}

#[test]
fn the_link_that_the_demo_prints_makes_the_first_administrators_passkey_in_the_console_once() {
    let Some(web) = web() else { return };
    let (phones, administrators) = (free().unwrap().port(), free().unwrap().port());
    let mut node = node(&web, "demo", administrators);
    node.env("DEMO", Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo"))
        .env("PHONES_PORT", phones.to_string())
        .env("ADMIN_PORT", administrators.to_string());
    ends_well("demo", &mut node);
}

#[test]
fn a_phone_invited_in_the_browser_appears_live_is_revealed_lost_erased_by_two_and_its_entry_proved() {
    run("journey");
}

#[test]
fn the_pages_for_looking_tell_how_the_house_is() {
    run("board");
}

#[test]
fn the_first_administrator_joins_in_the_browser_and_the_token_works_once() {
    run("join");
}

#[test]
fn a_copied_passkey_a_stolen_session_another_orders_assertion_and_a_flood_are_refused_counted_and_shown() {
    run("attacks");
}

#[test]
fn two_administrators_invite_approve_reject_and_call_back_in_their_browsers() {
    run("desk");
}

#[test]
fn a_profile_is_saved_by_a_form_and_a_file_compared_installed_and_confirmed_in_the_browser() {
    run("profiles");
}

#[test]
fn an_organisations_account_reads_masks_and_no_token_code_or_state_of_another_gets_in() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = file("provider.pem", &made.cert.pem());
    let key = file("provider.key", &made.signing_key.serialize_pem());
    let secret = file("secret", "made-up, with a % and a :\n");
    let (admin, provider) = (free().unwrap().port(), free().unwrap().port());
    let settings = [
        format!("administrators.listen=127.0.0.1:{admin}"),
        format!("oidc.issuer=https://localhost:{provider}"),
        "oidc.client_id=matron".to_owned(),
        format!("oidc.client_secret={secret}"),
        format!("oidc.console_url=http://localhost:{admin}"),
        format!("oidc.trust_anchor={certificate}"),
        "oidc.roles=[{claim=\"groups\",value=\"phones-desk\",role=\"service_desk\"},\
         {claim=\"groups\",value=\"phones-audit\",role=\"auditor\"},\
         {claim=\"groups\",value=\"ward-bench-leads\",role=\"ward_manager\",group=\"bench\"}]"
            .to_owned(),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let port = provider.to_string();
    let variables = [
        ("OIDC_PORT", port.as_str()),
        ("OIDC_KEY", &key),
        ("OIDC_CERTIFICATE", &certificate),
        ("OIDC_SECRET", "made-up, with a % and a :"),
    ];
    run_with("oidc", &settings, &variables);
}

#[test]
fn a_device_group_is_tried_signed_changed_used_and_ended_in_the_browser() {
    run("groups");
}

#[test]
fn a_phones_holder_reports_it_lost_with_a_card_and_without_a_script_and_sees_what_was_done_to_it() {
    run_with("holder", &["organization_phone=020 7946 0123"], &[]);
}
