//! Calls everything that a check-in or a list may ask of the store.

use model::{
    CommandId, Compartment, Condition, DeviceGroupDefinition, DeviceGroupId, DeviceGroupName,
    DeviceGroupRule, EnrolmentId, Group, Join, LinkHash, OrderId, OsVersion, ProfileId, SealedRow,
};

use crate::{
    App, CommandFilter, CommandState, DeviceFilter, DeviceGroupRecord, DeviceSort, EnrolmentState, ErrorLink,
    Lacking, LedgerAbout, LedgerFilter, Members, NewCommand, NewInvitation, Offer, PushState,
    SavedDeviceGroup, SealedUpdate, Slot, Tx,
};

fn command(n: u8, order: Option<OrderId>) -> NewCommand {
    NewCommand {
        command: CommandId([n; 16]),
        order,
        request_type: "DeviceLock".into(),
        query: order.is_none().then_some(1),
        body: vec![1],
        sealed: false,
        created_at_ms: 1,
        expires_at_ms: 1000,
    }
}

fn sealed(name: &str, n: u8) -> SealedUpdate {
    let row = SealedRow {
        name: name.into(),
        compartment: Compartment::Hardware,
        wrapped_key: vec![n],
        ciphertext: vec![n, n],
        mask: "…7".into(),
        change_tag: vec![n],
    };
    SealedUpdate { row, indexed: true }
}

/// A phone from its invitation to its end.
pub(super) fn check_ins(tx: &Tx<'_>) {
    phone(tx, 1);
}

/// Another one.
pub(super) fn check_ins_again(tx: &Tx<'_>) {
    phone(tx, 101);
}

fn phone(tx: &Tx<'_>, n: u8) {
    let enrolment = EnrolmentId([n; 16]);
    let slot = tx
        .invite(&NewInvitation {
            enrolment,
            link: LinkHash([n; 32]),
            group: "ward-7".into(),
            expires_at_ms: 10,
            invited_at_ms: 1,
        })
        .unwrap();
    tx.issue(slot, 2).unwrap();
    tx.find_by_tag(&[n], slot).unwrap();
    tx.authenticate(slot, &[n], 3).unwrap();
    tx.find_enrolment(enrolment).unwrap();
    tx.put_holder_card(slot, model::Digest([n; 32]), 3).unwrap();
    tx.find_holder_card(model::Digest([n; 32])).unwrap();
    tx.holder_card_since(slot).unwrap();
    tx.enrol(slot, 4, 5).unwrap();
    tx.set_push(slot, PushState::Ok).unwrap();
    tx.find_sealed(slot, "Token").unwrap();
    tx.seen(&[(slot, 6)]).unwrap();
    tx.inventory_due(7, 10).unwrap();
    tx.set_inventory_due(slot, 8).unwrap();
    commands(tx, slot, n);
    report(tx, slot, n);
    tx.say(&[n]).unwrap();
    tx.words(10).unwrap();
    tx.said(1).unwrap();
    tx.drop_holder_card(slot).unwrap();
    tx.end(slot, Some(EnrolmentId([0; 16])), 20).unwrap();
    tx.left_before(30, 10).unwrap();
    tx.forget_reported(slot).unwrap();
}

fn commands(tx: &Tx<'_>, slot: Slot, n: u8) {
    let order = OrderId([n; 16]);
    tx.has_open_query(slot, 1).unwrap();
    let first = tx.put_command(&command(n, None)).unwrap();
    let second = tx.put_command(&command(n + 1, Some(order))).unwrap();
    tx.put_command(&command(n + 1, Some(order))).unwrap();
    tx.queue(slot, first, None).unwrap();
    tx.queue(slot, second, Some((&[1], 500))).unwrap();
    let offer = Offer { now_ms: 9, deferred_until_ms: 8, after: 0 };
    assert_eq!(tx.next_command(slot, offer).unwrap().unwrap().number, first);
    tx.mark_sent(slot, first, 9).unwrap();
    assert!(tx.defer(slot, CommandId([n; 16]), 9).unwrap());
    assert!(tx.has_open(slot).unwrap());
    tx.mark_sent(slot, second, 10).unwrap();
    let errors = [ErrorLink { code: 1, domain: "D".into() }];
    let done = tx.finish(slot, CommandId([n + 1; 16]), CommandState::Error, &errors, 11).unwrap();
    assert!(done.unwrap().was_open);
    tx.warrants_due(9, 2000, 10).unwrap();
    tx.renew_warrant(slot, second, &[2], 600).unwrap();
    let profile = ProfileId([n; 16]);
    tx.put_profile_command(second, profile, 1).unwrap();
    tx.ask_profile(slot, profile, 1, second, 9).unwrap();
    tx.profile_answered(slot, second, true, 9).unwrap();
    tx.profile_answered(slot, second, false, 9).unwrap();
    tx.ran_out(9, 10).unwrap();
    tx.cancel_order_for(slot, order, Some(second), 12).unwrap();
    tx.cancel_order(order, 12).unwrap();
    tx.close(slot, first, CommandState::Expired, 13).unwrap();
    tx.cancel_open(slot, 14).unwrap();
}

