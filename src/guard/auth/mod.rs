//! Who calls. To add a scheme: write its file, add its line to `KINDS`.

pub mod apr1;
pub mod basic;
pub mod basic_desk;
pub mod basic_file;
pub mod basic_users;
pub mod claims;
mod forward;
pub mod hashes;
pub mod hashing;
pub mod jwk;
pub mod jwks;
pub mod jws;
pub mod jwt;
pub mod jwt_settings;
pub mod key;
pub mod keys;
pub mod named;
mod ours;
pub mod spot;
mod subrequest;
pub mod tokens;
pub mod turn;
pub mod verified;

use std::fmt::Debug;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode};

use super::{Desks, Shared};
use crate::config::{Kind, KindInfo, Problems, Section, Table};
use crate::exchange::{Caller, Exchange};
use crate::refusal::Refusal;
use crate::wire::Body;

/// Every kind of scheme that a config may name.
pub const KINDS: &[Kind<Build>] = &[
    Kind {
        name: "basic",
        about: "names and passwords, in the config or a file as htpasswd writes it (RFC 7617)",
        keys: basic::KEYS,
        build: Build { check: check::<basic::Basic>, open: open::<basic::Basic> },
    },
    Kind {
        name: "forward",
        about: "another service: a 2xx to a question about the request lets in",
        keys: forward::KEYS,
        build: Build { check: check::<forward::Forward>, open: open::<forward::Forward> },
    },
    Kind {
        name: "key",
        about: "a text that only one caller has, in a header, a cookie or the query",
        keys: key::KEYS,
        build: Build { check: check::<key::ApiKeys>, open: open::<key::ApiKeys> },
    },
    Kind {
        name: "jwt",
        about: "a signed token, checked with keys of an identity provider, a key file or a secret",
        keys: jwt::KEYS,
        build: Build { check: check::<jwt::Jwt>, open: open::<jwt::Jwt> },
    },
];

/// What a configuration must know of the kinds.
pub const INFOS: &[KindInfo] = &[
    KINDS[0].checked(KINDS[0].build.check),
    KINDS[1].checked(KINDS[1].build.check),
    KINDS[2].checked(KINDS[2].build.check),
    KINDS[3].checked(KINDS[3].build.check),
];

/// How a kind reads its section.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// Reports every problem; starts nothing.
    pub check: fn(&mut Table<'_>),
    /// The scheme; asks nobody before it is started.
    pub open: fn(Setting<'_>, &mut Table<'_>) -> Option<Arc<dyn Scheme>>,
}

/// Where a scheme stands.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// Of its table: `[auth.<name>]`.
    pub name: &'a str,
    /// Where something may be kept over a restart.
    pub state: Option<&'a Path>,
}

/// A kind that reads its own section; problems are reported there.
trait FromTable: Scheme + Sized + 'static {
    fn from_table(setting: Setting<'_>, table: &mut Table<'_>) -> Option<Self>;
}

fn check<S: FromTable>(table: &mut Table<'_>) {
    S::from_table(Setting { name: "", state: None }, table);
}

fn open<S: FromTable>(setting: Setting<'_>, table: &mut Table<'_>) -> Option<Arc<dyn Scheme>> {
    Some(Arc::new(S::from_table(setting, table)?))
}

/// The scheme that a checked section describes; none when it has problems after all, which are reported.
pub fn build(
    section: &Section,
    state: Option<&Path>,
    problems: &mut Problems,
) -> Option<Arc<dyn Scheme>> {
    let kind = KINDS.iter().find(|kind| kind.name == section.kind)?;
    (kind.build.open)(Setting { name: &section.name, state }, &mut section.read(problems))
}

/// One `[auth.…]`, shared by all workers.
pub trait Scheme: Debug + Send + Sync {
    /// Begins what goes on beside requests, in the runtime of the control plane, until the scheme is dropped.
    fn start(&self) {}

    /// A worker's part of it. Never leaves its thread.
    fn desk(self: Arc<Self>) -> Rc<dyn Desk>;

    /// Names that callers' headers may have. What a client sends under them is removed.
    fn headers(&self) -> &[HeaderName] {
        &[]
    }
}

/// One worker's part of a scheme.
pub trait Desk: Debug {
    /// Whether a request carries good credentials of this scheme.
    fn check(&self, asked: &Parts, exchange: &Exchange) -> Verdict;

    /// What a client is told to bring (RFC 9110 section 11.6.1), with why what it brought was not good.
    fn challenge(&self, denied: &Denied) -> Option<HeaderValue>;
}

/// What a scheme says of a request.
pub enum Verdict {
    /// It is this caller's.
    In(Rc<Caller>),
    /// It may not come in.
    Out(Denied),
    /// That takes time, and is worth a box: the first keys, a slow hash, another service.
    Ask(Pin<Box<dyn Future<Output = Result<Rc<Caller>, Denied>>>>),
}

