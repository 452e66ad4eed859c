//! The keys of an identity provider, fetched beside requests and kept while it is away.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::Full;
use serde::Deserialize;
use tokio::sync::{Notify, watch};

use super::jws::Algorithm;
use super::keys::Keys;
use crate::fetch::{Client, tls};
use crate::state;

/// Bytes of an answer.
const BODY: usize = 256 << 10;
/// Bound on one call.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long keys hold when the provider does not say, and what it may say.
const DEFAULT_AGE: Duration = Duration::from_mins(15);
const SHORTEST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_hours(24);
/// Between two fetches that tokens ask for.
const COOL: Duration = Duration::from_secs(10);
/// The first pause after a failure, and the longest: with keys, and without.
const FIRST: Duration = Duration::from_secs(1);
const WITH_KEYS: Duration = Duration::from_secs(60);
const WITHOUT: Duration = Duration::from_secs(10);
/// A provider that takes longer than this for the first answer may be away: the copy serves meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);
/// What the first line of a copy begins with. Another version is another format.
const OPENING: &str = "frontgate jwks 1 ";
/// Keys that are skipped with a line each; the others are counted.
const LINES: usize = 16;

/// How keys are fetched.
pub struct Settings {
    /// The scheme's name.
    pub name: Arc<str>,
    /// From where.
    pub origin: Origin,
    /// Whether they may come over http from afar.
    pub insecure: bool,
    /// What they are for.
    pub algorithms: Vec<Algorithm>,
    /// Asks for them.
    pub client: Client,
    /// Where they are kept over a restart.
    pub copy: Option<PathBuf>,
}

/// Where keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Here.
    Keys(Uri),
    /// Where this issuer says (OIDC Discovery 1.0 section 4).
    Discovery(Box<str>),
}

/// What is known of a provider's keys.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// None before the first ones came.
    pub keys: Option<Arc<Keys>>,
    /// How many fetches have ended, whatever came of them.
    pub ended: u64,
}

/// An identity provider.
pub struct Provider {
    settings: Settings,
    known: watch::Sender<Known>,
    wanted: Notify,
    busy: AtomicBool,
    /// Milliseconds from `base` to the beginning of the last fetch, and one; zero before the first.
    began: AtomicU64,
    base: Instant,
}

/// A client for one provider.
pub fn client(tls: &tls::Settings) -> Result<Client, tls::Problem> {
    Client::new(tls, 2, BODY)
}

/// A URL that keys may be fetched from; the error goes on behind the key's name.
pub fn address(url: &str, insecure: bool) -> Result<Uri, String> {
    let uri: Uri = url.parse().map_err(|_| "is no URL".to_owned())?;
    let host = uri.host().ok_or("needs https:// and a host")?;
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("cannot hold a user or a password".into());
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_near = bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if is_near || insecure => Ok(uri),
        Some("http") => Err("needs https://: whoever changes the keys on the way lets himself in; `insecure = true` takes that risk".into()),
        _ => Err("needs https://".into()),
    }
}

/// The issuer of a discovery URL, without a slash at its end.
pub fn issuer(url: &str) -> &str {
    url.trim_end_matches('/').trim_end_matches(WELL_KNOWN).trim_end_matches('/')
}

const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// What counts of an OIDC provider's document.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
}

/// An answer: the set as it came, and how long it holds.
type Fetched = (Bytes, Duration);

/// What a provider's loop remembers.
#[derive(Default)]
struct Life {
    failures: u32,
    /// Said in the log; none while all is well.
    trouble: Option<String>,
    /// The last good set.
    document: Option<Bytes>,
    copy_tried: bool,
}

