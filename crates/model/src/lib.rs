//! The domain's words, shared by every room: ids, fields and their compartments, typed commands,
//! people and roles, the clock. No I/O, no async, no SQL, no HTTP: whatever a room can do with a
//! phone, it says in these words.
//!
//! Encoding: everything that is signed or kept is CBOR (RFC 8949) by `minicbor`, with integer keys
//! that are never reused. JSON (serde) is for people and for the API only.

pub mod app;
pub mod clock;
pub mod command;
pub mod declaration;
pub mod device_group;
pub mod duty;
pub mod field;
pub mod id;
pub mod key_name;
pub mod outline;
pub mod person;
pub mod standing;

pub use app::{AppAttributes, AppSource, is_app_identifier};
pub use clock::{Clock, SteadyClock, SystemClock, TimeMs};
pub use command::{Command, CommandKind, CommandSecrets, Setting};
pub use declaration::{DeclarationId, DeclarationIdError, DeclarationKind, SetName, SetNameError};
pub use device_group::{
    Condition, DeviceGroupDefinition, DeviceGroupName, DeviceGroupNameError, DeviceGroupRule, Join,
    OsVersion, RuleError, RuleForm,
};
pub use duty::{Duty, Limit, Whose, Window};
pub use field::{Compartment, FieldClass, SealedRow, classify, classify_status, clear_names};
pub use id::{
    CommandId, DeviceGroupId, Digest, EnrolmentId, KeyId, LinkHash, OrderId, ParseIdError, PersonId,
    ProfileId,
};
pub use key_name::KeyName;
pub use outline::{
    Change, Outline, OutlinedDeclaration, OutlinedKey, OutlinedPayload, OutlinedValue, SealedOutline,
    SetOutline, Since,
};
pub use person::{DataSubject, Group, GroupError, Role};
pub use standing::{StandingInstall, StandingTemplate};
