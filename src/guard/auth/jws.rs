//! A signed token in its compact form (RFC 7515 section 3.1), taken apart strictly: nothing here trusts what it says.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

/// Bytes of a whole token. Request heads end near there anyhow.
const LONGEST: usize = 16 << 10;
/// Bytes of a header, encoded.
const LONGEST_HEADER: usize = 4 << 10;
/// Names in a header: those of RFC 7515 are eleven.
const NAMES: usize = 32;

/// How a token may be signed (RFC 7518 section 3.1, RFC 8037). `none` is not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

/// What kind of key an algorithm needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A secret both sides know.
    Secret,
    /// RSA.
    Rsa,
    /// The curve P-256.
    P256,
    /// The curve P-384.
    P384,
    /// The curve of Ed25519.
    Ed25519,
}

impl Algorithm {
    /// Each with its name, which is compared with its case.
    pub const ALL: [(&'static str, Self); 12] = [
        ("HS256", Self::Hs256),
        ("HS384", Self::Hs384),
        ("HS512", Self::Hs512),
        ("RS256", Self::Rs256),
        ("RS384", Self::Rs384),
        ("RS512", Self::Rs512),
        ("PS256", Self::Ps256),
        ("PS384", Self::Ps384),
        ("PS512", Self::Ps512),
        ("ES256", Self::Es256),
        ("ES384", Self::Es384),
        ("EdDSA", Self::EdDsa),
    ];

    /// None for every other name, `none` among them.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, algorithm)| algorithm)
    }

    /// As tokens and configs write it.
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, one)| *one == self).map_or("", |(name, _)| name)
    }

    /// What kind of key it needs.
    pub fn family(self) -> Family {
        match self {
            Self::Hs256 | Self::Hs384 | Self::Hs512 => Family::Secret,
            Self::Rs256 | Self::Rs384 | Self::Rs512 => Family::Rsa,
            Self::Ps256 | Self::Ps384 | Self::Ps512 => Family::Rsa,
            Self::Es256 => Family::P256,
            Self::Es384 => Family::P384,
            Self::EdDsa => Family::Ed25519,
        }
    }
}

/// What is wrong with a token: a line for the client, and one for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Without quotes and backslashes; tells nothing that is not in the token.
    pub description: &'static str,
    /// Exactly.
    pub reason: Cow<'static, str>,
}

impl Flaw {
    /// One that is told alike to both.
    pub fn plain(description: &'static str) -> Self {
        Self { description, reason: Cow::Borrowed(description) }
    }

    /// One whose reason says more.
    pub fn because(description: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { description, reason: reason.into() }
    }
}

/// A token taken apart. Only its header was read.
#[derive(Debug)]
pub struct Jws<'a> {
    /// What its signature is said to be of.
    pub signed: &'a str,
    /// What it says how it is signed.
    pub algorithm: Algorithm,
    /// The name of a key, which only looks one up.
    pub kid: Option<Box<str>>,
    payload: &'a str,
    signature: &'a str,
}

const MALFORMED: &str = "the token is malformed";

fn malformed(reason: impl Into<Cow<'static, str>>) -> Flaw {
    Flaw::because(MALFORMED, reason)
}

impl<'a> Jws<'a> {
    /// Takes a token apart and reads its header.
    pub fn parse(token: &'a str) -> Result<Self, Flaw> {
        if token.len() > LONGEST {
            return Err(Flaw::plain("the token is longer than 16 KiB"));
        }
        let mut dots = memchr::memchr_iter(b'.', token.as_bytes());
        let (Some(first), Some(second)) = (dots.next(), dots.next()) else {
            return Err(malformed("it has fewer than three parts"));
        };
        match dots.count() {
            0 => {}
            2 => return Err(malformed("it has five parts: an encrypted token (JWE)")),
            _ => return Err(malformed("it has more than three parts")),
        }
        let header = &token[..first];
        if header.len() > LONGEST_HEADER {
            return Err(malformed("its header is longer than 4 KiB"));
        }
        let text = decoded(header, "header")?;
        let text = text_of(&text, "header")?;
        let header: Header<'_> =
            serde_json::from_str(text).map_err(|e| malformed(format!("its header: {e}")))?;
        header.check()?;
        Ok(Self {
            signed: &token[..second],
            algorithm: header.algorithm()?,
            kid: header.kid.map(|kid| kid.0.into()),
            payload: &token[first + 1..second],
            signature: &token[second + 1..],
        })
    }

    /// Its signature.
    pub fn signature(&self) -> Result<Vec<u8>, Flaw> {
        decoded(self.signature, "signature")
    }

    /// What it says, to be read only once the signature was found good.
    pub fn payload(&self) -> Result<Vec<u8>, Flaw> {
        decoded(self.payload, "payload")
    }
}

