//! JSON that is one document: its records, one a line.

use std::io::Read;

use serde_json::Value;

/// Largest JSON document that is read as one.
const MAX_DOCUMENT_BYTES: u64 = 16 << 20;

/// Objects of a JSON document, one a line; and whether they look like an audit log.
pub(super) fn json_lines(reader: &mut dyn Read) -> Result<(Vec<u8>, bool), String> {
    let mut text = Vec::new();
    reader.take(MAX_DOCUMENT_BYTES + 1).read_to_end(&mut text).map_err(|e| e.to_string())?;
    if text.len() as u64 > MAX_DOCUMENT_BYTES {
        return Err(format!(
            "one JSON document of more than {MAX_DOCUMENT_BYTES} bytes: export it as JSON lines (one object a line)"
        ));
    }
    let text_ = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    let mut out = Vec::new();
    let mut objects = 0u64;
    for doc in serde_json::Deserializer::from_slice(text_).into_iter::<Value>() {
        let doc = doc.map_err(|e| format!("it begins like JSON, but: {e}"))?;
        records(&doc, &mut out, &mut objects);
    }
    let first = out.split(|b| *b == b'\n').next().unwrap_or_default();
    let audit = crate::line::parse_json(first, &crate::line::FieldMap::default())
        .is_some_and(|l| !l.extra.is_empty());
    Ok((out, audit))
}

fn records(v: &Value, out: &mut Vec<u8>, objects: &mut u64) {
    let list = match v {
        Value::Array(a) => Some(a),
        Value::Object(o) => ["records", "value", "results", "events", "data", "logs", "hits"]
            .iter()
            .find_map(|k| match o.get(*k) {
                Some(Value::Array(a)) => Some(a),
                Some(Value::Object(inner)) => inner.get("hits").and_then(Value::as_array),
                _ => None,
            }),
        _ => None,
    };
    match list {
        Some(a) => {
            for x in a.iter().filter(|x| x.is_object()) {
                let _ = serde_json::to_writer(&mut *out, x);
                out.push(b'\n');
                *objects += 1;
            }
        }
        None if v.is_object() => {
            let _ = serde_json::to_writer(&mut *out, v);
            out.push(b'\n');
            *objects += 1;
        }
        None => {}
    }
}
