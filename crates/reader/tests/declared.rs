//! Declarative management through the reader: what the door learns, what core learns, what is sealed.

// Tests may fail loudly; clippy knows as tests only what stands under #[test].
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod house;

use base64::Engine as _;
use house::{House, PHONE, Running, UDID, plist, refusal, texts};
use model::Compartment;
use prost::Message;
use rpc::proto::observed::What as Said;
use rpc::proto::read_reply::What;
use rpc::proto::read_request::What as Asked;
use rpc::proto::{DeviceBody, Observed, ReadReply, StatusReport};

fn declarative(endpoint: &str, data: Option<&str>) -> String {
    let head = texts(&[("MessageType", "DeclarativeManagement"), ("UDID", UDID), ("Endpoint", endpoint)]);
    let data = data.map(|d| {
        let text = base64::engine::general_purpose::STANDARD.encode(d);
        format!("<key>Data</key><data>{text}</data>")
    });
    plist(&(head + &data.unwrap_or_default()))
}

async fn reply(reader: &mut Running, body: String) -> ReadReply {
    let content_type = "application/x-apple-aspen-mdm-checkin".to_owned();
    let body = body.into_bytes().into();
    reader.reply(&PHONE.0, Asked::Device(DeviceBody { content_type, body, ..DeviceBody::default() })).await
}

async fn status(reader: &mut Running, data: &str) -> StatusReport {
    match reader.observed(declarative("status", Some(data))).await.0.what {
        Some(Said::StatusReport(report)) => report,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_request_for_declarations_tells_the_door_where_it_was_asked() {
    let house = House::new();
    let mut reader = house.start().await;
    for endpoint in ["tokens", "declaration-items", "declaration/configuration/org.example.passcode"] {
        let reply = reply(&mut reader, declarative(endpoint, None)).await;
        assert_eq!(reply.endpoint[..], order::sha256(endpoint.as_bytes()).0, "{endpoint}");
        let Some(What::Observed(bytes)) = reply.what else { panic!("{endpoint}") };
        let Some(Said::DeclarationsAsked(asked)) = Observed::decode(bytes).unwrap().what else { panic!() };
        assert_eq!(asked.endpoint, endpoint);
    }
    for bad in ["declaration/asset/Mary Example", "declaration/other/a", "declaration/a", "token"] {
        let reply = reply(&mut reader, declarative(bad, None)).await;
        assert!(reply.endpoint.is_empty());
        assert_eq!(refusal(reply.what.unwrap()).0, 400, "{bad}");
    }
    let idle = plist(&texts(&[("Status", "Idle"), ("UDID", UDID)]));
    assert!(reply(&mut reader, idle).await.endpoint.is_empty());
    reader.stop().await;
}

#[tokio::test]
async fn a_status_report_is_split_into_what_is_listed_and_what_is_sealed() {
    const REPORT: &str = r#"{"StatusItems": {
        "device": {"operating-system": {"version": "18.1"}, "identifier": {"serial-number": "C7CTEST001"}},
        "account": {"list": {"caldav": [{"identifier": "mary", "username": "mary.example", "hostname": "h"}]}},
        "mdm": {"app": [{"identifier": "org.example.rota", "name": "Mary's rota", "version": "1.2",
                         "short-version": "1", "state": "managed"},
                        {"identifier": "org.example.gone", "_removed": true}]},
        "unheard-of": {"Mary Example": "x"},
        "management": {"declarations": {"configurations": [
            {"identifier": "passcode", "server-token": "x", "active": true, "valid": "valid"}]}}
    }, "Errors": [], "FullReport": true}"#;
    let house = House::new();
    let mut reader = house.start().await;
    let report = status(&mut reader, REPORT).await;
    assert!(report.full && report.declared);
    let [clear] = &report.clear[..] else { panic!("{:?}", report.clear) };
    assert_eq!((clear.name.as_str(), clear.value.as_str()), ("device.operating-system.version", "\"18.1\""));
    let opened = house.open(&report.sealed);
    let sealed = |start: &str| {
        let row = report.sealed.iter().find(|s| s.name.starts_with(start)).unwrap();
        let value = String::from_utf8(opened[&row.name].clone()).unwrap();
        (row.name.clone(), row.compartment, value)
    };
    let (_, compartment, serial) = sealed("device.identifier.serial-number");
    assert_eq!((compartment, serial.as_str()), (u32::from(Compartment::Hardware.number()), "C7CTEST001"));
    let (account, compartment, value) = sealed("account.list.caldav.");
    assert_eq!(compartment, u32::from(Compartment::Identity.number()));
    assert!(value.contains("mary.example"));
    assert_eq!(sealed("status.").2, "x");
    let apps: Vec<_> = report.apps.iter().map(|a| (a.app.clone().unwrap().identifier, a.removed)).collect();
    assert_eq!(apps, [("org.example.rota".to_owned(), false), ("org.example.gone".to_owned(), true)]);
    assert_eq!(report.removed.len(), 1);
    assert_eq!((report.declarations[0].valid, report.declarations[0].token.len()), (2, 0));
    let text = format!("{report:?}");
    assert!(!text.to_lowercase().contains("mary") && !text.contains("C7CTEST001"));
    // The same element has the same row's name in the next report, and is gone by it.
    const GONE: &str =
        r#"{"StatusItems": {"account": {"list": {"caldav": [{"identifier": "mary", "_removed": true}]}}}}"#;
    let next = status(&mut reader, GONE).await;
    assert_eq!((next.removed, next.full, next.declared), (vec![account], false, false));
    let refused = reader.refused(declarative("status", Some("{"))).await;
    assert_eq!(refused, (400, "not_json".to_owned()));
    assert_eq!(reader.refused(declarative("status", None)).await.0, 400);
    reader.stop().await;
}
