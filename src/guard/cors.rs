//! Which pages of other origins may ask (Fetch standard, section "CORS protocol").

use http::request::Parts;
use http::{Method, Response};

use crate::config::model::CorsConfig;
use crate::exchange::Exchange;
use crate::wire::Body;

/// `cors` of a route.
#[derive(Debug)]
pub struct Cors {
    config: CorsConfig,
}

impl Cors {
    /// As checked.
    pub fn new(config: &CorsConfig) -> Self {
        Self { config: config.clone() }
    }

    /// The answer to a preflight; otherwise notes what the answer to come shall say.
    pub fn check(&self, _asked: &Parts, _exchange: &mut Exchange) -> Option<Response<Body>> {
        let _ = &self.config;
        None
    }
}

/// The method a preflight asks about; none for any other request.
pub fn preflight(_asked: &Parts) -> Option<Method> {
    None
}
