//! May this request be sent again? Only what the route lists, only what does no harm twice.

use http::StatusCode;
use http::request::Parts;

use super::attempt::Attempt;
use super::pool::NoConnection;
use super::verdict::Verdict;
use crate::config::model::{RetryConfig, RetryOn};
use crate::exchange::{RetryReason, Suppressed};
use crate::refusal::Refusal;
use crate::wire::BodyError;
use crate::wire::h1::Malformed;
use crate::wire::h1::outbound::Failure;

/// Why an attempt failed, as far as the decision needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendError {
    /// How far the attempt had come.
    pub at: At,
    /// The connection was a kept one, or a kept one was lost before.
    pub reused: bool,
    /// Most of its time went by while all of the instance's connections were taken, and it answered others meanwhile.
    pub starved: bool,
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
            Self::Connect(NoConnection::Full) => f.write_str("too many wait for a connection"),
            Self::Connect(NoConnection::Crowded) => f.write_str("no connection became free"),
            Self::Connect(NoConnection::Late) => f.write_str("no connection became free in time"),
            Self::Connect(NoConnection::Unmade) => f.write_str("no connection was made in time"),
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
        Self { at, reused, starved: false }
    }

    /// What the client is told when nothing else is tried.
    pub fn refusal(self) -> Refusal {
        match self.at {
            At::Connect(NoConnection::Refused) | At::Sent | At::ReadHead(_) => Refusal::Upstream,
            At::Connect(NoConnection::Full | NoConnection::Crowded) => Refusal::Overloaded,
            At::Connect(NoConnection::Late | NoConnection::Unmade) | At::Late | At::Unsent => {
                Refusal::UpstreamTimeout
            }
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

    /// Whether the instance had no room for it, and nothing was lost: it was not even begun.
    pub fn is_full(&self) -> bool {
        self.at == At::Connect(NoConnection::Full) && !self.reused
    }

    /// What it says of the instance.
    pub fn verdict(self) -> Verdict {
        match self.at {
            // The bound on connections is the gateway's own.
            At::Connect(NoConnection::Full | NoConnection::Crowded | NoConnection::Late) => {
                Verdict::Neutral
            }
            At::Late | At::Connect(NoConnection::Unmade) if self.starved => Verdict::Neutral,
            At::ClientBody(_) | At::Unsent => Verdict::Neutral,
            At::Connect(NoConnection::Refused | NoConnection::Unmade)
            | At::Sent
            | At::ReadHead(_)
            | At::Late => Verdict::Failed,
        }
    }
}

/// How an attempt ended, as far as the decision needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// In an answer.
    Answered(StatusCode),
    /// Without one.
    Failed(SendError),
}

impl Ended {
    /// Whether time ended it.
    pub fn is_late(self) -> bool {
        match self {
            Self::Answered(_) => false,
            Self::Failed(error) => {
                matches!(
                    error.at,
                    At::Late | At::Unsent | At::Connect(NoConnection::Late | NoConnection::Unmade)
                )
            }
        }
    }
}

impl std::fmt::Display for Ended {
    /// For the log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Answered(status) => write!(f, "status {}", status.as_u16()),
            Self::Failed(error) => write!(f, "{}", error.at),
        }
    }
}

/// What of the exchange cannot be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// The body can be sent from its start, and nobody waits for the rest of it.
    pub whole: bool,
    /// The client has seen some of an answer.
    pub begun: bool,
}

/// A route's rules for one request.
#[derive(Clone, Copy, Debug)]
pub struct Retry<'a> {
    config: &'a RetryConfig,
    /// It does no harm twice.
    pub(super) repeatable: bool,
}

impl<'a> Retry<'a> {
    /// For this request.
    pub fn new(config: &'a RetryConfig, parts: &Parts) -> Self {
        let listed = config.methods.contains(&parts.method);
        let has_key = || config.idempotency_key && parts.headers.contains_key(IDEMPOTENCY_KEY);
        Self { config, repeatable: listed || has_key() }
    }

