//! Holders' cards: made anew, and told so that whoever hands them out knows whose each is.

use std::collections::BTreeMap;

use clap::Args;
use model::{EnrolmentId, OrderId};
use order::{HolderCardsAnswer, OpenAnswer, OrderKind};
use serde_json::json;

use super::desk::Desk;
use super::devices::Device;
use super::failure::{CliError, Result, failed};
use super::place::{Draft, opened, send_order};
use super::{devices, show};

/// The sealed field of a holder's name.
const NAME: &str = "Holder.Name";

#[derive(Debug, Args)]
pub(crate) struct HolderCard {
    /// Enrolment ids, or their first 6 digits or more; at most 100.
    #[arg(required = true)]
    ids: Vec<String>,
    /// Leave the holders' names off the cards: opening them is written down, and counts as an opening a phone.
    #[arg(long)]
    no_names: bool,
    /// Why; no names here.
    #[arg(long, default_value = "a new holder's card is wanted")]
    reason: String,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

pub(crate) fn make(desk: &Desk, wanted: HolderCard) -> Result<()> {
    let phones = devices::find_all(desk, &wanted.ids)?;
    let mut beside = devices::labels(&phones);
    if !wanted.no_names {
        beside.warnings.push(format!(
            "{} for the cards, each by an order of its own; --no-names leaves them off",
            if phones.len() == 1 { "its holder's name is opened" } else { "their holders' names are opened" }
        ));
    }
    let placed = Draft::new(OrderKind::HolderCards, &wanted.reason)
        .to(phones.iter().map(|p| p.enrolment).collect())
        .beside(beside)
        .place(desk, wanted.yes)?;
    let made: HolderCardsAnswer = opened(&placed)?;
    // The cards are made: what goes wrong from here on may not keep them from being shown.
    let (names, why_not) = match wanted.no_names {
        true => (BTreeMap::new(), None),
        false => names_of(desk, &phones, placed.order),
    };
    let address = address(desk);
    if desk.reach.json {
        let cards: Vec<_> = made
            .cards
            .iter()
            .map(|c| {
                json!({
                    "enrolment": c.enrolment, "holder_code": c.code, "holder": names.get(&c.enrolment),
                    "address": address, "call": made.call,
                })
            })
            .collect();
        return show::print_json(
            &json!({ "order": placed.order, "position": placed.position, "cards": cards }),
        );
    }
    let mut out = String::new();
    for card in &made.cards {
        let phone = phones.iter().find(|p| p.enrolment == card.enrolment);
        let name = names.get(&card.enrolment).map(String::as_str);
        out.push_str(&card_in_words(
            &whose(name, phone, &card.enrolment),
            &card.code,
            &address,
            made.call.as_deref(),
        ));
        out.push('\n');
    }
    show::print(&out)?;
    if let Some(why) = why_not {
        eprintln!("matron: the cards are good, and not every holder's name could be opened for them: {why}");
    }
    eprintln!(
        "{} for its phone's holder alone, kept apart from the phone. Nobody can show it again.",
        if made.cards.len() == 1 { "It is" } else { "Each is" }
    );
    Ok(())
}

/// Each holder's name by an order of its own, and what went wrong first: then nothing more is asked.
fn names_of(
    desk: &Desk,
    phones: &[Device],
    cards: OrderId,
) -> (BTreeMap<EnrolmentId, String>, Option<CliError>) {
    let mut names = BTreeMap::new();
    let reason = format!("to print the holder's card of order {cards}");
    for phone in phones {
        let name = (|| {
            let kind = OrderKind::Open { fields: vec![NAME.into()] };
            let placed = send_order(desk, &Draft::new(kind, &reason).to(vec![phone.enrolment]).sign(desk)?)?;
            let answer: OpenAnswer = opened(&placed)?;
            let found = answer.fields.into_iter().find(|f| f.enrolment == phone.enrolment && f.name == NAME);
            let found = found.map(|f| String::from_utf8(f.value)).transpose();
            found.map_err(|_| failed("a holder's name is no text"))
        })();
        match name {
            Ok(Some(name)) => drop(names.insert(phone.enrolment, name)),
            Ok(None) => {}
            Err(e) => return (names, Some(e)),
        }
    }
    (names, None)
}

/// Whose card it is: the holder, the model and the home group, and the phone's id at the end.
fn whose(name: Option<&str>, phone: Option<&Device>, enrolment: &EnrolmentId) -> String {
    let mut words: Vec<String> = name.map(str::to_owned).into_iter().collect();
    if let Some(p) = phone {
        words.extend(devices::model_of(p));
        words.push(p.group.clone());
    }
    let id: String = enrolment.to_string().chars().take(12).collect();
    words.push(format!("phone {id}"));
    words.join(", ")
}

/// Where a holder goes with the code, at the address by which this command reaches the server.
pub(crate) fn address(desk: &Desk) -> String {
    format!("{}/my-phone", desk.client.server().trim_end_matches('/'))
}

/// A card, to be copied or printed. The address with the code behind its `#` is what a camera may open: no server sees it.
pub(crate) fn card_in_words(whose: &str, code: &str, address: &str, call: Option<&str>) -> String {
    let here = if super::http::is_loopback_url(address) {
        "  (at an address of this computer alone: give holders the one of the ward's computers)"
    } else {
        ""
    };
    let mut out = format!("Holder's card: {}\n", show::line(whose));
    let mut say = |key: &str, value: &str| out.push_str(&format!("  {key:<8} {}\n", show::line(value)));
    say("code", code);
    say("address", &format!("{address}{here}"));
    say("link", &format!("{address}#{code}"));
    say("call", call.unwrap_or("the service desk (the configuration has no organization_phone)"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_says_whose_it_is_where_to_go_and_whom_to_call() {
        let id = EnrolmentId([0xab; 16]);
        let told = card_in_words(
            &whose(Some("Grace Example"), None, &id),
            "abcd-efgh-ijkm-npqr-2345",
            "https://matron.example.org:8444/my-phone",
            Some("020 7946 0123"),
        );
        insta::assert_snapshot!(told);
        let plain = card_in_words("x\u{1b}[2J", "c", "http://127.0.0.1:8444/my-phone", None);
        assert!(plain.contains("of this computer alone") && plain.contains("the service desk"), "{plain}");
        assert!(!plain.contains('\u{1b}'));
    }
}
