//! Which phones a device group holds, in words.

use model::{Condition, DeviceGroupDefinition, DeviceGroupRule, Join};

use crate::line;

/// Which phones it holds.
#[must_use]
pub fn definition(definition: &DeviceGroupDefinition) -> String {
    match definition {
        DeviceGroupDefinition::Rule(r) => rule(r),
        DeviceGroupDefinition::List => "the phones that are listed".into(),
    }
}

/// The phones that a rule holds.
#[must_use]
pub fn rule(rule: &DeviceGroupRule) -> String {
    let all: Vec<String> = rule.conditions.iter().map(condition).collect();
    match (all.as_slice(), rule.join) {
        ([], _) => "no phone".into(),
        ([one], _) => format!("enrolled phones {one}"),
        (_, Join::All) => format!("enrolled phones {}", all.join(", and ")),
        (_, Join::Any) => format!("enrolled phones {}", all.join(", or ")),
    }
}

fn one_of(values: &[String]) -> String {
    match values {
        [] => "none".into(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// What has to hold of a phone, to stand behind "phones".
#[must_use]
pub fn condition(condition: &Condition) -> String {
    match condition {
        Condition::OsBelow(version) => format!("with a system older than {version}"),
        Condition::OsAtLeast(version) => format!("with system {version} or newer"),
        Condition::Models(models) => {
            let models: Vec<String> = models.iter().map(|m| line(m)).collect();
            format!("of model {}", one_of(&models))
        }
        Condition::HomeGroups(groups) => {
            let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
            format!("of home group {}", one_of(&groups))
        }
        Condition::SilentForDays(1) => "not heard of for a day".into(),
        Condition::SilentForDays(days) => format!("not heard of for {days} days"),
        Condition::Supervised(true) => "that are supervised".into(),
        Condition::Supervised(false) => "that are not supervised".into(),
        Condition::PasscodeCompliant(true) => "whose passcode complies".into(),
        Condition::PasscodeCompliant(false) => "whose passcode does not comply".into(),
        Condition::Lost(true) => "in lost mode".into(),
        Condition::Lost(false) => "not in lost mode".into(),
        Condition::DataProtected(true) => "with data protection".into(),
        Condition::DataProtected(false) => {
            "without data protection (no passcode, or no full encryption)".into()
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use model::{Group, OsVersion};

    pub(crate) fn every_condition() -> DeviceGroupRule {
        let version = |major, minor| OsVersion { major, minor, patch: 0 };
        DeviceGroupRule {
            join: Join::All,
            conditions: vec![
                Condition::OsBelow(version(17, 5)),
                Condition::OsAtLeast(version(16, 0)),
                Condition::Models(vec!["iPhone12,8".into(), "iPhone14,5".into(), "iPad7,5".into()]),
                Condition::HomeGroups(vec![Group::new("ward-7").unwrap()]),
                Condition::SilentForDays(30),
                Condition::Supervised(false),
                Condition::PasscodeCompliant(false),
                Condition::Lost(false),
                Condition::DataProtected(false),
            ],
        }
    }

    #[test]
    fn one_condition_is_told_alone_and_several_with_how_they_go_together() {
        let told = |join, conditions| rule(&DeviceGroupRule { join, conditions });
        assert_eq!(told(Join::Any, vec![Condition::Lost(true)]), "enrolled phones in lost mode");
        let two = vec![Condition::Lost(true), Condition::SilentForDays(1)];
        assert_eq!(told(Join::Any, two.clone()), "enrolled phones in lost mode, or not heard of for a day");
        assert_eq!(told(Join::All, two), "enrolled phones in lost mode, and not heard of for a day");
    }
}
