//! A real registry as the themed suite leads it. What is registered here is registered by somebody else than the
//! gateway: with the server's own tools and interface, never through the code under test.

use std::net::SocketAddr;
use std::time::Duration;

/// A running server. Killed when dropped.
pub(crate) trait Real: Sized + Send {
    /// `kind` of its table.
    const KIND: &'static str;
    /// Bound on a change being seen by a gateway that watches, on a busy machine.
    const SEEN: Duration;
    /// Bound on an instance that died without deregistering being gone; none where nothing notices.
    const GONE: Option<Duration>;
    /// Whether it tells which services there are.
    const CATALOG: bool;
    /// Whether one can register there.
    const REGISTERS: bool;

    /// Instances of one service that the server bears as it is set up here.
    const MOST_INSTANCES: usize = 10_000;

    /// Starts one that keeps what it knows over a restart; none when it is missing and tests may skip.
    async fn start() -> Option<Self>;

    /// The same, but it asks for credentials; none where there are no such things.
    async fn guarded() -> Option<Self>;

    /// Its port, for a relay that stands before it.
    fn port(&self) -> u16;

    /// Keys of its `[registry.…]` table, `kind` and (right) credentials included, reached over this port.
    fn keys(&self, port: u16) -> String;

    /// The same with credentials that are wrong.
    fn wrong_keys(&self, port: u16) -> String;

    /// Further keys of the `[service.…]` table of a service with this name.
    fn service_keys(&self, service: &str) -> String {
        format!("name = \"{service}\"")
    }

    /// Registers an instance that lives until it is taken back.
    async fn put(&self, service: &str, address: SocketAddr) {
        self.put_all(&[(service.to_owned(), address)]).await;
    }

    /// Registers many.
    async fn put_all(&self, instances: &[(String, SocketAddr)]);

    /// Registers an instance that opts in to a catalog with the tag `frontgate`.
    async fn put_tagged(&self, service: &str, address: SocketAddr);

    /// Registers an instance that dies at once without deregistering.
    async fn put_dying(&self, service: &str, address: SocketAddr);

    /// Registers what cannot be read as an instance, as far as the server lets one.
    async fn put_garbage(&self, service: &str);

    /// Takes an instance back.
    async fn take(&self, service: &str, address: SocketAddr) {
        self.take_all(&[(service.to_owned(), address)]).await;
    }

    /// Takes many back in one step, or as nearly so as the server can.
    async fn take_all(&self, instances: &[(String, SocketAddr)]);

    /// Addresses of a service as the server itself tells them, sorted.
    async fn listed(&self, service: &str) -> Vec<String>;

    /// Ends it at once, as a crash does.
    fn kill(&mut self);

    /// Starts it again on the same ports, with what it remembers.
    async fn restart(&mut self);

    /// Starts it again on the same ports without anything it knew.
    async fn restart_empty(&mut self);

    /// Stops it in its tracks: its connections stay, nothing is answered.
    fn freeze(&self);

    /// Lets it run on.
    fn thaw(&self);
}
