//! Rooms that hang without dying: the others go on, and the supervisor ends and starts them again.

use super::*;

/// A room is given 20 s to answer its supervisor.
async fn started_anew(ward: &Ward, room: &str, before: u32) {
    let ended = Instant::now() + Duration::from_secs(60);
    while ward.house.pid(room).is_none_or(|p| p == before) {
        assert!(Instant::now() < ended, "the {room} hangs for ever");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What the phone is told to do, once it is told anything.
async fn obeyed(phone: &mut Phone) -> Vec<(String, &'static str)> {
    let ended = Instant::now() + Duration::from_secs(60);
    loop {
        if let Ok(mut connection) = phone.connect().await
            && let Ok(talk) = phone.converse(&mut connection, Temper::obliging()).await
            && !talk.commands.is_empty()
        {
            return talk.commands;
        }
        assert!(Instant::now() < ended, "the phone is told nothing");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_that_does_not_answer_holds_up_no_phone_and_what_was_ordered_meanwhile_is_done() {
    let ward = Ward::open(&[]).await;
    let mut phone = ward.phone(0).await;
    ward.admin.ask(&["SecurityInfo"], &[id(&phone)]).await.unwrap();
    let before = ward.house.pid("vault").unwrap();
    ward.house.signal_room("vault", "STOP").unwrap();

    assert_eq!(ward.obey(&mut phone).await.commands, [("SecurityInfo".to_owned(), "Acknowledged")]);
    assert_eq!(ward.device(id(&phone)).await["state"], "enrolled");
    let refused = ward
        .command(Command::DeviceLock, &[id(&phone)], &CommandSecrets::default())
        .await
        .expect_err("nobody decides");
    let refused = refused.to_string();
    assert!(refused.contains("503") && refused.contains("vault"), "{refused}");

    started_anew(&ward, "vault", before).await;
    // Core had kept the order, and carries it to the vault again.
    assert_eq!(obeyed(&mut phone).await, [("DeviceLock".to_owned(), "Acknowledged")]);
    assert!(ward.house.log().contains("the vault has not answered for 20 s; it is ended"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_other_room_that_hangs_is_started_again_and_phones_and_administrators_go_on() {
    let ward = Ward::open(&[]).await;
    let mut phone = ward.phone(0).await;
    let rooms = ["door", "reader", "core", "courier"];
    let before: Vec<_> = rooms.iter().map(|r| ward.house.pid(r).unwrap()).collect();
    for room in rooms {
        ward.house.signal_room(room, "STOP").unwrap();
    }
    for (room, pid) in rooms.iter().zip(before) {
        started_anew(&ward, room, pid).await;
    }
    let ended = Instant::now() + Duration::from_secs(30);
    while ward.command(Command::DeviceLock, &[id(&phone)], &CommandSecrets::default()).await.is_err() {
        assert!(Instant::now() < ended, "core does not come back");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    obeyed(&mut phone).await;
}
