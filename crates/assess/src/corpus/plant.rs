//! What is planted, and how intruders hide it. Routes and signs only; the word `INERT` where a payload
//! would stand.

use super::Rng;
use crate::finding::Grade;

/// A Java class's magic number in base64, and nothing behind it.
const MAGIC: &str = "/mifs/a.jsp?x=yv66vgAAINERT";
/// A long piece of base64 that says nothing.
const CHUNK: &str = "/mifs/rs/api/v2/featureusage?format=QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJD";

/// Kinds of attack line: name, method, target, status, bytes, least grade.
pub(super) const ATTACKS: &[(&str, &str, &str, u16, u64, Grade)] = &[
    ("2023-35078 probe", "GET", "/mifs/aad/api/v2/ping", 401, 80, Grade::Probed),
    ("2023-35078 answered", "GET", "/mifs/aad/api/v2/ping", 200, 91, Grade::Attempted),
    (
        "2023-35078 data",
        "GET",
        "/mifs/aad/api/v2/authorized/users?adminDeviceSpaceId=1",
        200,
        48_000,
        Grade::LikelyCompromised,
    ),
    ("2023-35082 probe", "GET", "/mifs/asfV3/api/v2/ping", 403, 80, Grade::Probed),
    ("2023-35082 answered", "GET", "/mifs/asfV3/api/v2/ping", 200, 91, Grade::Attempted),
    ("2023-35082 data", "GET", "/mifs/asfV3/api/v2/admins/users", 200, 9_000, Grade::LikelyCompromised),
    ("2025-4427 probe", "GET", "/mifs/rs/api/v2/featureusage_history?format=INERT", 400, 168, Grade::Probed),
    ("2025-4428", "GET", "/mifs/rs/api/v2/featureusage?format=${INERT}", 400, 168, Grade::Attempted),
    ("2025-4428 short", "GET", "/rs/api/v2/featureusage_history?format=#{INERT}", 400, 168, Grade::Attempted),
    ("2025-4428 bare", "GET", "/api/v2/featureusage?format=${ INERT}", 400, 168, Grade::Attempted),
    ("2025-4428 chunk", "GET", CHUNK, 400, 168, Grade::Attempted),
    (
        "2026-1281",
        "GET",
        "/mifs/c/appstore/fob/3/5/sha256:kid=1,st=`INERT`,et=1,h=x/x.ipa",
        404,
        196,
        Grade::Attempted,
    ),
    (
        "2026-1340",
        "GET",
        "/mifs/c/aftstore/fob/3/5/sha256:kid=1,st=$(INERT),et=1,h=x/x.apk",
        404,
        196,
        Grade::Attempted,
    ),
    (
        "2026-1281 malformed",
        "GET",
        "/mifs/c/appstore/fob/3/5/sha256:kid=1,st=inert,et=1,h=x/x.ipa",
        404,
        196,
        Grade::Attempted,
    ),
    (
        "2026-10520",
        "GET",
        "/mics/api/v2/sentry/mics-config/handleMessage?message=execute_INERT",
        200,
        30,
        Grade::Attempted,
    ),
    ("2026-10520 post", "POST", "/mics/api/v2/sentry/mics-config/handleMessage", 200, 30, Grade::Probed),
    ("loader", "GET", "/mifs/403.jsp?k0f53=INERT", 200, 12, Grade::LikelyCompromised),
    ("loader posted", "POST", "/mifs/403.jsp", 200, 12, Grade::Attempted),
    ("loader refused", "GET", "/mifs/403.jsp?k0f53=INERT", 404, 196, Grade::Attempted),
    ("class sent", "GET", MAGIC, 200, 12, Grade::LikelyCompromised),
    ("staged dump", "GET", "/mifs/css/mibasecss7.css", 200, 9_400_000, Grade::DataLeft),
    ("staged dump asked for", "GET", "/mifs/css/mibasecss7.css", 404, 196, Grade::Probed),
    ("tunnel", "GET", "/~!frp", 404, 196, Grade::Probed),
];

/// Writes letters as percent codes up to three times over, doubles slashes, flips case, adds parameters
/// and detours, as intruders do.
pub fn disguise(r: &mut Rng, target: &str) -> String {
    let way = r.below(9);
    let depth = 1 + r.below(3);
    let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
    let mut out = String::new();
    let code = |c: char, out: &mut String| {
        let mut b = [0; 4];
        for byte in c.encode_utf8(&mut b).bytes() {
            let mut s = format!("%{byte:02X}");
            for _ in 1..depth {
                s = s.replace('%', "%25");
            }
            out.push_str(&s);
        }
    };
    for (i, c) in path.chars().enumerate() {
        match (way, c) {
            (1, '/') => out.push_str("//"),
            (2, '/') => out.push_str("/./"),
            (3, c) if c.is_ascii_lowercase() && r.below(4) == 0 => code(c, &mut out),
            (4, c) if c.is_ascii_lowercase() && r.below(3) == 0 => out.push(c.to_ascii_uppercase()),
            (6, '/') if i > 0 => out.push_str(";a=b/"),
            (7, '/') if i > 0 => out.push_str("/INERT/../"),
            (8, '/') if i > 0 => out.push_str(if r.below(2) == 0 { "%2F" } else { "%5c" }),
            // These can't stand in a request line as they are.
            (_, '`' | '$' | '(' | ')' | '|' | ' ' | '{' | '}' | '#') => code(c, &mut out),
            (_, c) => out.push(c),
        }
    }
    if let Some(q) = query {
        out.push('?');
        for c in q.chars() {
            match c {
                '=' | '&' => out.push(c),
                c if !c.is_ascii_alphanumeric() && c != '_' => code(c, &mut out),
                c if way == 5 && r.below(3) == 0 => code(c, &mut out),
                c => out.push(c),
            }
        }
    }
    out
}
