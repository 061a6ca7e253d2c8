use super::*;
use plist::{Dictionary, Value};
use proptest::prelude::*;

const MAX: usize = 1 << 20;

fn doc(inside: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
         \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist version=\"1.0\">{inside}</plist>\n"
    )
}

fn xml(text: &str) -> Result<Value, Malformed> {
    parse(text.as_bytes(), MAX)
}

fn text(inside: &str) -> Result<String, Malformed> {
    xml(&doc(inside)).map(|v| v.into_string().expect("a string"))
}

/// A binary property list of these objects, with references of two bytes and offsets of four.
fn bplist(objects: &[Vec<u8>], root: u64) -> Vec<u8> {
    let mut out = b"bplist00".to_vec();
    let mut offsets = Vec::new();
    for object in objects {
        offsets.push(out.len() as u32);
        out.extend_from_slice(object);
    }
    let table_at = out.len() as u64;
    offsets.iter().for_each(|o| out.extend_from_slice(&o.to_be_bytes()));
    out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 4, 2]);
    out.extend_from_slice(&(objects.len() as u64).to_be_bytes());
    out.extend_from_slice(&root.to_be_bytes());
    out.extend_from_slice(&table_at.to_be_bytes());
    out
}

fn array_of(refs: &[u16]) -> Vec<u8> {
    let mut out = vec![0xAF, 0x11];
    out.extend_from_slice(&(refs.len() as u16).to_be_bytes());
    refs.iter().for_each(|r| out.extend_from_slice(&r.to_be_bytes()));
    out
}

#[test]
fn apples_own_document_type_is_accepted_and_so_is_none() {
    assert_eq!(xml(&doc("<string>a</string>")), Ok(Value::String("a".into())));
    assert_eq!(xml("<plist><string>a</string></plist>"), Ok(Value::String("a".into())));
    assert_eq!(xml("<dict/>"), Ok(Value::Dictionary(Dictionary::new())));
    assert_eq!(xml("\u{FEFF}<?xml version='1.0'?><true/>"), Ok(Value::Boolean(true)));
}

#[test]
fn document_types_that_declare_anything_are_refused() {
    for (bad, why) in [
        ("<!DOCTYPE plist [<!ENTITY a \"b\">]><plist><string>&a;</string></plist>", Malformed::Doctype),
        ("<!DOCTYPE plist SYSTEM \"x\" [ ]><plist><true/></plist>", Malformed::Doctype),
        ("<!DOCTYPE html><plist><true/></plist>", Malformed::Doctype),
        ("<plist><!DOCTYPE plist><true/></plist>", Malformed::Doctype),
        ("<!ENTITY a \"b\"><true/>", Malformed::Doctype),
        ("<string>&a;</string>", Malformed::Entity),
        ("<string>&averylongentityname;</string>", Malformed::Entity),
        ("<string>&#0;</string>", Malformed::BadCharacter),
        ("<string>&#xD800;</string>", Malformed::BadCharacter),
        ("<string>&#+65;</string>", Malformed::Entity),
    ] {
        assert_eq!(xml(bad), Err(why), "{bad}");
    }
}

#[test]
fn what_is_not_a_property_list_is_refused_with_its_reason() {
    for (bad, why) in [
        (&b""[..], Malformed::Empty),
        (b"{\"a\": 1}", Malformed::NotAPlist),
        (b"\x30\x82\x01\x00\x06\x09", Malformed::SignedEnvelope),
        (b"\xFF\xFE<\0", Malformed::Encoding),
        (b"<string>\xC3\x28</string>", Malformed::Encoding),
        (b"<?xml version=\"1.0\" encoding=\"UTF-16\"?><true/>", Malformed::Encoding),
        (b"<string>a\0b</string>", Malformed::BadCharacter),
        (b"<string>a", Malformed::Syntax),
        (b"<html></html>", Malformed::Syntax),
        (b"<true/><true/>", Malformed::Syntax),
        (b"<plist><true/></plist>x", Malformed::Syntax),
        (b"<array><true/></dict>", Malformed::Syntax),
        (b"<dict><key>a</key></dict>", Malformed::Syntax),
        (b"<dict><string>a</string><true/></dict>", Malformed::Syntax),
        (b"<string>a<!-- b -->c</string>", Malformed::Syntax),
        (b"<dict><key>a</key><true/><key>a</key><false/></dict>", Malformed::DuplicateKey),
        (b"<data>***</data>", Malformed::BadBase64),
        (b"<date>yesterday</date>", Malformed::BadDate),
        (b"<integer>1e3</integer>", Malformed::BadNumber),
        (b"bplist00", Malformed::Reference),
        (b"bplist15________________________________", Malformed::Unsupported),
    ] {
        assert_eq!(parse(bad, MAX), Err(why), "{:?}", String::from_utf8_lossy(bad));
    }
    assert_eq!(parse(b"<true/>", 6), Err(Malformed::TooLarge));
}

