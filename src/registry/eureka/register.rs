//! One registration: an instance under a lease that heartbeats renew.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde_json::{Map, Value, json};

use super::Core;
use crate::registry::keeper::Keep;
use crate::registry::trouble::{Trouble, encode, success};
use crate::registry::{Liveness, Registration};

/// Between two heartbeats.
const BEAT: Duration = Duration::from_secs(10);
/// The lease: three heartbeats. A server waits twice as long before it forgets one that was renewed once.
const LEASE: Duration = Duration::from_secs(30);
/// Bound on one call.
const PROMPT: Duration = Duration::from_secs(5);
/// The same at the end: another server is asked before the time is over.
const HASTE: Duration = Duration::from_secs(1);

/// How a registration is kept.
pub(super) struct Keeper {
    core: Arc<Core>,
    registration: Registration,
    /// The server that answered last.
    server: usize,
}

impl Keeper {
    pub(super) fn new(core: &Arc<Core>, registration: Registration) -> Self {
        Self { core: Arc::clone(core), registration, server: 0 }
    }
}

impl Keep for Keeper {
    async fn make(&mut self) -> Result<(), Trouble> {
        let body = json!({ "instance": instance(&self.registration) }).to_string();
        let path = format!("/apps/{}", encode(&app(&self.registration)));
        let answer = self.tell(Method::POST, &path, Bytes::from(body), PROMPT).await?;
        self.good(&answer)
    }

    async fn look(&mut self) -> Result<bool, Trouble> {
        let answer = self.tell(Method::PUT, &self.path(), Bytes::new(), PROMPT).await?;
        // Never heard of, or evicted.
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        self.good(&answer).map(|()| true)
    }

    async fn rest(&mut self) {
        tokio::time::sleep(BEAT).await;
    }

    async fn take_back(&mut self) -> Result<(), Trouble> {
        let answer = self.tell(Method::DELETE, &self.path(), Bytes::new(), HASTE).await?;
        if answer.status() == StatusCode::NOT_FOUND { Ok(()) } else { self.good(&answer) }
    }
}

impl Keeper {
    async fn tell(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
        within: Duration,
    ) -> Result<Response<Bytes>, Trouble> {
        let core = &self.core;
        let (server, answer) = core.servers.any(self.server, (method, path), &body, within).await?;
        self.server = server;
        Ok(answer)
    }

    fn good(&self, answer: &Response<Bytes>) -> Result<(), Trouble> {
        success(self.core.servers.address(self.server), answer)
    }

    fn path(&self) -> String {
        let registration = &self.registration;
        format!("/apps/{}/{}", encode(&app(registration)), encode(&registration.id))
    }
}

/// Eureka's applications are in capitals.
fn app(registration: &Registration) -> String {
    registration.name.to_uppercase()
}

fn instance(registration: &Registration) -> Value {
    let address = &registration.address;
    let name = registration.name.to_lowercase();
    let metadata: Map<String, Value> =
        registration.tags.iter().map(|tag| (tag.clone(), "true".into())).collect();
    let mut instance = json!({
        "instanceId": registration.id,
        "app": app(registration),
        "hostName": address.host,
        // Eureka asks for one and does not look at it: a name will do where there is no address.
        "ipAddr": address.host,
        "vipAddress": name,
        "secureVipAddress": name,
        "status": "UP",
        "port": { "$": address.port, "@enabled": "true" },
        "securePort": { "$": 443, "@enabled": "false" },
        "homePageUrl": format!("http://{address}/"),
        "dataCenterInfo": {
            "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo",
            "name": "MyOwn",
        },
        "leaseInfo": {
            "renewalIntervalInSecs": BEAT.as_secs(),
            "durationInSecs": LEASE.as_secs(),
        },
        "metadata": metadata,
    });
    if let Liveness::Http(url) = &registration.check {
        instance["healthCheckUrl"] = url.as_str().into();
    }
    if address.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) {
        // Others make a URL of it.
        instance["hostName"] = format!("[{}]", address.host).into();
    }
    instance
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::HostPort;
    use crate::registry::eureka::decode;

    fn registration(host: &str) -> Registration {
        Registration {
            id: "edge-1".into(),
            name: "Edge".into(),
            address: HostPort { host: host.into(), port: 8080 },
            tags: vec!["frontgate".into(), "a b".into()],
            check: Liveness::Http("http://10.0.0.1:8080/readyz".into()),
        }
    }

    #[test]
    fn what_is_registered_is_read_as_the_same() {
        for (host, expected) in [
            ("10.0.0.1", "10.0.0.1:8080"),
            ("edge.internal", "edge.internal:8080"),
            ("fd00::1", "[fd00::1]:8080"),
        ] {
            let instance = instance(&registration(host));
            assert_eq!(instance["healthCheckUrl"], "http://10.0.0.1:8080/readyz");
            assert_eq!(instance["homePageUrl"], format!("http://{expected}/"));
            assert_eq!(
                (&instance["app"], &instance["vipAddress"]),
                (&"EDGE".into(), &"edge".into())
            );
            let all = json!({ "applications": { "application": { "instance": instance } } });
            let mut answer = decode::answer(all.to_string().as_bytes()).unwrap();
            let listed = answer.listed.pop().unwrap();
            assert_eq!((listed.service.as_str(), listed.id.as_str()), ("edge", "edge-1"));
            let entry = listed.instance.entry.unwrap();
            assert_eq!(entry.endpoint.address.to_string(), expected);
            assert_eq!(entry.tags, ["a b", "frontgate"]);
            assert!(entry.up);
        }
    }
}
