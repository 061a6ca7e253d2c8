//! An alarm in the words of those who get it: JSON, a line of syslog, a mail.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use rpc::alarm::Alarm;
use serde_json::{Value, json};

/// An alarm as it is sent.
pub(super) struct Message {
    pub(super) alarm: Alarm,
    pub(super) sender: String,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl Message {
    /// The same for each try, so that a receiver knows an alarm that came twice.
    pub(super) fn id(&self) -> String {
        format!("alarm_{}", hex(&self.alarm.id))
    }

    /// RFC 3339, UTC.
    fn at(&self) -> String {
        Timestamp::from_millisecond(self.alarm.at_ms).map_or_else(|_| "-".into(), |t| t.to_string())
    }

    /// The JSON body.
    pub(super) fn json(&self) -> Value {
        let a = &self.alarm;
        json!({
            "type": format!("alarm.{}", a.kind.word()),
            "timestamp": self.at(),
            "data": {
                "id": self.id(),
                "sender": self.sender,
                "kind": a.kind.word(),
                "grave": a.kind.is_grave(),
                "text": a.kind.sentence(),
                "count": a.count,
                "enrolment": a.enrolment.map(|e| e.to_string()),
                "person": a.person.map(|p| p.to_string()),
                "order": a.order.map(|o| o.to_string()),
                "refusal": a.refusal,
                "lost_before": a.lost_before,
            },
        })
    }

    /// One message of RFC 5424, framed as RFC 5425 has it: its length in octets, a space, the message.
    pub(super) fn syslog_frame(&self) -> Vec<u8> {
        // Facility 10: security and authorisation. Severity 1 (alert) or 5 (notice).
        let priority = 10 * 8 + if self.alarm.kind.is_grave() { 1 } else { 5 };
        let host: String = self.sender.chars().filter(|c| c.is_ascii_graphic()).take(255).collect();
        let host = if host.is_empty() { "-".to_owned() } else { host };
        let line = format!(
            "<{priority}>1 {} {host} matron - {} - {}",
            self.at(),
            self.alarm.kind.word(),
            self.json()
        );
        format!("{} {line}", line.len()).into_bytes()
    }

    /// A mail (RFC 5322) in ASCII, CRLF at each line's end. The same alarm has the same `Message-ID` at each try.
    pub(super) fn mail(&self, from: &str, to: &[String]) -> String {
        let (a, grave) = (&self.alarm, self.alarm.kind.is_grave());
        let date = Timestamp::from_millisecond(a.at_ms).ok();
        let date = date.and_then(|t| DateTimePrinter::new().timestamp_to_string(&t).ok());
        let host: String =
            self.sender.chars().filter(|c| c.is_ascii_graphic() && *c != '@').take(255).collect();
        let host = if host.is_empty() { "localhost".to_owned() } else { host };
        let (word, weight) = (a.kind.word(), if grave { "ALARM" } else { "notice" });
        let mut lines = vec![format!("From: Matron <{from}>"), format!("To: {}", to.join(",\r\n "))];
        lines.extend(date.map(|d| format!("Date: {d}")));
        lines.extend([
            format!("Message-ID: <{}@{host}>", self.id()),
            format!("Subject: {weight} {word} ({host})"),
            "Auto-Submitted: auto-generated".into(),
            format!("Importance: {}", if grave { "high" } else { "normal" }),
            "MIME-Version: 1.0".into(),
            "Content-Type: text/plain; charset=us-ascii".into(),
            String::new(),
            a.kind.sentence().to_owned(),
            String::new(),
        ]);
        let row = |name: &str, value: Option<String>| value.map(|v| format!("{name:<12} {v}"));
        let several = |n: u64, least: u64| (n >= least).then(|| n.to_string());
        lines.extend(
            [
                row("house", Some(host)),
                row("kind", Some(word.to_owned())),
                row("when", Some(self.at())),
                row("count", several(a.count, 2)),
                row("enrolment", a.enrolment.map(|e| e.to_string())),
                row("person", a.person.map(|p| p.to_string())),
                row("order", a.order.map(|o| o.to_string())),
                row("refusal", a.refusal.map(|r| r.to_string())),
                row("lost before", several(a.lost_before, 1)),
                row("id", Some(self.id())),
            ]
            .into_iter()
            .flatten(),
        );
        lines.push(String::new());
        lines.push("No alarm says a name. What happened stands in the ledger: matron ledger tail".into());
        lines.push(String::new());
        lines.join("\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rpc::alarm::AlarmKind;

    fn message(sender: &str) -> Message {
        let alarm = Alarm::new([0xab; 16], AlarmKind::PersonAdded, 1_800_000_000_123);
        Message { alarm, sender: sender.into() }
    }

    #[test]
    fn a_syslog_frame_says_its_length_in_octets() {
        let frame = String::from_utf8(message("mdm.example.org").syslog_frame()).unwrap();
        let (length, line) = frame.split_once(' ').unwrap();
        assert_eq!(length.parse::<usize>().unwrap(), line.len());
        assert!(
            line.starts_with("<81>1 2027-01-15T08:00:00.123Z mdm.example.org matron - person_added - {"),
            "{line}"
        );
        assert!(message("a b\n").syslog_frame().windows(4).any(|w| w == b" ab "));
    }

    #[test]
    fn a_mail_of_any_kind_is_ascii_in_short_lines_and_says_what_happened() {
        let to = ["a@example.org".to_owned(), "b@example.org".to_owned()];
        for kind in AlarmKind::ALL {
            let mut message = message("mdm.example.org");
            message.alarm = Alarm { count: 7, ..Alarm::new([1; 16], *kind, 1_800_000_000_123) };
            let mail = message.mail("matron@example.org", &to);
            assert!(mail.is_ascii() && mail.ends_with("\r\n"), "{mail}");
            assert!(!mail.replace("\r\n", "").contains(['\r', '\n']), "{mail}");
            assert!(mail.split("\r\n").all(|line| line.len() <= 200), "{mail}");
            let (head, body) = mail.split_once("\r\n\r\n").unwrap();
            assert!(head.contains("\r\nDate: Fri, 15 Jan 2027 08:00:00 -0000\r\n"), "{head}");
            assert!(head.contains(&format!("Message-ID: <{}@mdm.example.org>", message.id())), "{head}");
            assert!(head.contains("To: a@example.org,\r\n b@example.org\r\n"), "{head}");
            assert_eq!(head.contains("Importance: high"), kind.is_grave());
            assert!(body.starts_with(kind.sentence()) && body.contains("count        7"), "{body}");
        }
    }

    #[test]
    fn a_senders_name_adds_no_header_and_no_line() {
        let mail = message("a\r\nBcc: x@y\r\n\r\nz").mail("m@example.org", &["a@example.org".into()]);
        assert!(!mail.contains("\nBcc:") && !mail.contains("\nz"), "{mail}");
    }

    #[test]
    fn the_json_names_the_alarm_and_what_is_not_known_is_null() {
        let value = message("x").json();
        assert_eq!(value["type"], "alarm.person_added");
        assert_eq!(value["data"]["id"], format!("alarm_{}", "ab".repeat(16)));
        assert!(value["data"]["enrolment"].is_null());
    }
}
