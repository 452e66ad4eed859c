//! One question to one server, over UDP or over TCP.
//!
//! The resolver of the crate that reads and writes messages here sends up to nine datagrams for one question and cannot be
//! slowed down, does not notice that nobody listens, and tells the last error of a search list for its result.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::lenient;
use crate::registry::trouble::Trouble;

/// Answers up to this size come over UDP (DNS Flag Day 2020).
const PAYLOAD: u16 = 1232;
/// Some servers send more than they were asked for.
const LARGEST: usize = 4096;
/// Datagrams that are no answer after which no further one is waited for.
const ODD: usize = 16;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Miss {
    /// Nothing came.
    Silent,
    /// The system says that it cannot be reached.
    Unreachable(io::Error),
    /// Something came that is no answer.
    Odd(&'static str),
    /// It was not asked.
    InVain(Trouble),
}

impl From<io::Error> for Miss {
    fn from(error: io::Error) -> Self {
        let broken_off = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset];
        if broken_off.contains(&error.kind()) {
            Self::Odd("breaks off in the middle of an answer")
        } else {
            Self::Unreachable(error)
        }
    }
}

/// A question that can be asked several times.
pub(super) struct Question {
    query: Query,
    message: Message,
    bytes: Vec<u8>,
}

impl Question {
    /// None when the name cannot be written in a message.
    pub(super) fn new(query: Query) -> Option<Self> {
        // With a random number, which an answer must repeat.
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.add_query(query.clone());
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD);
        message.set_edns(edns);
        let bytes = message.to_vec().ok()?;
        Some(Self { query, message, bytes })
    }

    /// What is asked.
    pub(super) fn query(&self) -> &Query {
        &self.query
    }

    /// The same for a server that does not understand extensions (RFC 6891 §7).
    pub(super) fn plain(&self) -> Option<Self> {
        let mut message = self.message.clone();
        message.edns = None;
        let bytes = message.to_vec().ok()?;
        Some(Self { query: self.query.clone(), message, bytes })
    }

    /// In one datagram. The system picks the port that it is sent from, and lets nobody else answer there.
    pub(super) async fn over_udp(
        &self,
        server: SocketAddr,
        within: Duration,
    ) -> Result<Message, Miss> {
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).await.map_err(Miss::Unreachable)?;
        socket.connect(server).await.map_err(Miss::Unreachable)?;
        socket.send(&self.bytes).await.map_err(Miss::Unreachable)?;
        let mut odd = None;
        let answer = async {
            let mut buffer = vec![0; LARGEST];
            for _ in 0..ODD {
                let length = socket.recv(&mut buffer).await.map_err(Miss::Unreachable)?;
                match self.read(&buffer[..length]) {
                    Ok(message) => return Ok(message),
                    Err(why) => odd = Some(why),
                }
            }
            Err(Miss::Silent)
        };
        let answer = tokio::time::timeout(within, answer).await.unwrap_or(Err(Miss::Silent));
        match (answer, odd) {
            (Err(Miss::Silent), Some(why)) => Err(Miss::Odd(why)),
            (answer, _) => answer,
        }
    }

    /// On a connection of its own.
    pub(super) async fn over_tcp(
        &self,
        server: SocketAddr,
        within: Duration,
    ) -> Result<Message, Miss> {
        let answer = async {
            let mut stream = TcpStream::connect(server).await.map_err(Miss::Unreachable)?;
            let length =
                u16::try_from(self.bytes.len()).map_err(|_| Miss::Odd("is asked too much"))?;
            let mut bytes = length.to_be_bytes().to_vec();
            bytes.extend_from_slice(&self.bytes);
            stream.write_all(&bytes).await?;
            let mut answer = vec![0; usize::from(stream.read_u16().await?)];
            stream.read_exact(&mut answer).await?;
            self.read(&answer).map_err(Miss::Odd)
        };
        tokio::time::timeout(within, answer).await.unwrap_or(Err(Miss::Silent))
    }

    /// The answer to this question, or what is wrong with it.
    fn read(&self, bytes: &[u8]) -> Result<Message, &'static str> {
        if bytes.first_chunk() != Some(&self.message.metadata.id.to_be_bytes()) {
            return Err("sends what is no answer to the question");
        }
        let message = lenient::read(bytes).ok_or("sends what cannot be read")?;
        let fits = match message.queries.as_slice() {
            [query] => *query == self.query,
            // A server that could not read the question cannot repeat it.
            [] => message.metadata.response_code != ResponseCode::NoError,
            _ => false,
        };
        if message.metadata.message_type == MessageType::Response && fits {
            Ok(message)
        } else {
            Err("sends what is no answer to the question")
        }
    }
}
