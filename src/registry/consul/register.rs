//! One registration with the agent: made, kept alive, made again when the agent lost it, taken back at the end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Serialize;

use super::Core;
use crate::registry::keeper::Keep;
use crate::registry::trouble::{Trouble, encode, success};
use crate::registry::{Liveness, Registration};

/// Between two looks at whether the agent still knows it, and between two heartbeats.
const LOOK: Duration = Duration::from_secs(2);
/// Between two checks by the agent, and the bound on one.
const INTERVAL: &str = "1s";
/// Silence after which a heartbeat counts as critical: several are missed by then.
const TTL: &str = "10s";
/// How long the agent keeps what is critical; a minute is the least it takes.
const FORGET: &str = "1m";
/// Who answers, in messages.
const AGENT: &str = "the agent";

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

/// How a registration with the agent is kept.
pub(super) struct Keeper {
    core: Arc<Core>,
    registration: Registration,
    life: u64,
}

impl Keeper {
    pub(super) fn new(core: &Arc<Core>, registration: Registration) -> Self {
        Self { core: Arc::clone(core), registration, life: 0 }
    }
}

impl Keep for Keeper {
    async fn make(&mut self) -> Result<(), Trouble> {
        let body = serde_json::to_vec(&self.definition())
            .map_err(|e| Trouble::Refused(format!("the registration cannot be written: {e}")))?;
        let path = "/v1/agent/service/register?replace-existing-checks=1";
        success(AGENT, &self.tell(path, Bytes::from(body)).await?)
    }

    /// Whether the agent still knows it: an agent that was restarted may have forgotten.
    async fn look(&mut self) -> Result<bool, Trouble> {
        let (answer, lost) = match &self.registration.check {
            Liveness::Http(_) => {
                let path = format!("/v1/agent/service/{}?", encode(&self.registration.id));
                let answer = self.doubt(self.core.agent.ask(&path).await)?;
                let lost = answer.status() == StatusCode::NOT_FOUND;
                (answer, lost)
            }
            Liveness::Heartbeat => {
                let path = format!("/v1/agent/check/update/{}?", encode(&self.check_id()));
                let beat = Bytes::from_static(br#"{"Status":"passing","Output":"alive"}"#);
                let answer = self.tell(&path, beat).await?;
                // An unknown check is a 404, and a 500 in older agents.
                let status = answer.status();
                let lost =
                    status == StatusCode::NOT_FOUND || status == StatusCode::INTERNAL_SERVER_ERROR;
                (answer, lost)
            }
        };
        if lost { Ok(false) } else { success(AGENT, &answer).map(|()| true) }
    }

    async fn rest(&mut self) {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            now = self.core.pulse.reborn(self.life) => self.life = now,
        }
    }

    /// An agent that comes back may have forgotten, and everybody waits for it to know again.
    async fn wait_out(&mut self) -> bool {
        let was_lost = self.core.pulse.is_lost();
        if was_lost {
            self.core.pulse.back().await;
        }
        was_lost
    }

    async fn take_back(&mut self) -> Result<(), Trouble> {
        let path = format!("/v1/agent/service/deregister/{}?", encode(&self.registration.id));
        let answer = self.core.agent.tell(&path, Bytes::new()).await?;
        if answer.status() == StatusCode::NOT_FOUND { Ok(()) } else { success(AGENT, &answer) }
    }
}

impl Keeper {
    async fn tell(&self, path: &str, body: Bytes) -> Result<Response<Bytes>, Trouble> {
        self.doubt(self.core.agent.tell(path, body).await)
    }

    /// An agent that does not answer this may not answer anything.
    fn doubt<T>(&self, answer: Result<T, Trouble>) -> Result<T, Trouble> {
        if matches!(answer, Err(Trouble::Away(_))) {
            self.core.pulse.doubt();
        }
        answer
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
