//! What an attempt says of the instance that it was made at.

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
