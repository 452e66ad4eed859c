//! A server that speaks TLS.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use frontgate::config::model::HostPort;
use frontgate::registry::{Health, Liveness, Registration, Registry as _};

use super::super::support::{ports, wait};
use super::super::{live, or_skip, query};
use super::{Eureka, Registry, SEEN, Settings};

const PASSWORD: &str = "changeit";

fn keytool(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let made = Command::new("keytool")
        .args(arguments)
        .args(["-alias", "a", "-keystore", "keys", "-storepass", PASSWORD])
        .current_dir(folder)
        .output()
        .expect("keytool comes with Java");
    assert!(made.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&made.stdout));
    made.stdout
}

#[tokio::test]
async fn a_certificate_is_checked_as_the_settings_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = ports::free(1)[0];
    let keys = folder.path().join("keys");
    let flags = [
        format!("--server.ssl.key-store={}", keys.display()),
        format!("--server.ssl.key-store-password={PASSWORD}"),
    ];
    or_skip!(super::super::support::servers::find("eureka"));
    let name = ["-dname", "CN=eureka", "-ext", "san=ip:127.0.0.1"];
    let make = ["-genkeypair", "-keyalg", "EC", "-storetype", "PKCS12"];
    keytool(folder.path(), &[&make[..], &name].concat());
    let certificate = keytool(folder.path(), &["-exportcert", "-rfc"]);
    let _server = or_skip!(Eureka::start_on(port, &[&flags[0], &flags[1]]).await);

    let mut settings = Settings::new("test", &[&format!("https://127.0.0.1:{port}/eureka")]);
    settings.poll = Duration::from_secs(1);
    settings.tls.ca = Some(certificate);
    let good = Registry::new(&settings).expect("good settings");
    let mut found = good.watch(query("edge"));
    live(&mut found, &[], SEEN).await;
    let registration = Registration {
        id: "edge-1".into(),
        name: "edge".into(),
        address: HostPort { host: "10.0.0.1".into(), port: 1 },
        tags: Vec::new(),
        check: Liveness::Heartbeat,
    };
    let registered = good.register(registration).expect("taken");
    live(&mut found, &["10.0.0.1:1"], SEEN).await;
    registered.deregister().await;
    live(&mut found, &[], SEEN).await;

    settings.tls.server_name = Some("elsewhere".into());
    let refused = Registry::new(&settings).expect("good settings");
    let _found = refused.watch(query("edge"));
    let error = wait::until("a failure", SEEN, async || refused.status().last_error).await.1;
    assert!(error.contains("certificate") && error.contains(&settings.urls[0]), "{error}");
    assert_eq!(refused.status().health, Health::Failed, "{error}");
}
