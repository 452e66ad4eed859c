//! The session: opened, resumed when its connection was lost, replaced when it cannot be.

use std::future::poll_fn;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use zookeeper_client::{Client, Error, SessionState};

use super::Core;
use crate::config::Secret;
use crate::registry::pace::Pace;
use crate::registry::trouble::Trouble;

/// Bound on a server's silence, so that one that hangs is noticed soon whatever session it has granted.
const SILENCE: Duration = Duration::from_secs(4);
/// How long a lost connection is left to the client library, which tries at once and then more and more seldom. After
/// that a new session is tried beside it.
const RESUME: Duration = Duration::from_millis(3500);
/// The least between two tries after that.
const APART: Duration = Duration::from_millis(2500);
/// Bound on closing a session.
const PEACE: Duration = Duration::from_secs(1);
/// Who may be what.
pub(super) const SCHEME: &str = "digest";

/// A session and the library's task that keeps it. Dropped, it ends at once: the library left to itself opens a session
/// that is broken off after each opening again without a pause.
pub(super) struct Link {
    pub(super) client: Client,
    task: Option<JoinHandle<()>>,
}

impl Link {
    /// Ends the session in peace, so that what it has made goes at once and not after its timeout.
    pub(super) async fn close(mut self) {
        let Some(mut task) = self.task.take() else { return };
        drop(self);
        if tokio::time::timeout(PEACE, &mut task).await.is_err() {
            task.abort();
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Takes the task that the library starts.
#[derive(Default)]
struct Taker(Mutex<Option<JoinHandle<()>>>);

impl spawns_core::Spawn for Taker {
    fn spawn(&self, task: spawns_core::Task) {
        let task = tokio::spawn(Box::into_pin(task.future));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }
}

/// Opens a session: each server is tried once.
pub(super) async fn open(core: &Core) -> Result<Link, Trouble> {
    let asked = core.settings.session_timeout;
    let mut connector = Client::connector()
        .with_session_timeout(asked)
        .with_connection_timeout(SILENCE.min(asked * 2 / 5))
        .with_fail_eagerly();
    if let Some(auth) = core.auth() {
        connector = connector.with_auth(SCHEME, pair(&auth));
    }
    let servers = &core.settings.servers;
    let taker = Taker::default();
    // Boxed: the library's state machine is large.
    let mut connecting = Box::pin(connector.connect(servers));
    let connected = poll_fn(|context| {
        let _scope = spawns_core::enter(&taker);
        connecting.as_mut().poll(context)
    });
    let connected = connected.await;
    let task = taker.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    match connected.map_err(|error| trouble(&error)) {
        Ok(client) => Ok(Link { client, task }),
        Err(Trouble::Away(_)) => Err(Trouble::Away(format!("no ZooKeeper answers at {servers}"))),
        Err(other @ (Trouble::Refused(_) | Trouble::Broken(_))) => Err(other),
    }
}

/// The bytes of `user:password` as the server wants them.
pub(super) fn pair(auth: &Secret) -> &[u8] {
    auth.reveal().trim_end().as_bytes()
}

/// Ends when there is a connected session: the old one, resumed, or a new one. `fails` is told of every failure.
pub(super) async fn reach(core: &Core, old: Option<Link>, mut fails: impl FnMut(&Trouble)) -> Link {
    let Some(old) = old else { return anew(core, Duration::ZERO, &mut fails).await };
    let beside = async {
        tokio::time::timeout(RESUME, over(&old.client)).await.ok();
        anew(core, APART, &mut fails).await
    };
    let new = tokio::select! {
        () = resumed(&old.client) => None,
        link = beside => Some(link),
    };
    new.unwrap_or(old)
}

/// Ends with a new session; tries are at least so far apart.
async fn anew(core: &Core, apart: Duration, fails: &mut impl FnMut(&Trouble)) -> Link {
    let mut pace = Pace::default();
    loop {
        match open(core).await {
            Ok(link) => return link,
            Err(trouble) => {
                fails(&trouble);
                pace.failed(trouble.longest_pause());
                tokio::time::sleep(apart).await;
                pace.ready().await;
            }
        }
    }
}

/// Ends when the connection is there again; never when the session is over.
async fn resumed(client: &Client) {
    let mut states = client.state_watcher();
    let mut state = client.state();
    while !is_connected(state) {
        state = states.changed().await;
    }
}

/// Ends when the session is over.
async fn over(client: &Client) {
    let mut states = client.state_watcher();
    let mut state = client.state();
    while !state.is_terminated() {
        state = states.changed().await;
    }
}

/// Ends when the connection is lost, even if it is there again by then.
pub(super) async fn lost(client: &Client) -> Trouble {
    let mut states = client.state_watcher();
    let mut state = client.state();
    if is_connected(state) {
        state = states.changed().await;
    }
    Trouble::Away(match state {
        SessionState::Expired => "the session has expired".to_owned(),
        SessionState::AuthFailed => "the server refuses `auth`".to_owned(),
        SessionState::Disconnected
        | SessionState::SyncConnected
        | SessionState::ConnectedReadOnly
        | SessionState::Closed => "the connection was lost".to_owned(),
    })
}

fn is_connected(state: SessionState) -> bool {
    state == SessionState::SyncConnected
}

/// An error of the client library that nobody asked for.
pub(super) fn trouble(error: &Error) -> Trouble {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "not exhaustive; what is new to us is a failure of the server's"
    )]
    match error {
        Error::ConnectionLoss
        | Error::SessionExpired
        | Error::SessionMoved
        | Error::ClientClosed
        | Error::NoHosts
        | Error::Timeout => Trouble::Away("the connection was lost".to_owned()),
        Error::AuthFailed => Trouble::Refused("the server refuses `auth`".to_owned()),
        Error::NoAuth | Error::InvalidAcl | Error::QuotaExceeded | Error::BadArguments(_) => {
            Trouble::Refused(error.to_string())
        }
        Error::Unimplemented => Trouble::Refused(
            "the server is older than ZooKeeper 3.6 and cannot tell what changes".to_owned(),
        ),
        other => Trouble::Broken(format!("the server cannot be understood: {other}")),
    }
}
