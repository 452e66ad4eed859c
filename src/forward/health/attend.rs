//! One instance's checks, one after the other, for as long as it is there.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

use super::threshold::{Health, Threshold};
use super::told::Told;
use super::{grpc, http, tcp};
use crate::config::model::{HealthCheck, HealthConfig};
use crate::forward::instance::Instance;

/// So many checks of a service may begin at a time, that ten thousand instances do not mean as many connections in one
/// instant. A check that takes longer than [`YOUNG`] makes room for the next: instances that hang cost the others that
/// much for each hundred of them, however long the timeout is. At least 1,000 checks begin per second.
const BEGINNING: usize = 100;
const YOUNG: Duration = Duration::from_millis(100);

/// How far a pause may be from what is written, up or down, so that the checks of instances that came together part.
const JITTER: f64 = 0.1;

/// What the checks of a service's instances share.
pub(super) struct Attendance {
    config: HealthConfig,
    places: Semaphore,
    told: Sender<Told>,
}

/// Why a check was not good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// Not over in time.
    Late(Duration),
    /// What was wrong, in one line.
    Failed(String),
}

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Late(within) => write!(f, "no answer within {within:?}"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl Bad {
    /// No connection.
    pub(super) fn connect(error: &std::io::Error) -> Self {
        Self::Failed(format!("cannot connect: {error}"))
    }

    /// It was lost.
    pub(super) fn broke(error: &std::io::Error) -> Self {
        Self::Failed(format!("the connection broke: {error}"))
    }

    /// Not what was hoped for.
    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self::Failed(why.into())
    }
}

impl Attendance {
    /// Checks as this says, which are told here.
    pub(super) fn new(config: HealthConfig, told: Sender<Told>) -> Self {
        Self { config, places: Semaphore::new(BEGINNING), told }
    }

    /// Checks one instance for as long as somebody is told, the first time at once.
    pub(super) async fn attend(self: Arc<Self>, instance: Arc<Instance>) {
        let mut threshold = Threshold::of(instance.standing.reasons());
        loop {
            let checked = self.check(&instance).await;
            let turned = threshold.note(checked.is_ok(), &self.config);
            let told = Told { instance: Arc::clone(&instance), checked, turned };
            if self.told.send(told).await.is_err() {
                return;
            }
            let pause = pause(&self.config, threshold.health(), fastrand::f64());
            tokio::time::sleep(pause).await;
        }
    }

    /// Asks once.
    async fn check(&self, instance: &Instance) -> Result<(), Bad> {
        let place = self.places.acquire().await;
        let within = self.config.timeout;
        let mut asked = pin!(timeout(within, ask(&self.config.check, instance)));
        let soon = timeout(YOUNG, &mut asked).await;
        drop(place);
        let asked = match soon {
            Ok(asked) => asked,
            Err(_) => asked.await,
        };
        asked.unwrap_or(Err(Bad::Late(within)))
    }
}

async fn ask(check: &HealthCheck, instance: &Instance) -> Result<(), Bad> {
    match check {
        HealthCheck::Http { path, status, host } => {
            http::ask(instance, path, host.as_deref(), status).await
        }
        HealthCheck::Tcp => tcp::ask(instance).await,
        HealthCheck::Grpc { service } => grpc::ask(instance, service).await,
    }
}

/// From the end of one check to the beginning of the next. `draw` is from zero to one.
fn pause(config: &HealthConfig, health: Health, draw: f64) -> Duration {
    let usual = match health {
        Health::Up => config.interval,
        Health::Unchecked | Health::Down => config.unhealthy_interval,
    };
    usual.mul_f64(1.0 - JITTER + 2.0 * JITTER * draw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_not_up_is_asked_sooner_and_all_a_little_apart() {
        let config = HealthConfig {
            check: HealthCheck::Tcp,
            interval: Duration::from_secs(10),
            unhealthy_interval: Duration::from_secs(2),
            timeout: Duration::from_secs(2),
            healthy: 2,
            unhealthy: 3,
        };
        let millis = |health, draw| pause(&config, health, draw).as_millis();
        assert_eq!([0.0, 0.5, 1.0].map(|draw| millis(Health::Up, draw)), [9_000, 10_000, 11_000]);
        for health in [Health::Unchecked, Health::Down] {
            assert_eq!([0.0, 0.5, 1.0].map(|draw| millis(health, draw)), [1_800, 2_000, 2_200]);
        }
    }
}
