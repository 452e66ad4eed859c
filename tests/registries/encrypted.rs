//! An agent that speaks TLS and wants to know who asks.

use std::path::Path;
use std::process::Command;

use frontgate::config::Secret;
use frontgate::registry::consul::{Consul as Found, Settings};
use frontgate::registry::{Health, Registry};
use serde_json::json;

use super::support::consul::{Consul, Memory};
use super::support::{ports, servers, wait};
use super::{SOON, live, or_skip, query};

/// Consul makes its own certificates.
fn certificates(consul: &Path, folder: &Path) {
    std::fs::create_dir_all(folder).expect("a folder");
    for arguments in [
        &["tls", "ca", "create"][..],
        &["tls", "cert", "create", "-server"],
        &["tls", "cert", "create", "-client"],
    ] {
        let made = Command::new(consul).args(arguments).current_dir(folder).output().expect("runs");
        assert!(made.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&made.stderr));
    }
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[tokio::test]
async fn certificates_are_checked_and_shown_as_the_settings_say() {
    let program = or_skip!(servers::find("consul"));
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    certificates(&program, &ours);
    certificates(&program, &theirs);
    let port = ports::free(1)[0];
    let at = ours.display();
    let config = format!(
        "ports {{ https = {port} }} verify_incoming_https = true ca_file = \"{at}/consul-agent-ca.pem\"
        cert_file = \"{at}/dc1-server-consul-0.pem\" key_file = \"{at}/dc1-server-consul-0-key.pem\""
    );
    let agent = or_skip!(Consul::start(Memory::Forgets, Some(&config)).await);
    agent.register(&json!({ "ID": "a", "Name": "s", "Address": "10.0.0.1", "Port": 1 })).await;

    let mut good = Settings::new("test", &format!("https://127.0.0.1:{port}"));
    let key = String::from_utf8(read(&ours, "dc1-client-consul-0-key.pem")).expect("PEM is text");
    good.tls.ca = Some(read(&ours, "consul-agent-ca.pem"));
    good.tls.identity = Some((read(&ours, "dc1-client-consul-0.pem"), Secret::new(key)));
    found(&good).await;
    let with = |change: &dyn Fn(&mut Settings)| {
        let mut settings = good.clone();
        change(&mut settings);
        settings
    };
    found(&with(&|s| s.tls.server_name = Some("server.dc1.consul".into()))).await;
    let stranger = read(&theirs, "consul-agent-ca.pem");
    found(&with(&|s| {
        s.tls.ca = Some(stranger.clone());
        s.tls.verify = false;
    }))
    .await;

    refused(&with(&|s| s.tls.server_name = Some("elsewhere".into())), "certificate").await;
    refused(&with(&|s| s.tls.ca = Some(stranger.clone())), "certificate").await;
    refused(&with(&|s| s.tls.identity = None), "ertificate").await;
    let empty = with(&|s| s.tls.ca = Some(Vec::new()));
    assert_eq!(Found::new(&empty).err().map(|problem| problem.key), Some("tls.ca"));
}

async fn found(settings: &Settings) {
    let registry = Found::new(settings).expect("good settings");
    live(&mut registry.watch(query("s")), &["10.0.0.1:1"], SOON).await;
}

async fn refused(settings: &Settings, why: &str) {
    let registry = Found::new(settings).expect("good settings");
    let _found = registry.watch(query("s"));
    let (_, error) = wait::until("a failure", SOON, async || registry.status().last_error).await;
    assert!(error.contains(why), "{error}");
    assert_eq!(registry.status().health, Health::Failed, "{error}");
}
