//! Device groups: who may save one is `order::roles`; here is what one may be. The vault keeps names and who saved what
//! last, and never looks which phones a rule holds: an order that does something names its phones one by one.

use ledger::Effect;
use model::{DeviceGroupDefinition, DeviceGroupId, DeviceGroupName, OrderId};
use order::{Order, Refusal};

use crate::chamber::Chamber;
use crate::submit::Consequence;

/// So many stand at once: people choose from a list.
pub(crate) const MOST_DEVICE_GROUPS: usize = 200;

/// A device group that stands.
#[derive(Debug, Clone)]
pub(crate) struct DeviceGroup {
    /// The order that saved it last.
    pub(crate) saved_by: OrderId,
    pub(crate) name: DeviceGroupName,
}

impl Chamber {
    pub(crate) fn save_device_group(
        &self,
        order: &Order,
        group: DeviceGroupId,
        replaces: Option<OrderId>,
        name: &DeviceGroupName,
        definition: &DeviceGroupDefinition,
    ) -> Result<Consequence, Refusal> {
        let all = &self.state.device_groups;
        match (all.get(&group), replaces) {
            (None, None) if all.len() >= MOST_DEVICE_GROUPS => return Err(Refusal::TooManyDeviceGroups),
            (None, None) => {}
            (None, Some(_)) => return Err(Refusal::NoSuchDeviceGroup),
            (Some(stands), Some(replaces)) if stands.saved_by == replaces => {}
            (Some(_), _) => return Err(Refusal::DeviceGroupChanged),
        }
        let folded = name.folded();
        if all.iter().any(|(id, g)| *id != group && g.name.folded() == folded) {
            return Err(Refusal::DeviceGroupNameTaken);
        }
        match definition {
            DeviceGroupDefinition::Rule(rule) if !rule.is_sound() || !order.targets.is_empty() => {
                return Err(Refusal::BadArgument);
            }
            DeviceGroupDefinition::List if order.targets.is_empty() => return Err(Refusal::BadArgument),
            DeviceGroupDefinition::Rule(_) | DeviceGroupDefinition::List => {}
        }
        if !order.targets.iter().all(|t| self.state.enrolments.contains_key(t)) {
            return Err(Refusal::UnknownEnrolment);
        }
        Ok(Consequence::of(Effect::DeviceGroupSaved {
            group,
            name: name.clone(),
            definition: definition.clone(),
            phones: order.targets.clone(),
        }))
    }

    pub(crate) fn end_device_group(
        &self,
        order: &Order,
        group: DeviceGroupId,
    ) -> Result<Consequence, Refusal> {
        if !order.targets.is_empty() {
            return Err(Refusal::BadArgument);
        }
        if !self.state.device_groups.contains_key(&group) {
            return Err(Refusal::NoSuchDeviceGroup);
        }
        Ok(Consequence::of(Effect::DeviceGroupEnded { group }))
    }
}
