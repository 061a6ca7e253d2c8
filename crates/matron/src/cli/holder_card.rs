//! New holder's cards.

use clap::Args;
use order::{HolderCardsAnswer, OrderKind};
use serde_json::json;

use super::desk::Desk;
use super::failure::Result;
use super::place::{Draft, opened};
use super::{devices, invite, show};

#[derive(Debug, Args)]
pub(crate) struct HolderCard {
    /// Enrolment ids, or their first 6 digits or more; at most 100.
    #[arg(required = true)]
    ids: Vec<String>,
    /// Why; no names here.
    #[arg(long, default_value = "a new holder's card is wanted")]
    reason: String,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

pub(crate) fn make(desk: &Desk, wanted: HolderCard) -> Result<()> {
    let phones = devices::find_all(desk, &wanted.ids)?;
    let placed = Draft::new(OrderKind::HolderCards, &wanted.reason)
        .to(phones.iter().map(|p| p.enrolment).collect())
        .beside(devices::labels(&phones))
        .place(desk, wanted.yes)?;
    let made: HolderCardsAnswer = opened(&placed)?;
    if desk.reach.json {
        let cards: Vec<_> =
            made.cards.iter().map(|c| json!({ "enrolment": c.enrolment, "holder_code": c.code })).collect();
        return show::print_json(
            &json!({ "order": placed.order, "position": placed.position, "cards": cards }),
        );
    }
    let rows = made.cards.iter().map(|c| vec![c.enrolment.to_string(), show::line(&c.code)]);
    show::print(&show::table(&["ENROLMENT", "HOLDER'S CODE"], rows))?;
    match made.cards.as_slice() {
        [one] => eprintln!("{}", invite::card_in_words(&one.code)),
        _ => eprintln!(
            "Each code is for its phone's holder alone, kept apart from the phone. Nobody can show it again."
        ),
    }
    Ok(())
}
