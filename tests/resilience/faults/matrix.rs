//! The matrix: each fault with a GET and a POST, with and without ejection and breaker.

use futures_util::future::join_all;

use super::cell::{Cell, LONG_TRY, Row, TRY, VARIANTS, Variant};
use super::clients::Method;
use super::fault::Fault;

/// Exchanges of each cell while its fault is on.
const EXCHANGES: u64 = 200;
/// Clients of each cell.
const CLIENTS: usize = 8;

/// What a client may see beside right answers.
fn allowed(fault: Fault, method: Method) -> &'static [&'static str] {
    use Fault as F;
    match (fault, method) {
        (F::ResetMidBody | F::HangMidBody, _) => &["broken"],
        (F::Answers500, Method::Post) => &["500 -"],
        (F::Answers503, Method::Post) => &["503 -"],
        (F::HangBeforeHead | F::Slow, Method::Post) => &["504 upstream_timeout"],
        // One that is closed as it is used may have been done.
        (F::ResetOnAccept | F::ResetMidRequest | F::Garbage | F::CloseAfterEach, Method::Post) => {
            &["502 upstream_error"]
        }
        (F::Well | F::Refuse | F::Loris, _) | (_, Method::Get) => &[],
    }
}

/// What the contract says of one faulty instance of five.
fn assert_promised(row: &Row) {
    let Cell { fault, method, variant, exchanges, .. } = row.cell;
    let line = row.line();
    let allowed = allowed(fault, method);
    let faults = row.tally.faults();
    assert!(faults.iter().all(|fault| allowed.contains(fault)), "{line}");
    assert_eq!(row.tally.unhinted, 0, "Retry-After passes: {line}");
    let around = row.around.faults();
    let clean = around.iter().all(|fault| allowed.contains(fault));
    assert!(clean, "{around:?} before or after {line}");
    // The fault was there at all.
    assert!(row.hits > 0.0, "nothing met the fault: {line}");
    let failed = row.tally.failed.len() as u64;
    if !allowed.is_empty() && fault != Fault::CloseAfterEach {
        assert!(failed > 0, "a fault that must show: {line}");
    }
    // Only what met the fault fails. A request lost with its connection was not read.
    if fault != Fault::ResetOnAccept {
        assert!(row.tally.failed.iter().all(|id| row.met.contains(id)), "{line}");
    }
    if method == Method::Post || fault.breaks_bodies() {
        assert_eq!(row.most_sent, 1, "never sent twice: {line}");
    }
    if fault == Fault::Loris {
        assert!(row.counted.retries < 1.0, "slow is not wrong: {line}");
    }
    assert!(row.counted.retries <= row.allowance(), "of {} retries: {line}", row.allowance());
    assert_states(row, variant, exchanges);
}

/// That the instance was left out where it is to be, and only there.
fn assert_states(row: &Row, variant: Variant, exchanges: u64) {
    let line = row.line();
    let fault = row.cell.fault;
    let has = |state: &str| row.states.contains(state);
    if fault.harmless() || !variant.ejection {
        assert!(!has("ejected"), "{line}");
    } else {
        assert!(has("ejected"), "{line}");
    }
    let counts = !fault.harmless() && !fault.breaks_bodies();
    if !variant.breaker {
        assert_eq!(row.breakers.iter().collect::<Vec<_>>(), ["off"], "{line}");
    } else if !counts {
        assert_eq!(row.breakers.iter().collect::<Vec<_>>(), ["closed"], "{line}");
    } else if !variant.ejection {
        assert!(row.breakers.contains("open"), "{line}");
    }
    // Without either each turn of the instance meets the fault: one of five.
    if !variant.ejection && (!variant.breaker || !counts) && fault != Fault::CloseAfterEach {
        let turns = exchanges as f64 / 5.0;
        assert!(row.hits >= turns * 0.75, "{} of {turns}: {line}", row.hits);
    }
}

fn one_of_five(fault: Fault, method: Method, variant: Variant) -> Cell {
    let (instances, faulty, exchanges, clients) = (5, 1, EXCHANGES, CLIENTS);
    Cell { fault, method, variant, instances, faulty, exchanges, clients, per_try: LONG_TRY }
}

/// With the time of a try that the table is to have.
fn strict(cell: Cell) -> Cell {
    Cell { per_try: TRY, ..cell }
}

/// Every cell of a fault in these variants, at the same time.
async fn cells(fault: Fault, variants: &[Variant], as_is: fn(Cell) -> Cell) -> Vec<Row> {
    let methods = [Method::Get, Method::Post].into_iter();
    let cells = methods.flat_map(|method| variants.iter().map(move |variant| (method, *variant)));
    let cells = cells.map(|(method, variant)| as_is(one_of_five(fault, method, variant)));
    join_all(cells.map(Cell::run)).await
}

