//! ★ Start here: what the gateway is, and every stage a request meets, in order.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::Arc;

use http::header::{ALLOW, SET_COOKIE, VARY};
use http::request::Parts;
use http::{Method, Response, Version};
use ipnet::IpNet;
use tokio::sync::Notify;

use crate::config::model::RouteConfig;
use crate::exchange::{Client, Ending, Exchange, Fate, wants_json};
use crate::forward::pool::Kept;
use crate::forward::{self, Call, Local, Service};
use crate::guard::{self, Desks, Guard};
use crate::observe::Refusals;
use crate::observe::numbers::RouteNumbers;
use crate::refusal::Refusal;
use crate::rewrite::{self, RequestIds, Rewrite};
use crate::router::{Ask, Outcome, Router};
use crate::wire::Body;
use crate::wire::h1::Early;

/// Routes and services, shared by all workers; replaced whole when either changes.
#[derive(Debug)]
pub struct Table {
    /// From a request to an index of `routes`.
    pub router: Router<usize>,
    /// An exchange's `route` is an index into it.
    pub routes: Vec<Arc<Route>>,
    /// Each once, by name.
    pub services: Vec<Arc<Service>>,
    /// Numbers of exchanges that found no route.
    pub unrouted: Arc<RouteNumbers>,
    /// What guards of several routes have in common.
    pub shared: Arc<guard::Shared>,
    /// Peers that are believed.
    pub trusted: Arc<[IpNet]>,
}

/// What happens to a class of requests.
#[derive(Debug)]
pub struct Route {
    /// As checked.
    pub config: Arc<RouteConfig>,
    /// The label in metrics: the name, or `catalog.<table>` for a catalog's.
    pub label: String,
    /// Index into [`Table::services`].
    pub service: usize,
    /// What it lets in.
    pub guard: Guard,
    /// What it changes.
    pub rewrite: Rewrite,
    /// Its counters; those of a catalog's routes are shown under one label.
    pub numbers: Arc<RouteNumbers>,
}

/// One worker's gateway: the shared table with this worker's connections. An exchange keeps the one it began with.
#[derive(Debug)]
pub struct Gateway {
    /// What all workers share.
    pub table: Arc<Table>,
    locals: Vec<Rc<Local>>,
    desks: Rc<Desks>,
    ids: Rc<RefCell<RequestIds>>,
    kept: Rc<Kept>,
    refusals: Rc<Refusals>,
    worker: usize,
}

/// A request whose head was read.
#[derive(Debug)]
pub struct Asked {
    /// Method, target, version, headers.
    pub parts: Parts,
    /// Its body, to be read.
    pub body: Body,
    /// Where interim answers go.
    pub early: Early,
}

/// Answers one request. Every stage a request can meet is a line of [`pass`], in order.
pub async fn answer(
    gateway: &Gateway,
    client: &Client,
    exchange: &mut Exchange,
    asked: Asked,
) -> Response<Body> {
    let Asked { mut parts, body, early } = asked;
    let early = early.cleaned(rewrite::hop_by_hop::response);
    let passed = pass(gateway, client, exchange, (&mut parts, body, &early)).await;
    // A body in chunks may yet turn out to be none before any of it was sent: the refusal then says as much.
    let breakable = passed.as_ref().is_ok_and(|response| response.body().remaining().is_none());
    if breakable || passed.is_err() {
        exchange.json = wants_json(&parts.headers);
    }
    let marks = if breakable { exchange.marks.clone() } else { Vec::new() };
    let response = match passed {
        Ok(response) => gateway.marked(response, exchange),
        Err(refusal) => gateway.refuse(exchange, refusal),
    };
    exchange.marks = marks;
    crate::wire::spare::give_map(parts.headers);
    response
}

