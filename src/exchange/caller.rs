//! Who sent a request, as a guard found out.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

/// A caller whose credentials were good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// For logs and limits.
    pub name: Box<str>,
    /// The `[auth.…]` that let it in.
    pub auth: Arc<str>,
    /// What is known of it, by name: a token's claims; otherwise its name, as `sub`. Text as it is, anything else as JSON.
    pub claims: Vec<(Box<str>, Box<str>)>,
    /// What the upstream is told about it.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Where its credentials stand in the request, when the upstream is not to see them.
    pub strip: Option<Spot>,
}

/// Where something stands in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spot {
    /// A header's value.
    Header(HeaderName),
    /// A cookie's value.
    Cookie(Box<str>),
    /// A parameter of the query.
    Query(Box<str>),
}

impl Caller {
    /// What is known of it under this name.
    pub fn claim(&self, name: &str) -> Option<&str> {
        self.claims.iter().find(|(known, _)| **known == *name).map(|(_, value)| &**value)
    }
}
