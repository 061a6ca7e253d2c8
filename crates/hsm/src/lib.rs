//! The process that speaks to a PKCS#11 token, and the only one that loads a module's code.
//!
//! It holds the PIN and a session, and no key: those were made on the token and can't leave it. It signs what the vault
//! asks it to sign ([`rpc::hsm::Ask`]), and gives each room the secret that its files are wrapped under, into a pipe
//! that leads to that room alone. It reads nothing that came from outside the house. Why it is a process of its own:
//! docs/decisions/0030-pkcs11.md.

mod error;
mod process;
mod token;

pub use error::TokenError;
pub use process::run;
pub use token::{Keys, Token};
