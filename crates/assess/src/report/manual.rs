//! The manual page and the shells' completions, made from the command line itself.

use clap::Command;
use clap_complete::Shell;

/// The manual page of a command, in roff. Without a date, so that it is the same at every build.
///
/// # Errors
/// Those of writing to memory, which do not happen.
pub fn man_page(command: Command) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).date("").render(&mut page)?;
    Ok(page)
}

/// The completions of a command for one shell; `name` is what is typed (`matron`).
pub fn completions(mut command: Command, shell: Shell, name: &str) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command;

    /// Every flag of the command, `--` left out.
    fn flags() -> Vec<String> {
        let mut command = command();
        command.build();
        let flags = command.get_arguments().filter(|a| !a.is_hide_set()).filter_map(|a| a.get_long());
        flags.map(str::to_owned).collect()
    }

    #[test]
    fn the_manual_page_names_every_flag_and_says_something_of_it() {
        let page = String::from_utf8(man_page(command()).unwrap()).unwrap();
        // groff without its preprocessor reads ASCII alone.
        assert!(page.is_ascii() && page.contains("Exit codes: 0 no trace found; 3 unknown"));
        assert!(flags().len() > 30 && flags().contains(&"compare".to_owned()));
        for flag in flags() {
            let name = format!("\\-\\-{}\\fR", flag.replace('-', "\\-"));
            let at = page.rfind(&name).unwrap_or_else(|| panic!("--{flag} is not in the page"));
            let help = page[at..].lines().nth(1).unwrap_or_default();
            assert!(help.len() > 10 && !help.starts_with('.'), "--{flag}: {help}");
        }
    }

    /// What a program of man-db says of the page; `None` (said loudly) where it is not installed.
    fn man_db(program: &str, words: &[&str]) -> Option<(bool, String, String)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("assess.1");
        std::fs::write(&path, man_page(command()).unwrap()).unwrap();
        let mut run = std::process::Command::new(program);
        let out =
            run.args(words).arg(&path).env("MANROFFSEQ", "").env("MANWIDTH", "80").env("LC_ALL", "C.UTF-8");
        match out.output() {
            Ok(o) => {
                let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
                Some((o.status.success(), text(&o.stdout), text(&o.stderr)))
            }
            Err(e) => {
                skipped::not_installed(&format!("{program} ({e})"));
                None
            }
        }
    }

    #[test]
    fn man_renders_the_page_without_a_warning() {
        let words = ["--warnings", "-E", "UTF-8", "-l", "-Tutf8"];
        let Some((well, page, warnings)) = man_db("man", &words) else { return };
        assert!(well && warnings.is_empty(), "{warnings}");
        // Bold is written by striking a letter twice.
        let bare: String = page.replace('\u{8}', "").chars().collect();
        assert!(bare.contains("NNAAMMEE") || bare.contains("NAME"), "{bare}");
        assert!(page.lines().count() > 100, "{page}");
    }

    #[test]
    fn the_pages_name_line_can_be_indexed() {
        let Some((well, found, _)) = man_db("lexgrog", &[]) else { return };
        assert!(well && found.contains("\"assess - "), "{found}");
    }

    #[test]
    fn each_shells_completions_know_every_flag() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish] {
            let script = String::from_utf8(completions(command(), shell, "assess")).unwrap();
            for flag in flags() {
                let written = if shell == Shell::Fish { format!("-l {flag}") } else { format!("--{flag}") };
                assert!(script.contains(&written), "{shell}: {written}");
            }
        }
    }
}
