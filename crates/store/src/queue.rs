//! Commands and their queue: one row for each phone and command.

use model::{CommandId, EnrolmentId, OrderId, TimeMs};
use rusqlite::{Row, named_params, params};
use serde::{Deserialize, Serialize};

use crate::enrolment::numbered;
use crate::view::{coded, id, optional_id};
use crate::{Slot, StoreError, Tx, View};

numbered!(
    /// Where a command to one phone stands.
    CommandState {
        /// Not yet delivered.
        Queued = 0, "queued";
        /// Delivered; no answer yet. It is delivered again if the phone asks again.
        Sent = 1, "sent";
        /// The phone put it off.
        NotNow = 2, "not_now";
        /// Done.
        Acknowledged = 3, "acknowledged";
        /// The phone refused; its error chain is kept.
        Error = 4, "error";
        /// It ran out before the phone answered.
        Expired = 5, "expired";
        /// Called back, or its phone's enrolment ended or began anew.
        Cancelled = 6, "cancelled";
    }
);

impl CommandState {
    /// Whether the phone may still answer for good.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Sent | Self::NotNow)
    }
}

/// One link of an error chain: never its texts, which may name someone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorLink {
    /// Apple's number.
    pub code: i64,
    /// Apple's domain.
    pub domain: String,
}

/// A command to be queued.
#[derive(Debug, Clone)]
pub struct NewCommand {
    /// Its id.
    pub command: CommandId,
    /// The order behind it; none for a free query.
    pub order: Option<OrderId>,
    /// Apple's `RequestType`.
    pub request_type: String,
    /// A free query's number.
    pub query: Option<u8>,
    /// The bytes the vault made, or empty.
    pub body: Vec<u8>,
    /// The bytes are sealed to the door.
    pub sealed: bool,
    /// When it was made.
    pub created_at_ms: TimeMs,
    /// When it is no longer given.
    pub expires_at_ms: TimeMs,
}

/// The command a phone gets next.
#[derive(Debug, Clone)]
pub struct Next {
    /// Its number here.
    pub number: i64,
    /// Its id.
    pub command: CommandId,
    /// The order behind it.
    pub order: Option<OrderId>,
    /// A free query's number.
    pub query: Option<u8>,
    /// The vault's bytes.
    pub body: Vec<u8>,
    /// They are sealed to the door.
    pub sealed: bool,
    /// The newest warrant.
    pub warrant: Option<Vec<u8>>,
    /// When that runs out.
    pub warrant_expires_at_ms: TimeMs,
    /// Where it stood.
    pub state: CommandState,
}

/// Which commands may be offered now.
#[derive(Debug, Clone, Copy)]
pub struct Offer {
    /// The time.
    pub now_ms: TimeMs,
    /// Those that the phone put off at or before then are offered again.
    pub deferred_until_ms: TimeMs,
    /// Only commands after this number (those before can't be given now).
    pub after: i64,
}

/// What a phone's answer was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The command's number here.
    pub number: i64,
    /// It was the vault's, not a free query.
    pub warranted: bool,
    /// It was open until now (not an answer that came twice).
    pub was_open: bool,
    /// Apple's `RequestType`.
    pub request_type: String,
}

/// A warrant that will run out while its command waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarrantDue {
    /// The phone.
    pub slot: Slot,
    /// The phone's enrolment.
    pub enrolment: EnrolmentId,
    /// The command's number here.
    pub number: i64,
    /// The order behind it.
    pub order: OrderId,
    /// Its id.
    pub command: CommandId,
}

/// Which commands a list shows.
#[derive(Debug, Clone, Default)]
pub struct CommandFilter {
    /// Of this phone.
    pub slot: Option<Slot>,
    /// Of this order.
    pub order: Option<OrderId>,
    /// In this state.
    pub state: Option<CommandState>,
    /// Of phones of this group.
    pub group: Option<String>,
    /// Without the questions that core asks by itself.
    pub ordered: bool,
    /// Go on behind this place.
    pub after: Option<(i64, i64)>,
    /// How many at most.
    pub limit: u32,
}

/// A command in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandItem {
    /// Its place: (command's number, slot).
    pub place: (i64, i64),
    /// Its id.
    pub command: CommandId,
    /// The phone.
    pub enrolment: EnrolmentId,
    /// The order behind it.
    pub order: Option<OrderId>,
    /// Apple's `RequestType`.
    pub request_type: String,
    /// Where it stands.
    pub state: CommandState,
    /// When it was made.
    pub created_at_ms: TimeMs,
    /// When it was last delivered.
    pub sent_at_ms: Option<TimeMs>,
    /// When it ended.
    pub done_at_ms: Option<TimeMs>,
    /// How often the phone put it off.
    pub not_now_count: u32,
    /// When it is no longer given.
    pub expires_at_ms: TimeMs,
    /// The error chain.
    pub errors: Vec<ErrorLink>,
}

