//! What is asked to find one service: over all servers, with retries, aliases and the search list.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use tokio::sync::SemaphorePermit;

use super::Core;
use super::answer::{self, Records, Said};
use super::exchange::{Miss, Question};
use super::find::{AGAIN, LEAST};
use super::system::Servers;
use crate::registry::State;
use crate::registry::trouble::Trouble;

/// Aliases that are followed by asking again.
const ALIASES: usize = 8;

/// What is found of a name.
#[derive(Debug)]
pub(super) enum Look<T> {
    Found(T),
    /// There is nothing, and that holds for so long.
    Nothing(Duration),
}

/// Addresses of a name.
#[derive(Debug)]
pub(super) struct Addresses {
    pub(super) ips: Vec<IpAddr>,
    /// How long they hold.
    pub(super) ttl: Duration,
    /// Why those of one family are the last ones known.
    pub(super) kept: Option<Trouble>,
}

impl Addresses {
    /// What needs no asking.
    fn known(ips: Vec<IpAddr>) -> Self {
        Self { ips, ttl: LEAST, kept: None }
    }
}

/// One look at a service. Shared by the tasks that resolve its targets.
pub(super) struct Inquiry {
    core: Arc<Core>,
    /// How names are completed, and which need not be asked for.
    servers: Arc<Servers>,
    /// The service's name.
    subject: Arc<str>,
    /// Whether it failed the last time, and nothing good came since.
    doubtful: AtomicBool,
    /// Whether the last look found out what there is.
    was_well: bool,
}

impl Inquiry {
    pub(super) fn new(core: &Arc<Core>, subject: &Arc<str>, before: &State) -> Self {
        let is_first = *before == State::Pending;
        let was_well = *before == State::Live;
        Self {
            core: Arc::clone(core),
            servers: core.source.now(),
            subject: Arc::clone(subject),
            doubtful: AtomicBool::new(!is_first && !was_well),
            was_well,
        }
    }

    /// SRV records of a name that may need completing.
    pub(super) async fn services(&self, name: &str) -> Result<Look<Records>, Trouble> {
        let mut rest = Rest::default();
        for candidate in self.candidates(name)? {
            let look = match self.ask(&candidate, RecordType::SRV).await {
                Ok(Said::Records(records)) => Ok(Look::Found(records)),
                Ok(Said::None { ttl, .. } | Said::Alias(_, ttl)) => Ok(Look::Nothing(ttl)),
                Err(trouble) => Err(trouble),
            };
            if let Some(found) = rest.note(look)? {
                return Ok(Look::Found(found));
            }
        }
        rest.end()
    }

    /// Addresses of a name that may need completing; `last` as for one in full.
    pub(super) async fn hosts(
        &self,
        name: &str,
        last: &[IpAddr],
    ) -> Result<Look<Addresses>, Trouble> {
        if let Some(known) = self.servers.known(name) {
            return Ok(Look::Found(Addresses::known(known)));
        }
        let mut rest = Rest::default();
        for candidate in self.candidates(name)? {
            if let Some(found) = rest.note(self.addresses(&candidate, last).await)? {
                return Ok(Look::Found(found));
            }
        }
        rest.end()
    }

    fn candidates(&self, name: &str) -> Result<Vec<Name>, Trouble> {
        self.servers.candidates(name).ok_or_else(|| {
            let shown: String = name.chars().take(80).collect();
            Trouble::Refused(format!("`{}` cannot be a name in DNS", shown.escape_default()))
        })
    }

