//! One task that knows everything: a full answer first, then what changed, and a full one again when in doubt.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Core;
use super::apps::Apps;
use super::decode::{self, Answer, MOST};
use super::servers::sum;
use super::skipped::Skipped;
use crate::registry::ledger::{Account, Blame};
use crate::registry::trouble::Trouble;

/// Bound on an answer: a server that was just started may take its time for a full one.
const WITHIN: Duration = Duration::from_secs(8);
/// A server remembers changes for three minutes, and its own peers may be half a minute behind.
const REMEMBERED: Duration = Duration::from_secs(120);
/// The sum tells statuses only: a change that was missed, say of an address, is found after this time.
const COMPLETE: Duration = Duration::from_secs(600);
/// The first pause after a round in which no server answered well, and at least.
const RETRY: Duration = Duration::from_secs(1);
/// The longest while a server is away, and while all say no.
const AWAY: Duration = Duration::from_millis(2500);
const REFUSED: Duration = Duration::from_secs(10);
/// So many servers or more are not waited for any longer: one that returns must be noticed soon.
const MANY: u32 = 4;
/// However long the configured pause is, it can be added to a point in time.
const LONGEST: Duration = Duration::from_secs(86_400);

/// What the next delta builds on.
struct Base {
    server: usize,
    heard: Instant,
    complete: Instant,
}

/// Stands for the whole answer to one question.
type Seal = u64;

struct Poller {
    core: Arc<Core>,
    account: Account,
    /// The server that answered last.
    server: usize,
    apps: Apps,
    base: Option<Base>,
    /// The answer that was taken in last. A server gives the same one, byte for byte, until something changes.
    taken: Option<Seal>,
    /// The version of the newest delta, and whose it was.
    version: Option<(usize, u64)>,
    hasher: RandomState,
    /// Deltas are not worth asking for before.
    deltas_after: Instant,
    /// Rounds in a row.
    failures: u32,
    away: bool,
    skipped: Skipped,
}

/// Ends when nobody has the registry, or watches anything of it, any more.
pub(super) async fn run(core: Arc<Core>, mut had: watch::Receiver<()>) {
    let account = core.ledger.account("all applications".into());
    let mut poller = Poller {
        core,
        account,
        server: 0,
        apps: Apps::default(),
        base: None,
        taken: None,
        version: None,
        hasher: RandomState::new(),
        deltas_after: Instant::now(),
        failures: 0,
        away: false,
        skipped: Skipped::default(),
    };
    let mut dropped = false;
    loop {
        let pause = poller.round().await;
        let next = Instant::now() + pause;
        while !dropped || poller.core.board.is_watched() {
            tokio::select! {
                () = tokio::time::sleep_until(next) => break,
                changed = had.changed(), if !dropped => dropped = changed.is_err(),
            }
        }
        if dropped && !poller.core.board.is_watched() {
            return;
        }
    }
}

impl Poller {
    /// Asks until a server answers well, each once; how long to wait before the next round.
    async fn round(&mut self) -> Duration {
        let core = Arc::clone(&self.core);
        let mut troubles = Vec::new();
        for server in core.servers.from(self.server) {
            match self.ask(server).await {
                Ok(()) => {
                    self.well(server, &troubles);
                    return jittered(core.poll.min(LONGEST));
                }
                Err(trouble) => {
                    // At once, also when the next server answers: it may not know everything yet.
                    core.board.ill(&trouble.to_string());
                    self.base = None;
                    troubles.push(trouble);
                }
            }
        }
        self.ill(&troubles)
    }

    async fn ask(&mut self, server: usize) -> Result<(), Trouble> {
        let now = Instant::now();
        if let Some(base) = self.base.take()
            && base.server == server
            && now - base.heard < REMEMBERED
            && now - base.complete < COMPLETE
            && now >= self.deltas_after
            && let Some(base) = self.delta(base).await?
        {
            self.base = Some(base);
            return Ok(());
        }
        self.complete(server).await
    }

    /// None when only a full answer helps.
    async fn delta(&mut self, base: Base) -> Result<Option<Base>, Trouble> {
        let core = Arc::clone(&self.core);
        let get = (Method::GET, "/apps/delta");
        let answer = core.servers.call(base.server, get, Bytes::new(), WITHIN).await?;
        // A server that is told to have no deltas forbids to ask for them. A full answer tells what else may be wrong.
        if !answer.status().is_success() {
            return Ok(self.no_deltas(&format!("the server answers {}", answer.status())));
        }
        let seal = self.seal(base.server, &answer);
        if self.says_nothing_new(seal) {
            return Ok(Some(Base { heard: Instant::now(), ..base }));
        }
        let body = core.servers.json(base.server, answer).map_err(|trouble| trouble.to_string());
        let answer = match body.and_then(|body| decode::answer(&body)) {
            Ok(answer) => answer,
            Err(why) => return Ok(self.no_deltas(&why)),
        };
        if self.was_started_again(base.server, answer.version) {
            let address = core.servers.address(base.server);
            core.board.ill(&format!("{address} was started again and may not know everything yet"));
            return Ok(None);
        }
        let Answer { hash, listed, skipped, .. } = answer;
        let mut apps = self.apps.clone();
        apps.apply(listed);
        if hash.is_none_or(|hash| hash != apps.hash()) || apps.count() > MOST {
            return Ok(None);
        }
        self.skipped.more(skipped).iter().for_each(|why| self.account.skipped(why));
        self.publish(apps);
        self.taken = Some(seal);
        Ok(Some(Base { heard: Instant::now(), ..base }))
    }

