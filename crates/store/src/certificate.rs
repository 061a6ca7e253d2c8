//! The phones' certificates, who is late with renewing, and the standing orders.

use model::{Digest, EnrolmentId, OrderId, StandingTemplate, TimeMs};
use rusqlite::{Row, named_params, params};

use crate::view::{damaged, id, optional_id};
use crate::{Slot, StoreError, Tx, View};

/// How a phone stands with its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CertificateState {
    /// Not due yet.
    Ok,
    /// Due for renewal, and not asked yet.
    Due,
    /// Asked to renew; the phone has not come with the new one yet.
    Asked,
    /// In the last third of the time that there is for it, and still not renewed.
    Late,
    /// Run out: the phone can't connect any more.
    Expired,
}

impl CertificateState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Ok, Self::Due, Self::Asked, Self::Late, Self::Expired];

    /// Its word in routes and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Due => "due",
            Self::Asked => "asked",
            Self::Late => "late",
            Self::Expired => "expired",
        }
    }

    /// The state of that word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }
}

/// The moment that states are told for, and how long before its end a certificate is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenewalWindow {
    /// Now.
    pub now_ms: TimeMs,
    /// How long before its end a certificate is due.
    pub before_ms: TimeMs,
}

impl RenewalWindow {
    fn due_ms(self) -> TimeMs {
        self.now_ms.saturating_add(self.before_ms)
    }

    fn late_ms(self) -> TimeMs {
        self.now_ms.saturating_add(self.before_ms / 3)
    }
}

/// A phone in the list of certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateItem {
    /// Its place in the list's order.
    pub place: (i64, i64),
    /// Its enrolment.
    pub enrolment: EnrolmentId,
    /// Its home group.
    pub group: String,
    /// How it stands.
    pub state: CertificateState,
    /// When the certificate that it uses ends.
    pub not_after_ms: TimeMs,
    /// When it was asked to renew.
    pub asked_at_ms: Option<TimeMs>,
    /// It was given a new certificate and has not come with it yet.
    pub under_way: bool,
    /// When it last spoke; 0 when it never did.
    pub last_seen_at_ms: TimeMs,
}

/// A certificate that was issued for a phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewCertificate {
    /// SHA-256 of its DER.
    pub digest: Digest,
    /// When it ends.
    pub not_after_ms: TimeMs,
    /// When it was issued.
    pub at_ms: TimeMs,
}

/// Which certificates of a phone are known, where there was more than one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenewedRecord {
    /// Whose.
    pub enrolment: EnrolmentId,
    /// The one in use.
    pub used: Digest,
    /// The newest.
    pub newest: Digest,
    /// The one before that in use, and since when it is.
    pub retired: Option<(Digest, TimeMs)>,
}

/// A standing order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingRecord {
    /// The order that made it.
    pub order: OrderId,
    /// What it lets the vault do.
    pub template: StandingTemplate,
    /// How often in an hour.
    pub cap_an_hour: u32,
    /// When it was made.
    pub made_at_ms: TimeMs,
    /// Until when.
    pub expires_at_ms: TimeMs,
    /// When it was ended.
    pub ended_at_ms: Option<TimeMs>,
    /// How often it was used.
    pub uses: u64,
    /// When it was last used.
    pub used_at_ms: Option<TimeMs>,
}

const STATE: &str = "CASE WHEN c.not_after_ms <= :now THEN 'expired' WHEN c.not_after_ms <= :late THEN 'late'
    WHEN c.not_after_ms > :due THEN 'ok' WHEN c.asked_at_ms IS NOT NULL THEN 'asked' ELSE 'due' END";

pub(crate) const DUE: &str = "SELECT c.slot, e.enrolment FROM certificates c INDEXED BY certificates_by_end
    JOIN enrolments e ON e.slot = c.slot
    WHERE c.not_after_ms > :now AND c.not_after_ms <= :due AND e.state = 3
    AND (c.newest = c.used OR c.newest_at_ms < :retry) AND COALESCE(c.asked_at_ms, 0) < :retry
    AND NOT EXISTS (SELECT 1 FROM queue q INDEXED BY queue_open JOIN commands m ON m.number = q.number
        WHERE q.slot = c.slot AND q.state < 3 AND m.order_id = :standing)
    ORDER BY c.not_after_ms, c.slot LIMIT :limit";

