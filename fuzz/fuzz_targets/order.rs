//! Orders, warrants, key statements and what is sealed beside an order: strict, and one reading of each.
#![no_main]
use libfuzzer_sys::fuzz_target;
use model::Role;
use order::{BytesError, Order, SignatureError};

fn strict<T>(data: &[u8]) -> Option<T>
where
    T: minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()>,
{
    let value = order::decode::<T>(data).ok()?;
    assert_eq!(order::encode(&value), data);
    // Nothing may follow, and nothing may be missing.
    assert!(order::decode::<T>(&[data, &[0]].concat()).is_err());
    assert!(order::decode::<T>(&data[..data.len() - 1]).is_err());
    Some(value)
}

fuzz_target!(|data: &[u8]| {
    if let Some(order) = strict::<Order>(data) {
        assert!(!order.kind.name().is_empty());
        for role in [Role::Administrator, Role::WardManager, Role::Auditor] {
            let _ = order::roles::rule(role, &order.kind, false);
        }
    }
    if let Some(signed) = strict::<order::SignedOrder>(data) {
        // A key that the order itself brings, or none: the bytes were signed by nobody.
        match signed.verify(|_, order| order.kind.new_key().cloned()) {
            Err(SignatureError::Bytes(BytesError::Unreadable | BytesError::NotCanonical))
            | Err(SignatureError::DoesNotFit | SignatureError::UnknownKey | SignatureError::Passkey(_)) => {}
            // The seeds hold one that is rightly signed by the key it brings.
            Ok(verified) => assert_eq!(order::encode(verified.order()), signed.order),
        }
    }
    if let Some(signed) = strict::<order::SignedWarrant>(data) {
        let _ = strict::<order::Warrant>(&signed.warrant);
    }
    if let Some(signed) = strict::<order::SignedStatement>(data) {
        let _ = strict::<order::KeyStatement>(&signed.statement);
    }
    let _ = strict::<order::Warrant>(data);
    let _ = strict::<order::KeyStatement>(data);
    let _ = strict::<order::JoinSecrets>(data);
    let _ = strict::<order::InviteSecrets>(data);
    let _ = strict::<order::SearchSecrets>(data);
    let _ = strict::<order::OpenAnswer>(data);
    let _ = strict::<model::CommandSecrets>(data);
});
