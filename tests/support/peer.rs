//! One end of a raw TCP connection, client or backend: bytes in, bytes out.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Bound on what should take milliseconds, on a machine that is busy with other things.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A connection with what was read and not yet taken.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With everything said.
    Closed,
    /// Broken off.
    Reset,
}

/// A start line with its fields, names in lower case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) start: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) raw: String,
}

/// A head with its body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Head {
    fn parse(raw: &[u8]) -> Self {
        // Each byte a character, so that none is lost.
        let raw: String = raw.iter().copied().map(char::from).collect();
        let mut lines = raw.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let fields = lines.filter_map(field).collect();
        Self { start, fields, raw }
    }

    /// Every value under a name, joined by `|`.
    pub(crate) fn all(&self, name: &str) -> String {
        let of_name = self.fields.iter().filter(|(n, _)| n == name);
        of_name.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join("|")
    }

    /// The one value under a name.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let mut of_name = self.fields.iter().filter(|(n, _)| n == name);
        let first = of_name.next().map(|(_, value)| value.as_str());
        assert!(of_name.next().is_none(), "{name} twice in {}", self.raw);
        first
    }

    /// The status of an answer.
    pub(crate) fn status(&self) -> u16 {
        let number = self.start.split(' ').nth(1).and_then(|status| status.parse().ok());
        number.unwrap_or_else(|| panic!("no status in {}", self.raw))
    }

    /// Names and values in order of names, without those that differ each time.
    pub(crate) fn sorted(&self) -> Vec<String> {
        let varying = ["x-request-id", "date", "x-forwarded-port"];
        let fields = self.fields.iter().filter(|(name, _)| !varying.contains(&name.as_str()));
        let mut lines: Vec<_> = fields.map(|(name, value)| format!("{name}: {value}")).collect();
        lines.sort();
        lines
    }
}

impl Message {
    pub(crate) fn status(&self) -> u16 {
        self.head.status()
    }

    /// `x-frontgate-code`: which of its answers the gateway gave.
    pub(crate) fn code(&self) -> &str {
        self.head.value("x-frontgate-code").unwrap_or_default()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Peer {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).ok();
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let connected = timeout(SOON, TcpStream::connect(address)).await.expect("in time");
        Self::new(connected.expect("a connection"))
    }

    /// Connects, sends, and is ready to read.
    pub(crate) async fn asking(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Self {
        let mut peer = Self::connect(address).await;
        peer.send(bytes).await;
        peer
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = timeout(SOON, self.stream.write_all(bytes.as_ref())).await.expect("in time");
        sent.expect("the other side takes it");
    }

    /// Sends to one that may have left.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        timeout(SOON, self.stream.write_all(bytes.as_ref())).await.expect("in time")
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn half_close(&mut self) {
        self.stream.shutdown().await.ok();
    }

    /// Breaks it off.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("a socket");
    }

    async fn fill(&mut self) -> io::Result<usize> {
        let read = timeout(SOON, self.stream.read_buf(&mut self.buffer)).await;
        read.unwrap_or_else(|_| {
            panic!("nothing came after {:?}", String::from_utf8_lossy(&self.buffer))
        })
    }

