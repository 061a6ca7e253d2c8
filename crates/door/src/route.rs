//! The door's routes: the whole list. A path is compared as it came, byte for byte: nothing is
//! decoded, folded or trimmed, so there is no second spelling of a route.

use http::Method;

/// Where a request leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `PUT` or `POST` `/mdm`: check-ins and command reports. Needs a phone's certificate.
    Device,
    /// `GET /enrol/<secret>`: an invitation's enrolment profile.
    Invitation(String),
    /// `GET /scep?operation=GetCACaps`.
    ScepCaps,
    /// `GET /scep?operation=GetCACert`.
    ScepCaCert,
    /// `GET /scep?operation=PKIOperation&message=…`, the message as it stands in the query.
    ScepGet(String),
    /// `POST /scep?operation=PKIOperation`.
    ScepPost,
    /// A path of the list with another method, or an operation that SCEP doesn't have: 400.
    Misused,
    /// Not on the list: 404.
    Unknown,
}

/// What answers without a phone's certificate, and why.
pub const PUBLIC_ROUTES: &[(&str, &str, &str)] = &[
    ("GET", "/enrol/<secret>", "the link's secret is the credential: 160 bits, once, until it runs out"),
    ("GET", "/scep", "capabilities and certificates are public; PKIOperation carries its own challenge"),
    ("POST", "/scep", "PKIOperation carries its own challenge, opened by the reader, spent by the vault"),
];

/// An invitation link's secret has this many characters.
const SECRET_CHARS: usize = 32;
/// The longest SCEP message taken in a query.
const LONGEST_QUERY_BYTES: usize = 32 * 1024;

/// Finds the route of a request.
#[must_use]
pub fn route(method: &Method, path: &str, query: Option<&str>) -> Route {
    match path {
        "/mdm" => match *method {
            Method::PUT | Method::POST if query.is_none_or(str::is_empty) => Route::Device,
            _ => Route::Misused,
        },
        "/scep" => scep(method, query.unwrap_or_default()),
        _ => match path.strip_prefix("/enrol/") {
            Some(secret) if is_secret(secret) => match *method {
                Method::GET => Route::Invitation(secret.to_owned()),
                _ => Route::Misused,
            },
            _ => Route::Unknown,
        },
    }
}

fn is_secret(secret: &str) -> bool {
    secret.len() == SECRET_CHARS && secret.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

fn scep(method: &Method, query: &str) -> Route {
    if query.len() > LONGEST_QUERY_BYTES {
        return Route::Misused;
    }
    let find = |name: &str| query.split('&').find_map(|p| p.strip_prefix(name)?.strip_prefix('='));
    match (method, find("operation")) {
        (&Method::GET, Some("GetCACaps")) => Route::ScepCaps,
        (&Method::GET, Some("GetCACert")) => Route::ScepCaCert,
        (&Method::GET, Some("PKIOperation")) => match find("message") {
            Some(message) if !message.is_empty() => Route::ScepGet(message.to_owned()),
            _ => Route::Misused,
        },
        (&Method::POST, Some("PKIOperation")) => Route::ScepPost,
        _ => Route::Misused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "abcdefghijkmnpqrstuvwxyz23456789";

    #[test]
    fn there_is_one_spelling_of_each_route() {
        assert_eq!(route(&Method::PUT, "/mdm", None), Route::Device);
        for other in
            ["/MDM", "//mdm", "/mdm/", "/mdm;x", "/..;/mdm", "/%6ddm", "/mdm%2f", "/./mdm", "mdm", ""]
        {
            assert_eq!(route(&Method::PUT, other, None), Route::Unknown, "{other}");
        }
        let link = format!("/enrol/{SECRET}");
        assert_eq!(route(&Method::GET, &link, None), Route::Invitation(SECRET.into()));
        for other in
            [format!("/enrol//{SECRET}"), format!("{link}/"), link.to_uppercase(), format!("{link}%00")]
        {
            assert_eq!(route(&Method::GET, &other, None), Route::Unknown, "{other}");
        }
    }

    #[test]
    fn another_method_on_a_route_of_the_list_is_misuse() {
        for m in [Method::GET, Method::DELETE, Method::HEAD, Method::OPTIONS, Method::TRACE] {
            assert_eq!(route(&m, "/mdm", None), Route::Misused, "{m}");
        }
        assert_eq!(route(&Method::PUT, "/mdm", Some("a=b")), Route::Misused);
        assert_eq!(route(&Method::POST, &format!("/enrol/{SECRET}"), None), Route::Misused);
        assert_eq!(route(&Method::PUT, "/scep", Some("operation=PKIOperation")), Route::Misused);
    }

    #[test]
    fn scep_operations_are_read_from_the_query() {
        let get = |q| route(&Method::GET, "/scep", Some(q));
        assert_eq!(get("operation=GetCACaps"), Route::ScepCaps);
        assert_eq!(get("operation=GetCACert&message=ca"), Route::ScepCaCert);
        assert_eq!(get("operation=PKIOperation&message=MIIB%2B"), Route::ScepGet("MIIB%2B".into()));
        assert_eq!(get("operation=PKIOperation"), Route::Misused);
        assert_eq!(get("operation=getcacaps"), Route::Misused);
        assert_eq!(route(&Method::POST, "/scep", Some("operation=PKIOperation")), Route::ScepPost);
    }
}
