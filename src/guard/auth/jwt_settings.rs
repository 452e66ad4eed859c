//! `[auth.<name>]` of kind `jwt`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Uri};

use super::claims::Rules;
use super::jwks::{self, Origin, Provider};
use super::jws::{Algorithm, Family};
use super::keys::Keys;
use super::ours::is_ours;
use super::{Setting, spot};
use crate::config::{Key, Table};
use crate::exchange::Spot;
use crate::fetch::tls;

/// How far clocks may differ when the table does not say.
const LEEWAY: Duration = Duration::from_secs(30);
/// Where keys come from; one of them.
const SOURCES: [&str; 4] = ["jwks", "discovery", "secret", "public_key"];

/// Its keys.
pub(super) const KEYS: &[Key] = &tls::and::<14, 19>([
    Key::new("jwks", "string", "", "URL of the keys; https unless loopback or `insecure`"),
    Key::new("discovery", "string", "", "URL of an OpenID provider, which names its keys"),
    Key::new("secret", "secret", "", "for HS256, HS384, HS512"),
    Key::new("public_key", "path", "", "PEM file with -----BEGIN PUBLIC KEY-----"),
    Key::new("algorithms", "list of strings", "", "taken; needed with secret and public_key"),
    Key::new("issuer", "string or list", "", "iss, any of them; default with discovery: its URL"),
    Key::new("audience", "string or list", "", "aud, any of them"),
    Key::new("leeway", "duration", "\"30s\"", "how far clocks may differ"),
    Key::new(
        "claims",
        "claims by name",
        "",
        "what must be in a claim: a string or a list, all of it",
    ),
    Key::new("forward", "headers by claim", "", "what the upstream is told of the caller"),
    Key::new(
        "from",
        "list of strings",
        "[\"header:authorization\"]",
        "where a token may stand: header:…, cookie:…, query:…; two that differ are refused",
    ),
    Key::new("strip", "boolean", "false", "whether the upstream does not see the token"),
    Key::new("insecure", "boolean", "false", "whether keys may come over http from afar"),
    Key::new("realm", "string", "", "told to a client that is refused"),
]);

/// What a scheme is to do.
pub struct Settings {
    /// The table's name.
    pub name: Arc<str>,
    /// Where keys come from.
    pub source: Source,
    /// How tokens may be signed; at least one.
    pub algorithms: Vec<Algorithm>,
    /// What their claims must say.
    pub rules: Rules,
    /// Where tokens stand; at least one.
    pub from: Vec<Spot>,
    /// Whether the upstream does not see the token.
    pub strip: bool,
    /// Told to a client that is refused.
    pub realm: Option<String>,
}

/// Where keys come from.
pub enum Source {
    /// They are written.
    Fixed {
        /// All there are.
        keys: Arc<Keys>,
        /// A secret is shorter than its hash (RFC 7518 section 3.2).
        is_short: bool,
    },
    /// They are fetched.
    Fetched(Arc<Provider>),
}

impl Settings {
    /// Reads the table; none when keys or algorithms are missing, which is reported.
    pub fn read(setting: Setting<'_>, table: &mut Table<'_>) -> Option<Self> {
        let source = source(table);
        let algorithms = algorithms(source, table);
        let mut rules = rules(table);
        if let Some(url) = table.text("discovery").filter(|_| rules.issuers.is_empty()) {
            // The slash at its end is a matter of taste, and the document itself must name the same issuer.
            let bare = jwks::issuer(&url);
            rules.issuers = vec![bare.to_owned(), format!("{bare}/")];
        }
        let (from, strip) = (from(table), table.flag("strip").unwrap_or(false));
        let realm = realm(table);
        // Also when something else is wrong, so that all problems are reported at once.
        let source = keys(source, setting, &algorithms, table);
        let (source, name) = (source?, setting.name.into());
        Some(Self { name, source, algorithms, rules, from, strip, realm })
            .filter(|read| !read.algorithms.is_empty() && !read.from.is_empty())
    }
}

