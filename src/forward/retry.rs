//! May this request be sent again?

use http::Method;

use super::pool::NoConnection;
use super::service::Attempt;
use super::verdict::Verdict;
use crate::exchange::RetryReason;
use crate::refusal::Refusal;
use crate::wire::BodyError;
use crate::wire::h1::Malformed;
use crate::wire::h1::outbound::Failure;

/// Why an attempt failed, as far as the decision needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendError {
    /// How far the attempt had come.
    pub at: At,
    /// The connection was a kept one.
    pub reused: bool,
}

/// How far an attempt had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// No connection, so no byte was sent.
    Connect(NoConnection),
    /// Lost after it was written to, before the first byte of an answer.
    Sent,
    /// Broken within the answer's head, by loss or by what it says.
    ReadHead(Option<Malformed>),
    /// No answer in time.
    Late,
    /// Time was over before the client had sent its body: the instance had nothing to answer yet.
    Unsent,
    /// The client's body broke; never retried, the client's fault.
    ClientBody(BodyError),
}

impl std::fmt::Display for At {
    /// For the log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(NoConnection::Refused) => f.write_str("no connection could be made"),
            Self::Connect(NoConnection::Crowded) => f.write_str("too many wait for a connection"),
            Self::Connect(NoConnection::Late) => f.write_str("no connection became free in time"),
            Self::Sent => f.write_str("the connection was lost before an answer"),
            Self::ReadHead(None) => f.write_str("the connection was lost within the answer's head"),
            Self::ReadHead(Some(malformed)) => write!(f, "the answer's head: {}", malformed.rule()),
            Self::Late => f.write_str("no answer in time"),
            Self::Unsent => f.write_str("time was over before the client's body was there"),
            Self::ClientBody(error) => write!(f, "the client's body: {error}"),
        }
    }
}

impl SendError {
    /// From what the wire says.
    pub fn of(failure: Failure, reused: bool) -> Self {
        let at = match failure {
            Failure::Lost { begun: false } => At::Sent,
            Failure::Lost { begun: true } => At::ReadHead(None),
            Failure::Malformed(malformed) => At::ReadHead(Some(malformed)),
            Failure::Late => At::Late,
            Failure::Unsent => At::Unsent,
            Failure::Client(error) => At::ClientBody(error),
        };
        Self { at, reused }
    }

    /// What the client is told when nothing else is tried.
    pub fn refusal(self) -> Refusal {
        match self.at {
            At::Connect(NoConnection::Refused) | At::Sent | At::ReadHead(_) => Refusal::Upstream,
            At::Connect(NoConnection::Crowded) => Refusal::Overloaded,
            At::Connect(NoConnection::Late) | At::Late | At::Unsent => Refusal::UpstreamTimeout,
            At::ClientBody(BodyError::Silent) => Refusal::ClientTimeout,
            At::ClientBody(BodyError::TooLong) => Refusal::BodyTooLarge,
            // Nobody is told: a client that closes within its body, also half, has left, and its exchange is over.
            At::ClientBody(BodyError::Gone) => Refusal::BadRequest("the client left"),
            At::ClientBody(BodyError::Malformed(malformed)) => {
                Refusal::BadRequest(malformed.rule())
            }
        }
    }

    /// The attempt's result for those who count.
    pub fn attempt(self) -> Attempt {
        match self.at {
            At::Connect(_) => Attempt::Connect,
            At::Sent | At::ReadHead(None) => Attempt::Reset,
            At::ReadHead(Some(_)) => Attempt::Malformed,
            At::Late => Attempt::Timeout,
            At::ClientBody(_) | At::Unsent => Attempt::ClientGone,
        }
    }

    /// What it says of the instance.
    pub fn verdict(self) -> Verdict {
        match self.at {
            At::ClientBody(_) | At::Unsent | At::Connect(NoConnection::Crowded) => Verdict::Neutral,
            At::Connect(NoConnection::Refused | NoConnection::Late)
            | At::Sent
            | At::ReadHead(_)
            | At::Late => Verdict::Failed,
        }
    }
}

/// What the decision remembers over the attempts of one exchange.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    idempotent: bool,
    resets: u8,
}

/// Attempts lost after they were written before the client is told.
const RESETS: u8 = 1;

impl Retry {
    /// For a request of this method.
    pub fn new(method: &Method) -> Self {
        Self { idempotent: is_idempotent(method), resets: 0 }
    }

    /// Whether the request may be sent twice.
    pub fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    /// Whether to go on after this error, and why. `whole` says that the body can be sent from its start.
    pub fn again(&mut self, error: SendError, whole: bool) -> Option<RetryReason> {
        match error.at {
            // Another instance may have room.
            At::Connect(NoConnection::Refused | NoConnection::Crowded) => {
                Some(RetryReason::Connect)
            }
            // A kept connection that was written to counts as sent: the upstream may have read the request and died.
            At::Sent if !self.idempotent || !whole => None,
            At::Sent if error.reused => Some(RetryReason::Reused),
            At::Sent if self.resets < RESETS => {
                self.resets += 1;
                Some(RetryReason::Reset)
            }
            At::Sent
            | At::Connect(NoConnection::Late)
            | At::ReadHead(_)
            | At::Late
            | At::Unsent
            | At::ClientBody(_) => None,
        }
    }
}

/// RFC 9110 section 9.2.2, as far as methods are known.
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(reused: bool) -> SendError {
        SendError::of(Failure::Lost { begun: false }, reused)
    }

    #[test]
    fn sends_again_only_what_does_no_harm_twice() {
        let mut get = Retry::new(&Method::GET);
        assert_eq!(get.again(lost(true), true), Some(RetryReason::Reused));
        assert_eq!(get.again(lost(false), true), Some(RetryReason::Reset));
        assert_eq!(get.again(lost(false), true), None, "one reset is enough");
        let mut put = Retry::new(&Method::PUT);
        assert_eq!(put.again(lost(true), false), None, "its body is gone");
        for method in [Method::POST, Method::PATCH, Method::from_bytes(b"BREW").unwrap()] {
            let mut retry = Retry::new(&method);
            assert_eq!(retry.again(lost(true), true), None);
            assert_eq!(retry.again(lost(false), true), None);
            let refused = SendError { at: At::Connect(NoConnection::Refused), reused: false };
            assert_eq!(retry.again(refused, true), Some(RetryReason::Connect), "nothing was sent");
        }
    }

    #[test]
    fn never_goes_on_once_an_answer_began_or_time_is_over() {
        let mut get = Retry::new(&Method::GET);
        for failure in [
            Failure::Lost { begun: true },
            Failure::Malformed(Malformed::StatusLine),
            Failure::Late,
            Failure::Unsent,
            Failure::Client(BodyError::Gone),
            Failure::Client(BodyError::TooLong),
        ] {
            assert_eq!(get.again(SendError::of(failure, false), true), None, "{failure:?}");
        }
    }
}
