//! Policies: tables that may also be `true` or `false`, and shares, which only they have.

use super::Table;
use crate::config::kind::Key;
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
        match self.policy_layers(key) {
            None => Policy::Off,
            Some(layers) if layers.is_empty() => Policy::On,
            Some(layers) => Policy::Written(self.inside(key, layers)),
        }
    }

    /// A policy whose table says by `kind` what its other keys mean: what is further out and of another kind is not
    /// inherited. Its kind comes along; `usual` is that of a table that does not say.
    pub(in crate::config) fn policy_of_kind(
        &mut self,
        key: &str,
        usual: &'static str,
    ) -> (Policy<'_>, String) {
        let layers = match self.policy_layers(key) {
            None => return (Policy::Off, usual.to_owned()),
            Some(layers) if layers.is_empty() => return (Policy::On, usual.to_owned()),
            Some(layers) => layers,
        };
        let kind = |from: usize| {
            let said = layers[from..].iter().find_map(|layer| layer.entry("kind"));
            said.and_then(|entry| entry.value.text()).unwrap_or(usual)
        };
        let nearest = kind(0).to_owned();
        let alike = (0..layers.len()).take_while(|at| kind(*at) == nearest).count();
        let alike = layers[..alike].to_vec();
        (Policy::Written(self.inside(key, alike)), nearest)
    }

    /// The tables that say something about it, nearest first; none when it is off.
    fn policy_layers(&mut self, key: &str) -> Option<Vec<&'a Node>> {
        let mut layers = Vec::new();
        let mut said_yes = false;
        for layer in self.layers.clone() {
            let Some(entry) = layer.entry(key) else { continue };
            match &entry.value.value {
                Value::Flag(false) if layers.is_empty() && !said_yes => return None,
                Value::Flag(false) => break,
                Value::Flag(true) => said_yes = true,
                Value::Table(_) => layers.push(&entry.value),
                Value::Text(_) | Value::Integer(_) | Value::List(_) | Value::Other(..) => {
                    let hint = Some(self.shape(key, &entry.value.value));
                    self.wrong::<()>(key, &entry.value, "a table, true or false", hint);
                }
            }
        }
        Some(layers)
    }

    /// What a policy looks like; a number is most often meant for the first key that takes one.
    fn shape(&self, key: &str, written: &Value) -> String {
        let prefix = format!("{}{key}.", self.prefix);
        let inner = |known: &'static Key| Some((known.name.strip_prefix(&prefix)?, known.shape));
        let keys: Vec<_> = self.keys.iter().filter_map(inner).collect();
        let number = keys.iter().find(|(_, shape)| shape.ends_with("integer"));
        if let (Value::Integer(count), Some((name, _))) = (written, number) {
            return format!("{key} = {{ {name} = {count} }}");
        }
        let names: Vec<_> = keys.iter().map(|(name, _)| *name).collect();
        format!("true takes the defaults, false is off, a table sets {}", names.join(", "))
    }

    /// Whether the nearest that says anything about the key says `false`.
    pub(in crate::config) fn is_off(&self, key: &str) -> bool {
        matches!(self.find(key).map(|node| &node.value), Some(Value::Flag(false)))
    }

    /// A part of a whole: `"50%"`.
    pub(in crate::config) fn share(&mut self, key: &str) -> Option<Share> {
        let node = self.find(key)?;
        let hint = Some("like \"50%\", from \"0%\" to \"100%\"".to_owned());
        let share = node.text().and_then(units::parse_share);
        share.or_else(|| self.wrong(key, node, "a share", hint))
    }

    /// So many in so much time: `"100/s"`; at least so many.
    pub(in crate::config) fn rate(&mut self, key: &str, least: u64) -> Option<Rate> {
        let node = self.find(key)?;
        let hint = format!("like \"100/s\" or \"600/m\", in whole numbers from {least} on");
        let rate = node.text().and_then(units::parse_rate).filter(|rate| rate.count >= least);
        rate.or_else(|| self.wrong(key, node, "a rate", Some(hint)))
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