async fn pass(
    gateway: &Gateway,
    client: &Client,
    exchange: &mut Exchange,
    (parts, mut body, early): (&mut Parts, Body, &Early),
) -> Result<Response<Body>, Refusal> {
    exchange.address = gateway.address(client, parts);
    exchange.may_switch = parts.version == Version::HTTP_11 && matches!(body, Body::Empty);
    let (route, which_path) = gateway.find(client, parts, exchange)?;
    let (guard, desks) = (&route.guard, &*gateway.desks);
    if let Some(cors) = &guard.cors {
        cors.note(parts, exchange);
    }
    guard.clients.check(exchange)?;
    if let Some(cors) = &guard.cors
        && let Some(answer) = cors.check(parts, exchange)?
    {
        return Ok(answer);
    }
    guard.body.check(&mut body, exchange)?;
    guard.limits.admit(desks, parts, exchange).await?;
    if let Some(mut answer) = guard.auth.admit(desks, parts, exchange).await? {
        rewrite::passed_on(answer.headers_mut(), exchange);
        return Ok(answer);
    }
    guard.caller_limits.admit(desks, parts, exchange).await?;
    guard.in_flight.enter(exchange)?;
    let local = &gateway.locals[route.service];
    forward::may_be_sent(local, exchange)?;
    route.rewrite.request(parts, exchange, client, which_path);
    route.rewrite.body(&mut body);
    let sent = forward::send(local, route.call(early), parts, body, exchange).await;
    let mut response = sent.inspect_err(|refusal| guard.body.note(*refusal, exchange))?;
    let status = response.status();
    route.rewrite.response(status, response.headers_mut(), exchange);
    Ok(response)
}

impl Gateway {
    /// A worker's first.
    pub fn new(table: Arc<Table>, worker: usize) -> Self {
        let first = Self {
            table: Arc::clone(&table),
            locals: Vec::new(),
            desks: Rc::new(Desks::new(&table.shared)),
            ids: Rc::default(),
            kept: Rc::default(),
            refusals: Rc::default(),
            worker,
        };
        first.renewed(table)
    }

    /// The same worker's for a newer table. What stays in it keeps its connections.
    pub fn renewed(&self, table: Arc<Table>) -> Self {
        Self {
            locals: self.locals_of(&table),
            desks: match Arc::ptr_eq(&table.shared, &self.table.shared) {
                true => Rc::clone(&self.desks),
                false => Rc::new(Desks::new(&table.shared)),
            },
            table,
            ids: Rc::clone(&self.ids),
            kept: Rc::clone(&self.kept),
            refusals: Rc::clone(&self.refusals),
            worker: self.worker,
        }
    }

    fn locals_of(&self, table: &Table) -> Vec<Rc<Local>> {
        let known: std::collections::HashMap<_, _> =
            self.locals.iter().map(|local| (Arc::as_ptr(&local.service), local)).collect();
        let local = |service: &Arc<Service>| match known.get(&Arc::as_ptr(service)) {
            Some(local) => Rc::clone(local),
            None => Rc::new(Local::new(Arc::clone(service), self.worker, Rc::clone(&self.kept))),
        };
        table.services.iter().map(local).collect()
    }

    /// Takes over sets of instances that have changed.
    pub fn refresh(&self) {
        self.locals.iter().for_each(|local| local.refresh());
    }

    /// Lets go of kept connections that are dead or too old.
    pub fn sweep(&self, now: std::time::Instant) {
        self.locals.iter().for_each(|local| local.sweep(now));
    }

    /// Lets go of kept connections in whose place other workers wait for one.
    pub fn make_room(&self) {
        self.locals.iter().for_each(|local| local.make_room());
    }

    /// Where it is asked for that.
    pub fn room_wanted(&self) -> Arc<Notify> {
        Arc::clone(&self.kept.wanted)
    }

    /// Whether a peer is believed.
    pub fn trusts(&self, peer: std::net::IpAddr) -> bool {
        self.table.trusted.iter().any(|net| net.contains(&peer.to_canonical()))
    }