/// The same after a breach that was assumed, and while there is an older CA: whose newest certificate is from before, or was
/// given since and never taken into use.
pub(crate) const DUE_AFTER_BREACH: &str =
    "SELECT c.slot, e.enrolment FROM certificates c INDEXED BY certificates_by_end
    JOIN enrolments e ON e.slot = c.slot
    WHERE c.not_after_ms > :now AND e.state = 3
    AND (c.newest_at_ms <= :breach OR (c.newest <> c.used AND c.newest_at_ms < :retry))
    AND COALESCE(c.asked_at_ms, 0) < :retry
    AND NOT EXISTS (SELECT 1 FROM queue q INDEXED BY queue_open JOIN commands m ON m.number = q.number
        WHERE q.slot = c.slot AND q.state < 3 AND m.order_id = :standing)
    ORDER BY c.not_after_ms, c.slot LIMIT :limit";

pub(crate) fn list_sql() -> String {
    format!(
        "SELECT c.not_after_ms, c.slot, e.enrolment, e.home, {STATE} AS state, c.asked_at_ms,
         c.newest <> c.used, e.last_seen_at_ms
         FROM certificates c INDEXED BY certificates_by_end JOIN enrolments e ON e.slot = c.slot
         WHERE e.state IN (2, 3) AND (:home IS NULL OR e.home = :home) AND (:state IS NULL OR {STATE} = :state)
         AND (:value IS NULL OR (c.not_after_ms, c.slot) > (:value, :slot))
         ORDER BY c.not_after_ms, c.slot LIMIT :limit"
    )
}

