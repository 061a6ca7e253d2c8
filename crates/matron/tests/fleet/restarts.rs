//! Rooms die under load; nothing acknowledged is lost or doubled.

use super::*;

/// What is killed in a round.
const VICTIMS: [&[&str]; 12] = [
    &["door"],
    &["reader"],
    &["core"],
    &["vault"],
    &["courier"],
    &["core"],
    &["vault"],
    &["core", "vault"],
    &["door", "reader"],
    &["door", "core"],
    &["vault", "door", "reader", "core", "courier"],
    &["the supervisor"],
];

/// The next number of a sequence that `seed` fixes (a linear congruence; Knuth, MMIX).
fn next(seed: &mut u64, below: usize) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*seed >> 33).unwrap() % below
}

/// `MATRON_KILL_ROUNDS` (50) rounds; `MATRON_KILL_SEED` repeats a run that failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_rooms_at_random_under_load_loses_and_doubles_nothing_acknowledged() {
    let number = |name: &str, otherwise: u64| std::env::var(name).map_or(otherwise, |v| v.parse().unwrap());
    let rounds = number("MATRON_KILL_ROUNDS", 50);
    let first_seed = number("MATRON_KILL_SEED", u64::from(std::process::id()));
    eprintln!("MATRON_KILL_SEED={first_seed} MATRON_KILL_ROUNDS={rounds}");
    let mut seed = first_seed;
    let mut ward = Ward::open(&["log.filter=error"]).await;
    // One signature is good for less than the longer runs of this.
    ward.admin.lift(&[model::Duty::Lock]).await.unwrap();
    let mut phones: Vec<Shared<Phone>> = Vec::new();
    let mut targets = Vec::new();
    for index in 0..12 {
        let phone = ward.phone(index).await;
        targets.push(id(&phone));
        phones.push(Arc::new(tokio::sync::Mutex::new(phone)));
    }
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
    let (mut acknowledged, mut killed) = (Vec::new(), 0);
    for _ in 0..rounds {
        let orders = async {
            let mut said = Vec::new();
            for n in 0..3 {
                let target = targets[(first_seed as usize + n) % targets.len()];
                let done = ward.command(Command::DeviceLock, &[target], &CommandSecrets::default()).await;
                said.extend(done.ok().map(|s| s["order"].as_str().unwrap().to_owned()));
            }
            said
        };
        let victims = VICTIMS[next(&mut seed, VICTIMS.len())];
        let pause = Duration::from_millis(u64::try_from(next(&mut seed, 60)).unwrap());
        let kill = async {
            tokio::time::sleep(pause).await;
            victims.iter().filter(|room| ward.house.kill_room(room).is_ok()).count()
        };
        // While the orders are under way.
        let (said, dead) = tokio::join!(orders, kill);
        acknowledged.extend(said);
        killed += dead;
        if victims == ["the supervisor"] {
            ward.house.kill().unwrap();
            ward.house.run().unwrap();
            killed += 1;
        }
        tokio::time::sleep(Duration::from_millis(u64::try_from(next(&mut seed, 300)).unwrap())).await;
    }
    let ward_ref = &ward;
    assert!(killed * 3 > rounds as usize, "only {killed} were killed in {rounds} rounds");
    assert!(acknowledged.len() as u64 > rounds / 5, "{} orders were acknowledged", acknowledged.len());
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
    let (mut obeyed, mut repeated) = (0, 0);
    for phone in load {
        let done = phone.await.unwrap();
        obeyed += done.0;
        repeated += done.1;
    }
    assert_eq!(repeated, 0, "no command whose report was confirmed came again");
    // A conversation that was cut short is not in this count, whatever was obeyed in it.
    assert!(obeyed > 0, "no phone obeyed anything");
    let report = ledger::verify(&ward.house.room_dir("vault")).unwrap();
    assert!(report.entries as usize >= acknowledged.len());
    eprintln!("{killed} kills, {} orders acknowledged, {obeyed} locks obeyed", acknowledged.len());
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
