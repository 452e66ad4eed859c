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
    /// Of tasks that ask what there is.
    finding: Tasks,
    /// Of those that register something: a registration that is refused says nothing about what is found.
    registering: Tasks,
    /// The registry's own liveness, where there is such a thing; none before the first probe.
    beating: Option<bool>,
    /// Whether the newest probe was refused.
    beat_refused: bool,
    last_success: Option<SystemTime>,
    last_error: Option<(SystemTime, String)>,
}

impl Ledger {
    /// Empty books.
    pub(super) fn new(registry: &str) -> Arc<Self> {
        Arc::new(Self { registry: registry.to_owned(), entries: Mutex::default() })
    }

    /// The registry's name.
    pub(super) fn registry(&self) -> &str {
        &self.registry
    }

    /// Opens an account for a task; it ends with the account.
    pub(super) fn account(self: &Arc<Self>, subject: String) -> Account {
        self.open(subject, Sort::Finding)
    }

    /// The same for a task that keeps a registration.
    pub(super) fn registration(self: &Arc<Self>, id: &str) -> Account {
        self.open(format!("registration of {id}"), Sort::Registering)
    }

    fn open(self: &Arc<Self>, subject: String, sort: Sort) -> Account {
        self.entries().tasks(sort).count += 1;
        Account { ledger: Arc::clone(self), sort, subject, failures: 0, said: false }
    }

    /// The registry answered a probe, or did not.
    pub(super) fn beat(&self, failure: Option<(String, Blame)>) {
        let mut entries = self.entries();
        entries.beating = Some(failure.is_none());
        match failure {
            Some((why, blame)) => {
                entries.beat_refused = blame == Blame::Refused;
                entries.last_error = Some((SystemTime::now(), why));
            }
            None => {
                entries.beat_refused = false;
                // A probe says nothing about questions that fail.
                if entries.judged().is_none_or(|tasks| tasks.troubled == 0) {
                    entries.last_success = Some(SystemTime::now());
                }
            }
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
        let asked_in_vain = entries.judged().is_some_and(|tasks| !tasks.heard);
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
    fn tasks(&mut self, sort: Sort) -> &mut Tasks {
        match sort {
            Sort::Finding => &mut self.finding,
            Sort::Registering => &mut self.registering,
        }
    }

    /// Whose fate is the registry's: of those that find, and where there are none of those that register.
    fn judged(&self) -> Option<&Tasks> {
        [&self.finding, &self.registering].into_iter().find(|tasks| tasks.count > 0)
    }

    fn health(&self) -> Health {
        let judged = self.judged();
        let heard = judged.map_or(self.last_success.is_some(), |tasks| tasks.heard);
        let troubled = judged.is_some_and(|tasks| tasks.troubled > 0);
        let refused = self.beat_refused || judged.is_some_and(|tasks| tasks.refused);
        match (heard, troubled || self.beating == Some(false)) {
            (true, false) => Health::Ok,
            (true, true) => Health::Stale,
            (false, true) if refused => Health::Failed,
            (false, _) => Health::Connecting,
        }
    }
}

/// Tasks of one sort.
#[derive(Debug, Default)]
struct Tasks {
    count: usize,
    /// Those that got no good answer last.
    troubled: usize,
    /// Whether any ever got a good answer.
    heard: bool,
    /// Whether the newest failure is one that somebody must repair.
    refused: bool,
    /// The newest failure.
    failure: Option<String>,
}

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Finding,
    Registering,
}

/// Failures in a row after which a registry that answers its probe, but not this, is worth a line.
const PATIENCE: u32 = 4;

/// One task's account.
#[derive(Debug)]
pub(super) struct Account {
    ledger: Arc<Ledger>,
    sort: Sort,
    /// What it asks about: `service orders`.
    subject: String,
    /// In a row.
    failures: u32,
    /// Whether the log has heard of them.
    said: bool,
}

impl Account {
    /// A good answer.
    pub(super) fn well(&mut self) {
        let mut entries = self.ledger.entries();
        entries.last_success = Some(SystemTime::now());
        let tasks = entries.tasks(self.sort);
        tasks.heard = true;
        if std::mem::take(&mut self.failures) > 0 {
            tasks.troubled -= 1;
        }
        drop(entries);
        if std::mem::take(&mut self.said) {
            let (registry, subject) = (self.ledger.registry.as_str(), self.subject.as_str());
            tracing::info!(registry, subject, "answered again");
        }
    }

    /// No good answer. Logged when that is news: once, and not for each task when the registry as a whole is away.
    pub(super) fn ill(&mut self, why: &str, blame: Blame) {
        self.ledger.count("error");
        let mut entries = self.ledger.entries();
        let tasks = entries.tasks(self.sort);
        let known = tasks.failure.as_deref() == Some(why)
            && tasks.troubled > usize::from(self.failures > 0);
        if self.failures == 0 {
            tasks.troubled += 1;
        }
        self.failures += 1;
        tasks.refused = blame == Blame::Refused;
        tasks.failure = Some(why.to_owned());
        entries.last_error = Some((SystemTime::now(), why.to_owned()));
        let worth = match blame {
            Blame::Away => self.failures >= PATIENCE && entries.beating != Some(false),
            Blame::Refused | Blame::Broken => entries.beating != Some(false),
        };
        drop(entries);
        let (registry, subject) = (self.ledger.registry.as_str(), self.subject.as_str());
        if worth && !known && !self.said {
            self.said = true;
            match self.sort {
                Sort::Finding => {
                    tracing::warn!(
                        registry,
                        subject,
                        error = why,
                        "no good answer; what is known stays"
                    );
                }
                Sort::Registering => {
                    tracing::warn!(
                        registry,
                        subject,
                        error = why,
                        "not registered; it is tried again"
                    );
                }
            }
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
        let tasks = entries.tasks(self.sort);
        tasks.count -= 1;
        tasks.troubled -= usize::from(self.failures > 0);
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

    /// What the log says of a ledger while `act` runs.
    fn said(act: impl FnOnce(&Arc<Ledger>)) -> Vec<String> {
        crate::tests::said(|| act(&Ledger::new("a")))
    }

    #[test]
    fn one_failure_of_many_tasks_is_one_line_and_so_is_its_end() {
        let lines = said(|ledger| {
            let mut accounts: Vec<_> = (0..9).map(|n| ledger.account(n.to_string())).collect();
            for _ in 0..3 {
                accounts.iter_mut().for_each(|account| account.ill("403", Blame::Refused));
            }
            accounts.iter_mut().for_each(Account::well);
        });
        assert_eq!(lines.len(), 2, "{lines:#?}");
        assert!(lines[0].contains("WARN") && lines[0].contains("403"), "{lines:#?}");
        assert!(lines[1].contains("INFO") && lines[1].contains("answered again"), "{lines:#?}");
    }

    #[test]
    fn a_registry_that_is_away_is_left_to_its_probe_to_say() {
        let lines = said(|ledger| {
            let mut account = ledger.account("service x".into());
            ledger.beat(Some(("no route".into(), Blame::Away)));
            (0..9).for_each(|_| account.ill("no route", Blame::Away));
            account.well();
        });
        assert_eq!(lines, [""; 0]);
    }

    #[test]
    fn a_question_that_hangs_while_the_probe_is_answered_is_said() {
        let lines = said(|ledger| {
            let mut account = ledger.account("service x".into());
            ledger.beat(None);
            (0..9).for_each(|_| account.ill("too late", Blame::Away));
        });
        assert_eq!(lines.len(), 1, "{lines:#?}");
    }

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
