//! Keys that signatures are checked with, each parsed once: a secret, a PEM file, a set of JWKs (RFC 7517).

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{self as public, ParsedPublicKey, RsaParameters};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::jwk::{Jwk, modulus};
use super::jws::{Algorithm, Family};

/// Keys of a set that are used; a set is some kilobytes, and each key some checks.
const MOST: usize = 64;
/// Keys that are tried on one token.
const TRIES: usize = 4;

/// Keys, and what each may check.
pub struct Keys {
    all: Vec<Key>,
    /// Whether a token's `kid` says which.
    named: bool,
}

struct Key {
    kid: Option<Box<str>>,
    checks: Vec<(Algorithm, Check)>,
}

/// A key for one algorithm.
pub enum Check {
    /// A secret.
    Secret(Box<hmac::Key>),
    /// A public key.
    Public(ParsedPublicKey),
}

/// Which keys a token may have been signed with.
pub enum Lookup<'a> {
    /// These; at least one.
    Found([Option<&'a Check>; TRIES]),
    /// None has its `kid`.
    Unknown,
    /// None is for its algorithm.
    Unfit,
}

/// Why keys cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub struct Unusable {
    /// One line.
    pub message: String,
    /// What to do about it.
    pub hint: Option<&'static str>,
}

impl Check {
    /// Whether a signature is this key's. What differs in a secret's tag takes the same time wherever it differs.
    pub fn holds(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Secret(key) => hmac::verify(key, signed, signature).is_ok(),
            Self::Public(key) => key.verify_sig(signed, signature).is_ok(),
        }
    }

    fn secret(algorithm: Algorithm, secret: &[u8]) -> Option<Self> {
        let hash = match algorithm {
            Algorithm::Hs256 => hmac::HMAC_SHA256,
            Algorithm::Hs384 => hmac::HMAC_SHA384,
            Algorithm::Hs512 => hmac::HMAC_SHA512,
            Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Rs512 => return None,
            Algorithm::Ps256 | Algorithm::Ps384 | Algorithm::Ps512 => return None,
            Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => return None,
        };
        Some(Self::Secret(Box::new(hmac::Key::new(hash, secret))))
    }

    /// A curve's point, or either kind of key as a `SubjectPublicKeyInfo`.
    pub fn encoded(algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        let key = match (rsa(algorithm), algorithm) {
            (Some(parameters), _) => ParsedPublicKey::new(parameters, bytes),
            (None, Algorithm::Es256) => {
                ParsedPublicKey::new(&public::ECDSA_P256_SHA256_FIXED, bytes)
            }
            (None, Algorithm::Es384) => {
                ParsedPublicKey::new(&public::ECDSA_P384_SHA384_FIXED, bytes)
            }
            (None, Algorithm::EdDsa) => ParsedPublicKey::new(&public::ED25519, bytes),
            (None, _) => return None,
        };
        key.ok().map(Self::Public)
    }
}

