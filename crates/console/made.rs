//! Whether what was made from `web` is older than what it is made of: for `build.rs`, and for its test.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What is made, the file that is written last.
pub const MADE: &str = "dist/console.css.br";
/// What it is made of, as `scripts/console-assets` looks at it.
pub const MADE_OF: [&str; 3] = ["src", "build.mjs", "package-lock.json"];

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|m| m.modified()).ok()
}

fn files(at: &Path, out: &mut Vec<PathBuf>) {
    match fs::read_dir(at) {
        Ok(entries) => entries.flatten().for_each(|e| files(&e.path(), out)),
        Err(_) => out.push(at.to_owned()),
    }
}

/// A file below `web` that changed after the script and the style sheet were made; `None` when there is none.
pub fn newer_than_made(web: &Path) -> Option<PathBuf> {
    let made = changed(&web.join(MADE))?;
    let mut all = Vec::new();
    MADE_OF.iter().for_each(|name| files(&web.join(name), &mut all));
    all.into_iter().find(|path| changed(path).is_some_and(|at| at > made))
}
