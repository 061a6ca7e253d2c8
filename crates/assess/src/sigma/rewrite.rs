//! Modifiers that write a value otherwise before it is looked for: base64, UTF-16, dashes.

/// What a modifier does to the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rewrite {
    /// Base64 of it.
    Base64,
    /// Base64 of it, wherever in a longer text it begins.
    Base64Offset,
    /// UTF-16, little endian.
    Wide,
    /// Any of the dashes that Windows takes.
    Dashes,
}

/// All texts that the modifiers make of one, and whether letters must be exact.
///
/// # Errors
/// A wildcard in what is to be encoded.
pub(super) fn texts(text: &str, how: &[Rewrite]) -> Result<Vec<(Vec<u8>, bool)>, String> {
    if text.contains(['*', '?']) && how.iter().any(|h| *h != Rewrite::Dashes) {
        return Err(format!("`{text}`: a wildcard can't be encoded"));
    }
    let mut now = vec![(text.as_bytes().to_vec(), false)];
    for step in how {
        let mut next = Vec::new();
        for (t, exact) in now {
            match step {
                Rewrite::Base64 => next.push((base64(&t), true)),
                Rewrite::Base64Offset => next.extend((0..3).map(|skip| (base64_at(&t, skip), true))),
                Rewrite::Wide => next.push((t.iter().flat_map(|b| [*b, 0]).collect(), exact)),
                Rewrite::Dashes => next.extend(dashes(&t).into_iter().map(|t| (t, exact))),
            }
        }
        now = next;
    }
    now.retain(|(t, _)| !t.is_empty());
    if now.is_empty() { Err(format!("`{text}` is too short for its modifiers")) } else { Ok(now) }
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let group = three.iter().fold(0usize, |n, b| n << 8 | usize::from(*b)) << (8 * (3 - three.len()));
        for at in 0..4usize {
            let letter = LETTERS.get(group >> (18 - 6 * at) & 63).copied().unwrap_or(b'=');
            out.push(if at <= three.len() { letter } else { b'=' });
        }
    }
    out
}

/// The letters that stay the same when `skip` bytes stand before and anything after.
fn base64_at(bytes: &[u8], skip: usize) -> Vec<u8> {
    let mut padded = vec![b' '; skip];
    padded.extend_from_slice(bytes);
    let all = base64(&padded);
    let start = [0, 2, 3].get(skip).copied().unwrap_or(0);
    let end = match padded.len() % 3 {
        0 => all.len(),
        1 => all.len() - 3,
        _ => all.len() - 2,
    };
    all.get(start..end).unwrap_or_default().to_vec()
}

fn dashes(text: &[u8]) -> Vec<Vec<u8>> {
    ["-", "/", "\u{2013}", "\u{2014}", "\u{2015}"]
        .iter()
        .map(|dash| {
            let mut out = Vec::with_capacity(text.len());
            let mut before = b' ';
            for b in text {
                // Only a dash that begins a word is an option's.
                if matches!(b, b'-' | b'/') && before == b' ' {
                    out.extend_from_slice(dash.as_bytes());
                } else {
                    out.push(*b);
                }
                before = *b;
            }
            out
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes()), coded.as_bytes());
        }
    }

    #[test]
    fn wherever_a_text_begins_one_of_its_three_spellings_is_there() {
        let three = texts("inert", &[Rewrite::Base64Offset]).unwrap();
        for before in ["", "a", "ab", "abc", "abcd"] {
            for after in ["", "x", "xy", "xyz"] {
                let coded = base64(format!("{before}inert{after}").as_bytes());
                assert!(
                    three.iter().any(|(t, _)| memchr::memmem::find(&coded, t).is_some()),
                    "{before} {after}"
                );
            }
        }
    }

    #[test]
    fn a_dash_becomes_each_of_its_kind_and_only_at_a_words_start() {
        let all = texts("-a b-c", &[Rewrite::Dashes]).unwrap();
        assert_eq!(all.len(), 5);
        assert!(all.contains(&(b"/a b-c".to_vec(), false)));
        assert!(texts("a*", &[Rewrite::Base64]).is_err());
    }
}
