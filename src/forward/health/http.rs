//! A GET whose status says whether the instance is well.

use bytes::BytesMut;
use http::{HeaderMap, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::attend::Bad;
use crate::config::model::Statuses;
use crate::forward::connect::dial;
use crate::forward::instance::Instance;
use crate::wire::h1::framing::Taken;
use crate::wire::h1::response::{self, Head};
use crate::wire::h1::scan::Scan;
use crate::wire::h1::{Decoder, Framing, Malformed};

/// A longer body says no more than its beginning.
const BODY_BYTES: usize = 16 << 10;
/// Trailers are not looked at.
const TRAILER_BYTES: usize = 4 << 10;
/// How much is read at a time.
const READ_BYTES: usize = 4 << 10;

/// Asks on a connection of its own, so that one whose listener is dead is not taken for well, and takes the whole answer:
/// one that never ends is none. A redirect is not followed, its status counts.
pub(super) async fn ask(
    instance: &Instance,
    path: &str,
    host: Option<&str>,
    good: &Statuses,
) -> Result<(), Bad> {
    let io = dial(instance).await.map_err(|error| Bad::connect(&error))?;
    let host = host.map_or(instance.authority.as_bytes(), str::as_bytes);
    let mut answer = Answer { io, buffer: BytesMut::new() };
    // One that answers before it has read all may have closed already; what it said counts.
    let written = answer.io.write_all(&request(path, host)).await;
    let head = match (answer.head().await, written) {
        (Err(_), Err(error)) => return Err(Bad::broke(&error)),
        (head, _) => head?,
    };
    let status = head.parts.status;
    if !good.holds(status) {
        return Err(Bad::failed(format!("status {}", status.as_u16())));
    }
    answer.body(head.framing).await
}

fn request(path: &str, host: &[u8]) -> Vec<u8> {
    const FIELDS: &str = concat!(
        "\r\nuser-agent: frontgate/",
        env!("CARGO_PKG_VERSION"),
        " (health check)\r\naccept: */*\r\nconnection: close\r\n\r\n"
    );
    [b"GET ", path.as_bytes(), b" HTTP/1.1\r\nhost: ", host, FIELDS.as_bytes()].concat()
}

/// An answer as it comes.
struct Answer {
    io: TcpStream,
    buffer: BytesMut,
}

impl Answer {
    /// Its head, past those that only announce it.
    async fn head(&mut self) -> Result<Head, Bad> {
        let (mut scan, mut map) = (Scan::default(), HeaderMap::new());
        loop {
            let taken = response::take(&mut self.buffer, &mut scan, &Method::GET, &mut map);
            match taken.map_err(malformed)? {
                Some(head) if !head.parts.status.is_informational() => return Ok(head),
                Some(_) => {}
                None if self.more().await? => {}
                None => return Err(Bad::failed("closed before an answer")),
            }
        }
    }

    async fn body(&mut self, framing: Framing) -> Result<(), Bad> {
        let mut decoder = Decoder::new(framing, TRAILER_BYTES);
        let mut read = 0;
        while !decoder.is_done() && read < BODY_BYTES {
            match decoder.take(&mut self.buffer).map_err(malformed)? {
                Taken::Data(data) => read += data.len(),
                Taken::Trailers(_) | Taken::End => {}
                Taken::More if self.more().await? => {}
                Taken::More if decoder.closed() => {}
                Taken::More => return Err(Bad::failed("closed before the answer's end")),
            }
        }
        Ok(())
    }

    /// Whether more came before the end.
    async fn more(&mut self) -> Result<bool, Bad> {
        self.buffer.reserve(READ_BYTES);
        let read = self.io.read_buf(&mut self.buffer).await;
        read.map(|read| read > 0).map_err(|error| Bad::broke(&error))
    }
}

fn malformed(broken: Malformed) -> Bad {
    Bad::failed(format!("a malformed answer: {}", broken.rule()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn says_who_asks_and_that_nothing_follows() {
        let request = super::request("/healthz?full=1", b"[::1]:8080");
        let expected = format!(
            "GET /healthz?full=1 HTTP/1.1\r\nhost: [::1]:8080\r\nuser-agent: frontgate/{} (health check)\r\n\
             accept: */*\r\nconnection: close\r\n\r\n",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(String::from_utf8(request).unwrap(), expected);
    }
}
