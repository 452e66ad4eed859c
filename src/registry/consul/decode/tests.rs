use super::*;
use crate::registry::Lookup;

fn query() -> Query {
    Query { service: "orders".into(), tags: Vec::new(), passing_only: true, lookup: Lookup::Srv }
}

fn found(body: &str) -> Decoded {
    endpoints(body.as_bytes(), &query()).expect("a readable answer")
}

fn addresses(decoded: &Decoded) -> Vec<String> {
    decoded.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect()
}

#[test]
fn a_real_answer_is_read_in_the_fields_that_matter() {
    let decoded = found(
        r#"[{"Node":{"ID":"x","Node":"n1","Address":"10.0.0.1","Meta":{"consul-network-segment":""}},
        "Service":{"ID":"o1","Service":"orders","Tags":["v1"],"Address":"10.0.0.9","Port":8080,
        "TaggedAddresses":{"lan_ipv4":{"Address":"10.0.0.9","Port":8080}},
        "Weights":{"Passing":7,"Warning":1},"Meta":{"zone":"a"},"Proxy":{"Config":{"n":1}},"Connect":{}},
        "Checks":[{"CheckID":"serfHealth","Status":"passing","Definition":{}}]}]"#,
    );
    assert_eq!(
        decoded.endpoints,
        [Endpoint {
            scheme: Scheme::Http,
            address: HostPort { host: "10.0.0.9".into(), port: 8080 },
            weight: 7,
            zone: Some("a".into()),
        }]
    );
    assert_eq!(decoded.skipped, Vec::<String>::new());
}

#[test]
fn null_and_empty_lists_are_empty_sets() {
    assert_eq!(found("null"), Decoded::default());
    assert_eq!(found("[]"), Decoded::default());
    let nulls = r#"[{"Node":{"Address":"10.0.0.1"},"Service":{"Port":80,"Tags":null,"Meta":null,"Weights":null,
        "Address":null},"Checks":null}]"#;
    assert_eq!(addresses(&found(nulls)), ["10.0.0.1:80"], "the node's address stands in");
}

#[test]
fn a_bad_entry_is_skipped_and_the_others_stay() {
    let decoded = found(
        r#"[{"Service":{"ID":"a","Address":"10.0.0.1","Port":0}},
        {"Service":{"ID":"b","Address":"","Port":80},"Node":{"Node":"n","Address":""}},
        {"Service":{"ID":"c","Address":"10.0.0.1/x","Port":80}},
        {"Service":{"ID":"d","Address":"10.0.0.1","Port":70000}},
        {"Service":{"ID":"e","Address":"10.0.0.1","Port":"80"}},
        {"Service":{"ID":"f","Address":"10.0.0.1","Port":80,"Meta":{"scheme":"https"}}},
        {"Service":{"ID":"g","Address":"10.0.0.7","Port":80}}, 5, {"Node":{}}]"#,
    );
    assert_eq!(addresses(&decoded), ["10.0.0.7:80"]);
    assert_eq!(decoded.skipped.len(), 8, "{:?}", decoded.skipped);
}

#[test]
fn an_answer_that_makes_no_sense_is_an_error_and_no_empty_set() {
    for body in ["", "{}", r#"[{"Service""#, r#""x""#, "[5]", r#"[{"Service":5},{"Checks":{}}]"#] {
        assert!(endpoints(body.as_bytes(), &query()).is_err(), "{body} was taken");
    }
    assert!(services(b"[]").is_err());
    assert!(checks(b"{}").is_err());
}

#[test]
fn ipv6_loses_its_brackets_and_gets_them_back_when_shown() {
    let body = r#"[{"Service":{"Address":"[::1]","Port":80}},{"Service":{"Address":"fe80::1","Port":80}}]"#;
    assert_eq!(addresses(&found(body)), ["[::1]:80", "[fe80::1]:80"]);
}

#[test]
fn the_set_is_sorted_and_holds_each_address_once() {
    let body = r#"[{"Service":{"Address":"10.0.0.2","Port":80}},
        {"Service":{"Address":"10.0.0.1","Port":80,"Weights":{"Passing":2}}},
        {"Service":{"Address":"10.0.0.1","Port":80,"Weights":{"Passing":5}}}]"#;
    let decoded = found(body);
    assert_eq!(addresses(&decoded), ["10.0.0.1:80", "10.0.0.2:80"]);
    assert_eq!(decoded.endpoints[0].weight, 5);
}

#[test]
fn meta_weight_stands_above_consuls_own_and_nonsense_counts_for_nothing() {
    let weight = |meta: &str| {
        let body = format!(
            r#"[{{"Service":{{"Address":"a","Port":80,"Weights":{{"Passing":3}},"Meta":{{"weight":{meta}}}}}}}]"#
        );
        found(&body).endpoints[0].weight
    };
    assert_eq!(weight(r#""9""#), 9);
    for nonsense in [r#""""#, r#""x""#, r#""-1""#, r#""0""#, "4", "null"] {
        assert_eq!(weight(nonsense), 3, "{nonsense}");
    }
    assert_eq!(weight(r#""99999999""#), 65_535);
}

#[test]
fn every_tag_must_be_present() {
    let body = r#"[{"Service":{"Address":"a","Port":80,"Tags":["v1","blue"]}},
        {"Service":{"Address":"b","Port":80,"Tags":["v1"]}},{"Service":{"Address":"c","Port":80}}]"#;
    let query = Query { tags: vec!["v1".into(), "blue".into()], ..query() };
    assert_eq!(addresses(&endpoints(body.as_bytes(), &query).unwrap()), ["a:80"]);
}

#[test]
fn without_passing_only_a_warning_serves_with_its_own_weight_and_a_critical_one_does_not() {
    let body = r#"[{"Service":{"Address":"a","Port":80,"Weights":{"Passing":9,"Warning":2}},"Checks":[{"Status":"warning"}]},
        {"Service":{"Address":"b","Port":80},"Checks":[{"Status":"passing"},{"Status":"critical"}]},
        {"Service":{"Address":"c","Port":80},"Checks":[{"Status":"maintenance"}]}]"#;
    let lenient = Query { passing_only: false, ..query() };
    let decoded = endpoints(body.as_bytes(), &lenient).unwrap();
    assert_eq!(addresses(&decoded), ["a:80"]);
    assert_eq!(decoded.endpoints[0].weight, 2);
    assert_eq!(addresses(&found(body)), Vec::<String>::new());
}

proptest::proptest! {
    #[test]
    fn no_answer_panics(body: Vec<u8>) {
        drop((endpoints(&body, &query()), services(&body), checks(&body)));
    }

    #[test]
    fn no_list_of_json_panics(text in r#"\[(\{"(Service|Node|Checks)":[\[{]?("(Port|Address|Meta|Tags)":(-?[0-9]{1,6}|null|"[^"\\]{0,6}"|\[\]))?[\]}]?\},?){0,4}\]"#) {
        drop(endpoints(text.as_bytes(), &query()));
    }
}
