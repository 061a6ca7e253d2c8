//! The room with the database and the rules: everything one can ask of Matron, once.
mod config;
mod error;

pub use config::{Config, ConfigError};
pub use error::Error;

use std::path::Path;

use rpc::control::{ControlEnd, RoomEvent, ToSupervisor};
use tokio::sync::mpsc::UnboundedReceiver;

/// Takes what core has to trust: the root key and the first key statement.
///
/// # Errors
/// When core's folder can't be written.
pub fn install(dir: &Path, installed: &rpc::install::Installed) -> std::io::Result<()> {
    rpc::trust::Trust::install(dir, &installed.root_key, &installed.statement)
}

/// Runs the room until the supervisor says stop.
///
/// # Errors
/// [`Error`] says what stops it.
pub async fn run(
    config: Config,
    control: ControlEnd,
    mut events: UnboundedReceiver<RoomEvent>,
) -> Result<(), Error> {
    config.check()?;
    control.send(&ToSupervisor::Ready, &[]).map_err(Error::Supervisor)?;
    while let Some(event) = events.recv().await {
        if matches!(event, RoomEvent::Stop) {
            break;
        }
    }
    Ok(())
}
