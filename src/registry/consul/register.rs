//! One registration with the agent: made, kept alive, made again when the agent lost it, taken back at the end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use tokio::sync::oneshot;

use super::Core;
use super::agent::{Trouble, encode, success};
use crate::registry::ledger::Account;
use crate::registry::pace::{AWAY, Pace, REFUSED};
use crate::registry::{Liveness, Registration};

/// Between two looks at whether the agent still knows it, and between two heartbeats.
const LOOK: Duration = Duration::from_secs(2);
/// Between two checks by the agent, and the bound on one.
const INTERVAL: &str = "1s";
/// Silence after which a heartbeat counts as critical: several are missed by then.
const TTL: &str = "10s";
/// How long the agent keeps what is critical; a minute is the least it takes.
const FORGET: &str = "1m";
/// Bound on taking it back: the process is about to end.
const GOODBYE: Duration = Duration::from_secs(3);

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    name: &'a str,
    tags: &'a [String],
    address: &'a str,
    port: u16,
    check: Check<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Check<'a> {
    #[serde(rename = "CheckID")]
    check_id: String,
    /// Found at once, instead of after the first interval.
    status: &'a str,
    deregister_critical_service_after: &'a str,
    #[serde(flatten)]
    way: Way,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Way {
    #[serde(rename_all = "PascalCase")]
    Http {
        #[serde(rename = "HTTP")]
        url: String,
        interval: &'static str,
        timeout: &'static str,
    },
    #[serde(rename_all = "PascalCase")]
    Heartbeat {
        #[serde(rename = "TTL")]
        ttl: &'static str,
    },
}

/// Ends once the agent was told to forget it, or could not be told.
pub(super) async fn run(
    core: Arc<Core>,
    registration: Registration,
    stopped: oneshot::Receiver<()>,
) {
    let account = core.ledger.account(format!("registration of {}", registration.id));
    let mut keeper = Keeper { core, registration, account, known: false };
    tokio::select! {
        () = keeper.keep() => {}
        // Told, or the other end was dropped.
        _ = stopped => {}
    }
    if tokio::time::timeout(GOODBYE, keeper.take_back()).await.is_err() {
        let (registry, id) = (keeper.core.name.as_str(), keeper.registration.id.as_str());
        tracing::warn!(registry, id, "could not be deregistered within {GOODBYE:?}");
    }
}

struct Keeper {
    core: Arc<Core>,
    registration: Registration,
    account: Account,
    /// Whether the agent knows it, as far as we know.
    known: bool,
}

impl Keeper {
    /// Never ends.
    async fn keep(&mut self) {
        let mut pace = Pace::default();
        let mut life = 0;
        let core = Arc::clone(&self.core);
        loop {
            // An agent that comes back may have forgotten, and everybody waits for it to know again.
            if core.pulse.is_lost() {
                core.pulse.back().await;
                pace.hurry();
            }
            pace.ready().await;
            let result = if self.known { self.look().await } else { self.register().await };
            match result {
                Ok(()) => {
                    self.account.well();
                    pace = Pace::default();
                    tokio::select! {
                        () = tokio::time::sleep(LOOK) => {}
                        now = core.pulse.reborn(life) => life = now,
                    }
                }
                Err(trouble) => {
                    if matches!(trouble, Trouble::Away(_)) {
                        core.pulse.doubt();
                    }
                    self.account.ill(&trouble.to_string(), trouble.blame());
                    let refused = matches!(trouble, Trouble::Refused(_));
                    pace.failed(if refused { REFUSED } else { AWAY });
                }
            }
        }
    }

    async fn register(&mut self) -> Result<(), Trouble> {
        let body = serde_json::to_vec(&self.definition())
            .map_err(|e| Trouble::Refused(format!("the registration cannot be written: {e}")))?;
        let path = "/v1/agent/service/register?replace-existing-checks=1";
        success(&self.core.agent.tell(path, Bytes::from(body)).await?)?;
        self.known = true;
        self.account.count("registered");
        let (registry, id) = (self.core.name.as_str(), self.registration.id.as_str());
        tracing::info!(registry, id, address = %self.registration.address, "registered");
        Ok(())
    }

    /// Whether the agent still knows it: an agent that was restarted may have forgotten.
    async fn look(&mut self) -> Result<(), Trouble> {
        let agent = &self.core.agent;
        let (answer, lost) = match &self.registration.check {
            Liveness::Http(_) => {
                let path = format!("/v1/agent/service/{}?", encode(&self.registration.id));
                let answer = agent.ask(&path).await?;
                let lost = answer.status() == StatusCode::NOT_FOUND;
                (answer, lost)
            }
            Liveness::Heartbeat => {
                let path = format!("/v1/agent/check/update/{}?", encode(&self.check_id()));
                let beat = Bytes::from_static(br#"{"Status":"passing","Output":"alive"}"#);
                let answer = agent.tell(&path, beat).await?;
                // An unknown check is a 404, and a 500 in older agents.
                let status = answer.status();
                let lost =
                    status == StatusCode::NOT_FOUND || status == StatusCode::INTERNAL_SERVER_ERROR;
                (answer, lost)
            }
        };
        if !lost {
            return success(&answer);
        }
        self.known = false;
        self.account.count("lost");
        let (registry, id) = (self.core.name.as_str(), self.registration.id.as_str());
        tracing::warn!(registry, id, "the agent lost the registration; making it again");
        self.register().await
    }

    async fn take_back(&self) {
        let path = format!("/v1/agent/service/deregister/{}?", encode(&self.registration.id));
        let mut pace = Pace::default();
        loop {
            pace.ready().await;
            // Also when we do not think it is known: an attempt may have been under way.
            let answer = self.core.agent.tell(&path, Bytes::new()).await;
            let (registry, id) = (self.core.name.as_str(), self.registration.id.as_str());
            match answer {
                Ok(answer) if answer.status().is_success() => {
                    return tracing::info!(registry, id, "deregistered");
                }
                Ok(answer) if answer.status() == StatusCode::NOT_FOUND => return,
                Ok(_) | Err(_) => pace.failed(AWAY),
            }
        }
    }

    fn definition(&self) -> Definition<'_> {
        let registration = &self.registration;
        let way = match &registration.check {
            Liveness::Http(url) => {
                Way::Http { url: url.clone(), interval: INTERVAL, timeout: INTERVAL }
            }
            Liveness::Heartbeat => Way::Heartbeat { ttl: TTL },
        };
        Definition {
            id: &registration.id,
            name: &registration.name,
            tags: &registration.tags,
            address: &registration.address.host,
            port: registration.address.port,
            check: Check {
                check_id: self.check_id(),
                status: "passing",
                deregister_critical_service_after: FORGET,
                way,
            },
        }
    }

    fn check_id(&self) -> String {
        format!("service:{}", self.registration.id)
    }
}