/// Without padding, and without bits that would be lost (RFC 7515 section 2, RFC 4648 section 3.5): each text has one
/// form only.
fn decoded(part: &str, what: &str) -> Result<Vec<u8>, Flaw> {
    URL_SAFE_NO_PAD.decode(part).map_err(|e| malformed(format!("its {what} is not base64url: {e}")))
}

/// JSON that is skipped is not looked at for this.
pub fn text_of<'a>(bytes: &'a [u8], what: &str) -> Result<&'a str, Flaw> {
    std::str::from_utf8(bytes).map_err(|_| malformed(format!("its {what} is not UTF-8")))
}

/// A string of a document, in place where it has no escapes.
#[derive(Debug, Deserialize)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// What counts of a header. Keys it brings along (`jwk`, `jku`, `x5u`, `x5c`) are nothing to us.
#[derive(Debug, Default)]
struct Header<'a> {
    algorithm: Option<Text<'a>>,
    kid: Option<Text<'a>>,
    kind: Option<Text<'a>>,
    content: Option<Text<'a>>,
    encoded: Option<bool>,
    critical: bool,
    encrypted: bool,
}

impl Header<'_> {
    fn algorithm(&self) -> Result<Algorithm, Flaw> {
        const DESCRIPTION: &str = "the token's algorithm is not accepted";
        let Some(Text(name)) = &self.algorithm else {
            return Err(malformed("its header has no alg"));
        };
        Algorithm::named(name)
            .ok_or_else(|| Flaw::because(DESCRIPTION, format!("alg {}", shown(name))))
    }

    fn check(&self) -> Result<(), Flaw> {
        if self.critical {
            // Section 4.1.11: who does not know all that is critical must refuse, and we know nothing of it.
            return Err(Flaw::plain("the token has critical extensions, which are not known here"));
        }
        if self.encoded == Some(false) {
            return Err(Flaw::plain("the token's payload is not encoded"));
        }
        let named = |text: &Option<Text<'_>>, name: &str| {
            text.as_ref().is_some_and(|Text(text)| bare(text).eq_ignore_ascii_case(name))
        };
        if self.encrypted || named(&self.kind, "JWE") {
            return Err(malformed("an encrypted token (JWE)"));
        }
        if self.content.is_some() {
            // RFC 7519 section 5.2: it says that claims are wrapped in something else.
            return Err(malformed("it has cty: a token within a token"));
        }
        // RFC 8725 section 3.11: a logout token of the same issuer lets nobody in.
        let known = ["JWT", "JOSE", "at+jwt"].into_iter().any(|known| named(&self.kind, known));
        match &self.kind {
            Some(Text(other)) if !known => Err(Flaw::because(
                "the token is of a type that lets nobody in",
                format!("typ {}", shown(other)),
            )),
            Some(_) | None => Ok(()),
        }
    }
}

/// RFC 7515 section 4.1.9: `application/` may be left out.
fn bare(kind: &str) -> &str {
    match kind.split_at_checked("application/".len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
        _ => kind,
    }
}

/// What a token says, for the log: not all of it when it is long.
pub fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(64).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

impl<'de: 'a, 'a> Deserialize<'de> for Header<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

/// Reads a header; a derived reader would take a name twice that it does not know.
struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Header<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header<'de>, A::Error> {
        let mut header = Header::default();
        let mut seen = Names::new(NAMES);
        while let Some(Text(name)) = map.next_key::<Text<'de>>()? {
            match &*name {
                "alg" => header.algorithm = Some(map.next_value()?),
                "kid" => header.kid = Some(map.next_value()?),
                "typ" => header.kind = Some(map.next_value()?),
                "cty" => header.content = Some(map.next_value()?),
                "b64" => header.encoded = Some(map.next_value()?),
                other => {
                    header.critical |= other == "crit";
                    header.encrypted |= other == "enc";
                    map.next_value::<IgnoredAny>()?;
                }
            }
            seen.add(name).map_err(A::Error::custom)?;
        }
        Ok(header)
    }
}

/// The names of an object so far: each may come once (RFC 7515 section 4, RFC 7519 section 4).
#[derive(Debug)]
pub struct Names<'a> {
    seen: Vec<Cow<'a, str>>,
    most: usize,
}

impl<'a> Names<'a> {
    /// None, and never more than this, as each is compared with all others.
    pub fn new(most: usize) -> Self {
        Self { seen: Vec::with_capacity(16), most }
    }

    /// One more; the error says what is wrong with that.
    pub fn add(&mut self, name: Cow<'a, str>) -> Result<(), String> {
        if self.seen.contains(&name) {
            return Err(format!("{} stands there twice", shown(&name)));
        }
        if self.seen.len() == self.most {
            return Err("too many names".to_owned());
        }
        self.seen.push(name);
        Ok(())
    }

