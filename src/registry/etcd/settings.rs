//! `[registry.<name>]` of kind `etcd`.

use super::Etcd;
use crate::config::{Key, Secret, Table};
use crate::fetch::tls;
use crate::registry::{FromTable, Reread};

/// Where a member listens for clients when the table does not say.
const ENDPOINT: &str = "http://127.0.0.1:2379";
/// Where instances are.
const PREFIX: &str = "/services/";

/// Its keys.
pub(in crate::registry) const KEYS: &[Key] = &tls::and::<4, 9>([
    Key::new(
        "endpoints",
        "list of strings",
        "[\"http://127.0.0.1:2379\"]",
        "members of the cluster; another is asked when one does not answer",
    ),
    Key::new(
        "prefix",
        "string",
        "\"/services/\"",
        "instances are the keys <prefix><service>/<anything>",
    ),
    Key::new("username", "string", "", "who asks, where etcd wants to know; with password"),
    Key::new("password", "secret", "", "of the user"),
]);

/// How a cluster is reached and asked.
#[derive(Clone)]
pub struct Settings {
    /// The table's name.
    pub name: String,
    /// Each `http://host:port`, `https://host:port`, or `host:port`.
    pub endpoints: Vec<String>,
    /// What the keys of instances begin with.
    pub prefix: String,
    /// User and password.
    pub user: Option<(String, Secret)>,
    /// Called when the password is refused; none when it cannot have changed.
    pub reread: Option<Reread>,
    /// For `https://`.
    pub tls: tls::Settings,
}

impl Settings {
    /// One member at this address, and defaults for the rest.
    pub fn new(name: &str, address: &str) -> Self {
        Self {
            name: name.to_owned(),
            endpoints: vec![address.to_owned()],
            prefix: PREFIX.to_owned(),
            user: None,
            reread: None,
            tls: tls::Settings::default(),
        }
    }

    fn read(name: &str, table: &mut Table<'_>) -> Self {
        let (username, password) = (table.text("username"), table.secret("password"));
        if table.has("username") != table.has("password") {
            let written = if table.has("password") { "password" } else { "username" };
            table.problem(written, "`username` and `password` go together", None::<String>);
        }
        let Self { endpoints, prefix, .. } = Self::new(name, ENDPOINT);
        Self {
            name: name.to_owned(),
            endpoints: table.strings("endpoints").unwrap_or(endpoints),
            prefix: table.text("prefix").unwrap_or(prefix),
            user: username.zip(password),
            reread: table.secret_reader("password"),
            tls: tls::Settings::read(table),
        }
    }
}

impl FromTable for Etcd {
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
        let info = registry::INFOS.iter().find(|info| info.name == "etcd").expect("it is listed");
        Section::from_toml("registry.etcd", info, text).unwrap_or_else(|e| panic!("{e}"))
    }

    fn problems(text: &str) -> String {
        let section = section(text);
        let mut problems = Problems::new();
        registry::build(&section, &mut problems);
        assert!(!problems.is_empty(), "{text} was taken");
        problems.to_string()
    }

    #[test]
    fn every_key_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        std::fs::write(&password, "from-file\n").unwrap();
        let section = section(&format!(
            "kind = 'etcd'\nendpoints = ['https://a:2379', 'b:2379']\nprefix = '/p/'\nusername = 'u'\n\
             password = {{ file = '{}' }}\ntls = {{ server_name = 's', verify = false }}",
            password.display()
        ));
        let mut problems = Problems::new();
        let read = Settings::read("etcd", &mut section.read(&mut problems));
        assert!(problems.is_empty(), "{problems}");
        assert_eq!(read.endpoints, ["https://a:2379", "b:2379"]);
        assert_eq!(read.prefix, "/p/");
        assert_eq!(read.user, Some(("u".into(), Secret::new("from-file".into()))));
        assert!(!read.tls.verify);
        assert_eq!(read.tls.server_name.as_deref(), Some("s"));

        std::fs::write(&password, "changed\n").unwrap();
        let again = read.reread.expect("a password in a file can change");
        assert_eq!(again(), Some(Secret::new("changed".into())));
    }

    #[test]
    fn an_empty_table_is_the_member_beside_us() {
        let section = section("kind = 'etcd'");
        let mut problems = Problems::new();
        let read = Settings::read("etcd", &mut section.read(&mut problems));
        assert!(problems.is_empty(), "{problems}");
        assert_eq!((read.endpoints, read.prefix.as_str()), (vec![ENDPOINT.to_owned()], PREFIX));
        assert!(registry::build(&section, &mut problems).is_some());
    }

    #[test]
    fn what_cannot_be_used_is_a_problem_at_its_place() {
        let text = problems("kind = 'etcd'\nendpoints = ['http://a:1', 'ftp://b']");
        assert!(text.contains(":2:") && text.contains("neither http:// nor https://"), "{text}");
        let text = problems("kind = 'etcd'\nendpoints = []");
        assert!(text.contains(":2:") && text.contains("names no member"), "{text}");
        let text = problems("kind = 'etcd'\nusername = 'u'");
        assert!(text.contains(":2:") && text.contains("go together"), "{text}");
        let text = problems("kind = 'etcd'\ntls = { server_name = 'not a name' }");
        assert!(text.contains("tls.server_name"), "{text}");
    }
}