impl Provider {
    /// One that was not asked yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            known: watch::Sender::default(),
            wanted: Notify::new(),
            busy: AtomicBool::new(false),
            began: AtomicU64::new(0),
            base: Instant::now(),
        }
    }

    /// What is known from now on. Looking whether it changed costs one atomic read.
    pub fn known(&self) -> watch::Receiver<Known> {
        self.known.subscribe()
    }

    /// Asks for another look, if the last one was not just now. Whether one is coming, or under way.
    pub fn look_again(&self) -> bool {
        if self.busy.load(Ordering::Acquire) {
            return true;
        }
        let may = self.may_ask();
        if may {
            self.wanted.notify_one();
        }
        may
    }

    fn may_ask(&self) -> bool {
        match self.began.load(Ordering::Acquire) {
            0 => true,
            began => self.now().saturating_sub(began) >= COOL.as_millis() as u64,
        }
    }

    fn now(&self) -> u64 {
        self.base.elapsed().as_millis() as u64 + 1
    }

    /// Fetches, for as long as it is polled.
    pub async fn run(self: Arc<Self>) {
        let mut life = Life::default();
        loop {
            let pause = self.round(&mut life).await;
            let due = tokio::time::Instant::now() + pause;
            loop {
                tokio::select! {
                    () = tokio::time::sleep_until(due) => break,
                    () = self.wanted.notified() => if self.may_ask() { break },
                }
            }
        }
    }

    /// One fetch; how long to rest after it.
    async fn round(&self, life: &mut Life) -> Duration {
        self.began.store(self.now(), Ordering::Release);
        self.busy.store(true, Ordering::Release);
        let fetched = self.first_or_next(life).await;
        let taken = match fetched {
            Ok((document, age)) => self.take(&document, life).await.map(|keys| (keys, age)),
            Err(why) => Err(why),
        };
        let (keys, pause) = match taken {
            Ok((keys, age)) => {
                if life.trouble.take().is_some() {
                    tracing::info!(auth = %self.settings.name, "the provider of keys answers again");
                }
                life.failures = 0;
                (keys, age.mul_f64(0.8 + fastrand::f64() * 0.15))
            }
            Err(why) => (self.recall(life), self.failed(why, life)),
        };
        // Whoever sees that it ended must also see that nothing is under way any more.
        self.busy.store(false, Ordering::Release);
        self.publish(keys, 1);
        pause
    }

    fn publish(&self, keys: Option<Arc<Keys>>, ended: u64) {
        self.known.send_modify(|known| {
            known.ended += ended;
            if keys.is_some() {
                known.keys = keys;
            }
            let count = known.keys.as_ref().map_or(0, |keys| keys.count());
            let auth = self.settings.name.to_string();
            metrics::gauge!("frontgate_auth_keys", "auth" => auth).set(count as f64);
        });
    }

    fn failed(&self, why: String, life: &mut Life) -> Duration {
        let auth = self.settings.name.to_string();
        metrics::counter!("frontgate_auth_key_fetch_failures_total", "auth" => auth).increment(1);
        let has_keys = life.document.is_some();
        if life.trouble.as_deref() != Some(&why) {
            let then = if has_keys { "the old ones serve" } else { "no token can be checked" };
            tracing::warn!(auth = %self.settings.name, why, "no keys from their provider: {then}");
            life.trouble = Some(why);
        }
        let longest = if has_keys { WITH_KEYS } else { WITHOUT };
        let pause = FIRST.saturating_mul(1 << life.failures.min(16)).min(longest);
        life.failures = life.failures.saturating_add(1);
        pause.mul_f64(0.9 + fastrand::f64() * 0.4)
    }

    async fn first_or_next(&self, life: &mut Life) -> Result<Fetched, String> {
        let fetch = self.fetch();
        if life.copy_tried || life.document.is_some() {
            return fetch.await;
        }
        let mut fetch = std::pin::pin!(fetch);
        match tokio::time::timeout(PATIENCE, &mut fetch).await {
            Ok(fetched) => fetched,
            Err(_) => {
                if let Some(keys) = self.recall(life) {
                    self.publish(Some(keys), 0);
                }
                fetch.await
            }
        }
    }

    async fn fetch(&self) -> Result<Fetched, String> {
        let uri = match &self.settings.origin {
            Origin::Keys(uri) => uri.clone(),
            Origin::Discovery(issuer) => self.discover(issuer).await?,
        };
        let (headers, body) = self.get(&uri).await?;
        Ok((body, age(&headers)))
    }

    async fn discover(&self, issuer: &str) -> Result<Uri, String> {
        let uri = format!("{issuer}{WELL_KNOWN}").parse().map_err(|_| "no URL".to_owned())?;
        let (_, body) = self.get(&uri).await?;
        let document: Document = serde_json::from_slice(&body)
            .map_err(|error| format!("{uri} is no OpenID document: {error}"))?;
        if document.issuer.trim_end_matches('/') != issuer {
            // OIDC Discovery 1.0 section 4.3: they must be the same.
            return Err(format!("{uri} is of the issuer {:?}", document.issuer));
        }
        address(&document.jwks_uri, self.settings.insecure)
            .map_err(|why| format!("its jwks_uri {:?} {why}", document.jwks_uri))
    }

    async fn get(&self, uri: &Uri) -> Result<(HeaderMap, Bytes), String> {
        let request = Request::get(uri).header(ACCEPT, "application/json").body(Full::default());
        let request = request.map_err(|error| error.to_string())?;
        let answer = self.settings.client.call(request, TIMEOUT).await;
        let answer = answer.map_err(|error| format!("{uri}: {error}"))?;
        match answer.status() {
            StatusCode::OK => {
                let (head, body) = answer.into_parts();
                Ok((head.headers, body))
            }
            other if other.is_redirection() => {
                Err(format!("{uri}: {other}, and redirects are not followed"))
            }
            other => Err(format!("{uri}: {other}")),
        }
    }

    /// The keys of a set, if it is not the one before; kept for the next start.
    async fn take(&self, document: &Bytes, life: &mut Life) -> Result<Option<Arc<Keys>>, String> {
        if life.document.as_ref() == Some(document) {
            self.keep(None).await;
            return Ok(None);
        }
        let keys = self.read(document)?;
        tracing::info!(auth = %self.settings.name, keys = keys.count(), "the provider's keys are known");
        life.document = Some(document.clone());
        self.keep(Some(document)).await;
        Ok(Some(keys))
    }

    fn read(&self, document: &[u8]) -> Result<Arc<Keys>, String> {
        let text = std::str::from_utf8(document).map_err(|_| "the set of keys is not UTF-8")?;
        let (keys, skipped) = Keys::set(text, &self.settings.algorithms)?;
        let name = &self.settings.name;
        for why in skipped.iter().take(LINES) {
            tracing::warn!(auth = %name, why, "a key of the provider is not used");
        }
        if let Some(more @ 1..) = skipped.len().checked_sub(LINES) {
            tracing::warn!(auth = %name, more, "further keys of the provider are not used");
        }
        Ok(Arc::new(keys))
    }

    /// Whose keys a copy holds: those of another provider are none.
    fn owner(&self) -> String {
        match &self.settings.origin {
            Origin::Keys(uri) => format!("jwks {uri}\n"),
            Origin::Discovery(issuer) => format!("discovery {issuer}\n"),
        }
    }

    /// Writes a copy; without a document only says that the one there is still true.
    async fn keep(&self, document: Option<&Bytes>) {
        let Some(path) = self.settings.copy.clone() else { return };
        let body = document.map(|document| [self.owner().as_bytes(), document].concat());
        let written = tokio::task::spawn_blocking(move || match body {
            Some(body) => state::write(&path, OPENING, &body),
            None => state::touch(&path),
        });
        if let Ok(Err(error)) = written.await {
            let (name, why) = (&self.settings.name, error.to_string());
            tracing::warn!(auth = %name, why, "the keys cannot be kept for the next start");
        }
    }

    /// What was kept at an earlier run, the first time it is needed.
    fn recall(&self, life: &mut Life) -> Option<Arc<Keys>> {
        if life.document.is_some() || std::mem::replace(&mut life.copy_tried, true) {
            return None;
        }
        let name = &self.settings.name;
        let path = self.settings.copy.as_ref()?;
        let recalled = state::read(path, OPENING, BODY as u64 + 4096).and_then(|kept| {
            let Some(kept) = kept else { return Ok(None) };
            let Some(document) = kept.body.strip_prefix(self.owner().as_bytes()) else {
                return Err("it is of another provider".to_owned());
            };
            let keys = self.read(document)?;
            let age = SystemTime::now().duration_since(kept.modified).unwrap_or_default();
            Ok(Some((keys, Bytes::copy_from_slice(document), age.as_secs())))
        });
        match recalled {
            Ok(None) => None,
            Ok(Some((keys, document, age))) => {
                tracing::warn!(auth = %name, keys = keys.count(), age_seconds = age, "the provider does not answer: the keys of an earlier run serve");
                life.document = Some(document);
                Some(keys)
            }
            Err(why) => {
                tracing::warn!(auth = %name, why, "the keys of an earlier run cannot be used");
                None
            }
        }
    }
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider")
            .field("name", &self.settings.name)
            .field("origin", &self.settings.origin)
            .finish_non_exhaustive()
    }
}

