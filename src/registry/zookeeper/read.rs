//! Reads what is wanted, and again what changes: the watch is set first, so nothing is lost between.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;
use zookeeper_client::{AddWatchMode, Client, Error, EventType, PersistentWatcher, WatchedEvent};

use super::attend::Attendant;
use super::names::{Place, is_name, shown};
use super::tree::{News, Said, Taken};
use super::{Core, link};
use crate::registry::pace::REFUSED;
use crate::registry::trouble::Trouble;
use crate::registry::value::{self, Entry};

/// Questions that are under way at the same time.
const AHEAD: usize = 128;
/// Instances of one service, and services, that are read; what comes after is left out.
const MOST: usize = 65_536;
/// An instance is described in less.
const LONGEST: usize = 64 * 1024;
/// Unusable nodes that are logged one by one in a round.
const NAMED: usize = 16;
/// How often what is not wanted any more is looked for.
const LOOK: Duration = Duration::from_secs(10);
/// A round may be followed by another after this many times its own length: changes that come in a flood are read together.
const REST: u32 = 2;
/// The longest such pause.
const LONGEST_REST: Duration = Duration::from_millis(200);

/// Reads over one connection.
pub(super) struct Reader<'a> {
    core: &'a Core,
    client: &'a Client,
    /// Services whose children were listed over this connection.
    known: BTreeSet<String>,
    /// Services to list again.
    stale: BTreeSet<String>,
    /// Nodes to read: of a service.
    unread: BTreeSet<(String, String)>,
    /// Nodes that are gone.
    gone: BTreeSet<(String, String)>,
    /// The names of all services, while somebody wants them.
    names: Option<BTreeSet<String>>,
    /// Services that may not be read; an empty name stands for the root.
    refused: BTreeSet<String>,
    /// When to ask again for one of them.
    again: Option<Instant>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(core: &'a Core, client: &'a Client) -> Self {
        let (known, stale, refused, unread, gone) = Default::default();
        Self { core, client, known, stale, unread, gone, names: None, refused, again: None }
    }

    /// Ends with what broke it; `was_read` says whether everything was read once.
    pub(super) async fn run(
        mut self,
        attendant: &mut Attendant<'_>,
        was_read: &mut bool,
    ) -> Trouble {
        match self.try_run(attendant, was_read).await {
            Ok(never) => match never {},
            Err(trouble) => trouble,
        }
    }

    async fn try_run(
        &mut self,
        attendant: &mut Attendant<'_>,
        was_read: &mut bool,
    ) -> Result<std::convert::Infallible, Trouble> {
        let mode = AddWatchMode::PersistentRecursive;
        let watch = self.client.watch(self.core.root.path(), mode).await;
        let mut watcher = watch.map_err(|error| link::trouble(&error))?;
        loop {
            let start = Instant::now();
            self.round(attendant, !*was_read).await?;
            if std::mem::replace(was_read, true) {
                tokio::time::sleep((start.elapsed() * REST).min(LONGEST_REST)).await;
            } else {
                self.core.session.send_replace(Some(self.client.clone()));
            }
            self.rest(&mut watcher).await?;
        }
    }

    /// Ends when there is something to do.
    async fn rest(&mut self, watcher: &mut PersistentWatcher) -> Result<(), Trouble> {
        let again = self.again;
        let retry = async {
            match again {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = watcher.changed() => self.note(&event)?,
            () = self.core.wake.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
            () = retry => {}
        }
        // What else has come by now belongs to the same round.
        loop {
            tokio::select! {
                biased;
                event = watcher.changed() => self.note(&event)?,
                () = std::future::ready(()) => return Ok(()),
            }
        }
    }

    fn note(&mut self, event: &WatchedEvent) -> Result<(), Trouble> {
        let is_gone = match event.event_type {
            // The watch is lost with the connection, and what happened until it is set again is not told.
            EventType::Session => return Err(Trouble::Away("the connection was lost".to_owned())),
            EventType::NodeDeleted => true,
            EventType::NodeCreated
            | EventType::NodeDataChanged
            | EventType::NodeChildrenChanged => false,
        };
        if is_gone {
            self.core.deleted(&event.path);
        }
        match self.core.root.place(&event.path) {
            Place::Service(service) => {
                if let Some(names) = &mut self.names {
                    let _new = match is_gone {
                        true => names.remove(service),
                        false => names.len() < MOST && names.insert(service.to_owned()),
                    };
                }
                if self.known.contains(service) && event.event_type != EventType::NodeDataChanged {
                    self.stale.insert(service.to_owned());
                }
            }
            Place::Instance(service, node) if self.known.contains(service) => {
                let node = (service.to_owned(), node.to_owned());
                let (other, to) = if is_gone {
                    (&mut self.unread, &mut self.gone)
                } else {
                    (&mut self.gone, &mut self.unread)
                };
                other.remove(&node);
                to.insert(node);
            }
            Place::Instance(..) | Place::Elsewhere => {}
        }
        Ok(())
    }

    /// Reads everything that is wanted and not known, and what is known to have changed.
    async fn round(&mut self, attendant: &mut Attendant<'_>, first: bool) -> Result<(), Trouble> {
        let mut news = News::default();
        if self.again.take_if(|at| *at <= Instant::now()).is_some() {
            self.retry().await?;
        }
        let wanted = self.wanted(&mut news).await?;
        self.list(&wanted, &mut news).await?;
        for (service, node) in std::mem::take(&mut self.gone) {
            news.nodes.push((service, node, Said::Gone));
        }
        self.read(&mut news).await?;
        if first || !news.is_empty() || self.known.len() != wanted.len() {
            self.known.retain(|name| wanted.contains(name));
            self.publish(news, &wanted, attendant).await;
        } else if self.refused.is_empty() {
            // The watch is set and nothing has changed.
            attendant.well(true, None);
        }
        Ok(())
    }

    /// Services that somebody wants; all there are, when somebody wants their names.
    async fn wanted(&mut self, news: &mut News) -> Result<BTreeSet<String>, Trouble> {
        let (mut wanted, all) = self.core.board.wanted();
        if !all && !wanted.is_empty() {
            news.forget_names = self.names.take().is_some();
            return Ok(wanted);
        }
        if self.names.is_none() {
            // Asked for also when nobody wants anything: whether the root may be read is worth knowing.
            let said = self.children(self.core.root.path()).await?;
            let (names, said) = match said {
                Said::Is(names) => (names, Said::Is(())),
                Said::Gone => (BTreeSet::new(), Said::Gone),
                Said::Denied(why) => (BTreeSet::new(), Said::Denied(why)),
            };
            (self.names, news.names) = (Some(names), Some(said));
        }
        if all {
            wanted.extend(self.names.iter().flatten().take(MOST).cloned());
        }
        Ok(wanted)
    }

    /// Lists the children of services that are new here or may have been replaced.
    async fn list(&mut self, wanted: &BTreeSet<String>, news: &mut News) -> Result<(), Trouble> {
        let stale = std::mem::take(&mut self.stale);
        let is_due = |name: &&String| !self.known.contains(*name) || stale.contains(*name);
        let due: Vec<String> = wanted.iter().filter(is_due).cloned().collect();
        for some in due.chunks(AHEAD) {
            let asked = some.iter().map(|name| (name, self.core.root.service(name)));
            // The questions leave now; the answers come in their order.
            let asked: Vec<_> = asked
                .map(|(name, path)| {
                    let answer = is_name(name).then(|| self.client.get_children(&path));
                    (name, path, answer)
                })
                .collect();
            for (name, path, answer) in asked {
                let said = match answer {
                    Some(answer) => said(&path, answer.await)?,
                    None => Said::Denied("its name can be no node's".to_owned()),
                };
                let listed = match said {
                    Said::Is((children, _)) => Said::Is(few(children)),
                    Said::Gone => Said::Gone,
                    Said::Denied(why) => Said::Denied(why),
                };
                if let Said::Is(children) = &listed {
                    let unread = children.iter().map(|node| (name.clone(), node.clone()));
                    self.unread.extend(unread);
                }
                self.known.insert(name.clone());
                news.listed.insert(name.clone(), listed);
            }
        }
        Ok(())
    }

    async fn read(&mut self, news: &mut News) -> Result<(), Trouble> {
        let unread: Vec<_> = std::mem::take(&mut self.unread).into_iter().collect();
        for some in unread.chunks(AHEAD) {
            let asked = some.iter().map(|(service, node)| self.core.root.instance(service, node));
            let asked: Vec<_> = asked.map(|path| (self.client.get_data(&path), path)).collect();
            for ((service, node), (answer, path)) in some.iter().zip(asked) {
                let said = match said(&path, answer.await)? {
                    Said::Is((bytes, _)) => Said::Is(entry(&bytes)),
                    Said::Gone => Said::Gone,
                    Said::Denied(why) => Said::Denied(why),
                };
                news.nodes.push((service.clone(), node.clone(), said));
            }
        }
        Ok(())
    }

    async fn children(&self, path: &str) -> Result<Said<BTreeSet<String>>, Trouble> {
        Ok(match said(path, self.client.get_children(path).await)? {
            Said::Is((children, _)) => Said::Is(few(children)),
            Said::Gone => Said::Gone,
            Said::Denied(why) => Said::Denied(why),
        })
    }

    /// Shows what was read, and says how it went.
    async fn publish(
        &mut self,
        news: News,
        wanted: &BTreeSet<String>,
        attendant: &mut Attendant<'_>,
    ) {
        let about = Some(news.services()).filter(|_| news.names.is_none());
        let core = self.core;
        let mut taken = Taken::default();
        let changed = core.board.update(|tree| {
            taken = tree.take(news, &core.root, wanted);
            about
        });
        (0..changed).for_each(|_| attendant.count("update"));
        taken.unusable.iter().take(NAMED).for_each(|why| attendant.skips(why));
        if taken.unusable.len() > NAMED {
            attendant.skips(&format!("{} more nodes", taken.unusable.len() - NAMED));
        }
        attendant.well(taken.is_readable, taken.refused.values().next().cloned());
        self.refused = taken.refused.into_keys().collect();
        if self.refused.is_empty() {
            self.again = None;
        } else if self.core.show_replaced(self.client).await {
            self.look_again();
        } else if self.again.is_none() {
            self.again = Some(Instant::now() + REFUSED.mul_f64(0.75 + fastrand::f64() / 4.0));
        }
    }

    /// What is not permitted is asked for now and then, one for all; and at once with credentials that were replaced.
    async fn retry(&mut self) -> Result<(), Trouble> {
        let some = fastrand::usize(..self.refused.len().max(1));
        let Some(name) = self.refused.iter().nth(some) else { return Ok(()) };
        let is_denied = if name.is_empty() {
            matches!(self.children(self.core.root.path()).await?, Said::Denied(_))
        } else {
            self.is_denied(name).await?
        };
        if !is_denied || self.core.show_replaced(self.client).await {
            self.look_again();
        }
        Ok(())
    }

    /// Whether a service, or the first of its nodes, may not be read.
    async fn is_denied(&self, service: &str) -> Result<bool, Trouble> {
        if !is_name(service) {
            return Ok(true);
        }
        let children = match self.children(&self.core.root.service(service)).await? {
            Said::Is(children) => children,
            Said::Gone => return Ok(false),
            Said::Denied(_) => return Ok(true),
        };
        let Some(node) = children.first() else { return Ok(false) };
        let path = self.core.root.instance(service, node);
        Ok(matches!(said(&path, self.client.get_data(&path).await)?, Said::Denied(_)))
    }

    fn look_again(&mut self) {
        for name in std::mem::take(&mut self.refused) {
            if name.is_empty() {
                self.names = None;
            } else {
                self.stale.insert(name);
            }
        }
        self.again = None;
        self.core.wake.notify_one();
    }
}

/// What an answer says, when it says something.
fn said<T>(path: &str, answer: Result<T, Error>) -> Result<Said<T>, Trouble> {
    match answer {
        Ok(found) => Ok(Said::Is(found)),
        Err(Error::NoNode) => Ok(Said::Gone),
        Err(Error::NoAuth) => {
            let path = shown(path);
            Ok(Said::Denied(format!("{path} may not be read with this `auth`, or without one")))
        }
        Err(error) => Err(link::trouble(&error)),
    }
}

/// No more than can be meant.
fn few(children: Vec<String>) -> BTreeSet<String> {
    children.into_iter().filter(|name| is_name(name)).take(MOST).collect()
}

fn entry(bytes: &[u8]) -> Result<Entry, String> {
    if bytes.len() > LONGEST {
        return Err(format!("it holds {} bytes", bytes.len()));
    }
    value::read(bytes)
}
