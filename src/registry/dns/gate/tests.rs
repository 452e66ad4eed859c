use super::*;

fn gate() -> Gate {
    Gate::new(Ledger::new("test"))
}

fn silence() -> Trouble {
    Trouble::Away("silent".to_owned())
}

fn failure() -> Trouble {
    Trouble::Broken("SERVFAIL".to_owned())
}

/// How many questions of so many may be sent within this time, none of them answered.
async fn sent(gate: &Arc<Gate>, doubtful: bool, questions: usize, within: Duration) -> usize {
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..questions {
        let gate = Arc::clone(gate);
        waiting.spawn(async move { gate.pass(doubtful).await.map(drop) });
    }
    let end = Instant::now() + within;
    let mut sent = 0;
    while let Ok(Some(passed)) = tokio::time::timeout_at(end, waiting.join_next()).await {
        sent += usize::from(passed.expect("no panic").is_ok());
    }
    sent
}

/// Until every task waits for something; time stands still meanwhile.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn before_the_first_answer_one_question_a_second_is_sent() {
    let gate = Arc::new(gate());
    let count = sent(&gate, false, 100, Duration::from_secs(4)).await;
    assert!((3..=5).contains(&count), "{count}");
}

#[tokio::test(start_paused = true)]
async fn after_a_good_answer_all_may_go_until_nothing_is_heard_for_a_moment() {
    let gate = Arc::new(gate());
    drop(gate.pass(false).await);
    gate.good();
    assert_eq!(sent(&gate, false, 200, Duration::from_millis(10)).await, 200);
    tokio::time::sleep(MOMENT).await;
    let count = sent(&gate, false, 100, Duration::from_secs(4)).await;
    assert!((3..=5).contains(&count), "{count}");
}

#[tokio::test(start_paused = true)]
async fn while_there_are_answers_names_that_were_well_go_before_those_that_failed() {
    let gate = Arc::new(gate());
    drop(gate.pass(false).await);
    gate.good();
    for _ in 0..FAILURES {
        gate.failed(&"a".into(), true, &failure());
    }
    let asking = Arc::clone(&gate);
    let failed = tokio::spawn(async move { sent(&asking, true, 50, Duration::from_secs(4)).await });
    let mut well = 0;
    for _ in 0..10 {
        // Each is answered, with a failure.
        let passed = gate.pass(false).await;
        well += usize::from(passed.is_ok());
        gate.failed(&"b".into(), true, &failure());
    }
    assert_eq!(well, 10);
    let failed = failed.await.unwrap();
    assert!((1..=4).contains(&failed), "{failed}");
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_freely_does_not_put_off_names_that_failed() {
    let gate = Arc::new(gate());
    gate.good();
    let asking = Arc::clone(&gate);
    let failed = tokio::spawn(async move { sent(&asking, true, 50, Duration::from_secs(5)).await });
    for _ in 0..50 {
        assert!(gate.pass(false).await.is_ok());
        gate.good();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let failed = failed.await.unwrap();
    assert!((4..=6).contains(&failed), "{failed}");
}

#[tokio::test(start_paused = true)]
async fn two_names_without_an_answer_are_a_server_that_is_away() {
    let gate = Arc::new(gate());
    gate.good();
    gate.failed(&"a".into(), true, &silence());
    gate.failed(&"a".into(), true, &silence());
    assert!(gate.view.borrow().away.is_none(), "one name alone may be the trouble");
    let asking = Arc::clone(&gate);
    let lost = tokio::spawn(async move { asking.lost().await });
    gate.failed(&"b".into(), true, &silence());
    assert_eq!(lost.await.unwrap(), silence());
    let start = Instant::now();
    assert_eq!(gate.pass(false).await.map(drop), Err(silence()), "not worth waiting");
    assert!(start.elapsed() < Duration::from_millis(1));
    let asking = Arc::clone(&gate);
    let all =
        tokio::spawn(async move { sent(&asking, true, 50, Duration::from_millis(500)).await });
    settle().await;
    gate.good();
    assert_eq!(all.await.unwrap(), 50, "those that failed are released");
}

#[tokio::test(start_paused = true)]
async fn names_that_were_never_found_are_no_absence_once_anything_was_heard() {
    let never = |gate: &Gate| {
        gate.failed(&"a".into(), false, &silence());
        gate.failed(&"b".into(), false, &silence());
    };
    let gate = gate();
    never(&gate);
    assert!(gate.view.borrow().away.is_some());
    gate.good();
    never(&gate);
    gate.failed(&"c".into(), true, &silence());
    assert!(gate.view.borrow().away.is_none());
    gate.failed(&"d".into(), true, &silence());
    assert!(gate.view.borrow().away.is_some());
}

#[tokio::test(start_paused = true)]
async fn an_answer_between_two_silences_is_no_absence() {
    let gate = gate();
    gate.failed(&"a".into(), true, &silence());
    gate.failed(&"c".into(), true, &failure());
    gate.failed(&"b".into(), true, &silence());
    assert!(gate.view.borrow().away.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_recovery_releases_the_others_once_in_ten_seconds() {
    let gate = Arc::new(gate());
    gate.good();
    tokio::time::sleep(RELEASE).await;
    for _ in 0..3 {
        let asking = Arc::clone(&gate);
        let waiting =
            tokio::spawn(async move { sent(&asking, true, 30, Duration::from_secs(3)).await });
        settle().await;
        gate.recovered();
        assert_eq!(waiting.await.unwrap(), 30);
        gate.good();
        let asking = Arc::clone(&gate);
        let waiting =
            tokio::spawn(async move { sent(&asking, true, 30, Duration::from_secs(3)).await });
        settle().await;
        gate.recovered();
        let count = waiting.await.unwrap();
        assert!((1..=4).contains(&count), "{count}");
        gate.good();
        tokio::time::sleep(RELEASE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_that_would_wait_long_fails_with_the_newest_reason() {
    let gate = Arc::new(gate());
    gate.failed(&"a".into(), true, &failure());
    let start = Instant::now();
    let asking = Arc::clone(&gate);
    let many = tokio::spawn(async move { sent(&asking, false, 50, Duration::from_secs(60)).await });
    settle().await;
    assert_eq!(gate.pass(false).await.map(drop), Err(failure()));
    assert_eq!(start.elapsed().as_secs(), PATIENCE.as_secs());
    assert!(many.await.unwrap() <= 6);
}