/// How many phones stand where with what an order asks of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress(Vec<(CommandState, u32)>);

impl Progress {
    /// So many are in that state.
    #[must_use]
    pub fn of(&self, state: CommandState) -> u32 {
        self.0.iter().find(|(s, _)| *s == state).map_or(0, |(_, n)| *n)
    }

    /// So many have not answered for good.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.0.iter().filter(|(s, _)| s.number() < 3).map(|(_, n)| n).sum()
    }
}

const ITEM: &str = "SELECT q.number, q.slot, c.command, e.enrolment, c.order_id, c.request_type, q.state,
    c.created_at_ms, q.sent_at_ms, q.done_at_ms, q.not_now_count, c.expires_at_ms, q.errors";

fn item(r: &Row<'_>) -> rusqlite::Result<CommandItem> {
    let errors: Option<String> = r.get(12)?;
    Ok(CommandItem {
        place: (r.get(0)?, r.get(1)?),
        command: id(r, 2)?,
        enrolment: id(r, 3)?,
        order: optional_id(r, 4)?,
        request_type: r.get(5)?,
        state: coded(r, 6, CommandState::from_number)?,
        created_at_ms: r.get(7)?,
        sent_at_ms: r.get(8)?,
        done_at_ms: r.get(9)?,
        not_now_count: r.get(10)?,
        expires_at_ms: r.get(11)?,
        errors: errors.and_then(|e| serde_json::from_str(&e).ok()).unwrap_or_default(),
    })
}

pub(crate) const NEXT: &str = "SELECT q.number, c.command, c.order_id, c.query, c.body, c.sealed, q.warrant,
    q.warrant_expires_at_ms, q.state FROM queue q INDEXED BY queue_open JOIN commands c ON c.number = q.number
    WHERE q.slot = ?1 AND q.state < 3 AND q.number > ?2
    AND (q.state < 2 OR q.deferred_at_ms <= ?3) AND c.expires_at_ms > ?4 ORDER BY q.number LIMIT 1";

