//! Policies: tables that may also be `true` or `false`, and shares, which only they have.

use super::Table;
use crate::config::model::{Rate, Share};
use crate::config::tree::{Node, Value};
use crate::config::units;

/// What a policy's key says. A policy that is not written at all is on, with its defaults.
pub(in crate::config) enum Policy<'a> {
    /// `false`.
    Off,
    /// Not written, or `true`, with nothing written further out.
    On,
    /// A table, over those further out.
    Written(Table<'a>),
}

impl<'a> Table<'a> {
    /// A policy: a table, merged with what is inherited; `false`; or `true`, the inherited one or the defaults.
    pub(in crate::config) fn policy(&mut self, key: &str) -> Policy<'_> {
        let mut layers = Vec::new();
        let mut said_yes = false;
        for layer in self.layers.clone() {
            let Some(entry) = layer.entry(key) else { continue };
            match &entry.value.value {
                Value::Flag(false) if layers.is_empty() && !said_yes => return Policy::Off,
                Value::Flag(false) => break,
                Value::Flag(true) => said_yes = true,
                Value::Table(_) => layers.push(&entry.value),
                Value::Text(_) | Value::Integer(_) | Value::List(_) | Value::Other(..) => {
                    self.wrong::<()>(key, &entry.value, "a table, true or false", None);
                }
            }
        }
        if layers.is_empty() { Policy::On } else { Policy::Written(self.inside(key, layers)) }
    }

    /// A part of a whole: `"50%"`.
    pub(in crate::config) fn share(&mut self, key: &str) -> Option<Share> {
        let node = self.find(key)?;
        let hint = Some("like \"50%\", from \"0%\" to \"100%\"".to_owned());
        let share = node.text().and_then(units::parse_share);
        share.or_else(|| self.wrong(key, node, "a share", hint))
    }

    /// So many in so much time: `"100/s"`.
    pub(in crate::config) fn rate(&mut self, key: &str) -> Option<Rate> {
        let node = self.find(key)?;
        let hint = Some("like \"100/s\" or \"600/m\", in whole numbers from 1 on".to_owned());
        let rate = node.text().and_then(units::parse_rate);
        rate.or_else(|| self.wrong(key, node, "a rate", hint))
    }

    pub(super) fn inside(&mut self, key: &str, layers: Vec<&'a Node>) -> Table<'_> {
        Table {
            title: format!("`{}`", self.full(key)),
            prefix: format!("{}{key}.", self.prefix),
            keys: self.keys,
            layers,
            secrets: &[],
            problems: self.problems,
        }
    }
}
