//! Sends one request to an instance, and to another where that is safe.

use std::rc::Rc;
use std::time::{Duration, Instant};

use http::Response;
use http::header::{HOST, RETRY_AFTER};
use http::request::Parts;

use super::local::{Local, Tried, Unpicked, Wish};
use super::picked::Picked;
use super::pool::{Slot, Wanted};
use super::retry::{At, Retry, SendError};
use super::service::Attempt;
use super::verdict::Verdict;
use crate::exchange::{Exchange, RetryReason};
use crate::refusal::Refusal;
use crate::wire::body::Replay;
use crate::wire::h1::Early;
use crate::wire::h1::outbound::{self, Home};
use crate::wire::{Body, after, clock};

/// Bodies up to this size are kept to be sent again; only for methods that may be. As much as Linkerd keeps.
const REPLAY_BYTES: usize = 64 << 10;

/// What a route wants of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The whole exchange until the final answer's head; zero is none.
    pub timeout: Duration,
    /// Silence of the upstream within its answer; zero is any.
    pub idle_timeout: Duration,
    /// Whether the upstream sees the client's Host.
    pub preserve_host: bool,
    /// Where interim answers go.
    pub early: &'a Early,
}

/// Sends a request, whose parts are as the upstream shall see them.
pub async fn send(
    local: &Local,
    call: Call<'_>,
    parts: &mut Parts,
    mut body: Body,
    exchange: &mut Exchange,
) -> Result<Response<Body>, Refusal> {
    let due = after(exchange.began, call.timeout);
    let mut retry = Retry::new(&parts.method);
    let keep = if retry.is_idempotent() { REPLAY_BYTES } else { 0 };
    let bodiless = matches!(body, Body::Empty);
    let mut body = Replay::new(&mut body, keep);
    let mut wanted = Wanted { cautious: !retry.is_idempotent(), fresh: false, due };
    let (mut tried, mut last) = (Tried::default(), None);
    let mut again: Option<Picked<'_>> = None;
    // An HTTP/1.0 client may have sent no Host, and HTTP/1.1 must have one.
    let keeps_host = call.preserve_host && parts.headers.contains_key(HOST);
    loop {
        let wish = Wish { tried: &tried, hash: None, now: clock::now() };
        let picked = match again.take().map_or_else(|| local.pick(&wish), Ok) {
            Ok(picked) => picked,
            Err(unpicked) => return Err(last.unwrap_or_else(|| none(local, unpicked, exchange))),
        };
        let slot = &picked.slot;
        if !keeps_host {
            parts.headers.insert(HOST, slot.instance.authority.clone());
        }
        let error = match attempt(slot, wanted, call, parts, &mut body).await {
            Ok((response, uploaded)) => {
                exchange.attempts += 1;
                exchange.answerer = Some(Rc::clone(&slot.name));
                exchange.stopped = !uploaded && !bodiless;
                local.service.attempted(local.worker, Attempt::Ok);
                picked.tell(Verdict::of_status(response.status()), clock::now());
                return Ok(response);
            }
            Err(error) => error,
        };
        let (service, instance) = (&local.service.config.name, &slot.instance.place);
        tracing::debug!(%service, %instance, at = ?error.at, reused = error.reused, "an attempt failed");
        exchange.cause = Some(format!("{}: {}", slot.name, error.at));
        last = Some(error.refusal());
        let late = due.is_some_and(|due| Instant::now() >= due);
        let reason = retry.again(error, body.rewind());
        let id = slot.instance.id;
        // A kept connection that was dead says nothing of its instance, which may be well: only that lay idle.
        if reason == Some(RetryReason::Reused) {
            again = Some(picked);
        } else {
            exchange.attempts += 1;
            local.service.attempted(local.worker, error.attempt());
            picked.tell(error.verdict(), clock::now());
        }
        match reason {
            _ if late => return Err(timed_out(error)),
            None => return Err(error.refusal()),
            Some(RetryReason::Reused) => {}
            Some(RetryReason::Connect | RetryReason::Reset) if tried.add(id) => {}
            Some(RetryReason::Connect | RetryReason::Reset) => return Err(error.refusal()),
        }
        wanted.fresh = reason == Some(RetryReason::Reused);
        exchange.retried(reason);
    }
}

/// What the client is told when there was no instance to begin with.
fn none(local: &Local, unpicked: Unpicked, exchange: &mut Exchange) -> Refusal {
    exchange.cause = Some(local.service.config.name.clone());
    match unpicked {
        Unpicked::NoInstance | Unpicked::AllTried => Refusal::NoInstance,
        Unpicked::Full => Refusal::Overloaded,
        Unpicked::Open { until } => {
            let wait = until.saturating_duration_since(Instant::now());
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            exchange.hints.push((RETRY_AFTER, seconds.max(1).into()));
            Refusal::BreakerOpen
        }
    }
}

/// The answer, and whether the whole request had been sent before it.
async fn attempt(
    slot: &Rc<Slot>,
    wanted: Wanted,
    call: Call<'_>,
    parts: &Parts,
    body: &mut Replay<'_>,
) -> Result<(Response<Body>, bool), SendError> {
    let (mut lease, reused) = slot
        .connection(wanted)
        .await
        .map_err(|none| SendError { at: At::Connect(none), reused: false })?;
    let lost = SendError { at: At::Sent, reused };
    let link = lease.link().ok_or(lost)?;
    let answered = outbound::exchange(link, parts, body, call.early, wanted.due)
        .await
        .map_err(|failure| SendError::of(failure, reused))?;
    let (link, slot) = lease.hand_over().ok_or(lost)?;
    let home: Rc<dyn Home> = slot;
    let body = outbound::body(link, &answered, call.idle_timeout, home);
    Ok((Response::from_parts(answered.head.parts, body), answered.uploaded))
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
