//! One registration: an ephemeral node that lives as long as the session does.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use zookeeper_client::{Acl, Acls, Client, CreateMode, Error, Permission};

use super::names::{is_name, shown};
use super::{Core, Owner, link};
use crate::registry::Registration;
use crate::registry::keeper::Keep;
use crate::registry::trouble::Trouble;

/// Between two looks at a node that nothing says anything of.
const LOOK: Duration = Duration::from_secs(30);
/// Between two makings, at least: somebody else may go on deleting it.
const APART: Duration = Duration::from_secs(1);
/// Bound on each step; a server that hangs is noticed by the session.
const LATE: Duration = Duration::from_secs(5);

/// Who registers may do everything, everybody may read it.
const OURS: &[Acl] = &[
    Acl::new_const(Permission::ALL, "auth", ""),
    Acl::new_const(Permission::READ, "world", "anyone"),
];

/// How a registration is kept.
pub(super) struct Keeper {
    owner: Arc<Owner>,
    session: watch::Receiver<Option<Client>>,
    registration: Registration,
    /// Our node, and the session it belongs to.
    made: Option<(String, i64)>,
    at: Option<Instant>,
    /// Told when it is deleted.
    deleted: Arc<Notify>,
}

impl Keeper {
    pub(super) fn new(owner: &Arc<Owner>, registration: Registration) -> Self {
        let (owner, session) = (Arc::clone(owner), owner.0.session.subscribe());
        Self { owner, session, registration, made: None, at: None, deleted: Arc::default() }
    }

    fn core(&self) -> &Core {
        &self.owner.0
    }

    fn client(&self) -> Result<Client, Trouble> {
        let client = self.session.borrow().clone();
        client.ok_or_else(|| Trouble::Away("there is no session".to_owned()))
    }

    async fn create(&mut self) -> Result<(), Trouble> {
        if !is_name(&self.registration.name) || !is_name(&self.registration.id) {
            return Err(Trouble::Refused("its name can be no node's".to_owned()));
        }
        let client = self.client()?;
        let session = client.session_id().0;
        let (mut ours, others) = self.nodes(&client, session).await?;
        if ours.is_empty() {
            ours.push(self.add(&client).await?);
        }
        let is_new = self.made.as_ref().is_none_or(|(_, of)| *of != session);
        self.keep(ours.pop().map(|node| (node, session)));
        // What a former process or session of ours has left, and would stay until the server notices its end. Not later
        // than that: two who register under the same id would go on deleting one another's.
        let stale = if is_new { others } else { Vec::new() };
        for node in stale.into_iter().chain(ours) {
            self.remove(&client, &node).await?;
        }
        Ok(())
    }

    /// Nodes of this id: those of this session, and others.
    async fn nodes(
        &self,
        client: &Client,
        session: i64,
    ) -> Result<(Vec<String>, Vec<String>), Trouble> {
        let service = self.core().root.service(&self.registration.name);
        let children = match client.get_children(&service).await {
            Ok((children, _)) => children,
            Err(Error::NoNode) => return Ok(Default::default()),
            Err(error) => return Err(denied(&service, &error)),
        };
        let (mut ours, mut others) = (Vec::new(), Vec::new());
        for node in children.iter().filter(|node| is_of(node, &self.registration.id)) {
            let path = self.core().root.instance(&self.registration.name, node);
            match client.check_stat(&path).await {
                Ok(Some(stat)) if stat.ephemeral_owner == session => ours.push(path),
                Ok(Some(_)) => others.push(path),
                Ok(None) => {}
                Err(error) => return Err(denied(&path, &error)),
            }
        }
        Ok((ours, others))
    }

    async fn add(&self, client: &Client) -> Result<String, Trouble> {
        let service = self.core().root.service(&self.registration.name);
        let prefix = format!("{service}/{}-", self.registration.id);
        let data = described(&self.registration).to_string();
        let acls = if self.core().auth().is_some() { Acls::new(OURS) } else { Acls::anyone_all() };
        let ephemeral = CreateMode::EphemeralSequential.with_acls(acls);
        let mut created = client.create(&prefix, data.as_bytes(), &ephemeral).await;
        if created.as_ref().err() == Some(&Error::NoNode) {
            let parents = CreateMode::Persistent.with_acls(acls);
            client.mkdir(&service, &parents).await.map_err(|error| denied(&service, &error))?;
            created = client.create(&prefix, data.as_bytes(), &ephemeral).await;
        }
        let (_, number) = created.map_err(|error| denied(&service, &error))?;
        Ok(format!("{prefix}{number}"))
    }

    async fn remove(&self, client: &Client, node: &str) -> Result<(), Trouble> {
        match client.delete(node, None).await {
            Ok(()) | Err(Error::NoNode) => Ok(()),
            Err(error) => Err(denied(node, &error)),
        }
    }

    /// Whether our node is there.
    async fn is_there(&self, client: &Client) -> Result<bool, Trouble> {
        let Some((node, session)) = &self.made else { return Ok(false) };
        let stat = client.check_stat(node).await.map_err(|error| denied(node, &error))?;
        Ok(stat.is_some_and(|stat| stat.ephemeral_owner == *session))
    }

