//! Frames from the vault's pipe, as the courier reads them: one alarm has one frame.
#![no_main]
use libfuzzer_sys::fuzz_target;
use rpc::alarm::{Alarm, FRAME_BYTES};

fuzz_target!(|data: &[u8]| {
    // A frame has one length: what is shorter is filled up, as a frame is.
    let mut frame = [0; FRAME_BYTES];
    let taken = data.len().min(FRAME_BYTES);
    frame[..taken].copy_from_slice(&data[..taken]);
    if let Some(alarm) = Alarm::from_frame(&frame) {
        let again = Alarm::from_frame(&alarm.to_frame());
        assert_eq!(again.as_ref(), Some(&alarm));
        assert!(!alarm.kind.word().is_empty());
    }
    if data.len() != FRAME_BYTES {
        assert_eq!(Alarm::from_frame(data), None);
    }
});
