//! One log line per answer the gateway gave by itself or could not finish, as long as there are not too many.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::exchange::{Ending, Exchange, Fate};
use crate::refusal::{Blame, Refusal};
use crate::wire::clock;

/// Lines of one worker in one [`WINDOW`]: writing a line blocks, and a flood of refusals must not slow what is served.
const LINES: u32 = 50;
const WINDOW: Duration = Duration::from_secs(1);

/// One worker's refusals, on their way to the log.
#[derive(Debug, Default)]
pub struct Refusals {
    since: Cell<Option<Instant>>,
    count: Cell<u32>,
}

impl Refusals {
    /// Logs one: `info` when the client is to blame, else `warn`. Says how many were left out once there is room again.
    pub fn note(&self, exchange: &Exchange, refusal: Refusal, route: &str) {
        if !self.has_room() {
            return;
        }
        let code = refusal.code();
        let status = refusal.status().as_u16();
        let reason = refusal.message();
        let id = exchange.shown_id();
        let cause = exchange.cause.as_deref().unwrap_or("-");
        let (client, method, attempts) = (exchange.address, &exchange.method, exchange.attempts);
        let caller = caller(exchange);
        match refusal.blame() {
            Blame::Client => {
                tracing::info!(code, status, route, %client, caller, %method, id, cause, reason, "refused");
            }
            Blame::Upstream | Blame::Gateway => {
                tracing::warn!(code, status, route, %client, caller, %method, id, attempts, cause, reason, "refused");
            }
        }
    }

    /// Logs an answer of which the client did not get the rest: nothing else tells which request that was.
    pub fn cut(&self, exchange: &Exchange, ending: Ending, route: &str) {
        let reason = match ending.fate {
            Fate::UpstreamFailed => "the instance broke off within its answer",
            Fate::TimedOut => "the instance was silent for idle_timeout within its answer",
            Fate::Answered | Fate::Refused | Fate::ClientGone => return,
        };
        if !self.has_room() {
            return;
        }
        let status = ending.status;
        let id = exchange.shown_id();
        let instance = exchange.answerer.as_deref().unwrap_or("-");
        let (client, method) = (exchange.address, &exchange.method);
        let caller = caller(exchange);
        // A tunnel has no other end than that somebody stops.
        if status == 101 {
            tracing::info!(status, route, %client, caller, %method, id, instance, reason, "cut off");
        } else {
            tracing::warn!(status, route, %client, caller, %method, id, instance, reason, "cut off");
        }
    }

    /// Whether another line may be written now.
    fn has_room(&self) -> bool {
        let now = clock::now();
        if self.since.get().is_none_or(|since| now.duration_since(since) >= WINDOW) {
            let left_out = self.count.get().saturating_sub(LINES);
            self.since.set(Some(now));
            self.count.set(0);
            if left_out > 0 {
                tracing::warn!(refusals = left_out, "more were refused or cut off than are logged");
            }
        }
        self.count.set(self.count.get().saturating_add(1));
        self.count.get() <= LINES
    }
}

/// The caller's name, once it is known, and not longer than a line bears.
fn caller(exchange: &Exchange) -> Option<&str> {
    const LONGEST: usize = 100;
    let name = &*exchange.caller.as_deref()?.name;
    let end = name.char_indices().nth(LONGEST).map_or(name.len(), |(at, _)| at);
    Some(&name[..end])
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http::{HeaderValue, Method};

    use super::*;
    use crate::exchange::Client;
    use crate::tests::said;

    #[test]
    fn a_flood_is_cut_and_said_to_be() {
        let client = Client::new(SocketAddr::from(([127, 0, 0, 1], 9)), 0, 80, false);
        let exchange = Exchange::begin(&client, Method::GET, HeaderValue::from_static("the-id"));
        let refusals = Refusals::default();
        let lines = said(|| {
            for _ in 0..LINES + 7 {
                refusals.note(&exchange, Refusal::NoInstance, "orders");
            }
            refusals.since.set(Instant::now().checked_sub(WINDOW));
            refusals.note(&exchange, Refusal::NoRoute, "-");
        });
        let text = lines.join("\n");
        assert_eq!(text.matches("code=\"no_instance\"").count(), LINES as usize);
        assert!(text.contains("refusals=7"), "{text}");
        assert!(text.contains("code=\"no_route\"") && text.contains("the-id"), "{text}");
    }
}
