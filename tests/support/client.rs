//! A client: one kept connection, one request after the other.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Bound on one exchange: no story takes an answer that comes later.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to one server. Made when it is needed, made anew only after the server said that it closes.
#[derive(Debug)]
pub(crate) struct Client {
    server: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

/// What a server answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// A header's value; empty when it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    /// Who answered, as the sample backends say it.
    pub(crate) fn instance(&self) -> String {
        self.header("x-instance").to_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Client {
    pub(crate) fn new(server: SocketAddr) -> Self {
        Self { server, stream: None }
    }

    pub(crate) async fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.send(&format!("GET {path}"), "", "").await
    }

    pub(crate) async fn post(&mut self, path: &str, body: &str) -> io::Result<Answer> {
        self.send(&format!("POST {path}"), "", body).await
    }

    /// `asked` is method and path; `fields` are whole lines, each with its end.
    pub(crate) async fn send(
        &mut self,
        asked: &str,
        fields: &str,
        body: &str,
    ) -> io::Result<Answer> {
        let exchanged = tokio::time::timeout(PATIENCE, self.exchange(asked, fields, body)).await;
        let answer = exchanged.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let closes = answer.as_ref().is_ok_and(|a| a.header("connection").contains("close"));
        if answer.is_err() || closes {
            self.stream = None;
        }
        answer
    }

    async fn exchange(&mut self, asked: &str, fields: &str, body: &str) -> io::Result<Answer> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(self.server).await?;
                stream.set_nodelay(true)?;
                none.insert(BufReader::new(stream))
            }
        };
        let (server, length) = (self.server, body.len());
        let request = format!(
            "{asked} HTTP/1.1\r\nhost: {server}\r\n{fields}content-length: {length}\r\n\r\n{body}"
        );
        stream.get_mut().write_all(request.as_bytes()).await?;
        read(stream).await
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Answer> {
    let first = line(stream).await?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no answer: {first:?}")))?;
    let mut headers = Vec::new();
    loop {
        let line = line(stream).await?;
        match line.split_once(':') {
            Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
            None => break,
        }
    }
    let mut answer = Answer { status, headers, body: String::new() };
    let mut body = match answer.header("content-length").parse() {
        Ok(length) => vec![0; length],
        Err(_) => return Err(io::Error::other("an answer without its length")),
    };
    stream.read_exact(&mut body).await?;
    answer.body = String::from_utf8(body).map_err(io::Error::other)?;
    Ok(answer)
}

/// Without its end. A server that has closed sends none.
async fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed before the answer's end"));
    }
    Ok(line.trim_end().to_owned())
}
