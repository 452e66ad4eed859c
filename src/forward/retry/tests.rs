use http::Request;

use super::*;
use crate::config::model::Statuses;
use crate::wire::BodyError;
use crate::wire::h1::Malformed;
use crate::wire::h1::outbound::Failure;

const WHOLE: Done = Done { whole: true, begun: false };

fn parts(method: &str) -> Parts {
    Request::builder().method(method).body(()).unwrap().into_parts().0
}

fn failed(at: At) -> Ended {
    Ended::Failed(SendError { at, reused: false, starved: false })
}

fn config(attempts: u32, on: RetryOn) -> RetryConfig {
    RetryConfig { attempts, on, ..RetryConfig::default() }
}

fn statuses(range: std::ops::RangeInclusive<u16>) -> RetryOn {
    RetryOn { statuses: Statuses(vec![range]), ..RetryOn::default() }
}

const LOST: At = At::Sent;
const REFUSED: At = At::Connect(NoConnection::Refused);
const UNAVAILABLE: Ended = Ended::Answered(StatusCode::SERVICE_UNAVAILABLE);

#[test]
fn a_request_is_sent_as_often_as_the_route_says_and_ends_with_what_came_last() {
    // go-kit's vectors: with 3, two errors and a good end are 3 calls; with 2 it ends at the second error; with 1, and
    // with what go-kit takes for 1, there is one call.
    for (most, calls) in [(1, 1), (2, 2), (3, 3)] {
        let config = config(most, RetryOn { connect: true, ..RetryOn::default() });
        let get = parts("GET");
        let retry = Retry::new(&config, &get);
        let ends = [failed(REFUSED), failed(REFUSED), Ended::Answered(StatusCode::OK)];
        let made =
            ends.iter().zip(1..).find(|(end, made)| retry.next(**end, WHOLE, *made).is_err());
        assert_eq!(made.map(|(_, made)| made), Some(calls), "of {most}");
    }
}

#[test]
fn each_end_goes_on_for_what_the_route_lists() {
    let malformed = At::ReadHead(Some(Malformed::StatusLine));
    let only = |set: fn(&mut RetryOn)| {
        let mut on = RetryOn::default();
        set(&mut on);
        on
    };
    let (connect, reset, timeout) =
        (only(|on| on.connect = true), only(|on| on.reset = true), only(|on| on.timeout = true));
    let late = At::Connect(NoConnection::Late);
    let cases = [
        (failed(REFUSED), &connect, Some(RetryReason::Connect)),
        (failed(At::Connect(NoConnection::Crowded)), &connect, Some(RetryReason::Connect)),
        (failed(At::Connect(NoConnection::Full)), &connect, None),
        (failed(late), &connect, Some(RetryReason::Connect)),
        (failed(late), &timeout, Some(RetryReason::Connect)),
        (failed(REFUSED), &reset, None),
        // In place of a kept connection that was lost.
        (
            Ended::Failed(SendError { at: REFUSED, reused: true, starved: false }),
            &reset,
            Some(RetryReason::Connect),
        ),
        (failed(LOST), &reset, Some(RetryReason::Reset)),
        (failed(LOST), &connect, None),
        (failed(At::ReadHead(None)), &reset, None),
        (failed(At::Late), &timeout, Some(RetryReason::Timeout)),
        (failed(At::Late), &reset, None),
        (failed(malformed), &reset, None),
        (failed(malformed), &statuses(502..=502), Some(RetryReason::Malformed)),
        (failed(malformed), &statuses(500..=599), Some(RetryReason::Malformed)),
        (failed(At::ReadHead(None)), &statuses(502..=502), Some(RetryReason::Reset)),
        (failed(At::Late), &statuses(504..=504), Some(RetryReason::Timeout)),
        (failed(At::Late), &statuses(502..=503), None),
        (failed(REFUSED), &statuses(500..=599), Some(RetryReason::Connect)),
        (failed(LOST), &statuses(500..=599), Some(RetryReason::Reset)),
        (UNAVAILABLE, &statuses(503..=503), Some(RetryReason::Status)),
        (UNAVAILABLE, &statuses(502..=502), None),
        (failed(At::Unsent), &statuses(100..=599), None),
        (failed(At::ClientBody(BodyError::Gone)), &statuses(100..=599), None),
    ];
    for (ended, on, expected) in cases {
        let config = config(2, on.clone());
        let get = parts("GET");
        let next = Retry::new(&config, &get).next(ended, WHOLE, 1);
        assert_eq!(next, expected.ok_or(None), "{ended:?} {on:?}");
    }
}

