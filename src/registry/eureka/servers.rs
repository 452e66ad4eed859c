//! The servers of one registry: their addresses, what is shown to them, and one call to one of them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;

use super::body;
use super::settings::Settings;
use crate::config::Secret;
use crate::fetch::Client;
use crate::fetch::tls::{self, Problem, problem};
use crate::registry::Reread;
use crate::registry::trouble::{Trouble, base, success};

/// One for what is polled, the others for registrations.
const CONNECTIONS: usize = 8;
/// Some ten thousand instances fit; an endless answer does not.
const BODY: usize = 32 << 20;
/// The same, unpacked.
const UNPACKED: usize = 64 << 20;

/// Where they are and how they are asked.
pub(super) struct Servers {
    client: Client,
    list: Vec<Server>,
    /// Shown to servers without a user of their own.
    shown: Mutex<Option<HeaderValue>>,
    user: Option<String>,
    reread: Option<Reread>,
}

struct Server {
    /// Scheme, authority and path prefix, without a final slash and without a user.
    base: String,
    /// Of the user in its URL.
    own: Option<HeaderValue>,
}

impl Servers {
    pub(super) fn new(settings: &Settings) -> Result<Self, Problem> {
        let list =
            settings.urls.iter().map(|url| Server::read(url)).collect::<Result<Vec<_>, _>>()?;
        if list.is_empty() {
            return Err(problem("urls", "names no server"));
        }
        let on = list.iter().any(|server| server.base.starts_with("https:"));
        let tls = tls::Settings { on, ..settings.tls.clone() };
        let client = Client::new(&tls, CONNECTIONS, BODY)?;
        let (user, password) = (settings.username.clone(), settings.password.as_ref());
        let shown = match (&user, password) {
            (Some(user), Some(password)) => Some(credentials(user, password)?),
            (None, None) => None,
            (Some(_), None) => return Err(problem("username", "goes together with `password`")),
            (None, Some(_)) => return Err(problem("password", "goes together with `username`")),
        };
        let reread = settings.reread.clone();
        Ok(Self { client, list, shown: Mutex::new(shown), user, reread })
    }

    /// A server's address, for messages.
    pub(super) fn address(&self, server: usize) -> &str {
        self.list.get(server).map_or("", |server| &server.base)
    }

    /// One call to one server: its answer, whatever it says, but for a refusal of who asks.
    pub(super) async fn call(
        &self,
        server: usize,
        (method, path): (Method, &str),
        body: Bytes,
        within: Duration,
    ) -> Result<Response<Bytes>, Trouble> {
        let Some(server) = self.list.get(server) else {
            return Err(Trouble::Broken("there is no such server".into()));
        };
        let mut shown = self.shown_to(server);
        loop {
            let request = server.request((method.clone(), path), body.clone(), shown.clone())?;
            let answer = self.client.call(request, within).await;
            let answer = answer.map_err(|error| prefixed(&server.base, error.into()))?;
            if answer.status() != StatusCode::UNAUTHORIZED {
                return Ok(answer);
            }
            // The password may have been replaced in its file meanwhile.
            match self.reread(server, shown.as_ref()) {
                Some(fresh) => shown = Some(fresh),
                None => return Err(server.unauthorized(shown.is_some())),
            }
        }
    }

    /// The JSON that a server answers a question with.
    pub(super) fn json(&self, server: usize, answer: Response<Bytes>) -> Result<Bytes, Trouble> {
        let address = self.address(server);
        if answer.status() == StatusCode::NOT_FOUND {
            let why = "answers 404: is this Eureka's own address (most end in /eureka)?";
            return Err(Trouble::Refused(format!("{address} {why}")));
        }
        success(address, &answer)?;
        body::json(address, answer, UNPACKED)
    }

    /// Asks one server after the other, from `first` on, until one takes the call; which one, and its answer.
    pub(super) async fn any(
        &self,
        first: usize,
        what: (Method, &str),
        body: &Bytes,
        within: Duration,
    ) -> Result<(usize, Response<Bytes>), Trouble> {
        let mut troubles = Vec::new();
        for server in self.from(first) {
            match self.call(server, what.clone(), body.clone(), within).await {
                Ok(answer) if !answer.status().is_server_error() => return Ok((server, answer)),
                Ok(answer) => troubles.extend(success(self.address(server), &answer).err()),
                Err(trouble) => troubles.push(trouble),
            }
        }
        Err(sum(&troubles))
    }

    /// Every server once, `first` first.
    pub(super) fn from(&self, first: usize) -> impl Iterator<Item = usize> + use<> {
        let count = self.list.len();
        (0..count).map(move |step| (first + step) % count)
    }

    fn shown_to(&self, server: &Server) -> Option<HeaderValue> {
        let shared = || self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        server.own.clone().or_else(shared)
    }

    /// Another password than the one that was refused; kept for all that comes.
    fn reread(&self, server: &Server, refused: Option<&HeaderValue>) -> Option<HeaderValue> {
        let (user, reread) = (self.user.as_ref()?, self.reread.as_ref()?);
        let fresh = credentials(user, &reread()?).ok()?;
        if server.own.is_some() || Some(&fresh) == refused {
            return None;
        }
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(fresh.clone());
        Some(fresh)
    }
}

