use super::*;
use crate::registry::ledger::Blame;

fn cluster(endpoints: &[&str]) -> Cluster {
    let mut settings = Settings::new("test", "");
    settings.endpoints = endpoints.iter().map(|endpoint| (*endpoint).to_owned()).collect();
    Cluster::new(&settings).unwrap()
}

#[test]
fn what_etcd_says_is_understood() {
    let cluster = cluster(&["a:1"]);
    for (status, body, expected) in [
        (
            401,
            r#"{"error":"etcdserver: invalid auth token","message":"etcdserver: invalid auth token","code":16}"#,
            No::Token,
        ),
        (400, r#"{"message":"etcdserver: revision of auth store is old","code":3}"#, No::Token),
        (400, r#"{"error":"etcdserver: user name is empty","code":3}"#, No::Token),
        (
            400,
            r#"{"message":"etcdserver: authentication failed, invalid user ID or password","code":3}"#,
            No::Access,
        ),
        (403, r#"{"message":"etcdserver: permission denied","code":7}"#, No::Rights),
        (412, r#"{"message":"etcdserver: authentication is not enabled","code":9}"#, No::Open),
        (404, r#"{"message":"etcdserver: requested lease not found","code":5}"#, No::Lease),
        (
            400,
            r#"{"message":"etcdserver: mvcc: required revision has been compacted","code":11}"#,
            No::Compacted,
        ),
        (
            400,
            r#"{"message":"etcdserver: duplicate key given in txn request","code":3}"#,
            No::Request,
        ),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let failure = cluster.refusal(0, "/v3/kv/range", status, body.as_bytes());
        assert!(matches!(&failure, Failure::Cluster(no, _) if *no == expected), "{failure:?}");
    }
}

#[test]
fn what_a_member_cannot_say_is_no_refusal() {
    let cluster = cluster(&["a:1"]);
    for (status, body, blame) in [
        (503, r#"{"message":"etcdserver: no leader","code":14}"#, Blame::Broken),
        (504, r#"{"message":"etcdserver: request timed out","code":14}"#, Blame::Broken),
        (500, "oops", Blame::Broken),
        (429, "", Blame::Broken),
        (404, "404 page not found\n", Blame::Refused),
        (302, "", Blame::Broken),
        (403, "<html>", Blame::Refused),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let failure = cluster.refusal(0, "/v3/kv/range", status, body.as_bytes());
        let Failure::Member(trouble) = failure else { panic!("{failure:?}") };
        assert_eq!(trouble.blame(), blame, "{trouble}");
        assert!(trouble.to_string().starts_with("http://a:1"), "{trouble}");
    }
    let off = cluster.refusal(0, "/v3/kv/range", StatusCode::NOT_FOUND, b"404 page not found");
    assert!(off.trouble().to_string().contains("--enable-grpc-gateway"));
}

#[test]
fn a_member_is_left_once_however_many_see_it_fail() {
    let cluster = cluster(&["a:1", "b:1", "c:1"]);
    for (left, next) in [(0, 1), (0, 1), (1, 2), (0, 2), (2, 0)] {
        cluster.leave(left);
        assert_eq!(cluster.current(), next);
    }
}
