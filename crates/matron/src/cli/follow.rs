//! Waiting for phones to answer an order's commands.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use model::OrderId;
use serde_json::Value;

use super::desk::{Desk, shaped};
use super::failure::Result;
use super::records::CommandItem;
use super::show;

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(500);

/// How the phones answered.
pub(crate) struct Answers {
    pub(crate) items: Vec<Value>,
    pub(crate) all_done: bool,
    pub(crate) failed: u64,
}

/// Follows an order's commands until every phone has answered for good, or the time is over.
pub(crate) fn wait_for(desk: &Desk, order: &OrderId, phones: usize, seconds: u64) -> Result<Answers> {
    let until = Instant::now() + Duration::from_secs(seconds.min(86_400));
    let mut told: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let most = u32::try_from(phones).unwrap_or(u32::MAX);
        let query = [("order", Some(order.to_string()))];
        let page = desk.list("/api/v1/commands", &query, most, None)?;
        let values: Vec<Value> = page.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        let items = values.iter().map(shaped::<CommandItem>).collect::<Result<Vec<_>>>()?;
        for i in items.iter().filter(|i| i.state != "queued") {
            let before = told.insert(i.enrolment.to_string(), i.state.clone());
            if before.as_ref() != Some(&i.state) && !desk.reach.json {
                show::print(&show::line(&format!("  {}  {}", i.enrolment, i.in_words())))?;
                show::print("\n")?;
            }
        }
        let done = items.iter().filter(|i| i.is_over()).count();
        let all_done = done >= phones;
        if all_done || Instant::now() >= until {
            let failed = items.iter().filter(|i| i.is_over() && i.state != "acknowledged").count() as u64;
            return Ok(Answers { items: values, all_done, failed });
        }
        std::thread::sleep(EVERY.min(until.saturating_duration_since(Instant::now())));
    }
}
