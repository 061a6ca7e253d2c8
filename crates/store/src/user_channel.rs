//! Users of shared iPads: their push tokens, apart from the device's. Each user's rows carry the user's tag in
//! their source and in their names, so none can take the place of the device's or of another user's.

use rusqlite::params;

use crate::{Slot, StoreError, Tx, View};

const FROM: &str = "UserChannel.";
/// The first text after all that begin with [`FROM`].
const TO: &str = "UserChannel/";

impl View<'_> {
    /// What names each user's rows of this phone, as [`Tx::put_sealed`]'s source: `UserChannel.<tag>`.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn user_channels(&self, slot: Slot) -> Result<Vec<String>, StoreError> {
        let mut sources: Vec<String> = self.all(
            "SELECT source FROM sealed_rows WHERE slot = ?1 AND name >= ?2 AND name < ?3",
            params![slot.0, FROM, TO],
            |r| r.get(0),
        )?;
        sources.sort_unstable();
        sources.dedup();
        Ok(sources)
    }
}

impl Tx<'_> {
    /// Forgets one user's rows.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn drop_user_channel(
        &self,
        slot: Slot,
        source: &str,
        at_ms: model::TimeMs,
    ) -> Result<(), StoreError> {
        self.put_sealed(slot, source, &[], true, at_ms).map(drop)
    }
}
