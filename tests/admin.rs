//! The admin server over a real socket: shapes, who may ask, and the page of metrics.

#[cfg(test)]
#[path = "admin/exposition.rs"]
mod exposition;
#[cfg(test)]
#[path = "admin/world.rs"]
mod world;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use frontgate::assemble::Phase;
use frontgate::cli::report::{Subject, report};
use frontgate::exchange::Fate;
use frontgate::forward::service::Source;
use frontgate::refusal::Refusal;
use frontgate::registry::{Health, Status};
use serde_json::{Value, json};

use exposition::Exposition;
use world::{Admin, Answer, count, status, world};

#[tokio::test]
async fn a_live_process_is_healthy_and_ready_with_each_parts_state() {
    let admin = Admin::start(world().await, None).await;
    assert_eq!(admin.get("/healthz").await.status, 200);
    let ready = admin.get("/readyz").await;
    assert_eq!(ready.status, 200);
    assert_eq!(
        ready.json(),
        json!({
            "ready": true,
            "draining": false,
            "listeners": {"web": "127.0.0.1:8080"},
            "parts": [
                {"name": "registry.main", "ready": true, "required": true, "reason": null},
                {"name": "registry.spare", "ready": false, "required": false,
                 "reason": "nothing was heard yet"},
            ],
        })
    );
}

