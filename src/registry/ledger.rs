//! What a registry's tasks tell of how they fare, summed up for operators, logs and metrics.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::{Health, Status};

/// A registry's books.
#[derive(Debug)]
pub(super) struct Ledger {
    registry: String,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    /// Tasks that ask the registry something.
    tasks: usize,
    /// Those that got no good answer last.
    troubled: usize,
    /// Whether any task ever got a good answer.
    heard: bool,
    /// The registry's own liveness, where there is such a thing; none before the first probe.
    beating: Option<bool>,
    /// Whether the newest failure is one that somebody must repair.
    refused: bool,
    last_success: Option<SystemTime>,
    last_error: Option<(SystemTime, String)>,
}

impl Ledger {
    /// Empty books.
    pub(super) fn new(registry: &str) -> Arc<Self> {
        Arc::new(Self { registry: registry.to_owned(), entries: Mutex::default() })
    }

    /// Opens an account for a task; it ends with the account.
    pub(super) fn account(self: &Arc<Self>, subject: String) -> Account {
        self.entries().tasks += 1;
        Account { ledger: Arc::clone(self), subject, troubled: false }
    }

    /// The registry answered a probe, or did not.
    pub(super) fn beat(&self, failure: Option<(String, Blame)>) {
        let mut entries = self.entries();
        entries.beating = Some(failure.is_none());
        match failure {
            Some((why, blame)) => {
                entries.refused = blame == Blame::Refused;
                entries.last_error = Some((SystemTime::now(), why));
            }
            // A probe says nothing about questions that fail.
            None if entries.troubled == 0 => entries.last_success = Some(SystemTime::now()),
            None => {}
        }
    }

    /// Counts something that happened: `update`, `error`, `skipped`, `registered`, `lost`.
    pub(super) fn count(&self, kind: &'static str) {
        let registry = self.registry.clone();
        metrics::counter!("frontgate_registry_events_total", "registry" => registry, "kind" => kind)
            .increment(1);
    }

    /// How the registry fares; the caller knows what it watches.
    pub(super) fn status(&self, services: usize, instances: usize) -> Status {
        let entries = self.entries();
        let asked_in_vain = entries.tasks > 0 && !entries.heard;
        Status {
            health: entries.health(),
            last_success: if asked_in_vain { None } else { entries.last_success },
            last_error: entries.last_error.clone(),
            services,
            instances,
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn health(&self) -> Health {
        let heard = if self.tasks > 0 { self.heard } else { self.last_success.is_some() };
        let trouble = self.troubled > 0 || self.beating == Some(false);
        match (heard, trouble) {
            (true, false) => Health::Ok,
            (true, true) => Health::Stale,
            (false, true) if self.refused => Health::Failed,
            (false, _) => Health::Connecting,
        }
    }
}

/// One task's account.
#[derive(Debug)]
pub(super) struct Account {
    ledger: Arc<Ledger>,
    /// What it asks about: `service orders`.
    subject: String,
    troubled: bool,
}

impl Account {
    /// A good answer.
    pub(super) fn well(&mut self) {
        let mut entries = self.ledger.entries();
        entries.heard = true;
        entries.last_success = Some(SystemTime::now());
        if std::mem::take(&mut self.troubled) {
            entries.troubled -= 1;
            let (registry, subject) = (self.ledger.registry.as_str(), self.subject.as_str());
            tracing::info!(registry, subject, "answered again");
        }
    }

    /// No good answer. Logged when that is news: once, and not for each task when the registry as a whole is away.
    pub(super) fn ill(&mut self, why: &str, blame: Blame) {
        self.ledger.count("error");
        let mut entries = self.ledger.entries();
        let known = entries.last_error.as_ref().is_some_and(|(_, before)| before == why);
        let news = !(self.troubled || known && entries.troubled > 0);
        if !std::mem::replace(&mut self.troubled, true) {
            entries.troubled += 1;
        }
        entries.refused = blame == Blame::Refused;
        entries.last_error = Some((SystemTime::now(), why.to_owned()));
        drop(entries);
        let (registry, subject) = (self.ledger.registry.as_str(), self.subject.as_str());
        if news && blame != Blame::Away {
            tracing::warn!(registry, subject, error = why, "no good answer; the last one stays");
        } else {
            tracing::debug!(registry, subject, error = why, "no good answer");
        }
    }

    /// An entry of an answer cannot be used.
    pub(super) fn skipped(&self, why: &str) {
        self.ledger.count("skipped");
        let (registry, subject) = (self.ledger.registry.as_str(), self.subject.as_str());
        tracing::warn!(registry, subject, reason = why, "an entry is skipped");
    }

    /// Counts something that happened.
    pub(super) fn count(&self, kind: &'static str) {
        self.ledger.count(kind);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let mut entries = self.ledger.entries();
        entries.tasks -= 1;
        entries.troubled -= usize::from(self.troubled);
    }
}

/// Whose turn it is to do something about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// The registry is away: it passes, and the probe logs it once for all.
    Away,
    /// It says no: the configuration must change.
    Refused,
    /// It answers nonsense, or fails.
    Broken,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(ledger: &Ledger) -> Health {
        ledger.status(0, 0).health
    }

    #[test]
    fn a_registry_that_nobody_asks_is_as_its_probe_says() {
        let ledger = Ledger::new("a");
        assert_eq!(health(&ledger), Health::Connecting);
        ledger.beat(Some(("no route".into(), Blame::Away)));
        assert_eq!(health(&ledger), Health::Connecting);
        ledger.beat(None);
        assert_eq!(health(&ledger), Health::Ok);
        ledger.beat(Some(("no route".into(), Blame::Away)));
        assert_eq!(health(&ledger), Health::Stale);
    }

    #[test]
    fn a_refusal_before_any_answer_is_a_failure_though_the_probe_succeeds() {
        let ledger = Ledger::new("a");
        ledger.beat(None);
        let mut account = ledger.account("service x".into());
        account.ill("403", Blame::Refused);
        let status = ledger.status(1, 0);
        assert_eq!(status.health, Health::Failed);
        assert_eq!(status.last_success, None);
        account.well();
        assert_eq!(health(&ledger), Health::Ok);
    }

    #[test]
    fn a_registry_that_answered_once_is_stale_until_every_task_is_well_again() {
        let ledger = Ledger::new("a");
        let (mut one, mut two) = (ledger.account("1".into()), ledger.account("2".into()));
        one.well();
        two.well();
        one.ill("gone", Blame::Away);
        two.ill("gone", Blame::Away);
        one.well();
        assert_eq!(health(&ledger), Health::Stale);
        drop(two);
        assert_eq!(health(&ledger), Health::Ok, "a task that ended is not waited for");
    }
}
