//! One worker's part of basic authentication: what a request says, and passwords that were good a moment ago.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use http::request::Parts;
use tokio::sync::watch;

use super::basic::Basic;
use super::basic_users::Users;
use super::hashes::Hash;
use super::hashing::{Outcome, Tried, Waiting};
use super::{Denied, Desk, Verdict};
use crate::exchange::{Caller, Exchange, Spot};

/// How long a password counts as good without being tried again.
const LIFE: Duration = Duration::from_secs(60);
/// How many are remembered.
const MOST: usize = 1024;
/// Of the digits behind `Basic`: what a try costs grows with the password's length.
const DIGITS: usize = 1024;

/// One worker's part.
#[derive(Debug)]
pub struct BasicDesk {
    state: Rc<State>,
}

#[derive(Debug)]
struct State {
    scheme: Arc<Basic>,
    users: RefCell<(watch::Receiver<Arc<Users>>, Arc<Users>)>,
    good: RefCell<Good>,
    /// Tries that somebody here waits for: all who bring the same wait for one.
    tries: RefCell<HashMap<Proof, Outcome>>,
}

/// Stands for a user with a password that was tried against a hash; tells nothing about them to whoever lacks the key.
type Proof = [u8; 32];

impl BasicDesk {
    /// Nothing is remembered yet.
    pub fn new(scheme: Arc<Basic>) -> Self {
        let mut receiver = scheme.book.subscribe();
        let users = Arc::clone(&receiver.borrow_and_update());
        let users = RefCell::new((receiver, users));
        let (good, tries) = (RefCell::default(), RefCell::default());
        Self { state: Rc::new(State { scheme, users, good, tries }) }
    }
}

impl Desk for BasicDesk {
    fn check(&self, asked: &Parts, exchange: &Exchange) -> Verdict {
        let mut digits = [0; DIGITS];
        let (name, password) = match credentials(asked, &mut digits) {
            Ok(Some(credentials)) => credentials,
            Ok(None) => return Verdict::Out(Denied::Missing),
            Err(reason) => return Verdict::Out(bad(reason.to_owned())),
        };
        let users = self.state.users();
        let Some((hash, known)) = users.hash(name) else {
            return Verdict::Out(bad("there are no users".to_owned()));
        };
        let proof = proof(&self.state.scheme.key, name, password, hash);
        if let Some(caller) = self.state.good.borrow_mut().find(&proof, exchange.began) {
            return Verdict::In(caller);
        }
        let Some(waiting) = self.state.join(proof, hash, password) else {
            return Verdict::Out(Denied::Busy {
                reason: "too many passwords are being tried".to_owned(),
            });
        };
        let hash = known.then(|| Arc::clone(hash));
        let asking = Asking { state: Rc::clone(&self.state), proof, waiting: Some(waiting) };
        let name: Box<str> = name.into();
        Verdict::Ask(Box::pin(async move { asking.outcome(&name, hash.as_deref()).await }))
    }

    fn challenge(&self, _denied: &Denied) -> Option<HeaderValue> {
        Some(self.state.scheme.challenge.clone())
    }
}

impl State {
    /// As they are now. What was remembered is of those that were.
    fn users(&self) -> Arc<Users> {
        let (receiver, users) = &mut *self.users.borrow_mut();
        // An atomic; the lock behind it is only taken once for each change.
        if receiver.has_changed().unwrap_or(false) {
            *users = Arc::clone(&receiver.borrow_and_update());
            *self.good.borrow_mut() = Good::default();
        }
        Arc::clone(users)
    }

    /// Waits with those who brought the same, or begins a try.
    fn join(&self, proof: Proof, hash: &Arc<Hash>, password: &str) -> Option<Waiting> {
        let mut tries = self.tries.borrow_mut();
        // One that nobody waits for may have been given up.
        if let Some(outcome) = tries.get(&proof).filter(|outcome| !outcome.is_closed()) {
            return Some(outcome.subscribe());
        }
        let (outcome, waiting) = self.scheme.hashing.queue(Arc::clone(hash), password.into())?;
        tries.insert(proof, outcome);
        Some(waiting)
    }
}

/// A request that waits for a try; when it is the last one that did, the try is forgotten.
struct Asking {
    state: Rc<State>,
    proof: Proof,
    waiting: Option<Waiting>,
}