    async fn complete(&mut self, server: usize) -> Result<(), Trouble> {
        let core = Arc::clone(&self.core);
        let get = (Method::GET, "/apps");
        let answer = core.servers.call(server, get, Bytes::new(), WITHIN).await?;
        let seal = self.seal(server, &answer);
        if !self.says_nothing_new(seal) {
            let body = core.servers.json(server, answer)?;
            let broken = |why| Trouble::Broken(format!("{}: {why}", core.servers.address(server)));
            let answer = decode::answer(&body).map_err(broken)?;
            let sum = answer.hash.clone();
            let apps = Apps::new(answer.listed, &self.apps);
            if sum.is_none_or(|hash| hash != apps.hash()) {
                // Not even this adds up, so no delta would.
                self.no_deltas("the server's sum is not that of its own answer");
            }
            self.skipped.all(answer.skipped).iter().for_each(|why| self.account.skipped(why));
            self.publish(apps);
            self.taken = Some(seal);
        }
        let now = Instant::now();
        self.base = Some(Base { server, heard: now, complete: now });
        // Of before: what is known now was said by the server as it is now.
        self.version = None;
        Ok(())
    }

    /// While a server lives, its version grows.
    fn was_started_again(&mut self, server: usize, version: Option<u64>) -> bool {
        let Some(version) = version else { return false };
        let before = self.version.replace((server, version));
        before.is_some_and(|(whose, before)| whose == server && version < before)
    }

    fn seal(&self, server: usize, answer: &Response<Bytes>) -> Seal {
        self.hasher.hash_one((server, answer.status(), answer.body()))
    }

    fn says_nothing_new(&self, seal: Seal) -> bool {
        self.taken == Some(seal) && self.core.board.is_live()
    }

    fn no_deltas(&mut self, why: &str) -> Option<Base> {
        let registry = self.core.name.as_str();
        tracing::debug!(registry, reason = why, "no deltas for a while");
        self.deltas_after = Instant::now() + COMPLETE;
        None
    }

    fn publish(&mut self, apps: Apps) {
        let changed = apps.differing(&self.apps);
        self.apps = apps;
        let shown = self.apps.clone();
        let sets = self.core.board.update(|known| {
            *known = shown;
            Some(changed)
        });
        if sets > 0 {
            self.account.count("update");
            let registry = self.core.name.as_str();
            tracing::debug!(registry, sets, instances = self.apps.count(), "new sets");
        }
    }

    /// A server answered; those before it in the round did not.
    fn well(&mut self, server: usize, troubles: &[Trouble]) {
        let (registry, address) = (self.core.name.as_str(), self.core.servers.address(server));
        if self.away {
            tracing::info!(registry, server = address, "answers again");
        } else if self.server != server {
            let error = sum(troubles);
            tracing::warn!(registry, server = address, %error, "another server is asked from now on");
            self.account.count("error");
        }
        if std::mem::take(&mut self.away) {
            self.core.ledger.beat(None);
        }
        self.server = server;
        self.failures = 0;
        self.account.well();
    }

    fn ill(&mut self, troubles: &[Trouble]) -> Duration {
        let trouble = sum(troubles);
        let (why, registry) = (trouble.to_string(), self.core.name.as_str());
        let away = trouble.blame() == Blame::Away;
        if away {
            if !self.away {
                tracing::warn!(registry, error = why, "no answer; what is known stays");
            }
            // Said: other tasks that find the same need not say it again.
            self.core.ledger.beat(Some((why.clone(), Blame::Away)));
        } else if self.away {
            self.core.ledger.beat(None);
        }
        self.away = away;
        self.account.ill(&why, trouble.blame());
        self.core.board.ill(&why);
        let all_refused = troubles.iter().all(|trouble| trouble.blame() == Blame::Refused);
        // Each is asked in a round: all together no more than once a second.
        let round = RETRY * u32::try_from(troubles.len()).unwrap_or(1).min(MANY);
        let longest = if all_refused { REFUSED } else { AWAY.max(round) };
        let pause = RETRY.saturating_mul(1 << self.failures.min(8)).min(longest);
        self.failures += 1;
        pause.mul_f64(1.0 + fastrand::f64() / 5.0)
    }
}

/// A tenth more or less, so that not all gateways ask at the same moment.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.9 + fastrand::f64() / 5.0)
}
