//! `frontgate hash-password`: makes of a password what may stand in a configuration.

use std::io::{self, BufRead, ErrorKind, Read, StdinLock};
use std::process::ExitCode;

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use clap::Args;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, isatty, tcgetattr, tcsetattr,
};

use super::{complain, say};

/// In which form.
#[derive(Args, Debug)]
pub struct HashFlags {
    /// As $2b$ with cost 12, which htpasswd and nginx read too (the default)
    #[arg(long, conflicts_with = "argon2")]
    pub bcrypt: bool,
    /// As $argon2id$ with 19 MiB and 2 passes
    #[arg(long)]
    pub argon2: bool,
}

/// Each step doubles what a try costs: a quarter of a second, about.
const BCRYPT_COST: u32 = 12;
/// What bcrypt reads of a password.
const BCRYPT_BYTES: usize = 72;
/// What OWASP's Password Storage Cheat Sheet asks for: KiB, passes, lanes.
const ARGON2: (u32, u32, u32) = (19 * 1024, 2, 1);
/// Together with a name, as much as the gateway takes.
const BYTES: usize = 512;
/// As a shell says that ^C ended something.
const INTERRUPTED: u8 = 130;

/// Asks twice at a terminal, where nothing is shown; otherwise takes one line.
pub fn hash_password(flags: &HashFlags) -> ExitCode {
    let stdin = io::stdin().lock();
    let password = if isatty(&stdin) { ask(stdin) } else { line(stdin) };
    let hash = password.and_then(|password| {
        usable(&password, flags).map_err(io::Error::other)?;
        hash(&password, flags).map_err(io::Error::other)
    });
    match hash {
        Ok(hash) => say(&format!("{hash}\n")),
        Err(error) if error.kind() == ErrorKind::Interrupted => ExitCode::from(INTERRUPTED),
        Err(error) => {
            complain(&format!("frontgate: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

fn hash(password: &str, flags: &HashFlags) -> Result<String, String> {
    if !flags.argon2 {
        return bcrypt::hash(password, BCRYPT_COST).map_err(|error| error.to_string());
    }
    let (memory, passes, lanes) = ARGON2;
    let params = Params::new(memory, passes, lanes, None).map_err(|error| error.to_string())?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = argon2.hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|error| error.to_string())
}

/// Nothing is made that would let nobody in, or somebody with half of a password.
fn usable(password: &str, flags: &HashFlags) -> Result<(), &'static str> {
    if password.is_empty() {
        return Err("the password is empty");
    }
    if password.chars().any(char::is_control) {
        return Err("a password cannot hold control signs (RFC 7617 section 2)");
    }
    if password.len() > BYTES {
        return Err("the password is longer than 512 bytes");
    }
    if !flags.argon2 && password.len() > BCRYPT_BYTES {
        return Err("bcrypt reads only 72 bytes of a password: use --argon2 for a longer one");
    }
    Ok(())
}

fn line(stdin: StdinLock<'_>) -> io::Result<String> {
    let mut line = String::new();
    // Longer than one that is taken, with its end.
    stdin.take(BYTES as u64 + 3).read_line(&mut line)?;
    let end = line.trim_end_matches('\n').trim_end_matches('\r').len();
    line.truncate(end);
    Ok(line)
}

fn ask(mut stdin: StdinLock<'_>) -> io::Result<String> {
    let _silent = Silent::new()?;
    let mut typed = |prompt: &str| {
        complain(prompt);
        let typed = typed(&mut stdin);
        complain("\n");
        typed
    };
    let first = typed("Password: ")?;
    if first != typed("Again: ")? {
        return Err(io::Error::other("these are two passwords"));
    }
    Ok(first)
}

/// A line from a terminal that leaves its editing to us, and what ends a program too: so that nothing can end it while
/// the terminal is silent.
fn typed(stdin: &mut StdinLock<'_>) -> io::Result<String> {
    const INTERRUPT: u8 = 3;
    const END: u8 = 4;
    const KILL: u8 = 21;
    let mut line = Vec::new();
    for byte in stdin.by_ref().bytes() {
        match byte? {
            b'\r' | b'\n' => {
                let text = String::from_utf8(line);
                return text.map_err(|_| io::Error::other("the password is not in UTF-8"));
            }
            INTERRUPT => return Err(ErrorKind::Interrupted.into()),
            END => break,
            KILL => line.clear(),
            8 | 127 => {
                // A character of several bytes goes as one.
                while line.pop().is_some_and(|byte| byte & 0xC0 == 0x80) {}
            }
            byte if line.len() <= BYTES => line.push(byte),
            _ => {}
        }
    }
    Err(io::Error::other("the password was not ended by Enter"))
}

/// The terminal shows nothing until this is dropped.
struct Silent(Termios);

impl Silent {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        silent.special_codes[SpecialCodeIndex::VMIN] = 1;
        silent.special_codes[SpecialCodeIndex::VTIME] = 0;
        // What was typed before the question is not an answer to it.
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        tcsetattr(io::stdin(), OptionalActions::Now, &self.0).ok();
    }
}