fn report(tx: &Tx<'_>, slot: Slot, n: u8) {
    let clear = |value: &str| vec![("OSVersion".to_owned(), value.to_owned())];
    assert!(!tx.same_report(slot, "DeviceInformation", &[n], 15).unwrap());
    tx.put_clear(slot, "DeviceInformation", &clear("\"18.1\""), true, 15).unwrap();
    tx.put_clear(slot, "DeviceInformation", &[], true, 15).unwrap();
    tx.put_sealed(slot, "DeviceInformation", &[sealed("IMEI", n), sealed("UDID", n)], true, 15).unwrap();
    tx.put_sealed(slot, "DeviceInformation", &[sealed("IMEI", n)], true, 15).unwrap();
    tx.describe(slot, Some(true), Some("18.1"), Some("iPhone14,6")).unwrap();
    let app = App { identifier: "org.example".into(), version: "1".into(), short_version: "1".into() };
    tx.put_apps(slot, "InstalledApplicationList", &[app]).unwrap();
    tx.put_report(slot, "DeviceInformation", &[n], 15).unwrap();
    let due = tx.index_due(10).unwrap();
    assert!(!due.is_empty());
    tx.put_index("imei", slot, "IMEI", &[n, n], &[vec![1; 48]]).unwrap();
}

/// Every list with every kind of filter, from its beginning and from a place within.
pub(super) fn lists(tx: &Tx<'_>) {
    for sort in [DeviceSort::Invited, DeviceSort::LastSeen, DeviceSort::Enrolled] {
        for after in [None, Some((5, 5))] {
            devices(tx, sort, after);
        }
    }
    for after in [None, Some((5, 5))] {
        let all = CommandFilter { after, limit: 50, ..Default::default() };
        for state in CommandState::ALL.iter().copied().map(Some).chain([None]) {
            let f = CommandFilter { state, ..all.clone() };
            tx.commands(&f).unwrap();
            tx.commands(&CommandFilter { slot: Some(Slot(1)), ..f.clone() }).unwrap();
            tx.commands(&CommandFilter { order: Some(OrderId([1; 16])), ..f.clone() }).unwrap();
            tx.commands(&CommandFilter { group: Some("ward-7".into()), ..f }).unwrap();
        }
    }
    tx.command_items(CommandId([1; 16]), 50).unwrap();
    tx.order_progress(OrderId([1; 16]), None).unwrap();
    tx.order_progress(OrderId([1; 16]), Some("ward-7")).unwrap();
    tx.count_open().unwrap();
    tx.count_by_state().unwrap();
    tx.invitations(Slot(0), None, 50).unwrap();
    tx.invitations(Slot(0), Some("ward-7"), 50).unwrap();
    tx.enrolments_by_prefix([0; 16], [255; 16]).unwrap();
    let one = EnrolmentId([1; 16]);
    tx.find_device(one).unwrap();
    tx.enrolments_of(&[one]).unwrap();
    tx.live_enrolments().unwrap();
    for slot in [Slot(1), Slot(2)] {
        tx.clear_fields(slot).unwrap();
        tx.sealed_notes(slot).unwrap();
        tx.sealed_from(slot, "DeviceInformation").unwrap();
        tx.apps(slot).unwrap();
        tx.count_apps(slot).unwrap();
        tx.reported_at_ms(slot, "DeviceInformation").unwrap();
        tx.reports(slot).unwrap();
        tx.group_of(slot).unwrap();
        tx.replaced_by(slot).unwrap();
        tx.ids_of(&[slot]).unwrap();
    }
    tx.scan_index("imei", Slot(0)..Slot(5), |_, _, _| {}).unwrap();
    tx.middle_slot().unwrap();
    tx.orders(i64::MAX, 50).unwrap();
    let profile = ProfileId([1; 16]);
    tx.profiles(50).unwrap();
    tx.ended_profiles(50).unwrap();
    tx.find_profile_end(profile).unwrap();
    tx.end_profile(profile, OrderId([1; 16]), 5).unwrap();
    tx.profile_versions(profile).unwrap();
    tx.newest_profile_version(profile).unwrap();
    tx.has_profile_version(profile, 1).unwrap();
    tx.find_profile_content(profile, 1).unwrap();
    tx.has_profile_content(profile, 1).unwrap();
    tx.newest_profile_content(profile).unwrap();
    tx.stale_profile(2, 0).unwrap();
    tx.count_stale_profiles(2).unwrap();
    tx.profiles_named("org.example.wifi").unwrap();
    for group in [None, Some("ward-7")] {
        tx.profile_phone_counts(profile, group).unwrap();
        tx.profile_phones(profile, group, 0, 50).unwrap();
    }
    tx.undecided_orders(50).unwrap();
    tx.pending_orders(0, 50).unwrap();
    tx.pending_size(model::KeyId([1; 16])).unwrap();
    tx.cooled_orders(5, 50).unwrap();
    tx.cooling_orders(50).unwrap();
    tx.next_cooled_ms().unwrap();
    tx.find_order(OrderId([1; 16])).unwrap();
    tx.orders_between(OrderId([0; 16]), OrderId([255; 16]), 6).unwrap();
    tx.people(None, 50).unwrap();
    tx.passkeys().unwrap();
    tx.ledger_rows(0, 50).unwrap();
    ledger(tx);
    for group in [None, Some("ward-7")] {
        tx.count_lost(group).unwrap();
        tx.count_without_passcode(group).unwrap();
        tx.count_invalid_declarations(group).unwrap();
    }
    tx.group_phones("ward-7").unwrap();
    device_groups(tx);
    tx.person_of_key(model::KeyId([1; 16])).unwrap();
    tx.position().unwrap();
    tx.forget_history(0, 10).unwrap();
    tx.drop_unused_keys(10).unwrap();
}

