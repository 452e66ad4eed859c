//! A server over UDP and TCP that does what it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use frontgate::registry::dns::Dns;
use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, CNAME, NS, SOA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// What it does with a question.
pub(super) enum Act {
    Answer(Message),
    /// Datagrams; over TCP, bytes as they are.
    Raw(Vec<Vec<u8>>),
    Nothing,
}

/// The question, and whether it came over TCP.
pub(super) type Behaviour = dyn Fn(&Message, bool) -> Act + Send + Sync;

/// One question it was asked.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) at: Instant,
    pub(super) tcp: bool,
    /// `s.test. SRV`.
    pub(super) what: String,
}

pub(super) struct Script {
    pub(super) address: SocketAddr,
    behaviour: Arc<Mutex<Arc<Behaviour>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Script {
    pub(super) async fn start(
        behaviour: impl Fn(&Message, bool) -> Act + Send + Sync + 'static,
    ) -> Self {
        Self::on(both().await, behaviour)
    }

    /// Another one with the same port, at 127.0.0.2.
    pub(super) async fn beside(
        &self,
        behaviour: impl Fn(&Message, bool) -> Act + Send + Sync + 'static,
    ) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 2], self.address.port()));
        let udp = UdpSocket::bind(address).await.expect("nobody listens there");
        let tcp = TcpListener::bind(address).await.expect("nobody listens there");
        Self::on((udp, tcp), behaviour)
    }

    fn on(
        (udp, tcp): (UdpSocket, TcpListener),
        behaviour: impl Fn(&Message, bool) -> Act + Send + Sync + 'static,
    ) -> Self {
        let address = udp.local_addr().expect("an address");
        let behaviour: Arc<Mutex<Arc<Behaviour>>> = Arc::new(Mutex::new(Arc::new(behaviour)));
        let script = Self { address, behaviour, asked: Arc::default() };
        tokio::spawn(script.desk(false).over_udp(udp));
        tokio::spawn(script.desk(true).accept(tcp));
        script
    }

    /// Behaves like this from now on.
    pub(super) fn now(&self, behaviour: impl Fn(&Message, bool) -> Act + Send + Sync + 'static) {
        *self.behaviour.lock().expect("no panic") = Arc::new(behaviour);
    }

    pub(super) fn registry(&self) -> Dns {
        super::asking(&[&self.address.to_string()])
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }

    /// How often it was asked since then.
    pub(super) fn count_since(&self, start: Instant) -> usize {
        self.asked().iter().filter(|asked| asked.at >= start).count()
    }

    fn desk(&self, tcp: bool) -> Desk {
        let (behaviour, asked) = (Arc::clone(&self.behaviour), Arc::clone(&self.asked));
        Desk { behaviour, asked, tcp }
    }
}

#[derive(Clone)]
struct Desk {
    behaviour: Arc<Mutex<Arc<Behaviour>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    tcp: bool,
}

impl Desk {
    fn act(&self, bytes: &[u8]) -> Act {
        let Ok(message) = Message::from_vec(bytes) else { return Act::Nothing };
        let query = &message.queries[0];
        let what = format!("{} {}", query.name, query.query_type);
        let asked = Asked { at: Instant::now(), tcp: self.tcp, what };
        self.asked.lock().expect("no panic").push(asked);
        let behaviour = Arc::clone(&self.behaviour.lock().expect("no panic"));
        behaviour(&message, self.tcp)
    }

    async fn over_udp(self, socket: UdpSocket) {
        let mut buffer = vec![0; 4096];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let datagrams = match self.act(&buffer[..length]) {
                Act::Answer(message) => vec![message.to_vec().expect("a message")],
                Act::Raw(datagrams) => datagrams,
                Act::Nothing => continue,
            };
            for datagram in datagrams {
                socket.send_to(&datagram, peer).await.ok();
            }
        }
    }

    async fn accept(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(self.clone().over_tcp(stream));
        }
    }

    /// None at the end of the connection.
    async fn over_tcp(self, mut stream: TcpStream) -> Option<()> {
        loop {
            let mut bytes = vec![0; usize::from(stream.read_u16().await.ok()?)];
            stream.read_exact(&mut bytes).await.ok()?;
            match self.act(&bytes) {
                Act::Answer(message) => {
                    let answer = message.to_vec().expect("a message");
                    stream.write_u16(answer.len().try_into().expect("short")).await.ok()?;
                    stream.write_all(&answer).await.ok()?;
                }
                Act::Raw(parts) => {
                    for part in parts {
                        stream.write_all(&part).await.ok()?;
                    }
                    return stream.shutdown().await.ok();
                }
                Act::Nothing => std::future::pending().await,
            }
        }
    }
}

/// Both protocols on one port.
async fn both() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let port = udp.local_addr().expect("an address");
        if let Ok(tcp) = TcpListener::bind(port).await {
            return (udp, tcp);
        }
    }
}

pub(super) fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

/// An answer without records.
pub(super) fn answer(question: &Message, code: ResponseCode) -> Message {
    let mut answer = question.clone();
    answer.edns = None;
    answer.metadata.message_type = MessageType::Response;
    answer.metadata.response_code = code;
    answer.metadata.recursion_available = true;
    answer
}

/// Only a code.
pub(super) fn code(code: ResponseCode) -> impl Fn(&Message, bool) -> Act {
    move |question, _| Act::Answer(answer(question, code))
}

pub(super) fn record(owner: &str, ttl: u32, data: RData) -> Record {
    Record::from_rdata(name(owner), ttl, data)
}

pub(super) fn service(owner: &str, ttl: u32, port: u16, target: &str) -> Record {
    record(owner, ttl, RData::SRV(SRV::new(10, 10, port, name(target))))
}

pub(super) fn address(owner: &str, ttl: u32, last: u8) -> Record {
    record(owner, ttl, RData::A(A::new(10, 0, 0, last)))
}

pub(super) fn alias(owner: &str, ttl: u32, target: &str) -> Record {
    record(owner, ttl, RData::CNAME(CNAME(name(target))))
}

pub(super) fn referral() -> Record {
    record("test.", 1, RData::NS(NS(name("ns.test."))))
}

/// What says how long a negative answer holds.
pub(super) fn start_of_authority(seconds: u32) -> Record {
    let (primary, mail) = (name("ns.test."), name("root.test."));
    let soa = SOA::new(primary, mail, 1, 3600, 600, 86400, seconds);
    record("test.", 3600, RData::SOA(soa))
}

/// Whatever service is asked for has one instance, 10.0.0.1, at this port.
pub(super) fn instance(port: u16, ttl: u32) -> impl Fn(&Message, bool) -> Act {
    move |question, _| Act::Answer(found(question, port, ttl))
}

pub(super) fn found(question: &Message, port: u16, ttl: u32) -> Message {
    let mut answer = answer(question, ResponseCode::NoError);
    let owner = answer.queries[0].name.to_ascii();
    if answer.queries[0].query_type == RecordType::SRV {
        answer.add_answer(service(&owner, ttl, port, "a.test."));
        answer.add_additional(address("a.test.", ttl, 1));
    }
    answer
}

/// Bound on what a recovery may take: a pause, and a machine that is busy.
pub(super) const RETURNED: Duration = Duration::from_secs(10);
