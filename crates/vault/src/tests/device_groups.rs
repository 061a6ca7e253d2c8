//! Device groups: who saves and ends them, what one may be, and that nobody's change is lost.

use super::*;
use model::{
    Condition, DeviceGroupDefinition, DeviceGroupId, DeviceGroupName, DeviceGroupRule, Join, OsVersion,
};

fn rule(conditions: Vec<Condition>) -> DeviceGroupDefinition {
    DeviceGroupDefinition::Rule(DeviceGroupRule { join: Join::All, conditions })
}

fn old() -> DeviceGroupDefinition {
    rule(vec![Condition::OsBelow(OsVersion { major: 17, minor: 0, patch: 0 })])
}

fn save(n: u8, replaces: Option<OrderId>, name: &str, definition: DeviceGroupDefinition) -> OrderKind {
    let name = DeviceGroupName::new(name).unwrap();
    OrderKind::SaveDeviceGroup { group: DeviceGroupId([n; 16]), replaces, name, definition }
}

impl House {
    pub(super) fn says(
        &mut self,
        key: &Ed25519Secret,
        kind: OrderKind,
        targets: Vec<EnrolmentId>,
    ) -> Result<OrderId, Refusal> {
        let (signed, sealed) = self.order(key, kind, targets, None);
        let outcome = self.submit(&signed, &sealed, vec![]);
        outcome.refusal.map_or(Ok(outcome.order.unwrap()), Err)
    }
}

#[test]
fn engineers_save_a_device_group_and_the_service_desk_ward_managers_and_auditors_do_not() {
    let (mut house, key) = House::joined();
    let engineer = house.person(&key, 50, Role::Engineer, None);
    for (seed, role, group) in
        [(51, Role::ServiceDesk, None), (52, Role::WardManager, Some("ward-7")), (53, Role::Auditor, None)]
    {
        let person = house.person(&key, seed, role, group);
        assert_eq!(house.says(&person, save(1, None, "Old", old()), vec![]), Err(Refusal::RoleNotAllowed));
    }
    house.says(&engineer, save(1, None, "Old", old()), vec![]).unwrap();
    let desk = house.person(&key, 54, Role::ServiceDesk, None);
    let end = OrderKind::EndDeviceGroup { group: DeviceGroupId([1; 16]) };
    assert_eq!(house.says(&desk, end.clone(), vec![]), Err(Refusal::RoleNotAllowed));
    house.says(&engineer, end.clone(), vec![]).unwrap();
    assert_eq!(house.says(&engineer, end, vec![]), Err(Refusal::NoSuchDeviceGroup));
}

#[test]
fn a_change_that_was_made_from_an_older_device_group_is_refused_over_a_restart_too() {
    let (mut house, key) = House::joined();
    let first = house.says(&key, save(1, None, "Old", old()), vec![]).unwrap();
    assert_eq!(house.says(&key, save(1, None, "Old", old()), vec![]), Err(Refusal::DeviceGroupChanged));
    let second = house.says(&key, save(1, Some(first), "Older", old()), vec![]).unwrap();
    assert_eq!(
        house.says(&key, save(1, Some(first), "Oldest", old()), vec![]),
        Err(Refusal::DeviceGroupChanged)
    );
    let mut house = house.restart();
    assert_eq!(
        house.says(&key, save(1, Some(first), "Oldest", old()), vec![]),
        Err(Refusal::DeviceGroupChanged)
    );
    // Two names that people take for one; a name that was given up is free.
    assert_eq!(house.says(&key, save(2, None, "OLDER", old()), vec![]), Err(Refusal::DeviceGroupNameTaken));
    house.says(&key, save(2, None, "Old", old()), vec![]).unwrap();
    assert_eq!(
        house.says(&key, save(3, Some(second), "New", old()), vec![]),
        Err(Refusal::NoSuchDeviceGroup)
    );
}

#[test]
fn a_device_group_is_a_sound_rule_without_phones_or_a_list_of_known_ones() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "Grace Example", "ward-7");
    let bad = [
        (rule(vec![]), vec![]),
        (rule(vec![Condition::SilentForDays(0)]), vec![]),
        (rule(vec![Condition::Models(vec!["iPhone'; DROP TABLE enrolments".into()])]), vec![]),
        (rule(vec![Condition::OsBelow(OsVersion { major: 1000, minor: 0, patch: 0 })]), vec![]),
        (rule(vec![Condition::Lost(true); 17]), vec![]),
        (rule(vec![Condition::Lost(true), Condition::Lost(false)]), vec![]),
        (old(), vec![phone]),
        (DeviceGroupDefinition::List, vec![]),
    ];
    for (definition, targets) in bad {
        let refused = house.says(&key, save(1, None, "A", definition), targets);
        assert_eq!(refused, Err(Refusal::BadArgument));
    }
    let list = || DeviceGroupDefinition::List;
    let unknown = vec![phone, EnrolmentId([9; 16])];
    assert_eq!(house.says(&key, save(1, None, "A", list()), unknown), Err(Refusal::UnknownEnrolment));
    house.says(&key, save(1, None, "A", list()), vec![phone]).unwrap();
}

#[test]
fn there_are_two_hundred_device_groups_at_most_and_the_house_goes_on() {
    let (mut house, key) = House::joined();
    for n in 0..crate::device_groups::MOST_DEVICE_GROUPS {
        let name = DeviceGroupName::new(&format!("Group {n}")).unwrap();
        let group = DeviceGroupId([u8::try_from(n).unwrap(); 16]);
        house
            .chamber
            .state
            .device_groups
            .insert(group, crate::device_groups::DeviceGroup { saved_by: OrderId([0; 16]), name });
    }
    assert_eq!(
        house.says(&key, save(255, None, "One more", old()), vec![]),
        Err(Refusal::TooManyDeviceGroups)
    );
    house.says(&key, OrderKind::EndDeviceGroup { group: DeviceGroupId([7; 16]) }, vec![]).unwrap();
    house.says(&key, save(255, None, "One more", old()), vec![]).unwrap();
}
