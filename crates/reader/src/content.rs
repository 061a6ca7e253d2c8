//! A report's content: its kind, its tag, its apps, its rows.

use apple::message::{Field, FieldValue};
use apple::report::{Answer, Item, Report};
use model::Compartment;
use rpc::proto;

use crate::fields::{Sealing, list_json, plain_text};
use crate::reason::Refusal;

/// What moves by itself and is worth no write; see the crate's page.
const VOLATILE: &[&str] = &["AvailableDeviceCapacity", "DevicePropertiesAttestation", "DynamicSize"];

/// The kind of an error chain that came without any other answer.
const ERROR_CHAIN: &str = "ErrorChain";

/// The content of a report; `None` when it says no more than a status.
pub(crate) fn content(
    report: &Report,
    sealing: &mut Sealing<'_>,
) -> Result<Option<proto::ReportContent>, Refusal> {
    let kind = match report.answer {
        Answer::Nothing if report.fields.is_empty() => return Ok(None),
        Answer::Nothing => ERROR_CHAIN,
        Answer::DeviceInformation => "DeviceInformation",
        Answer::SecurityInfo => "SecurityInfo",
        Answer::InstalledApplicationList => "InstalledApplicationList",
        Answer::ManagedApplicationList => "ManagedApplicationList",
        Answer::ProfileList => "ProfileList",
        Answer::CertificateList => "CertificateList",
        Answer::DeviceLocation => "DeviceLocation",
        Answer::AvailableOSUpdates => "AvailableOSUpdates",
        Answer::OSUpdateStatus => "OSUpdateStatus",
        Answer::Restrictions => "Restrictions",
        Answer::ActivationLockBypassCode => "ActivationLockBypassCode",
        Answer::ManagedApplicationConfiguration => "ManagedApplicationConfiguration",
        Answer::ManagedApplicationFeedback => "ManagedApplicationFeedback",
        Answer::ManagedApplicationAttributes => "ManagedApplicationAttributes",
        Answer::Other => "Other",
    };
    let items = normalised_items(&report.items);
    let mut same = normalised(&report.fields);
    push_run(&mut same, &items);
    let change_tag = sealing.tags.tag(&sealing.enrolment, &format!("report/{kind}"), &same).to_vec();

    let mut sorted = sealing.sort(&report.fields)?;
    let mut apps = Vec::new();
    if is_list(report.answer) {
        let list = list_json(&report.items);
        sorted.sealed.push(sealing.row(kind, Compartment::Other, list.as_bytes(), &items, String::new())?);
        if matches!(report.answer, Answer::InstalledApplicationList | Answer::ManagedApplicationList) {
            apps = report.items.iter().filter_map(app).collect();
            apps.sort_unstable_by(|a, b| a.identifier.cmp(&b.identifier));
        }
    }
    Ok(Some(proto::ReportContent {
        kind: kind.to_owned(),
        change_tag,
        clear: sorted.clear,
        sealed: sorted.sealed,
        apps,
    }))
}

fn is_list(answer: Answer) -> bool {
    matches!(
        answer,
        Answer::InstalledApplicationList
            | Answer::ManagedApplicationList
            | Answer::ProfileList
            | Answer::CertificateList
    )
}

/// An app as a list may show it. An identifier that looks like none stays in the sealed list alone.
fn app(item: &Item) -> Option<proto::App> {
    let word = |name: &str| {
        let text = item.find(name).and_then(FieldValue::as_text).unwrap_or_default();
        if plain_text(text) { text.to_owned() } else { String::new() }
    };
    let identifier = word("Identifier");
    let fits = !identifier.is_empty()
        && identifier.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    // Apple's words for it are letters alone; a managed app's list has them.
    let status = word("Status");
    let status = if status.bytes().all(|b| b.is_ascii_alphabetic()) { status } else { String::new() };
    fits.then(|| proto::App {
        identifier,
        version: word("Version"),
        short_version: word("ShortVersion"),
        status,
    })
}

/// The links of the error chain: codes, and domains that look like one. A code that is none of Apple's
/// (absent, or beyond 64 bits) is 0.
pub(crate) fn errors(report: &Report) -> Vec<proto::ErrorLink> {
    report
        .error_chain
        .iter()
        .take(MAX_ERRORS)
        .map(|link| proto::ErrorLink {
            code: link.code.unwrap_or_default(),
            domain: link.domain.as_deref().filter(|d| is_domain(d)).unwrap_or_default().to_owned(),
        })
        .collect()
}

/// More links than any phone sends; the sealed row has them all.
const MAX_ERRORS: usize = 32;

fn is_domain(text: &str) -> bool {
    text.len() <= 128 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

fn push_run(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Fields in one order and one encoding, without the volatile ones: equal for equal content, whatever the
/// order or form in which it came.
fn normalised(fields: &[Field]) -> Vec<u8> {
    let volatile = |f: &&Field| !VOLATILE.contains(&f.name.split('.').next().unwrap_or_default());
    let mut sorted: Vec<&Field> = fields.iter().filter(volatile).collect();
    sorted.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let mut out = Vec::with_capacity(sorted.len() * 48);
    for field in sorted {
        push_run(&mut out, field.name.as_bytes());
        push_run(&mut out, &field.value.encode());
    }
    out
}

fn normalised_items(items: &[Item]) -> Vec<u8> {
    let mut runs: Vec<Vec<u8>> = items.iter().map(|i| normalised(&i.fields)).collect();
    runs.sort_unstable();
    let mut out = Vec::with_capacity(runs.iter().map(|r| r.len() + 8).sum());
    for run in &runs {
        push_run(&mut out, run);
    }
    out
}
