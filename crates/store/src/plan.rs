//! No statement of the check-in path, and no list, reads a whole table or sorts one: the plans of all of
//! them are read, for an empty database and for one with 100,000 phones and a million commands behind it.

#![allow(clippy::unwrap_used)]

mod every;

use std::cell::RefCell;
use std::collections::BTreeSet;

use rusqlite::{Connection, StatementStatus};

use crate::tx::Cache;
use crate::{DeviceFilter, DeviceSort, EnrolmentState, Tx, View};

thread_local! {
    static NOTED: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// A statement was prepared on this thread.
pub(crate) fn note(sql: &str) {
    NOTED.with_borrow_mut(|noted| noted.insert(sql.to_owned()));
}

/// What was prepared while `work` ran.
fn noted(work: impl FnOnce()) -> BTreeSet<String> {
    NOTED.take();
    work();
    NOTED.take()
}

fn database() -> Connection {
    let mut c = Connection::open_in_memory().unwrap();
    crate::settle(&c).unwrap();
    crate::schema::migrate(&mut c, std::path::Path::new("memory")).unwrap();
    c
}

/// What `PRAGMA optimize` would find in a database of that size.
const LARGE: &[(&str, &str, &str)] = &[
    ("queue", "queue", "1000000 10 1"),
    ("queue", "queue_by_number", "1000000 2000 1"),
    ("queue", "queue_open", "2000 2 1"),
    ("queue", "queue_failed", "10000 3334 20 1"),
    ("commands", "commands_by_order", "300 1"),
    ("commands", "commands_by_created", "500 2"),
    ("commands", "commands_by_expiry", "500 2"),
    ("commands", "sqlite_autoindex_commands_1", "500 1"),
    ("enrolments", "sqlite_autoindex_enrolments_1", "100000 1"),
    ("enrolments", "enrolments_by_home", "100000 500 1"),
    ("enrolments", "enrolments_by_state", "100000 33334 1"),
    ("enrolments", "enrolments_by_rule", "100000 33334 1 1 1 1 1 1 1 1 1"),
    ("enrolments", "enrolments_by_last_seen", "100000 2 1"),
    ("enrolments", "enrolments_by_enrolled", "100000 2 1"),
    ("enrolments", "enrolments_by_tag", "100000 1"),
    ("enrolments", "enrolments_by_inventory", "100000 2"),
    ("clear_fields", "clear_fields", "3000000 30 1"),
    ("sealed_rows", "sealed_rows", "2500000 25 1"),
    ("sealed_rows", "sealed_rows_by_wrapped", "2500000 2500 25 1"),
    ("index_entries", "index_entries", "1200000 170000 2 1 1"),
    ("reports", "reports", "500000 5 1"),
    ("apps", "apps", "1500000 15 8 1"),
    ("phone_profiles", "phone_profiles", "900000 9 1"),
    ("phone_profiles", "phone_profiles_by_profile", "900000 90000 1 1 1 1 1"),
    ("phone_profiles", "phone_profiles_by_state", "900000 90000 45000 20000 1"),
    ("phone_profiles", "phone_profiles_confirmed", "800000 90000 45000 1"),
    ("phone_profiles", "phone_profiles_ran_out", "20000 2000 1000 2 1 1"),
];

fn make_large(c: &Connection) {
    c.execute_batch("ANALYZE; DELETE FROM sqlite_stat1; DELETE FROM sqlite_stat4;").unwrap();
    for row in LARGE {
        c.execute("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (?1, ?2, ?3)", *row).unwrap();
    }
    // Takes them in.
    c.execute_batch("ANALYZE sqlite_schema").unwrap();
}

fn plan_on(c: &Connection, sql: &str) -> String {
    let mut statement = c.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let mut rows = statement.raw_query();
    let mut out = String::new();
    while let Some(r) = rows.next().unwrap() {
        out.push_str(&r.get::<_, String>(3).unwrap());
        out.push('\n');
    }
    out
}

/// A SCAN of a table without an index is what must not be, nor a sort. A list may walk its table in the
/// order of its key up to its limit.
fn check(sql: &str, plan: &str) -> Result<(), String> {
    for line in plan.lines() {
        let walks = line.contains("USING") || line.contains("CONSTANT ROW") || sql.contains("LIMIT");
        let scans = line.starts_with("SCAN") && !walks;
        if scans || line.contains("TEMP B-TREE") {
            return Err(format!("{line}: {sql}\n{plan}"));
        }
    }
    Ok(())
}

fn searches(sql: &str) -> String {
    let p = plan_on(&database(), sql);
    check(sql, &p).unwrap();
    p
}

#[test]
fn the_next_command_is_found_among_open_rows_alone() {
    assert!(searches(crate::queue::NEXT).contains("queue_open (slot=? AND number>?)"));
}

#[test]
fn the_list_of_certificates_and_those_due_walk_the_index_of_their_ends() {
    assert!(searches(&crate::certificate::list_sql()).contains("certificates_by_end"));
    assert!(searches(crate::certificate::DUE).contains("certificates_by_end"));
}

/// Whatever the statistics are: with none of `index_due`, SQLite would begin with the phones and walk them all.
#[test]
fn what_wants_index_entries_is_looked_for_where_it_is_noted_and_not_among_all_phones() {
    let large = database();
    make_large(&large);
    for c in [database(), large] {
        let p = plan_on(&c, crate::inventory::INDEX_DUE);
        assert!(p.starts_with("SCAN d\n") && p.matches("SCAN").count() == 1, "{p}");
    }
}

/// Of 100,000 phones the rows of `enrolments` are 20 MB. What asks when a phone was last heard of reads them: that is in no such index.
#[test]
fn a_rules_phones_are_counted_and_found_without_reading_a_row_of_any_phone() {
    let large = database();
    make_large(&large);
    for c in [database(), large] {
        let (cache, covering) =
            (Cache::default(), "SEARCH e USING COVERING INDEX enrolments_by_rule (state=?)");
        let tx = Tx::over(View::over(&c), &cache);
        for (of, silent) in every::rules() {
            let statements = noted(|| {
                tx.count_members(&of, None).unwrap();
                tx.member_slots(&of, None).unwrap();
            });
            for sql in &statements {
                let p = plan_on(&c, sql);
                assert!(p.starts_with(covering) != silent && p.lines().count() == 1, "{sql}\n{p}");
            }
        }
    }
}

#[test]
fn a_profiles_phones_are_walked_on_one_index_and_the_command_of_one_that_has_not_answered_is_looked_up() {
    let c = database();
    let cache = Cache::default();
    let tx = Tx::over(View::over(&c), &cache);
    let walks = noted(|| tx.stand_beside(model::ProfileId([1; 16]), &[], |_| {}).unwrap());
    for large in [false, true] {
        if large {
            make_large(&c);
        }
        for sql in &walks {
            let p = plan_on(&c, sql);
            assert!(p.contains("SEARCH p USING COVERING INDEX phone_profiles_by_profile (profile=?)"), "{p}");
            assert!(p.contains("SEARCH q USING PRIMARY KEY (slot=? AND number=?)"), "{p}");
        }
    }
}

#[test]
fn apps_that_are_to_be_looked_after_are_found_by_their_time() {
    assert!(searches(crate::app_request::DUE).contains("app_requests_due"));
}

#[test]
fn the_list_of_phones_walks_an_index_in_its_order() {
    let by = |f: DeviceFilter| searches(&f.sql(&mut Vec::new()));
    assert!(
        by(DeviceFilter { sort: DeviceSort::LastSeen, after: Some((1, 1)), ..Default::default() })
            .contains("enrolments_by_last_seen")
    );
    assert!(
        by(DeviceFilter { sort: DeviceSort::Enrolled, ..Default::default() })
            .contains("enrolments_by_enrolled")
    );
    assert!(
        by(DeviceFilter { group: Some("a".into()), ..Default::default() }).contains("enrolments_by_home")
    );
    assert!(
        by(DeviceFilter { state: Some(EnrolmentState::Invited), ..Default::default() })
            .contains("enrolments_by_state")
    );
}

/// Statements that may do what others may not, by a part of them, and why.
const MAY: &[(&str, &str)] = &[
    ("ORDER BY c.order_id LIMIT", "the warrants that are due are sorted by order: open commands alone"),
    ("DELETE FROM outbox WHERE number <=", "nearly all of the outbox: what was said in one call"),
    ("DISTINCT identifier", "the apps of one phone"),
    ("e.supervised FROM enrolments e ORDER BY e.slot", "core's memory is read once, at its start"),
];

#[test]
fn no_statement_of_a_check_in_or_a_list_reads_a_whole_table() {
    let c = database();
    let cache = Cache::default();
    let tx = Tx::over(View::over(&c), &cache);
    let statements = noted(|| every::check_ins(&tx));
    assert!(statements.len() > 30, "{}", statements.len());
    let lists = noted(|| every::lists(&tx));
    assert!(lists.len() > 25, "{}", lists.len());
    let mut wrong = Vec::new();
    for large in [false, true] {
        if large {
            make_large(&c);
        }
        for sql in statements.iter().chain(&lists) {
            if MAY.iter().any(|(part, _)| sql.contains(part)) {
                continue;
            }
            if let Err(why) = check(sql, &plan_on(&c, sql)) {
                wrong.push(format!("large: {large}; {why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_statement_is_planned_again_whatever_is_bound() {
    let c = database();
    let cache = Cache::default();
    let tx = Tx::over(View::over(&c), &cache);
    let statements = noted(|| {
        // Each runs more than once, with other values.
        every::check_ins(&tx);
        every::check_ins_again(&tx);
        every::lists(&tx);
        every::lists(&tx);
    });
    let again: Vec<&String> = statements
        .iter()
        .filter(|sql| c.prepare_cached(sql).unwrap().get_status(StatementStatus::RePrepare) > 0)
        .collect();
    assert!(again.is_empty(), "{again:?}");
}

#[test]
fn a_phones_declarations_are_found_by_its_slot() {
    assert!(
        searches(crate::declarations::KEPT).contains("SEARCH declaration_warrants USING INTEGER PRIMARY KEY")
    );
    assert!(searches(crate::declarations::WANTED).contains("SEARCH p USING PRIMARY KEY (slot=?)"));
}
