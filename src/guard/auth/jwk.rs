//! A key as an identity provider publishes it (RFC 7517), as far as signatures are checked with it.

use aws_lc_rs::signature::RsaPublicKeyComponents;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::jws::{Algorithm, shown};
use super::keys::{Check, rsa};

/// Bits of a modulus. Under 2048 a signature proves little (RFC 7518 section 3.3), beyond 8192 it costs too much.
const MODULUS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// What counts of a key (RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2).
#[derive(Deserialize)]
pub struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Jwk {
    /// Its `kid`.
    pub fn name(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// What it can check of these algorithms, at least one; or why nothing, in one line that names it.
    pub fn checks(&self, algorithms: &[Algorithm]) -> Result<Vec<(Algorithm, Check)>, String> {
        self.read(algorithms).map_err(|why| match &self.kid {
            Some(kid) => format!("kid {}: {why}", shown(kid)),
            None => why,
        })
    }

    fn read(&self, algorithms: &[Algorithm]) -> Result<Vec<(Algorithm, Check)>, String> {
        if let Some(purpose) = self.purpose.as_deref().filter(|purpose| *purpose != "sig") {
            return Err(format!("its use is {}", shown(purpose)));
        }
        if self.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
            return Err("its key_ops are without verify".to_owned());
        }
        let only = match &self.alg {
            None => None,
            Some(name) => {
                Some(Algorithm::named(name).ok_or_else(|| format!("its alg is {}", shown(name)))?)
            }
        };
        let allowed = algorithms.iter().filter(|one| only.is_none_or(|only| only == **one));
        let checks = self.of_kind(&allowed.copied().collect::<Vec<_>>())?;
        if checks.is_empty() {
            return Err("it is for none of the algorithms taken here".to_owned());
        }
        Ok(checks)
    }

    fn of_kind(&self, algorithms: &[Algorithm]) -> Result<Vec<(Algorithm, Check)>, String> {
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => self.rsa(algorithms),
            ("EC", Some("P-256")) => self.point(32, Algorithm::Es256, algorithms),
            ("EC", Some("P-384")) => self.point(48, Algorithm::Es384, algorithms),
            ("OKP", Some("Ed25519")) => {
                let point = part("x", self.x.as_ref(), Some(32))?;
                one(Algorithm::EdDsa, &point, algorithms)
            }
            ("oct", _) => Err("a secret is no secret once it was fetched".to_owned()),
            (kty, crv) => {
                let crv = crv.map(|crv| format!(", crv {}", shown(crv))).unwrap_or_default();
                Err(format!("its kty is {}{crv}", shown(kty)))
            }
        }
    }

    fn rsa(&self, algorithms: &[Algorithm]) -> Result<Vec<(Algorithm, Check)>, String> {
        let (n, e) = (part("n", self.n.as_ref(), None)?, part("e", self.e.as_ref(), None)?);
        let (n, e) = (without_zeros(&n), without_zeros(&e));
        modulus(n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize))?;
        if e == [1] || e.last().is_none_or(|byte| byte % 2 == 0) || e.len() > 4 {
            return Err("its exponent is no RSA exponent".to_owned());
        }
        let components = RsaPublicKeyComponents { n, e };
        let check = |algorithm: &Algorithm| {
            let key = components.to_parsed_public_key(rsa(*algorithm)?).ok()?;
            Some((*algorithm, Check::Public(key)))
        };
        Ok(algorithms.iter().filter_map(check).collect())
    }

    /// Both coordinates in full length (RFC 7518 section 6.2.1.2).
    fn point(
        &self,
        bytes: usize,
        algorithm: Algorithm,
        algorithms: &[Algorithm],
    ) -> Result<Vec<(Algorithm, Check)>, String> {
        let mut point = vec![4];
        point.extend(part("x", self.x.as_ref(), Some(bytes))?);
        point.extend(part("y", self.y.as_ref(), Some(bytes))?);
        one(algorithm, &point, algorithms)
    }
}

/// Whether an RSA key of so many bits is taken; the error says why not.
pub fn modulus(bits: usize) -> Result<(), String> {
    if MODULUS.contains(&bits) {
        return Ok(());
    }
    let (least, most) = (MODULUS.start(), MODULUS.end());
    Err(format!("an RSA key of {bits} bits, and it takes {least} to {most}"))
}

fn one(
    algorithm: Algorithm,
    point: &[u8],
    algorithms: &[Algorithm],
) -> Result<Vec<(Algorithm, Check)>, String> {
    let check = Check::encoded(algorithm, point).ok_or("its point is not on its curve")?;
    Ok(algorithms.contains(&algorithm).then_some((algorithm, check)).into_iter().collect())
}

fn part(name: &str, text: Option<&String>, bytes: Option<usize>) -> Result<Vec<u8>, String> {
    let text = text.ok_or_else(|| format!("it has no {name}"))?;
    // Some write the padding that they should not.
    let part = URL_SAFE_NO_PAD
        .decode(text.trim_end_matches('='))
        .map_err(|_| format!("its {name} is not base64url"))?;
    if bytes.is_some_and(|bytes| bytes != part.len()) {
        return Err(format!("its {name} has {} bytes", part.len()));
    }
    Ok(part)
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}
