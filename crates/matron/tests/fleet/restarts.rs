//! Rooms die under load; nothing acknowledged is lost or doubled.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_each_room_under_load_loses_and_doubles_nothing() {
    let ward = Arc::new(Ward::open(&["log.filter=error"]).await);
    let phones: Vec<Shared<Phone>> = {
        let mut all = Vec::new();
        for index in 0..12 {
            all.push(Arc::new(tokio::sync::Mutex::new(ward.phone(index).await)));
        }
        all
    };
    let targets: Vec<EnrolmentId> = {
        let mut all = Vec::new();
        for p in &phones {
            all.push(id(&*p.lock().await));
        }
        all
    };
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    // Phones that come and obey, whatever happens to the house.
    let load: Vec<_> = phones
        .iter()
        .cloned()
        .map(|phone| {
            let over = over.clone();
            tokio::spawn(async move {
                let (mut obeyed, mut repeated) = (0, 0);
                while !over.load(std::sync::atomic::Ordering::SeqCst) {
                    let mut phone = phone.lock().await;
                    if let Ok(mut connection) = phone.connect().await
                        && let Ok(talk) = phone.converse(&mut connection, Temper::obliging()).await
                    {
                        obeyed += talk.commands.iter().filter(|(t, _)| t == "DeviceLock").count();
                        repeated += talk.repeated;
                    }
                    drop(phone);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                (obeyed, repeated)
            })
        })
        .collect();
    // Orders that go in meanwhile; those that were acknowledged must be obeyed.
    let mut acknowledged = Vec::new();
    for room in ["door", "reader", "core", "vault", "courier", "core", "vault", "door"] {
        for target in targets.iter().take(4) {
            ward.house.kill_room(room).ok();
            for _ in 0..2 {
                if let Ok(said) =
                    ward.command(Command::DeviceLock, &[*target], &CommandSecrets::default()).await
                {
                    acknowledged.push(said["order"].as_str().unwrap().to_owned());
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    assert!(acknowledged.len() > 10, "{} orders were acknowledged", acknowledged.len());
    let ward_ref = &ward;
    for order in &acknowledged {
        until("an acknowledged order to be obeyed", || async move {
            let path = format!("/api/v1/commands?order={order}");
            match ward_ref.admin.call("GET", &path, None).await {
                Ok(said) => {
                    let items = said["items"].as_array().cloned().unwrap_or_default();
                    !items.is_empty() && items.iter().all(|c| c["state"] == "acknowledged")
                }
                Err(_) => false,
            }
        })
        .await;
    }
    over.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut repeated = 0;
    for phone in load {
        repeated += phone.await.unwrap().1;
    }
    assert_eq!(repeated, 0, "no command whose report was confirmed came again");
    let report = ledger::verify(&ward.house.room_dir("vault")).unwrap();
    assert!(report.entries > 20);
}

#[tokio::test]
async fn a_house_killed_in_the_middle_of_an_enrolment_finishes_it_with_one_certificate() {
    let mut ward = Ward::open(&[]).await;
    let mut cut_short = 0;
    // Somewhere in it; wherever that is, the next try goes on from there.
    for (index, after_ms) in [2u64, 6, 10, 15, 25, 40].into_iter().enumerate() {
        let index = u32::try_from(index).unwrap();
        let mut phone = Phone::new(7, index);
        let link = ward.invite(index).await;
        let trying = phone.enrol(&link, &ward.network, &ward.keys, &SystemClock);
        let done = tokio::time::timeout(Duration::from_millis(after_ms), trying).await;
        ward.house.kill().unwrap();
        ward.house.run().unwrap();
        if !matches!(done, Ok(Ok(_))) {
            cut_short += 1;
            phone.enrol(&link, &ward.network, &ward.keys, &SystemClock).await.unwrap();
        }
        ward.obey(&mut phone).await;
        let mut issued = 0;
        ledger::replay(&ward.house.room_dir("vault"), |r| {
            let of_this = |e: &EnrolmentId| *e == id(&phone);
            let body = &r.entry.body;
            issued += usize::from(
                matches!(body, ledger::Body::CertificateIssued { enrolment, .. } if of_this(enrolment)),
            );
        })
        .unwrap();
        assert_eq!(issued, 1, "after {after_ms} ms");
        assert_eq!(ward.device(id(&phone)).await["state"], "enrolled");
    }
    assert!(cut_short > 0, "no enrolment was cut short");
}

#[tokio::test]
async fn a_stop_and_a_start_keep_phones_orders_and_the_queue() {
    let mut ward = Ward::open(&[]).await;
    let mut phone = ward.phone(0).await;
    ward.command(Command::DeviceLock, &[id(&phone)], &CommandSecrets::default()).await.unwrap();
    let before = ward.device(id(&phone)).await;
    ward.house.stop().unwrap();
    ward.house.run().unwrap();
    let after = ward.device(id(&phone)).await;
    assert_eq!(before["masks"], after["masks"]);
    assert_eq!(after["pending_commands"], 1);
    assert_eq!(ward.obey(&mut phone).await.commands, [("DeviceLock".to_owned(), "Acknowledged")]);
}
