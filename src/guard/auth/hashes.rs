//! Hashes of passwords as htpasswd, crypt and others write them: reading one, and trying a password against it.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordVerifier};
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha_crypt::ShaCrypt;
use subtle::ConstantTimeEq;

use super::apr1;

/// Each step doubles what a try costs; 16 is about four seconds.
pub const BCRYPT_COST: u32 = 16;
/// In KiB: what one try holds while it goes on.
pub const ARGON2_MEMORY: u32 = 256 * 1024;
/// How often all of that memory is gone through.
pub const ARGON2_PASSES: u32 = 16;
/// Of SHA-crypt; its own default is 5,000.
pub const SHA_ROUNDS: u32 = 1_000_000;

/// A password's hash.
#[derive(PartialEq, Eq)]
pub struct Hash {
    text: Box<str>,
    cost: Cost,
}

/// What one try costs. Tries of equal cost take equally long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cost {
    /// `$2a$`, `$2b$`, `$2y$`, by its exponent.
    Bcrypt(u32),
    /// `$argon2i$`, `$argon2d$`, `$argon2id$`.
    Argon2 {
        /// In KiB.
        memory: u32,
        /// Passes over it.
        passes: u32,
    },
    /// `$5$`, by its rounds.
    Sha256(u32),
    /// `$6$`, by its rounds.
    Sha512(u32),
    /// `$apr1$`: a thousand rounds of MD5.
    Apr1,
    /// `{SHA}`: SHA-1 once, without salt.
    Sha1,
}

/// Why a text is not used as a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// None of the known forms, such as a password as it is.
    Unknown,
    /// Begins as this form and does not go on as it.
    Broken(&'static str),
    /// A try would cost more than this.
    Costly(&'static str),
}

impl Unfit {
    /// One line that tells nothing of the text.
    pub fn reason(self) -> String {
        match self {
            Self::Unknown => "is no hash of a password".to_owned(),
            Self::Broken(form) => format!("begins as a hash of {form} and is none"),
            Self::Costly(most) => format!("costs more than {most}, with each try"),
        }
    }
}

impl Hash {
    /// Reads one; nothing is tried, so that takes no time.
    pub fn parse(text: &str) -> Result<Self, Unfit> {
        let cost = cost(text)?;
        Ok(Self { text: text.into(), cost })
    }

    /// What one try costs.
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// As it is written: not to be shown.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is this password's. Takes as long as it costs, whatever the password.
    pub fn is_of(&self, password: &[u8]) -> bool {
        match self.cost {
            // The crate knows all the letters, and compares in constant time.
            Cost::Bcrypt(_) => bcrypt::verify(password, &self.text).unwrap_or(false),
            Cost::Argon2 { .. } => PasswordHash::new(&self.text)
                .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok()),
            Cost::Sha256(_) | Cost::Sha512(_) => {
                ShaCrypt::default().verify_password(password, &*self.text).is_ok()
            }
            Cost::Apr1 => self.text[APR1.len()..].split_once('$').is_some_and(|(salt, sum)| {
                apr1::sum(password, salt.as_bytes())[..].ct_eq(sum.as_bytes()).into()
            }),
            Cost::Sha1 => {
                let sum = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, password);
                let written = STANDARD.decode(&self.text[SHA1.len()..]).unwrap_or_default();
                sum.as_ref().ct_eq(&written).into()
            }
        }
    }
}

impl std::fmt::Debug for Hash {
    /// Without the text, which could be tried against elsewhere.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Hash").field(&self.cost).finish()
    }
}

const APR1: &str = "$apr1$";
const SHA1: &str = "{SHA}";

fn cost(text: &str) -> Result<Cost, Unfit> {
    match text {
        _ if ["$2a$", "$2b$", "$2y$"].iter().any(|start| text.starts_with(start)) => {
            bcrypt_cost(text)
        }
        _ if text.starts_with("$argon2") => argon2_cost(text),
        _ if text.starts_with("$5$") => sha_rounds(text, 43).map(Cost::Sha256),
        _ if text.starts_with("$6$") => sha_rounds(text, 86).map(Cost::Sha512),
        _ if text.starts_with(APR1) => {
            let good = text[APR1.len()..].split_once('$').is_some_and(|(salt, sum)| {
                (1..=8).contains(&salt.len()) && sum.len() == 22 && sum.bytes().all(is_crypt)
            });
            if good { Ok(Cost::Apr1) } else { Err(Unfit::Broken("$apr1$")) }
        }
        _ if text.starts_with(SHA1) => {
            let sum = STANDARD.decode(&text[SHA1.len()..]);
            let good = sum.is_ok_and(|sum| sum.len() == digest::SHA1_OUTPUT_LEN);
            if good { Ok(Cost::Sha1) } else { Err(Unfit::Broken("{SHA}")) }
        }
        _ => Err(Unfit::Unknown),
    }
}

fn bcrypt_cost(text: &str) -> Result<Cost, Unfit> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| Unfit::Broken("bcrypt"))?;
    match parts.get_cost() {
        cost @ 4..=BCRYPT_COST => Ok(Cost::Bcrypt(cost)),
        0..4 => Err(Unfit::Broken("bcrypt")),
        _ => Err(Unfit::Costly("bcrypt of cost 16")),
    }
}

fn argon2_cost(text: &str) -> Result<Cost, Unfit> {
    const BROKEN: Unfit = Unfit::Broken("argon2");
    let hash = PasswordHash::new(text).map_err(|_| BROKEN)?;
    let known = ["argon2i", "argon2d", "argon2id"].contains(&hash.algorithm.as_str());
    let version = hash.version.is_none_or(|version| argon2::Version::try_from(version).is_ok());
    let whole = hash.salt.is_some() && hash.hash.is_some();
    let params = argon2::Params::try_from(&hash).map_err(|_| BROKEN)?;
    if !(known && version && whole) {
        return Err(BROKEN);
    }
    let (memory, passes) = (params.m_cost(), params.t_cost());
    if memory > ARGON2_MEMORY || passes > ARGON2_PASSES {
        return Err(Unfit::Costly("argon2 with 256 MiB and 16 passes"));
    }
    Ok(Cost::Argon2 { memory, passes })
}

/// The rounds of `$5$rounds=5000$salt$sum`, where the second part may be left out.
fn sha_rounds(text: &str, length: usize) -> Result<u32, Unfit> {
    const BROKEN: Unfit = Unfit::Broken("SHA-crypt");
    let mut parts = text[3..].split('$');
    let mut salt = parts.next().ok_or(BROKEN)?;
    let mut rounds = sha_crypt::Params::RECOMMENDED_ROUNDS;
    if let Some(written) = salt.strip_prefix("rounds=") {
        rounds = written.parse().map_err(|_| BROKEN)?;
        salt = parts.next().ok_or(BROKEN)?;
    }
    let sum = parts.next().ok_or(BROKEN)?;
    let whole = parts.next().is_none() && sum.len() == length && sum.bytes().all(is_crypt);
    let salted = (1..=16).contains(&salt.len()) && salt.bytes().all(is_crypt);
    if !(whole && salted) || rounds < sha_crypt::Params::ROUNDS_MIN {
        return Err(BROKEN);
    }
    if rounds > SHA_ROUNDS {
        Err(Unfit::Costly("SHA-crypt of 1,000,000 rounds"))
    } else {
        Ok(rounds)
    }
}

/// A digit of crypt's base 64.
fn is_crypt(byte: u8) -> bool {
    matches!(byte, b'.' | b'/') || byte.is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests;
