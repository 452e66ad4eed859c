//! Reading a message of which single records make no sense: those are set aside, and the others stay.

use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::{Record, RecordType};
use hickory_resolver::proto::serialize::binary::{BinDecodable, BinDecoder};

/// What a record that cannot be read is made into: a type that nobody uses (RFC 6895 §3.1, private use), whose data is
/// bytes to everybody.
pub(super) const UNREADABLE: RecordType = RecordType::Unknown(65_280);

/// Bytes before the questions.
const HEADER: usize = 12;

/// The message; none when it cannot be told where its records begin and end.
pub(super) fn read(bytes: &[u8]) -> Option<Message> {
    Message::from_vec(bytes).ok().or_else(|| Message::from_vec(&without_bad_records(bytes)?).ok())
}

/// The same with another type for what cannot be read. Nothing moves: names point at bytes before them.
fn without_bad_records(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    let count = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    let questions = count(4)?;
    let records = u32::from(count(6)?) + u32::from(count(8)?) + u32::from(count(10)?);
    let mut at = HEADER;
    for _ in 0..questions {
        at = after_name(&bytes, at)? + 4;
    }
    for _ in 0..records {
        let kind = after_name(&bytes, at)?;
        let length = bytes.get(kind + 8..kind + 10)?;
        let end = kind + 10 + usize::from(u16::from_be_bytes([length[0], length[1]]));
        let readable = {
            // Up to its end only: what is cut off there must not be taken from the next one.
            let decoder = BinDecoder::new(bytes.get(..end)?);
            Record::read(&mut decoder.clone(u16::try_from(at).ok()?)).is_ok()
        };
        if !readable {
            bytes[kind..kind + 2].copy_from_slice(&u16::from(UNREADABLE).to_be_bytes());
        }
        at = end;
    }
    Some(bytes)
}

/// Where what follows a name begins (RFC 1035 §4.1.4).
fn after_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            0xc0.. => return Some(at + 2),
            64..=0xbf => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_resolver::proto::op::Query;
    use hickory_resolver::proto::rr::rdata::A;
    use hickory_resolver::proto::rr::{Name, RData};

    use super::*;

    /// Three addresses of `a.test`, as bytes.
    fn three() -> Vec<u8> {
        let name = Name::from_ascii("a.test.").unwrap();
        let mut message = Message::query();
        message.add_query(Query::query(name.clone(), RecordType::A));
        for last in 1..=3 {
            let address = A(Ipv4Addr::new(10, 0, 0, last));
            message.add_answer(Record::from_rdata(name.clone(), 9, RData::A(address)));
        }
        message.to_vec().unwrap()
    }

    fn kinds(message: &Message) -> Vec<RecordType> {
        message.answers.iter().map(Record::record_type).collect()
    }

    #[test]
    fn a_record_that_cannot_be_read_is_set_aside_and_the_others_stay() {
        let mut bytes = three();
        assert_eq!(kinds(&read(&bytes).unwrap()), [RecordType::A; 3]);
        // The second address has another length than four bytes: its last byte belongs to no record any more.
        let second = bytes.len() - 2 * 16 + 16 - 4;
        assert_eq!(bytes[second..second + 4], [10, 0, 0, 2]);
        bytes.remove(second);
        bytes[second - 1] = 3;
        assert!(Message::from_vec(&bytes).is_err(), "the library takes it as it is");
        let message = read(&bytes).unwrap();
        assert_eq!(kinds(&message), [RecordType::A, UNREADABLE, RecordType::A]);
        assert_eq!(message.answers[2].data.ip_addr().unwrap().to_string(), "10.0.0.3");
    }

    #[test]
    fn bytes_that_are_no_message_are_none_and_no_panic() {
        let good = three();
        for cut in 0..good.len() {
            assert!(read(&good[..cut]).is_none(), "{cut} bytes");
        }
        for at in 0..good.len() {
            for value in [0, 0x3f, 0x40, 0xc0, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                read(&bad);
            }
        }
    }
}