fn devices(tx: &Tx<'_>, sort: DeviceSort, after: Option<(i64, i64)>) {
    let all = DeviceFilter { sort, after, limit: 50, ..Default::default() };
    // A sort of its own takes its index; a group is then looked at phone by phone.
    let group = matches!(sort, DeviceSort::Invited).then(|| "ward-7".to_owned());
    let state = matches!(sort, DeviceSort::Invited).then_some(EnrolmentState::Enrolled);
    for of in members() {
        tx.devices(&DeviceFilter { device_group: Some(of.clone()), group: group.clone(), ..all.clone() })
            .unwrap();
        tx.devices(&DeviceFilter { device_group: Some(of), ..all.clone() }).unwrap();
    }
    for f in [
        all.clone(),
        DeviceFilter { group: group.clone(), ..all.clone() },
        DeviceFilter { state, ..all.clone() },
        DeviceFilter { supervised: Some(true), ..all.clone() },
        DeviceFilter { os_version: Some("18.1".into()), ..all.clone() },
        DeviceFilter { model: Some("iPhone14,6".into()), ..all.clone() },
        DeviceFilter { silent_since_ms: Some(5), ..all.clone() },
        DeviceFilter { pending: Some(true), ..all.clone() },
        DeviceFilter { pending: Some(false), group, ..all },
    ] {
        tx.devices(&f).unwrap();
    }
}

