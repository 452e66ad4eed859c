//! A connection to a Redis server: made, introduced, and asked many things at a time.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::Uri;
use hyper_rustls::HttpsConnector;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;
use tower_service::Service;

use super::redis_reply::{self, Reply};
use super::redis_script::{self, PROBE, Script};
use super::redis_settings::Settings;
use crate::fetch::Capped;

/// Room for what comes in: some hundred replies, and more than the longest one needs.
const ROOM: usize = 16 << 10;
const _: () = assert!(ROOM > redis_reply::MOST);
/// Bound on the server's answer to who we are. Looking up its name and connecting are bounded by who connects.
const INTRODUCED: Duration = Duration::from_secs(1);
/// Bound on connecting as a whole, the handshake of TLS included.
const CONNECTED: Duration = Duration::from_secs(5);

const CLOSED: &str = "it closed the connection";
const GARBLED: &str = "what it says is not what a Redis server replies";

/// What a connection runs over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// A connection and what came over it that is not a whole reply yet.
pub(super) struct Wire<S> {
    stream: S,
    room: Box<[u8]>,
    filled: usize,
}

/// How a connection ended, for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The other end closed it, or it broke.
    Lost(String),
    /// The other end does not do what is asked.
    Refused(String),
}

impl End {
    pub(super) fn why(&self) -> &str {
        let (Self::Lost(why) | Self::Refused(why)) = self;
        why
    }
}

/// A connection over which takes are counted, as was tried. The error is for an operator.
pub(super) async fn connect(
    connector: &HttpsConnector<Capped>,
    settings: &Settings,
) -> Result<Wire<impl Stream + use<>>, String> {
    let connected = timeout(CONNECTED, reach(connector.clone(), settings.uri.clone())).await;
    let stream = connected.map_err(|_| format!("no connection within {CONNECTED:?}"))??;
    let mut wire = Wire::new(TokioIo::new(stream));
    let patience = INTRODUCED.max(settings.timeout);
    timeout(patience, wire.introduce(settings))
        .await
        .map_err(|_| format!("does not answer a new connection within {patience:?}"))??;
    // As a request will find it: one that is too slow is of no use.
    timeout(settings.timeout, wire.probe(Script::Known, settings))
        .await
        .map_err(|_| format!("does not answer within {:?}", settings.timeout))??;
    Ok(wire)
}

async fn reach(
    mut connector: HttpsConnector<Capped>,
    uri: Uri,
) -> Result<impl hyper::rt::Read + hyper::rt::Write + Unpin + use<>, String> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        let mut cause: &dyn std::error::Error = &*error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        format!("cannot connect: {cause}")
    };
    std::future::poll_fn(|cx| connector.poll_ready(cx)).await.map_err(failed)?;
    connector.call(uri).await.map_err(failed)
}

impl<S: Stream> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, room: vec![0; ROOM].into_boxed_slice(), filled: 0 }
    }

    /// Says who we are and which database is meant, and tells the server the script.
    async fn introduce(&mut self, settings: &Settings) -> Result<(), String> {
        if let Some(password) = &settings.password {
            let mut words: Vec<&[u8]> = vec![b"AUTH"];
            words.extend(settings.user.as_ref().map(|user| user.as_bytes()));
            words.push(password.reveal().as_bytes());
            if let Reply::Error(said) = self.ask(&words).await? {
                // The rest may repeat what was asked.
                let code = said.split(' ').next().unwrap_or_default();
                return Err(format!("refuses user and password ({code})"));
            }
        }
        if settings.database > 0 {
            let database = settings.database.to_string();
            self.ask(&[b"SELECT", database.as_bytes()]).await?.done()?;
        }
        self.probe(Script::Told, settings).await
    }

    async fn probe(&mut self, script: Script, settings: &Settings) -> Result<(), String> {
        let mut request = BytesMut::new();
        redis_script::take(&mut request, script, &redis_script::probe(&settings.prefix), PROBE);
        self.exchange(&request).await?.done()
    }

    async fn ask(&mut self, words: &[&[u8]]) -> Result<Reply, String> {
        let mut request = BytesMut::new();
        redis_script::request(&mut request, words);
        self.exchange(&request).await
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<Reply, String> {
        let broken = |error: std::io::Error| format!("the connection broke: {error}");
        self.stream.write_all(request).await.map_err(broken)?;
        self.stream.flush().await.map_err(broken)?;
        let mut found = None;
        let reply = std::future::poll_fn(|cx| {
            loop {
                if let Some(reply) = found.take() {
                    return Poll::Ready(Ok(reply));
                }
                let came = self.poll_replies(cx, |reply| match found {
                    None => {
                        found = Some(reply);
                        true
                    }
                    Some(_) => false,
                });
                match came {
                    Poll::Ready(end) => return Poll::Ready(Err(end.why().to_owned())),
                    Poll::Pending if found.is_some() => {}
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        reply.await
    }

    /// Sends what is to be sent, as far as the other end takes it. Ready when the connection has ended.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, out: &mut BytesMut) -> Poll<End> {
        let mut stream = Pin::new(&mut self.stream);
        let broken = |error: std::io::Error| End::Lost(format!("the connection broke: {error}"));
        while !out.is_empty() {
            match stream.as_mut().poll_write(cx, out) {
                Poll::Ready(Ok(0)) => return Poll::Ready(End::Lost(CLOSED.to_owned())),
                Poll::Ready(Ok(sent)) => out.advance(sent),
                Poll::Ready(Err(error)) => return Poll::Ready(broken(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        match stream.poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(broken(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }

    /// Gives every whole reply that came to `take`, which says whether anybody waits for it. Ready when the connection
    /// has ended.
    pub(super) fn poll_replies(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(Reply) -> bool,
    ) -> Poll<End> {
        loop {
            // A reply is never longer than the room for it, so that there is some.
            let mut room = ReadBuf::new(&mut self.room[self.filled..]);
            match Pin::new(&mut self.stream).poll_read(cx, &mut room) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(End::Lost(format!("the connection broke: {error}")));
                }
                Poll::Ready(Ok(())) if room.filled().is_empty() => {
                    return Poll::Ready(End::Lost(CLOSED.to_owned()));
                }
                Poll::Ready(Ok(())) => self.filled += room.filled().len(),
            }
            let mut read = 0;
            loop {
                let garbled = || Poll::Ready(End::Refused(GARBLED.to_owned()));
                match redis_reply::read(&self.room[read..self.filled]) {
                    Ok(None) => break,
                    Ok(Some((reply, length))) => {
                        read += length;
                        if !take(reply) {
                            return garbled();
                        }
                    }
                    Err(_) => return garbled(),
                }
            }
            self.room.copy_within(read..self.filled, 0);
            self.filled -= read;
        }
    }
}

impl Reply {
    /// The server did what it was asked for; else the error in its words.
    fn done(self) -> Result<(), String> {
        match self {
            Self::Done | Self::Numbers(_) => Ok(()),
            Self::Error(said) => Err(format!("answers {said:?}")),
        }
    }
}
