//! Signing in with an organisation's own account, by way of its OpenID provider, to read masks.

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode};
use maud::html;
use order::sha256;
use serde::Deserialize;
use serde_json::{Value, json};

use super::door::own_path;
use crate::api::{Api, Failure, Peer, path, sentence};
use crate::guard::{is_asked_by_no_other_site, is_drawn_in_by_another_site};
use crate::layout::{Place, moved_on, page};
use crate::session::{self, Bearer};

#[derive(Debug, Deserialize)]
struct Begun {
    secret: String,
    location: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Begin {
    to: Option<String>,
}

/// On to the provider, with a cookie that alone can end what begins here.
///
/// One session in a browser: what was signed in before ends now. The provider leads back by a redirect, with which a browser
/// does not send the session's cookie. So no other site's page may lead here.
pub(crate) async fn begin(
    State(api): State<Api>,
    peer: Peer,
    headers: HeaderMap,
    Query(q): Query<Begin>,
) -> Response {
    if !is_asked_by_no_other_site(&headers) {
        return Redirect::to(&path("/sign-in", &[("to", q.to)])).into_response();
    }
    let begun = async {
        let begun: Begun = api.post_from("/api/v1/oidc/begin", peer, &json!({})).await?;
        let secret = STANDARD.decode(&begun.secret).ok().and_then(|b| <[u8; 32]>::try_from(b).ok());
        let secret = secret.ok_or_else(|| Failure::within("the API's secret is not 32 bytes"))?;
        // Where to go then stays here too: the provider learns nothing of it.
        let cookie = session::oidc::set(&secret, &own_path(q.to));
        let mut response = Redirect::to(&begun.location).into_response();
        let mut cookies = vec![cookie];
        if let Some(before) = Bearer::of_cookie(&headers) {
            api.delete("/api/v1/session", &before).await;
            cookies.push(session::clear());
        }
        set(&mut response, cookies);
        Ok::<_, Failure>(response)
    };
    begun.await.unwrap_or_else(|f| failed(&f))
}

/// What the provider has the browser bring back. It may say more, which is not looked at.
#[derive(Deserialize)]
pub(crate) struct Done {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
    iss: Option<String>,
}

pub(crate) async fn done(
    State(api): State<Api>,
    peer: Peer,
    headers: HeaderMap,
    Query(q): Query<Done>,
) -> Response {
    if is_drawn_in_by_another_site(&headers) {
        let detail = "another site asked for this; sign in from Matron's own page";
        return failed(&Failure { status: StatusCode::FORBIDDEN, ..Failure::bad(detail) });
    }
    let begun = session::oidc::of(&headers);
    let signed_in = async {
        let secret = session::fresh()?;
        // Without a cookie it was not begun here: core finds that no state fits, counts it and logs it.
        let (flow, to) = match begun {
            Some(begun) => begun,
            None => (session::fresh()?, "/".to_owned()),
        };
        let bearer = Bearer::of(&secret, &headers);
        let asked = json!({
            "secret": STANDARD.encode(flow), "state": q.state.unwrap_or_default(), "code": q.code, "error": q.error,
            "iss": q.iss, "session": sha256(bearer.secret()),
        });
        let before = Bearer::of_cookie(&headers);
        api.post_from::<Value>("/api/v1/oidc/finish", peer, &asked).await?;
        if let Some(before) = before {
            api.delete("/api/v1/session", &before).await;
        }
        Ok::<_, Failure>((session::set(&URL_SAFE_NO_PAD.encode(secret)), to))
    };
    let (cookies, mut response) = match signed_in.await {
        Ok((cookie, to)) => (vec![cookie, session::oidc::clear()], moved_on("You are signed in", &to)),
        // Another tab's, perhaps: the sign-in that this browser began last can still end.
        Err(f) if f.code == "oidc_not_begun_here" => (vec![], failed(&f)),
        Err(f) => (vec![session::oidc::clear()], failed(&f)),
    };
    set(&mut response, cookies);
    response
}

fn set(response: &mut Response, cookies: Vec<String>) {
    for cookie in cookies {
        if let Ok(value) = http::HeaderValue::try_from(cookie) {
            response.headers_mut().append(SET_COOKIE, value);
        }
    }
}

fn failed(f: &Failure) -> Response {
    let title = if f.code == "oidc_no_role" { "No access" } else { "You are not signed in" };
    let body = html! {
        h1.nhsuk-heading-l { (title) }
        p { (sentence(&f.detail)) }
        @if !f.request.is_empty() {
            p.nhsuk-hint { "Request " code { (f.request) } ", as the log has it." }
        }
        p { a href=(path("/sign-in", &[])) { "Back to signing in" } }
    };
    let mut response = page(title, Place::Nowhere, None, body);
    *response.status_mut() = f.status;
    response
}
