//! `[registry.<name>]` of kind `eureka`.

use std::time::Duration;

use super::Eureka;
use crate::config::{Key, Secret, Table};
use crate::fetch::tls;
use crate::registry::{FromTable, Reread};

/// Where a server listens when the table does not say.
const URL: &str = "http://127.0.0.1:8761/eureka";
/// As Eureka's own clients.
const POLL: Duration = Duration::from_secs(30);
/// Servers keep their answers for seconds: asking more often tells nothing new.
const OFTEN: Duration = Duration::from_secs(1);

/// Its keys.
pub(in crate::registry) const KEYS: &[Key] = &tls::and::<4, 9>([
    Key::new(
        "urls",
        "list of strings",
        "[\"http://127.0.0.1:8761/eureka\"]",
        "the servers, asked in order; user:password@ before the host",
    ),
    Key::new("username", "string", "", "for servers without one in their URL, with password"),
    Key::new("password", "secret", "", "read again from its file when it is refused"),
    Key::new("poll", "duration", "\"30s\"", "between two questions, 1s or more"),
]);

/// How servers are reached and asked.
#[derive(Clone)]
pub struct Settings {
    /// The table's name.
    pub name: String,
    /// `http(s)://[user:password@]host:port/eureka`, tried in order.
    pub urls: Vec<String>,
    /// For servers without one in their URL.
    pub username: Option<String>,
    /// That user's.
    pub password: Option<Secret>,
    /// Called when the password is refused; none when it cannot have changed.
    pub reread: Option<Reread>,
    /// Between two questions.
    pub poll: Duration,
    /// For `https://`.
    pub tls: tls::Settings,
}

impl Settings {
    /// Servers at these addresses, and defaults for the rest.
    pub fn new(name: &str, urls: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            urls: urls.iter().map(|&url| url.to_owned()).collect(),
            username: None,
            password: None,
            reread: None,
            poll: POLL,
            tls: tls::Settings::default(),
        }
    }

    fn read(name: &str, table: &mut Table<'_>) -> Self {
        let defaults = Self::new(name, &[URL]);
        let poll = table.duration("poll").unwrap_or(POLL);
        if poll < OFTEN {
            table.problem("poll", "`poll` must be at least 1s", None::<String>);
        }
        Self {
            urls: table.strings("urls").unwrap_or(defaults.urls),
            username: table.text("username"),
            password: table.secret("password"),
            reread: table.secret_reader("password"),
            poll,
            tls: tls::Settings::read(table),
            name: defaults.name,
        }
    }
}

impl FromTable for Eureka {
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
        let info = registry::INFOS.iter().find(|info| info.name == "eureka").unwrap();
        Section::from_toml("registry.eureka", info, text).unwrap_or_else(|e| panic!("{e}"))
    }

    fn problems(text: &str) -> String {
        let section = section(text);
        let mut problems = Problems::new();
        assert!(registry::build(&section, &mut problems).is_none() || !problems.is_empty());
        problems.to_string()
    }

    #[test]
    fn every_key_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        std::fs::write(&password, "from-file\n").unwrap();
        let section = section(&format!(
            "kind = 'eureka'\nurls = ['https://a:1/eureka', 'http://u:p@b:2/eureka/']\nusername = 'me'\n\
             password = {{ file = '{}' }}\npoll = '1s'\ntls = {{ verify = false }}",
            password.display()
        ));
        let mut problems = Problems::new();
        let read = Settings::read("eureka", &mut section.read(&mut problems));
        assert!(problems.is_empty(), "{problems}");
        assert_eq!(read.urls, ["https://a:1/eureka", "http://u:p@b:2/eureka/"]);
        assert_eq!(read.username.as_deref(), Some("me"));
        assert_eq!(
            read.password.map(|secret| secret.reveal().trim().to_owned()),
            Some("from-file".into())
        );
        assert_eq!(read.poll, Duration::from_secs(1));
        assert!(!read.tls.verify);
        std::fs::write(&password, "changed\n").unwrap();
        let again = read.reread.expect("a password in a file can change")();
        assert_eq!(again.map(|secret| secret.reveal().trim().to_owned()), Some("changed".into()));
        assert!(registry::build(&section, &mut problems).is_some());
    }

    #[test]
    fn an_empty_table_is_the_server_beside_us() {
        let section = section("kind = 'eureka'");
        let mut problems = Problems::new();
        let read = Settings::read("eureka", &mut section.read(&mut problems));
        assert!(problems.is_empty(), "{problems}");
        assert_eq!((read.urls, read.poll), (vec![URL.to_owned()], Duration::from_secs(30)));
        assert!(registry::build(&section, &mut problems).is_some());
    }

    #[test]
    fn what_cannot_be_used_is_a_problem_at_its_place_that_tells_no_password() {
        for (text, expected) in [
            ("urls = ['ftp://me:sesame@a']", "neither http:// nor https://"),
            ("urls = ['http://me:ses@ame@a']", "write `/` as %2F"),
            ("urls = []", "names no server"),
            ("poll = '500ms'", "at least 1s"),
            ("username = 'me'", "goes together with `password`"),
            ("password = 'sesame'", "goes together with `username`"),
            ("password = 'sesame'\nusername = 'a:b'", "no user name has"),
        ] {
            let said = problems(&format!("kind = 'eureka'\n{text}"));
            assert!(
                said.contains(expected) && [":2:", ":3:"].iter().any(|at| said.contains(at)),
                "{said}"
            );
            assert!(!said.contains("sesame") && !said.contains("ame@"), "{said}");
        }
        let said = problems("kind = 'eureka'\ntls = { server_name = 'not a name' }");
        assert!(said.contains("tls.server_name"), "{said}");
    }
}
