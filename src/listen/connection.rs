//! One client connection: a loop of read head, answer, write.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::{HeaderValue, Response};
use tokio::net::TcpStream;

use super::Listener;
use super::switch::switch;
use super::traffic::{Full, Open};
use super::worker::{Refusing, Worker};
use crate::exchange::{Client, Ending, Exchange, Fate};
use crate::gateway::{self, Asked, Gateway, UnderWay};
use crate::refusal::Refusal;
use crate::wire::h1::inbound::{AHEAD, Broken, Inbound, NoHead, Patience};
use crate::wire::h1::request::{Bounds, Head};
use crate::wire::h1::{Early, Link, encode};
use crate::wire::{Body, BodyError, spare};

/// What is read and thrown away after a refusal, so that closing does not destroy the answer on its way.
const LINGER_BYTES: usize = 64 << 10;
const LINGER: Duration = Duration::from_secs(1);

/// Where a connection sits.
pub(super) struct Seat {
    pub worker: Rc<Worker>,
    pub listener: Rc<Listener>,
    pub peer: SocketAddr,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Close {
    /// It lies idle and goes on.
    Not,
    /// Nothing is on its way.
    Quiet,
    /// The client may still be sending.
    Linger,
    /// The client must not take what it got for the whole.
    Reset,
}

/// Serves a connection until it ends. What the future holds is there once; a local would be a second copy.
pub(super) fn serve(seat: Seat, io: TcpStream, open: Open) -> impl Future<Output = ()> {
    let inbound = seat.inbound(io);
    let entered = seat.worker.enter(&inbound);
    async move {
        let close = loop {
            if !inbound.arrival().await {
                break Close::Quiet;
            }
            // An allocation each time a connection wakes, not for each request: one that lies idle holds no room for
            // exchanges.
            match Box::pin(busy(&seat, &inbound)).await {
                Close::Not => {}
                close @ (Close::Quiet | Close::Linger | Close::Reset) => break close,
            }
        };
        match close {
            Close::Not | Close::Quiet => {}
            Close::Linger => inbound.linger(LINGER_BYTES, LINGER).await,
            Close::Reset => inbound.reset(),
        }
        drop((entered, open));
    }
}

/// One exchange after the other, until the connection lies idle or ends.
async fn busy(seat: &Seat, inbound: &Inbound) -> Close {
    let client = seat.client();
    loop {
        if let Err(close) = turn(seat, inbound, &client).await {
            return close;
        }
    }
}

/// Tells a connection that there are too many.
pub(super) async fn refuse(seat: Seat, io: TcpStream, (refusing, full): (Refusing, Full)) {
    let inbound = seat.inbound(io);
    let client = seat.client();
    let cause = Some(full.cause(&seat.listener));
    refuse_unread(&seat, &inbound, &client, (Refusal::Overloaded, cause)).await;
    inbound.linger(LINGER_BYTES, LINGER).await;
    drop(refusing);
}

/// One exchange; an error ends the connection.
async fn turn(seat: &Seat, inbound: &Inbound, client: &Client) -> Result<(), Close> {
    let limits = &seat.listener.config.limits;
    let bounds =
        Bounds { head: limits.header_bytes, target: limits.target_bytes, fields: limits.headers };
    let refused = match inbound.head(&bounds).await {
        Ok(head) => return exchange(seat, inbound, client, head).await,
        Err(NoHead::Over) => return Err(Close::Quiet),
        Err(NoHead::Idle) => return Err(Close::Not),
        Err(NoHead::Slow) => {
            let (name, most) = (&seat.listener.config.name, limits.header_timeout);
            let cause = format!("listen.{name}.limits.header_timeout = {most:?}");
            (Refusal::ClientTimeout, Some(cause))
        }
        Err(NoHead::Malformed(malformed)) => (malformed.into(), None),
    };
    refuse_unread(seat, inbound, client, refused).await;
    Err(Close::Linger)
}

/// Refuses a request whose head could not be read.
async fn refuse_unread(
    seat: &Seat,
    inbound: &Inbound,
    client: &Client,
    (refusal, cause): (Refusal, Option<String>),
) {
    let gateway = seat.worker.gateway();
    let mut exchange = UnderWay::new(&gateway, gateway.begin_unread(client, inbound.method()));
    exchange.cause = cause;
    if refusal == Refusal::MethodNotAllowed {
        // It must be there (RFC 9110 section 15.5.6), and no route was asked.
        let methods = HeaderValue::from_static("DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT");
        exchange.hints.push((http::header::ALLOW, methods));
    }
    let response = exchange.refuse(refusal);
    let how = How { version: http::Version::HTTP_11, keep_alive: false };
    write(inbound, &gateway, &exchange, response, how).await.ok();
}

async fn exchange(
    seat: &Seat,
    inbound: &Inbound,
    client: &Client,
    head: Head,
) -> Result<(), Close> {
    let gateway = seat.worker.gateway();
    let Head { parts, framing, keep_alive, expects_continue } = head;
    let version = parts.version;
    let mut exchange = UnderWay::new(&gateway, gateway.begin(client, &parts));
    let early = Early::new(inbound, version, expects_continue);
    let asked = Asked { parts, body: inbound.body(framing), early };
    let answered = {
        let mut answer = pin!(gateway::answer(&gateway, client, &mut exchange, asked));
        poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(response) => Poll::Ready(Some(response)),
            Poll::Pending => inbound.poll_left(AHEAD, cx).map(|()| None),
        })
        .await
    };
    let Some(response) = answered.filter(|_| !inbound.has_left()) else {
        let took = exchange.took();
        // Whatever was to be answered reached nobody.
        exchange.refusal = None;
        gateway.end(&exchange, Ending { status: 0, fate: Fate::ClientGone, took });
        return Err(Close::Quiet);
    };
    if matches!(response.body(), Body::Switched(_)) {
        // Cold: a tunnel's state must not be part of every connection's.
        Box::pin(switch(inbound, &gateway, &exchange, response)).await;
        return Err(Close::Quiet);
    }
    // What is left of a body nobody read would be taken for the next request.
    let read = inbound.skip();
    let promised = !keep_alive;
    let keep_alive = keep_alive && read && !exchange.stopped && !seat.worker.is_draining();
    let how = How { version, keep_alive };
    let kept = match write(inbound, &gateway, &exchange, response, how).await {
        Ok(kept) => kept,
        Err(Unwritten::Refused(error)) => {
            let answerer = exchange.answerer.as_deref().unwrap_or("-");
            exchange.cause = Some(format!("{answerer}: the answer's body: {error}"));
            let response = gateway.refuse(&mut exchange, Refusal::Upstream);
            let how = How { version, keep_alive: false };
            write(inbound, &gateway, &exchange, response, how).await.is_ok_and(|kept| kept)
        }
        Err(Unwritten::Cut(close)) => return Err(close),
    };
    match kept {
        true => Ok(()),
        // Closing with unread bytes would reset the connection and destroy the answer on its way.
        false if !read || inbound.has_more(promised) => Err(Close::Linger),
        false => Err(Close::Quiet),
    }
}

