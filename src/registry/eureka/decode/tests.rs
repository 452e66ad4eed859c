//! Reading answers, those of other server versions included.

use super::*;
use crate::registry::eureka::apps::Apps;

/// One line for each instance, and one for each reason.
fn shown(text: &str) -> Vec<String> {
    let answer = match answer(text.as_bytes()) {
        Ok(answer) => answer,
        Err(why) => return vec![format!("!! {why}")],
    };
    let listed = answer.listed.iter().map(|Listed { service, id, gone, instance }| {
        let entry = instance.entry.as_ref().map_or("-".to_owned(), |entry| {
            let Endpoint { address, weight, zone, .. } = &entry.endpoint;
            let zone = zone.as_deref().unwrap_or("");
            let up = if entry.up { "up" } else { "" };
            format!("{address} {weight} {zone} {} {up}", entry.tags.join(","))
        });
        let serves = if instance.serves { "" } else { " out" };
        let gone = if *gone { " gone" } else { "" };
        format!("{service} {id} {}{serves}{gone}", entry.trim_end())
    });
    listed.chain(answer.skipped.iter().map(|why| format!("! {why}"))).collect()
}

fn all(applications: &str) -> String {
    format!(r#"{{"applications":{{"application":{applications}}}}}"#)
}

/// What is read of one instance with these fields.
fn one(fields: &str) -> String {
    let lines =
        shown(&all(&format!(r#"[{{"name":"S","instance":[{{"instanceId":"i",{fields}}}]}}]"#)));
    lines.join("\n")
}

const HERE: &str = r#""ipAddr":"10.0.0.1","port":{"$":80,"@enabled":"true"}"#;

#[test]
fn an_answer_of_a_real_server_is_read_whole() {
    let text = r#"{"applications":{"versions__delta":"2","apps__hashcode":"UP_1_","application":[{"name":"ORDERS","instance":[{"instanceId":"127.0.0.1:orders:8080","hostName":"127.0.0.1","app":"ORDERS","ipAddr":"127.0.0.1","status":"UP","overriddenStatus":"UNKNOWN","port":{"$":8080,"@enabled":"true"},"securePort":{"$":443,"@enabled":"false"},"countryId":1,"dataCenterInfo":{"@class":"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo","name":"MyOwn"},"leaseInfo":{"renewalIntervalInSecs":1,"durationInSecs":30,"registrationTimestamp":1795237825592,"lastRenewalTimestamp":1795237825592,"evictionTimestamp":0,"serviceUpTimestamp":1795237825593},"metadata":{"zone":"a","weight":"3"},"homePageUrl":"http://127.0.0.1:8080/","statusPageUrl":"http://127.0.0.1:8080/info","healthCheckUrl":"http://127.0.0.1:8080/health","vipAddress":"orders","secureVipAddress":"orders","isCoordinatingDiscoveryServer":"false","lastUpdatedTimestamp":"1795237825593","lastDirtyTimestamp":"1795237825526","actionType":"ADDED"}]}]}}"#;
    assert_eq!(shown(text), ["orders 127.0.0.1:orders:8080 127.0.0.1:8080 3 a  up"]);
    let answer = answer(text.as_bytes()).unwrap();
    assert_eq!((answer.version, answer.hash.as_deref()), (Some(2), Some("UP_1_")));
    assert_eq!(Apps::new(answer.listed, &Apps::default()).hash(), "UP_1_");
}

#[test]
fn one_thing_may_stand_without_its_list_and_none_at_all() {
    let instance = format!(r#"{{"instanceId":"i","status":"UP",{HERE}}}"#);
    let app = |instances: &str| format!(r#"{{"name":"S","instance":{instances}}}"#);
    let expected = ["s i 10.0.0.1:80 1   up"];
    assert_eq!(shown(&all(&format!("[{}]", app(&format!("[{instance}]"))))), expected);
    assert_eq!(shown(&all(&app(&instance))), expected);
    for none in ["[]", &app("[]"), &app("null"), r#"{"name":"S"}"#] {
        assert_eq!(shown(&all(none)), [""; 0], "{none}");
    }
    for none in ["", r#","application":null"#] {
        let text = format!(r#"{{"applications":{{"apps__hashcode":""{none}}}}}"#);
        assert_eq!(shown(&text), [""; 0], "{none}");
        assert_eq!(answer(text.as_bytes()).unwrap().hash.as_deref(), Some(""));
    }
}

#[test]
fn the_overridden_status_wins_unless_it_is_unknown() {
    for (status, expected) in [
        (r#""status":"UP""#, "s i 10.0.0.1:80 1   up"),
        (r#""status":"up""#, "s i 10.0.0.1:80 1   up"),
        (r#""status":"UP","overriddenStatus":"UNKNOWN""#, "s i 10.0.0.1:80 1   up"),
        (r#""status":"UP","overriddenstatus":"UNKNOWN""#, "s i 10.0.0.1:80 1   up"),
        (r#""status":"DOWN","overriddenStatus":"UP""#, "s i 10.0.0.1:80 1   up"),
        (r#""status":"UP","overriddenStatus":"OUT_OF_SERVICE""#, "s i 10.0.0.1:80 1 out"),
        (r#""status":"UP","overriddenstatus":"DOWN""#, "s i 10.0.0.1:80 1 out"),
        (r#""status":"DOWN""#, "s i 10.0.0.1:80 1 out"),
        (r#""status":"STARTING""#, "s i 10.0.0.1:80 1"),
        (r#""status":"UNKNOWN""#, "s i 10.0.0.1:80 1"),
        (r#""status":"SLEEPY""#, "s i 10.0.0.1:80 1"),
        (r#""status":7"#, "s i 10.0.0.1:80 1"),
        (r#""status":null"#, "s i 10.0.0.1:80 1"),
        (r#""status":"UP","actionType":"DELETED""#, "s i 10.0.0.1:80 1   up gone"),
    ] {
        assert_eq!(one(&format!("{HERE},{status}")), expected, "{status}");
    }
}

#[test]
fn ports_and_their_flags_may_be_numbers_text_and_flags() {
    let tls_only = "s i -\n! `i` of s: it answers over TLS only, which is not spoken here";
    let closed = "s i -\n! `i` of s: it has no port that is open";
    let wrong = "s i -\n! `i` of s: its port is no port";
    for (port, expected) in [
        (r#"{"$":80,"@enabled":"true"}"#, "s i 10.0.0.1:80 1   up"),
        (r#"{"$":"80","@enabled":true}"#, "s i 10.0.0.1:80 1   up"),
        (r#"{"$":80}"#, "s i 10.0.0.1:80 1   up"),
        ("80", "s i 10.0.0.1:80 1   up"),
        (r#""80""#, "s i 10.0.0.1:80 1   up"),
        (r#"80,"securePort":{"$":443,"@enabled":"true"}"#, "s i 10.0.0.1:80 1   up"),
        (r#"{"$":80,"@enabled":"false"},"securePort":{"$":443,"@enabled":"true"}"#, tls_only),
        (r#"{"$":0,"@enabled":false},"securePort":{"$":"443","@enabled":true}"#, tls_only),
        (r#"{"$":80,"@enabled":"false"},"securePort":{"$":443,"@enabled":"false"}"#, closed),
        (r#"{"$":80,"@enabled":"no"},"securePort":"?""#, closed),
        (r#"null,"securePort":443"#, closed),
        ("0", wrong),
        ("70000", wrong),
        ("-1", wrong),
        ("[80]", wrong),
        (r#""http""#, wrong),
        (r#"{"@enabled":"true"}"#, "s i -\n! `i` of s: it has no port"),
    ] {
        let fields = format!(r#""ipAddr":"10.0.0.1","status":"UP","port":{port}"#);
        assert_eq!(one(&fields), expected, "{port}");
    }
}

#[test]
fn an_address_is_an_ip_else_a_host_name() {
    for (fields, expected) in [
        (r#""ipAddr":"10.0.0.1","hostName":"a.internal""#, "s i 10.0.0.1:80 1   up"),
        (r#""hostName":"A.internal""#, "s i a.internal:80 1   up"),
        (r#""ipAddr":"","hostName":"a.internal""#, "s i a.internal:80 1   up"),
        (r#""ipAddr":"a b","hostName":"a.internal""#, "s i a.internal:80 1   up"),
        (r#""ipAddr":7,"hostName":"::1""#, "s i [::1]:80 1   up"),
        (r#""ipAddr":"a b""#, "s i -\n! `i` of s: `a b` is no address"),
        (r#""ipAddr":null"#, "s i -\n! `i` of s: it has no address"),
    ] {
        assert_eq!(one(&format!(r#"{fields},"port":80,"status":"UP""#)), expected, "{fields}");
    }
}

#[test]
fn metadata_weighs_places_and_opts_in() {
    for (fields, expected) in [
        (
            r#""metadata":{"weight":"7","zone":"a","frontgate":"true"}"#,
            "s i 10.0.0.1:80 7 a frontgate up",
        ),
        (
            r#""metadata":{"weight":3.9,"zone":"","frontgate":true}"#,
            "s i 10.0.0.1:80 3  frontgate up",
        ),
        (r#""metadata":{"weight":"heavy","frontgate":"false"}"#, "s i 10.0.0.1:80 1   up"),
        (r#""metadata":{"weight":1e99}"#, "s i 10.0.0.1:80 65535   up"),
        (r#""metadata":{"@class":"java.util.Collections$EmptyMap"}"#, "s i 10.0.0.1:80 1   up"),
        (r#""metadata":"none""#, "s i 10.0.0.1:80 1   up"),
        (
            r#""dataCenterInfo":{"name":"Amazon","metadata":{"availability-zone":"us-1a"}}"#,
            "s i 10.0.0.1:80 1 us-1a  up",
        ),
        (
            r#""metadata":{"zone":"a"},"dataCenterInfo":{"metadata":{"availability-zone":"b"}}"#,
            "s i 10.0.0.1:80 1 a  up",
        ),
        (r#""dataCenterInfo":[]"#, "s i 10.0.0.1:80 1   up"),
    ] {
        assert_eq!(one(&format!(r#"{HERE},"status":"UP",{fields}"#)), expected, "{fields}");
    }
}

#[test]
fn an_instance_is_known_by_the_first_name_that_it_has() {
    for (fields, id) in [
        (r#""instanceId":"i","hostName":"h""#, "i"),
        (r#""dataCenterInfo":{"metadata":{"instance-id":"i-7"}},"hostName":"h""#, "i-7"),
        (r#""instanceId":"","hostName":"h""#, "h"),
        (r#""instanceId":7"#, "10.0.0.1"),
    ] {
        let text = all(&format!(r#"{{"instance":{{"app":"S",{fields},"status":"UP",{HERE}}}}}"#));
        assert_eq!(shown(&text), [format!("s {id} 10.0.0.1:80 1   up")]);
    }
}

#[test]
fn odd_things_are_left_out_and_the_rest_is_kept() {
    let good = format!(r#"{{"instanceId":"i","status":"UP",{HERE}}}"#);
    let text = all(&format!(
        r#"[7,{{"name":"A","instance":"none"}},{{"name":"S","instance":[7,["i"],{{}},{{"app":1,"port":{{}}}},{good},{{"instanceId":"i","instanceId":"j"}}]}},
           {{"name":7,"instance":{good}}}]"#
    ));
    let lines = shown(&text);
    assert_eq!(lines[0], "s i 10.0.0.1:80 1   up");
    let reasons = lines[1..].join("\n");
    for part in [
        "! an application: it is no object",
        "! an application: neither a list nor an object",
        "! an instance of S: it is no object",
        "! an instance of S: it has no id, no host name and no address",
        "! an instance of S: duplicate field `instanceId`",
        "! an instance of ?: it belongs to no application",
    ] {
        assert!(reasons.contains(part), "{part:?} in {lines:#?}");
    }
    assert_eq!(lines.len(), 9, "{lines:#?}");
}

#[test]
fn what_makes_no_sense_as_a_whole_is_an_error() {
    for text in [
        "",
        "{",
        "[]",
        "{}",
        r#"[{"applications":{"apps__hashcode":""}}]"#,
        r#"{"applications":{}}"#,
        r#"{"applications":[]}"#,
        r#"{"applications":["1","",[]]}"#,
        r#"{"applications":{"application":7}}"#,
        r#"{"applications":{"application":[7,"x"]}}"#,
        r#"{"applications":{"application":[{"name":"S","instance":[7]}]}}"#,
        &"[".repeat(10_000),
        &format!(r#"{{"applications":{{"application":{}}}}}"#, "[".repeat(10_000)),
    ] {
        let shown = shown(text);
        assert!(shown[0].starts_with("!! ") && shown[0].len() < 300, "{text:.60}: {shown:?}");
    }
}

#[test]
fn a_flood_is_no_registry_and_a_long_reason_is_cut() {
    let instances = vec!["7"; MOST + 1].join(",");
    let flood = shown(&all(&format!(r#"{{"name":"S","instance":[{instances}]}}"#)));
    assert_eq!(flood, [format!("!! the answer lists more than {MOST} instances")]);
    let long =
        format!(r#"{{"name":"S","instance":["{}",{{"hostName":"h"}}]}}"#, "x".repeat(1 << 20));
    let lines = shown(&all(&long));
    assert!(lines.iter().all(|line| line.len() < 300), "{}", lines[1].len());
}
