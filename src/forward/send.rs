//! Sends one request to an instance, and again where the route says so and it does no harm.

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use http::Response;
use http::header::{HOST, RETRY_AFTER};
use http::request::Parts;

use super::attempt::{Attempt, let_go, once};
use super::breaker::Breaker;
use super::course::{Course, Last, Next, retry_after};
use super::local::{Local, Unpicked};
use super::picked::{Picked, Place};
use super::pool::{NoConnection, Slot, Wanted};
use super::retry::{At, Done, Ended, Retry, SendError};
use super::verdict::Verdict;
use super::{key, sticky};
use crate::config::model::RetryConfig;
use crate::exchange::{Exchange, RetryReason, Suppressed};
use crate::refusal::Refusal;
use crate::wire::body::Replay;
use crate::wire::h1::Early;
use crate::wire::{Body, after, clock};

/// What a route wants of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The whole exchange until the final answer's head; zero is none.
    pub timeout: Duration,
    /// Silence of the upstream within its answer; zero is any.
    pub idle_timeout: Duration,
    /// Whether the upstream sees the client's Host.
    pub preserve_host: bool,
    /// When it is sent again.
    pub retry: &'a RetryConfig,
    /// Where interim answers go.
    pub early: &'a Early,
}

/// An answer whose head came.
#[derive(Debug)]
struct Answer {
    response: Response<Body>,
    /// The whole request had been sent before it.
    uploaded: bool,
}

/// An answer and who gave it.
type Answered = (Rc<Slot>, Answer);

/// One exchange on its way to an answer.
#[derive(Debug)]
struct Sending<'a> {
    call: &'a Call<'a>,
    course: Course<'a>,
    bodiless: bool,
    /// It does no harm twice.
    repeatable: bool,
    /// Its connections must be alive for all one can tell.
    cautious: bool,
}

/// An attempt after which another may follow.
#[derive(Debug)]
struct Attempted {
    slot: Rc<Slot>,
    ended: Ended,
    /// Boxed: few are looked at again, and each exchange would be larger.
    answer: Option<Box<Answer>>,
    /// What the answer holds.
    place: Option<Rc<Place>>,
}

/// The refusal that is known before anything is done for a request: nothing of the service may be asked.
pub fn may_be_sent(local: &Local, exchange: &mut Exchange) -> Result<(), Refusal> {
    match local.shut(clock::now()) {
        Some(until) => Err(none(local, Unpicked::Open { until }, exchange)),
        None => Ok(()),
    }
}

/// Sends a request, whose parts are as the upstream shall see them.
pub async fn send(
    local: &Local,
    call: Call<'_>,
    parts: &mut Parts,
    mut body: Body,
    exchange: &mut Exchange,
) -> Result<Response<Body>, Refusal> {
    let retry = Retry::new(call.retry, parts);
    let keeps = retry.keeps(body.remaining());
    let bodiless = matches!(body, Body::Empty);
    let cautious = !retry.replaces() || (keeps == 0 && !bodiless);
    let due = after(exchange.began, call.timeout);
    let hash = key::of(&local.service.config, parts, exchange);
    let course = Course::new(local, due, hash);
    let mut sending =
        Sending { call: &call, course, bodiless, repeatable: retry.repeatable, cautious };
    let mut body = Replay::new(&mut body, keeps);
    let now = clock::now();
    let first = sending.course.first(&parts.headers, now);
    let mut picked = first.map_err(|unpicked| none(local, unpicked, exchange))?;
    if let Some(budget) = &local.service.budget {
        budget.began(local.worker, now);
    }
    // An HTTP/1.0 client may have sent no Host, and HTTP/1.1 must have one.
    let keeps_host = call.preserve_host && parts.headers.contains_key(HOST);
    loop {
        if !keeps_host {
            parts.headers.insert(HOST, picked.slot.instance.authority.clone());
        }
        picked.begin();
        let tried = sending.attempt(&picked, parts, &mut body, exchange).await;
        if tried.as_ref().is_err_and(SendError::is_full) {
            picked = sending.elsewhere(picked, exchange)?;
            continue;
        }
        let attempted = match sending.settle(picked, tried, exchange) {
            Ok(answered) => return Ok(pass_on(local, answered, parts, exchange)),
            Err(attempted) => attempted,
        };
        let (next, reason) = match sending.onward(&attempted, &mut body, exchange).await {
            Ok(next) => next,
            Err(suppressed) => {
                let answered = sending.give_up(attempted, suppressed, exchange)?;
                return Ok(pass_on(local, answered, parts, exchange));
            }
        };
        if let Some(answer) = attempted.answer {
            let_go(answer.response.into_body());
        }
        picked = next;
        exchange.retried(reason);
    }
}

