//! The two messages of gRPC's health checking, each of one field, as protocol buffers behind gRPC's length prefix.

use bytes::Bytes;

/// A longer answer says more than health; with its prefix.
pub(super) const MOST_BYTES: usize = 1 << 10;
/// Whether it is compressed, and its length.
const PREFIX: usize = 5;

/// A key of a field: its number and how it is written.
const SERVICE: u8 = 1 << 3 | 2;
const STATUS: u64 = 1 << 3;
/// `HealthCheckResponse.ServingStatus`.
const SERVING: u64 = 1;

/// A `HealthCheckRequest` about this service.
pub(super) fn request(service: &str) -> Bytes {
    let mut message = Vec::new();
    // A field that has its default value is left out.
    if !service.is_empty() {
        message.push(SERVICE);
        let mut length = service.len();
        while length >= 0x80 {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let mut whole = vec![0];
    whole.extend_from_slice(&(message.len() as u32).to_be_bytes());
    whole.extend_from_slice(&message);
    whole.into()
}

/// Whether this is one `HealthCheckResponse` that says SERVING; what is wrong otherwise.
pub(super) fn serving(whole: &[u8]) -> Result<(), &'static str> {
    let Some((prefix, message)) = whole.split_first_chunk::<PREFIX>() else {
        return Err("not gRPC: the answer has no message");
    };
    let [compressed, length @ ..] = *prefix;
    if compressed != 0 {
        return Err("not gRPC: compressed, which was not asked for");
    }
    if u32::from_be_bytes(length) as usize != message.len() {
        return Err("not gRPC: the answer is not one message");
    }
    match status(message) {
        Some(SERVING) => Ok(()),
        Some(0) => Err("it answers UNKNOWN"),
        Some(2) => Err("it answers NOT_SERVING"),
        Some(3) => Err("it answers SERVICE_UNKNOWN"),
        Some(_) => Err("it answers a status that is not known"),
        None => Err("not gRPC: the message cannot be read"),
    }
}

/// The last `status` counts, and none is zero (protocol buffers' encoding); other fields are passed over.
fn status(mut message: &[u8]) -> Option<u64> {
    let mut status = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        // There is no field 0, nor one beyond 29 bits.
        if key >> 3 == 0 || key >> 32 != 0 {
            return None;
        }
        if key == STATUS {
            status = varint(&mut message)?;
            continue;
        }
        let skipped = match key & 7 {
            0 => varint(&mut message).map(|_| 0),
            1 => Some(8),
            2 => varint(&mut message),
            5 => Some(4),
            // Groups, which nobody writes any more, and what does not exist.
            _ => None,
        };
        message = message.get(usize::try_from(skipped?).ok()?..)?;
    }
    Some(status)
}

/// Seven bits a byte, the lowest first.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(first & 0x7f);
        // The tenth byte has room for one bit.
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_about_the_server_or_about_one_service() {
        assert_eq!(&request("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&request("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = request(&"s".repeat(300));
        assert_eq!(long[..9], [0, 0, 0, 1, 47, 0x0a, 0xac, 2, b's']);
        assert_eq!(long.len(), 5 + 3 + 300);
    }

    fn answer(message: &[u8]) -> Result<(), &'static str> {
        serving(&[&[0, 0, 0, 0, message.len() as u8], message].concat())
    }

    #[test]
    fn only_serving_is_good() {
        assert_eq!(answer(&[8, 1]), Ok(()));
        assert_eq!(answer(&[]), Err("it answers UNKNOWN"));
        assert_eq!(answer(&[8, 0]), Err("it answers UNKNOWN"));
        assert_eq!(answer(&[8, 2]), Err("it answers NOT_SERVING"));
        assert_eq!(answer(&[8, 3]), Err("it answers SERVICE_UNKNOWN"));
        assert_eq!(answer(&[8, 0x81, 1]), Err("it answers a status that is not known"));
        // The last one counts, and other fields do not.
        assert_eq!(answer(&[8, 2, 8, 1]), Ok(()));
        assert_eq!(answer(&[0x12, 2, 8, 2, 8, 1, 0x18, 9, 0x25, 1, 2, 3, 4]), Ok(()));
        assert_eq!(answer(&[0x11, 1, 2, 3, 4, 5, 6, 7, 8, 8, 1]), Ok(()));
    }

    #[test]
    fn what_cannot_be_read_is_not_good() {
        for message in [
            &[8][..],
            &[8, 0x80],
            &[0, 1],
            &[0x0b, 1],
            &[0x12, 5, 1],
            &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            &[0x25, 1],
            &[8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
            &[8, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1],
        ] {
            assert_eq!(answer(message), Err("not gRPC: the message cannot be read"), "{message:?}");
        }
        for whole in [&[][..], &[0, 0, 0, 0], &[1, 0, 0, 0, 2, 8, 1], &[0, 0, 0, 0, 3, 8, 1]] {
            assert!(serving(whole).unwrap_err().starts_with("not gRPC"), "{whole:?}");
        }
        // Two messages where one was asked for.
        assert!(serving(&[0, 0, 0, 0, 2, 8, 1, 0, 0, 0, 0, 2, 8, 1]).is_err());
    }
}