impl Asking {
    /// `hash` is the user's; none when there is no such user.
    async fn outcome(mut self, name: &str, hash: Option<&Hash>) -> Result<Rc<Caller>, Denied> {
        let tried = match &mut self.waiting {
            Some(waiting) => waiting.wait_for(Option::is_some).await.map_or(None, |tried| *tried),
            None => None,
        };
        let said = || name.chars().take(64).collect::<String>();
        let state = &*self.state;
        match (tried, hash) {
            (Some(Tried::Failed) | None, _) => {
                return Err(Denied::Busy { reason: "a password could not be tried".to_owned() });
            }
            (Some(Tried::Wrong), Some(_)) => {
                return Err(bad(format!("the password is wrong for {:?}", said())));
            }
            // What was tried is somebody else's hash, and may even have been somebody else's password.
            (Some(Tried::Wrong | Tried::Good), None) => {
                return Err(bad(format!("there is no user {:?}", said())));
            }
            (Some(Tried::Good), Some(hash)) => {
                let users = state.users();
                if !users.hash(name).is_some_and(|(now, known)| known && **now == *hash) {
                    return Err(bad(format!("the password has just changed for {:?}", said())));
                }
            }
        }
        let caller = state.scheme.named.caller(name, &Spot::Header(AUTHORIZATION)).map(Rc::new);
        let caller = caller.ok_or_else(|| bad("no header can tell the name".to_owned()))?;
        state.good.borrow_mut().remember(self.proof, &caller, Instant::now());
        Ok(caller)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.waiting = None;
        let mut tries = self.state.tries.borrow_mut();
        if tries.get(&self.proof).is_some_and(Outcome::is_closed) {
            tries.remove(&self.proof);
        }
    }
}

/// Passwords that were good, oldest first.
#[derive(Debug, Default)]
struct Good {
    callers: HashMap<Proof, Rc<Caller>>,
    until: VecDeque<(Instant, Proof)>,
}

impl Good {
    fn find(&mut self, proof: &Proof, now: Instant) -> Option<Rc<Caller>> {
        while let Some((_, oldest)) = self.until.front().filter(|(until, _)| *until <= now) {
            self.callers.remove(oldest);
            self.until.pop_front();
        }
        self.callers.get(proof).map(Rc::clone)
    }

    fn remember(&mut self, proof: Proof, caller: &Rc<Caller>, now: Instant) {
        // All who waited for one try remember it, which counts once.
        if self.callers.insert(proof, Rc::clone(caller)).is_some() {
            return;
        }
        self.until.push_back((now + LIFE, proof));
        if self.until.len() > MOST
            && let Some((_, oldest)) = self.until.pop_front()
        {
            self.callers.remove(&oldest);
        }
    }
}

/// Zeroes part what cannot hold any, but for the last.
fn proof(key: &hmac::Key, name: &str, password: &str, hash: &Hash) -> Proof {
    let mut context = hmac::Context::with_key(key);
    for part in [name, "\0", password, "\0", hash.text()] {
        context.update(part.as_bytes());
    }
    let mut proof = Proof::default();
    proof.copy_from_slice(context.sign().as_ref());
    proof
}

fn bad(reason: String) -> Denied {
    Denied::Bad { error: "", description: "", reason }
}

/// Name and password; none without credentials of this scheme. The error is one line for the operator.
fn credentials<'a>(
    asked: &Parts,
    digits: &'a mut [u8; DIGITS],
) -> Result<Option<(&'a str, &'a str)>, &'static str> {
    let mut all = asked.headers.get_all(AUTHORIZATION).iter();
    let Some(value) = all.next() else { return Ok(None) };
    let value = value.as_bytes().trim_ascii();
    let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (scheme, written) = value.split_at(end);
    if all.next().is_some() {
        return Err("the Authorization header came more than once");
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return Ok(None);
    }
    let written = written.trim_ascii();
    if written.len() > DIGITS {
        return Err("the credentials are too long");
    }
    let length =
        STANDARD.decode_slice(written, digits).map_err(|_| "the credentials are not in base64")?;
    let text =
        std::str::from_utf8(&digits[..length]).map_err(|_| "the credentials are not in UTF-8")?;
    let (name, password) = text.split_once(':').ok_or("there is no colon in the credentials")?;
    if name.is_empty() {
        return Err("the name is empty");
    }
    if text.chars().any(char::is_control) {
        return Err("there is a control sign in the credentials");
    }
    Ok(Some((name, password)))
}

#[cfg(test)]
mod tests;
