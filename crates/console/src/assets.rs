//! The script and the style sheet, as `web/build.mjs` made them; their names carry their hash, so they are kept for good.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use order::sha256;

struct Asset {
    plain: &'static [u8],
    brotli: &'static [u8],
    kind: &'static str,
    stem: &'static str,
    suffix: &'static str,
}

static SCRIPT: Asset = Asset {
    plain: include_bytes!("../web/dist/console.js"),
    brotli: include_bytes!("../web/dist/console.js.br"),
    kind: "text/javascript; charset=utf-8",
    stem: "console",
    suffix: "js",
};
static STYLE: Asset = Asset {
    plain: include_bytes!("../web/dist/console.css"),
    brotli: include_bytes!("../web/dist/console.css.br"),
    kind: "text/css; charset=utf-8",
    stem: "console",
    suffix: "css",
};

static SCRIPT_NAME: LazyLock<String> = LazyLock::new(|| SCRIPT.name());
static STYLE_NAME: LazyLock<String> = LazyLock::new(|| STYLE.name());

impl Asset {
    fn name(&self) -> String {
        let hash = sha256(self.plain).to_string();
        format!("{}.{}.{}", self.stem, hash.get(..12).unwrap_or_default(), self.suffix)
    }
}

/// The script's path.
pub(crate) fn script() -> String {
    format!("/assets/{}", *SCRIPT_NAME)
}

/// The style sheet's path.
pub(crate) fn style() -> String {
    format!("/assets/{}", *STYLE_NAME)
}

pub(crate) async fn get(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let asset = match name {
        n if n == *SCRIPT_NAME => &SCRIPT,
        n if n == *STYLE_NAME => &STYLE,
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let takes = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
    let brotli =
        takes.flat_map(|v| v.split(',')).any(|e| e.split(';').next().is_some_and(|e| e.trim() == "br"));
    let mut response = if brotli { asset.brotli } else { asset.plain }.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if brotli {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("br"));
    }
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    use crate::made::{MADE, newer_than_made};

    #[test]
    fn what_changed_after_the_script_was_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let web = dir.path();
        fs::create_dir_all(web.join("src/deeper")).unwrap();
        fs::create_dir_all(web.join("dist")).unwrap();
        let write = |name: &str, seconds: u64| {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 + seconds);
            File::create(web.join(name)).unwrap().set_modified(at).unwrap();
        };
        assert_eq!(newer_than_made(web), None, "nothing was made: that is told otherwise");
        for name in ["src/main.js", "src/deeper/more.js", "build.mjs", "package-lock.json"] {
            write(name, 1);
        }
        write(MADE, 2);
        assert_eq!(newer_than_made(web), None);
        for name in ["src/main.js", "src/deeper/more.js", "build.mjs", "package-lock.json"] {
            write(name, 3);
            assert_eq!(newer_than_made(web), Some(web.join(name)));
            write(name, 1);
        }
        write("dist/console.js", 9);
        assert_eq!(newer_than_made(web), None, "what was made is not what it is made of");
    }
}
