use std::net::SocketAddr;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderName, Method, Request};

use super::*;
use crate::config::{Problems, Section};
use crate::exchange::Client;
use crate::guard::auth::jws::Algorithm;
use crate::guard::auth::{FromTable, INFOS, Setting};

const SECRET: &str = "a secret that is longer than its hash: forty bytes";

/// The desk of a scheme that is written like this.
fn desk(text: &str) -> Tokens {
    let text = format!("kind = 'jwt'\nsecret = '{SECRET}'\nalgorithms = ['HS256']\n{text}");
    let info = INFOS.iter().find(|info| info.name == "jwt").unwrap();
    let section = Section::from_toml("staff", info, &text).unwrap_or_else(|e| panic!("{e}"));
    let mut problems = Problems::new();
    let setting = Setting { name: "staff", state: None };
    let jwt = Jwt::from_table(setting, &mut section.read(&mut problems));
    assert!(problems.is_empty(), "{problems}");
    Tokens::new(Arc::new(jwt.unwrap()))
}

fn token(claims: &str) -> String {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", encode(r#"{"alg":"HS256"}"#), encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn ask(desk: &Tokens, target: &str, fields: &[(&str, &str)]) -> Verdict {
    let mut request = Request::builder().uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let client = Client::new(SocketAddr::from(([127, 0, 0, 1], 9)), 0, 80, false);
    let exchange = Exchange::begin(&client, Method::GET, HeaderValue::from_static("id"));
    desk.check(&request.body(()).unwrap().into_parts().0, &exchange)
}

fn caller(verdict: Verdict) -> Rc<Caller> {
    match verdict {
        Verdict::In(caller) => caller,
        Verdict::Out(denied) => panic!("{denied:?}"),
        Verdict::Ask(_) => panic!("that takes no time"),
    }
}