impl Settings {
    /// What a client whose token does not allow enough should ask its issuer for (RFC 6750 section 3); none where it
    /// could not be told so.
    pub fn scope(&self) -> Option<String> {
        let is_scope =
            |(name, _): &&(String, Vec<String>)| matches!(name.as_str(), "scope" | "scp");
        let words: Vec<_> = self.rules.required.iter().filter(is_scope).collect();
        let scope = words.iter().flat_map(|(_, words)| words.clone()).collect::<Vec<_>>().join(" ");
        let is_plain =
            scope.bytes().all(|byte| matches!(byte, b' '..=b'~') && !b"\"\\".contains(&byte));
        (is_plain && !scope.is_empty()).then_some(scope)
    }
}

fn source(table: &mut Table<'_>) -> Option<&'static str> {
    let written: Vec<_> = SOURCES.into_iter().filter(|key| table.has(key)).collect();
    match *written.as_slice() {
        [] => {
            let hint = "`jwks` or `discovery` (URLs), `secret`, or `public_key` (a PEM file)";
            table.problem("", "a token needs keys to be checked with", hint);
            None
        }
        [one] => Some(one),
        [first, second, ..] => {
            let message = format!("`{first}` and `{second}` are two sources of keys");
            table.problem(
                second,
                message,
                "a route may name several [auth.…], any of which lets in",
            );
            Some(first)
        }
    }
}

fn algorithms(source: Option<&str>, table: &mut Table<'_>) -> Vec<Algorithm> {
    let is_secret = source == Some("secret");
    let all = Algorithm::ALL.into_iter();
    let fits = |one: Algorithm| (one.family() == Family::Secret) == is_secret;
    let known: Vec<_> = all.filter(|(_, one)| fits(*one)).collect();
    let names = known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if !table.has("algorithms") {
        if let Some(key @ ("secret" | "public_key")) = source {
            let like = if is_secret { "[\"HS256\"]" } else { "[\"RS256\"]" };
            table.problem("", format!("`{key}` needs `algorithms`"), format!("like {like}"));
        }
        return known.into_iter().map(|(_, one)| one).collect();
    }
    let mut algorithms = Vec::new();
    for name in table.strings("algorithms").unwrap_or_default() {
        match Algorithm::named(&name) {
            Some(one) if source.is_some() && !fits(one) => {
                let (key, kind) = (source.unwrap_or_default(), "the algorithm");
                let message = format!("{kind} {name} does not go with `{key}`");
                table.problem("algorithms", message, format!("known here: {names}"));
            }
            Some(one) => algorithms.push(one),
            None if name.eq_ignore_ascii_case("none") => {
                let message = "a token that is not signed proves nothing";
                table.problem("algorithms", message, format!("known here: {names}"));
            }
            None => {
                let message = format!("no algorithm is called {name:?}");
                table.problem("algorithms", message, format!("known here: {names}"));
            }
        }
    }
    if algorithms.is_empty() && table.strings("algorithms").is_some_and(|list| list.is_empty()) {
        table.problem("algorithms", "`algorithms` is empty", format!("known here: {names}"));
    }
    algorithms
}

fn keys(
    source: Option<&str>,
    setting: Setting<'_>,
    algorithms: &[Algorithm],
    table: &mut Table<'_>,
) -> Option<Source> {
    match source? {
        "secret" => {
            let secret = table.secret("secret")?;
            let bytes = secret.reveal().as_bytes();
            let keys = Arc::new(Keys::secret(bytes, algorithms));
            Some(Source::Fixed { keys, is_short: bytes.len() < 32 })
        }
        "public_key" => match Keys::pem(&table.contents("public_key")?, algorithms) {
            Ok(keys) => Some(Source::Fixed { keys: Arc::new(keys), is_short: false }),
            Err(unusable) => {
                let message = format!("`public_key`: {}", unusable.message);
                table.problem("public_key", message, unusable.hint.map(str::to_owned));
                None
            }
        },
        key => {
            let settings = fetched(key, setting, algorithms, table)?;
            Some(Source::Fetched(Arc::new(Provider::new(settings))))
        }
    }
}

fn fetched(
    key: &str,
    setting: Setting<'_>,
    algorithms: &[Algorithm],
    table: &mut Table<'_>,
) -> Option<jwks::Settings> {
    let insecure = table.flag("insecure").unwrap_or(false);
    let url = table.text(key)?;
    let address = match jwks::address(&url, insecure) {
        Ok(address) => address,
        Err(why) => {
            table.problem(key, format!("`{key}` {why}"), None::<String>);
            return None;
        }
    };
    let is_https = address.scheme_str() == Some("https");
    let tls = tls::Settings { on: is_https, ..tls::Settings::read(table) };
    let client = match jwks::client(&tls) {
        Ok(client) => client,
        Err(problem) => {
            table.problem(problem.key, problem.to_string(), None::<String>);
            return None;
        }
    };
    Some(jwks::Settings {
        name: setting.name.into(),
        origin: origin(key, &url, address),
        insecure,
        algorithms: algorithms.to_vec(),
        client,
        copy: setting.state.map(|folder| folder.join(file_name(setting.name))),
    })
}

fn origin(key: &str, url: &str, address: Uri) -> Origin {
    match key {
        "discovery" => Origin::Discovery(jwks::issuer(url).into()),
        _ => Origin::Keys(address),
    }
}

/// A name is the operator's own, and no path.
fn file_name(name: &str) -> PathBuf {
    let plain = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02x}"),
    };
    PathBuf::from(format!("jwks-{}", name.bytes().map(plain).collect::<String>()))
}

