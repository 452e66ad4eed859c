//! `[auth.<name>]` of kind `basic`: names and passwords (RFC 7617).

use std::rc::Rc;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use http::{HeaderName, HeaderValue};

use super::basic_desk::BasicDesk;
use super::basic_file::{self, Book, UserFile};
use super::basic_users::{Skipped, Users, check_name};
use super::hashes::Hash;
use super::hashing::Hashing;
use super::named::{self, Named};
use super::{Desk, FromTable, Scheme, Setting};
use crate::config::{Key, Table};

/// Its keys.
pub const KEYS: &[Key] = &[
    Key::new("realm", "string", "", "what a browser shows when it asks; default: the table's name"),
    Key::new(
        "users",
        "table of secrets",
        "",
        "hashes of passwords by user: { alice = \"$2b$12$…\" }; `frontgate hash-password` makes one",
    ),
    Key::new("file", "path", "", "instead of users: as htpasswd writes it, reread when it changes"),
    named::KEYS[0],
    named::KEYS[1],
];

/// Users and their passwords.
#[derive(Debug)]
pub struct Basic {
    /// What a client is told to bring.
    pub challenge: HeaderValue,
    /// Who has which password now.
    pub book: Arc<Book>,
    /// What becomes of a user.
    pub named: Named,
    /// Where passwords are tried.
    pub hashing: Hashing,
    /// Stands before what is remembered of passwords, so that it is worth nothing elsewhere.
    pub key: hmac::Key,
    /// Where users come from who may change, and what of it was left out at first.
    file: Option<(UserFile, Vec<Skipped>)>,
}

impl Scheme for Basic {
    fn start(&self) {
        self.hashing.start();
        if let Some((file, skipped)) = &self.file {
            basic_file::complain(&file.name, skipped);
            tokio::spawn(file.clone().follow(Arc::downgrade(&self.book)));
        }
    }

    fn desk(self: Arc<Self>) -> Rc<dyn Desk> {
        Rc::new(BasicDesk::new(self))
    }

    fn headers(&self) -> &[HeaderName] {
        self.named.headers()
    }
}

impl FromTable for Basic {
    fn from_table(setting: Setting<'_>, table: &mut Table<'_>) -> Option<Self> {
        let challenge = challenge(setting.name, table);
        let named = Named::read(setting, table);
        let (users, file) = match (table.has("users"), table.has("file")) {
            (true, false) => (Users::new(written(table)?), None),
            (false, true) => {
                let (users, file) = from_file(setting.name, table)?;
                (users, Some(file))
            }
            (true, true) => {
                table.problem("file", "`users` and `file` do not go together", "keep one of them");
                return None;
            }
            (false, false) => {
                let hint = "users = { alice = \"$2b$12$…\" } or file = \"users.htpasswd\"";
                table.problem(
                    "",
                    "nobody could come in: there is neither `users` nor `file`",
                    hint,
                );
                return None;
            }
        };
        let book = Arc::new(Book::new(Arc::new(users)));
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        if key.is_err() {
            table.problem("", "the system gives no random numbers", None::<String>);
        }
        let (challenge, key) = (challenge?, key.ok()?);
        Some(Self { challenge, book, named, hashing: Hashing::default(), key, file })
    }
}

/// RFC 7617 section 2.1: the charset says that names and passwords are UTF-8.
fn challenge(name: &str, table: &mut Table<'_>) -> Option<HeaderValue> {
    let realm = if table.has("realm") { table.text("realm")? } else { name.to_owned() };
    let realm = realm.replace('\\', "\\\\").replace('"', "\\\"");
    let visible = realm.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let value = HeaderValue::try_from(format!("Basic realm=\"{realm}\", charset=\"UTF-8\""));
    let value = value.ok().filter(|_| visible);
    if value.is_none() {
        table.problem("realm", "`realm` goes into a header: ASCII only", None::<String>);
    }
    value
}

fn written(table: &mut Table<'_>) -> Option<Vec<(Box<str>, Hash)>> {
    let secrets = table.secrets("users")?;
    let mut users = table.table("users")?;
    let mut read = Vec::new();
    let count = users.written().len();
    if count == 0 {
        users.problem("", "nobody could come in: `users` is empty", None::<String>);
    }
    for (name, secret) in secrets {
        if let Err(reason) = check_name(&name) {
            users.problem(
                &name,
                format!("nobody can come in as {name:?}: {reason}"),
                None::<String>,
            );
            continue;
        }
        match Hash::parse(secret.reveal()) {
            Ok(hash) => read.push((name.into(), hash)),
            Err(unfit) => {
                let message = format!("what stands for `users.{name}` {}", unfit.reason());
                users.problem(&name, message, "`frontgate hash-password` makes one of a password");
            }
        }
    }
    // Some of them only is not what was written.
    (read.len() == count && count > 0).then_some(read)
}

fn from_file(name: &str, table: &mut Table<'_>) -> Option<(Users, (UserFile, Vec<Skipped>))> {
    let (path, content) = (table.path("file")?, table.contents("file")?);
    if content.len() as u64 > basic_file::LONGEST {
        table.problem("file", "the file of users is longer than 8 MiB", None::<String>);
        return None;
    }
    let (users, skipped) = Users::of_file(&content);
    if users.count() == 0 {
        let message = match skipped.first() {
            None => "nobody could come in: the file is empty".to_owned(),
            Some(Skipped { line, reason }) => {
                format!("nobody could come in: no line can be used; in line {line}, {reason}")
            }
        };
        table.problem(
            "file",
            message,
            "like `alice:$2b$12$…`, by htpasswd -B or `frontgate hash-password`",
        );
        return None;
    }
    let file = UserFile { name: name.into(), path, sum: basic_file::sum(&content) };
    Some((users, (file, skipped)))
}
