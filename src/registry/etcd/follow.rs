//! The one task that always asks: it reads everything and watches from there on while somebody wants to know, and looks
//! now and then whether the cluster answers while nobody does.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Core;
use super::cluster::{Failure, No, PROMPT};
use super::json::{self, Event, Page, Verb};
use super::reading;
use super::stream::Watch;
use super::tree::{Changes, Odd};
use crate::registry::ledger::{Account, Blame};
use crate::registry::pace::{AWAY, Pace};

/// Between two looks whether the member that is watched still answers, and has a leader: a silent watch says nothing.
const BEAT: Duration = Duration::from_secs(2);
/// Between two updates, so that a flood of changes is taken in strides.
const STRIDE: Duration = Duration::from_millis(5);
/// etcd tells each ten minutes how far a watch has come that has nothing to tell. One that is silent for longer may be held
/// back on the way, and everything is read again.
const SILENT: Duration = Duration::from_secs(15 * 60);
/// Lines of the log about keys that hold no instance, and within which time.
const NEWS: usize = 20;
const NEWS_WITHIN: Duration = Duration::from_secs(60);

/// Runs until the registry is dropped and nobody watches any more.
pub(super) async fn run(core: Arc<Core>) {
    let account = core.ledger.account(format!("the keys under {}", core.prefix.text()));
    let mut follower = Follower {
        core: Arc::clone(&core),
        account,
        pace: Pace::default(),
        vain: 0,
        last: None,
        odd: Odd::default(),
        news: (Instant::now(), 0),
        away: false,
    };
    loop {
        let abandoned = core.board.is_abandoned();
        if abandoned && core.dropped.load(Ordering::Relaxed) {
            break;
        }
        let ended =
            if abandoned { follower.idle().await } else { Box::pin(follower.session()).await };
        if let Err((member, failure)) = ended {
            follower.failed(member, failure);
            follower.pace.ready().await;
        }
    }
    // Nobody looks any more: what is registered looks for itself.
    core.link(false);
}

struct Follower {
    core: Arc<Core>,
    account: Account,
    pace: Pace,
    /// Attempts in a row that failed.
    vain: usize,
    /// The member that answered last.
    last: Option<usize>,
    odd: Odd,
    /// Since when, and how often, the log was told of keys that hold no instance.
    news: (Instant, usize),
    /// Whether the log was told that nobody answers.
    away: bool,
}

/// What failed, and with which member.
type Failed = (usize, Failure);

impl Follower {
    /// Nobody watches: ends after a while, or when somebody does.
    async fn idle(&mut self) -> Result<(), Failed> {
        self.odd = Odd::default();
        let core = Arc::clone(&self.core);
        let member = core.cluster.current();
        match look(&core, member, 1).await {
            // Who only registers needs no right to read.
            Ok(()) | Err(Failure::Cluster(No::Rights, _)) => {}
            Err(failure) => return Err((member, failure)),
        }
        self.answered(member);
        self.lasted();
        tokio::time::timeout(BEAT, core.wanted.notified()).await.ok();
        Ok(())
    }