#[test]
fn text_is_read_with_its_entities_and_cdata() {
    assert_eq!(text("<string>a &amp; b &lt;&#x1F600;&#233;</string>").unwrap(), "a & b <\u{1F600}\u{e9}");
    assert_eq!(text("<string>a<![CDATA[<&]]>b</string>").unwrap(), "a<&b");
    assert_eq!(text("<string a='>'>x</string >").unwrap(), "x");
    assert_eq!(text("<!-- c --><string>x</string><?p?>").unwrap(), "x");
}

#[test]
fn nesting_is_read_to_the_limit_and_refused_beyond_it_without_using_up_the_stack() {
    let nest = |n: usize| format!("{}{}", "<array>".repeat(n), "</array>".repeat(n));
    assert!(xml(&doc(&nest(MAX_DEPTH))).is_ok());
    assert_eq!(xml(&doc(&nest(MAX_DEPTH + 1))), Err(Malformed::TooDeep));
    assert_eq!(xml(&doc(&"<array>".repeat(60_000))), Err(Malformed::TooDeep));
    assert_eq!(xml(&doc(&"<dict><key>a</key>".repeat(40_000))), Err(Malformed::TooDeep));

    let chain = |n: u16| {
        let mut objects: Vec<_> = (1..n).map(|i| array_of(&[i])).collect();
        objects.push(array_of(&[]));
        bplist(&objects, 0)
    };
    assert!(parse(&chain(MAX_DEPTH as u16), MAX).is_ok());
    assert_eq!(parse(&chain(MAX_DEPTH as u16 + 1), MAX), Err(Malformed::TooDeep));
    assert_eq!(parse(&chain(20_000), MAX), Err(Malformed::TooDeep));
}

#[test]
fn a_cycle_of_references_is_refused() {
    assert_eq!(parse(&bplist(&[array_of(&[0])], 0), MAX), Err(Malformed::TooDeep));
    assert_eq!(parse(&bplist(&[array_of(&[1]), array_of(&[0])], 0), MAX), Err(Malformed::TooDeep));
}

#[test]
fn shared_references_that_blow_up_are_refused() {
    // Ten times ten times … ten: 10^8 values in some 300 bytes.
    let mut objects: Vec<_> = (1..=8).map(|i| array_of(&[i; 10])).collect();
    objects.push(vec![0x09]);
    assert_eq!(parse(&bplist(&objects, 0), MAX), Err(Malformed::TooManyNodes));

    // A string of 60,000 bytes, 60,000 times.
    let mut long = vec![0x5F, 0x11];
    long.extend_from_slice(&60_000u16.to_be_bytes());
    long.extend(std::iter::repeat_n(b'a', 60_000));
    let body = bplist(&[array_of(&vec![1; 60_000]), long], 0);
    assert_eq!(parse(&body, MAX), Err(Malformed::TooLarge));
}

#[test]
fn more_values_than_the_limit_are_refused() {
    let many = doc(&format!("<array>{}</array>", "<true/>".repeat(MAX_NODES)));
    assert_eq!(parse(many.as_bytes(), 8 << 20), Err(Malformed::TooManyNodes));
}