    /// So many bytes.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<u8> {
        self.try_take(count).await.expect("the connection goes on")
    }

    async fn try_take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if !matches!(self.fill().await, Ok(1..)) {
                return None;
            }
        }
        let rest = self.buffer.split_off(count);
        Some(std::mem::replace(&mut self.buffer, rest))
    }

    async fn try_through(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            let found = self.buffer.windows(end.len()).position(|window| window == end);
            if let Some(at) = found {
                return self.try_take(at + end.len()).await;
            }
            if !matches!(self.fill().await, Ok(1..)) {
                return None;
            }
        }
    }

    /// A head; none when the connection ends without one.
    pub(crate) async fn try_head(&mut self) -> Option<Head> {
        Some(Head::parse(&self.try_through(b"\r\n\r\n").await?))
    }

    pub(crate) async fn head(&mut self) -> Head {
        let head = self.try_head().await;
        head.unwrap_or_else(|| panic!("no head, only {:?}", String::from_utf8_lossy(&self.buffer)))
    }

    /// A head read byte by byte, so that all of the body is still in the stream.
    pub(crate) async fn exact_head(&mut self) -> Head {
        let mut raw = std::mem::take(&mut self.buffer);
        while !raw.ends_with(b"\r\n\r\n") {
            let read = timeout(SOON, self.stream.read_u8()).await.expect("in time");
            raw.push(read.expect("a head"));
        }
        Head::parse(&raw)
    }

    /// A line without its end.
    pub(crate) async fn line(&mut self) -> String {
        let line = self.try_through(b"\r\n").await.expect("a line");
        String::from_utf8_lossy(&line[..line.len() - 2]).into_owned()
    }

    /// A chunk, or none at the end of the chunks.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.line().await;
        let size = usize::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("size {line:?}"));
        if size == 0 {
            return None;
        }
        let mut data = self.take(size + 2).await;
        assert!(data.ends_with(b"\r\n"), "a chunk ends");
        data.truncate(size);
        Some(data)
    }

    /// A whole request.
    pub(crate) async fn request(&mut self) -> Message {
        self.try_request().await.expect("a request")
    }

    /// A whole request; none when the connection ends without one.
    pub(crate) async fn try_request(&mut self) -> Option<Message> {
        let head = self.try_head().await?;
        Some(self.body(head, false).await)
    }

    /// A whole answer, to anything but HEAD.
    pub(crate) async fn answer(&mut self) -> Message {
        self.answer_to("GET").await
    }

    /// A whole answer to this method.
    pub(crate) async fn answer_to(&mut self, method: &str) -> Message {
        let head = self.head().await;
        self.rest_of_answer(method, head).await
    }

    /// A whole answer to this method; none when the connection ends without one.
    pub(crate) async fn try_answer_to(&mut self, method: &str) -> Option<Message> {
        let head = self.try_head().await?;
        Some(self.rest_of_answer(method, head).await)
    }

    async fn rest_of_answer(&mut self, method: &str, head: Head) -> Message {
        if method == "HEAD" || [100, 103, 204, 304].contains(&head.status()) {
            return Message { head, ..Message::default() };
        }
        self.body(head, true).await
    }

    async fn body(&mut self, head: Head, until_close: bool) -> Message {
        let (mut body, mut trailers) = (Vec::new(), Vec::new());
        let length = head.value("content-length").map(|text| text.parse().expect("a length"));
        if head.value("transfer-encoding").is_some() {
            assert!(length.is_none(), "both framings: {}", head.raw);
            while let Some(chunk) = self.chunk().await {
                body.extend(chunk);
            }
            loop {
                let line = self.line().await;
                match field(&line) {
                    Some(field) => trailers.push(field),
                    None => break,
                }
            }
        } else if let Some(length) = length {
            body = self.take(length).await;
        } else if until_close {
            let (rest, end) = self.rest().await;
            assert_eq!(end, End::Closed, "the end of {}", head.raw);
            body = rest;
        }
        Message { head, body, trailers }
    }

    /// Everything until the connection ends, and how it does.
    pub(crate) async fn rest(&mut self) -> (Vec<u8>, End) {
        let end = loop {
            match self.fill().await {
                Ok(0) => break End::Closed,
                Ok(_) => {}
                Err(_) => break End::Reset,
            }
        };
        (std::mem::take(&mut self.buffer), end)
    }

    /// The connection ends, and nothing more comes.
    pub(crate) async fn closed(&mut self) {
        let (rest, end) = self.rest().await;
        assert_eq!((String::from_utf8_lossy(&rest).as_ref(), end), ("", End::Closed));
    }

    /// Waits for the end, of whatever kind.
    pub(crate) async fn ended(&mut self) -> End {
        self.rest().await.1
    }
}

fn field(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(": ")?;
    Some((name.to_ascii_lowercase(), value.to_owned()))
}