#[test]
fn what_was_sent_goes_again_only_if_it_does_no_harm_twice() {
    let config = config(3, RetryOn { reset: true, connect: true, ..statuses(503..=503) });
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
        let parts = parts(method);
        let retry = Retry::new(&config, &parts);
        assert_eq!(retry.next(failed(LOST), WHOLE, 1), Ok(RetryReason::Reset), "{method}");
        assert!(retry.is_stale(SendError { at: LOST, reused: true, starved: false }), "{method}");
        assert!(!retry.is_stale(SendError { at: LOST, reused: false, starved: false }), "{method}");
    }
    for method in ["POST", "PATCH", "BREW"] {
        let parts = parts(method);
        let retry = Retry::new(&config, &parts);
        for ended in [failed(LOST), UNAVAILABLE] {
            assert_eq!(retry.next(ended, WHOLE, 1), Err(Some(Suppressed::Method)), "{method}");
        }
        assert_eq!(retry.next(failed(REFUSED), WHOLE, 1), Ok(RetryReason::Connect), "{method}");
        assert!(!retry.is_stale(SendError { at: LOST, reused: true, starved: false }), "{method}");
    }
    let get = parts("GET");
    let retry = Retry::new(&config, &get);
    let (part, begun) = (Done { whole: false, begun: false }, Done { whole: true, begun: true });
    assert_eq!(retry.next(UNAVAILABLE, part, 1), Err(Some(Suppressed::Body)));
    assert_eq!(retry.next(UNAVAILABLE, begun, 1), Err(Some(Suppressed::Begun)));
    // Attempts that are used up suppress nothing.
    assert_eq!(retry.next(UNAVAILABLE, part, 3), Err(None));
}

#[test]
fn a_key_lets_any_method_go_again_where_the_route_says_so() {
    let mut keyed = parts("POST");
    keyed.headers.insert("idempotency-key", http::HeaderValue::from_static("7f"));
    for (allowed, parts, expected) in
        [(true, &keyed, true), (false, &keyed, false), (true, &parts("POST"), false)]
    {
        let config = RetryConfig { idempotency_key: allowed, ..RetryConfig::default() };
        assert_eq!(Retry::new(&config, parts).replaces(), expected);
    }
}

#[test]
fn a_dead_connection_is_not_replaced_where_nothing_lost_goes_again() {
    let get = parts("GET");
    let lost = RetryOn { reset: true, ..RetryOn::default() };
    let unlisted = RetryOn { connect: true, ..RetryOn::default() };
    for (attempts, on, replaces) in [(2, &lost, true), (1, &lost, false), (2, &unlisted, false)] {
        let config = config(attempts, on.clone());
        let retry = Retry::new(&config, &get);
        assert_eq!(retry.replaces(), replaces, "{attempts} {on:?}");
        assert_eq!(retry.is_stale(SendError { at: LOST, reused: true, starved: false }), replaces);
    }
}

#[test]
fn a_body_is_kept_only_where_it_may_be_sent_again() {
    let on = RetryOn { reset: true, ..RetryOn::default() };
    let connect = RetryOn { connect: true, ..RetryOn::default() };
    let (put, post) = (parts("PUT"), parts("POST"));
    let keeps = |config: &RetryConfig, parts, length| Retry::new(config, parts).keeps(length);
    let usual = config(2, on.clone());
    assert_eq!(keeps(&usual, &put, Some(65_536)), 65_536);
    assert_eq!(keeps(&usual, &put, None), 65_536);
    assert_eq!(keeps(&usual, &put, Some(65_537)), 0, "it never fits");
    assert_eq!(keeps(&usual, &post, Some(1)), 0);
    assert_eq!(keeps(&config(1, on), &put, Some(1)), 0);
    assert_eq!(keeps(&config(2, connect), &put, Some(1)), 0, "nothing was sent then");
}

#[test]
fn an_answer_is_wanted_again_only_where_there_is_another_attempt() {
    let get = parts("GET");
    let (one, two) = (config(1, statuses(100..=599)), config(2, statuses(100..=599)));
    assert!(!Retry::new(&one, &get).wants(StatusCode::BAD_GATEWAY));
    assert!(Retry::new(&two, &get).wants(StatusCode::BAD_GATEWAY));
    assert!(!Retry::new(&two, &get).wants(StatusCode::SWITCHING_PROTOCOLS));
}

#[test]
fn what_the_wire_says_becomes_how_far_it_came() {
    for (failure, at) in [
        (Failure::Lost { begun: false }, At::Sent),
        (Failure::Lost { begun: true }, At::ReadHead(None)),
        (Failure::Malformed(Malformed::StatusLine), At::ReadHead(Some(Malformed::StatusLine))),
        (Failure::Late, At::Late),
        (Failure::Unsent, At::Unsent),
        (Failure::Client(BodyError::TooLong), At::ClientBody(BodyError::TooLong)),
    ] {
        assert_eq!(SendError::of(failure, false).at, at);
    }
}
