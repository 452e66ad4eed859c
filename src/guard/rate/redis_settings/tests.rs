//! The keys of a store of kind `redis`, read.

use super::*;
use crate::config::{Problems, Section};
use crate::guard::rate;

fn section(text: &str) -> Section {
    Section::from_toml("rate_store.r", &rate::INFOS[0], text).unwrap_or_else(|e| panic!("{e}"))
}

fn settings(text: &str) -> Settings {
    let section = section(&format!("kind = 'redis'\n{text}"));
    let mut problems = Problems::new();
    let read = Settings::read(&mut section.read(&mut problems));
    assert!(problems.is_empty(), "{problems}");
    read.unwrap()
}

fn problems(text: &str) -> String {
    let section = section(&format!("kind = 'redis'\n{text}"));
    let mut problems = Problems::new();
    assert!(rate::build(&section, &mut problems).is_none() || !problems.is_empty(), "{text}");
    problems.to_string()
}

#[test]
fn an_address_is_enough() {
    let read = settings("url = 'redis://127.0.0.1'");
    assert_eq!(read.uri, "http://127.0.0.1:6379");
    assert_eq!((read.user, read.password, read.database), (None, None, 0));
    assert_eq!((read.timeout, read.on_error), (Duration::from_millis(100), OnError::Allow));
    assert_eq!(&*read.prefix, "frontgate:");
    assert!(!read.tls.on);
}

#[test]
fn every_key_is_read() {
    let read = settings(
        "url = 'rediss://we%40us:p%3a%2F%25@[::1]:7000/3'\ntimeout = '20ms'\non_error = 'local'\nprefix = 'a:'\n\
         tls = { server_name = 's', verify = false }",
    );
    assert_eq!(read.uri, "https://[::1]:7000");
    assert_eq!(read.user.as_deref(), Some("we@us"));
    assert_eq!(read.password, Some(Secret::new("p:/%".into())));
    assert_eq!((read.database, read.timeout), (3, Duration::from_millis(20)));
    assert_eq!((read.on_error, &*read.prefix), (OnError::Local, "a:"));
    assert!(read.tls.on && !read.tls.verify);
    let read =
        settings("url = 'redis://:secret@redis.example.com:1/'\non_error = 'deny'\nprefix = ''");
    assert_eq!((read.user, read.password), (None, Some(Secret::new("secret".into()))));
    assert_eq!((read.database, read.on_error, &*read.prefix), (0, OnError::Deny, ""));
}

#[test]
fn what_cannot_be_used_is_a_problem_that_does_not_repeat_the_password() {
    for (text, expected) in [
        ("", "needs `url`"),
        ("url = 'http://host'", "neither redis:// nor rediss://"),
        ("url = 'host:6379'", "neither redis:// nor rediss://"),
        ("url = 'unix:///host'", "socket file"),
        ("url = 'redis://'", "names no host"),
        ("url = 'redis://:hidden@'", "names no host"),
        ("url = 'redis://host:0'", "names no host, or no port"),
        ("url = 'redis://host:'", "names no host, or no port"),
        ("url = 'redis://host:65536'", "names no host, or no port"),
        ("url = 'redis://ho st'", "names no host"),
        ("url = 'redis://:hid/den@host'", "number of a database"),
        ("url = 'redis://host/-1'", "number of a database"),
        ("url = 'redis://:hid#den@host'", "must be escaped"),
        ("url = 'redis://host?db=1'", "has options"),
        ("url = 'redis://host@host'", "without a password"),
        ("url = 'redis://:hid%den@host'", "cannot be read"),
        ("url = 'redis://:%f'", "names no host"),
        ("url = 'redis://:hid%ff@host'", "cannot be read"),
        ("url = 'redis://h'\ntimeout = '0s'", "between 1ms and 10s"),
        ("url = 'redis://h'\ntimeout = '11s'", "between 1ms and 10s"),
        ("url = 'redis://h'\non_error = 'open'", "cannot be \"open\""),
        ("url = 'redis://h'\nprefix = 'a{b'", "no braces"),
        ("url = 'redis://h'\ntls = { verify = false }", "means nothing under redis://"),
        ("url = 'rediss://h'\ntls = { server_name = 'not a name' }", "tls.server_name"),
    ] {
        let said = problems(text);
        assert!(said.contains(expected), "{text}: {said}");
        assert!(!said.contains("hid"), "{said}");
    }
}

proptest::proptest! {
    #[test]
    fn no_address_panics(text in ".*", rest in "[:/@%\\[\\]a0-9]{0,12}") {
        drop(parse(&text));
        drop(parse(&format!("redis://{text}")));
        drop(parse(&format!("redis://{rest}")));
    }
}
