//! One registration: a key under a lease, which is kept alive, made again when either is gone, and revoked at the end.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Core;
use super::cluster::{Failure, No, PROMPT};
use super::json;
use crate::registry::Registration;
use crate::registry::keeper::Keep;
use crate::registry::trouble::Trouble;

/// Seconds without a sign of life after which etcd forgets it.
const TTL: u64 = 10;
/// Between two signs of life: two may be missed.
const LOOK: Duration = Duration::from_millis(TTL * 1000 / 3);

/// Bound on one member's answer at the end: another one is asked before the time is over.
const HASTE: Duration = Duration::from_secs(1);

/// How a registration is kept.
pub(super) struct Lease {
    core: Arc<Core>,
    key: Vec<u8>,
    value: Vec<u8>,
    id: Option<i64>,
    returns: u64,
}

impl Lease {
    pub(super) fn new(core: &Arc<Core>, registration: &Registration) -> Self {
        Self {
            key: core.prefix.key(&registration.name, &registration.id),
            value: value(registration).to_string().into_bytes(),
            returns: core.link.borrow().returns,
            core: Arc::clone(core),
            id: None,
        }
    }

    async fn grant(&self) -> Result<i64, Trouble> {
        let body = self.core.cluster.ask("/v3/lease/grant", json::grant(TTL), PROMPT).await;
        let granted: json::Granted = self.read(&body.map_err(Failure::trouble)?)?;
        Ok(granted.id)
    }

    async fn put(&self, lease: i64) -> Result<(), Failure> {
        let body = json::put(&self.key, &self.value, lease);
        self.core.cluster.ask("/v3/kv/put", body, PROMPT).await.map(drop)
    }

    fn read<T: serde::de::DeserializeOwned>(&self, body: &[u8]) -> Result<T, Trouble> {
        let cluster = &self.core.cluster;
        json::read(body).map_err(|why| cluster.broken(cluster.current(), &why).trouble())
    }
}

impl Keep for Lease {
    async fn make(&mut self) -> Result<(), Trouble> {
        let made = self.grant_and_put().await;
        self.heard(made)
    }

    /// Keeps the lease alive and looks whether the key is there. A key that somebody else has written meanwhile, such as
    /// our successor at the same address, is left alone.
    async fn look(&mut self) -> Result<bool, Trouble> {
        let there = self.renew().await;
        self.heard(there)
    }

    async fn rest(&mut self) {
        let mut link = self.core.link.subscribe();
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            // A cluster that comes back may have forgotten.
            Ok(now) = link.wait_for(|link| link.returns != self.returns) => self.returns = now.returns,
        }
    }

    /// One asks for all while that is in vain, however much is registered. Not the task that reads: a cluster that it
    /// cannot read, or watch, may well keep leases alive.
    async fn wait_out(&mut self) -> bool {
        !self.core.gate.turn().await
    }

    async fn take_back(&mut self) -> Result<(), Trouble> {
        let Some(lease) = self.id else { return Ok(()) };
        match self.core.cluster.ask("/v3/lease/revoke", json::lease(lease), HASTE).await {
            Ok(_) | Err(Failure::Cluster(No::Lease, _)) => Ok(()),
            Err(failure) => Err(failure.trouble()),
        }
    }
}

impl Lease {
    /// An answer lets all ask, a failure one after the other. A refusal is about one key, and says nothing of the others.
    fn heard<T>(&self, answer: Result<T, Trouble>) -> Result<T, Trouble> {
        match &answer {
            Ok(_) => self.core.gate.open(),
            Err(Trouble::Away(_) | Trouble::Broken(_)) => self.core.gate.close(),
            Err(Trouble::Refused(_)) => {}
        }
        answer
    }

    async fn grant_and_put(&mut self) -> Result<(), Trouble> {
        if let Some(lease) = self.id {
            match self.put(lease).await {
                Err(Failure::Cluster(No::Lease, _)) => self.id = None,
                put => return put.map_err(Failure::trouble),
            }
        }
        let lease = self.grant().await?;
        // Before the key is put: dropped in between, it is still known what to revoke.
        self.id = Some(lease);
        self.put(lease).await.map_err(Failure::trouble)
    }

    async fn renew(&mut self) -> Result<bool, Trouble> {
        let Some(lease) = self.id else { return Ok(false) };
        let cluster = &self.core.cluster;
        let asked = cluster.ask("/v3/lease/keepalive", json::lease(lease), PROMPT).await;
        let kept: json::Line<json::Kept> = match asked {
            Err(Failure::Cluster(No::Lease, _)) => json::Line { result: None, error: None },
            asked => self.read(&asked.map_err(Failure::trouble)?)?,
        };
        if let Some(error) = kept.error {
            return Err(cluster.ended(cluster.current(), &error).trouble());
        }
        if kept.result.is_none_or(|kept| kept.ttl <= 0) {
            self.id = None;
            return Ok(false);
        }
        let found = cluster.ask("/v3/kv/range", json::look(&self.key), PROMPT).await;
        let page: json::Page = self.read(&found.map_err(Failure::trouble)?)?;
        Ok(!page.kvs.is_empty())
    }
}

/// As etcd's own naming writes it (`naming/endpoints`): tags become metadata that says yes.
fn value(registration: &Registration) -> Value {
    let tags = registration.tags.iter().map(|tag| (tag.clone(), Value::from("true")));
    let metadata: Map<String, Value> = tags.collect();
    json!({ "Op": 0, "Addr": registration.address.to_string(), "Metadata": metadata })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::HostPort;
    use crate::registry::Liveness;
    use crate::registry::value as read;

    #[test]
    fn what_is_written_can_be_read() {
        let registration = Registration {
            id: "a-1".into(),
            name: "a".into(),
            address: HostPort { host: "::1".into(), port: 80 },
            tags: vec!["v2".into(), "frontgate".into()],
            check: Liveness::Heartbeat,
        };
        let written = value(&registration).to_string();
        assert_eq!(
            written,
            r#"{"Addr":"[::1]:80","Metadata":{"frontgate":"true","v2":"true"},"Op":0}"#
        );
        let entry = read::read(written.as_bytes()).unwrap();
        assert_eq!(
            (entry.endpoint.address, entry.tags),
            (registration.address, vec!["frontgate".to_owned(), "v2".to_owned()])
        );
    }
}
