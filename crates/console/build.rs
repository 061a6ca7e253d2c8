//! Looks that the script and the style sheet were made, and says how when they were not: nothing is fetched here.

#![allow(missing_docs, clippy::expect_used, clippy::panic)]

use std::path::Path;

fn main() {
    let web = Path::new("web");
    println!("cargo::rerun-if-changed=web/dist");
    for name in ["console.js", "console.css", "console.js.br", "console.css.br"] {
        let path = web.join("dist").join(name);
        if !path.is_file() {
            panic!(
                "{} is missing: run scripts/console-assets (it needs npm), which makes it from crates/console/web",
                path.display()
            );
        }
    }
}
