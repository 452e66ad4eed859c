//! frontgate: an API gateway and reverse proxy. The modules in the order a request meets them, then those beside it.

// Sockets become requests.
pub mod listen;

// HTTP on a socket; knows nothing of routes or services.
pub mod wire;

// ★ What is done with a request, in which order.
pub mod gateway;

// The facts about one request so far.
pub mod exchange;

// Every answer the gateway gives by itself.
pub mod refusal;

// Which route.
pub mod router;

// Who may come in, and how often.
pub mod guard;

// What changes on the way.
pub mod rewrite;

// Which instance, on which connection.
pub mod forward;

// What happened.
pub mod observe;

// Where instances are.
pub mod registry;

// The control plane's HTTP client.
pub mod fetch;

// What is kept in files.
pub mod state;

// From a config to a gateway.
pub mod assemble;

// Health, numbers and state over HTTP.
pub mod admin;

// What the operator wrote.
pub mod config;

// Sample backends.
pub mod demo;

// The command line and the life of the process.
pub mod cli;

#[cfg(test)]
mod tests;
