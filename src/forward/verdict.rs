//! What an attempt says of the instance that it was made at.

use http::StatusCode;

/// What an attempt says of its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answered, with whatever is not its own failure.
    Good,
    /// No connection, a connection lost, no answer in time, no answer at all, or a 5xx but 501.
    Failed,
    /// Nothing: the client left or broke its own part, or the gateway had no room.
    Neutral,
}

impl Verdict {
    /// What an answer's status says. 501 says that the method is not known, which is the client's doing.
    pub fn of_status(status: StatusCode) -> Self {
        if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED {
            Self::Failed
        } else {
            Self::Good
        }
    }
}
