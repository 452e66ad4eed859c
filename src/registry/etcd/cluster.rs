//! The members of a cluster: which one is asked, with which token, and what its refusals mean.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;

use super::access::{Access, Reply, Step};
use super::json::{self, Token};
use super::settings::Settings;
use crate::config::Secret;
use crate::fetch::tls::{self, Problem, problem};
use crate::fetch::{Client, Stream};
use crate::registry::trouble::{Trouble, base};

/// One is the watch's, one its probe's; the others are shared by what is registered.
const CONNECTIONS: usize = 16;
/// A page of keys fits; an endless answer does not.
pub(super) const BODY: usize = 32 << 20;
/// Bound on an answer.
pub(super) const PROMPT: Duration = Duration::from_secs(3);
/// The longest token that is sent with every question.
const TOKEN: usize = 16 << 10;
/// A member that has lost its leader says so at once, instead of waiting for one (etcd's `WithRequireLeader`).
const HAS_LEADER: HeaderName = HeaderName::from_static("grpc-metadata-hasleader");

/// The members and how they are asked.
pub(super) struct Cluster {
    client: Client,
    members: Vec<String>,
    /// The one that answered last.
    current: AtomicUsize,
    access: Option<Access>,
}

/// Why a question has no usable answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// This member cannot say; another one may.
    Member(Trouble),
    /// The cluster says no, and why: so would every member.
    Cluster(No, String),
}

/// What etcd refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum No {
    /// The token is no longer good, or there should be one.
    Token,
    /// Name and password.
    Access,
    /// The user may not do this.
    Rights,
    /// It has no users.
    Open,
    /// The lease is gone.
    Lease,
    /// What was asked for is so old that it is no longer known.
    Compacted,
    /// It has more than is taken.
    TooMuch,
    /// Something else.
    Request,
}

impl Cluster {
    /// Checks the settings; asks nothing yet.
    pub(super) fn new(settings: &Settings) -> Result<Self, Problem> {
        let members: Vec<String> = settings
            .endpoints
            .iter()
            .map(|address| base("endpoints", address))
            .collect::<Result<_, _>>()?;
        if members.is_empty() {
            return Err(problem("endpoints", "names no member of the cluster"));
        }
        let on = members.iter().any(|member| member.starts_with("https:"));
        let tls = tls::Settings { on, ..settings.tls.clone() };
        let client = Client::new(&tls, CONNECTIONS, BODY)?;
        let access = Access::new(settings);
        Ok(Self { client, members, current: AtomicUsize::new(0), access })
    }

    /// How many members there are.
    pub(super) fn size(&self) -> usize {
        self.members.len()
    }

    /// The member that is asked first.
    pub(super) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// A member's address, for messages.
    pub(super) fn address(&self, member: usize) -> &str {
        &self.members[member % self.members.len()]
    }

    /// This member did not answer: the next one is asked, if nobody has gone on to it already.
    pub(super) fn leave(&self, member: usize) {
        let next = (member + 1) % self.members.len();
        self.current.compare_exchange(member, next, Ordering::Relaxed, Ordering::Relaxed).ok();
    }

    /// Asks one member after the other, beginning with the one that answered last.
    pub(super) async fn ask(
        &self,
        path: &str,
        body: Bytes,
        within: Duration,
    ) -> Result<Bytes, Failure> {
        let mut left = self.members.len();
        loop {
            let member = self.current();
            left -= 1;
            match self.ask_member(member, path, body.clone(), within).await {
                Err(Failure::Member(_)) if left > 0 => self.leave(member),
                answer => return answer,
            }
        }
    }

    /// Asks this member, with a new token when the one there is is no longer good.
    pub(super) async fn ask_member(
        &self,
        member: usize,
        path: &str,
        body: Bytes,
        within: Duration,
    ) -> Result<Bytes, Failure> {
        let token = self.token(member).await?;
        let request = self.request(member, path, body.clone(), token.clone())?;
        let answer = self.exchange(member, request, within).await;
        let (Err(Failure::Cluster(No::Token, _)), Some(access)) = (&answer, &self.access) else {
            return answer;
        };
        access.forget(token.as_ref()).await;
        let token = self.token(member).await?;
        self.exchange(member, self.request(member, path, body, token)?, within).await
    }

