//! Where a worker checks signed tokens: what it knows of keys, and which tokens it has found good.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use http::header::AUTHORIZATION;
use http::request::Parts;
use tokio::sync::watch;

use super::claims::{Claims, Lack};
use super::jwks::Known;
use super::jws::{Flaw, Jws, shown};
use super::jwt::Jwt;
use super::jwt_settings::Source;
use super::keys::{Check, Keys, Lookup};
use super::turn::Turn;
use super::verified::{Good, Verified};
use super::{Denied, Desk, Verdict, spot};
use crate::exchange::{Caller, Exchange, Spot};
use crate::wire::clock;

/// How long a request waits for keys that are being fetched.
const WAIT: Duration = Duration::from_secs(2);
/// Requests of one worker that wait for them; each holds a token and its connection.
const WAITING: usize = 1024;
/// How long the time is counted on by the clock that cannot be set.
const ANCHOR: Duration = Duration::from_secs(1);

/// One worker's part.
#[derive(Debug)]
pub struct Tokens {
    /// Also of requests that wait.
    bench: Rc<Bench>,
}

/// Where a worker checks tokens.
#[derive(Debug)]
struct Bench {
    jwt: Arc<Jwt>,
    /// Those of a provider, as this worker has seen them last.
    news: RefCell<Option<watch::Receiver<Known>>>,
    keys: RefCell<Option<Arc<Keys>>>,
    /// How many fetches had ended then.
    ended: Cell<u64>,
    verified: RefCell<Verified>,
    turn: Turn,
    waiting: Cell<usize>,
    /// The time since 1970, and when it was that.
    anchor: Cell<(Instant, Duration)>,
}

/// What a client is told of a key that is not there, whatever about it is not.
const UNKNOWN: &str = "the token's key is not known";

impl Tokens {
    /// A worker's.
    pub fn new(jwt: Arc<Jwt>) -> Self {
        Self { bench: Rc::new(Bench::new(jwt)) }
    }
}

impl Desk for Tokens {
    fn check(&self, asked: &Parts, _exchange: &Exchange) -> Verdict {
        let bench = &self.bench;
        let (at, token) = match bench.token(asked) {
            Ok(Some(found)) => found,
            Ok(None) => return Verdict::Out(Denied::Missing),
            Err(description) => return Verdict::Out(ambiguous(description)),
        };
        bench.take_news();
        let now = bench.now();
        if let Some(caller) = bench.verified.borrow_mut().find(&token, at, now) {
            return Verdict::In(caller);
        }
        let pause = if bench.turn.take() {
            match bench.judge(&token, at, true) {
                Ok(Ok(caller)) => return Verdict::In(caller),
                Ok(Err(denied)) => return Verdict::Out(denied),
                Err(ended) => Some(ended),
            }
        } else {
            None
        };
        let (bench, token) = (Rc::clone(bench), token.into_owned());
        Verdict::Ask(Box::pin(bench.judge_later(token, at, pause)))
    }

    /// RFC 6750 section 3.
    fn challenge(&self, denied: &Denied) -> Option<HeaderValue> {
        let settings = &self.bench.jwt.settings;
        let mut parameters = Vec::new();
        if let Some(realm) = &settings.realm {
            parameters.push(format!("realm=\"{realm}\""));
        }
        match denied {
            Denied::Missing => {}
            Denied::Bad { error, description, .. }
            | Denied::Forbidden { error, description, .. } => {
                parameters.push(format!("error=\"{error}\""));
                parameters.push(format!("error_description=\"{description}\""));
            }
            Denied::Answered(_) | Denied::Busy { .. } => return None,
        }
        if matches!(denied, Denied::Forbidden { .. })
            && let Some(scope) = settings.scope()
        {
            parameters.push(format!("scope=\"{scope}\""));
        }
        let mut text = "Bearer".to_owned();
        for (at, parameter) in parameters.iter().enumerate() {
            write!(text, "{} {parameter}", if at == 0 { "" } else { "," }).ok()?;
        }
        HeaderValue::try_from(text).ok()
    }
}

/// Whether the signature is one of these keys'.
fn is_signed(jws: &Jws<'_>, checks: &[Option<&Check>]) -> Result<bool, Flaw> {
    let (signature, signed) = (jws.signature()?, jws.signed.as_bytes());
    Ok(checks.iter().flatten().any(|check| check.holds(signed, &signature)))
}

