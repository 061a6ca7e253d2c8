//! An alarm in the words of those who get it: JSON, and a line of syslog.

use jiff::Timestamp;
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
    fn the_json_names_the_alarm_and_what_is_not_known_is_null() {
        let value = message("x").json();
        assert_eq!(value["type"], "alarm.person_added");
        assert_eq!(value["data"]["id"], format!("alarm_{}", "ab".repeat(16)));
        assert!(value["data"]["enrolment"].is_null());
    }
}