fn state_of(r: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<CertificateState> {
    let word: String = r.get(column)?;
    CertificateState::from_name(&word).ok_or_else(|| crate::view::damaged(column))
}

impl View<'_> {
    /// Enrolled phones by the end of their certificates, the first to end first, after `after`.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn certificates(
        &self,
        w: RenewalWindow,
        state: Option<CertificateState>,
        group: Option<&str>,
        after: Option<(i64, i64)>,
        limit: u32,
    ) -> Result<Vec<CertificateItem>, StoreError> {
        let state = state.map(CertificateState::name);
        let (value, slot) = (after.map(|a| a.0), after.map(|a| a.1));
        self.named(
            &list_sql(),
            named_params! {
                ":now": w.now_ms, ":late": w.late_ms(), ":due": w.due_ms(), ":home": group,
                ":state": state, ":value": value, ":slot": slot, ":limit": limit,
            },
            |r| {
                Ok(CertificateItem {
                    place: (r.get(0)?, r.get(1)?),
                    enrolment: id(r, 2)?,
                    group: r.get(3)?,
                    state: state_of(r, 4)?,
                    not_after_ms: r.get(0)?,
                    asked_at_ms: r.get(5)?,
                    under_way: r.get(6)?,
                    last_seen_at_ms: r.get(7)?,
                })
            },
        )
    }

    /// How many enrolled phones stand in each state but [`CertificateState::Ok`].
    ///
    /// # Errors
    /// When the database refuses.
    pub fn count_certificates(&self, w: RenewalWindow) -> Result<Vec<(CertificateState, u64)>, StoreError> {
        let sql = format!(
            "SELECT {STATE} AS state, COUNT(*) FROM certificates c INDEXED BY certificates_by_end
             JOIN enrolments e ON e.slot = c.slot WHERE c.not_after_ms <= :due AND e.state IN (2, 3) GROUP BY 1"
        );
        let params = named_params! { ":now": w.now_ms, ":late": w.late_ms(), ":due": w.due_ms() };
        self.named(&sql, params, |r| {
            let n: i64 = r.get(1)?;
            Ok((state_of(r, 0)?, u64::try_from(n).unwrap_or(0)))
        })
    }

    /// Enrolled phones that are to be asked to renew, the first to end first. One that was asked, or given a
    /// certificate, after `retry_ms` is left out, and so is one for which a command of this order is open.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn certificates_due(
        &self,
        w: RenewalWindow,
        standing: OrderId,
        retry_ms: TimeMs,
        limit: u32,
    ) -> Result<Vec<(Slot, EnrolmentId)>, StoreError> {
        let params = named_params! {
            ":now": w.now_ms, ":due": w.due_ms(), ":retry": retry_ms, ":standing": standing.0, ":limit": limit,
        };
        self.named(DUE, params, |r| Ok((Slot(r.get(0)?), id(r, 1)?)))
    }

    /// The same for those whose newest certificate was issued no later than `breach_ms`, whenever it ends.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn certificates_from_before(
        &self,
        (now_ms, breach_ms): (TimeMs, TimeMs),
        standing: OrderId,
        retry_ms: TimeMs,
        limit: u32,
    ) -> Result<Vec<(Slot, EnrolmentId)>, StoreError> {
        let params = named_params! {
            ":now": now_ms, ":breach": breach_ms, ":retry": retry_ms, ":standing": standing.0, ":limit": limit,
        };
        self.named(DUE_AFTER_BREACH, params, |r| Ok((Slot(r.get(0)?), id(r, 1)?)))
    }

    /// When the first certificate that ends after `after_ms` ends.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn next_certificate_end(&self, after_ms: TimeMs) -> Result<Option<TimeMs>, StoreError> {
        self.one(
            "SELECT c.not_after_ms FROM certificates c INDEXED BY certificates_by_end
             JOIN enrolments e ON e.slot = c.slot WHERE c.not_after_ms > ?1 AND e.state = 3
             ORDER BY c.not_after_ms LIMIT 1",
            [after_ms],
            |r| r.get(0),
        )
    }

    /// The phones with more than one certificate, for core's memory.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn renewed(&self) -> Result<Vec<RenewedRecord>, StoreError> {
        self.all(
            "SELECT e.enrolment, c.used, c.newest, c.retired, c.retired_at_ms FROM certificates c
             JOIN enrolments e ON e.slot = c.slot WHERE c.newest <> c.used OR c.retired IS NOT NULL",
            [],
            |r| {
                let retired: Option<Digest> = optional_id(r, 3)?;
                let retired_at_ms: Option<TimeMs> = r.get(4)?;
                Ok(RenewedRecord {
                    enrolment: id(r, 0)?,
                    used: id(r, 1)?,
                    newest: id(r, 2)?,
                    retired: retired.zip(retired_at_ms),
                })
            },
        )
    }

    /// The phone's certificates, if there was more than one.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn find_renewed(
        &self,
        slot: Slot,
        enrolment: EnrolmentId,
    ) -> Result<Option<RenewedRecord>, StoreError> {
        let found = self.one(
            "SELECT used, newest, retired, retired_at_ms FROM certificates WHERE slot = ?1",
            [slot.0],
            |r| {
                let retired: Option<Digest> = optional_id(r, 2)?;
                let retired_at_ms: Option<TimeMs> = r.get(3)?;
                let (used, newest) = (id(r, 0)?, id(r, 1)?);
                Ok(RenewedRecord { enrolment, used, newest, retired: retired.zip(retired_at_ms) })
            },
        )?;
        Ok(found.filter(|r| r.used != r.newest || r.retired.is_some()))
    }

    /// Whether a phone has a certificate of which nothing stands here: the database is of before this table.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn lacks_certificates(&self) -> Result<bool, StoreError> {
        let found = self.one(
            "SELECT 1 FROM enrolments e WHERE e.state IN (1, 2, 3)
             AND NOT EXISTS (SELECT 1 FROM certificates c WHERE c.slot = e.slot) LIMIT 1",
            [],
            |_| Ok(()),
        )?;
        Ok(found.is_some())
    }

    /// Every standing order, the newest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn standing_orders(&self) -> Result<Vec<StandingRecord>, StoreError> {
        self.all(
            "SELECT order_id, template, before_ms, cap_an_hour, made_at_ms, expires_at_ms, ended_at_ms, uses, used_at_ms, install
             FROM standing_orders ORDER BY made_at_ms DESC, order_id",
            [],
            |r| {
                let uses: i64 = r.get(7)?;
                Ok(StandingRecord {
                    order: id(r, 0)?,
                    template: template(r)?,
                    cap_an_hour: r.get(3)?,
                    made_at_ms: r.get(4)?,
                    expires_at_ms: r.get(5)?,
                    ended_at_ms: r.get(6)?,
                    uses: u64::try_from(uses).unwrap_or(0),
                    used_at_ms: r.get(8)?,
                })
            },
        )
    }
}

/// A standing order's template, by its name; the other columns are of those that have arguments.
fn template(r: &Row<'_>) -> rusqlite::Result<StandingTemplate> {
    let name = r.get_ref(1)?.as_str()?;
    if let Some(json) = r.get::<_, Option<String>>(9)? {
        let install = serde_json::from_str(&json).map_err(|_| damaged(9))?;
        return Ok(StandingTemplate::InstallSaved { install });
    }
    let all = [
        StandingTemplate::RenewCertificates { before_ms: r.get(2)? },
        StandingTemplate::HolderLostMode,
        StandingTemplate::HolderRings,
    ];
    all.into_iter().find(|t| t.name() == name).ok_or_else(|| damaged(1))
}