    /// Addresses of a name in full. Where only one family can be looked up, the `last` ones of the other stay.
    pub(super) async fn addresses(
        &self,
        name: &Name,
        last: &[IpAddr],
    ) -> Result<Look<Addresses>, Trouble> {
        if let Some(known) = self.servers.known(&name.to_ascii()) {
            return Ok(Look::Found(Addresses::known(known)));
        }
        let (mut found, mut ttl, mut failure) = (Vec::new(), Duration::MAX, None);
        for kind in [RecordType::A, RecordType::AAAA] {
            match self.ask(name, kind).await {
                Ok(Said::Records(records)) => {
                    found.extend(records.data.iter().filter_map(|data| data.ip_addr()));
                    ttl = ttl.min(records.ttl);
                }
                Ok(Said::None { ttl, nothing: true }) => return Ok(Look::Nothing(ttl)),
                Ok(Said::None { ttl: holds, .. } | Said::Alias(_, holds)) => {
                    ttl = ttl.min(holds);
                }
                // Who does not answer is not asked once more.
                Err(trouble @ Trouble::Away(_)) if found.is_empty() => return Err(trouble),
                Err(trouble) => failure = Some((kind, trouble)),
            }
        }
        let Some((kind, trouble)) = failure else {
            let all = Addresses { ips: found, ttl, kept: None };
            return Ok(if all.ips.is_empty() { Look::Nothing(ttl) } else { Look::Found(all) });
        };
        if found.is_empty() {
            return Err(trouble);
        }
        let is_lost = |ip: &&IpAddr| ip.is_ipv4() == (kind == RecordType::A);
        let lost: Vec<IpAddr> = last.iter().filter(is_lost).copied().collect();
        // Who never had any of this family may be one whose servers know nothing of it.
        let kept = (!lost.is_empty()).then_some(trouble);
        let ttl = if kept.is_some() { ttl.min(AGAIN) } else { ttl };
        Ok(Look::Found(Addresses { ips: [found, lost].concat(), ttl, kept }))
    }

    /// Asks, and goes on asking where a name is only another one's alias.
    async fn ask(&self, name: &Name, kind: RecordType) -> Result<Said, Trouble> {
        let (mut name, mut least) = (name.clone(), Duration::MAX);
        for _ in 0..ALIASES {
            match self.any_server(&name, kind).await? {
                Said::Alias(other, ttl) => (name, least) = (other, least.min(ttl)),
                Said::Records(records) => {
                    let ttl = records.ttl.min(least);
                    return Ok(Said::Records(Records { ttl, ..records }));
                }
                Said::None { ttl, nothing } => {
                    return Ok(Said::None { ttl: ttl.min(least), nothing });
                }
            }
        }
        let trouble = Trouble::Broken(format!("the aliases of {} lead nowhere", self.subject));
        self.core.gate.failed(&self.subject, self.was_well, &trouble);
        Err(trouble)
    }

    /// Tries every server over UDP, those that are silent again, and those that stay silent over TCP.
    async fn any_server(&self, name: &Name, kind: RecordType) -> Result<Said, Trouble> {
        let question = Question::new(Query::query(name.clone(), kind));
        let question =
            question.ok_or_else(|| Trouble::Refused(format!("{name} cannot be asked for")))?;
        let rounds = if self.is_doubtful() { 1 } else { self.core.attempts };
        let mut turn = Some(self.core.gate.pass(self.is_doubtful()).await?);
        // The turn may have been long in coming: the system may say by now to ask others.
        let servers = self.core.source.now();
        let mut open: Vec<(usize, SocketAddr)> = servers.in_turn().collect();
        let mut worst = None;
        for round in 0..=rounds {
            let mut silent = Vec::new();
            for (index, server) in open {
                let (turn, tcp) = (turn.take(), round == rounds);
                let (result, is_silent) = self.one_server(turn, &question, server, tcp).await;
                match result {
                    Ok(said) => {
                        servers.answered(index);
                        return Ok(said);
                    }
                    Err(trouble) => worst = Some(graver(worst, trouble)),
                }
                if is_silent {
                    silent.push((index, server));
                }
            }
            open = silent;
        }
        Err(worst.unwrap_or_else(|| Trouble::Refused("there is no server to ask".to_owned())))
    }

