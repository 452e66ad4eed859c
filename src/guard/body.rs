//! How long a request's body may be.

use crate::exchange::Exchange;
use crate::refusal::Refusal;
use crate::wire::Body;

/// `max_body` of a route, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimit(pub Option<u64>);

impl BodyLimit {
    /// 413 for a body whose declared length is more. One in chunks is counted as it comes, and breaks where it is more.
    pub fn check(self, body: &mut Body, exchange: &mut Exchange) -> Result<(), Refusal> {
        let Some(most) = self.0 else { return Ok(()) };
        match body.remaining() {
            None => body.limit(most),
            Some(declared) if declared > most => {
                exchange.cause = Some(format!("{declared} bytes, max_body is {most}"));
                return Err(Refusal::BodyTooLarge);
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Says why, where a body turned out too long on its way: no instance is to blame.
    pub fn note(self, refusal: Refusal, exchange: &mut Exchange) {
        if let (Refusal::BodyTooLarge, Some(most)) = (refusal, self.0) {
            exchange.cause = Some(format!("more than max_body, which is {most} bytes"));
        }
    }
}
