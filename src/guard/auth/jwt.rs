//! Callers that bring a signed token (RFC 7519) as a bearer (RFC 6750).

use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderName;
use tokio::task::AbortHandle;

use super::jwt_settings::{Settings, Source};
use super::tokens::Tokens;
use super::{Desk, FromTable, Scheme, Setting};
use crate::config::Table;

pub(super) use super::jwt_settings::KEYS;

/// An `[auth.…]` of kind `jwt`.
pub struct Jwt {
    /// As written.
    pub settings: Settings,
    headers: Box<[HeaderName]>,
    fetching: Mutex<Option<AbortHandle>>,
}

impl FromTable for Jwt {
    fn from_table(setting: Setting<'_>, table: &mut Table<'_>) -> Option<Self> {
        let settings = Settings::read(setting, table)?;
        let headers = settings.rules.forward.iter().map(|(_, name)| name.clone()).collect();
        Some(Self { settings, headers, fetching: Mutex::default() })
    }
}

impl Scheme for Jwt {
    fn start(&self) {
        let provider = match &self.settings.source {
            Source::Fetched(provider) => provider,
            Source::Fixed { is_short: false, .. } => return,
            Source::Fixed { is_short: true, .. } => {
                let name = &self.settings.name;
                tracing::warn!(auth = %name, "this secret is shorter than 32 bytes: who has a token can try out secrets");
                return;
            }
        };
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        fetching.get_or_insert_with(|| tokio::spawn(Arc::clone(provider).run()).abort_handle());
    }

    fn desk(self: Arc<Self>) -> Rc<dyn Desk> {
        Rc::new(Tokens::new(self))
    }

    fn headers(&self) -> &[HeaderName] {
        &self.headers
    }
}

impl Drop for Jwt {
    fn drop(&mut self) {
        let fetching = self.fetching.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(fetching) = fetching {
            fetching.abort();
        }
    }
}

impl std::fmt::Debug for Jwt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jwt").field("name", &self.settings.name).finish_non_exhaustive()
    }
}
