//! Who we are to etcd: a user's name and password become a token, which is made anew when it is no longer good.

use std::time::Duration;

use http::header::HeaderValue;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::settings::Settings;
use crate::config::Secret;
use crate::registry::Reread;

/// How long a password that was refused is not tried again, however many ask: each try costs etcd a slow hash.
const REFUSED: Duration = Duration::from_secs(4);

/// A user and its token.
pub(super) struct Access {
    user: String,
    reread: Option<Reread>,
    state: Mutex<State>,
}

struct State {
    password: Secret,
    token: Option<HeaderValue>,
    /// etcd has no users, or had none when it was asked.
    open: bool,
    refused: Option<(Instant, String)>,
}

/// What etcd says to a name and a password.
pub(super) enum Reply {
    Token(HeaderValue),
    /// It wants no names.
    Open,
    /// Not this one, and why.
    Refused(String),
}

impl Access {
    pub(super) fn new(settings: &Settings) -> Option<Self> {
        let (user, password) = settings.user.clone()?;
        let state = State { password, token: None, open: false, refused: None };
        Some(Self { user, reread: settings.reread.clone(), state: Mutex::new(state) })
    }

    /// Begins to get a token. Whoever comes meanwhile waits for it.
    pub(super) async fn turn(&self) -> Turn<'_> {
        let mut state = self.state.lock().await;
        // A refusal stands for a while, unless the password has been replaced since.
        let renewed = state.refused.is_some() && self.renews(&mut state);
        if renewed || state.refused.as_ref().is_some_and(|(when, _)| when.elapsed() >= REFUSED) {
            state.refused = None;
        }
        Turn { access: self, state, unread: true }
    }

    /// This token, or going without one, was refused.
    pub(super) async fn forget(&self, used: Option<&HeaderValue>) {
        let mut state = self.state.lock().await;
        // Somebody else may have got another one already.
        if state.token.as_ref() == used {
            (state.token, state.open) = (None, false);
        }
    }

    /// Whether the file holds another password than the one known, which is known then.
    fn renews(&self, state: &mut State) -> bool {
        let fresh = self.reread.as_ref().and_then(|reread| reread());
        let changed = fresh.filter(|fresh| *fresh != state.password);
        changed.map(|fresh| state.password = fresh).is_some()
    }
}

/// What is to be done for a token.
pub(super) enum Step {
    /// Here it is; none where etcd wants none.
    Done(Option<HeaderValue>),
    /// There is none, and why.
    Refused(String),
    /// Ask with this name and this password, and say what the reply was.
    Ask(String, Secret),
}

/// One at a time gets the token.
pub(super) struct Turn<'a> {
    access: &'a Access,
    state: MutexGuard<'a, State>,
    unread: bool,
}

impl Turn<'_> {
    pub(super) fn step(&self) -> Step {
        match &self.state.refused {
            _ if self.state.token.is_some() || self.state.open => {
                Step::Done(self.state.token.clone())
            }
            Some((_, why)) => Step::Refused(why.clone()),
            None => Step::Ask(self.access.user.clone(), self.state.password.clone()),
        }
    }

    pub(super) fn heard(&mut self, reply: Reply) {
        match reply {
            Reply::Token(token) => self.state.token = Some(token),
            Reply::Open => self.state.open = true,
            Reply::Refused(why) => {
                // It may have been replaced in its file meanwhile, and is asked with once more then.
                let renewed =
                    std::mem::take(&mut self.unread) && self.access.renews(&mut self.state);
                self.state.refused = (!renewed).then(|| (Instant::now(), why));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;

    use super::*;

    fn access(reread: Option<Reread>) -> Access {
        let mut settings = Settings::new("test", "http://127.0.0.1:1");
        settings.user = Some(("u".into(), Secret::new("old\n".into())));
        settings.reread = reread;
        Access::new(&settings).unwrap()
    }

    /// Asks for a token where only `good` is let in; notes the passwords tried.
    async fn ask(access: &Access, tried: &RefCell<Vec<String>>, good: &str) -> Result<(), String> {
        let mut turn = access.turn().await;
        loop {
            match turn.step() {
                Step::Done(token) => return token.map(drop).ok_or_else(String::new),
                Step::Refused(why) => return Err(why),
                Step::Ask(_, password) => {
                    let password = password.reveal().trim().to_owned();
                    let is_good = password == good;
                    tried.borrow_mut().push(password);
                    let token = HeaderValue::from_static("t");
                    let refused = Reply::Refused("no".into());
                    turn.heard(if is_good { Reply::Token(token) } else { refused });
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_password_is_not_tried_at_once_again() {
        let (access, tried) = (access(None), RefCell::default());
        for _ in 0..9 {
            assert_eq!(ask(&access, &tried, "new").await, Err("no".into()));
        }
        assert_eq!(tried.borrow().len(), 1);
        tokio::time::advance(REFUSED).await;
        assert_eq!(ask(&access, &tried, "old").await, Ok(()));
        assert_eq!(ask(&access, &tried, "old").await, Ok(()));
        assert_eq!(tried.borrow().len(), 2, "a token is kept");
        access.forget(Some(&HeaderValue::from_static("other"))).await;
        assert_eq!(ask(&access, &tried, "old").await, Ok(()));
        assert_eq!(tried.borrow().len(), 2);
        access.forget(Some(&HeaderValue::from_static("t"))).await;
        assert_eq!(ask(&access, &tried, "old").await, Ok(()));
        assert_eq!(tried.borrow().len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_password_that_changed_in_its_file_is_tried_at_once() {
        let now = Arc::new(std::sync::Mutex::new("old"));
        let file = Arc::clone(&now);
        let reread = move || Some(Secret::new((*file.lock().unwrap()).into()));
        let (access, tried) = (access(Some(Arc::new(reread))), RefCell::default());
        assert!(ask(&access, &tried, "new").await.is_err());
        *now.lock().unwrap() = "new";
        assert_eq!(ask(&access, &tried, "new").await, Ok(()));
        assert_eq!(*tried.borrow(), ["old", "old", "new"]);
    }
}