    /// Whether there were other credentials to show.
    async fn shows_replaced(&self) -> bool {
        let Ok(client) = self.client() else { return false };
        let shown = self.core().show_replaced(&client);
        tokio::time::timeout(LATE, shown).await.unwrap_or_default()
    }

    /// Says which node is ours, so that the watch tells us of its end.
    fn keep(&mut self, made: Option<(String, i64)>) {
        let mut kept = self.owner.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((node, _)) = std::mem::replace(&mut self.made, made) {
            kept.remove(&node);
        }
        if let Some((node, _)) = &self.made {
            kept.insert(node.clone(), Arc::clone(&self.deleted));
        }
    }

    /// Bounds a step's time.
    async fn within<T>(step: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
        let late = |_| Err(Trouble::Away("the server does not answer".to_owned()));
        tokio::time::timeout(LATE, step).await.unwrap_or_else(late)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.keep(None);
    }
}

impl Keep for Keeper {
    async fn make(&mut self) -> Result<(), Trouble> {
        if let Some(at) = self.at {
            tokio::time::sleep_until(at + APART).await;
        }
        self.at = Some(Instant::now());
        match Self::within(self.create()).await {
            Err(Trouble::Refused(_)) if self.shows_replaced().await => {
                Self::within(self.create()).await
            }
            done => done,
        }
    }

    async fn look(&mut self) -> Result<bool, Trouble> {
        let client = self.client()?;
        // The node of another session is as good as gone.
        let is_ours = self.made.as_ref().is_some_and(|(_, of)| *of == client.session_id().0);
        if is_ours { Self::within(self.is_there(&client)).await } else { Ok(false) }
    }

    async fn rest(&mut self) {
        let of = self.made.as_ref().map(|(_, of)| *of);
        let is_another = |now: &Option<Client>| now.as_ref().map(|now| now.session_id().0) != of;
        tokio::select! {
            () = self.deleted.notified() => {}
            _ = self.session.wait_for(is_another) => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }

    async fn wait_out(&mut self) -> bool {
        let was_lost = self.session.borrow().is_none();
        // Cannot fail: the sender lives as long as the owner.
        self.session.wait_for(Option::is_some).await.ok();
        was_lost
    }

    async fn take_back(&mut self) -> Result<(), Trouble> {
        let client = self.client()?;
        let session = client.session_id().0;
        let gone = async {
            let (ours, _) = self.nodes(&client, session).await?;
            for node in ours {
                self.remove(&client, &node).await?;
            }
            Ok(())
        };
        Self::within(gone).await
    }
}

/// Whether a node's name is the id and the number that the server has put behind it.
fn is_of(node: &str, id: &str) -> bool {
    let number = node.strip_prefix(id).and_then(|rest| rest.strip_prefix('-'));
    number.is_some_and(|n| n.len() >= 10 && n.bytes().all(|digit| digit.is_ascii_digit()))
}

/// As Curator's service discovery writes it, with the payload of Spring Cloud ZooKeeper.
fn described(registration: &Registration) -> Value {
    let flags = registration.tags.iter().map(|tag| (tag.clone(), Value::from("true")));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({
        "name": registration.name,
        "id": registration.id,
        "address": registration.address.host,
        "port": registration.address.port,
        "sslPort": null,
        "payload": {
            "@class": "org.springframework.cloud.zookeeper.discovery.ZookeeperInstance",
            "id": registration.id,
            "name": registration.name,
            "metadata": flags.collect::<Map<String, Value>>(),
        },
        "registrationTimeUTC": u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        "serviceType": "DYNAMIC",
        "uriSpec": null,
    })
}

fn denied(path: &str, error: &Error) -> Trouble {
    if *error != Error::NoAuth {
        return link::trouble(error);
    }
    let path = shown(path);
    Trouble::Refused(format!("{path} may not be written with this `auth`, or without one"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::HostPort;
    use crate::registry::{Liveness, value};

    #[test]
    fn what_is_written_is_read_again_as_the_same_instance() {
        let registration = Registration {
            id: "edge-1".into(),
            name: "edge".into(),
            address: HostPort { host: "fd00::1".into(), port: 8080 },
            tags: vec!["frontgate".into(), "v2".into()],
            check: Liveness::Heartbeat,
        };
        let entry = value::read(described(&registration).to_string().as_bytes()).unwrap();
        assert_eq!(entry.endpoint.address, registration.address);
        assert!(entry.up && entry.is_tagged(&registration.tags));
    }

    #[test]
    fn a_node_is_of_an_id_with_a_number_behind_it_and_of_no_other() {
        for (node, is) in [
            ("edge-1-0000000000", true),
            ("edge-1-2147483648000000000", true),
            ("edge-1-000000000", false),
            ("edge-1-00000000x0", false),
            ("edge-1-1-0000000000", false),
            ("edge-10000000000", false),
            ("edge-1-", false),
            ("edge-1", false),
        ] {
            assert_eq!(is_of(node, "edge-1"), is, "{node}");
        }
    }
}
