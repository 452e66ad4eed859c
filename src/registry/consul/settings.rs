//! `[registry.<name>]` of kind `consul`.

use super::Consul;
use crate::config::{Key, Secret, Table};
use crate::fetch::tls;
use crate::registry::{FromTable, Reread};

/// Where an agent listens when neither the table nor the environment says.
const ADDRESS: &str = "http://127.0.0.1:8500";

/// Its keys.
pub(in crate::registry) const KEYS: &[Key] = &tls::and::<7, 12>([
    Key::new(
        "address",
        "string",
        "\"http://127.0.0.1:8500\"",
        "the agent; unset: CONSUL_HTTP_ADDR",
    ),
    Key::new("token", "secret", "", "sent with every call; unset: CONSUL_HTTP_TOKEN"),
    Key::new("datacenter", "string", "", "whose services; default: the agent's own"),
    Key::new("namespace", "string", "", "Consul Enterprise"),
    Key::new("partition", "string", "", "Consul Enterprise"),
    Key::new("stale", "boolean", "false", "whether any server may answer, not only the leader"),
    Key::new("near", "string", "", "a node's name, or _agent"),
]);

/// How an agent is reached and asked.
#[derive(Clone)]
pub struct Settings {
    /// The table's name.
    pub name: String,
    /// `http://host:port`, `https://host:port/prefix`, or `host:port`.
    pub address: String,
    /// Sent as `X-Consul-Token`.
    pub token: Option<Secret>,
    /// Called when the token is refused; none when it cannot have changed.
    pub reread: Option<Reread>,
    /// None is the agent's own.
    pub datacenter: Option<String>,
    /// Consul Enterprise.
    pub namespace: Option<String>,
    /// Consul Enterprise.
    pub partition: Option<String>,
    /// Whether any server may answer, not only the leader.
    pub stale: bool,
    /// A node's name, or `_agent`.
    pub near: Option<String>,
    /// For `https://`.
    pub tls: tls::Settings,
}

impl Settings {
    /// An agent at this address, and defaults for the rest.
    pub fn new(name: &str, address: &str) -> Self {
        Self {
            name: name.to_owned(),
            address: address.to_owned(),
            token: None,
            reread: None,
            datacenter: None,
            namespace: None,
            partition: None,
            stale: false,
            near: None,
            tls: tls::Settings::default(),
        }
    }

    fn read(name: &str, table: &mut Table<'_>) -> Self {
        let address = if table.has("address") {
            table.text("address")
        } else {
            table.env("CONSUL_HTTP_ADDR")
        };
        let token = if table.has("token") {
            table.secret("token")
        } else {
            table.env("CONSUL_HTTP_TOKEN").map(Secret::new)
        };
        Self {
            token,
            reread: table.secret_reader("token"),
            datacenter: table.text("datacenter"),
            namespace: table.text("namespace"),
            partition: table.text("partition"),
            stale: table.flag("stale").unwrap_or(false),
            near: table.text("near"),
            tls: tls::Settings::read(table),
            ..Self::new(name, address.as_deref().unwrap_or(ADDRESS))
        }
    }
}

impl FromTable for Consul {
    fn from_table(name: &str, table: &mut Table<'_>) -> Result<Self, tls::Problem> {
        Self::new(&Settings::read(name, table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Problems, Section};
    use crate::registry;

    fn section(text: &str) -> Section {
        Section::from_toml("registry.consul", &registry::INFOS[0], text)
            .unwrap_or_else(|e| panic!("{e}"))
    }

    fn problems(text: &str) -> String {
        let section = section(text);
        let mut problems = Problems::new();
        assert!(registry::build(&section, &mut problems).is_none(), "{text} was taken");
        problems.to_string()
    }

    #[test]
    fn every_key_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        std::fs::write(&token, "from-file\n").unwrap();
        let section = section(&format!(
            "kind = 'consul'\naddress = 'https://consul:8501'\ntoken = {{ file = '{}' }}\ndatacenter = 'd'\nnamespace = 'n'\n\
             partition = 'p'\nstale = true\nnear = '_agent'\ntls = {{ server_name = 's', verify = false }}",
            token.display()
        ));
        let mut problems = Problems::new();
        let read = Settings::read("consul", &mut section.read(&mut problems));
        assert!(problems.is_empty(), "{problems}");
        assert_eq!(read.address, "https://consul:8501");
        assert_eq!(read.token, Some(Secret::new("from-file".into())));
        let texts = [read.datacenter, read.namespace, read.partition, read.near];
        assert_eq!(texts, ["d", "n", "p", "_agent"].map(|text| Some(text.to_owned())));
        assert!(read.stale && !read.tls.verify);
        assert_eq!(read.tls.server_name.as_deref(), Some("s"));

        std::fs::write(&token, "changed\n").unwrap();
        let again = read.reread.expect("a token in a file can change");
        assert_eq!(again(), Some(Secret::new("changed".into())));
    }

    #[test]
    fn an_empty_table_is_the_agent_beside_us() {
        let section = section("kind = 'consul'");
        let mut problems = Problems::new();
        let read = Settings::read("consul", &mut section.read(&mut problems));
        assert!(problems.is_empty(), "{problems}");
        assert!(read.address.contains("127.0.0.1:8500") || read.address != ADDRESS);
        assert!(read.reread.is_none());
        assert!(registry::build(&section, &mut problems).is_some());
    }

    #[test]
    fn what_cannot_be_used_is_a_problem_at_its_place() {
        let text = problems("kind = 'consul'\naddress = 'ftp://consul'");
        assert!(text.contains(":2:") && text.contains("neither http:// nor https://"), "{text}");
        let text = problems("kind = 'consul'\ntoken = \"a\\u0007b\"");
        assert!(text.contains(":2:") && !text.contains("a\u{7}b"), "{text}");
        let text = problems("kind = 'consul'\ntls = { server_name = 'not a name' }");
        assert!(text.contains("tls.server_name"), "{text}");
    }
}
