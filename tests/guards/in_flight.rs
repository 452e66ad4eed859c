//! How many exchanges a route has at a time.

use crate::support::backend::Backend;
use crate::support::gateway::Setup;
use crate::support::peer::Peer;

/// No connection is used twice, so that each request is one that comes in.
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";

#[tokio::test]
async fn one_too_many_is_refused_until_another_has_ended() {
    let backend = Backend::new().await;
    let setup = Setup::to(&[backend.address]).top("workers = 2").route("in_flight = 2");
    let gateway = setup.start().await;
    let (mut first, mut second) = (gateway.ask(GET).await, gateway.ask(GET).await);
    let (mut one, _) = backend.request().await;
    let (mut two, _) = backend.request().await;
    let refused = gateway.fetch("/").await;
    assert_eq!((refused.status(), refused.code()), (503, "overloaded"));
    one.send(OK).await;
    two.send(OK).await;
    assert_eq!(first.answer().await.status(), 200);
    assert_eq!(second.answer().await.status(), 200);
    for _ in 0..5 {
        // Also one that leaves makes room.
        let client = gateway.ask(GET).await;
        let (upstream, _) = backend.request().await;
        drop(client);
        drop(upstream);
        gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 0.0).await;
    }
    let mut client = Peer::connect(gateway.web()).await;
    client.send(GET).await;
    let (mut upstream, _) = backend.request().await;
    upstream.send(OK).await;
    assert_eq!(client.answer().await.status(), 200);
}
