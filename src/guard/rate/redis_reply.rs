//! What a Redis server says, as far as it is a reply to something asked here (RESP2). Anything else ends the connection.

/// A line is never longer: what a server says of an error is some hundred bytes.
const LONGEST: usize = 4 << 10;
/// A number is never longer.
const DIGITS: usize = 20;
/// What a whole reply needs at most.
pub(super) const MOST: usize = LONGEST + 2;

/// A whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// `+OK`.
    Done,
    /// Three whole numbers, as the script returns them.
    Numbers([u64; 3]),
    /// `-CODE and what is wrong`, one line without control signs, not long.
    Error(String),
}

/// Not what a Redis server replies to what is asked here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Garbled;

/// The first reply and its length; none while it is incomplete, which it cannot be in [`MOST`] bytes.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(Reply, usize)>, Garbled> {
    let longest = match bytes.first() {
        None => return Ok(None),
        Some(b'+' | b'-') => LONGEST,
        Some(b'*') => DIGITS,
        Some(_) => return Err(Garbled),
    };
    let Some((line, mut at)) = line(bytes, longest)? else { return Ok(None) };
    match bytes[0] {
        b'+' => Ok(Some((Reply::Done, at))),
        b'-' => Ok(Some((Reply::Error(text(line)), at))),
        _ if line != b"3" => Err(Garbled),
        _ => {
            let mut numbers = [0; 3];
            for number in &mut numbers {
                let Some((value, length)) = integer(&bytes[at..])? else { return Ok(None) };
                *number = value;
                at += length;
            }
            Ok(Some((Reply::Numbers(numbers), at)))
        }
    }
}

/// `:number` that is not negative.
fn integer(bytes: &[u8]) -> Result<Option<(u64, usize)>, Garbled> {
    match bytes.first() {
        None => return Ok(None),
        Some(b':') => {}
        Some(_) => return Err(Garbled),
    }
    let Some((line, length)) = line(bytes, DIGITS)? else { return Ok(None) };
    if !line.iter().all(u8::is_ascii_digit) {
        return Err(Garbled);
    }
    let number = std::str::from_utf8(line).ok().and_then(|digits| digits.parse().ok());
    Ok(Some((number.ok_or(Garbled)?, length)))
}

/// What stands between the first sign and the end of the line, and where the next one begins.
fn line(bytes: &[u8], longest: usize) -> Result<Option<(&[u8], usize)>, Garbled> {
    let within = &bytes[..bytes.len().min(longest + 2)];
    match memchr::memchr(b'\n', within) {
        None if within.len() == longest + 2 => Err(Garbled),
        None => Ok(None),
        Some(end) if end >= 2 && within[end - 1] == b'\r' => {
            Ok(Some((&within[1..end - 1], end + 1)))
        }
        Some(_) => Err(Garbled),
    }
}

/// For an operator's log.
fn text(line: &[u8]) -> String {
    const SHOWN: usize = 200;
    let line = String::from_utf8_lossy(line);
    line.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(one: u64, two: u64, three: u64) -> Reply {
        Reply::Numbers([one, two, three])
    }

    #[test]
    fn replies_are_read_one_by_one_and_wait_until_they_are_whole() {
        let text = b"*3\r\n:0\r\n:19\r\n:9223372036854775807\r\n-NOSCRIPT No matching\x1bscript\r\n+OK\r\n";
        let first = read(text).unwrap().unwrap();
        assert_eq!(first.0, numbers(0, 19, 9_223_372_036_854_775_807));
        for end in 0..first.1 {
            assert_eq!(read(&text[..end]), Ok(None), "{end}");
        }
        let second = read(&text[first.1..]).unwrap().unwrap();
        assert_eq!(second.0, Reply::Error("NOSCRIPT No matching script".into()));
        assert_eq!(read(&text[first.1 + second.1..]), Ok(Some((Reply::Done, 5))));
    }

    #[test]
    fn whatever_else_comes_is_garbled() {
        for text in [
            "HTTP/1.1 400 Bad Request\r\n",
            "$5\r\nhello\r\n",
            ":1\r\n",
            "*2\r\n:1\r\n:1\r\n",
            "*4\r\n",
            "*-1\r\n",
            "*99999999999999999999999\r\n",
            "*3\r\n*3\r\n",
            "*3\r\n:-1\r\n",
            "*3\r\n:\r\n",
            "*3\r\n:1\n",
            "*3\r\n:99999999999999999999\r\n",
            "*3\n",
            "+\n",
            "\r\n",
            "\0",
        ] {
            assert_eq!(read(text.as_bytes()), Err(Garbled), "{text:?}");
        }
        let long = [b"-".as_slice(), &[b'x'; MOST]].concat();
        assert_eq!(read(&long), Err(Garbled));
        assert_eq!(read(&long[..MOST - 1]), Ok(None));
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics_and_a_full_buffer_is_never_waited_with(bytes in ".*", room in 0..3_usize) {
            let mut bytes = bytes.into_bytes();
            drop(read(&bytes));
            for start in ["*3\r\n", ":", "-", "+"] {
                let mut text = start.as_bytes().to_vec();
                text.append(&mut bytes.clone());
                drop(read(&text));
            }
            bytes.resize(MOST + room, b'7');
            proptest::prop_assert!(read(&bytes) != Ok(None));
        }
    }
}
