//! Interim answers on their way to a client, before its answer (RFC 9110 section 15.2).

use std::cell::Cell;
use std::task::Context;

use http::{HeaderMap, StatusCode, Version};

use super::encode;
use super::inbound::Inbound;

/// More than this is not queued for a client that does not take what it has: an interim answer may be lost.
const QUEUED_BYTES: usize = 16 << 10;

/// Where interim answers go, if they go anywhere.
#[derive(Debug)]
pub struct Early {
    client: Option<Inbound>,
    /// Whether the client waits for 100 before its body.
    pub expects: bool,
    passed: Cell<bool>,
    clean: fn(&mut HeaderMap),
}

impl Early {
    /// For a request of this version, after its head. HTTP/1.0 has no interim answers (RFC 9110 section 15.2).
    pub fn new(client: &Inbound, version: Version, expects: bool) -> Self {
        let client = (version == Version::HTTP_11).then(|| client.clone());
        Self { client, expects, passed: Cell::new(false), clean: |_| {} }
    }

    /// For a client that takes none.
    pub fn nowhere() -> Self {
        Self { client: None, expects: false, passed: Cell::new(false), clean: |_| {} }
    }

    /// What takes out of their fields what is for one connection only.
    #[must_use]
    pub fn cleaned(self, clean: fn(&mut HeaderMap)) -> Self {
        Self { clean, ..self }
    }

    /// Whether the client has seen one, or will.
    pub fn has_passed(&self) -> bool {
        self.passed.get()
    }

    /// Passes one on, but a 100: that is sent once the client's body is wanted, and only to those who wait for it.
    pub(super) fn pass(&self, status: StatusCode, fields: &mut HeaderMap) {
        let Some(client) = self.client.as_ref().filter(|_| status != StatusCode::CONTINUE) else {
            return;
        };
        (self.clean)(fields);
        client.with_link(|link| {
            if link.unwritten() < QUEUED_BYTES {
                self.passed.set(true);
                encode::interim(&mut link.out, status, fields);
            }
        });
    }

    /// Writes what was passed on, as far as the client takes it. One that left is seen where it is waited for.
    pub(super) fn flush(&self, cx: &mut Context<'_>) {
        if let Some(client) = &self.client {
            client.with_link(|link| drop(link.poll_flush(cx)));
        }
    }
}