    /// For one that is known.
    pub(super) fn known(config: &'a RetryConfig, repeatable: bool) -> Self {
        Self { config, repeatable }
    }

    /// Whether it goes to the same instance again where only a kept connection was dead.
    pub fn replaces(&self) -> bool {
        self.repeatable && self.config.attempts > 1 && self.config.on.reset
    }

    /// How much of a body of this length, if that is known, is kept to be sent again: nothing unless a retry may need it.
    pub fn keeps(&self, length: Option<u64>) -> usize {
        let RetryConfig { attempts, on, replay_bytes, .. } = self.config;
        let after_a_byte = on.reset || on.timeout || !on.statuses.0.is_empty();
        let possible = self.repeatable && *attempts > 1 && after_a_byte;
        let fits = length.is_none_or(|length| length <= *replay_bytes as u64);
        if possible && fits { *replay_bytes } else { 0 }
    }

    /// Whether an answer with this status is one to try again after.
    pub fn wants(&self, status: StatusCode) -> bool {
        // An interim answer is none, and a connection that has switched is no longer HTTP.
        let last = !status.is_informational();
        self.config.attempts > 1 && last && self.config.on.statuses.holds(status)
    }

    /// Whether the route asks for another attempt after this.
    pub fn lists(&self, ended: Ended) -> bool {
        reason(&self.config.on, ended).is_some()
    }

    /// Whether only a kept connection was dead, which says nothing of its instance, so that the same may be sent to it
    /// on a new one. The instance may have read the request and died: one that may not go again does not.
    pub fn is_stale(&self, error: SendError) -> bool {
        self.replaces() && error.reused && error.at == At::Sent
    }

    /// Why to go on after so many attempts, or what forbids to; none is that the route does not ask for it.
    pub fn next(
        &self,
        ended: Ended,
        done: Done,
        attempts: u32,
    ) -> Result<RetryReason, Option<Suppressed>> {
        let reason = reason(&self.config.on, ended).filter(|_| attempts < self.config.attempts);
        let reason = reason.ok_or(None)?;
        let sent = !matches!(ended, Ended::Failed(SendError { at: At::Connect(_), .. }));
        if sent && !self.repeatable {
            return Err(Some(Suppressed::Method));
        }
        if done.begun {
            return Err(Some(Suppressed::Begun));
        }
        if !done.whole {
            return Err(Some(Suppressed::Body));
        }
        Ok(reason)
    }
}

/// Says that its request does no harm twice (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// What of `on` an attempt's end is. A status also covers what the gateway would answer itself, as Envoy's `5xx` does.
fn reason(on: &RetryOn, ended: Ended) -> Option<RetryReason> {
    let error = match ended {
        Ended::Answered(status) => {
            return on.statuses.holds(status).then_some(RetryReason::Status);
        }
        Ended::Failed(error) => error,
    };
    let (listed, reason) = match error.at {
        // Was passed over: nobody else had room either.
        At::Connect(NoConnection::Full) if !error.reused => return None,
        At::Connect(NoConnection::Refused | NoConnection::Full | NoConnection::Crowded) => {
            (on.connect || (error.reused && on.reset), RetryReason::Connect)
        }
        At::Connect(NoConnection::Late | NoConnection::Unmade) => {
            (on.connect || on.timeout, RetryReason::Connect)
        }
        At::Sent => (on.reset, RetryReason::Reset),
        At::ReadHead(None) => (false, RetryReason::Reset),
        At::ReadHead(Some(_)) => (false, RetryReason::Malformed),
        At::Late => (on.timeout, RetryReason::Timeout),
        At::Unsent | At::ClientBody(_) => return None,
    };
    (listed || on.statuses.holds(error.refusal().status())).then_some(reason)
}

#[cfg(test)]
mod tests;
