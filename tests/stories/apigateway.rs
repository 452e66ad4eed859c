//! go-kit's apigateway example, as its README tells it.

use std::collections::BTreeMap;

use super::gateway::{Gateway, apigateway, frontgate};
use super::support::consul::Consul;
use super::{Scene, or_skip};

#[tokio::test]
async fn every_operation_answers_and_both_instances_share_the_work() {
    let agent = or_skip!(Consul::dev().await);
    let scene = Scene::set(&agent).await;
    for (path, body, right, backends) in [
        ("/addsvc/sum", r#"{"a":1,"b":2}"#, r#"{"v":3}"#, &scene.addsvc),
        ("/addsvc/concat", r#"{"a":"x","b":"y"}"#, r#"{"v":"xy"}"#, &scene.addsvc),
        ("/stringsvc/uppercase", r#"{"s":"hello"}"#, r#"{"v":"HELLO"}"#, &scene.stringsvc),
        ("/stringsvc/count", r#"{"s":"hello"}"#, r#"{"v":5}"#, &scene.stringsvc),
    ] {
        let mut client = scene.gateway.client();
        let mut shares = BTreeMap::<String, u32>::new();
        for _ in 0..10 {
            let answer = client.post(path, body).await.expect("an answer");
            assert_eq!((answer.status, answer.body.as_str()), (200, right), "{path}");
            assert_eq!(answer.header("x-request-id").len(), 32, "{answer:?}");
            *shares.entry(answer.instance()).or_default() += 1;
        }
        let expected = backends.iter().map(|backend| (backend.address.clone(), 5)).collect();
        assert_eq!(shares, expected, "{path}: in turn, over one connection");
    }
    let refused = scene.gateway.client().post("/addsvc/sum", "{}").await.expect("an answer");
    assert_eq!(refused.status, 400, "a backend's own refusal passes");
    assert_eq!(refused.header("x-frontgate-code"), "");
    let lost = scene.gateway.client().get("/elsewhere").await.expect("an answer");
    assert_eq!((lost.status, lost.header("x-frontgate-code")), (404, "no_route"));
}

#[tokio::test]
async fn the_command_line_shows_what_runs() {
    let agent = or_skip!(Consul::dev().await);
    let scene = Scene::set(&agent).await;
    let Gateway { admin, .. } = scene.gateway;
    let mut client = scene.gateway.client();
    for _ in 0..4 {
        client.post("/addsvc/sum", r#"{"a":1,"b":2}"#).await.expect("an answer");
    }
    let admin = format!("http://{admin}");
    let table = |subject: &str| {
        let shown = frontgate(&[subject, "--admin", &admin]);
        assert!(shown.status.success(), "{shown:?}");
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        let row = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        text.lines().map(row).collect::<Vec<_>>()
    };
    let routes = table("routes");
    assert_eq!(routes[0][0], "NAME");
    assert_eq!(routes[1][..7], ["addsvc", "/addsvc/*", "*", "*", "addsvc", "4", "0"]);
    assert_eq!(routes[2][..7], ["stringsvc", "/stringsvc/*", "*", "*", "stringsvc", "0", "0"]);
    assert_eq!(routes.len(), 3);
    let services = table("services");
    assert_eq!(services[1], ["addsvc", "consul", "round_robin", "ok", "live", "2/2", "4", "0"]);
    assert_eq!(services.len(), 3);
    let instances = table("instances");
    assert_eq!(instances.len(), 5);
    for backend in &scene.addsvc {
        let row = instances.iter().find(|row| row.get(1) == Some(&backend.address));
        let row = row.unwrap_or_else(|| panic!("{} in {instances:?}", backend.address));
        assert_eq!(row[0], "addsvc");
        assert_eq!(row[2..], ["ready", "off", "off", "1", "-", "0", "2", "0"]);
    }
    let json = frontgate(&["services", "--admin", &admin, "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["services"].as_array().map(Vec::len), Some(2));
    let away = frontgate(&["routes", "--admin", "http://127.0.0.1:1"]);
    assert_eq!(away.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&away.stderr).lines().count(), 1, "{away:?}");
}

#[tokio::test]
async fn the_example_checks_as_good_in_one_line() {
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/apigateway/frontgate.toml");
    let checked = frontgate(&["check", "--config", config]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    assert_eq!(String::from_utf8_lossy(&checked.stdout).lines().count(), 1, "{checked:?}");
    assert!(checked.stderr.is_empty(), "{checked:?}");
}

#[tokio::test]
async fn the_example_runs_with_nothing_around_it() {
    let nobody = super::support::ports::free(1)[0];
    let gateway = Gateway::start(&apigateway(&format!("http://127.0.0.1:{nobody}"))).await;
    let answer = gateway.client().get("/addsvc/healthz").await.expect("an answer");
    assert_eq!((answer.status, answer.header("x-frontgate-code")), (503, "no_instance"));
    assert_eq!(gateway.end().await.code(), Some(0));
}
