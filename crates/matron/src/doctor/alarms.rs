//! `matron doctor --alarms`: a test alarm to each destination, by the courier's own code, run by the operator.

use super::Check;
use crate::Place;
use crate::cli::failure::{Result, failed};
use crate::config::Config;

pub(super) fn checks(place: &Place) -> Result<Vec<Check>> {
    let config = Config::read(place)?.alarms();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let sent = runtime.block_on(courier::probe_alarms(&config));
    if sent.is_empty() {
        return Ok(vec![Check::warn(
            "alarms",
            "no destination is configured",
            "alarms stand in the log alone, where nobody may look and who takes the host can remove them",
            "set alarms.webhook_url, alarms.syslog or alarms.email_relay (docs/configuration.md)",
        )]);
    }
    let check = |(name, done): (&'static str, std::result::Result<(), String>)| {
        let id = match name {
            "webhook" => "alarms.webhook",
            "syslog" => "alarms.syslog",
            _ => "alarms.email",
        };
        match done {
            Ok(()) => Check::ok(id, "took a test alarm; see that it arrived where people look"),
            Err(why) => Check::fail(
                id,
                why,
                "alarms wait in the courier's folder until this destination takes them",
                "correct the section alarms of the configuration, or the destination",
            ),
        }
    };
    Ok(sent.into_iter().map(check).collect())
}