/// With all off and with all on.
async fn one_dead(fault: Fault) {
    let rows = cells(fault, &[VARIANTS[0], VARIANTS[3]], |cell| cell).await;
    for row in &rows {
        println!("{}", row.line());
    }
    rows.iter().for_each(assert_promised);
}

macro_rules! faults {
    ($($name:ident: $fault:ident,)*) => {
        const ALL: &[Fault] = &[$(Fault::$fault),*];
        $(
            #[tokio::test]
            async fn $name() {
                one_dead(Fault::$fault).await;
            }
        )*
    };
}

faults! {
    one_that_refuses_connections_costs_nothing: Refuse,
    one_that_resets_connections_costs_a_get_nothing: ResetOnAccept,
    one_that_resets_within_a_request_costs_a_get_nothing: ResetMidRequest,
    one_that_resets_within_its_answer_is_never_taken_for_whole: ResetMidBody,
    one_that_says_nothing_costs_a_get_its_try: HangBeforeHead,
    one_that_falls_silent_within_its_answer_is_never_taken_for_whole: HangMidBody,
    one_that_takes_five_seconds_costs_a_get_its_try: Slow,
    one_that_answers_500_costs_a_get_nothing: Answers500,
    one_that_answers_503_costs_a_get_nothing: Answers503,
    one_that_answers_byte_by_byte_is_let_be: Loris,
    one_that_answers_garbage_costs_a_get_nothing: Garbage,
    one_that_closes_after_each_answer_is_let_be: CloseAfterEach,
}

/// Half of six and all of five, dead for good.
fn many_dead(method: Method, variant: Variant, half: bool) -> Cell {
    let (instances, faulty) = if half { (6, 3) } else { (5, 5) };
    Cell { instances, faulty, ..one_of_five(Fault::Refuse, method, variant) }
}

fn assert_many(row: &Row) {
    let line = row.line();
    let Cell { variant, instances, faulty, .. } = row.cell;
    let faults = row.tally.faults();
    let known: &[&str] = match (instances == faulty, variant.breaker) {
        (true, true) => &["502 upstream_error", "503 breaker_open"],
        (_, _) => &["502 upstream_error"],
    };
    assert!(faults.iter().all(|fault| known.contains(fault)), "{line}");
    assert_eq!(row.tally.unhinted, 0, "an open breaker says when to come back: {line}");
    let first = row.tally.exchanges() as f64;
    assert!(row.counted.retries <= row.allowance(), "of {} retries: {line}", row.allowance());
    if instances == faulty {
        // An answer may have been on its way as they died.
        let right = row.tally.saw.get("200").copied().unwrap_or_default();
        assert!(right <= CLIENTS as u64, "{line}");
        if variant.breaker {
            assert!(row.counted.attempts < first, "an open breaker saves attempts: {line}");
        }
    } else if variant.ejection || variant.breaker {
        // Half may be ejected, and then nothing fails any more.
        let share = row.tally.failed.len() as f64 / first;
        assert!(share < 0.2, "{share} failed: {line}");
    }
}

async fn many(half: bool, variants: &[Variant]) -> Vec<Row> {
    let methods = [Method::Get, Method::Post].into_iter();
    let cells = methods.flat_map(|method| variants.iter().map(move |variant| (method, *variant)));
    join_all(cells.map(|(method, variant)| many_dead(method, variant, half).run())).await
}

#[tokio::test]
async fn half_of_them_dead_cost_little_once_they_are_out() {
    let rows = many(true, &[VARIANTS[0], VARIANTS[3]]).await;
    rows.iter().for_each(|row| println!("{}", row.line()));
    rows.iter().for_each(assert_many);
}

#[tokio::test]
async fn all_of_them_dead_is_said_at_once() {
    let rows = many(false, &VARIANTS).await;
    rows.iter().for_each(|row| println!("{}", row.line()));
    rows.iter().for_each(assert_many);
}

/// Every cell, two at a time; prints the table for the note.
#[tokio::test]
#[ignore = "takes minutes; prints a table"]
async fn the_whole_table() {
    let mut rows = Vec::new();
    for fault in ALL {
        for variant in VARIANTS {
            rows.extend(cells(*fault, &[variant], strict).await);
        }
    }
    for half in [true, false] {
        for variant in VARIANTS {
            rows.extend(many(half, &[variant]).await);
        }
    }
    println!("{}", Row::HEAD);
    for row in &rows {
        println!("{}", row.line());
    }
    let (many, one): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.cell.faulty > 1);
    one.into_iter().for_each(assert_promised);
    many.into_iter().for_each(assert_many);
}
