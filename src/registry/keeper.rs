//! One registration: made, kept alive, made again when it was lost, taken back at the end. The kinds say how.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::ledger::{Account, Ledger};
use super::pace::{AWAY, Pace};
use super::trouble::Trouble;
use super::{Registered, Registration};

/// Bound on taking a registration back: the process is about to end.
const GOODBYE: Duration = Duration::from_secs(3);

/// How a kind keeps a registration. Each call bounds its own time.
pub(super) trait Keep: Send + 'static {
    /// Makes it, or makes it again; the same one when it is there already.
    fn make(&mut self) -> impl Future<Output = Result<(), Trouble>> + Send;

    /// Shows that it lives, or looks whether it is still known; `false` when it is lost.
    fn look(&mut self) -> impl Future<Output = Result<bool, Trouble>> + Send;

    /// Ends when it is time to look again: after a pause, or when something says that it may be lost. Dropped
    /// unfinished it loses nothing.
    fn rest(&mut self) -> impl Future<Output = ()> + Send;

    /// Waits while asking would be in vain; `true` when the pause after failures may be cut short because of what
    /// happened meanwhile.
    fn wait_out(&mut self) -> impl Future<Output = bool> + Send {
        std::future::ready(false)
    }

    /// Takes it back; good as well when it is not there.
    fn take_back(&mut self) -> impl Future<Output = Result<(), Trouble>> + Send;
}

/// Starts to keep a registration; the books are those of its registry.
pub(super) fn start(
    ledger: &Arc<Ledger>,
    registration: &Registration,
    keep: impl Keep,
) -> Registered {
    let (stop, stopped) = oneshot::channel();
    let keeper = Keeper {
        account: ledger.registration(&registration.id),
        registry: ledger.registry().to_owned(),
        id: registration.id.clone(),
        address: registration.address.to_string(),
        keep,
    };
    Registered { stop, done: tokio::spawn(keeper.run(stopped)) }
}

struct Keeper<K> {
    registry: String,
    id: String,
    address: String,
    account: Account,
    keep: K,
}

impl<K: Keep> Keeper<K> {
    /// Ends once it was taken back, or could not be within its time.
    async fn run(mut self, stopped: oneshot::Receiver<()>) {
        tokio::select! {
            () = self.alive() => {}
            // Told, or the other end was dropped.
            _ = stopped => {}
        }
        if tokio::time::timeout(GOODBYE, self.goodbye()).await.is_err() {
            let (registry, id) = (self.registry.as_str(), self.id.as_str());
            tracing::warn!(registry, id, "could not be deregistered within {GOODBYE:?}");
        }
    }

    /// Never ends.
    async fn alive(&mut self) {
        let mut pace = Pace::default();
        let mut known = false;
        loop {
            if self.keep.wait_out().await {
                pace.hurry();
            }
            pace.ready().await;
            match self.once(&mut known).await {
                Ok(()) => {
                    self.account.well();
                    pace = Pace::default();
                    self.keep.rest().await;
                }
                Err(trouble) => {
                    self.account.ill(&trouble.to_string(), trouble.blame());
                    pace.failed(trouble.longest_pause());
                }
            }
        }
    }

    async fn once(&mut self, known: &mut bool) -> Result<(), Trouble> {
        let (registry, id) = (self.registry.as_str(), self.id.as_str());
        if *known {
            *known = self.keep.look().await?;
            if *known {
                return Ok(());
            }
            self.account.count("lost");
            tracing::warn!(registry, id, "the registration was lost; making it again");
        }
        self.keep.make().await?;
        *known = true;
        self.account.count("registered");
        tracing::info!(registry, id, address = %self.address, "registered");
        Ok(())
    }

    async fn goodbye(&mut self) {
        let (registry, id) = (self.registry.as_str(), self.id.as_str());
        let mut pace = Pace::default();
        loop {
            pace.ready().await;
            // Also when we do not think it is known: an attempt may have been under way.
            match self.keep.take_back().await {
                Ok(()) => return tracing::info!(registry, id, "deregistered"),
                // Asking again would not change its mind, and the process is about to end.
                Err(error @ Trouble::Refused(_)) => {
                    return tracing::warn!(registry, id, %error, "could not be deregistered");
                }
                Err(Trouble::Away(_) | Trouble::Broken(_)) => pace.failed(AWAY),
            }
        }
    }
}
