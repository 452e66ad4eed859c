//! A connection that leaves HTTP: its 101, then bytes both ways.

use http::Response;

use crate::exchange::{Ending, Exchange, Fate};
use crate::gateway::Gateway;
use crate::wire::h1::encode::{self, Persistence};
use crate::wire::h1::inbound::Inbound;
use crate::wire::h1::tunnel::{self, Over};
use crate::wire::{Body, spare};

/// Answers 101 and serves the tunnel until it is over; so long its exchange is in flight. The connection ends with it.
pub(super) async fn switch(
    inbound: &Inbound,
    gateway: &Gateway,
    exchange: &Exchange,
    response: Response<Body>,
) {
    let (head, Body::Switched(switched)) = response.into_parts() else { return };
    // Hours of a tunnel among the milliseconds of requests would hide both.
    let took = exchange.took();
    let status = head.status.as_u16();
    let (ending, persistence) = (encode::Ending::None, Persistence::Keep);
    let sent = inbound.answer(&head, &mut Body::Empty, ending, persistence).await;
    spare::give_map(head.headers);
    let fate = match sent {
        Err(_) => Fate::ClientGone,
        Ok(()) => match tunnel::run(inbound, *switched).await {
            // Who ends a tunnel, and how, is a matter of what is spoken in it.
            Over::Ended | Over::Reset => Fate::Answered,
            Over::Silent => Fate::TimedOut,
            Over::Stalled => Fate::ClientGone,
        },
    };
    gateway.end(exchange, Ending { status, fate, took });
}
