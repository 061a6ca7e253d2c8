//! The one encoding. Decoding is strict: bytes that would not be written so are refused.

/// Bytes could not be read as what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BytesError {
    /// Not CBOR of this type, or of a version that this release does not know.
    #[error("the bytes are not an encoding that this version knows")]
    Unreadable,
    /// Readable, but not the encoding that this type has: something was added, or written otherwise.
    #[error("the bytes are not the canonical encoding")]
    NotCanonical,
}

/// Encodes `value`; the result is what is signed or kept.
pub fn encode<T: minicbor::Encode<()>>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    // Writing to a Vec can't fail, and no type of ours reports an encoding error of its own.
    let _ = minicbor::encode(value, &mut out);
    out
}

/// Decodes `bytes`, refusing whatever [`encode`] would not have written.
///
/// # Errors
/// [`BytesError`] when the bytes are of another type or not canonical.
pub fn decode<T>(bytes: &[u8]) -> Result<T, BytesError>
where
    T: minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()>,
{
    let value: T = minicbor::decode(bytes).map_err(|_| BytesError::Unreadable)?;
    if encode(&value) == bytes { Ok(value) } else { Err(BytesError::NotCanonical) }
}
