//! Orders, warrants, key statements, roles and free queries: their bytes, signatures and checks.
//!
//! - An [`Order`] is what a person signed: what shall happen, to which enrolments, why, until when.
//!   Its bytes are encoded once, signed, and never encoded again; whoever receives them decodes the
//!   signed bytes ([`SignedOrder::verify`]).
//! - A [`Warrant`] is what the vault signed: these bytes may go to this phone until then. The door
//!   checks it at the last moment ([`SignedWarrant::verify`]).
//! - A [`KeyStatement`] is what the vault's root key signed: which keys count today.
//! - A [`root::Succession`] is what two root keys signed: the one takes the other's place.
//! - A [`FreeQuery`] is the one thing that the door says to a phone without a warrant.
//! - [`roles`] is the closed table of who may sign what, [`limits`] of how much a signature is good for.
//!
//! Pure: no I/O, no clock, no randomness of its own. Encoding: CBOR (RFC 8949), canonical in the
//! sense that decoding and encoding again gives the same bytes, or the bytes are refused; so there
//! is one reading of what was signed, and no room for fields that one side does not know.

mod answer;
mod bytes;
mod declarations;
mod free;
mod holder_code;
mod kind;
pub mod limits;
mod passkey;
mod refusal;
pub mod roles;
pub mod root;
pub mod session;
mod shown;
mod signature;
mod statement;
mod warrant;

pub use answer::{
    DeclarationSecrets, HolderCard, HolderCardsAnswer, InviteAnswer, InviteSecrets, JoinSecrets, OpenAnswer,
    OpenedField, SaveSecrets, SavedAnswer, SavedText, SearchSecrets, ServiceTokenSecrets, profile_place,
};
pub use bytes::{BytesError, decode, encode};
pub use declarations::{
    DeclarationAnswer, DeclarationsError, DeclarationsWarrant, DeclaredAnswer, SignedDeclarations,
    endpoint_hash,
};
pub use free::FreeQuery;
pub use holder_code::HolderCode;
pub use kind::{ApiScope, Order, OrderKind, PersonKey};
pub use passkey::{Asserted, Assertion, Passkey, PasskeyError, registered_key};
pub use refusal::Refusal;
pub use shown::{ShownVersion, installs};
pub use signature::{
    Ed25519Secret, OrderSignature, Scheme, SignatureError, SignedOrder, VerifiedOrder, key_id, sha256,
};
pub use statement::{
    Authority, KeyStatement, SignedStatement, StatementError, TrustedStatement, X25519Public,
};
pub use warrant::{AnswerClass, SignedWarrant, Subject, Warrant, WarrantError, WarrantedAnswer};
