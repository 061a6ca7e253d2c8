//! What a test could not try on this machine. A test harness swallows what a passing test says, so `./test` names a file
//! ([`LIST`]) that each skip is written into, and prints it at its end.

use std::io::Write;
use std::path::Path;

/// The environment variable with the file that skips are listed in.
pub const LIST: &str = "MATRON_SKIPPED";
/// The environment variable under which a missing tool fails the test: set by `.ci/run`.
pub const REQUIRED: &str = "MATRON_REQUIRE_VALIDATORS";

/// A tool that `scripts/prepare tests` installs is not here.
///
/// # Panics
/// Where [`REQUIRED`] is set.
pub fn not_installed(tool: &str) {
    tell(
        &format!("{tool} is not installed; 'scripts/prepare tests' installs it"),
        std::env::var_os(REQUIRED).is_some(),
        std::env::var_os(LIST).as_deref().map(Path::new),
    );
}

/// What this machine can't do: it has no root, another kernel, another version of a tool, or no copy of Apple's schema.
pub fn not_possible(why: &str) {
    tell(why, false, std::env::var_os(LIST).as_deref().map(Path::new));
}

fn tell(why: &str, fails: bool, list: Option<&Path>) {
    assert!(!fails, "{why}");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Not eprintln: the harness would swallow it.
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: {test}: {why} ***\n");
    if let Some(list) = list {
        let line = format!("{test}: {why}\n");
        let open = std::fs::OpenOptions::new().create(true).append(true).open(list);
        // One write: tests run side by side.
        let _ = open.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_skip_is_a_line_of_the_list_with_its_test() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("list");
        tell("there is no haproxy", false, Some(&list));
        tell("it needs root", false, Some(&list));
        let name = "tests::each_skip_is_a_line_of_the_list_with_its_test";
        let said = std::fs::read_to_string(&list).unwrap();
        assert_eq!(said, format!("{name}: there is no haproxy\n{name}: it needs root\n"));
    }

    #[test]
    #[should_panic(expected = "there is no haproxy")]
    fn a_tool_that_is_required_and_missing_fails_the_test() {
        tell("there is no haproxy", true, None);
    }
}
