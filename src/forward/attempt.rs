//! One transmission of a request to one instance, on a kept connection or a new one.

use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::Response;
use http::request::Parts;

use super::picked::Picked;
use super::pool::{Leased, NoConnection, Wanted};
use super::retry::{At, SendError};
use super::send::Call;
use crate::wire::Body;
use crate::wire::body::Replay;
use crate::wire::h1::outbound;

/// Parts of an answer that is not passed on which are read for the sake of its connection, if they are there already.
const LEFTOVERS: usize = 4;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// An answer came.
    Ok,
    /// No connection.
    Connect,
    /// The connection was lost before an answer.
    Reset,
    /// No answer in time.
    Timeout,
    /// What came was no answer.
    Malformed,
    /// The client left, or its body broke or did not come.
    ClientGone,
}

impl Attempt {
    /// Every result, in the order of its counters.
    pub const ALL: [Self; 6] =
        [Self::Ok, Self::Connect, Self::Reset, Self::Timeout, Self::Malformed, Self::ClientGone];

    /// The metric's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Malformed => "malformed",
            Self::ClientGone => "client_gone",
        }
    }
}

/// How an attempt waited while all connections of its instance were taken.
#[derive(Clone, Copy, Debug)]
pub struct Waited {
    /// It got its turn.
    pub until: Instant,
    /// For so long.
    pub lasted: Duration,
}

impl Waited {
    /// Whether it took most of the attempt's time, while the instance answered others: then it is busy, not broken.
    fn starves(self, due: Option<Instant>, picked: &Picked<'_>) -> bool {
        let busy = picked.slot.answered.get().is_some_and(|at| at >= picked.since);
        busy && due.is_some_and(|due| due.saturating_duration_since(self.until) < self.lasted)
    }
}

/// The answer, and whether the whole request had been sent before it.
pub(super) async fn once(
    picked: &Picked<'_>,
    wanted: Wanted,
    call: &Call<'_>,
    parts: &Parts,
    body: &mut Replay<'_>,
) -> Result<(Response<Body>, bool), SendError> {
    let starved =
        |waited: Option<Waited>| waited.is_some_and(|waited| waited.starves(wanted.due, picked));
    let leased = picked.slot.connection(wanted).await.map_err(|(none, waited)| {
        let late = wanted.due.is_some_and(|due| Instant::now() >= due);
        let none = match none {
            NoConnection::Refused if late => NoConnection::Unmade,
            NoConnection::Refused
            | NoConnection::Full
            | NoConnection::Crowded
            | NoConnection::Late
            | NoConnection::Unmade => none,
        };
        SendError { at: At::Connect(none), reused: false, starved: starved(waited) }
    })?;
    let Leased { mut lease, reused, waited } = leased;
    let lost = SendError { at: At::Sent, reused, starved: false };
    let link = lease.link().ok_or(lost)?;
    let answered =
        outbound::exchange(link, parts, body, call.early, wanted.due).await.map_err(|failure| {
            SendError { starved: starved(waited), ..SendError::of(failure, reused) }
        })?;
    let link = lease.hand_over().ok_or(lost)?;
    let body = outbound::body(link, &answered, call.idle_timeout, picked.home());
    Ok((Response::from_parts(answered.head.parts, body), answered.uploaded))
}

/// Ends an answer that is not passed on. Its connection can be used again if the rest of it is there already, as of most
/// short ones it is; waiting for more would cost more than a connection.
pub(super) fn let_go(mut body: Body) {
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..LEFTOVERS {
        match body.poll_next(&mut cx) {
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(_)) | None) | Poll::Pending => return,
        }
    }
}
