//! No query on the hot path, and no list, reads a whole table.

#![allow(clippy::unwrap_used)]

use rusqlite::Connection;

use crate::{DeviceFilter, DeviceSort, EnrolmentState};

fn plan(sql: &str) -> String {
    let mut c = Connection::open_in_memory().unwrap();
    crate::schema::migrate(&mut c, std::path::Path::new("memory")).unwrap();
    let mut statement = c.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let n = statement.parameter_count();
    for i in 1..=n {
        statement.raw_bind_parameter(i, 1).unwrap();
    }
    let mut rows = statement.raw_query();
    let mut out = String::new();
    while let Some(r) = rows.next().unwrap() {
        out.push_str(&r.get::<_, String>(3).unwrap());
        out.push('\n');
    }
    out
}

/// A SCAN of a table without an index is what must not be.
fn searches(sql: &str) -> String {
    let p = plan(sql);
    for line in p.lines().filter(|l| l.starts_with("SCAN")) {
        assert!(line.contains("USING"), "{sql}\n{p}");
    }
    assert!(!p.contains("TEMP B-TREE"), "{sql}\n{p}");
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

#[test]
fn the_list_of_phones_walks_an_index_in_its_order() {
    let by = |f: DeviceFilter| searches(&f.sql());
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
