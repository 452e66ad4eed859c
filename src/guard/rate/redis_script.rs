//! The script that Redis runs for a take, and the requests that run it.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use bytes::{BufMut, BytesMut};

use super::gcra::{Quota, Wish};

/// [`Quota::reserve`] at the server's own time, in one step that nobody comes between. With an interval below zero one is
/// given back.
///
/// Lua's numbers are doubles, exact up to 2^53: nanoseconds since 1970 are beyond that, microseconds are not. So the due
/// time is kept as whole microseconds and the nanoseconds beyond, and all else is counted from now. The server's clock
/// may be set back, or the limit be a smaller one than before: a key is never further ahead than its limit allows, and the
/// longest that anybody waits.
/// A request without room writes nothing. A key lives for as long as it says something, and a millisecond more: the
/// server counts lives in whole ones, from another look at its clock.
const TEXT: &str = "\
local interval, depth = tonumber(ARGV[1]), tonumber(ARGV[2])
local patience, longest = tonumber(ARGV[3]), tonumber(ARGV[4])
if redis.replicate_commands then redis.replicate_commands() end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ahead = 0
local us, ns = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (%d+)$')
if us then ahead = math.min(math.max((us - now) * 1000 + ns, 0), depth + longest) end
local next = math.max(ahead + interval, 0)
local wait, room = math.max(next - depth, 0), math.max(depth - next, 0)
if wait > patience then return {wait, 0, ahead} end
ns = math.fmod(next, 1000)
us = now + (next - ns) / 1000
local keep = math.ceil(next / 1000000) + 1
redis.call('SET', KEYS[1], string.format('%.0f %.0f', us, ns), 'PX', string.format('%.0f', keep))
return {wait, (room - math.fmod(room, interval)) / math.abs(interval), next}
";

/// What Redis calls it: SHA-1 in hexadecimal.
static NAME: LazyLock<String> = LazyLock::new(|| hex(&SHA1_FOR_LEGACY_USE_ONLY, TEXT.as_bytes()));

/// The furthest that a key may lie ahead, in nanoseconds: 146 years, so that with the time of day no number leaves what a
/// double holds in microseconds, or a reply in nanoseconds.
const DEEPEST: u64 = 1 << 62;

/// How the script is named in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    /// By its digest: the server knows it already.
    Known,
    /// By its text, after which the server knows it.
    Told,
}

/// Appends the request that takes one.
pub(super) fn take(out: &mut BytesMut, script: Script, key: &str, wish: Wish) {
    let interval = wish.quota.interval.min(DEEPEST);
    run(out, script, key, decimal(interval, &mut [0; 20]), wish);
}

/// Appends the request that gives one back.
pub(super) fn give_back(out: &mut BytesMut, key: &str, wish: Wish) {
    let interval = format!("-{}", wish.quota.interval.min(DEEPEST));
    run(out, Script::Known, key, interval.as_bytes(), wish.patient());
}

fn run(out: &mut BytesMut, script: Script, key: &str, interval: &[u8], wish: Wish) {
    let (verb, script) = match script {
        Script::Known => ("EVALSHA", NAME.as_str()),
        Script::Told => ("EVAL", TEXT),
    };
    let numbers = [wish.quota.depth().min(DEEPEST), wish.patience, wish.longest];
    let mut room = [[0; 20]; 3];
    let [first, second, third] = &mut room;
    let [depth, patience, longest] =
        [decimal(numbers[0], first), decimal(numbers[1], second), decimal(numbers[2], third)];
    let words: [&[u8]; 8] = [
        verb.as_bytes(),
        script.as_bytes(),
        b"1",
        key.as_bytes(),
        interval,
        depth,
        patience,
        longest,
    ];
    request(out, &words);
}

/// Appends a request: an array of strings (RESP, section "Sending commands to a Redis server").
pub(super) fn request(out: &mut BytesMut, words: &[&[u8]]) {
    let mut digits = [0; 20];
    let mut length = |out: &mut BytesMut, sign: u8, length: usize| {
        out.put_u8(sign);
        out.put_slice(decimal(length as u64, &mut digits));
        out.put_slice(b"\r\n");
    };
    length(out, b'*', words.len());
    for word in words {
        length(out, b'$', word.len());
        out.put_slice(word);
        out.put_slice(b"\r\n");
    }
}

/// Where a key's number is kept. In braces, so that a cluster places a key by what stands in them. A key that is long,
/// or holds other than plain ASCII or braces of its own, stands there as its digest behind a `#`: with which no other
/// begins, so that no two keys share a place.
pub(super) fn place(prefix: &str, key: &str) -> String {
    const LONGEST: usize = 192;
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'{' | b'}');
    if key.len() <= LONGEST && !key.starts_with('#') && key.bytes().all(plain) {
        return format!("{prefix}{{{key}}}");
    }
    format!("{prefix}{{#{}}}", hex(&SHA256, key.as_bytes()))
}

/// Where nothing is counted: what is taken there shows that the script runs.
pub(super) fn probe(prefix: &str) -> String {
    format!("{prefix}{{#}}")
}

/// A limit that leaves no trace for longer than a millisecond.
pub(super) const PROBE: Wish =
    Wish { quota: Quota { interval: 1, burst: 1 }, patience: 0, longest: 0 };

fn hex(algorithm: &'static aws_lc_rs::digest::Algorithm, bytes: &[u8]) -> String {
    let digits = b"0123456789abcdef";
    let digest = digest(algorithm, bytes);
    let pair = |byte: &u8| [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]];
    digest.as_ref().iter().flat_map(pair).map(char::from).collect()
}

fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests;