    /// The facts of a request that begins.
    pub fn begin(&self, client: &Client, parts: &Parts) -> Exchange {
        let id = self.ids.borrow_mut().of(&parts.headers, client.trusted);
        Exchange::begin(client, parts.method.clone(), id)
    }

    /// The facts of a request whose head could not be read, but perhaps its method.
    pub fn begin_unread(&self, client: &Client, method: Option<Method>) -> Exchange {
        // An extension method no client sends: the metric counts it as `other`.
        let method = method.or_else(|| Method::from_bytes(b"-").ok()).unwrap_or_default();
        self.table.unrouted.began(self.worker);
        let exchange = Exchange::begin(client, method, self.ids.borrow_mut().fresh());
        exchange.counted.set(true);
        exchange
    }

    /// An exchange is over; said again, it changes nothing.
    pub fn end(&self, exchange: &Exchange, ending: Ending) {
        if !exchange.counted.replace(false) {
            return;
        }
        if let Some(at) = exchange.route {
            self.table.routes[at].guard.in_flight.leave(exchange);
        }
        let numbers =
            exchange.route.map_or(&self.table.unrouted, |at| &self.table.routes[at].numbers);
        numbers.ended(self.worker, exchange, ending);
        let route = || exchange.route.map_or("-", |at| &self.table.routes[at].config.name);
        match exchange.refusal {
            Some(refusal) => self.refusals.note(exchange, refusal, route()),
            None if ending.fate == Fate::Answered => {}
            None => self.refusals.cut(exchange, ending, route()),
        }
    }

    /// The gateway's own answer, also in place of one that broke before any of it was sent.
    pub fn refuse(&self, exchange: &mut Exchange, refusal: Refusal) -> Response<Body> {
        let response = exchange.refuse(refusal);
        self.marked(response, exchange)
    }

    /// An answer with what it says whoever gives it.
    fn marked(&self, mut response: Response<Body>, exchange: &mut Exchange) -> Response<Body> {
        let headers = response.headers_mut();
        let route = exchange.route.map(|at| &self.table.routes[at]);
        // The answer to a preflight is the route's own.
        if exchange.preflight.is_none() && route.is_some_and(|route| route.guard.cors.is_some()) {
            guard::cors::unsaid(headers);
        }
        for (name, value) in exchange.marks.drain(..) {
            match name {
                VARY => guard::cors::vary(headers, value),
                // Beside those of the upstream.
                SET_COOKIE => drop(headers.append(name, value)),
                _ => drop(headers.insert(name, value)),
            }
        }
        response
    }

    fn address(&self, client: &Client, parts: &Parts) -> std::net::IpAddr {
        let peer = client.peer.ip().to_canonical();
        if !client.trusted {
            return peer;
        }
        rewrite::client_address(peer, &parts.headers, &self.table.trusted)
    }

    fn find(
        &self,
        client: &Client,
        parts: &Parts,
        exchange: &mut Exchange,
    ) -> Result<(&Route, usize), Refusal> {
        let host = parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        let ask = Ask {
            host: host.unwrap_or_default(),
            path: parts.uri.path(),
            query: parts.uri.query(),
            method: &parts.method,
            headers: &parts.headers,
            listener: client.listener,
        };
        let asked = guard::cors::preflight(parts);
        let found = asked.and_then(|method| {
            let found = self.table.router.find(&Ask { method: &method, ..ask });
            let Outcome::Found { target, .. } = found else { return None };
            self.table.routes[*target].guard.cors.as_ref()?;
            exchange.preflight = Some(method.clone());
            Some(found)
        });
        let found = match found.unwrap_or_else(|| self.table.router.find(&ask)) {
            Outcome::Found { target, path } => Ok((*target, path)),
            Outcome::WrongMethod(allow) => {
                exchange.hints.push((ALLOW, allow.value()));
                exchange.cause = Some(asked_for(&ask));
                Err(Refusal::MethodNotAllowed)
            }
            Outcome::None => {
                exchange.cause = Some(asked_for(&ask));
                Err(Refusal::NoRoute)
            }
        };
        exchange.route = found.ok().map(|(at, _)| at);
        let numbers =
            exchange.route.map_or(&self.table.unrouted, |at| &self.table.routes[at].numbers);
        numbers.began(self.worker);
        exchange.counted.set(true);
        found.map(|(at, path)| (&*self.table.routes[at], path))
    }
}