    /// In their order.
    pub fn into_names(self) -> Vec<Cow<'a, str>> {
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str) -> String {
        format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(header))
    }

    fn flaw(header: &str) -> String {
        match Jws::parse(&token(header)) {
            Ok(jws) => panic!("{header} is taken as {jws:?}"),
            Err(flaw) => format!("{}: {}", flaw.description, flaw.reason),
        }
    }

    #[test]
    fn a_token_is_taken_apart() {
        let text = token(r#"{"typ":"JWT","alg":"RS256","kid":"a\u0062c","x5c":[1],"jwk":{"k":1}}"#);
        let jws = Jws::parse(&text).unwrap();
        assert_eq!((jws.algorithm, jws.kid.as_deref()), (Algorithm::Rs256, Some("abc")));
        assert_eq!(
            (&*jws.signature().unwrap(), &*jws.payload().unwrap()),
            (&b"sig"[..], &b"{}"[..])
        );
        assert_eq!(jws.signed, text.strip_suffix(".c2ln").unwrap());
        for kind in ["jwt", "JOSE", "at+jwt", "application/at+JWT"] {
            Jws::parse(&token(&format!(r#"{{"alg":"RS256","typ":"{kind}"}}"#))).unwrap();
        }
        for (name, algorithm) in Algorithm::ALL {
            assert_eq!((Algorithm::named(name), algorithm.name()), (Some(algorithm), name));
        }
    }

    #[test]
    fn a_header_that_could_be_read_in_two_ways_is_not_read() {
        for (header, why) in [
            (r#"{"alg":"RS256","alg":"RS256"}"#, "twice"),
            (r#"{"alg":"RS256","\u0061lg":"none"}"#, "twice"),
            (r#"{"alg":"RS256","x":1,"x":2}"#, "twice"),
            (r#"{"alg":"RS256"} "x""#, "trailing"),
            (r#"["RS256"]"#, "expected an object"),
            (r#"{"alg":["RS256"]}"#, "invalid type"),
            (r#"{"alg":null}"#, "invalid type"),
            (r#"{"alg":"RS256","kid":7}"#, "invalid type"),
            (r#"{"alg":"RS256",}"#, "trailing comma"),
            ("{\"alg\":\"RS256\",\"x\":\"\u{1}\"}", "its header"),
            ("{}", "no alg"),
            ("", "EOF"),
            ("\u{feff}{\"alg\":\"RS256\"}", "its header"),
        ] {
            let flaw = flaw(header);
            assert!(flaw.starts_with("the token is malformed") && flaw.contains(why), "{flaw}");
        }
        let many: String = (0..40).map(|n| format!(",\"n{n}\":0")).collect();
        assert!(flaw(&format!(r#"{{"alg":"RS256"{many}}}"#)).contains("too many names"));
        let text =
            format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(b"{\"alg\":\"RS256\",\"x\":\"\xff\"}"));
        assert!(Jws::parse(&text).unwrap_err().reason.contains("not UTF-8"));
    }

    #[test]
    fn only_one_spelling_of_each_part_is_taken() {
        let good = token(r#"{"alg":"RS256"}"#);
        let header = good.split('.').next().unwrap();
        for (text, why) in [
            (format!("{header}=.e30.c2ln"), "base64url"),
            (format!("{header} .e30.c2ln"), "base64url"),
            (format!(" {good}"), "base64url"),
            (good.replacen("ey", "e+", 1), "base64url"),
            (format!("{header}.e30"), "fewer than three"),
            (String::new(), "fewer than three"),
            (format!("{good}."), "more than three"),
            (format!("{good}.a.b"), "JWE"),
            (format!("{good}.a.b.c"), "more than three"),
            ("..".to_owned(), "its header"),
        ] {
            let flaw = Jws::parse(&text).expect_err(&text);
            assert!(flaw.reason.contains(why), "{text}: {}", flaw.reason);
        }
        // The last character of a part holds bits that would be lost.
        assert!(Jws::parse(&format!("{header}.e31.c2ln")).unwrap().payload().is_err());
        assert!(Jws::parse(&format!("{header}.e30=.c2ln")).unwrap().payload().is_err());
        assert!(Jws::parse(&format!("{header}.e30.c2l=")).unwrap().signature().is_err());
    }

    #[test]
    fn a_huge_token_is_not_looked_into() {
        let long = format!("{}.e30.c2ln", "a".repeat(LONGEST_HEADER + 1));
        assert!(Jws::parse(&long).unwrap_err().reason.contains("4 KiB"));
        let long = format!("e30.{}.c2ln", "a".repeat(LONGEST));
        assert_eq!(Jws::parse(&long).unwrap_err().description, "the token is longer than 16 KiB");
    }
}