fn rules(table: &mut Table<'_>) -> Rules {
    Rules {
        issuers: some(table, "issuer"),
        audiences: some(table, "audience"),
        leeway: table.duration("leeway").unwrap_or(LEEWAY),
        required: required(table),
        forward: forward(table),
    }
}

/// An empty list would let everybody in or nobody.
fn some(table: &mut Table<'_>, key: &str) -> Vec<String> {
    let written = table.one_or_more(key).unwrap_or_default();
    if table.has(key) && (written.iter().any(String::is_empty) || nothing(table, key)) {
        table.problem(key, format!("`{key}` names nobody"), "leave it out to take any");
    }
    written
}

fn nothing(table: &mut Table<'_>, key: &str) -> bool {
    table.one_or_more(key).is_some_and(|list| list.is_empty())
}

fn required(table: &mut Table<'_>) -> Vec<(String, Vec<String>)> {
    let Some(mut claims) = table.table("claims") else { return Vec::new() };
    let mut required = Vec::new();
    for name in claims.written() {
        let words = claims.words(&name).unwrap_or_default();
        if words.is_empty() {
            let hint = "like { scope = [\"orders:read\"] }";
            claims.problem(&name, format!("nothing is asked of the claim {name:?}"), hint);
        }
        required.push((name, words));
    }
    required
}

fn forward(table: &mut Table<'_>) -> Vec<(String, HeaderName)> {
    let Some(mut written) = table.table("forward") else { return Vec::new() };
    let mut forward: Vec<(String, HeaderName)> = Vec::new();
    for claim in written.written() {
        let Some(text) = written.text(&claim) else { continue };
        let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
            written.problem(&claim, format!("{text:?} cannot be a header's name"), None::<String>);
            continue;
        };
        if is_ours(&name) {
            let message = format!("`{name}` is written by the gateway itself");
            written.problem(&claim, message, "like \"x-user\"");
        } else if forward.iter().any(|(_, known)| *known == name) {
            let message = format!("`{name}` stands here twice");
            written.problem(&claim, message, "each claim needs a header of its own");
        }
        forward.push((claim, name));
    }
    forward
}

fn from(table: &mut Table<'_>) -> Vec<Spot> {
    if !table.has("from") {
        return vec![Spot::Header(http::header::AUTHORIZATION)];
    }
    let Some(written) = table.one_or_more("from") else { return Vec::new() };
    if written.is_empty() {
        table.problem("from", "`from` is empty: no token would be found", spot::LIKE);
    }
    let mut from = Vec::new();
    for text in written {
        match spot::parse(&text) {
            Some(spot) if from.contains(&spot) => {
                table.problem("from", format!("{text:?} stands here twice"), None::<String>);
            }
            Some(spot) => from.push(spot),
            None => table.problem("from", format!("{text:?} is no place of a token"), spot::LIKE),
        }
    }
    from
}

fn realm(table: &mut Table<'_>) -> Option<String> {
    let realm = table.text("realm")?;
    let is_plain =
        realm.bytes().all(|byte| matches!(byte, b' '..=b'~') && !b"\"\\".contains(&byte));
    if !is_plain {
        table.problem("realm", "`realm` must be visible ASCII without quotes", None::<String>);
    }
    Some(realm)
}