/// An exchange that ends also when a bug ends it: else what is in flight would never come down again.
#[derive(Debug)]
pub struct UnderWay<'a> {
    gateway: &'a Gateway,
    exchange: Exchange,
}

impl<'a> UnderWay<'a> {
    /// Until it is dropped.
    pub fn new(gateway: &'a Gateway, exchange: Exchange) -> Self {
        Self { gateway, exchange }
    }
}

impl Deref for UnderWay<'_> {
    type Target = Exchange;

    fn deref(&self) -> &Exchange {
        &self.exchange
    }
}

impl DerefMut for UnderWay<'_> {
    fn deref_mut(&mut self) -> &mut Exchange {
        &mut self.exchange
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let ending = Ending { status: 0, fate: Fate::Refused, took: self.exchange.took() };
        self.gateway.end(&self.exchange, ending);
    }
}

/// Host and path for the log, without the query, which may hold secrets, and not longer than a line bears.
fn asked_for(ask: &Ask<'_>) -> String {
    const LONGEST: usize = 200;
    ask.host.chars().chain(ask.path.chars()).take(LONGEST).collect()
}

impl Route {
    fn call<'a>(&'a self, early: &'a Early) -> Call<'a> {
        Call {
            timeout: self.config.timeout,
            idle_timeout: self.config.idle_timeout,
            preserve_host: self.rewrite.preserve_host,
            retry: &self.config.retry,
            early,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use super::*;

    fn empty() -> Gateway {
        let table = Table {
            router: Router::build(Vec::new()).0,
            routes: Vec::new(),
            services: Vec::new(),
            unrouted: Arc::new(RouteNumbers::new(1)),
            shared: Arc::default(),
            trusted: Arc::new([]),
        };
        Gateway::new(Arc::new(table), 0)
    }

    fn client() -> Client {
        Client::new(SocketAddr::from(([127, 0, 0, 1], 9)), 0, 80, false)
    }

    /// What an exchange costs each connection in memory while it goes on; the bound is a third above what it is.
    #[test]
    fn the_future_of_an_exchange_stays_small() {
        let (gateway, client) = (empty(), client());
        let (parts, ()) = http::Request::new(()).into_parts();
        let mut exchange = gateway.begin(&client, &parts);
        let asked = Asked { parts, body: Body::Empty, early: Early::nowhere() };
        let size = size_of_val(&answer(&gateway, &client, &mut exchange, asked));
        assert!(size <= 2560, "{size} bytes");
    }
    #[test]
    fn an_exchange_that_a_panic_ends_is_in_flight_no_more() {
        let (gateway, client) = (empty(), client());
        let (parts, ()) = http::Request::new(()).into_parts();
        let numbers = &gateway.table.unrouted;
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut exchange = UnderWay::new(&gateway, gateway.begin(&client, &parts));
            gateway.find(&client, &parts, &mut exchange).unwrap_err();
            assert_eq!(numbers.in_flight(), 1);
            panic!("a bug");
        }));
        assert!(panicked.is_err());
        assert_eq!(numbers.in_flight(), 0);
        // One that ended well is not counted twice, nor one that never was.
        drop(UnderWay::new(&gateway, gateway.begin(&client, &parts)));
        let exchange = UnderWay::new(&gateway, gateway.begin_unread(&client, None));
        let took = exchange.took();
        gateway.end(&exchange, Ending { status: 400, fate: Fate::Refused, took });
        drop(exchange);
        assert_eq!(numbers.in_flight(), 0);
    }
}
