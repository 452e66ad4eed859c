use super::*;

const NOW: Duration = Duration::from_secs(1_000_000);

fn rules() -> Rules {
    Rules {
        issuers: Vec::new(),
        audiences: Vec::new(),
        leeway: Duration::from_secs(30),
        required: Vec::new(),
        forward: Vec::new(),
    }
}

fn judge(rules: &Rules, payload: &str) -> Result<Duration, Lack> {
    let claims = Claims::parse(payload.as_bytes()).map_err(Lack::Bad)?;
    rules.check(&claims, NOW)
}

/// The reason for which it is bad.
fn bad(rules: &Rules, payload: &str) -> String {
    match judge(rules, payload) {
        Err(Lack::Bad(flaw)) => format!("{}: {}", flaw.description, flaw.reason),
        other => panic!("{payload}: {other:?}"),
    }
}

#[test]
fn times_are_numbers_and_hold_with_leeway() {
    for good in [
        r#"{"exp":1000001}"#,
        r#"{"exp":999970.5}"#,
        r#"{"exp":1.0e6}"#,
        r#"{"exp":999971,"nbf":1000030,"iat":1000030}"#,
        r#"{"exp":253402300799}"#,
        r#"{ "exp" : 1000001 , "nbf" : 0 }"#,
    ] {
        judge(&rules(), good).unwrap_or_else(|lack| panic!("{good}: {lack:?}"));
    }
    let until = judge(&rules(), r#"{"exp":1000001.5}"#).unwrap();
    assert_eq!(until, Duration::from_millis(1_000_031_500));
    for (payload, why) in [
        (r#"{"exp":999970}"#, "has expired"),
        (r#"{"exp":0}"#, "has expired"),
        ("{}", "no expiry"),
        (r#"{"exp":"1000001"}"#, "a time that is none"),
        (r#"{"exp":null}"#, "a time that is none"),
        (r#"{"exp":true}"#, "a time that is none"),
        (r#"{"exp":[1000001]}"#, "a time that is none"),
        (r#"{"exp":-1}"#, "a time that is none"),
        (r#"{"exp":1e400}"#, "a time that is none"),
        (r#"{"exp":18446744073709551616}"#, "a time that is none"),
        (r#"{"exp":1700000000000}"#, "a time that is none"),
        (r#"{"exp":1000001,"nbf":"0"}"#, "a time that is none"),
        (r#"{"exp":1000001,"iat":-5}"#, "a time that is none"),
        (r#"{"exp":1000001,"nbf":1000031}"#, "not valid yet"),
        (r#"{"exp":1000001,"iat":1000031}"#, "issued in the future"),
        (r#"{"exp":NaN}"#, "malformed"),
        (r#"{"exp":0x10}"#, "malformed"),
        (r#"{"exp":01000001}"#, "malformed"),
        (r#"{"exp":Infinity}"#, "malformed"),
    ] {
        let said = bad(&rules(), payload);
        assert!(said.contains(why), "{payload}: {said}");
    }
}

#[test]
fn claims_that_could_be_read_in_two_ways_are_not_read() {
    for payload in [
        r#"{"exp":1000001,"exp":2000000}"#,
        r#"{"exp":1000001,"sub":"a","sub":"b"}"#,
        r#"{"exp":1000001,"sub":"a","s\u0075b":"b"}"#,
        r#"{"exp":1000001} {}"#,
        r#"[{"exp":1000001}]"#,
        r#""exp""#,
        "",
        "{\"exp\":1000001,\"a\":\"\\ud800\"",
        r#"{"exp":1000001,}"#,
        r#"{'exp':1000001}"#,
    ] {
        assert!(bad(&rules(), payload).contains("malformed"), "{payload}");
    }
    let broken = Claims::parse(b"{\"exp\":1000001,\"x\":\"\xff\"}");
    assert!(broken.unwrap_err().reason.contains("not UTF-8"));
    let many: String = (0..300).map(|n| format!(",\"n{n}\":0")).collect();
    assert!(bad(&rules(), &format!("{{\"exp\":1000001{many}}}")).contains("too many"));
    let deep = format!(r#"{{"exp":1000001,"x":{}{}}}"#, "[".repeat(9000), "]".repeat(9000));
    assert!(judge(&rules(), &deep).is_ok() || bad(&rules(), &deep).contains("malformed"));
}

#[test]
fn issuer_and_audience_must_be_among_those_that_are_written() {
    let open = rules();
    let rules = Rules {
        issuers: vec!["https://a".into(), "https://b".into()],
        audiences: vec!["orders".into(), "stock".into()],
        ..rules()
    };
    let with = |more: &str| format!(r#"{{"exp":1000001,{more}}}"#);
    for good in
        [r#""iss":"https://b","aud":"stock""#, r#""iss":"https:\/\/a","aud":["x","orders"]"#]
    {
        judge(&rules, &with(good)).unwrap_or_else(|lack| panic!("{good}: {lack:?}"));
    }
    for (claims, why) in [
        (r#""aud":"stock""#, "issuer"),
        (r#""iss":"https://a/","aud":"stock""#, "issuer"),
        (r#""iss":"HTTPS://A","aud":"stock""#, "issuer"),
        (r#""iss":["https://a"],"aud":"stock""#, "issuer"),
        (r#""iss":"https://a""#, "audience"),
        (r#""iss":"https://a","aud":"stock orders""#, "audience"),
        (r#""iss":"https://a","aud":[]"#, "audience"),
        (r#""iss":"https://a","aud":["stock",7]"#, "audience"),
        (r#""iss":"https://a","aud":{"stock":1}"#, "audience"),
        (r#""iss":"https://a","aud":null"#, "audience"),
    ] {
        let said = bad(&rules, &with(claims));
        assert!(said.contains(why), "{claims}: {said}");
    }
    // Nobody said who this gateway is.
    assert!(judge(&open, &with(r#""aud":"x","iss":7"#)).is_ok());
}

#[test]
fn required_claims_are_words_entries_or_the_value_itself() {
    let needs = |claim: &str, words: &[&str]| Rules {
        required: vec![(claim.to_owned(), words.iter().map(|&w| w.to_owned()).collect())],
        ..rules()
    };
    let with = |more: &str| format!(r#"{{"exp":1000001,{more}}}"#);
    let scope = needs("scope", &["orders:read", "orders:write"]);
    for good in [
        r#""scope":"orders:write x orders:read""#,
        r#""scope":["orders:read","orders:write"]"#,
        r#""scope":[7,"orders:\u0072ead",{},"orders:write"]"#,
    ] {
        assert!(judge(&scope, &with(good)).is_ok(), "{good}");
    }
    for short in [
        r#""scope":"orders:read""#,
        r#""scope":"orders:read,orders:write""#,
        r#""scope":["orders:read orders:write"]"#,
        r#""scope":{"orders:read":1,"orders:write":1}"#,
        r#""scope":"xorders:read orders:write""#,
        r#""scope":null"#,
        r#""x":1"#,
    ] {
        let lack = judge(&scope, &with(short)).expect_err(short);
        assert!(matches!(lack, Lack::Forbidden(_)), "{short}: {lack:?}");
    }
    for (claim, word) in [
        (r#""x":true"#, "true"),
        (r#""x":7"#, "7"),
        (r#""x":"a b""#, "a b"),
        (r#""x":[1,true]"#, "true"),
    ] {
        assert!(judge(&needs("x", &[word]), &with(claim)).is_ok(), "{claim}");
        assert!(judge(&needs("x", &["other"]), &with(claim)).is_err(), "{claim}");
    }
    // Whoever is expired learns nothing about what else is lacking.
    assert!(matches!(judge(&scope, r#"{"exp":1}"#), Err(Lack::Bad(_))));
}

#[test]
fn only_what_is_one_value_everywhere_becomes_a_header() {
    let header = |claim: &str| {
        let name = HeaderName::from_static("x-a");
        let rules = Rules { forward: vec![("a".into(), name)], ..rules() };
        let payload = format!(r#"{{"a":{claim}}}"#);
        let headers = rules.headers(&Claims::parse(payload.as_bytes()).unwrap());
        headers.into_iter().next().map(|(_, value)| value.as_bytes().to_vec())
    };
    for (claim, value) in [
        (r#""alice""#, "alice"),
        (r#""Jos\u00e9""#, "José"),
        (r#"["a","b",7]"#, "a,b,7"),
        ("true", "true"),
        (r#"{"x":1}"#, r#"{"x":1}"#),
        (r#""""#, ""),
    ] {
        assert_eq!(header(claim), Some(value.as_bytes().to_vec()), "{claim}");
    }
    for claim in [
        r#""a\r\nx-admin: 1""#,
        r#""a\u0000""#,
        r#"["a,admin"]"#,
        r#"["a\n"]"#,
        r#"" alice""#,
        r#""alice\t""#,
        r#"["a "]"#,
    ] {
        assert_eq!(header(claim), None, "{claim}");
    }
    assert!(rules().headers(&Claims::parse(b"{}").unwrap()).is_empty());
}

#[test]
fn claims_are_shown_as_text() {
    let claims = Claims::parse(br#"{"sub":"\u0061","n":7.50,"l":["x"],"t":true}"#).unwrap();
    let shown: Vec<_> = claims.shown().into_iter().map(|(n, v)| format!("{n}={v}")).collect();
    assert_eq!(shown, ["sub=a", "n=7.50", r#"l=["x"]"#, "t=true"]);
}