impl View<'_> {
    /// The oldest command that may be given to the phone now. It reads open rows alone.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn next_command(&self, slot: Slot, offer: Offer) -> Result<Option<Next>, StoreError> {
        self.one(NEXT, params![slot.0, offer.after, offer.deferred_until_ms, offer.now_ms], |r| {
            Ok(Next {
                number: r.get(0)?,
                command: id(r, 1)?,
                order: optional_id(r, 2)?,
                query: r.get(3)?,
                body: r.get::<_, Option<Vec<u8>>>(4)?.unwrap_or_default(),
                sealed: r.get(5)?,
                warrant: r.get(6)?,
                warrant_expires_at_ms: r.get::<_, Option<i64>>(7)?.unwrap_or(0),
                state: coded(r, 8, CommandState::from_number)?,
            })
        })
    }

    /// Whether the phone has an open command.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn has_open(&self, slot: Slot) -> Result<bool, StoreError> {
        let found = self.one(
            "SELECT 1 FROM queue INDEXED BY queue_open WHERE slot = ?1 AND state < 3 LIMIT 1",
            [slot.0],
            |_| Ok(()),
        )?;
        Ok(found.is_some())
    }

    /// Whether the phone has this free query open.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn has_open_query(&self, slot: Slot, query: u8) -> Result<bool, StoreError> {
        let found = self.one(
            "SELECT 1 FROM queue q INDEXED BY queue_open JOIN commands c ON c.number = q.number
             WHERE q.slot = ?1 AND q.state < 3 AND c.query = ?2 LIMIT 1",
            params![slot.0, query],
            |_| Ok(()),
        )?;
        Ok(found.is_some())
    }

    /// Commands in a list, newest first (of open ones over all phones: phone by phone).
    ///
    /// # Errors
    /// When the database refuses.
    pub fn commands(&self, f: &CommandFilter) -> Result<Vec<CommandItem>, StoreError> {
        let mut wheres = vec!["(:state IS NULL OR q.state = :state)"];
        let state = f.state.map(CommandState::number);
        let order;
        let mut from =
            "FROM queue q JOIN commands c ON c.number = q.number JOIN enrolments e ON e.slot = q.slot";
        if f.slot.is_some() {
            wheres.push("q.slot = :slot AND (:number IS NULL OR q.number < :number)");
            order = "q.number DESC";
        } else if f.order.is_some() {
            from = "FROM commands c JOIN queue q ON q.number = c.number JOIN enrolments e ON e.slot = q.slot";
            wheres.push("(:number IS NULL OR (q.number, q.slot) < (:number, :after_slot))");
            order = "q.number DESC, q.slot DESC";
        } else if f.state.is_some_and(|s| s.number() < 3) {
            wheres = vec!["q.state = :state AND q.state < 3"];
            wheres.push("(:number IS NULL OR (q.slot, q.number) > (:after_slot, :number))");
            order = "q.slot, q.number";
        } else if f.state.is_some_and(|s| s.number() > 3) {
            wheres = vec!["q.state = :state AND q.state > 3"];
            wheres.push("(:number IS NULL OR (q.number, q.slot) < (:number, :after_slot))");
            order = "q.number DESC, q.slot DESC";
        } else {
            // Begins at the newest; left to itself the planner would begin elsewhere and sort them all.
            from = "FROM queue q INDEXED BY queue_by_number CROSS JOIN commands c ON c.number = q.number
                CROSS JOIN enrolments e ON e.slot = q.slot";
            wheres.push("(:number IS NULL OR (q.number, q.slot) < (:number, :after_slot))");
            order = "q.number DESC, q.slot DESC";
        }
        wheres.push("(:order IS NULL OR c.order_id = :order) AND (:home IS NULL OR e.home = :home)");
        wheres.push("(:slot IS NULL OR q.slot = :slot) AND (NOT :ordered OR c.order_id IS NOT NULL)");
        let sql = format!("{ITEM} {from} WHERE {} ORDER BY {order} LIMIT :limit", wheres.join(" AND "));
        let (slot, order) = (f.slot.map(|s| s.0), f.order.map(|o| o.0));
        let (number, after_slot) = (f.after.map(|a| a.0), f.after.map(|a| a.1));
        self.named(
            &sql,
            named_params! {
                ":state": state, ":slot": slot, ":number": number, ":after_slot": after_slot,
                ":order": order, ":home": f.group, ":ordered": f.ordered, ":limit": f.limit,
            },
            item,
        )
    }

    /// How far an order's commands have come: how many phones in each state, by the state's number; of `group` alone
    /// where there is one.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn order_progress(&self, order: OrderId, group: Option<&str>) -> Result<Progress, StoreError> {
        let all: Vec<String> =
            CommandState::ALL.iter().map(|s| format!("COALESCE(SUM(q.state = {}), 0)", s.number())).collect();
        let sql = format!(
            "SELECT {} FROM commands c JOIN queue q ON q.number = c.number JOIN enrolments e ON e.slot = q.slot
             WHERE c.order_id = ?1 AND (?2 IS NULL OR e.home = ?2)",
            all.join(", ")
        );
        let counts = self.one(&sql, params![order.as_bytes(), group], |r| {
            (0..CommandState::ALL.len()).map(|n| r.get(n)).collect::<rusqlite::Result<Vec<u32>>>()
        })?;
        let counts = counts.unwrap_or_default();
        Ok(Progress(CommandState::ALL.iter().copied().zip(counts).collect()))
    }

    /// A command at every phone it went to, up to `limit`.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn command_items(&self, command: CommandId, limit: u32) -> Result<Vec<CommandItem>, StoreError> {
        self.all(
            &format!(
                "{ITEM} FROM commands c JOIN queue q ON q.number = c.number
                 JOIN enrolments e ON e.slot = q.slot WHERE c.command = ?1 ORDER BY q.slot LIMIT ?2"
            ),
            params![command.as_bytes(), limit],
            item,
        )
    }

    /// Warranted commands that are open with a warrant that runs out before `before_ms` and before they do themselves:
    /// no warrant outlives its order.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn warrants_due(
        &self,
        now_ms: TimeMs,
        before_ms: TimeMs,
        limit: u32,
    ) -> Result<Vec<WarrantDue>, StoreError> {
        self.all(
            "SELECT q.slot, e.enrolment, q.number, c.order_id, c.command FROM queue q INDEXED BY queue_open
             JOIN commands c ON c.number = q.number JOIN enrolments e ON e.slot = q.slot
             WHERE q.state < 3 AND c.order_id IS NOT NULL AND c.expires_at_ms > ?1
             AND COALESCE(q.warrant_expires_at_ms, 0) < MIN(?2, c.expires_at_ms) ORDER BY c.order_id LIMIT ?3",
            params![now_ms, before_ms, limit],
            |r| {
                Ok(WarrantDue {
                    slot: Slot(r.get(0)?),
                    enrolment: id(r, 1)?,
                    number: r.get(2)?,
                    order: id(r, 3)?,
                    command: id(r, 4)?,
                })
            },
        )
    }

    /// Whether that command waits at the phone.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn is_queued(&self, slot: Slot, number: i64) -> Result<bool, StoreError> {
        let open = "SELECT 1 FROM queue WHERE slot = ?1 AND number = ?2 AND state < 3";
        Ok(self.one(open, params![slot.0, number], |_| Ok(()))?.is_some())
    }

    /// Open commands that ran out by then, as phones and numbers. It walks what is open, which is why it reads: the
    /// writing thread has check-ins to keep.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn ran_out(&self, now_ms: TimeMs, limit: u32) -> Result<Vec<(Slot, i64)>, StoreError> {
        self.all(
            "SELECT q.slot, q.number FROM queue q INDEXED BY queue_open JOIN commands c ON c.number = q.number
             WHERE q.state < 3 AND c.expires_at_ms <= ?1 LIMIT ?2",
            params![now_ms, limit],
            |r| Ok((Slot(r.get(0)?), r.get(1)?)),
        )
    }

    /// How many commands are open, and how many of them were put off.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn count_open(&self) -> Result<(u64, u64), StoreError> {
        let open = self.count("SELECT COUNT(*) FROM queue INDEXED BY queue_open WHERE state < 3", [])?;
        let off =
            self.count("SELECT COUNT(*) FROM queue INDEXED BY queue_open WHERE state < 3 AND state = 2", [])?;
        Ok((open, off))
    }
}

