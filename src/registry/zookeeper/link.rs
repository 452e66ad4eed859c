//! The session: opened, resumed when its connection was lost, replaced when it cannot be.

use std::time::Duration;

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
/// Who may be what.
pub(super) const SCHEME: &str = "digest";

/// Opens a session: each server is tried once.
pub(super) async fn open(core: &Core) -> Result<Client, Trouble> {
    let asked = core.settings.session_timeout;
    let mut connector = Client::connector()
        .with_session_timeout(asked)
        .with_connection_timeout(SILENCE.min(asked * 2 / 5))
        .with_fail_eagerly();
    if let Some(auth) = core.auth() {
        connector = connector.with_auth(SCHEME, pair(&auth));
    }
    let servers = &core.settings.servers;
    // Boxed: the library's state machine is large.
    Box::pin(connector.connect(servers)).await.map_err(|error| match trouble(&error) {
        Trouble::Away(_) => Trouble::Away(format!("no ZooKeeper answers at {servers}")),
        other @ (Trouble::Refused(_) | Trouble::Broken(_)) => other,
    })
}

/// The bytes of `user:password` as the server wants them.
pub(super) fn pair(auth: &Secret) -> &[u8] {
    auth.reveal().trim_end().as_bytes()
}

/// Ends when there is a connected session: the old one, resumed, or a new one. `fails` is told of every failure.
pub(super) async fn reach(
    core: &Core,
    old: Option<&Client>,
    mut fails: impl FnMut(&Trouble),
) -> Client {
    let anew = async {
        if let Some(old) = old {
            tokio::time::timeout(RESUME, over(old)).await.ok();
        }
        let mut pace = Pace::default();
        loop {
            match open(core).await {
                Ok(client) => return client,
                Err(trouble) => {
                    fails(&trouble);
                    pace.failed(trouble.longest_pause());
                    if old.is_some() {
                        tokio::time::sleep(APART).await;
                    }
                    pace.ready().await;
                }
            }
        }
    };
    match old {
        Some(old) => tokio::select! {
            () = resumed(old) => old.clone(),
            client = anew => client,
        },
        None => anew.await,
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
