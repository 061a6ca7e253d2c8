//! Looks that the script and the style sheet were made, and from what is there now, and says how when they were not:
//! nothing is fetched here.

#![allow(missing_docs, clippy::expect_used, clippy::panic)]

#[path = "made.rs"]
mod made;

use std::path::Path;

fn main() {
    let web = Path::new("web");
    println!("cargo::rerun-if-changed=web/dist");
    made::MADE_OF.iter().for_each(|name| println!("cargo::rerun-if-changed=web/{name}"));
    for name in ["console.js", "console.css", "console.js.br", "console.css.br"] {
        let path = web.join("dist").join(name);
        if !path.is_file() {
            panic!(
                "{} is missing: run scripts/console-assets (it needs npm), which makes it from crates/console/web",
                path.display()
            );
        }
    }
    if let Some(newer) = made::newer_than_made(web) {
        let told = format!(
            "the console's script and style sheet are older than {}: run scripts/console-assets, or the pages have yesterday's",
            newer.display()
        );
        // What is released is never yesterday's; while one works on something else, it is enough to know.
        if std::env::var("PROFILE").is_ok_and(|p| p == "release") {
            panic!("{told}");
        }
        println!("cargo::warning={told}");
    }
}