    /// What one server says, and whether it said nothing at all. `turn` is one that was waited for already.
    async fn one_server(
        &self,
        turn: Option<SemaphorePermit<'_>>,
        question: &Question,
        server: SocketAddr,
        tcp: bool,
    ) -> (Result<Said, Trouble>, bool) {
        let mut result = self.send(turn, question, server, tcp).await;
        let refused_form = matches!(&result, Ok(message) if message.metadata.response_code == ResponseCode::FormErr);
        let plain = refused_form.then(|| question.plain()).flatten();
        let question = plain.as_ref().unwrap_or(question);
        if plain.is_some() {
            result = self.send(None, question, server, tcp).await;
        }
        if matches!(&result, Ok(message) if message.metadata.truncation && !tcp) {
            result = self.send(None, question, server, true).await.map_err(|miss| match miss {
                Miss::Silent | Miss::Unreachable(_) => Miss::Odd(
                    "has an answer that is too long for UDP, and does not answer over TCP",
                ),
                Miss::Odd(_) | Miss::InVain(_) => miss,
            });
        }
        let result = match result {
            Ok(message) if message.metadata.truncation => Err(Miss::Odd("cuts its answer off")),
            result => result,
        };
        self.judge(question, server, result)
    }

    async fn send(
        &self,
        turn: Option<SemaphorePermit<'_>>,
        question: &Question,
        server: SocketAddr,
        tcp: bool,
    ) -> Result<Message, Miss> {
        let _turn = match turn {
            Some(turn) => turn,
            None => self.core.gate.pass(self.is_doubtful()).await.map_err(Miss::InVain)?,
        };
        let within = self.core.timeout;
        if tcp {
            question.over_tcp(server, within).await
        } else {
            question.over_udp(server, within).await
        }
    }

    fn judge(
        &self,
        question: &Question,
        server: SocketAddr,
        result: Result<Message, Miss>,
    ) -> (Result<Said, Trouble>, bool) {
        let (trouble, silent) = match result {
            Ok(message) => match answer::read(&message, question.query(), &server.to_string()) {
                Ok(said @ Said::Alias(..)) => {
                    self.core.gate.answered();
                    return (Ok(said), false);
                }
                Ok(said) => {
                    self.doubtful.store(false, Ordering::Relaxed);
                    self.core.gate.good();
                    return (Ok(said), false);
                }
                Err(trouble) => (trouble, false),
            },
            Err(Miss::Silent) => {
                let within = self.core.timeout;
                (Trouble::Away(format!("{server} does not answer within {within:?}")), true)
            }
            Err(Miss::Unreachable(error)) => {
                (Trouble::Away(format!("{server} cannot be reached: {error}")), false)
            }
            Err(Miss::Odd(what)) => (Trouble::Broken(format!("{server} {what}")), false),
            Err(Miss::InVain(trouble)) => return (Err(trouble), false),
        };
        self.core.gate.failed(&self.subject, self.was_well, &trouble);
        (Err(trouble), silent)
    }

    fn is_doubtful(&self) -> bool {
        self.doubtful.load(Ordering::Relaxed)
    }
}

/// Of two servers, one that answers says more than one that does not.
fn graver(before: Option<Trouble>, now: Trouble) -> Trouble {
    match (before, now) {
        (Some(before @ (Trouble::Refused(_) | Trouble::Broken(_))), _) => before,
        (_, now) => now,
    }
}

/// What the candidates before said.
struct Rest {
    holds: Duration,
    failure: Option<Trouble>,
}

impl Default for Rest {
    fn default() -> Self {
        Self { holds: Duration::MAX, failure: None }
    }
}

impl Rest {
    /// What was found, if anything was. Who does not answer is not asked for the next one.
    fn note<T>(&mut self, look: Result<Look<T>, Trouble>) -> Result<Option<T>, Trouble> {
        match look {
            Ok(Look::Found(found)) => return Ok(Some(found)),
            Ok(Look::Nothing(ttl)) => self.holds = self.holds.min(ttl),
            Err(trouble @ Trouble::Away(_)) => return Err(trouble),
            Err(trouble) => self.failure = self.failure.take().or(Some(trouble)),
        }
        Ok(None)
    }

    /// What failed may have been the right one: then it is not known that there is nothing.
    fn end<T>(self) -> Result<Look<T>, Trouble> {
        self.failure.map_or(Ok(Look::Nothing(self.holds)), Err)
    }
}