#[tokio::test]
async fn readiness_fails_while_draining_and_while_a_required_registry_was_not_heard() {
    let whole = world().await;
    let (world, main) = (Arc::clone(&whole.world), Arc::clone(&whole.main));
    let admin = Admin::start(whole, None).await;
    main.set(Status { health: Health::Failed, ..Status::default() });
    let unheard = admin.get("/readyz").await;
    assert_eq!((unheard.status, &unheard.json()["draining"]), (503, &json!(false)));
    assert_eq!(unheard.json()["parts"][0]["ready"], false);
    main.set(Status { health: Health::Stale, ..status() });
    assert_eq!(admin.get("/readyz").await.status, 200);
    for phase in [Phase::Draining, Phase::Closing] {
        world.phase.send_replace(phase);
        let draining = admin.get("/readyz").await;
        assert_eq!((draining.status, &draining.json()["draining"]), (503, &json!(true)));
    }
    assert_eq!(admin.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn routes_are_shown_as_checked_with_their_place_and_traffic() {
    let whole = world().await;
    count(&whole.world, 0, 200, Fate::Answered, None);
    count(&whole.world, 0, 502, Fate::UpstreamFailed, Some(Refusal::Upstream));
    let admin = Admin::start(whole, None).await;
    let routes = admin.get("/routes").await.json();
    let names: Vec<_> = routes["routes"].as_array().unwrap().iter().map(|r| &r["name"]).collect();
    assert_eq!(names, ["orders", "catalog.all/stock", "catalog.all/users"]);
    let expected = json!({
        "name": "orders", "label": "orders", "source": "frontgate.toml:18", "paths": ["/orders/*"],
        "hosts": ["*.example.com"], "methods": ["GET"], "listen": ["web"], "service": "orders",
        "priority": 7, "in_flight": 0, "requests": 2, "errors": 1,
    });
    assert_eq!(routes["routes"][0], expected);
    assert_eq!(admin.get("/routes/orders").await.json(), expected);
    assert_eq!(routes["routes"][1]["source"], Value::Null);
    assert_eq!(routes["routes"][1]["label"], "catalog.all");
    for path in ["/routes/catalog.all/stock", "/routes/catalog.all%2Fstock"] {
        assert_eq!(admin.get(path).await.json()["service"], "main/stock", "{path}");
    }
    assert_refused(&admin.get("/routes/nothing").await, 404, "not_found");
}

#[tokio::test]
async fn services_are_found_by_name_also_with_a_slash_in_it() {
    let admin = Admin::start(world().await, None).await;
    let services = admin.get("/services").await.json();
    assert_eq!(services["services"].as_array().unwrap().len(), 3);
    for path in ["/services/main/stock", "/services/main%2Fstock", "/services/main%2fstock"] {
        let service = admin.get(path).await.json();
        assert_eq!(service, services["services"][1], "{path}");
        assert_eq!(service["name"], "main/stock");
        assert_eq!(service["registry"], "main");
    }
    assert_eq!(services["services"][0]["registry"], Value::Null);
    assert_refused(&admin.get("/services/nothing").await, 404, "not_found");
    assert_refused(&admin.get("/services/%ff").await, 400, "bad_request");
}

#[tokio::test]
async fn an_instance_of_a_catalogs_service_is_drained_by_whoever_has_the_token() {
    let admin = Admin::start(world().await, Some("s3cret")).await;
    let token = ["content-length: 0", "authorization: Bearer s3cret"];
    for name in ["main/stock", "main%2Fstock"] {
        let at = format!("/services/{name}/instances/127.0.0.1:9002");
        let (drain, restore) = (format!("{at}/drain?for=10m"), format!("{at}/restore"));
        let bare = admin.ask("POST", &drain, &["content-length: 0"]).await;
        assert_refused(&bare, 401, "unauthenticated");
        let elsewhere = ["origin: http://evil.example", token[0], token[1]];
        assert_refused(&admin.ask("POST", &drain, &elsewhere).await, 403, "forbidden");
        assert_eq!(admin.get("/services/main/stock").await.json()["state"], "ok");
        let drained = admin.ask("POST", &drain, &token).await;
        assert_eq!((drained.status, &drained.json()["state"]), (200, &json!("draining")), "{name}");
        let service = admin.get("/services/main/stock").await.json();
        assert_eq!(service["state"], "empty");
        assert_eq!(service["instances"][0], drained.json());
        assert_eq!(admin.ask("POST", &restore, &token).await.json()["drained_until"], Value::Null);
    }
    let nobody = "/services/main/stock/instances/127.0.0.1:1/drain";
    assert_refused(&admin.ask("POST", nobody, &token).await, 404, "not_found");
}

#[tokio::test]
async fn a_service_whose_registry_is_away_says_since_when_and_why() {
    let whole = world().await;
    whole.main.lose(SystemTime::UNIX_EPOCH, "connection refused");
    whole.sources(|source| matches!(source, Source::Stale { .. })).await;
    let admin = Admin::start(whole, None).await;
    assert_eq!(
        admin.get("/services/main/stock").await.json(),
        json!({
            "name": "main/stock", "registry": "main", "balance": "round_robin", "breaker": "off", "state": "degraded",
            "panic": false, "source": "stale", "stale_since": "1970-01-01T00:00:00.000Z",
            "last_error": "connection refused", "in_flight": 0, "requests": 0, "failures": 0,
            "attempts": {"ok": 0, "connect": 0, "reset": 0, "timeout": 0, "malformed": 0, "client_gone": 0},
            "instances": [{
                "address": "127.0.0.1:9002", "scheme": "http", "weight": 3, "zone": "a", "state": "ready",
                "health": "off", "health_error": null, "health_checked": null, "breaker": "off", "drained_until": null, "ejected_until": null, "in_flight": 0, "requests": 0,
                "failures": 0, "connections": {"active": 0, "idle": 0},
            }],
        })
    );
    let page = Exposition::parse(&admin.get("/metrics").await.body);
    let age = [("registry", "main"), ("service", "main/stock")];
    assert!(page.value("frontgate_registry_age_seconds", &age).unwrap() > 1e9);
}

#[tokio::test]
async fn the_configuration_is_shown_without_its_secrets() {
    let admin = Admin::start(world().await, None).await;
    let config = admin.get("/config").await;
    assert_eq!(config.json()["route"][0]["name"], "orders");
    assert_eq!(config.json()["workers"], 2);
    assert!(!config.body.contains("hidden"), "{}", config.body);
}

#[tokio::test]
async fn registries_say_where_they_stand() {
    let admin = Admin::start(world().await, None).await;
    assert_eq!(
        admin.get("/registries").await.json(),
        json!({"registries": [
            {"name": "main", "kind": "shown", "required": true, "state": "ok",
             "last_success": "1970-01-01T00:00:09.000Z", "last_error": null,
             "services": 2, "instances": 2},
            {"name": "spare", "kind": "shown", "required": false, "state": "connecting",
             "last_success": null, "last_error": null, "services": 0, "instances": 0},
        ]})
    );
}

#[tokio::test]
async fn what_is_not_there_or_takes_another_method_is_said_in_json() {
    let admin = Admin::start(world().await, None).await;
    for path in ["/", "/nothing", "/services/", "/healthz/"] {
        assert_refused(&admin.get(path).await, 404, "not_found");
    }
    let posted = admin.ask("POST", "/routes", &["content-length: 0"]).await;
    assert_refused(&posted, 405, "method_not_allowed");
    assert_eq!(posted.header("allow"), Some("GET,HEAD"));
    let head = admin.ask("HEAD", "/readyz", &[]).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn no_page_from_elsewhere_may_ask() {
    let admin = Admin::start(world().await, None).await;
    let own = format!("origin: http://{}", admin.address);
    assert_eq!(admin.ask("GET", "/routes", &[&own]).await.status, 200);
    for origin in ["http://evil.example", "http://127.0.0.1:1", "null"] {
        let origin = format!("origin: {origin}");
        assert_refused(&admin.ask("GET", "/routes", &[&origin]).await, 403, "forbidden");
        assert_refused(&admin.ask("GET", "/nothing", &[&origin]).await, 403, "forbidden");
    }
    let asks =
        |host: &str| admin.raw(format!("GET /healthz HTTP/1.1\r\n{host}connection: close\r\n\r\n"));
    assert_refused(&asks("host: evil.example\r\n").await, 403, "forbidden");
    assert_refused(&asks("").await, 400, "bad_request");
    assert_eq!(asks("host: localhost:9901\r\n").await.status, 200);
    assert_eq!(admin.raw("GET /healthz HTTP/1.0\r\n\r\n".into()).await.status, 200);
}

#[tokio::test]
async fn a_token_is_asked_for_on_writes_and_not_for_reads_on_this_machine() {
    let admin = Admin::start(world().await, Some("s3cret")).await;
    assert_eq!(admin.get("/routes").await.status, 200);
    let bare = admin.ask("POST", "/routes", &["content-length: 0"]).await;
    assert_refused(&bare, 401, "unauthenticated");
    assert_eq!(bare.header("www-authenticate"), Some("Bearer"));
    let wrong = ["content-length: 0", "authorization: Bearer wrong"];
    assert_refused(&admin.ask("POST", "/routes", &wrong).await, 401, "unauthenticated");
    let right = ["content-length: 0", "authorization: Bearer s3cret"];
    assert_refused(&admin.ask("POST", "/routes", &right).await, 405, "method_not_allowed");
}

#[tokio::test]
async fn the_page_of_metrics_is_well_formed_and_counts_what_happened() {
    let whole = world().await;
    count(&whole.world, 0, 200, Fate::Answered, None);
    count(&whole.world, 0, 200, Fate::Answered, None);
    count(&whole.world, 1, 503, Fate::Refused, Some(Refusal::NoInstance));
    count(&whole.world, 2, 200, Fate::Answered, None);
    let admin = Admin::start(whole, None).await;
    let answer = admin.get("/metrics").await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let page = Exposition::parse(&answer.body);
    let requests = |route, service, status, fate| {
        page.value(
            "frontgate_requests_total",
            &[
                ("route", route),
                ("service", service),
                ("method", "GET"),
                ("status", status),
                ("fate", fate),
            ],
        )
    };
    assert_eq!(requests("orders", "orders", "200", "answered"), Some(2.0));
    assert_eq!(requests("catalog.all", "main/stock", "503", "refused"), Some(1.0));
    assert_eq!(requests("catalog.all", "main/users", "200", "answered"), Some(1.0));
    let one = |name, labels: &[(&str, &str)]| page.value(name, labels);
    let refusals = [("route", "catalog.all"), ("code", "no_instance")];
    assert_eq!(one("frontgate_refusals_total", &refusals), Some(1.0));
    assert_eq!(one("frontgate_in_flight", &[("route", "catalog.all")]), Some(0.0));
    assert_eq!(one("frontgate_in_flight", &[("route", "-")]), Some(0.0));
    assert_eq!(one("frontgate_connections", &[("listener", "web")]), Some(3.0));
    assert_eq!(one("frontgate_registry_up", &[("registry", "main")]), Some(1.0));
    assert_eq!(one("frontgate_registry_up", &[("registry", "spare")]), Some(0.0));
    let ready = [("service", "main/stock"), ("state", "ready")];
    assert_eq!(one("frontgate_instances", &ready), Some(1.0));
    let age = [("registry", "main"), ("service", "main/stock")];
    assert_eq!(one("frontgate_registry_age_seconds", &age), Some(0.0));
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    assert_eq!(one("frontgate_build_info", &version), Some(1.0));
    assert!(one("process_resident_memory_bytes", &[]).unwrap() > 0.0);
    let took = [("route", "orders"), ("service", "orders")];
    assert_eq!(one("frontgate_request_duration_seconds_count", &took), Some(2.0));
    let within = [("route", "orders"), ("service", "orders"), ("le", "0.005")];
    assert_eq!(one("frontgate_request_duration_seconds_bucket", &within), Some(2.0));
}

#[tokio::test]
async fn the_verbs_print_tables_or_the_answer_unchanged() {
    let admin = Admin::start(world().await, None).await;
    let address = format!("http://{}", admin.address);
    let table = report(Subject::Routes, &address, None, false).await.unwrap();
    assert!(table.starts_with("NAME "), "{table}");
    assert!(table.contains("\norders  "), "{table}");
    assert_eq!(table.lines().count(), 4);
    let json = report(Subject::Services, &address, None, true).await.unwrap();
    assert_eq!(json, admin.get("/services").await.body);
    let refused = report(Subject::Routes, &format!("{address}/x"), None, false).await;
    assert!(refused.unwrap_err().contains("http://127.0.0.1:9901"));
}

#[tokio::test]
async fn a_stop_ends_idle_connections_and_the_port() {
    let admin = Admin::start(world().await, None).await;
    let address = admin.address;
    let idle = tokio::net::TcpStream::connect(address).await.unwrap();
    assert_eq!(admin.get("/healthz").await.status, 200);
    // Well before the grace for open requests is over.
    tokio::time::timeout(Duration::from_millis(1500), admin.stop()).await.unwrap();
    drop(idle);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

fn assert_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.body);
    let error = &answer.json()["error"];
    assert_eq!(error["code"], code);
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()));
}
