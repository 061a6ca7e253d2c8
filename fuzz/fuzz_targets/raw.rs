//! A raw command as an administrator gives it: what is taken is sent as it was judged.
#![no_main]
use apple::raw;
use libfuzzer_sys::fuzz_target;
use model::{Command, CommandId, CommandSecrets};

fuzz_target!(|data: &[u8]| {
    let Ok((request_type, _)) = raw::read(data) else { return };
    let command = Command::Raw { request_type: request_type.to_owned() };
    let secrets = CommandSecrets { raw: Some(data.to_vec()), ..CommandSecrets::default() };
    let Ok(sent) = apple::command::build(CommandId([7; 16]), &command, &secrets, None) else { return };
    let (id, named, body) = apple::command::parse(&sent).expect("what is sent reads back");
    assert!(id == CommandId([7; 16]) && named == request_type);
    // What the phone reads passes the table as what was judged did.
    let mut again = Vec::new();
    plist::Value::Dictionary(body).to_writer_xml(&mut again).expect("a dictionary is written");
    assert_eq!(raw::read(&again).map(|(named, _)| named), Ok(request_type));
});