/// Why a request may not come in by a scheme.
#[derive(Debug)]
pub enum Denied {
    /// It has no credentials of this scheme.
    Missing,
    /// They are not good.
    Bad {
        /// For the client: a word of RFC 6750 section 3.1.
        error: &'static str,
        /// For the client: one line without quotes and backslashes, never internals.
        description: &'static str,
        /// For the operator.
        reason: String,
    },
    /// They are, and the caller may not.
    Forbidden {
        /// As in `Bad`.
        error: &'static str,
        /// As in `Bad`.
        description: &'static str,
        /// As in `Bad`.
        reason: String,
    },
    /// Whether they are cannot be found out now: too much is being tried.
    Busy {
        /// As in `Bad`.
        reason: String,
    },
    /// Another service has answered, and that is the answer.
    Answered(Box<Response<Body>>),
}

/// `auth` of a route: any one lets in.
#[derive(Debug)]
pub struct Auth {
    /// Indices into [`Shared::schemes`].
    schemes: Box<[(usize, Arc<str>)]>,
    /// Nothing is asked. Where names are written and none of them is there, nobody comes in.
    is_open: bool,
    headers: Box<[HeaderName]>,
}

impl Auth {
    /// Names that are not there have been problems before.
    pub fn new(names: &[String], shared: &Shared) -> Self {
        let schemes: Box<[_]> = names
            .iter()
            .filter_map(|name| {
                let at = shared.schemes.iter().position(|(known, _)| **known == **name)?;
                Some((at, Arc::clone(&shared.schemes[at].0)))
            })
            .collect();
        let headers = schemes.iter().flat_map(|(at, _)| shared.schemes[*at].1.headers());
        Self { headers: headers.cloned().collect(), is_open: names.is_empty(), schemes }
    }

    /// Names that a client's request may not carry to the upstream: callers' headers have them.
    pub fn headers(&self) -> &[HeaderName] {
        &self.headers
    }

    /// Lets a request in, or refuses it with what it could bring; or hands on another service's answer.
    pub async fn admit(
        &self,
        desks: &Desks,
        asked: &Parts,
        exchange: &mut Exchange,
    ) -> Result<Option<Response<Body>>, Refusal> {
        if self.is_open {
            return Ok(None);
        }
        let mut denials = Vec::new();
        for (at, _) in &self.schemes {
            let denied = match desks.schemes[*at].check(asked, exchange) {
                Verdict::In(caller) => Ok(caller),
                Verdict::Out(denied) => Err(denied),
                Verdict::Ask(asking) => asking.await,
            };
            match denied {
                Ok(caller) => {
                    exchange.caller = Some(caller);
                    return Ok(None);
                }
                Err(denied) => denials.push(denied),
            }
        }
        self.refuse(desks, denials, exchange)
    }

    /// Another service's answer first, then 503 where nothing could be found out, then 403 for who is known, then 401 with
    /// every way in.
    fn refuse(
        &self,
        desks: &Desks,
        denials: Vec<Denied>,
        exchange: &mut Exchange,
    ) -> Result<Option<Response<Body>>, Refusal> {
        let mut refusal = Refusal::Unauthenticated;
        let mut busy = false;
        let mut causes = Vec::new();
        let mut answer = None;
        for ((at, name), denied) in self.schemes.iter().zip(denials) {
            let challenge = desks.schemes[*at].challenge(&denied);
            exchange.hints.extend(challenge.map(|challenge| (WWW_AUTHENTICATE, challenge)));
            match denied {
                Denied::Missing => causes.push(format!("auth.{name}: no credentials")),
                Denied::Bad { reason, .. } => causes.push(format!("auth.{name}: {reason}")),
                Denied::Forbidden { reason, .. } => {
                    refusal = Refusal::Forbidden;
                    causes.push(format!("auth.{name}: {reason}"));
                }
                Denied::Busy { reason } => {
                    busy = true;
                    causes.push(format!("auth.{name}: {reason}"));
                }
                // The first to say no has the word.
                Denied::Answered(response) => answer = answer.or(Some(*response)),
            }
        }
        if let Some(mut answer) = answer {
            let offers = exchange.hints.drain(..);
            // What it says of its own way in stands first; any other answer of it, like a redirect, is the client's as it is.
            if answer.status() == StatusCode::UNAUTHORIZED {
                answer.headers_mut().extend(offers);
            }
            return Ok(Some(answer));
        }
        exchange.cause = Some(causes.join("; "));
        if busy {
            // What it brought may be good: it is not to bring anything else.
            exchange.hints.clear();
            exchange.hints.push((RETRY_AFTER, HeaderValue::from_static("1")));
            return Err(Refusal::Overloaded);
        }
        Err(refusal)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http::Method;

    use super::*;
    use crate::exchange::Client;

    #[tokio::test]
    async fn a_route_whose_schemes_are_not_there_lets_nobody_in() {
        let shared = Shared::default();
        let client = Client::new(SocketAddr::from(([127, 0, 0, 1], 9)), 0, 80, false);
        let mut exchange = Exchange::begin(&client, Method::GET, HeaderValue::from_static("id"));
        let (asked, ()) = http::Request::new(()).into_parts();
        let open = Auth::new(&[], &shared).admit(&Desks::default(), &asked, &mut exchange).await;
        assert!(open.is_ok());
        let lost = Auth::new(&["staff".to_owned()], &shared);
        let refused = lost.admit(&Desks::default(), &asked, &mut exchange).await;
        assert_eq!(refused.err(), Some(Refusal::Unauthenticated));
    }
}
