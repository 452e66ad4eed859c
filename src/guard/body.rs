//! How long a request's body may be.

use crate::refusal::Refusal;
use crate::wire::Body;

/// `max_body` of a route, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimit(pub Option<u64>);

impl BodyLimit {
    /// 413 for a body whose declared length is more. One in chunks is counted as it comes.
    pub fn check(self, body: &Body) -> Result<(), Refusal> {
        match (self.0, body.remaining()) {
            (Some(most), Some(declared)) if declared > most => Err(Refusal::BodyTooLarge),
            _ => Ok(()),
        }
    }
}
