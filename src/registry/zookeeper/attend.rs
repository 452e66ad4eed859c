//! The one task that talks to the ensemble: has a session, reads what is wanted, starts again when it was lost.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::link::Link;
use super::read::Reader;
use super::{Core, Owner, link};
use crate::registry::ledger::{Account, Blame};
use crate::registry::pace::Pace;
use crate::registry::trouble::Trouble;

/// How often it is looked whether anybody still wants something.
const LOOK: Duration = Duration::from_secs(10);
/// A connection that does not last so long is not resumed.
const STEADY: Duration = Duration::from_secs(2);
/// The least between two sessions that lead to nothing: each costs a second connection before the library is stopped.
const APART: Duration = Duration::from_secs(2);
/// The pause after a failure that cannot be: a panic.
const SHOCK: Duration = Duration::from_secs(5);

/// Attends until nobody needs it any more.
pub(super) async fn run(core: Arc<Core>, owner: Weak<Owner>) {
    loop {
        let attending = tokio::spawn(attend(Arc::clone(&core), owner.clone()));
        let Some(why) = attending.await.err().filter(tokio::task::JoinError::is_panic) else {
            return;
        };
        // The client library panics on answers that break its assumptions. The sets stay as they are.
        drop(why);
        core.session.send_replace(None);
        let why = "the client library could not go on";
        core.board.ill(why);
        tracing::error!(registry = core.settings.name, "{why}; it is started again");
        tokio::time::sleep(SHOCK).await;
    }
}

async fn attend(core: Arc<Core>, owner: Weak<Owner>) {
    let account = core.ledger.account("services".to_owned());
    let mut attendant = Attendant { core: &core, account, denied: None, is_away: false };
    let mut held = None;
    tokio::select! {
        () = attendant.serve(&mut held) => {}
        () = unneeded(&core, &owner) => {}
    }
    core.session.send_replace(None);
    if let Some(link) = held {
        link.close().await;
    }
}

/// Ends when nobody can ask for anything any more and nobody watches.
async fn unneeded(core: &Core, owner: &Weak<Owner>) {
    while owner.strong_count() > 0 || core.board.is_watched() {
        tokio::time::timeout(LOOK, core.left.notified()).await.ok();
    }
}

pub(super) struct Attendant<'a> {
    core: &'a Core,
    account: Account,
    /// What is not permitted, while something is.
    denied: Option<Account>,
    /// No session can be had, and the log has heard of it.
    is_away: bool,
}

impl Attendant<'_> {
    /// Never ends. `held` is the session that there is.
    async fn serve(&mut self, held: &mut Option<Link>) {
        let mut pace = Pace::default();
        loop {
            pace.ready().await;
            let core = self.core;
            let link = link::reach(core, held.take(), |trouble| self.is_not_reached(trouble)).await;
            self.is_reached();
            let client = &held.insert(link).client;
            let (start, mut was_read) = (Instant::now(), false);
            let trouble = tokio::select! {
                trouble = Reader::new(core, client).run(self, &mut was_read) => trouble,
                trouble = link::lost(client) => trouble,
            };
            core.session.send_replace(None);
            self.fails(&trouble);
            if was_read && start.elapsed() >= STEADY {
                pace = Pace::default();
            } else {
                // The library would take it up again at once, without end.
                *held = None;
                pace.failed(trouble.longest_pause());
                tokio::time::sleep(APART).await;
            }
        }
    }

    /// A session is tried and not had.
    fn is_not_reached(&mut self, trouble: &Trouble) {
        let (registry, error) = (self.core.settings.name.as_str(), trouble.to_string());
        if !std::mem::replace(&mut self.is_away, true) {
            tracing::warn!(registry, error, "no session; what is known stays");
        }
        self.core.ledger.beat(Some((error, trouble.blame())));
        self.fails(trouble);
    }

    fn is_reached(&mut self) {
        if std::mem::take(&mut self.is_away) {
            tracing::info!(registry = self.core.settings.name, "there is a session again");
        }
        self.core.ledger.beat(None);
    }

    fn fails(&mut self, trouble: &Trouble) {
        let why = trouble.to_string();
        self.core.board.ill(&why);
        self.account.ill(&why, trouble.blame());
    }

    /// Everything wanted was read, but for what is not permitted.
    pub(super) fn well(&mut self, is_readable: bool, refused: Option<String>) {
        match refused {
            Some(why) => {
                let ledger = &self.core.ledger;
                let denied = self.denied.get_or_insert_with(|| ledger.account("auth".to_owned()));
                denied.ill(&why, Blame::Refused);
            }
            None => {
                if let Some(mut denied) = self.denied.take() {
                    denied.well();
                }
            }
        }
        if is_readable {
            self.account.well();
        }
    }

    pub(super) fn skips(&self, why: &str) {
        self.account.skipped(why);
    }

    pub(super) fn count(&self, kind: &'static str) {
        self.account.count(kind);
    }
}
