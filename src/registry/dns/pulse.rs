//! Whether anybody answers while no service is watched: readiness waits for that.

use std::sync::Weak;
use std::time::Duration;

use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};

use super::Core;
use super::exchange::{Miss, Question};
use crate::registry::ledger::Blame;

/// Between two questions.
const BEAT: Duration = Duration::from_secs(10);
/// Before the first one: most often a service is watched at once, and none is needed.
const FIRST: Duration = Duration::from_millis(200);
/// Between two questions while nobody answers.
const RETRY: Duration = Duration::from_secs(2);

/// Ends when the registry is dropped.
pub(super) async fn feel(served: Weak<Core>) {
    let mut pause = FIRST;
    loop {
        tokio::time::sleep(pause).await;
        // Not held across the pause: the pulse must not keep alive what it serves.
        let Some(core) = served.upgrade() else { return };
        pause = BEAT;
        if !core.watches().is_empty() {
            continue;
        }
        let result = probe(&core).await;
        pause = if result.is_ok() { BEAT } else { RETRY };
        // Who watches meanwhile tells more.
        if core.watches().is_empty() {
            core.ledger.beat(result.err());
        }
    }
}

/// Asks who serves the root. Every answer will do, also a refusal.
async fn probe(core: &Core) -> Result<(), (String, Blame)> {
    let servers = core.source.now();
    let mut why = ("there is no server to ask".to_owned(), Blame::Refused);
    let Some(question) = Question::new(Query::query(Name::root(), RecordType::NS)) else {
        return Err(why);
    };
    for (index, server) in servers.in_turn() {
        match question.over_udp(server, core.timeout).await {
            Ok(_) => {
                servers.answered(index);
                return Ok(());
            }
            Err(Miss::Odd(what)) => why = (format!("{server} {what}"), Blame::Broken),
            Err(Miss::Unreachable(error)) => {
                why = (format!("{server} cannot be reached: {error}"), Blame::Away);
            }
            Err(Miss::Silent | Miss::InVain(_)) => {
                why = (format!("{server} does not answer"), Blame::Away);
            }
        }
    }
    Err(why)
}
