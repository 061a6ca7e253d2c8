//! The pages before a stand-in for the API that counts what reaches it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::{any, get};
use http::StatusCode;
use tower::ServiceExt;

use super::*;

const COOKIE: &str = "__Host-matron=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
const SESSION: &str = r#"{"person":"00","signed_in_by":"grant","role":"auditor","group":null,"session":"00","compartments":[],"expires_at_ms":1,"now_ms":0}"#;

/// The pages by a clock that stands still.
fn at(now_ms: model::TimeMs, api: Router) -> Router {
    front(api, Arc::new(model::clock::HandClock::at(now_ms)), Some("020 7946 0123".into()))
}

/// The pages, and how often anything but the session was asked of the API.
fn house() -> (Router, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let api = Router::new().route("/api/v1/session", get(|| async { SESSION })).fallback(any(move || {
        count.fetch_add(1, Ordering::SeqCst);
        async { StatusCode::NOT_FOUND }
    }));
    (at(0, api), asked)
}

async fn ask(router: &Router, method: &str, path: &str, headers: &[(&str, &str)]) -> http::Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    router.clone().oneshot(request.body(Body::from("{}")).unwrap()).await.unwrap()
}

/// A path of the template's shape.
fn path(info: &PageInfo) -> String {
    info.path
        .replace("{enrolment}", &"0".repeat(32))
        .replace("{name}", "x")
        .replace("{index}", "1")
        .replace("{link}", "x")
        .replace("{order}", "0")
        .replace("{device_group}", "0")
        .replace("{profile}", "0")
}

#[tokio::test]
async fn the_open_pages_are_these_and_every_other_leads_to_the_sign_in() {
    let open: Vec<_> =
        pages().into_iter().filter(|p| matches!(p.access, Access::Open(_))).map(|p| p.path).collect();
    assert_eq!(
        open,
        [
            "/sign-in",
            "/join",
            "/assets/{name}",
            "/orders/key",
            "/orders/prepare",
            "/orders",
            "/session",
            "/register",
            "/registrations",
            "/registrations/{link}",
            "/sign-in/oidc",
            "/sign-in/oidc/done",
            "/sign-out",
            "/my-phone",
            "/my-phone/session",
            "/my-phone/session",
            "/my-phone/lost",
            "/my-phone/lost-mode",
            "/my-phone/ring",
            "/my-phone/sign-out"
        ]
    );
    let (router, asked) = house();
    for info in pages().iter().filter(|p| p.access == Access::Inside) {
        let answer = ask(&router, info.method, &path(info), &[("sec-fetch-site", "same-origin")]).await;
        let status = if info.method == "GET" { StatusCode::SEE_OTHER } else { StatusCode::UNAUTHORIZED };
        assert_eq!(answer.status(), status, "{} {}", info.method, info.path);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0, "nothing was asked of the API");
}

#[tokio::test]
async fn what_another_site_asks_for_is_not_done() {
    let (router, asked) = house();
    for info in pages().iter().filter(|p| p.method != "GET") {
        for site in [&[][..], &[("sec-fetch-site", "cross-site")], &[("sec-fetch-site", "same-site")]] {
            let headers = [&[("cookie", COOKIE), ("content-type", "application/json")], site].concat();
            let answer = ask(&router, info.method, &path(info), &headers).await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{} {site:?}", info.path);
        }
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0, "nothing was asked of the API");
}