/// What the RSA algorithms are checked with; none for others.
pub fn rsa(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::Rs256 => Some(&public::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs384 => Some(&public::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::Rs512 => Some(&public::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::Ps256 => Some(&public::RSA_PSS_2048_8192_SHA256),
        Algorithm::Ps384 => Some(&public::RSA_PSS_2048_8192_SHA384),
        Algorithm::Ps512 => Some(&public::RSA_PSS_2048_8192_SHA512),
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => None,
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => None,
    }
}

impl Keys {
    /// One secret.
    pub fn secret(secret: &[u8], algorithms: &[Algorithm]) -> Self {
        let check = |algorithm: &Algorithm| Some((*algorithm, Check::secret(*algorithm, secret)?));
        let checks = algorithms.iter().filter_map(check).collect();
        Self { all: vec![Key { kid: None, checks }], named: false }
    }

    /// The public keys of a PEM file, up to as many as are tried on a token. Each algorithm must have a key.
    pub fn pem(bytes: &[u8], algorithms: &[Algorithm]) -> Result<Self, Unusable> {
        let found: Result<Vec<_>, _> = SubjectPublicKeyInfoDer::pem_slice_iter(bytes).collect();
        let found = found.map_err(|error| plain(format!("this is no PEM: {error}")))?;
        if found.is_empty() {
            return Err(other_pem(bytes));
        }
        if found.len() > TRIES {
            return Err(plain(format!("it holds more than {TRIES} public keys")));
        }
        let mut all = Vec::new();
        for key in &found {
            all.push(Key { kid: None, checks: checks_of(key, algorithms)? });
        }
        let has = |algorithm: &&Algorithm| {
            all.iter().flat_map(|key| &key.checks).any(|(known, _)| known == *algorithm)
        };
        match algorithms.iter().find(|algorithm| !has(algorithm)) {
            Some(without) => {
                let kind = kind_of(without.family());
                Err(plain(format!("{} needs {kind}, and it holds none", without.name())))
            }
            None => Ok(Self { all, named: false }),
        }
    }

    /// Those of a set that can be used for these algorithms, and one line for each that cannot.
    pub fn set(document: &str, algorithms: &[Algorithm]) -> Result<(Self, Vec<String>), String> {
        let set: Set<'_> =
            serde_json::from_str(document).map_err(|e| format!("this is no set of keys: {e}"))?;
        let (mut all, mut skipped) = (Vec::new(), Vec::new());
        for (at, raw) in set.keys.iter().enumerate() {
            if all.len() == MOST {
                skipped.push(format!("key {at} and those behind it: more than {MOST} keys"));
                break;
            }
            let read = serde_json::from_str::<Jwk>(raw.get());
            let key = read.map_err(|error| error.to_string()).and_then(|jwk| {
                let kid = jwk.name().map(Into::into);
                jwk.checks(algorithms).map(|checks| Key { kid, checks })
            });
            match key {
                Ok(key) => all.push(key),
                Err(why) => skipped.push(format!("key {at}: {why}")),
            }
        }
        if all.is_empty() {
            let first = skipped.first().map(|why| format!(" ({why})")).unwrap_or_default();
            return Err(format!("the set holds no key that can be used here{first}"));
        }
        Ok((Self { all, named: true }, skipped))
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// Whether a key has this name; true as well where names do not count, and of a token that gives none.
    pub fn knows(&self, kid: Option<&str>) -> bool {
        !self.named || kid.is_none_or(|kid| self.all.iter().any(|key| key.is(kid)))
    }

    /// The keys that a token with this header may have been signed with. One key of a name hides those without one.
    pub fn find(&self, algorithm: Algorithm, kid: Option<&str>) -> Lookup<'_> {
        let is_known = self.knows(kid);
        let kid = kid.filter(|_| self.named);
        let candidates = self.all.iter().filter(|key| match kid {
            Some(kid) if is_known => key.is(kid),
            Some(_) => key.kid.is_none(),
            None => true,
        });
        let mut fitting = candidates
            .flat_map(|key| &key.checks)
            .filter(|(known, _)| *known == algorithm)
            .map(|(_, check)| check);
        let found: [_; TRIES] = std::array::from_fn(|_| fitting.next());
        match found {
            [Some(_), ..] => Lookup::Found(found),
            _ if !is_known => Lookup::Unknown,
            _ => Lookup::Unfit,
        }
    }
}

impl fmt::Debug for Keys {
    /// Never what they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.all.iter().map(|key| key.kid.as_deref().unwrap_or("-"));
        f.debug_list().entries(names).finish()
    }
}

impl Key {
    fn is(&self, kid: &str) -> bool {
        self.kid.as_deref() == Some(kid)
    }
}

fn plain(message: String) -> Unusable {
    Unusable { message, hint: None }
}

fn kind_of(family: Family) -> &'static str {
    match family {
        Family::Secret => "a secret",
        Family::Rsa => "an RSA key",
        Family::P256 => "a key on the curve P-256",
        Family::P384 => "a key on the curve P-384",
        Family::Ed25519 => "an Ed25519 key",
    }
}

/// What stands in a file that holds no `PUBLIC KEY`, and how to make one of it.
fn other_pem(bytes: &[u8]) -> Unusable {
    let text = String::from_utf8_lossy(bytes);
    let begins = |what: &str| text.contains(&format!("-----BEGIN {what}"));
    let (message, hint) = if begins("CERTIFICATE") {
        ("this is a certificate, not a public key", "openssl x509 -pubkey -noout -in … makes one")
    } else if text.contains("PRIVATE KEY-----") {
        (
            "this is a private key, which has no business here",
            "openssl pkey -pubout -in … makes the public one",
        )
    } else if begins("RSA PUBLIC KEY") {
        (
            "this is a public key of the older form (PKCS#1)",
            "openssl rsa -RSAPublicKey_in -pubout -in … makes the other",
        )
    } else {
        ("it holds no public key", "a PEM file with -----BEGIN PUBLIC KEY-----")
    };
    Unusable { message: message.to_owned(), hint: Some(hint) }
}

/// Of a `SubjectPublicKeyInfo`: what fits of these algorithms.
fn checks_of(spki: &[u8], algorithms: &[Algorithm]) -> Result<Vec<(Algorithm, Check)>, Unusable> {
    if let Some(bits) = modulus_of(spki) {
        modulus(bits).map_err(plain)?;
    }
    let known = Algorithm::ALL.into_iter().map(|(_, algorithm)| algorithm);
    if !known.into_iter().any(|algorithm| Check::encoded(algorithm, spki).is_some()) {
        return Err(Unusable {
            message: "its key is of a kind that is not known here".to_owned(),
            hint: Some("RSA, P-256, P-384 or Ed25519"),
        });
    }
    let check = |algorithm: &Algorithm| Some((*algorithm, Check::encoded(*algorithm, spki)?));
    Ok(algorithms.iter().filter_map(check).collect())
}

/// `rsaEncryption` with its parameters (RFC 3279 section 2.3.1), as it stands in a `SubjectPublicKeyInfo`.
const RSA: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// Bits of an RSA key; none for a key of another kind.
fn modulus_of(spki: &[u8]) -> Option<usize> {
    let at = memchr::memmem::find(spki, RSA)?;
    // The bit string's tag, its length in up to five bytes, and that no bit of it is unused.
    let string = &spki[at + RSA.len()..];
    let length = string.get(1)?;
    let skipped = 3 + if length & 0x80 == 0 { 0 } else { usize::from(length & 0x7f) };
    let bits = RsaParameters::public_modulus_len(string.get(skipped..)?).ok()?;
    usize::try_from(bits).ok()
}

/// A set. What else stands in it is nothing to us.
#[derive(Deserialize)]
struct Set<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

#[cfg(test)]
mod tests;
