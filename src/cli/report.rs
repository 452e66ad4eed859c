//! `routes`, `services` and `instances`: what a running gateway's admin says, as a table or as it is.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::table;

/// For a connection and the whole answer.
const TIME: Duration = Duration::from_secs(10);
/// The largest answer: 100,000 instances are about 30 MB.
const BYTES: usize = 256 << 20;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `frontgate routes`.
    Routes,
    /// `frontgate services`.
    Services,
    /// `frontgate instances`: of every service.
    Instances,
}

impl Subject {
    fn path(self) -> &'static str {
        match self {
            Self::Routes => "/routes",
            Self::Services | Self::Instances => "/services",
        }
    }
}

/// Asks the admin at `admin` (`http://host:port`), with the token if there is one, and returns what is to be printed:
/// a table, or with `json` the answer unchanged. An error is one line for a person.
pub async fn report(
    subject: Subject,
    admin: &str,
    token: Option<&str>,
    json: bool,
) -> Result<String, String> {
    let place = Place::parse(admin)?;
    let answer = tokio::time::timeout(TIME, place.ask(subject.path(), token))
        .await
        .map_err(|_| format!("{admin} does not answer within {} s", TIME.as_secs()))??;
    let text = String::from_utf8(answer.into()).map_err(|_| not_an_admin(admin))?;
    if json {
        return Ok(text);
    }
    let answer: Value = serde_json::from_str(&text).map_err(|_| not_an_admin(admin))?;
    let table = match subject {
        Subject::Routes => table::routes(&answer),
        Subject::Services => table::services(&answer),
        Subject::Instances => table::instances(&answer),
    };
    table.ok_or_else(|| not_an_admin(admin))
}

fn not_an_admin(admin: &str) -> String {
    format!("what answers at {admin} is not a frontgate admin")
}

/// Where an admin is.
#[derive(Debug)]
struct Place<'a> {
    /// As the user wrote it, for messages.
    written: &'a str,
    /// `host:port`, as Host says it.
    host: String,
}

impl<'a> Place<'a> {
    fn parse(written: &'a str) -> Result<Self, String> {
        let wrong = || format!("--admin {written:?} is not like http://127.0.0.1:9901");
        let uri: Uri = written.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        let plain = matches!(uri.scheme_str(), None | Some("http"));
        if !plain || !matches!(uri.path(), "" | "/") || authority.as_str().contains('@') {
            return Err(wrong());
        }
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self { written, host: format!("{}:{port}", authority.host()) })
    }

    async fn ask(&self, path: &str, token: Option<&str>) -> Result<Bytes, String> {
        let written = self.written;
        let broken = |error: &dyn std::fmt::Display| format!("asking {written}{path}: {error}");
        let stream = TcpStream::connect(&self.host).await.map_err(|error| {
            format!("nothing answers at {written} ({error}); is frontgate running? its address is given with --admin")
        })?;
        let mut request =
            Request::get(path).header(header::HOST, &self.host).header(header::ACCEPT, "*/*");
        if let Some(token) = token {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| "FRONTGATE_ADMIN_TOKEN holds characters no token has".to_owned())?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| broken(&error))?;
        let (mut send, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        let exchange = async {
            let (head, body) =
                send.send_request(request).await.map_err(|e| broken(&e))?.into_parts();
            let body = Limited::new(body, BYTES).collect().await.map_err(|e| broken(&e))?;
            Ok::<_, String>((head.status, body.to_bytes()))
        };
        tokio::pin!(exchange, connection);
        // The connection must be driven for the exchange to go on; it may end first, then the exchange ends too.
        let (status, body) = tokio::select! {
            answer = &mut exchange => answer,
            _ = &mut connection => exchange.await,
        }?;
        if status == StatusCode::OK { Ok(body) } else { Err(self.refused(path, status, &body)) }
    }

    fn refused(&self, path: &str, status: StatusCode, body: &[u8]) -> String {
        let answer = serde_json::from_slice(body).unwrap_or(Value::Null);
        let message = answer["error"]["message"].as_str().unwrap_or("no frontgate admin, it seems");
        let hint = match status {
            StatusCode::UNAUTHORIZED => "; the token is read from FRONTGATE_ADMIN_TOKEN",
            _ => "",
        };
        format!("{}{path} answers {}: {message}{hint}", self.written, status.as_u16())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_with_and_without_scheme_and_port() {
        let host = |written| Place::parse(written).map(|place| place.host);
        assert_eq!(host("http://127.0.0.1:9901").unwrap(), "127.0.0.1:9901");
        assert_eq!(host("http://[::1]:9901/").unwrap(), "[::1]:9901");
        assert_eq!(host("localhost:9901").unwrap(), "localhost:9901");
        assert_eq!(host("http://gate").unwrap(), "gate:80");
        for wrong in ["https://gate", "http://a:b@gate", "http://gate/admin", "", "http://"] {
            assert!(host(wrong).unwrap_err().contains("http://127.0.0.1:9901"), "{wrong}");
        }
    }

    #[tokio::test]
    async fn an_admin_that_is_not_there_is_said_to_be_missing() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let said = report(Subject::Routes, &format!("http://{free}"), None, false).await;
        let said = said.unwrap_err();
        assert!(said.starts_with(&format!("nothing answers at http://{free} (")), "{said}");
        assert!(said.contains("is frontgate running?") && said.contains("--admin"), "{said}");
    }
}