#[test]
fn offsets_and_sizes_that_leave_the_file_are_refused() {
    let good = bplist(&[array_of(&[1]), vec![0x09]], 0);
    assert!(parse(&good, MAX).is_ok());
    let end = good.len();
    for (at, value) in
        [(end - 1, 0xFF), (end - 9, 0x7F), (end - 17, 0xFF), (end - 24, 0xFF), (end - 26, 9), (end - 25, 0)]
    {
        let mut bad = good.clone();
        bad[at] = value;
        assert_eq!(parse(&bad, MAX), Err(Malformed::Reference), "byte {at}");
    }
    // An array that claims 2^63 items; a string that claims 2^32 bytes.
    let huge = [0xAF, 0x13, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF].to_vec();
    assert_eq!(parse(&bplist(&[huge], 0), MAX), Err(Malformed::Reference));
    let huge = [0x5F, 0x12, 0xFF, 0xFF, 0xFF, 0xFF].to_vec();
    assert_eq!(parse(&bplist(&[huge], 0), MAX), Err(Malformed::Reference));
}

#[test]
fn kinds_of_value_that_no_message_has_are_refused() {
    for object in [vec![0x00], vec![0x0F], vec![0x80, 1]] {
        assert_eq!(parse(&bplist(&[object], 0), MAX), Err(Malformed::Unsupported));
    }
    assert_eq!(parse(&bplist(&[vec![0x33, 0x7F, 0xF0, 0, 0, 0, 0, 0, 0]], 0), MAX), Err(Malformed::BadDate));
    assert_eq!(parse(&bplist(&[vec![0x61, 0xD8, 0x00]], 0), MAX), Err(Malformed::Encoding));
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        "[ -~\u{e9}\u{1F600}]{0,12}".prop_map(Value::String),
        any::<bool>().prop_map(Value::Boolean),
        any::<i64>().prop_map(|i| Value::Integer(i.into())),
        any::<u64>().prop_map(|i| Value::Integer(i.into())),
        (-1e9..1e9f64).prop_map(Value::Real),
        proptest::collection::vec(any::<u8>(), 0..80).prop_map(Value::Data),
        (-4_000_000_000i64..4_000_000_000).prop_map(|s| into_value(Node::Date(s * 1000))),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::Array),
            proptest::collection::btree_map("[a-zA-Z &<]{0,9}", inner, 0..20)
                .prop_map(|m| Value::Dictionary(m.into_iter().collect())),
        ]
    })
}

fn written(value: &Value, binary: bool) -> Vec<u8> {
    let mut out = Vec::new();
    if binary { value.to_writer_binary(&mut out) } else { value.to_writer_xml(&mut out) }.unwrap();
    out
}

/// Changes, doubles or removes a few bytes.
fn mutate(mut body: Vec<u8>, changes: &[(u16, u8, u8)]) -> Vec<u8> {
    for (at, kind, byte) in changes {
        let at = usize::from(*at) % body.len().max(1);
        match kind % 4 {
            0 if at < body.len() => body[at] = *byte,
            1 => body.insert(at, *byte),
            2 if at < body.len() => drop(body.remove(at)),
            _ => body.truncate(at),
        }
    }
    body
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_another_writer_wrote_reads_back_equal(value in values(), binary: bool) {
        let body = written(&value, binary);
        prop_assert_eq!(parse(&body, MAX), Ok(value));
    }

    #[test]
    fn what_we_write_reads_back_equal_and_writes_the_same_bytes(value in values()) {
        let body = write(&value).unwrap();
        let again = parse(&body, MAX).unwrap();
        prop_assert_eq!(write(&again).unwrap(), body);
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..300), binary: bool) {
        let body = if binary { [b"bplist00".to_vec(), body].concat() } else { body };
        let _ = parse(&body, MAX);
    }

    #[test]
    fn of_a_damaged_list_we_read_what_another_parser_reads_or_refuse_it(
        value in values(),
        binary: bool,
        changes in proptest::collection::vec(any::<(u16, u8, u8)>(), 1..4),
    ) {
        let body = mutate(written(&value, binary), &changes);
        if let (Ok(ours), Ok(theirs)) = (parse(&body, MAX), Value::from_reader(std::io::Cursor::new(&body))) {
            // NaN differs from itself; fractions of a second are cut here.
            let plain = format!("{ours:?}");
            if !plain.contains("NaN") && !plain.contains("Date") {
                prop_assert_eq!(ours, theirs);
            }
        }
    }
}