    /// Begins what this member goes on answering.
    pub(super) async fn open(
        &self,
        member: usize,
        path: &str,
        body: Bytes,
    ) -> Result<Stream, Failure> {
        let token = self.token(member).await?;
        let request = self.request(member, path, body, token)?;
        let answer =
            self.client.open(request, PROMPT).await.map_err(|e| self.of(member, &e.into()))?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            status => Err(self.refusal(member, path, status, b"")),
        }
    }

    /// What a refusal in words, or in the parts that etcd sends, means.
    pub(super) fn refused(&self, member: usize, code: Option<i64>, message: &str) -> Failure {
        let line: String = message.chars().take(200).filter(|c| !c.is_control()).collect();
        let why = format!("{} answers: {}", self.address(member), line.trim());
        let no = |no: No, what_to_do: &str| Failure::Cluster(no, format!("{why}{what_to_do}"));
        let says = |words: &str| message.contains(words);
        if says("invalid auth token") || says("revision of auth store is old") {
            no(No::Token, "")
        } else if says("user name is empty") {
            no(No::Token, ": it wants to know who asks; set `username` and `password`")
        } else if says("authentication failed") {
            no(No::Access, ": check `username` and `password`")
        } else if says("permission denied") {
            no(
                No::Rights,
                ": give the user a role that may read, and to register write, the prefix",
            )
        } else if says("authentication is not enabled") {
            no(No::Open, "")
        } else if says("lease not found") {
            no(No::Lease, "")
        } else if says("has been compacted") {
            no(No::Compacted, "")
        } else if matches!(code, Some(3 | 5 | 6 | 7 | 9 | 12 | 16)) {
            // Codes of gRPC that say that the question is at fault.
            no(No::Request, "")
        } else {
            Failure::Member(Trouble::Broken(why))
        }
    }

    /// A stream's last line, which says why it ends.
    pub(super) fn ended(&self, member: usize, error: &Value) -> Failure {
        let code = error.get("grpc_code").or_else(|| error.get("code")).and_then(Value::as_i64);
        let message = error.get("message").unwrap_or(error);
        self.refused(member, code, &message.to_string())
    }

    /// An answer that cannot be read.
    pub(super) fn broken(&self, member: usize, why: &str) -> Failure {
        self.of(member, &Trouble::Broken(why.to_owned()))
    }

    /// A trouble with a member, which is named.
    pub(super) fn of(&self, member: usize, trouble: &Trouble) -> Failure {
        let why = format!("{}: {trouble}", self.address(member));
        Failure::Member(match trouble {
            Trouble::Away(_) => Trouble::Away(why),
            Trouble::Refused(_) => Trouble::Refused(why),
            Trouble::Broken(_) => Trouble::Broken(why),
        })
    }

    async fn token(&self, member: usize) -> Result<Option<HeaderValue>, Failure> {
        let Some(access) = &self.access else { return Ok(None) };
        let mut turn = access.turn().await;
        loop {
            match turn.step() {
                Step::Done(token) => return Ok(token),
                Step::Refused(why) => return Err(Failure::Cluster(No::Access, why)),
                Step::Ask(name, password) => {
                    turn.heard(self.authenticate(member, &name, &password).await?);
                }
            }
        }
    }

    async fn authenticate(
        &self,
        member: usize,
        name: &str,
        password: &Secret,
    ) -> Result<Reply, Failure> {
        // One read from a file ends in the file's newline; blanks are its own.
        let password = password.reveal().trim_end_matches(['\r', '\n']);
        let body = json::authenticate(name, password);
        let request = self.request(member, "/v3/auth/authenticate", body, None)?;
        match self.exchange(member, request, PROMPT).await {
            Ok(body) => {
                let read: Token = json::read(&body).map_err(|why| self.broken(member, &why))?;
                let token = HeaderValue::from_str(&read.token).ok();
                let token = token.filter(|token| token.len() <= TOKEN);
                token.map(Reply::Token).ok_or_else(|| self.broken(member, "its token is none"))
            }
            Err(Failure::Cluster(No::Open, _)) => Ok(Reply::Open),
            Err(Failure::Cluster(_, why)) => Ok(Reply::Refused(why)),
            Err(failure @ Failure::Member(_)) => Err(failure),
        }
    }

    fn request(
        &self,
        member: usize,
        path: &str,
        body: Bytes,
        token: Option<HeaderValue>,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let target = format!("{}{path}", self.address(member));
        let mut request = Request::post(&target).body(Full::new(body)).map_err(|error| {
            Failure::Member(Trouble::Refused(format!("{target} is no address: {error}")))
        })?;
        request.headers_mut().insert(HAS_LEADER, HeaderValue::from_static("true"));
        if let Some(mut token) = token {
            token.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, token);
        }
        Ok(request)
    }

    async fn exchange(
        &self,
        member: usize,
        request: Request<Full<Bytes>>,
        within: Duration,
    ) -> Result<Bytes, Failure> {
        let path = request.uri().path().to_owned();
        let answer = self.client.call(request, within).await;
        let answer = answer.map_err(|error| self.of(member, &error.into()))?;
        if answer.status() == StatusCode::OK {
            return Ok(answer.into_body());
        }
        Err(self.refusal(member, &path, answer.status(), answer.body()))
    }

    fn refusal(&self, member: usize, path: &str, status: StatusCode, body: &[u8]) -> Failure {
        let said: Option<Value> = serde_json::from_slice(&body[..body.len().min(4096)]).ok();
        if let Some(said) = said
            && let Some(message) =
                said.get("message").or_else(|| said.get("error")).and_then(Value::as_str)
        {
            return self.refused(member, said.get("code").and_then(Value::as_i64), message);
        }
        let status = status.as_u16();
        self.of(
            member,
            &match status {
                404 | 405 => Trouble::Refused(format!(
                    "answers {status} to {path}: it is no etcd since 3.4, or its JSON interface is off (--enable-grpc-gateway)"
                )),
                // It passes by itself.
                429 => Trouble::Broken(format!("answers {status} to {path}")),
                400..500 => Trouble::Refused(format!("answers {status} to {path}")),
                _ => Trouble::Broken(format!("answers {status} to {path}")),
            },
        )
    }
}

impl Failure {
    /// The same, for the books.
    pub(super) fn trouble(self) -> Trouble {
        match self {
            Self::Member(trouble) => trouble,
            Self::Cluster(No::Compacted, why) => Trouble::Broken(why),
            Self::Cluster(
                No::Token
                | No::Access
                | No::Rights
                | No::Open
                | No::Lease
                | No::TooMuch
                | No::Request,
                why,
            ) => Trouble::Refused(why),
        }
    }
}

#[cfg(test)]
mod tests;