/// How long an answer holds (RFC 9111 section 5.2.2.1).
fn age(headers: &HeaderMap) -> Duration {
    let directives = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let seconds = directives.flat_map(|value| value.split(',')).find_map(|directive| {
        let (name, value) = directive.trim().split_once('=')?;
        let is_age = name.eq_ignore_ascii_case("max-age");
        is_age.then(|| value.trim_matches('"').parse().ok()).flatten()
    });
    seconds.map_or(DEFAULT_AGE, |seconds| Duration::from_secs(seconds).clamp(SHORTEST, LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_https_or_from_near() {
        for (url, insecure) in [
            ("https://idp/keys", false),
            ("http://127.0.0.1:9/keys", false),
            ("http://[::1]/keys", false),
            ("http://LOCALHOST:80", false),
            ("http://idp/keys", true),
        ] {
            assert!(address(url, insecure).is_ok(), "{url}");
        }
        for (url, why) in [
            ("http://idp/keys", "needs https://:"),
            ("http://127.0.0.1.example.com", "needs https://:"),
            ("ftp://idp", "needs https://"),
            ("idp/keys", "is no URL"),
            ("/keys", "needs https:// and a host"),
            ("https://user:pass@idp", "a user or a password"),
            ("", "is no URL"),
        ] {
            let said = address(url, false).expect_err(url);
            assert!(said.starts_with(why) || said.contains(why), "{url}: {said}");
        }
        assert_eq!(issuer("https://idp/"), "https://idp");
        assert_eq!(issuer("https://idp/x/.well-known/openid-configuration"), "https://idp/x");
    }

    #[test]
    fn how_long_keys_hold_is_bounded() {
        let said = |value: &str| {
            let headers = [(CACHE_CONTROL, value.parse().unwrap())].into_iter().collect();
            age(&headers).as_secs()
        };
        assert_eq!(said("public, max-age=3600"), 3600);
        assert_eq!(said("Max-Age=\"60\""), 60);
        assert_eq!(said("max-age=0"), 30);
        assert_eq!(said("max-age=99999999"), 86_400);
        assert_eq!(said("no-cache"), 900);
        assert_eq!(said("max-age=-1"), 900);
        assert_eq!(said("s-maxage=60, max-age=99999999999999999999999"), 900);
        assert_eq!(age(&HeaderMap::new()), DEFAULT_AGE);
    }
}