impl Tx<'_> {
    /// A certificate was issued. The first one counts as in use at once. Returns whether it is new.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_certificate(&self, slot: Slot, c: &NewCertificate) -> Result<bool, StoreError> {
        let n = self.run(
            "INSERT INTO certificates (slot, used, not_after_ms, newest, newest_not_after_ms, newest_at_ms)
             VALUES (?1, ?2, ?3, ?2, ?3, ?4) ON CONFLICT (slot) DO UPDATE SET newest = excluded.newest,
             newest_not_after_ms = excluded.newest_not_after_ms, newest_at_ms = excluded.newest_at_ms
             WHERE newest <> excluded.newest",
            params![slot.0, c.digest.as_bytes(), c.not_after_ms, c.at_ms],
        )?;
        Ok(n > 0)
    }

    /// A certificate of before this table, where nothing stands yet.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn fill_certificate(&self, slot: Slot, c: &NewCertificate) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO certificates (slot, used, not_after_ms, newest, newest_not_after_ms, newest_at_ms)
             VALUES (?1, ?2, ?3, ?2, ?3, ?4) ON CONFLICT (slot) DO NOTHING",
            params![slot.0, c.digest.as_bytes(), c.not_after_ms, c.at_ms],
        )?;
        Ok(())
    }

    /// The phone came with its newest certificate: the one before is retired. False: it was in use already,
    /// or is not the newest.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn take_certificate(
        &self,
        slot: Slot,
        certificate: Digest,
        at_ms: TimeMs,
    ) -> Result<bool, StoreError> {
        let n = self.run(
            "UPDATE certificates SET retired_at_ms = CASE WHEN retired = used THEN retired_at_ms ELSE ?3 END,
             retired = used, retired_not_after_ms = not_after_ms, used = newest,
             not_after_ms = newest_not_after_ms, asked_at_ms = NULL
             WHERE slot = ?1 AND newest = ?2 AND used <> newest",
            params![slot.0, certificate.as_bytes(), at_ms],
        )?;
        Ok(n > 0)
    }

    /// The phone came with its retired certificate again (it was restored from a backup): that one is in use
    /// until it renews anew. False: it is not the retired one.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn restore_certificate(&self, slot: Slot, certificate: Digest) -> Result<bool, StoreError> {
        let n = self.run(
            "UPDATE certificates SET used = retired, not_after_ms = retired_not_after_ms, asked_at_ms = NULL
             WHERE slot = ?1 AND retired = ?2 AND used <> retired",
            params![slot.0, certificate.as_bytes()],
        )?;
        Ok(n > 0)
    }

    /// The phone was asked to renew.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn asked_to_renew(&self, slot: Slot, at_ms: TimeMs) -> Result<(), StoreError> {
        self.run("UPDATE certificates SET asked_at_ms = ?2 WHERE slot = ?1", params![slot.0, at_ms])?;
        Ok(())
    }

    /// A standing order was made.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_standing(&self, s: &StandingRecord) -> Result<(), StoreError> {
        let install = s.template.install().map(serde_json::to_string).transpose();
        let install = install.map_err(|_| StoreError::Damaged("what a standing order installs"))?;
        self.run(
            "INSERT INTO standing_orders (order_id, template, before_ms, cap_an_hour, made_at_ms, expires_at_ms, install)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (order_id) DO NOTHING",
            params![
                s.order.as_bytes(),
                s.template.name(),
                s.template.before_ms().unwrap_or(0),
                s.cap_an_hour,
                s.made_at_ms,
                s.expires_at_ms,
                install
            ],
        )?;
        Ok(())
    }

    /// A standing order was ended: what is open of it is cancelled.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn end_standing(&self, order: OrderId, at_ms: TimeMs) -> Result<(), StoreError> {
        self.run(
            "UPDATE standing_orders SET ended_at_ms = ?2 WHERE order_id = ?1 AND ended_at_ms IS NULL",
            params![order.as_bytes(), at_ms],
        )?;
        self.cancel_order(order, at_ms)?;
        Ok(())
    }

    /// A standing order was used.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn standing_used(&self, order: OrderId, at_ms: TimeMs) -> Result<(), StoreError> {
        self.run(
            "UPDATE standing_orders SET uses = uses + 1, used_at_ms = ?2 WHERE order_id = ?1",
            params![order.as_bytes(), at_ms],
        )?;
        Ok(())
    }
}