impl<'a> Sending<'a> {
    fn retry(&self) -> Retry<'a> {
        Retry::known(self.call.retry, self.repeatable)
    }

    /// Tells what an attempt says of its instance. The answer that is passed on, unless another attempt may follow.
    fn settle(
        &self,
        picked: Picked<'_>,
        tried: Result<Answer, SendError>,
        exchange: &mut Exchange,
    ) -> Result<Answered, Attempted> {
        exchange.attempts += 1;
        let slot = Rc::clone(&picked.slot);
        match tried {
            Ok(answer) => {
                let status = answer.response.status();
                let (ended, place) = (Ended::Answered(status), picked.place());
                picked.tell(Verdict::of_status(status), clock::now());
                note(self.course.local, &slot, exchange, (ended, Attempt::Ok));
                if !self.retry().wants(status) {
                    return Ok((slot, answer));
                }
                Err(Attempted { slot, ended, answer: Some(Box::new(answer)), place })
            }
            Err(error) => {
                let ended = Ended::Failed(error);
                let verdict = match ended.is_late() && self.was_short(&picked, exchange) {
                    true => Verdict::Neutral,
                    false => error.verdict(),
                };
                match verdict {
                    Verdict::Neutral if ended.is_late() && error.at != At::Unsent => {
                        picked.let_down(clock::now());
                    }
                    Verdict::Good | Verdict::Failed | Verdict::Neutral => {
                        picked.tell(verdict, clock::now());
                    }
                }
                note(self.course.local, &slot, exchange, (ended, error.attempt()));
                Err(Attempted { slot, ended, answer: None, place: None })
            }
        }
    }

    /// An instance without room is passed over, which is no attempt, and another is asked; else there is no room.
    fn elsewhere(
        &mut self,
        picked: Picked<'_>,
        exchange: &mut Exchange,
    ) -> Result<Picked<'a>, Refusal> {
        let (id, now) = (picked.slot.instance.id, clock::now());
        self.course.note(&picked.slot.name, At::Connect(NoConnection::Full));
        picked.tell(Verdict::Neutral, now);
        self.course.elsewhere(id, now).ok_or_else(|| {
            exchange.cause = Some(self.course.told(None, None));
            Refusal::Overloaded
        })
    }

    /// Where the next attempt goes, when its time has come; or what forbids it. The answer there is stays at hand until
    /// then: it is the client's if nothing comes of this.
    async fn onward(
        &mut self,
        attempted: &Attempted,
        body: &mut Replay<'_>,
        exchange: &Exchange,
    ) -> Result<(Picked<'a>, RetryReason), Option<Suppressed>> {
        let (last, reason, mut next) = self.next(attempted, body, exchange)?;
        loop {
            match next {
                Next::Now(picked) => return Ok((picked, reason)),
                Next::After(pause) => tokio::time::sleep(pause).await,
            }
            next = self.course.rested(last, Instant::now())?;
        }
    }

    /// One attempt. Where only a kept connection was dead the same is sent once more on a new one.
    async fn attempt(
        &self,
        picked: &Picked<'_>,
        parts: &Parts,
        body: &mut Replay<'_>,
        exchange: &mut Exchange,
    ) -> Result<Answer, SendError> {
        let due = earlier(self.course.due, self.bound(picked));
        let mut wanted = Wanted { cautious: self.cautious, fresh: false, due };
        loop {
            let tried = once(picked, wanted, self.call, parts, body).await;
            // That says nothing of the instance, which may be well: only the connection lay idle.
            let stale = tried.as_ref().is_err_and(|error| self.retry().is_stale(*error));
            if !stale || !body.rewind() || due.is_some_and(|due| Instant::now() >= due) {
                let answered = tried.map(|(response, uploaded)| {
                    let uploaded = uploaded || self.bodiless;
                    Answer { response, uploaded }
                });
                // A kept connection was lost first, also where no new one could be made.
                return answered
                    .map_err(|error| SendError { reused: error.reused || wanted.fresh, ..error });
            }
            let (service, instance) =
                (&self.course.local.service.config.name, &picked.slot.instance.place);
            tracing::debug!(%service, %instance, id = exchange.shown_id(), "a kept connection was dead");
            wanted.fresh = true;
            exchange.retried(RetryReason::Reused);
        }
    }

    /// Whether the time for the whole exchange is over.
    fn is_over(&self, now: Instant) -> bool {
        self.course.due.is_some_and(|due| now >= due)
    }

    /// Whether the attempts before have left less time than this one should have had, which may be too little for anybody.
    fn was_short(&self, picked: &Picked<'_>, exchange: &Exchange) -> bool {
        let Some(due) = self.course.due.filter(|_| exchange.attempts > 1) else { return false };
        let had = due.saturating_duration_since(picked.since);
        let fair = self.most(picked);
        had < fair.unwrap_or_else(|| picked.since.saturating_duration_since(exchange.began))
    }

    /// How long an attempt may take.
    fn most(&self, picked: &Picked<'_>) -> Option<Duration> {
        let own = picked.breaker().and_then(Breaker::timeout);
        self.call.retry.per_try_timeout.into_iter().chain(own).min()
    }

    /// When an attempt that begins now has taken too long.
    fn bound(&self, picked: &Picked<'_>) -> Option<Instant> {
        Instant::now().checked_add(self.most(picked)?)
    }

    /// The next attempt with its reason; or what forbids one that the route asks for.
    fn next(
        &mut self,
        attempted: &Attempted,
        body: &mut Replay<'_>,
        exchange: &Exchange,
    ) -> Result<(Last, RetryReason, Next<'a>), Option<Suppressed>> {
        let Attempted { slot, ended, answer, place } = attempted;
        self.course.note(&slot.name, ended);
        let now = Instant::now();
        // The whole exchange took too long, not this attempt.
        if self.is_over(now) && ended.is_late() {
            return Err(None);
        }
        let (again, untouched) = (body.rewind(), body.is_untouched());
        let whole = again && (untouched || answer.as_ref().is_none_or(|answer| answer.uploaded));
        let done = Done { whole, begun: self.call.early.has_passed() };
        let reason = self.retry().next(*ended, done, exchange.attempts)?;
        // An exchange has one place: where all are taken the next attempt gets this one's.
        drop(place.as_ref().and_then(|place| place.take()));
        let headers = answer.as_ref().map(|answer| answer.response.headers());
        let until = headers.and_then(|headers| retry_after(headers, now, SystemTime::now()));
        let last = Last { id: slot.instance.id, answered: answer.is_some(), until };
        let next = self.course.next(last, (self.call.retry, exchange.attempts), now)?;
        Ok((last, reason, next))
    }

    /// Nothing else is tried: the last answer is passed on as it is.
    fn give_up(
        &self,
        attempted: Attempted,
        suppressed: Option<Suppressed>,
        exchange: &mut Exchange,
    ) -> Result<Answered, Refusal> {
        let Attempted { slot, ended, answer, .. } = attempted;
        exchange.suppressed = suppressed;
        if let Some(reason) = suppressed {
            let service = &self.course.local.service.config.name;
            tracing::debug!(%service, id = exchange.shown_id(), reason = reason.label(), "not sent again");
        }
        let error = match (ended, answer) {
            (_, Some(answer)) => return Ok((slot, *answer)),
            (Ended::Failed(error), None) => error,
            // Never: who answered has an answer.
            (Ended::Answered(_), None) => return Err(Refusal::Upstream),
        };
        let (most, over) = (self.call.retry.attempts, self.is_over(Instant::now()));
        let spent = most > 1 && exchange.attempts >= most && !over && self.retry().lists(ended);
        exchange.cause = Some(self.course.told(suppressed, spent.then_some(most)));
        match over {
            true => Err(timed_out(error)),
            false => Err(error.refusal()),
        }
    }
}

