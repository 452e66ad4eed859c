//! A server that speaks TLS and wants to know who asks.

use std::path::Path;
use std::process::Command;

use super::{backend, gateway, or_skip, said, statuses, told};
use crate::support::redis::Redis;
use crate::support::servers;

/// An authority, and what it says of a server at 127.0.0.1 and of a client.
fn certificates(openssl: &Path, folder: &Path) {
    std::fs::create_dir_all(folder).expect("a folder");
    let run = |arguments: &str| {
        let made = Command::new(openssl).args(arguments.split(' ')).current_dir(folder).output();
        let made = made.expect("openssl runs");
        assert!(made.status.success(), "{arguments}: {}", String::from_utf8_lossy(&made.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    run(&format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"));
    for (name, extension) in
        [("server", "subjectAltName=IP:127.0.0.1"), ("client", "extendedKeyUsage=clientAuth")]
    {
        std::fs::write(folder.join("extensions"), extension).expect("a file");
        run(&format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        run(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out {name}.pem -extfile extensions"
        ));
    }
}

#[tokio::test]
async fn certificates_are_checked_and_shown_as_the_settings_say() {
    let openssl = or_skip!(servers::find("openssl"));
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    certificates(&openssl, &ours);
    certificates(&openssl, &theirs);
    let at = ours.display();
    let options = [
        ("--port", "0".to_owned()),
        ("--tls-port", "{port}".to_owned()),
        ("--tls-cert-file", format!("{at}/server.pem")),
        ("--tls-key-file", format!("{at}/server.key")),
        ("--tls-ca-cert-file", format!("{at}/ca.pem")),
    ];
    let options: Vec<&str> = options.iter().flat_map(|(key, value)| [*key, value]).collect();
    let redis = or_skip!(Redis::with(&options).await);
    let backend = backend().await;
    let store = |tls: &str| {
        let url = format!("url = \"rediss://{}\"", redis.address());
        format!("{url}\ntimeout = \"5s\"\non_error = \"deny\"\ntls = {{ {tls} }}")
    };
    let identity = format!("certificate = \"{at}/client.pem\", key = \"{at}/client.key\"");
    for tls in [format!("ca = \"{at}/ca.pem\", {identity}"), format!("verify = false, {identity}")]
    {
        let gateway = gateway(&backend, "rate = \"2/h\"", &store(&tls), 2).await;
        let seen = statuses(&gateway, 2).await;
        assert!(seen == [200, 200] || seen == [429, 429], "{seen:?}: as the first gateway left it");
        assert_eq!(statuses(&gateway, 1).await, [429]);
        assert_eq!(said(&gateway), [""; 0]);
    }
    let stranger = format!("ca = \"{}/ca.pem\", {identity}", theirs.display());
    for tls in [stranger, format!("ca = \"{at}/ca.pem\"")] {
        let gateway = gateway(&backend, "rate = \"9/h\"", &store(&tls), 1).await;
        assert_eq!(statuses(&gateway, 2).await, [429, 429]);
        let log = told(&gateway, 1).await;
        assert!(log[0].contains("ertificate"), "{log:#?}");
    }
}