#[tokio::test]
async fn a_page_without_its_sessions_token_changes_nothing() {
    let (router, asked) = house();
    let own = [("cookie", COOKIE), ("content-type", "application/json"), ("sec-fetch-site", "same-origin")];
    for info in pages().iter().filter(|p| p.method != "GET" && p.access == Access::Inside) {
        for token in [&[][..], &[("x-matron-token", "another")]] {
            let answer = ask(&router, info.method, &path(info), &[&own, token].concat()).await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{}", info.path);
        }
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0, "nothing was asked of the API");
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_keep_others_out() {
    let (router, _) = house();
    for path in ["/sign-in", "/phones", "/assets/x", "/phones/zz", "/api/v1/session", "/nowhere"] {
        let answer = ask(&router, "GET", path, &[("cookie", COOKIE)]).await;
        let policy = answer.headers()["content-security-policy"].to_str().unwrap();
        for part in
            ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for"]
        {
            assert!(policy.contains(part), "{path}: {part}");
        }
        assert!(!policy.contains("unsafe"), "{path}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cache-control", "no-store"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cross-origin-embedder-policy", "require-corp"),
        ] {
            let sent: Vec<_> = answer.headers().get_all(name).iter().collect();
            assert_eq!(sent, [value], "{path}: {name}");
        }
        let told = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        let transport = told("strict-transport-security");
        let age_s: u64 = transport.strip_prefix("max-age=").unwrap().parse().unwrap();
        assert!(age_s >= 31_536_000, "{path}: {transport}: a year at least");
        let permissions = told("permissions-policy");
        for none in ["camera=()", "microphone=()", "geolocation=()", "payment=()", "usb=()"] {
            assert!(permissions.contains(none), "{path}: {permissions}");
        }
        for own in ["publickey-credentials-get=(self)", "publickey-credentials-create=(self)"] {
            assert!(permissions.contains(own), "{path}: {permissions}");
        }
    }
}

#[tokio::test]
async fn a_page_takes_the_method_that_it_is_listed_with_and_no_other() {
    let (router, _) = house();
    for info in pages() {
        let listed = |method: &&str| pages().iter().any(|p| p.path == info.path && p.method == *method);
        let other = ["GET", "PUT"].into_iter().find(|m| !listed(m)).unwrap();
        let mut headers = http::HeaderMap::new();
        headers.insert("cookie", COOKIE.parse().unwrap());
        let token = session::Bearer::of_cookie(&headers).unwrap().form_token();
        let own = [("sec-fetch-site", "same-origin"), ("cookie", COOKIE), ("x-matron-token", token.as_str())];
        let answer = ask(&router, other, &path(&info), &own).await;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{other} {}", info.path);
    }
}

#[tokio::test]
async fn a_page_that_another_site_draws_in_is_not_made() {
    let (router, asked) = house();
    for site in ["cross-site", "same-site"] {
        let drawn = [("cookie", COOKIE), ("sec-fetch-site", site), ("sec-fetch-mode", "no-cors")];
        assert_eq!(ask(&router, "GET", "/phones?names=true", &drawn).await.status(), StatusCode::FORBIDDEN);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0, "nothing was asked of the API");
}

#[tokio::test]
async fn a_sign_in_by_account_ends_the_session_before_it_and_no_other_site_begins_one() {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = ended.clone();
    let began =
        r#"{"secret":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=","location":"https://id.example.org/a"}"#;
    let session = get(|| async { SESSION }).delete(move || {
        count.fetch_add(1, Ordering::SeqCst);
        async { StatusCode::NO_CONTENT }
    });
    let api = Router::new()
        .route("/api/v1/session", session)
        .route("/api/v1/oidc/begin", axum::routing::post(move || async move { began }));
    let router = at(0, api);
    for site in [&[][..], &[("sec-fetch-site", "cross-site")], &[("sec-fetch-site", "same-site")]] {
        let headers = [&[("cookie", COOKIE), ("sec-fetch-mode", "navigate")], site].concat();
        let answer = ask(&router, "GET", "/sign-in/oidc?to=/phones", &headers).await;
        assert_eq!(answer.headers()["location"], "/sign-in?to=%2Fphones", "{site:?}");
        assert!(!answer.headers().contains_key("set-cookie"), "{site:?}");
    }
    assert_eq!(ended.load(Ordering::SeqCst), 0, "nobody was signed out");
    for (n, site) in ["same-origin", "none"].into_iter().enumerate() {
        let own = [("cookie", COOKIE), ("sec-fetch-site", site)];
        let answer = ask(&router, "GET", "/sign-in/oidc", &own).await;
        assert_eq!(answer.headers()["location"], "https://id.example.org/a", "{site}");
        let cookies: Vec<_> =
            answer.headers().get_all("set-cookie").iter().map(|c| c.to_str().unwrap().to_owned()).collect();
        assert!(cookies.iter().any(|c| c.starts_with("__Host-matron-oidc=")), "{cookies:?}");
        assert!(cookies.iter().any(|c| c.starts_with("__Host-matron=;")), "{cookies:?}");
        assert_eq!(ended.load(Ordering::SeqCst), n + 1, "{site}");
    }
}

#[tokio::test]
async fn an_answer_that_was_not_begun_here_is_told_to_core_and_leaves_the_other_tabs_sign_in() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let finish = axum::routing::post(move || {
        count.fetch_add(1, Ordering::SeqCst);
        async {
            let problem =
                r#"{"status":403,"code":"oidc_not_begun_here","title":"x","detail":"not begun here"}"#;
            (StatusCode::FORBIDDEN, [("content-type", "application/problem+json")], problem)
        }
    });
    let router = at(0, Router::new().route("/api/v1/oidc/finish", finish));
    let cookie = session::oidc::set(&[7; 32], "/").split(';').next().unwrap().to_owned();
    for (n, cookie) in ["", cookie.as_str()].into_iter().enumerate() {
        let come = [("cookie", cookie), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
        let answer = ask(&router, "GET", "/sign-in/oidc/done?state=x&code=y", &come).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert!(!answer.headers().contains_key("set-cookie"));
        assert_eq!(asked.load(Ordering::SeqCst), n + 1);
    }
    // A picture on another site's page is nobody who comes back.
    let drawn = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")];
    assert_eq!(
        ask(&router, "GET", "/sign-in/oidc/done?state=x", &drawn).await.status(),
        StatusCode::FORBIDDEN
    );
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_page_that_fails_keeps_the_navigation_of_whoever_is_signed_in() {
    let (router, _) = house();
    for path in ["/phones", "/phones/zz", "/ledger", "/entries/x", "/commands/0"] {
        let answer = ask(&router, "GET", path, &[("cookie", COOKIE)]).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        let page = String::from_utf8(body.into()).unwrap();
        for part in ["Not found", "href=\"/phones\"", "Sign out", "name=\"matron-token\""] {
            assert!(page.contains(part), "{path}: {part}: {page}");
        }
    }
    // Nobody is signed in who comes back from elsewhere with nothing.
    let answer = ask(&router, "GET", "/sign-in/oidc/done", &[("sec-fetch-site", "cross-site")]).await;
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    assert!(!String::from_utf8(body.into()).unwrap().contains("Sign out"));
}

#[tokio::test]
async fn an_order_is_dated_by_the_clock_that_the_house_goes_by() {
    const NOW_MS: model::TimeMs = 1_795_564_800_000;
    let router = at(NOW_MS, Router::new());
    let body = serde_json::json!({
        "id": "00".repeat(16), "what": { "kind": "sign_in", "session": "00".repeat(32), "names": true }, "targets": [],
        "reason": "signing in", "answer_key": "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=", "sealed": null,
    });
    let request = Request::post("/orders/prepare").header("sec-fetch-site", "same-origin");
    let answer = router.oneshot(request.body(Body::from(body.to_string())).unwrap()).await.unwrap();
    let said = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    let said: serde_json::Value = serde_json::from_slice(&said).unwrap();
    let bytes = base64::Engine::decode(
        &base64::engine::general_purpose::STANDARD,
        said["order"].as_str().unwrap_or_else(|| panic!("{said}")),
    );
    let order: order::Order = order::decode(&bytes.unwrap()).unwrap();
    assert_eq!(order.made_at_ms, NOW_MS);
    let order::OrderKind::Grant { records, searches, valid_ms, .. } = order.kind else { panic!("no grant") };
    use order::session::{LIFE_MS, NAMES, SEARCHES};
    assert_eq!((records, searches, valid_ms), (NAMES, SEARCHES, LIFE_MS));
}

#[tokio::test]
async fn a_page_is_packed_for_whoever_asks_themselves_and_never_for_another_site() {
    let (router, _) = house();
    let packed = |answer: &http::Response<Body>| answer.headers().get("content-encoding").cloned();
    for site in ["same-origin", "none"] {
        let own = [("accept-encoding", "gzip, br"), ("sec-fetch-site", site)];
        let answer = ask(&router, "GET", "/sign-in", &own).await;
        assert_eq!(packed(&answer).unwrap(), "gzip", "{site}");
        let plain = ask(&router, "GET", "/sign-in", &own[1..]).await;
        assert_eq!(packed(&plain), None, "it was not asked for");
        let length = async |answer: http::Response<Body>| {
            http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes().len()
        };
        let (short, long) = (length(answer).await, length(plain).await);
        assert!(short < long, "{short} of {long}");
    }
    // A navigation from a neighbour of the same domain brings the cookie; its lengths tell nothing.
    for site in [&[][..], &[("sec-fetch-site", "cross-site")], &[("sec-fetch-site", "same-site")]] {
        let navigated = [("accept-encoding", "gzip, br"), ("sec-fetch-mode", "navigate"), ("cookie", COOKIE)];
        let answer = ask(&router, "GET", "/sign-in?to=/guess", &[&navigated, site].concat()).await;
        assert_eq!((answer.status(), packed(&answer)), (StatusCode::OK, None), "{site:?}");
    }
    let script = assets::script();
    let own = [("accept-encoding", "gzip, br"), ("sec-fetch-site", "same-origin")];
    assert_eq!(packed(&ask(&router, "GET", &script, &own).await).unwrap(), "br", "packed when it was made");
}
