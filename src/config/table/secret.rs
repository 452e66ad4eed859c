//! Secrets: where they stand, and reading them from there.

use std::sync::Arc;

use super::Table;
use crate::config::problem::suggest;
use crate::config::secret::{Secret, variable};
use crate::config::tree::Entry;

impl Table<'_> {
    /// A string, `{ env = "NAME" }` or `{ file = "path" }`, read at once.
    pub fn secret(&mut self, key: &str) -> Option<Secret> {
        if let Some((_, secret)) = self.secrets.iter().find(|(name, _)| *name == key) {
            return secret.clone();
        }
        let node = self.find(key)?;
        let expected = "a string, { env = \"NAME\" } or { file = \"path\" }";
        match (node.text(), node.entries()) {
            (Some(""), _) => {
                self.problem(key, format!("`{}` is empty", self.full(key)), None);
                None
            }
            (Some(text), _) => Some(Secret::new(text.to_owned())),
            (None, Some([entry])) => match entry.value.text() {
                Some(named) => self.indirect(entry, named),
                None => self.wrong(key, node, expected, None),
            },
            (None, _) => self.wrong(key, node, expected, None),
        }
    }

    /// Secrets by name, each as [`Table::secret`] reads one.
    pub fn secrets(&mut self, key: &str) -> Option<Vec<(String, Secret)>> {
        let node = self.find(key)?;
        let Some(entries) = node.entries() else {
            return self.wrong(
                key,
                node,
                "a table of secrets",
                Some("like { name = \"…\" }".to_owned()),
            );
        };
        let names: Vec<String> = entries.iter().map(|entry| entry.key.clone()).collect();
        let mut inside = self.inside(key, vec![node]);
        Some(
            names
                .into_iter()
                .filter_map(|name| Some((name.clone(), inside.secret(&name)?)))
                .collect(),
        )
    }

    /// Reads a secret anew, each time it is called; none for one that is not kept in a file, so cannot have changed.
    pub fn secret_reader(
        &self,
        key: &str,
    ) -> Option<Arc<dyn Fn() -> Option<Secret> + Send + Sync>> {
        let [entry] = self.find(key)?.entries()? else { return None };
        let named = entry.value.text().filter(|_| entry.key == "file")?;
        let path = entry.value.place.source().folder().join(named);
        Some(Arc::new(move || Secret::from_file(&path).ok()))
    }

    fn indirect(&mut self, entry: &Entry, named: &str) -> Option<Secret> {
        let place = &entry.value.place;
        match entry.key.as_str() {
            "env" => {
                let value = variable(named);
                if value.is_none() {
                    let message = format!("the environment variable {named} is not set");
                    self.problems.push(place, message, None);
                }
                value.map(Secret::new)
            }
            "file" => match Secret::from_file(&place.source().folder().join(named)) {
                Ok(secret) => Some(secret),
                Err(reason) => {
                    let message = format!("the file {named} cannot be read: {reason}");
                    self.problems.push(place, message, None);
                    None
                }
            },
            other => {
                let hint = suggest(other, ["env", "file"]);
                self.problems.push(&entry.place, format!("a secret has no `{other}`"), hint);
                None
            }
        }
    }
}
