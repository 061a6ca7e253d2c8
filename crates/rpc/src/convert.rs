//! Between the generated messages and the domain's words. Whatever does not fit is refused.

use model::{CommandId, Compartment, Digest, EnrolmentId, LinkHash, OrderId, SealedRow};

use crate::proto;

/// A message from a neighbour does not hold what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a neighbour's message has no valid {0}")]
pub struct ConvertError(pub &'static str);

macro_rules! id {
    ($(#[$doc:meta])* $fun:ident, $ty:ty, $what:literal) => {
        $(#[$doc])*
        ///
        /// # Errors
        /// When the length is wrong.
        pub fn $fun(bytes: &[u8]) -> Result<$ty, ConvertError> {
            <$ty>::try_from(bytes).map_err(|_| ConvertError($what))
        }
    };
}

id!(
    /// An enrolment id from its 16 bytes.
    enrolment_id, EnrolmentId, "enrolment id"
);
id!(
    /// A command id from its 16 bytes.
    command_id, CommandId, "command id"
);
id!(
    /// An order id from its 16 bytes.
    order_id, OrderId, "order id"
);
id!(
    /// A link hash from its 32 bytes.
    link_hash, LinkHash, "link hash"
);
id!(
    /// A digest from its 32 bytes.
    digest, Digest, "digest"
);

/// A sealed row as it crosses a wall.
#[must_use]
pub fn row_to(row: SealedRow) -> proto::SealedRow {
    proto::SealedRow {
        compartment: u32::from(row.compartment.number()),
        name: row.name,
        wrapped_key: row.wrapped_key,
        ciphertext: row.ciphertext,
        mask: row.mask,
        change_tag: row.change_tag,
    }
}

/// A sealed row from across a wall.
///
/// # Errors
/// When the compartment is not one of ours.
pub fn row_from(row: proto::SealedRow) -> Result<SealedRow, ConvertError> {
    let number = u8::try_from(row.compartment).map_err(|_| ConvertError("compartment"))?;
    Ok(SealedRow {
        compartment: Compartment::from_number(number).ok_or(ConvertError("compartment"))?,
        name: row.name,
        wrapped_key: row.wrapped_key,
        ciphertext: row.ciphertext,
        mask: row.mask,
        change_tag: row.change_tag,
    })
}

/// A phone's sealed row from across a wall.
///
/// # Errors
/// When the enrolment id, the row or its compartment is missing or wrong.
pub fn phone_row(row: proto::PhoneRow) -> Result<(EnrolmentId, SealedRow), ConvertError> {
    let enrolment = enrolment_id(&row.enrolment)?;
    Ok((enrolment, row_from(row.row.ok_or(ConvertError("row"))?)?))
}
