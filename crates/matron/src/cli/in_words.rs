//! An order in words, decoded from the very bytes that are signed.

use order::{BytesError, Order, OrderKind, SignedOrder};
use words::{outline, what};

use super::place::Beside;
use super::show::{count, line, span, time};

/// The most phones that are named one by one.
const NAMED_PHONES: usize = 20;

/// The order in words, for a person who is about to send it.
pub(crate) fn order_in_words(signed: &SignedOrder, beside: &Beside) -> Result<String, BytesError> {
    let order: Order = order::decode(&signed.order)?;
    let mut out = format!("Order {}\n", order.id);
    let mut say = |key: &str, value: &str| out.push_str(&format!("  {key:<9}{}\n", line(value)));
    say("what", &what(&order.kind));
    for told in outline::inside(&order).iter().chain(&beside.inside) {
        say("", told);
    }
    if !order.targets.is_empty() {
        let to = if matches!(order.kind, OrderKind::SaveDeviceGroup { .. }) { "lists" } else { "to" };
        say(to, &count(order.targets.len() as u64, "phone"));
        for t in order.targets.iter().take(NAMED_PHONES) {
            let label = beside.labels.get(t).map(|l| format!("  {l}")).unwrap_or_default();
            say("", &format!("{t}{label}"));
        }
        if order.targets.len() > NAMED_PHONES {
            say("", &format!("and {} more", order.targets.len() - NAMED_PHONES));
        }
    }
    for (name, value) in &beside.sealed {
        say("sealed", &format!("{name}: {value}"));
    }
    say("why", &order.reason);
    let keys: Vec<_> = signed.signatures.iter().map(|s| s.key.to_string()).collect();
    say("by", &format!("key {}", keys.join(", ")));
    let life = span(order.expires_at_ms - order.made_at_ms);
    say("until", &format!("{} ({life})", time(order.expires_at_ms)));
    for w in &beside.warnings {
        say("WARNING", w);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Command, EnrolmentId, OrderId};
    use order::{Ed25519Secret, X25519Public};

    fn signed(kind: OrderKind, targets: usize) -> SignedOrder {
        let key = Ed25519Secret::from_seed([1; 32]).unwrap();
        let order = Order {
            version: 1,
            id: OrderId([0xaa; 16]),
            kind,
            targets: (0..targets).map(|n| EnrolmentId([u8::try_from(n).unwrap(); 16])).collect(),
            reason: "lost on the bus".into(),
            made_at_ms: 0,
            expires_at_ms: 7 * model::clock::DAY_MS,
            answer_key: X25519Public([9; 32]),
            sealed_digest: None,
            outline: None,
        };
        SignedOrder::sign(&order, &key)
    }

    #[test]
    fn the_words_are_those_of_the_bytes_that_are_signed() {
        let lock = signed(OrderKind::Command { command: Command::DeviceLock }, 2);
        let beside = Beside {
            inside: vec!["beside its own words".into()],
            sealed: vec![("message", "Please call the service desk".into())],
            labels: [(EnrolmentId([0; 16]), "ward-7, iPhone14,5".to_owned())].into(),
            warnings: vec!["counts as erasure".into()],
        };
        // The time's text depends on the zone of this machine.
        let text = order_in_words(&lock, &beside).unwrap();
        let text: String =
            text.lines().filter(|l| !l.starts_with("  until")).map(|l| format!("{l}\n")).collect();
        insta::assert_snapshot!(text);
        let restart = signed(OrderKind::Command { command: Command::RestartDevice { notify_user: true } }, 2);
        let swapped = SignedOrder { order: restart.order, ..lock };
        assert!(order_in_words(&swapped, &beside).unwrap().contains("restart, asking its user first"));
    }

    #[test]
    fn many_phones_are_counted_and_the_first_are_named() {
        let lock = signed(OrderKind::Command { command: Command::DeviceLock }, 50);
        let text = order_in_words(&lock, &Beside::default()).unwrap();
        assert!(text.contains("50 phones") && text.contains("and 30 more"));
        assert!(text.contains(&"05".repeat(16)));
    }

    #[test]
    fn bytes_that_are_no_order_have_no_words() {
        let lock = signed(OrderKind::Command { command: Command::DeviceLock }, 1);
        let cut = SignedOrder { order: lock.order.get(..20).unwrap().to_vec(), ..lock };
        assert!(order_in_words(&cut, &Beside::default()).is_err());
    }

    #[test]
    fn a_reason_does_not_steer_the_terminal() {
        let mut order: Order = order::decode(&signed(OrderKind::WithdrawInvitation, 1).order).unwrap();
        order.reason = "fine\u{1b}[2K\nto 0 phones".into();
        let key = Ed25519Secret::from_seed([1; 32]).unwrap();
        let text = order_in_words(&SignedOrder::sign(&order, &key), &Beside::default()).unwrap();
        assert!(!text.contains('\u{1b}') && !text.contains("\nto 0"));
    }
}
