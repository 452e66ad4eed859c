//! ★ Start here: what the gateway is, and every stage a request meets, in order.

use std::sync::Arc;

use crate::config::model::RouteConfig;
use crate::forward::Service;
use crate::observe::numbers::RouteNumbers;

/// Routes and services, shared by all workers; replaced whole when either changes.
#[derive(Debug)]
pub struct Table {
    /// Index 0 .. n; an exchange's `route` is an index into it.
    pub routes: Vec<Arc<Route>>,
    /// Each once, by name.
    pub services: Vec<Arc<Service>>,
    /// Numbers of exchanges that found no route.
    pub unrouted: Arc<RouteNumbers>,
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
    /// Its counters; the routes of one catalog share theirs.
    pub numbers: Arc<RouteNumbers>,
}
