//! etcd as a registry.

mod encrypted;
mod failing;
mod finding;
mod many;
mod registering;
mod scripted;

use frontgate::config::Secret;
use frontgate::registry::etcd::{Etcd as Registered, Settings};

use super::support::etcd::Etcd;

/// A member as a registry, with the defaults of a configuration.
fn registry(member: &Etcd) -> Registered {
    let mut settings = Settings::new("test", &member.url());
    if member.guarded {
        settings.user = Some(("root".into(), Secret::new("sesame".into())));
    }
    Registered::new(&settings).expect("good settings")
}
