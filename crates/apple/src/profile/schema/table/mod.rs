//! Every payload type that an iPhone or iPad knows, with its keys and their types. Made from Apple's schema
//! (`mdm/profiles/*.yaml`, those that have iOS; iOS 18.1): names, types, lists of words and ranges, none of its text.
//! A test holds every row against it, both ways.

mod accounts;
mod certificates;
mod device;
mod network;
mod restrictions;
mod vpn;

use super::Kind::{Any, Data, Date, List, Object, OneOf, Real, Text, Truth, WholeOf};
use super::{Key, PayloadKind, opt, req};

/// All of them, by subject.
pub(super) const ALL: [&[PayloadKind]; 6] =
    [accounts::KINDS, certificates::KINDS, device::KINDS, network::KINDS, restrictions::KINDS, vpn::KINDS];

/// Keys of the profile itself.
pub(super) const TOP_LEVEL: &[Key] = &[
    req("PayloadIdentifier", Text),
    req("PayloadUUID", Text),
    req("PayloadType", OneOf(&["Configuration"])),
    req("PayloadVersion", WholeOf(&[1])),
    opt("IsEncrypted", Truth),
    req("PayloadContent", List(&Object(&[opt("*", Any)]))),
    opt("EncryptedPayloadContent", Data),
    opt("PayloadDescription", Text),
    opt("PayloadDisplayName", Text),
    opt("HasRemovalPasscode", Truth),
    opt("PayloadOrganization", Text),
    opt("PayloadRemovalDisallowed", Truth),
    opt("PayloadScope", OneOf(&["System", "User"])),
    opt("RemovalDate", Date),
    opt("DurationUntilRemoval", Real),
    opt("PayloadExpirationDate", Date),
    opt("TargetDeviceType", WholeOf(&[0, 1, 2, 3, 4, 5, 6])),
    opt("ConsentText", Object(&[opt("*", Text)])),
];

/// Keys of every payload.
pub(super) const COMMON: &[Key] = &[
    req("PayloadIdentifier", Text),
    req("PayloadUUID", Text),
    req("PayloadType", Text),
    req("PayloadVersion", WholeOf(&[1])),
    opt("PayloadDescription", Text),
    opt("PayloadDisplayName", Text),
    opt("PayloadOrganization", Text),
];