/// How an answer is to leave.
#[derive(Clone, Copy)]
struct How {
    version: http::Version,
    keep_alive: bool,
}

/// Why an answer did not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unwritten {
    /// None of it did; the client can be told why.
    Refused(BodyError),
    /// Some of it may have.
    Cut(Close),
}

/// Writes an answer and tells those who look on; whether the connection goes on.
async fn write(
    inbound: &Inbound,
    gateway: &Gateway,
    exchange: &Exchange,
    response: Response<Body>,
    how: How,
) -> Result<bool, Unwritten> {
    let (head, mut body) = response.into_parts();
    let ending = encode::Ending::of_response(&exchange.method, how.version, head.status, &body);
    let keep_alive = how.keep_alive && ending != encode::Ending::Close;
    let persistence = encode::Persistence::of(how.version, keep_alive);
    let sent = inbound.answer(&head, &mut body, ending, persistence).await;
    let fate = match sent {
        Ok(()) => exchange.fate(),
        Err(Broken::Client) => Fate::ClientGone,
        Err(Broken::Unsent(error)) => return Err(Unwritten::Refused(error)),
        Err(Broken::Body(BodyError::Silent)) => Fate::TimedOut,
        // An answer is never too long: only what clients send is counted.
        Err(Broken::Body(BodyError::Gone | BodyError::Malformed(_) | BodyError::TooLong)) => {
            Fate::UpstreamFailed
        }
    };
    let status = head.status.as_u16();
    gateway.end(exchange, Ending { status, fate, took: exchange.took() });
    spare::give_map(head.headers);
    match sent {
        Ok(()) => Ok(keep_alive),
        // A client that has only half left, or is slow, may still read: where the end of the connection ends the answer,
        // any other end would make what it got look whole.
        Err(Broken::Client | Broken::Body(_) | Broken::Unsent(_)) => {
            Err(Unwritten::Cut(Close::Reset))
        }
    }
}

impl Seat {
    fn inbound(&self, io: TcpStream) -> Inbound {
        let limits = &self.listener.config.limits;
        let patience = Patience {
            idle: limits.idle_timeout,
            head: limits.header_timeout,
            body: limits.body_timeout,
        };
        Inbound::new(Link::new(io), patience)
    }

    fn client(&self) -> Client {
        let trusted = self.worker.gateway().trusts(self.peer.ip());
        Client::new(self.peer, self.listener.index, self.listener.address.port(), trusted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_output<F>(_: fn(Seat, TcpStream, Open) -> F) -> usize {
        size_of::<F>()
    }

    /// What each idle connection holds as long as it lasts; an exchange needs ten times as much.
    #[test]
    fn the_future_of_an_idle_connection_stays_small() {
        let size = size_of_output(serve);
        assert!(size <= 320, "{size} bytes");
    }
}