    /// Reads and watches until nobody wants to know any more, nothing is said for long, or something fails.
    async fn session(&mut self) -> Result<(), Failed> {
        let core = Arc::clone(&self.core);
        let member = core.cluster.current();
        let at = |failure| (member, failure);
        let mut reading = reading::all(&core, member).await.map_err(at)?;
        let revision = reading.revision;
        let mut watch = Watch::open(&core, member, revision + 1).await.map_err(at)?;
        let changed = core.board.update(|tree| {
            *tree = reading.tree;
            None
        });
        self.answered(member);
        self.tell(changed, &mut reading.changes, true);
        let mut beat = pin!(beat(&core, member, revision));
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                events = watch.changes(&core) => {
                    let events = events.map_err(at)?;
                    heard = Instant::now();
                    if !events.is_empty() {
                        self.apply(events).map_err(at)?;
                        sleep(STRIDE).await;
                    }
                }
                beaten = &mut beat => {
                    beaten.map_err(at)?;
                    self.lasted();
                    if core.board.is_abandoned() || heard.elapsed() > SILENT {
                        return Ok(());
                    }
                    beat.set(self::beat(&core, member, revision));
                }
            }
        }
    }

    fn apply(&mut self, events: Vec<Event>) -> Result<(), Failure> {
        let mut changes = Changes::default();
        let core = Arc::clone(&self.core);
        let changed = core.board.update(|tree| {
            for Event { verb, kv } in events {
                match verb {
                    Verb::Put => tree.put(&core.prefix, kv, &mut changes),
                    Verb::Delete => tree.delete(&core.prefix, kv.key, &mut changes),
                }
            }
            Some(changes.services.iter().cloned().collect())
        });
        self.tell(changed, &mut changes, false);
        if changes.full { Err(core.too_much()) } else { Ok(()) }
    }

    /// Sets are another than before, and keys hold no instance.
    fn tell(&mut self, changed: usize, changes: &mut Changes, whole: bool) {
        if changed > 0 {
            self.account.count("update");
            tracing::debug!(registry = self.core.name, sets = changed, "an update");
        }
        let news = self.odd.note(changes, whole);
        if self.news.0.elapsed() > NEWS_WITHIN {
            self.news = (Instant::now(), 0);
        }
        let room = NEWS.saturating_sub(self.news.1);
        self.news.1 += news.len().min(room);
        for why in news.iter().take(room) {
            self.account.skipped(why);
        }
        let more = news.len().saturating_sub(room);
        (0..more).for_each(|_| self.account.count("skipped"));
        if more > 0 && room > 0 {
            let registry = self.core.name.as_str();
            tracing::warn!(registry, more, "and more entries are skipped");
        }
    }

    /// A member gives good answers.
    fn answered(&mut self, member: usize) {
        if let Some(before) = self.last.replace(member).filter(|before| *before != member) {
            let (cluster, registry) = (&self.core.cluster, self.core.name.as_str());
            let (before, now) = (cluster.address(before), cluster.address(member));
            tracing::info!(registry, before, now, "another member is asked");
        }
        if self.is_there() {
            tracing::info!(registry = self.core.name, "answers again");
        }
        self.account.well();
        self.core.link(false);
    }

    /// Somebody answers, whatever it is; whether the log was told the contrary.
    fn is_there(&mut self) -> bool {
        let was_away = std::mem::take(&mut self.away);
        if was_away {
            self.core.ledger.beat(None);
        }
        was_away
    }

    /// Nobody answers. One lost connection is not worth a line, one that cannot be made again is.
    fn is_away(&mut self, why: &str) {
        if self.vain < 2 * self.core.cluster.size() {
            return;
        }
        self.core.ledger.beat(Some((why.to_owned(), Blame::Away)));
        if !std::mem::replace(&mut self.away, true) {
            let registry = self.core.name.as_str();
            tracing::warn!(registry, error = why, "no answer; what is known stays");
        }
    }

    /// And it goes on doing so: the next failure is a first one.
    fn lasted(&mut self) {
        self.account.well();
        self.vain = 0;
        self.pace = Pace::default();
    }

    fn failed(&mut self, member: usize, failure: Failure) {
        let core = Arc::clone(&self.core);
        self.vain += 1;
        let (is_refusal, compacted) = match &failure {
            Failure::Cluster(no, _) => (true, *no == No::Compacted),
            Failure::Member(_) => (false, false),
        };
        let trouble = failure.trouble();
        if compacted {
            // The cluster is well, and everything is read anew.
            tracing::debug!(registry = core.name, %trouble, "reading everything again");
            return self.pace.failed(AWAY);
        }
        let why = trouble.to_string();
        core.board.ill(&why);
        core.cluster.leave(member);
        // The others are asked at once; when none answers, each waits: all together are asked no more than once a second,
        // and when they come back together the next one answers.
        let (size, longest) = (core.cluster.size(), trouble.longest_pause());
        let longest = if is_refusal || size == 1 { longest } else { longest / 2 };
        if is_refusal || self.vain.is_multiple_of(size) {
            match trouble.blame() {
                Blame::Away => self.is_away(&why),
                Blame::Refused | Blame::Broken => {
                    self.is_there();
                }
            }
            self.account.ill(&why, trouble.blame());
            self.pace.failed(longest);
            core.link(!is_refusal);
        } else {
            self.account.count("error");
            tracing::debug!(registry = core.name, error = why, "asking another member");
            if self.vain > size {
                self.pace.failed(longest);
            }
        }
    }
}

async fn beat(core: &Core, member: usize, revision: i64) -> Result<(), Failure> {
    sleep(BEAT.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
    look(core, member, revision).await
}

/// Whether this member answers, has a leader, and has come this far: what is read here is confirmed by most of the
/// members. One whose data was replaced by older ones would leave a watch silent until it has caught up.
async fn look(core: &Core, member: usize, revision: i64) -> Result<(), Failure> {
    let body = json::look(&core.prefix.probe());
    let body = core.cluster.ask_member(member, "/v3/kv/range", body, PROMPT).await?;
    let page: Page = json::read(&body).map_err(|why| core.cluster.broken(member, &why))?;
    match page.header.revision {
        now if now >= revision => Ok(()),
        ..=0 => Err(core.cluster.broken(member, "the answer names no revision")),
        now => {
            let why = format!("its data are those of revision {now}, after {revision} was read");
            Err(core.cluster.broken(member, &why))
        }
    }
}
