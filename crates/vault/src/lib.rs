//! The room that holds the keys, the people and the ledger, and decides every order.
//!
//! It talks to core by one narrow RPC (`rpc/proto/vault.proto`) and to nobody else; it has no
//! network and no database. Its state ([`state`]) is a replay of its ledger. One thread
//! ([`chamber`]) decides: it takes what waits, decides each thing against the state, appends all
//! entries with one `fdatasync`, and only then answers. An answer that left is in the ledger.
//!
//! Whoever takes this room has everything; that is why it is small, parses nothing that a phone
//! sent but what the reader sealed (a certificate request), and can't be reached from outside.

mod alarms;
mod authority;
mod back_up;
mod budget;
mod certificate;
mod chamber;
mod command;
mod declarations;
mod declared;
mod derive;
mod device_groups;
mod erase;
mod error;
mod give_back;
mod grant;
mod holder;
mod install;
mod keys;
mod library;
mod limits;
mod on_token;
mod order_kinds;
mod profile;
mod restored;
mod room;
mod root;
mod rotation;
mod rows;
mod server;
mod standing;
mod state;
mod statement;
mod submit;
#[cfg(test)]
mod tests;
mod tree;

pub use back_up::{BACKED_UP, Restore, Restored, TestRecord, Tried, back_up, restored, try_record};
pub use error::Error;
pub use install::prepare;
pub use room::{Config, run};
