//! The body of an answer: unpacked, bounded, and what it claims to be.

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::Response;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use crate::registry::trouble::Trouble;

/// The JSON of a good answer of `server`, of up to `most` bytes when unpacked.
pub(super) fn json(server: &str, answer: Response<Bytes>, most: usize) -> Result<Bytes, Trouble> {
    let (head, body) = answer.into_parts();
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let coding = header(CONTENT_ENCODING).trim().to_ascii_lowercase();
    let body = match coding.as_str() {
        "" | "identity" => body,
        "gzip" | "x-gzip" => {
            unpack(&body, most).map_err(|why| Trouble::Broken(format!("{server}: {why}")))?.into()
        }
        _ => {
            return Err(Trouble::Broken(format!("{server} packs its answer in an unknown way")));
        }
    };
    let kind = header(CONTENT_TYPE).to_ascii_lowercase();
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if kind.contains("xml") || kind.contains("html") || first == Some(&b'<') {
        let why = "answers with XML or HTML, asked for JSON: is this Eureka's own address (most end in /eureka)?";
        return Err(Trouble::Refused(format!("{server} {why}")));
    }
    Ok(body)
}

/// A few kilobytes may unpack to gigabytes: no more than `most` is ever held.
fn unpack(packed: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut bounded = MultiGzDecoder::new(packed).take(most as u64 + 1);
    let read = bounded.read_to_end(&mut bytes);
    read.map_err(|error| format!("the answer cannot be unpacked: {error}"))?;
    if bytes.len() > most {
        return Err(format!("the answer is longer than {most} bytes when unpacked"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn answer(headers: &[(&str, &str)], body: &[u8]) -> Result<Bytes, Trouble> {
        let mut answer = Response::builder();
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        json("http://a", answer.body(Bytes::copy_from_slice(body)).unwrap(), 1000)
    }

    #[test]
    fn plain_and_packed_bodies_are_read() {
        let gzip = ("content-encoding", "gzip");
        assert_eq!(answer(&[], b"{}").unwrap(), "{}");
        assert_eq!(answer(&[gzip], &packed(b"{}")).unwrap(), "{}");
        let two = [packed(b"{"), packed(b"}")].concat();
        assert_eq!(answer(&[gzip], &two).unwrap(), "{}", "members follow one another");
    }

    #[test]
    fn a_bomb_and_what_is_broken_or_packed_otherwise_are_broken() {
        let gzip = ("content-encoding", "gzip");
        let bomb = packed(&vec![b' '; 50 << 20]);
        assert!(bomb.len() < 100_000);
        let short = &packed(b"{\"a\": 1}")[..12];
        for (headers, body) in [
            (&[gzip][..], &bomb[..]),
            (&[gzip], short),
            (&[gzip], b"{}"),
            (&[("content-encoding", "br")], b"{}"),
        ] {
            let found = answer(headers, body);
            assert!(matches!(found, Err(Trouble::Broken(_))), "{found:?}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused_and_said_so() {
        for (headers, body) in [
            (&[("content-type", "application/xml")][..], &b"{}"[..]),
            (&[("content-type", "text/html; charset=utf-8")], b"{}"),
            (&[], b" \n<applications>"),
        ] {
            let Err(Trouble::Refused(why)) = answer(headers, body) else { panic!("{headers:?}") };
            assert!(why.starts_with("http://a answers with XML or HTML"), "{why}");
        }
    }
}