fn ambiguous(description: &'static str) -> Denied {
    Denied::Bad { error: "invalid_request", description, reason: description.to_owned() }
}

fn bad(flaw: Flaw) -> Denied {
    let Flaw { description, reason } = flaw;
    Denied::Bad { error: "invalid_token", description, reason: reason.into_owned() }
}

impl Bench {
    fn new(jwt: Arc<Jwt>) -> Self {
        let (news, Known { keys, ended }) = match &jwt.settings.source {
            Source::Fixed { keys, .. } => (None, Known { keys: Some(Arc::clone(keys)), ended: 0 }),
            Source::Fetched(provider) => {
                let mut news = provider.known();
                let known = news.borrow_and_update().clone();
                (Some(news), known)
            }
        };
        Self {
            jwt,
            news: RefCell::new(news),
            keys: RefCell::new(keys),
            ended: Cell::new(ended),
            verified: RefCell::default(),
            turn: Turn::default(),
            waiting: Cell::new(0),
            anchor: Cell::new((clock::now(), since_1970())),
        }
    }

    /// The first place that has a token, and what stands there. Not one of several tokens (RFC 6750 section 2): whoever
    /// reads the request behind us may take another.
    fn token<'a>(&self, asked: &'a Parts) -> Result<Option<(usize, Cow<'a, str>)>, &'static str> {
        let settings = &self.jwt.settings;
        let mut found: Option<(usize, Cow<'a, str>)> = None;
        for (at, place) in settings.from.iter().enumerate() {
            let Some(text) = spot::find(place, asked)? else { continue };
            let token = match (place, text) {
                (Spot::Header(name), Cow::Borrowed(text)) => {
                    let bearer = bearer(text);
                    // Other headers may carry the bare token; here, other words belong to other schemes.
                    let bare = (*name != AUTHORIZATION).then_some(text);
                    match bearer.or(bare) {
                        Some(token) => Cow::Borrowed(token),
                        None => continue,
                    }
                }
                (_, text) => text,
            };
            match &found {
                None => found = Some((at, token)),
                // The upstream would get to see the other.
                Some(_) if settings.strip => return Err("there are tokens in several places"),
                Some((_, first)) if *first != token => return Err("there are several tokens"),
                Some(_) => {}
            }
        }
        Ok(found)
    }

    /// Takes over keys that have changed; whether anything was news.
    fn take_news(&self) -> bool {
        let mut news = self.news.borrow_mut();
        let Some(news) = news.as_mut().filter(|news| news.has_changed().unwrap_or(false)) else {
            return false;
        };
        let Known { keys: fresh, ended } = news.borrow_and_update().clone();
        self.ended.set(ended);
        let mut keys = self.keys.borrow_mut();
        if fresh.as_ref().map(Arc::as_ptr) != keys.as_ref().map(Arc::as_ptr) {
            *keys = fresh;
            self.verified.borrow_mut().clear();
        }
        true
    }

    /// The time since 1970, asked of the system once a second: only the clock that cannot be set is free.
    fn now(&self) -> Duration {
        let now = clock::now();
        let (at, time) = self.anchor.get();
        let since = now.saturating_duration_since(at);
        if since < ANCHOR {
            return time + since;
        }
        let time = since_1970();
        self.anchor.set((now, time));
        time
    }

    /// Whose a token is; an error when more fetches of keys must end than have ended.
    fn judge(
        &self,
        token: &str,
        at: usize,
        may_wait: bool,
    ) -> Result<Result<Rc<Caller>, Denied>, u64> {
        let jws = match self.parse(token) {
            Ok(jws) => jws,
            Err(flaw) => return Ok(Err(bad(flaw))),
        };
        loop {
            let keys = self.keys.borrow();
            let found = keys.as_ref().map(|keys| keys.find(jws.algorithm, jws.kid.as_deref()));
            let flaw = match found {
                Some(Lookup::Found(checks)) => {
                    match is_signed(&jws, &checks) {
                        Ok(true) => {
                            let good = self.read(&jws, at);
                            return Ok(good
                                .inspect(|good| self.keep(token, good))
                                .map(|g| g.caller));
                        }
                        Ok(false) => {}
                        Err(flaw) => return Ok(Err(bad(flaw))),
                    }
                    let flaw = Flaw::plain("the token's signature is not good");
                    if keys.as_ref().is_some_and(|keys| keys.knows(jws.kid.as_deref())) {
                        return Ok(Err(bad(flaw)));
                    }
                    // Only keys without a name were tried: the provider's next may be the one it names.
                    flaw
                }
                Some(Lookup::Unfit) => {
                    let name = jws.algorithm.name();
                    return Ok(Err(bad(Flaw::because(UNKNOWN, format!("no key is for {name}")))));
                }
                Some(Lookup::Unknown) => {
                    let kid = jws.kid.as_deref().unwrap_or_default();
                    Flaw::because(UNKNOWN, format!("no key has the kid {}", shown(kid)))
                }
                None => Flaw::plain("the keys to check it are not at hand"),
            };
            drop(keys);
            if may_wait && self.waiting.get() < WAITING && self.is_worth_waiting() {
                return Err(self.ended.get());
            }
            if !self.take_news() {
                return Ok(Err(bad(flaw)));
            }
        }
    }

    /// All that can be refused without a signature.
    fn parse<'a>(&self, token: &'a str) -> Result<Jws<'a>, Flaw> {
        let jws = Jws::parse(token)?;
        if self.jwt.settings.algorithms.contains(&jws.algorithm) {
            return Ok(jws);
        }
        let reason = format!("alg {} is not among `algorithms`", jws.algorithm.name());
        Err(Flaw::because("the token's algorithm is not accepted", reason))
    }

    fn is_worth_waiting(&self) -> bool {
        match &self.jwt.settings.source {
            Source::Fixed { .. } => false,
            Source::Fetched(provider) => provider.look_again(),
        }
    }

    /// What a token says whose signature was found good.
    fn read(&self, jws: &Jws<'_>, at: usize) -> Result<Good, Denied> {
        let settings = &self.jwt.settings;
        let payload = jws.payload().map_err(bad)?;
        let claims = Claims::parse(&payload).map_err(bad)?;
        let until = settings.rules.check(&claims, self.now()).map_err(|lack| match lack {
            Lack::Bad(flaw) => bad(flaw),
            Lack::Forbidden(Flaw { description, reason }) => Denied::Forbidden {
                error: "insufficient_scope",
                description,
                reason: reason.into_owned(),
            },
        })?;
        let caller = Caller {
            name: claims.text("sub").filter(|sub| !sub.is_empty()).map_or("-".into(), Into::into),
            auth: Arc::clone(&settings.name),
            claims: claims.shown(),
            headers: settings.rules.headers(&claims),
            strip: settings.strip.then(|| settings.from[at].clone()),
        };
        Ok(Good { until, spot: at, caller: Rc::new(caller) })
    }

    fn keep(&self, token: &str, good: &Good) {
        self.verified.borrow_mut().keep(token.into(), good.clone());
    }

    async fn judge_later(
        self: Rc<Self>,
        token: String,
        at: usize,
        mut pause: Option<u64>,
    ) -> Result<Rc<Caller>, Denied> {
        let mut may_wait = true;
        loop {
            if let Some(ended) = pause {
                self.fetched(ended).await;
                may_wait = false;
            }
            if !self.turn.take() {
                self.turn.wait().await;
            }
            self.take_news();
            match self.judge(&token, at, may_wait) {
                Ok(judged) => return judged,
                Err(ended) => pause = Some(ended),
            }
        }
    }

    /// The fetch that is coming has ended, or takes too long.
    async fn fetched(&self, ended: u64) {
        let Some(mut news) = self.news.borrow().clone() else { return };
        let _one = Waits::new(&self.waiting);
        let next = news.wait_for(|known| known.ended != ended);
        // What came of it is looked at by who waits.
        drop(tokio::time::timeout(WAIT, next).await);
    }
}

/// One that is counted until it waits no more, or its client has left.
struct Waits<'a>(&'a Cell<usize>);

impl<'a> Waits<'a> {
    fn new(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

fn since_1970() -> Duration {
    // A clock before 1970 lets nobody in: no token was issued yet.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// What follows the scheme (RFC 9110 section 11.4), whose case is no difference.
fn bearer(text: &str) -> Option<&str> {
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim_start_matches(' '))
}

#[cfg(test)]
mod tests;
