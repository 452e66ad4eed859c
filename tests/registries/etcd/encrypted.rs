//! A member that speaks TLS and wants to know who asks.

use std::path::Path;
use std::process::Command;

use frontgate::config::Secret;
use frontgate::registry::etcd::{Etcd as Found, Settings};
use frontgate::registry::{Health, Registry};

use crate::support::etcd::Etcd;
use crate::support::real::Real;
use crate::support::{servers, wait};
use crate::{SOON, live, or_skip, query};

/// An authority, a server's certificate for 127.0.0.1 and `etcd.internal`, and a client's.
fn certificates(openssl: &Path, folder: &Path) {
    std::fs::create_dir_all(folder).expect("a folder");
    let run = |arguments: &str| {
        let made = Command::new(openssl).args(arguments.split(' ')).current_dir(folder).output();
        let made = made.expect("openssl runs");
        assert!(made.status.success(), "{arguments}: {}", String::from_utf8_lossy(&made.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    run(&format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"));
    // etcd shows its own certificate to itself, so it must do for both sides.
    let use_of = "extendedKeyUsage=serverAuth,clientAuth";
    let names = format!("subjectAltName=IP:127.0.0.1,DNS:etcd.internal\n{use_of}\n");
    for (name, extensions) in [("server", names.as_str()), ("client", use_of)] {
        std::fs::write(folder.join("extensions"), extensions).expect("a file");
        run(&format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        run(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out {name}.pem -extfile extensions"
        ));
    }
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[tokio::test]
async fn certificates_are_checked_and_shown_as_the_settings_say() {
    let openssl = or_skip!(servers::find("openssl"));
    let etcdctl = or_skip!(servers::find("etcdctl"));
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    certificates(&openssl, &ours);
    certificates(&openssl, &theirs);
    let at = ours.display();
    let flags = [
        "--listen-client-urls=https://127.0.0.1:{port}",
        "--advertise-client-urls=https://127.0.0.1:{port}",
        "--client-cert-auth",
        &format!("--cert-file={at}/server.pem"),
        &format!("--key-file={at}/server.key"),
        &format!("--trusted-ca-file={at}/ca.pem"),
    ];
    let member = or_skip!(Etcd::with(&flags).await);
    let endpoint = format!("https://127.0.0.1:{}", member.port());
    let written = wait::until("written", SOON, async || {
        let mut put = Command::new(&etcdctl);
        put.env("ETCDCTL_API", "3").args(["--endpoints", &endpoint]).current_dir(&ours);
        put.args(["--cacert=ca.pem", "--cert=client.pem", "--key=client.key"]);
        let put = put.args(["put", "/services/s/1", "10.0.0.1:1"]).output().expect("it runs");
        put.status.success().then_some(())
    });
    written.await;

    let mut good = Settings::new("test", &endpoint);
    let key = String::from_utf8(read(&ours, "client.key")).expect("PEM is text");
    good.tls.ca = Some(read(&ours, "ca.pem"));
    good.tls.identity = Some((read(&ours, "client.pem"), Secret::new(key)));
    found(&good).await;
    let with = |change: &dyn Fn(&mut Settings)| {
        let mut settings = good.clone();
        change(&mut settings);
        settings
    };
    found(&with(&|s| s.tls.server_name = Some("etcd.internal".into()))).await;
    let stranger = read(&theirs, "ca.pem");
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
