//! One instance of five dead, in each manner that a retry can mend: no GET fails, however many there are.

use futures_util::future::join_all;

use super::cell::{Cell, LONG_TRY, Row, TRY, VARIANTS, Variant};
use super::clients::Method;
use super::fault::Fault;
use super::from_environment;

/// What a retry can mend.
pub(super) const MENDABLE: [Fault; 9] = [
    Fault::Refuse,
    Fault::ResetOnAccept,
    Fault::ResetMidRequest,
    Fault::HangBeforeHead,
    Fault::Slow,
    Fault::Answers500,
    Fault::Answers503,
    Fault::Garbage,
    Fault::CloseAfterEach,
];

fn cell(fault: Fault, variant: Variant, exchanges: u64) -> Cell {
    // A try that times out keeps its client busy for 300 ms.
    let waits = matches!(fault, Fault::HangBeforeHead | Fault::Slow);
    let clients = if waits && exchanges > 10_000 { 256 } else { 16 };
    let (method, instances, faulty, per_try) = (Method::Get, 5, 1, LONG_TRY);
    Cell { fault, method, variant, instances, faulty, exchanges, clients, per_try }
}

fn assert_unharmed(row: &Row) {
    let line = row.line();
    assert!(row.hits > 0.0, "nothing met the fault: {line}");
    assert!(row.tally.failed.is_empty(), "{line}");
    let around = row.around.line();
    assert!(
        row.around.failed.is_empty(),
        "{around}, {:?} at most, before or after {line}, in all {:?}",
        row.around.slowest,
        row.total
    );
}

/// With one of ejection and breaker on; with none and with both the matrix sees the same of every GET.
#[tokio::test]
async fn no_get_fails_in_any_manner() {
    for fault in MENDABLE {
        let variants = [VARIANTS[1], VARIANTS[2]];
        let rows = join_all(variants.map(|variant| cell(fault, variant, 150).run())).await;
        rows.iter().for_each(|row| println!("{}", row.line()));
        rows.iter().for_each(assert_unharmed);
    }
}

/// `FAULT_REQUESTS` of each manner and each of the four variants, one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes in release; prints a table"]
async fn no_get_of_100_000_fails_in_any_manner() {
    let exchanges = from_environment("FAULT_REQUESTS", 100_000);
    println!("{}", Row::HEAD);
    let mut rows = Vec::new();
    for fault in MENDABLE {
        for variant in VARIANTS {
            let cell = Cell { per_try: TRY, ..cell(fault, variant, exchanges) };
            let row = cell.run().await;
            println!("{}", row.line());
            rows.push(row);
        }
    }
    rows.iter().for_each(assert_unharmed);
}