impl Server {
    /// `http(s)://[user:password@]host:port/path`. Nothing of what may be a password is in the problem.
    fn read(url: &str) -> Result<Self, Problem> {
        let url = url.trim();
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let Some((user, address)) = rest.rsplit_once('@') else {
            return Ok(Self { base: base("urls", &format!("{scheme}://{rest}"))?, own: None });
        };
        let own = from_url(user).map_err(|why| problem("urls", format!("`…@{address}`: {why}")))?;
        Ok(Self { base: base("urls", &format!("{scheme}://{address}"))?, own: Some(own) })
    }

    fn request(
        &self,
        (method, path): (Method, &str),
        body: Bytes,
        shown: Option<HeaderValue>,
    ) -> Result<Request<Full<Bytes>>, Trouble> {
        let target = format!("{}{path}", self.base);
        let mut request = Request::builder().method(method).uri(&target);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let mut request = request
            .header(ACCEPT, "application/json")
            .header(ACCEPT_ENCODING, "gzip")
            .body(Full::new(body))
            .map_err(|error| Trouble::Refused(format!("{target} is no address: {error}")))?;
        if let Some(shown) = shown {
            request.headers_mut().insert(AUTHORIZATION, shown);
        }
        Ok(request)
    }

    fn unauthorized(&self, shown: bool) -> Trouble {
        let what = if shown {
            "does not take this user and password: change them in `urls`, or in `username` and `password`"
        } else {
            "wants a user and a password: write `username` and `password`, or http://user:password@… in `urls`"
        };
        Trouble::Refused(format!("{} answers 401: it {what}", self.base))
    }
}

/// What several servers said in one: the blame is that which somebody can do most about.
pub(super) fn sum(troubles: &[Trouble]) -> Trouble {
    let why = troubles.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if troubles.iter().any(|trouble| matches!(trouble, Trouble::Refused(_))) {
        Trouble::Refused(why)
    } else if troubles.iter().any(|trouble| matches!(trouble, Trouble::Broken(_))) {
        Trouble::Broken(why)
    } else {
        Trouble::Away(why)
    }
}

fn prefixed(server: &str, trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Away(why) => Trouble::Away(format!("{server}: {why}")),
        Trouble::Refused(why) => Trouble::Refused(format!("{server}: {why}")),
        Trouble::Broken(why) => Trouble::Broken(format!("{server}: {why}")),
    }
}

/// RFC 7617 §2. A password read from a file ends in the file's newline.
fn credentials(user: &str, password: &Secret) -> Result<HeaderValue, Problem> {
    if user.contains(':') || user.chars().any(char::is_control) {
        return Err(problem("username", "holds characters that no user name has"));
    }
    let password = password.reveal().trim_end_matches(['\r', '\n']);
    if password.chars().any(char::is_control) {
        return Err(problem("password", "holds characters that no password has"));
    }
    let text = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let mut value = HeaderValue::from_str(&text).map_err(|error| problem("password", error))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Of `user:password`, percent-encoded where needed (RFC 3986 §3.2.1).
fn from_url(user: &str) -> Result<HeaderValue, &'static str> {
    if user.contains(['/', '?', '#', '@']) {
        return Err(
            "in a user's name and password, write `/` as %2F, `?` as %3F, `#` as %23, `@` as %40",
        );
    }
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let both = decoded(name).zip(decoded(password));
    let (name, password) = both.ok_or("its user or password is not percent-encoded text")?;
    credentials(&name, &Secret::new(password))
        .map_err(|_| "its user or password holds characters that none has")
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(rest.next()?).to_digit(16);
        match byte {
            b'%' => bytes.push(u8::try_from(digit()? * 16 + digit()?).ok()?),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        let server = Server::read(url).unwrap_or_else(|problem| panic!("{problem}"));
        let own = server.own.map(|own| {
            assert!(!format!("{own:?}").contains("Basic"), "it would be printed");
            let text = own.to_str().unwrap().strip_prefix("Basic ").unwrap().to_owned();
            String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
        });
        format!("{} {}", server.base, own.unwrap_or_default())
    }

    #[test]
    fn a_user_is_taken_from_the_url_and_decoded() {
        for (url, expected) in [
            ("http://127.0.0.1:8761/eureka/", "http://127.0.0.1:8761/eureka "),
            ("https://u:p@[::1]:8761/eureka", "https://[::1]:8761/eureka u:p"),
            ("u:p%40%2F%3a%C3%BC@a:1", "http://a:1 u:p@/:ü"),
            ("http://only@a:1", "http://a:1 only:"),
            ("http://u:a:b@a:1", "http://a:1 u:a:b"),
        ] {
            assert_eq!(shown(url), expected);
        }
    }

    #[test]
    fn what_is_no_url_is_a_problem_that_tells_no_password() {
        for url in [
            "ftp://u:sesame@a:1",
            "http://u:sesame/x@a:1",
            "http://u:sesame@x@a:1",
            "http://u:sesame%4@a:1",
            "http://u:sesame%ff@a:1",
            "http://u:sesame%07@a:1",
            "http://u:sesame@",
            "http://u:sesame@a b",
            "http://u:sesame@a?x",
            "http://u:sesame#@a:1",
        ] {
            let Err(found) = Server::read(url) else { panic!("{url} was taken") };
            assert!(found.key == "urls" && !found.to_string().contains("sesame"), "{found}");
        }
    }
}