impl Tx<'_> {
    /// Keeps a command; its number. One that is there already stays as it is.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_command(&self, c: &NewCommand) -> Result<i64, StoreError> {
        let n = self.run(
            "INSERT INTO commands (command, order_id, request_type, query, body, sealed, created_at_ms,
             expires_at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (command) DO NOTHING",
            params![
                c.command.as_bytes(),
                c.order.as_ref().map(|o| o.0),
                c.request_type,
                c.query,
                if c.body.is_empty() { None } else { Some(&c.body) },
                c.sealed,
                c.created_at_ms,
                c.expires_at_ms
            ],
        )?;
        if n > 0 {
            return Ok(self.connection().last_insert_rowid());
        }
        self.one("SELECT number FROM commands WHERE command = ?1", [c.command.as_bytes()], |r| r.get(0))?
            .ok_or(StoreError::Damaged("command"))
    }

    /// Queues a command for a phone. False: it is there already.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn queue(
        &self,
        slot: Slot,
        number: i64,
        warrant: Option<(&[u8], TimeMs)>,
    ) -> Result<bool, StoreError> {
        let n = self.run(
            "INSERT INTO queue (slot, number, state, warrant, warrant_expires_at_ms)
             VALUES (?1, ?2, 0, ?3, ?4) ON CONFLICT (slot, number) DO NOTHING",
            params![slot.0, number, warrant.map(|w| w.0), warrant.map(|w| w.1)],
        )?;
        Ok(n > 0)
    }

    /// It goes out now.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn mark_sent(&self, slot: Slot, number: i64, at_ms: TimeMs) -> Result<(), StoreError> {
        self.run(
            "UPDATE queue SET state = 1, sent_at_ms = ?3, sent_count = sent_count + 1
             WHERE slot = ?1 AND number = ?2 AND state < 3",
            params![slot.0, number, at_ms],
        )?;
        Ok(())
    }

    /// The phone answered for good. `None`: it was never given that command. An answer that comes
    /// twice changes nothing; one to a command that was cancelled or expired after it had gone out is
    /// kept, since it is what happened.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn finish(
        &self,
        slot: Slot,
        command: CommandId,
        state: CommandState,
        errors: &[ErrorLink],
        at_ms: TimeMs,
    ) -> Result<Option<Finished>, StoreError> {
        let found = self.one(
            "SELECT q.number, c.order_id IS NOT NULL, q.state, c.request_type FROM commands c
             JOIN queue q ON q.number = c.number AND q.slot = ?1
             WHERE c.command = ?2 AND q.sent_at_ms IS NOT NULL",
            params![slot.0, command.as_bytes()],
            |r| Ok((r.get::<_, i64>(0)?, r.get::<_, bool>(1)?, r.get::<_, i64>(2)?, r.get::<_, String>(3)?)),
        )?;
        let Some((number, warranted, before, request_type)) = found else { return Ok(None) };
        let was_open = matches!(before, 0..=2 | 5 | 6);
        if was_open {
            let errors = if errors.is_empty() { None } else { serde_json::to_string(errors).ok() };
            self.run(
                "UPDATE queue SET state = ?3, done_at_ms = ?4, errors = ?5, warrant = NULL
                 WHERE slot = ?1 AND number = ?2",
                params![slot.0, number, state.number(), at_ms, errors],
            )?;
        }
        Ok(Some(Finished { number, warranted, was_open, request_type }))
    }

    /// The phone put it off. False: it was never given that command.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn defer(&self, slot: Slot, command: CommandId, at_ms: TimeMs) -> Result<bool, StoreError> {
        let n = self.run(
            "UPDATE queue SET state = 2, deferred_at_ms = ?3, not_now_count = not_now_count + 1
             WHERE slot = ?1 AND state < 3 AND sent_at_ms IS NOT NULL
             AND number = (SELECT number FROM commands WHERE command = ?2)",
            params![slot.0, command.as_bytes(), at_ms],
        )?;
        Ok(n > 0)
    }

    /// Cancels what is open for a phone.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn cancel_open(&self, slot: Slot, at_ms: TimeMs) -> Result<usize, StoreError> {
        self.run(
            "UPDATE queue INDEXED BY queue_open SET state = 6, done_at_ms = ?2, warrant = NULL WHERE slot = ?1 AND state < 3",
            params![slot.0, at_ms],
        )
    }

    /// Cancels what is open of an order.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn cancel_order(&self, order: OrderId, at_ms: TimeMs) -> Result<usize, StoreError> {
        self.run(
            "UPDATE queue SET state = 6, done_at_ms = ?2, warrant = NULL WHERE state < 3 AND number IN
             (SELECT number FROM commands WHERE order_id = ?1)",
            params![order.as_bytes(), at_ms],
        )
    }

    /// Cancels what is open of an order for one phone, but the command of that number.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn cancel_order_for(
        &self,
        slot: Slot,
        order: OrderId,
        but: Option<i64>,
        at_ms: TimeMs,
    ) -> Result<usize, StoreError> {
        self.run(
            "UPDATE queue INDEXED BY queue_open SET state = 6, done_at_ms = ?4, warrant = NULL
             WHERE slot = ?1 AND state < 3 AND (?3 IS NULL OR number <> ?3)
             AND EXISTS (SELECT 1 FROM commands c WHERE c.number = queue.number AND c.order_id = ?2)",
            params![slot.0, order.as_bytes(), but, at_ms],
        )
    }

    /// Ends one open command at one phone. One that runs out and asked for a profile is noted with that.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn close(
        &self,
        slot: Slot,
        number: i64,
        state: CommandState,
        at_ms: TimeMs,
    ) -> Result<(), StoreError> {
        let n = self.run(
            "UPDATE queue SET state = ?3, done_at_ms = ?4, warrant = NULL
             WHERE slot = ?1 AND number = ?2 AND state < 3",
            params![slot.0, number, state.number(), at_ms],
        )?;
        if n > 0 && state == CommandState::Expired {
            self.profile_ran_out(slot, number, at_ms)?;
        }
        Ok(())
    }

    /// A fresh warrant.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn renew_warrant(
        &self,
        slot: Slot,
        number: i64,
        warrant: &[u8],
        expires_at_ms: TimeMs,
    ) -> Result<(), StoreError> {
        self.run(
            "UPDATE queue SET warrant = ?3, warrant_expires_at_ms = ?4
             WHERE slot = ?1 AND number = ?2 AND state < 3",
            params![slot.0, number, warrant, expires_at_ms],
        )?;
        Ok(())
    }

    /// Forgets commands that were made before then and are not open, a few at a time. Returns how many
    /// rows went.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn forget_history(&self, before_ms: TimeMs, limit: u32) -> Result<usize, StoreError> {
        let rows = self.run(
            "DELETE FROM queue WHERE (slot, number) IN (SELECT q.slot, q.number FROM commands c
             JOIN queue q ON q.number = c.number WHERE c.created_at_ms < ?1 AND q.state >= 3
             AND q.done_at_ms < ?1 LIMIT ?2)",
            params![before_ms, limit],
        )?;
        let commands: Vec<i64> = self.all(
            "DELETE FROM commands WHERE number IN (SELECT c.number FROM commands c WHERE c.created_at_ms < ?1
             AND c.expires_at_ms < ?1
             AND NOT EXISTS (SELECT 1 FROM queue q WHERE q.number = c.number) LIMIT ?2) RETURNING number",
            params![before_ms, limit],
            |r| r.get(0),
        )?;
        for number in &commands {
            self.run("DELETE FROM profile_commands WHERE number = ?1", [number])?;
        }
        Ok(rows + commands.len())
    }
}
