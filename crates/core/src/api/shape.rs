//! What requests and answers have in common: bytes in base64, pages, bodies, parameters.

use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use super::problem::Problem;

/// The default and the largest page.
const PAGE: u32 = 50;
const LARGEST_PAGE: u32 = 200;

pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn decode(what: &'static str, text: &str) -> Result<Vec<u8>, Problem> {
    STANDARD.decode(text).map_err(|_| Problem::unreadable(format!("{what} is not base64")))
}

pub(crate) fn limit(asked: Option<u32>) -> Result<u32, Problem> {
    match asked.unwrap_or(PAGE) {
        n @ 1..=LARGEST_PAGE => Ok(n),
        _ => Err(Problem::bad("limit is 1 to 200")),
    }
}

/// A page; `next_cursor` leads to the next one.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    pub items: Vec<T>,
    pub next_cursor: Option<String>,
}

/// A place in a list, as a cursor.
pub(crate) fn cursor_of(place: (i64, i64)) -> String {
    format!("{}.{}", place.0, place.1)
}

pub(crate) fn cursor_from(text: Option<&str>) -> Result<Option<(i64, i64)>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let parts = text.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    parts.map(Some).ok_or_else(|| Problem::bad("the cursor is none that this list gave"))
}

/// Query parameters; unknown ones are refused.
#[derive(Debug)]
pub(crate) struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(v)) => Ok(Self(v)),
            Err(_) => Err(Problem::bad("a query parameter is unknown or its value is not one of its kind")),
        }
    }
}

/// A JSON body.
#[derive(Debug)]
pub(crate) struct Input<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Input<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let content_type = request.headers().get(http::header::CONTENT_TYPE);
        let json = content_type.and_then(|v| v.to_str().ok()).is_some_and(|v| {
            v.split(';').next().is_some_and(|v| v.trim().eq_ignore_ascii_case("application/json"))
        });
        if !json {
            return Err(Problem::new(
                http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "send the body as application/json",
            ));
        }
        let body = Bytes::from_request(request, state).await.map_err(|e| Problem::of_status(e.status()))?;
        // The parser's own message may quote the body: only the place is told.
        serde_json::from_slice(&body).map(Self).map_err(|e| {
            Problem::unreadable(format!(
                "the body is not the JSON that this route takes (line {}, column {})",
                e.line(),
                e.column()
            ))
        })
    }
}

/// An id in a path: text in, 404 when it can't be one.
pub(crate) fn id<T: std::str::FromStr>(what: &'static str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::not_found(what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn a_cursor_leads_back_to_its_place_and_no_other_text_does(a: i64, b: i64, other in "\\PC{0,30}") {
            let back = cursor_from(Some(&cursor_of((a, b)))).ok().flatten();
            prop_assert_eq!(back, Some((a, b)));
            let _ = cursor_from(Some(&other));
        }
    }

    #[test]
    fn a_page_has_1_to_200_items() {
        assert_eq!(limit(None).ok(), Some(50));
        assert_eq!(limit(Some(200)).ok(), Some(200));
        assert!(limit(Some(0)).is_err() && limit(Some(201)).is_err());
    }
}