/// The answer that the client gets.
fn pass_on(
    local: &Local,
    (slot, answer): Answered,
    parts: &Parts,
    exchange: &mut Exchange,
) -> Response<Body> {
    exchange.answerer = Some(Rc::clone(&slot.name));
    exchange.stopped = !answer.uploaded;
    if let Some(sticky) = &local.service.config.sticky {
        sticky::mark(sticky, &slot, parts, exchange);
    }
    answer.response
}

/// How an attempt ended, for those who count and for the log.
fn note(local: &Local, slot: &Slot, exchange: &Exchange, (ended, attempt): (Ended, Attempt)) {
    local.service.attempted(local.worker, attempt);
    let (service, instance) = (&local.service.config.name, &slot.instance.place);
    match ended {
        Ended::Answered(status) => {
            let status = status.as_u16();
            tracing::debug!(%service, %instance, id = exchange.shown_id(), status, "an attempt was answered");
        }
        Ended::Failed(SendError { at, reused, .. }) => {
            tracing::debug!(%service, %instance, id = exchange.shown_id(), %at, reused, "an attempt failed");
        }
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

/// What the client is told when there was no instance to begin with.
fn none(local: &Local, unpicked: Unpicked, exchange: &mut Exchange) -> Refusal {
    exchange.cause = Some(local.service.config.name.clone());
    match unpicked {
        Unpicked::NoInstance | Unpicked::AllTried => {
            exchange.cause = Some(local.without_instances());
            Refusal::NoInstance
        }
        Unpicked::Full => {
            exchange.cause = Some(format!("{}: breaker.max_concurrent", local.service.config.name));
            Refusal::Overloaded
        }
        Unpicked::Open { until } => {
            let wait = until.saturating_duration_since(Instant::now());
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            exchange.hints.push((RETRY_AFTER, seconds.max(1).into()));
            Refusal::BreakerOpen
        }
    }
}

/// Time is over: that is what the client is told, unless it was its own fault.
fn timed_out(error: SendError) -> Refusal {
    match error.at {
        At::ClientBody(_) => error.refusal(),
        At::Connect(_) | At::Sent | At::ReadHead(_) | At::Late | At::Unsent => {
            Refusal::UpstreamTimeout
        }
    }
}