/// Every condition by itself, and whether it asks when a phone was last heard of; all of them together both ways.
pub(super) fn rules() -> Vec<(Members, bool)> {
    let version = OsVersion { major: 17, minor: 0, patch: 0 };
    let mut conditions = vec![
        Condition::OsBelow(version),
        Condition::OsAtLeast(version),
        Condition::Models(vec!["iPhone14,6".into(), "iPhone12,8".into()]),
        Condition::HomeGroups(vec![Group::new("ward-7").unwrap(), Group::new("ward-8").unwrap()]),
        Condition::SilentForDays(7),
    ];
    for is in [true, false] {
        conditions.push(Condition::Supervised(is));
        conditions.push(Condition::PasscodeCompliant(is));
        conditions.push(Condition::Lost(is));
        conditions.push(Condition::DataProtected(is));
    }
    let rule = |join, conditions| Members::of_rule(DeviceGroupRule { join, conditions }, 5);
    let silent = |c: &Condition| matches!(c, Condition::SilentForDays(_));
    let mut all: Vec<(Members, bool)> =
        conditions.iter().map(|c| (rule(Join::All, vec![c.clone()]), silent(c))).collect();
    all.push((rule(Join::All, conditions.clone()), true));
    all.push((rule(Join::Any, conditions), true));
    all
}

/// Those, and a list.
fn members() -> Vec<Members> {
    let mut all: Vec<Members> = rules().into_iter().map(|(of, _)| of).collect();
    let saved = SavedDeviceGroup {
        group: DeviceGroupId([1; 16]),
        name: DeviceGroupName::new("a list").unwrap(),
        definition: DeviceGroupDefinition::List,
        order: OrderId([1; 16]),
        person: model::PersonId([1; 16]),
        saved_at_ms: 1,
    };
    all.push(DeviceGroupRecord { number: 1, saved, listed: 1 }.members(5));
    all
}

fn device_groups(tx: &Tx<'_>) {
    let profile = ProfileId([1; 16]);
    let lacking = Lacking { profile, version: 1, since_ms: 9, now_ms: 9, pause_ms: 1, longest_pause_ms: 9 };
    for of in members() {
        for home in [None, Some("ward-7")] {
            tx.count_members(&of, home).unwrap();
            tx.members(&of, home, 50).unwrap();
            tx.member_slots(&of, home).unwrap();
            tx.members_without(&lacking, &of, home, 50).unwrap();
            tx.lacks_profile(Slot(1), &lacking, &of, home).unwrap();
        }
    }
    let slots = [Slot(1), Slot(2)];
    tx.stand_each(ProfileId([1; 16]), &slots, |_| {}).unwrap();
    tx.stand_beside(ProfileId([1; 16]), &slots, |_| {}).unwrap();
    tx.held_by_each(&slots).unwrap();
    tx.held_beside(&slots).unwrap();
    let group = DeviceGroupId([1; 16]);
    let saved = SavedDeviceGroup {
        group,
        name: DeviceGroupName::new("a list").unwrap(),
        definition: DeviceGroupDefinition::List,
        order: OrderId([1; 16]),
        person: model::PersonId([1; 16]),
        saved_at_ms: 1,
    };
    tx.save_device_group(&saved, &[Slot(1), Slot(2)]).unwrap();
    tx.device_groups(0, 50).unwrap();
    tx.find_device_group(group).unwrap();
    tx.end_device_group(group).unwrap();
}

fn ledger(tx: &Tx<'_>) {
    let about = [
        LedgerAbout::Enrolment(EnrolmentId([1; 16])),
        LedgerAbout::Person(model::PersonId([1; 16])),
        LedgerAbout::Kind("opened".into()),
    ];
    for many in 0..=about.len() {
        for newest_first in [false, true] {
            let about: Vec<_> = about.iter().take(many).cloned().collect();
            for kinds in [vec![], vec!["opened", "commanded"]] {
                let about = about.clone();
                let f = LedgerFilter { about, kinds, newest_first, limit: 50, ..Default::default() };
                tx.ledger_found(&f).unwrap();
                tx.ledger_listed(&f, 4096).unwrap();
            }
        }
    }
    tx.ledger_place(5).unwrap();
    tx.noted_up_to(5).unwrap();
    tx.keep_passkey(model::KeyId([1; 16]), &[1]).unwrap();
    tx.ledger_days(5).unwrap();
    tx.unnoted(10).unwrap();
    tx.is_all_noted().unwrap();
}
