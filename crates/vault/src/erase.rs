//! Erasing a person: the order is written first, then the key is destroyed, and only then anyone is told.
//! A vault that died in between finishes it at its next start.

use ledger::Effect;
use model::DataSubject;
use order::{Order, Refusal};

use crate::chamber::Chamber;
use crate::submit::Consequence;

impl Chamber {
    pub(crate) fn erase_person(
        &mut self,
        order: &Order,
        subject: DataSubject,
        despite_enrolled: bool,
    ) -> Result<Consequence, Refusal> {
        if !order.targets.is_empty() {
            return Err(Refusal::BadArgument);
        }
        if self.state.erased.contains(&subject) {
            return Err(Refusal::NothingToErase);
        }
        match subject {
            DataSubject::Person(person) => {
                let person = self.state.people.get(&person).ok_or(Refusal::NothingToErase)?;
                if person.present {
                    return Err(Refusal::PersonStillHere);
                }
            }
            DataSubject::Holder(enrolment) => {
                let e = self.state.enrolments.get(&enrolment).ok_or(Refusal::UnknownEnrolment)?;
                if e.is_under_management(self.now_ms) && !despite_enrolled {
                    return Err(Refusal::StillEnrolled);
                }
            }
        }
        Ok(Consequence::of(Effect::PersonErased { subject }))
    }
}
