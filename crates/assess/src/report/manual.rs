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
    use crate::report::outputs::OutputArgs;
    use clap::Args;

    fn command() -> Command {
        OutputArgs::augment_args(Command::new("matron-assess").about("Was our EPMM hit"))
    }

    #[test]
    fn the_manual_page_names_every_output() {
        let page = String::from_utf8(man_page(command()).unwrap()).unwrap();
        for option in ["html", "json", "stix", "ocsf", "timeline", "drafts", "queries", "inventory"] {
            assert!(page.contains(&format!("\\-\\-{option}")), "{option}");
        }
    }

    #[test]
    fn each_shell_gets_completions_that_know_the_options() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish] {
            let script = String::from_utf8(completions(command(), shell, "matron-assess")).unwrap();
            assert!(script.contains("timeline"), "{shell}");
        }
    }
}
