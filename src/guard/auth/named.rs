//! Callers of whom nothing but a name is known, and what the upstream is told of them.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::Setting;
use super::ours::is_ours;
use crate::config::{Key, Table};
use crate::exchange::{Caller, Spot};

/// The keys that a kind of named callers has beside its own.
pub const KEYS: [Key; 2] = [
    Key::new(
        "forward.sub",
        "string",
        "",
        "the header that tells the upstream the caller's name; what a client sends under it is removed",
    ),
    Key::new(
        "strip",
        "boolean",
        "false",
        "whether the upstream gets to see the credentials no more",
    ),
];

/// How a scheme makes callers of names.
#[derive(Debug)]
pub struct Named {
    auth: Arc<str>,
    header: Option<HeaderName>,
    strip: bool,
}

impl Named {
    /// Reads `forward` and `strip`; problems are reported there.
    pub fn read(setting: Setting<'_>, table: &mut Table<'_>) -> Self {
        let header = table.table("forward").and_then(|mut forward| header(&mut forward));
        Self { auth: setting.name.into(), header, strip: table.flag("strip").unwrap_or(false) }
    }

    /// Names of headers that only this may say something under.
    pub fn headers(&self) -> &[HeaderName] {
        self.header.as_slice()
    }

    /// Whether the credentials are kept from the upstream.
    pub fn strips(&self) -> bool {
        self.strip
    }

    /// The caller of this name, whose credentials stand at this place. None for a name that no header can tell.
    pub fn caller(&self, name: &str, spot: &Spot) -> Option<Caller> {
        let value = HeaderValue::from_bytes(name.as_bytes()).ok()?;
        Some(Caller {
            name: name.into(),
            auth: Arc::clone(&self.auth),
            claims: vec![("sub".into(), name.into())],
            headers: self.header.iter().map(|header| (header.clone(), value.clone())).collect(),
            strip: self.strip.then(|| spot.clone()),
        })
    }
}

fn header(forward: &mut Table<'_>) -> Option<HeaderName> {
    let text = forward.text("sub")?;
    match HeaderName::from_bytes(text.as_bytes()) {
        Ok(name) if is_ours(&name) => {
            let message = format!("`{name}` cannot tell who calls: it means something else");
            forward.problem("sub", message, "like \"x-user\"");
            None
        }
        Ok(name) => Some(name),
        Err(_) => {
            let message = format!("{text:?} cannot be a header's name");
            forward.problem("sub", message, "like \"x-user\"");
            None
        }
    }
}
