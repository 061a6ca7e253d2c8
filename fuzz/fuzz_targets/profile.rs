//! A profile that an administrator uploads, and its judgement: what is sent is what was judged.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let summary = apple::profile::inspect(data);
    let harm = apple::harm::judge(data);
    let _ = apple::profile::parse(data);
    let _ = apple::profile::unwrapped(data);
    let fits = apple::profile::schema::read(data).is_ok();
    if let Ok(again) = apple::profile::rewritten(data) {
        assert!(again.len() <= apple::profile::MAX_PROFILE_BYTES);
        assert_eq!(apple::harm::judge(&again), harm);
        assert_eq!(apple::profile::inspect(&again), summary);
        assert_eq!(apple::profile::schema::read(&again).is_ok(), fits);
        assert_eq!(apple::profile::rewritten(&again).as_ref(), Ok(&again));
    }
});
