//! May change a request and its answer, never refuses.

pub mod forwarded;
pub mod headers;
pub mod hop_by_hop;
pub mod identity;
pub mod path;
pub mod request_id;
mod template;
mod upgrade;

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName, StatusCode};

pub use self::forwarded::client_address;
use self::path::Path;
pub use self::request_id::RequestIds;
use crate::config::model::{HeaderEdits, RouteConfig};
use crate::exchange::{Client, Exchange, REQUEST_ID};
use crate::wire::Body;

/// What one route changes.
#[derive(Debug)]
pub struct Rewrite {
    /// Whether the upstream sees the client's Host; if not, forwarding puts the instance's in its place.
    pub preserve_host: bool,
    /// Names that only a guard may say something under.
    told: Arc<[HeaderName]>,
    path: Path,
    upgrade: Vec<String>,
    request_headers: HeaderEdits,
    response_headers: HeaderEdits,
}

/// What the client gets of the answer of a service that is not the route's: as it is, but for what is about its connection.
pub fn passed_on(headers: &mut HeaderMap, exchange: &Exchange) {
    hop_by_hop::response(headers);
    headers.insert(REQUEST_ID, exchange.id.clone());
}

impl Rewrite {
    /// `told` are names of headers that callers are told by. Fails with one line when the path's rewrite does not fit the
    /// route's paths.
    pub fn new(route: &RouteConfig, told: &[HeaderName]) -> Result<Self, String> {
        Ok(Self {
            preserve_host: route.preserve_host,
            told: told.into(),
            path: Path::new(&route.path, &route.paths)?,
            upgrade: route.upgrade.clone(),
            request_headers: route.request_headers.clone(),
            response_headers: route.response_headers.clone(),
        })
    }

    /// Nor can a client say behind its body what only a guard may say.
    pub fn body(&self, body: &mut Body) {
        if !self.told.is_empty() {
            body.bar(&self.told);
        }
    }

    /// What the upstream gets: hop-by-hop headers go, then client and caller are told, then the path changes, and the
    /// operator has the last word. `which_path` says by which of the route's paths it was found.
    pub fn request(
        &self,
        parts: &mut Parts,
        exchange: &Exchange,
        client: &Client,
        which_path: usize,
    ) {
        let headers = &mut parts.headers;
        let upgrades = if exchange.may_switch { &*self.upgrade } else { &[] };
        hop_by_hop::request(headers, upgrades);
        forwarded::apply(headers, client, exchange.address);
        headers.insert(REQUEST_ID, exchange.id.clone());
        identity::apply(&self.told, exchange.caller.as_deref(), parts);
        let headers = &mut parts.headers;
        if let Some(rewritten) = self.path.request(which_path, &parts.uri) {
            parts.uri = rewritten.uri;
            if let Some(prefix) = rewritten.prefix {
                // A trusted peer may have cut off something before.
                headers.append(forwarded::X_FORWARDED_PREFIX, prefix);
            }
        }
        headers::apply(&self.request_headers, headers);
    }

    /// What the client gets of an upstream's answer.
    pub fn response(&self, status: StatusCode, headers: &mut HeaderMap, exchange: &Exchange) {
        match status {
            StatusCode::SWITCHING_PROTOCOLS => hop_by_hop::switched(headers),
            _ => hop_by_hop::response(headers),
        }
        headers.insert(REQUEST_ID, exchange.id.clone());
        headers::apply(&self.response_headers, headers);
    }
}

#[cfg(test)]
mod tests;