/// What a refused client is told.
fn told(desk: &Tokens, verdict: Verdict) -> String {
    let Verdict::Out(denied) = verdict else { panic!("let in") };
    desk.challenge(&denied).unwrap().to_str().unwrap().to_owned()
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[test]
fn a_caller_is_what_its_token_says() {
    let desk = desk("forward = { sub = 'x-user', n = 'x-n' }\nstrip = true");
    let token = token(r#"{"exp":4000000000,"sub":"alice","n":7,"admin":true}"#);
    let first = caller(ask(&desk, "/", &[("authorization", &bearer(&token))]));
    assert_eq!((&*first.name, &*first.auth), ("alice", "staff"));
    assert_eq!((first.claim("n"), first.claim("admin")), (Some("7"), Some("true")));
    assert_eq!(first.headers.len(), 2);
    assert_eq!(first.strip, Some(Spot::Header(AUTHORIZATION)));
    // The second time nothing is made anew.
    let second = caller(ask(&desk, "/", &[("authorization", &bearer(&token))]));
    assert!(Rc::ptr_eq(&first, &second));
}

#[test]
fn a_token_is_taken_from_the_first_place_that_has_one() {
    let places = ["header:authorization", "header:x-token", "cookie:s", "query:t"];
    let desk = desk(&format!("from = {places:?}\nstrip = true"));
    let token = token(r#"{"exp":4000000000}"#);
    let basic = ("authorization", "Basic YTpi");
    let cookie = format!("s={token}");
    let strip = |verdict| caller(verdict).strip.clone().unwrap();
    for scheme in ["bearer", "BEARER ", "Bearer"] {
        let value = format!("{scheme} {token}");
        assert_eq!(
            strip(ask(&desk, "/", &[("authorization", &value)])),
            Spot::Header(AUTHORIZATION)
        );
    }
    let own = Spot::Header(HeaderName::from_static("x-token"));
    assert_eq!(strip(ask(&desk, "/", &[basic, ("x-token", &token)])), own);
    assert_eq!(strip(ask(&desk, "/", &[("x-token", &bearer(&token))])), own);
    assert_eq!(strip(ask(&desk, "/", &[basic, ("cookie", &cookie)])), Spot::Cookie("s".into()));
    assert_eq!(strip(ask(&desk, &format!("/?t={token}"), &[])), Spot::Query("t".into()));
    for none in [&[][..], &[basic], &[("cookie", "x=y")], &[("authorization", "Bearer")]] {
        assert!(matches!(ask(&desk, "/", none), Verdict::Out(Denied::Missing)), "{none:?}");
    }
    let value = bearer(&token);
    let twice = ask(&desk, "/", &[("authorization", &value), ("authorization", &value)]);
    assert!(told(&desk, twice).starts_with("Bearer error=\"invalid_request\""));
}

/// RFC 6750 section 2: a client must not use more than one way; whoever reads the request behind the gateway may take
/// the other token.
#[test]
fn of_tokens_in_several_places_none_is_picked() {
    let places = "from = ['header:authorization', 'cookie:s']";
    let (one, other) = (token(r#"{"exp":4e9,"sub":"a"}"#), token(r#"{"exp":4e9,"sub":"b"}"#));
    let both = |desk: &Tokens, one: &str, other: &str| {
        let cookie = format!("s={other}");
        ask(desk, "/", &[("authorization", &bearer(one)), ("cookie", &cookie)])
    };
    let desk_of = |more: &str| desk(&format!("{places}\n{more}"));
    let kept = desk_of("");
    assert_eq!(&*caller(both(&kept, &one, &one)).name, "a");
    // Also where one of them was seen before.
    for other in [&*other, "forged", "e30.e30.e30"] {
        let refused = told(&kept, both(&kept, &one, other));
        assert!(refused.starts_with("Bearer error=\"invalid_request\""), "{other}: {refused}");
        assert!(told(&kept, both(&kept, other, &one)).contains("invalid_request"), "{other}");
    }
    // Only one of two places would be cleared.
    let stripped = desk_of("strip = true");
    assert!(told(&stripped, both(&stripped, &one, &one)).contains("invalid_request"));
    assert!(caller(ask(&stripped, "/", &[("cookie", &format!("s={one}"))])).strip.is_some());
}

#[test]
fn a_client_is_told_what_is_missing() {
    let desk = desk("realm = 'shop'\nclaims = { scope = ['a', 'b'], role = 'x' }");
    assert_eq!(told(&desk, ask(&desk, "/", &[])), "Bearer realm=\"shop\"");
    let bad = ask(&desk, "/", &[("authorization", &bearer(&token(r#"{"exp":1}"#)))]);
    assert_eq!(
        told(&desk, bad),
        "Bearer realm=\"shop\", error=\"invalid_token\", error_description=\"the token has expired\""
    );
    let short = token(r#"{"exp":4000000000,"scope":"a"}"#);
    let short = ask(&desk, "/", &[("authorization", &bearer(&short))]);
    assert!(matches!(short, Verdict::Out(Denied::Forbidden { .. })));
    assert_eq!(
        told(&desk, short),
        "Bearer realm=\"shop\", error=\"insufficient_scope\", error_description=\"the token does not allow this\", scope=\"a b\""
    );
}

#[tokio::test(flavor = "current_thread")]
async fn after_some_signatures_the_others_get_their_turn() {
    let desk = desk("");
    let tokens: Vec<_> =
        (0..200).map(|n| token(&format!(r#"{{"exp":4000000000,"sub":"{n}"}}"#))).collect();
    let began = Instant::now();
    let verdicts: Vec<_> =
        tokens.iter().map(|one| ask(&desk, "/", &[("authorization", &bearer(one))])).collect();
    let at_once = verdicts.iter().filter(|one| matches!(one, Verdict::In(_))).count();
    let spells = usize::try_from(began.elapsed().as_millis()).unwrap() + 1;
    assert!((1..=8 * spells).contains(&at_once), "{at_once} in {spells} ms");
    let asking = async {
        for (n, verdict) in verdicts.into_iter().enumerate() {
            let judged = match verdict {
                Verdict::In(caller) => Ok(caller),
                Verdict::Out(denied) => Err(denied),
                Verdict::Ask(asking) => asking.await,
            };
            assert_eq!(&*judged.unwrap().name, n.to_string());
        }
    };
    tokio::task::LocalSet::new().run_until(asking).await;
}

/// Release figures: `cargo test --release --lib guard::auth::tokens -- --ignored --nocapture`.
#[test]
#[ignore = "measures"]
fn what_a_token_costs() {
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};

    const ROUNDS: u32 = 20_000;
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let der = pair.public_key().as_der().unwrap();
    let text = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n");
    let rsa = Keys::pem(pem.as_bytes(), &[Algorithm::Rs256]).unwrap();
    let bench = desk("forward = { sub = 'x-user' }").bench;
    *bench.keys.borrow_mut() = Some(Arc::new(rsa));
    let claims = r#"{"iss":"https://idp.example.com/realms/shop","aud":["orders","stock"],"sub":"f3b0c442-98fc-1c14-9afb-f4c8996fb924","exp":4000000000,"iat":1700000000,"scope":"orders:read orders:write profile","email":"alice@example.com","jti":"5f2c"}"#;
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signed =
        format!("{}.{}", encode(r#"{"alg":"RS256","typ":"JWT","kid":"k1"}"#), encode(claims));
    let mut signature = vec![0; pair.public_modulus_len()];
    let rng = aws_lc_rs::rand::SystemRandom::new();
    pair.sign(&RSA_PKCS1_SHA256, &rng, signed.as_bytes(), &mut signature).unwrap();
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&signature));
    let per = |what: &str, round: &mut dyn FnMut()| {
        round();
        let start = Instant::now();
        (0..ROUNDS).for_each(|_| round());
        println!("{what}: {:.2} µs", start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS));
    };
    let keys = bench.keys.borrow().clone().unwrap();
    let Lookup::Found(checks) = keys.find(Algorithm::Rs256, None) else { panic!("one fits") };
    per("the signature alone", &mut || {
        assert!(checks[0].unwrap().holds(signed.as_bytes(), &signature));
    });
    per("a token for the first time", &mut || {
        let jws = Jws::parse(&token).unwrap();
        assert_eq!(is_signed(&jws, &checks), Ok(true));
        let good = bench.read(&jws, 0).unwrap();
        bench.keep(&token, &good);
    });
    per("a token that was seen", &mut || {
        bench.take_news();
        let now = bench.now();
        assert!(bench.verified.borrow_mut().find(&token, 0, now).is_some());
    });
}

/// What headers and claims are made of, one of each line: good ones, odd ones, and none.
const HEADERS: [&[&str]; 5] = [
    &[
        r#""alg":"HS256""#,
        r#""alg":"HS256""#,
        r#""alg":"HS256""#,
        r#""alg":"none""#,
        r#""alg":"HS384""#,
    ],
    &["", "", r#""typ":"JWT""#, r#""typ":"x""#, r#""cty":"JWT""#],
    &["", "", r#""kid":"a""#, r#""kid":1"#, r#""jku":"https://x""#],
    &["", "", r#""crit":["exp"]"#, r#""b64":false"#, r#""enc":"A128GCM""#],
    &["", "", "", r#""alg":"HS256""#, r#""x":{"y":[1,2]}"#],
];
const CLAIMS: [&[&str]; 6] = [
    &[
        r#""exp":4000000000"#,
        r#""exp":4000000000.75"#,
        r#""exp":4e9"#,
        r#""exp":1"#,
        r#""exp":"4000000000""#,
        r#""exp":-4000000000"#,
        r#""exp":1e300"#,
        r#""exp":null"#,
        "",
    ],
    &["", "", r#""nbf":1"#, r#""nbf":4000000000"#, r#""nbf":"1""#, r#""nbf":true"#],
    &["", "", r#""iat":1"#, r#""iat":4000000000"#],
    &[
        r#""iss":"https://idp""#,
        r#""iss":"https://idp""#,
        r#""iss":"https://thief""#,
        r#""iss":["https://idp"]"#,
        "",
    ],
    &[r#""aud":"orders""#, r#""aud":["x","orders"]"#, r#""aud":["x"]"#, r#""aud":7"#, ""],
    &["", r#""sub":"alice""#, r#""exp":4000000000"#, r#""iss":"https://idp""#],
];

/// One of each line.
fn pieces(lines: &[&[&'static str]], chosen: &[usize]) -> Vec<&'static str> {
    let choose = |(line, at): (&&[&'static str], &usize)| line[at % line.len()];
    lines.iter().zip(chosen).map(choose).filter(|piece| !piece.is_empty()).collect()
}

/// Why we refuse what jsonwebtoken 11 takes, if there is a reason for it.
fn why_stricter(header: &[&str], claims: &[&str], quirk: usize) -> bool {
    let says = |pieces: &[&str], start: &str| pieces.iter().any(|piece| piece.starts_with(start));
    let name = |piece: &&str| piece.split(':').next().unwrap_or_default().to_owned();
    let twice = |pieces: &[&str]| {
        let mut names: Vec<_> = pieces.iter().map(name).collect();
        names.sort();
        names.windows(2).any(|pair| pair[0] == pair[1])
    };
    // It knows neither crit nor b64 and takes any type; a name may come twice; iat is nothing to it, nor is an issuer
    // or an audience that is not there or is none; a list of issuers is; a time beyond the year 9999 is as good as any.
    quirk != 0
        || twice(header)
        || twice(claims)
        || ["\"crit\"", "\"b64\"", "\"cty\"", "\"enc\"", "\"typ\":\"x\""]
            .iter()
            .any(|start| says(header, start))
        || says(claims, "\"iat\":4")
        || says(claims, "\"iss\":[")
        || says(claims, "\"exp\":1e300")
        || !says(claims, "\"iss\"")
        || !says(claims, "\"aud\"")
        || says(claims, "\"aud\":7")
}

fn judged(desk: &Tokens, token: &str) -> bool {
    match desk.bench.judge(token, 0, false) {
        Ok(judged) => judged.is_ok(),
        Err(pause) => panic!("{pause:?}"),
    }
}

fn taken_by_jsonwebtoken(token: &str) -> bool {
    use jsonwebtoken::{DecodingKey, Validation, decode};
    let mut validation = Validation::new(jsonwebtoken::Algorithm::HS256);
    validation.leeway = 30;
    validation.validate_nbf = true;
    validation.set_issuer(&["https://idp"]);
    validation.set_audience(&["orders"]);
    let key = DecodingKey::from_secret(SECRET.as_bytes());
    decode::<serde_json::Value>(token, &key, &validation).is_ok()
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 4000, ..Default::default() })]

    /// Whatever we take, another reader takes too; what it takes beyond that, we have a reason to refuse.
    #[test]
    fn nothing_is_taken_that_another_reader_refuses(
        header in proptest::array::uniform5(0..60_usize),
        claims in proptest::array::uniform6(0..360_usize),
        quirk in 0..8_usize,
        plain in proptest::bool::weighted(0.8),
    ) {
        let desk = desk("issuer = 'https://idp'\naudience = 'orders'");
        let quirk = if plain { 0 } else { quirk };
        let (header, claims) = (pieces(&HEADERS, &header), pieces(&CLAIMS, &claims));
        let (mut first, mut second) = (encoded(&header), encoded(&claims));
        match quirk {
            1 => first.push('='),
            2 => second.push('='),
            3 => second.push(' '),
            4 => first.insert(0, ' '),
            _ => {}
        }
        let signed = format!("{first}.{second}");
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let mut tag = URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
        match quirk {
            5 => tag.push('='),
            6 => tag.truncate(20),
            7 => tag = tag.to_lowercase(),
            _ => {}
        }
        let token = format!("{signed}.{tag}");
        let (ours, theirs) = (judged(&desk, &token), taken_by_jsonwebtoken(&token));
        proptest::prop_assert!(!ours || theirs, "only we take {header:?} {claims:?}");
        let explained = ours == theirs || why_stricter(&header, &claims, quirk);
        proptest::prop_assert!(explained, "only they take {header:?} {claims:?} ({quirk})");
    }
}

fn encoded(pieces: &[&str]) -> String {
    URL_SAFE_NO_PAD.encode(format!("{{{}}}", pieces.join(",")))
}
