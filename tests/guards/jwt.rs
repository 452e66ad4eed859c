//! Tokens: good, odd and forged.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]
#![expect(clippy::too_many_lines, reason = "tables are as long as what they list")]

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING,
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use aws_lc_rs::{hmac, rsa};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::support::backend::{Answering, OK};
use crate::support::gateway::{Gateway, Setup};
use crate::support::peer::{Message, Peer};

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds since 1970, and so many more.
pub(crate) fn seconds(more: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    i64::try_from(now).unwrap() + more
}

/// Whoever signs tokens, with a key of each family.
pub(crate) struct Issuer {
    pub(crate) rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

pub(crate) const SECRET: &str =
    "a secret that is long enough for every hash there is: 70 bytes or so";

impl Issuer {
    pub(crate) fn new() -> Self {
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
            ed25519: Ed25519KeyPair::generate().unwrap(),
        }
    }

    /// The same one for every test that needs no other.
    pub(crate) fn shared() -> &'static Self {
        static ISSUER: OnceLock<Issuer> = OnceLock::new();
        ISSUER.get_or_init(Self::new)
    }

    pub(crate) fn sign(&self, algorithm: &str, signed: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let by_rsa = |encoding: &'static dyn signature::RsaEncoding| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(encoding, &random, signed, &mut signature).unwrap();
            signature
        };
        match algorithm {
            "HS256" => tag(hmac::HMAC_SHA256, SECRET.as_bytes(), signed),
            "HS384" => tag(hmac::HMAC_SHA384, SECRET.as_bytes(), signed),
            "HS512" => tag(hmac::HMAC_SHA512, SECRET.as_bytes(), signed),
            "RS256" => by_rsa(&signature::RSA_PKCS1_SHA256),
            "RS384" => by_rsa(&signature::RSA_PKCS1_SHA384),
            "RS512" => by_rsa(&signature::RSA_PKCS1_SHA512),
            "PS256" => by_rsa(&signature::RSA_PSS_SHA256),
            "PS384" => by_rsa(&signature::RSA_PSS_SHA384),
            "PS512" => by_rsa(&signature::RSA_PSS_SHA512),
            "ES256" => self.p256.sign(&random, signed).unwrap().as_ref().to_vec(),
            "ES384" => self.p384.sign(&random, signed).unwrap().as_ref().to_vec(),
            "EdDSA" => self.ed25519.sign(signed).as_ref().to_vec(),
            other => panic!("{other}"),
        }
    }

    /// A token with this header, signed as said, whatever the header says.
    pub(crate) fn token_as(&self, algorithm: &str, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.sign(algorithm, signed.as_bytes());
        format!("{signed}.{}", encode(signature))
    }

    /// A good one under a key's name.
    pub(crate) fn token(&self, algorithm: &str, kid: &str, claims: &str) -> String {
        let header = format!(r#"{{"alg":"{algorithm}","kid":"{kid}"}}"#);
        self.token_as(algorithm, &header, claims)
    }

    /// PEM of the public key that an algorithm needs.
    fn pem(&self, algorithm: &str) -> String {
        let der = match algorithm {
            "ES256" => self.p256.public_key().as_der().unwrap(),
            "ES384" => self.p384.public_key().as_der().unwrap(),
            "EdDSA" => self.ed25519.public_key().as_der().unwrap(),
            _ => AsDer::as_der(self.rsa.public_key()).unwrap(),
        };
        let text = STANDARD.encode(der.as_ref());
        let lines: Vec<_> =
            text.as_bytes().chunks(64).map(|l| str::from_utf8(l).unwrap()).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    /// The RSA key as a JWK. Its PKCS#1 form has the modulus of 256 bytes behind nine others.
    pub(crate) fn rsa_jwk(&self, kid: &str) -> String {
        let n = encode(&self.rsa.public_key().as_ref()[9..9 + 256]);
        format!(r#"{{"kty":"RSA","kid":"{kid}","use":"sig","n":"{n}","e":"AQAB"}}"#)
    }

    /// All of them, named r1, e1, f1 and d1, and a secret that should not be there.
    pub(crate) fn jwks(&self) -> String {
        let point = |key: &[u8], size: usize| (encode(&key[1..=size]), encode(&key[size + 1..]));
        let (ex, ey) = point(self.p256.public_key().as_ref(), 32);
        let (fx, fy) = point(self.p384.public_key().as_ref(), 48);
        let d = encode(self.ed25519.public_key().as_ref());
        format!(
            r#"{{"keys":[{},{{"kty":"EC","kid":"e1","crv":"P-256","x":"{ex}","y":"{ey}"}},
            {{"kty":"EC","kid":"f1","crv":"P-384","x":"{fx}","y":"{fy}"}},
            {{"kty":"OKP","kid":"d1","crv":"Ed25519","x":"{d}"}},
            {{"kty":"oct","kid":"o1","k":"{}"}}]}}"#,
            self.rsa_jwk("r1"),
            encode(SECRET)
        )
    }
}

pub(crate) fn tag(hash: hmac::Algorithm, secret: &[u8], signed: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hash, secret), signed).as_ref().to_vec()
}

/// Claims that are good for an hour, and these.
pub(crate) fn claims(more: &str) -> String {
    let comma = if more.is_empty() { "" } else { "," };
    format!(
        r#"{{"iss":"https://idp","aud":"orders","sub":"alice","exp":{}{comma}{more}}}"#,
        seconds(3600)
    )
}

/// A provider that answers with this set.
pub(crate) fn answer(set: &str) -> String {
    let length = set.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{set}"
    )
}

/// What a request with this token gets.
pub(crate) async fn with_token(gateway: &Gateway, token: &str) -> Message {
    let ask = format!(
        "GET / HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    gateway.ask(ask).await.answer().await
}

pub(crate) fn challenge(answer: &Message) -> &str {
    answer.head.value("www-authenticate").unwrap_or_default()
}

#[tokio::test]
async fn every_algorithm_lets_in_with_a_written_key_and_no_other_does() {
    let issuer = Issuer::shared();
    let backend = Answering::with(OK).await;
    let folder = tempfile::tempdir().unwrap();
    let (mut tables, mut routes) = (String::new(), String::new());
    let algorithms = [
        "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
        "ES384", "EdDSA",
    ];
    for algorithm in algorithms {
        let key = if algorithm.starts_with("HS") {
            format!("secret = \"{SECRET}\"")
        } else {
            let path = folder.path().join(algorithm);
            std::fs::write(&path, issuer.pem(algorithm)).unwrap();
            format!("public_key = {path:?}")
        };
        tables +=
            &format!("[auth.{algorithm}]\nkind = \"jwt\"\nalgorithms = [\"{algorithm}\"]\n{key}\n");
        routes += &format!(
            "[[route]]\nname = \"{algorithm}\"\npath = \"/{algorithm}\"\nservice = \"backend\"\nauth = [\"{algorithm}\"]\n"
        );
    }
    let gateway = Setup::to(&[backend.address]).tables(&(tables + &routes)).start().await;
    let mut client = Peer::connect(gateway.web()).await;
    for signed in algorithms {
        let token = issuer.token(signed, "any", &claims(""));
        for route in algorithms {
            client
                .send(format!(
                    "GET /{route} HTTP/1.1\r\nhost: h\r\nauthorization: bearer {token}\r\n\r\n"
                ))
                .await;
            let status = if signed == route { 200 } else { 401 };
            let answer = client.answer().await;
            assert_eq!(answer.status(), status, "{signed} at {route}: {}", answer.head.raw);
        }
    }
    assert_eq!(backend.count(), algorithms.len());
}

/// What a forged or odd token is, the token, and what its bearer is told.
type Odd = (String, String, &'static str);

const MALFORMED: &str = "the token is malformed";
const ALGORITHM: &str = "the token's algorithm is not accepted";
const KEY: &str = "the token's key is not known";
const SIGNATURE: &str = "the token's signature is not good";
const TIME: &str = "the token has a time that is none";

/// By the name of the algorithm, or the key.
fn forged_algorithms(issuer: &Issuer) -> Vec<Odd> {
    let good = claims("");
    let mut odd: Vec<Odd> = Vec::new();
    for none in ["none", "None", "NONE", "nOnE", " none", ""] {
        let header = format!(r#"{{"alg":"{none}","kid":"r1"}}"#);
        let unsigned = format!("{}.{}.", encode(&header), encode(&good));
        odd.push((format!("alg {none:?} without signature"), unsigned, ALGORITHM));
        odd.push((
            format!("alg {none:?} signed"),
            issuer.token_as("RS256", &header, &good),
            ALGORITHM,
        ));
    }
    let pem = issuer.pem("RS256");
    let der = AsDer::as_der(issuer.rsa.public_key()).unwrap();
    let set = issuer.jwks();
    let secrets = [
        ("the public key's PEM", pem.as_bytes()),
        ("its PEM without the last break", pem.trim_end().as_bytes()),
        ("its DER", der.as_ref()),
        ("its PKCS#1 form", issuer.rsa.public_key().as_ref()),
        ("the set", set.as_bytes()),
        ("nothing", b""),
    ];
    for (what, secret) in secrets {
        for kid in ["r1", "o1"] {
            let header = format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#);
            let signed = format!("{}.{}", encode(header), encode(&good));
            let tag = encode(tag(hmac::HMAC_SHA256, secret, signed.as_bytes()));
            odd.push((
                format!("HS256 with {what}, kid {kid}"),
                format!("{signed}.{tag}"),
                ALGORITHM,
            ));
        }
    }
    for name in ["rs256", "RS1", "ES256K", "ES512", "HS256", "HS512", "dir", "RSA-OAEP", "A128KW"] {
        let header = format!(r#"{{"alg":"{name}","kid":"r1"}}"#);
        odd.push((format!("alg {name}"), issuer.token_as("RS256", &header, &good), ALGORITHM));
    }
    odd.push(("the set's secret".into(), issuer.token("HS256", "o1", &good), ALGORITHM));
    for (said, signed, kid) in [
        ("ES256", "ES256", "r1"),
        ("RS256", "RS256", "e1"),
        ("ES384", "ES384", "e1"),
        ("ES256", "ES256", "f1"),
        ("EdDSA", "EdDSA", "e1"),
        ("ES256", "ES256", "d1"),
    ] {
        let header = format!(r#"{{"alg":"{said}","kid":"{kid}"}}"#);
        odd.push((format!("{said} of {kid}"), issuer.token_as(signed, &header, &good), KEY));
    }
    for (said, signed, kid) in [
        ("RS256", "PS256", "r1"),
        ("PS256", "RS256", "r1"),
        ("RS384", "RS256", "r1"),
        ("RS256", "ES256", "r1"),
        ("ES256", "RS256", "e1"),
        ("ES384", "ES256", "f1"),
        ("EdDSA", "ES256", "d1"),
        ("RS256", "HS256", "r1"),
    ] {
        let header = format!(r#"{{"alg":"{said}","kid":"{kid}"}}"#);
        odd.push((
            format!("{said} that is {signed}"),
            issuer.token_as(signed, &header, &good),
            SIGNATURE,
        ));
    }
    odd
}

/// By what a header brings along.
fn forged_headers(issuer: &Issuer, thief: &Issuer) -> Vec<Odd> {
    let good = claims("");
    let jwk = thief.rsa_jwk("r1");
    let x5c = STANDARD.encode("a certificate");
    let mut odd: Vec<Odd> = Vec::new();
    for (what, header) in [
        ("another's key of this name", r#"{"alg":"RS256","kid":"r1"}"#.to_owned()),
        ("another's key", r#"{"alg":"RS256"}"#.to_owned()),
        ("jwk brought along", format!(r#"{{"alg":"RS256","jwk":{jwk}}}"#)),
        ("jku", r#"{"alg":"RS256","kid":"r1","jku":"http://127.0.0.1:1/keys"}"#.to_owned()),
        ("x5u", r#"{"alg":"RS256","x5u":"http://127.0.0.1:1/certificate"}"#.to_owned()),
        ("x5c", format!(r#"{{"alg":"RS256","kid":"r1","x5c":["{x5c}"]}}"#)),
    ] {
        odd.push((what.into(), thief.token_as("RS256", &header, &good), SIGNATURE));
    }
    for kid in ["r2", "", "R1", "r1 ", "../../etc/passwd", "' OR '1'='1", "/dev/null", "http://x/y"]
    {
        odd.push((format!("kid {kid:?}"), issuer.token("RS256", kid, &good), KEY));
    }
    let critical = "the token has critical extensions, which are not known here";
    for (what, rest, told) in [
        ("kid is a number", r#","kid":1"#, MALFORMED),
        ("kid is null", r#","kid":null"#, MALFORMED),
        ("alg twice", r#","kid":"r1","alg":"RS256""#, MALFORMED),
        ("alg twice in disguise", r#","kid":"r1","\u0061lg":"none""#, MALFORMED),
        ("an unknown name twice", r#","kid":"r1","x":1,"x":1"#, MALFORMED),
        ("crit", r#","kid":"r1","crit":["exp"],"exp":1"#, critical),
        ("crit that is empty", r#","kid":"r1","crit":[]"#, critical),
        ("crit that is null", r#","kid":"r1","crit":null"#, critical),
        ("b64 with crit", r#","kid":"r1","b64":false,"crit":["b64"]"#, critical),
        ("b64 alone", r#","kid":"r1","b64":false"#, "the token's payload is not encoded"),
        ("b64 as text", r#","kid":"r1","b64":"false""#, MALFORMED),
        ("a token within", r#","kid":"r1","cty":"JWT""#, MALFORMED),
        ("typ JWE", r#","kid":"r1","typ":"JWE""#, MALFORMED),
        ("enc", r#","kid":"r1","enc":"A128GCM""#, MALFORMED),
        (
            "a logout token",
            r#","kid":"r1","typ":"logout+jwt""#,
            "the token is of a type that lets nobody in",
        ),
    ] {
        let header = format!(r#"{{"alg":"RS256"{rest}}}"#);
        odd.push((what.into(), issuer.token_as("RS256", &header, &good), told));
    }
    for (what, header) in [
        ("no alg", r#"{"kid":"r1"}"#),
        ("alg is a list", r#"{"alg":["RS256"]}"#),
        ("a list", "[]"),
        ("no JSON", "RS256"),
        ("two objects", r#"{"alg":"RS256"}{}"#),
        ("a comma too many", r#"{"alg":"RS256",}"#),
    ] {
        odd.push((format!("header: {what}"), issuer.token_as("RS256", header, &good), MALFORMED));
    }
    odd.push((
        "a huge header".into(),
        issuer.token_as(
            "RS256",
            &format!(r#"{{"alg":"RS256","x":"{}"}}"#, "x".repeat(4000)),
            &good,
        ),
        MALFORMED,
    ));
    odd
}

/// By how a token is spelled.
fn forged_spellings(issuer: &Issuer) -> Vec<Odd> {
    let token = issuer.token("RS256", "r1", &claims(""));
    let parts: Vec<&str> = token.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    let other = encode(claims(r#""admin":true"#));
    let eddsa = issuer.token("EdDSA", "d1", &claims(""));
    // The last of 86 characters holds four bits that would be lost.
    let (rest, last) = eddsa.split_at(eddsa.len() - 1);
    let next = char::from(last.as_bytes()[0] + 1);
    let mut odd: Vec<Odd> = [
        ("another payload", format!("{header}.{other}.{signature}"), SIGNATURE),
        ("no signature", format!("{header}.{payload}."), SIGNATURE),
        ("half a signature", format!("{header}.{payload}.{}", &signature[..100]), SIGNATURE),
        ("a longer signature", format!("{token}AAAA"), SIGNATURE),
        ("zeros", format!("{header}.{payload}.{}", encode([0; 256])), SIGNATURE),
        ("ones", format!("{header}.{payload}.{}", encode([255; 256])), SIGNATURE),
        ("two parts", format!("{header}.{payload}"), MALFORMED),
        ("four parts", format!("{token}.{payload}"), MALFORMED),
        ("five parts", format!("{header}.{payload}.{payload}.{payload}.{signature}"), MALFORMED),
        ("dots", "..".into(), MALFORMED),
        ("a word", "token".into(), MALFORMED),
        ("padding", format!("{header}.{payload}.{signature}=="), MALFORMED),
        ("padding before", format!("{header}=.{payload}.{signature}"), MALFORMED),
        ("a space", format!("{header}. {payload}.{signature}"), SIGNATURE),
        ("the scheme twice", format!("Bearer {token}"), MALFORMED),
        ("a comma", format!("{token},{token}"), MALFORMED),
        ("quotes", format!("\"{token}\""), MALFORMED),
        ("bits that would be lost", format!("{rest}{next}"), MALFORMED),
        ("other letters", format!("{header}.{payload}.+/{}", &signature[2..]), MALFORMED),
        (
            "20 KiB",
            format!("{header}.{}.{signature}", "a".repeat(20 << 10)),
            "the token is longer than 16 KiB",
        ),
    ]
    .into_iter()
    .map(|(what, token, told)| (what.to_owned(), token, told))
    .collect();
    for (what, payload) in [
        ("padded", format!("{payload}=")),
        ("with a break", format!("{payload}%0a")),
        ("with bits that would be lost", "e31".to_owned()),
        ("empty", String::new()),
        ("not encoded", claims("").replace('.', "")),
    ] {
        let signed = format!("{header}.{payload}");
        let signature = encode(issuer.sign("RS256", signed.as_bytes()));
        odd.push((format!("a payload {what}"), format!("{signed}.{signature}"), MALFORMED));
    }
    let ecdsa = format!("{}.{payload}", encode(r#"{"alg":"ES256","kid":"e1"}"#));
    for (what, bytes) in [
        ("nothing", vec![0; 64]),
        ("too short", vec![1; 63]),
        ("too long", vec![1; 65]),
        ("above the order", vec![255; 64]),
    ] {
        odd.push((format!("ES256: {what}"), format!("{ecdsa}.{}", encode(bytes)), SIGNATURE));
    }
    let der = issuer.p256.to_pkcs8v1().unwrap();
    let asn1 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der.as_ref()).unwrap();
    let signature = asn1.sign(&SystemRandom::new(), ecdsa.as_bytes()).unwrap();
    odd.push(("ES256 in ASN.1".into(), format!("{ecdsa}.{}", encode(signature)), SIGNATURE));
    odd
}

/// By what a token that is signed well says.
fn odd_claims(issuer: &Issuer) -> Vec<Odd> {
    let (later, gone) = (seconds(3600), seconds(-60));
    let who = r#""iss":"https://idp","aud":"orders""#;
    let exp = format!(r#"{who},"exp":{later}"#);
    let expired = "the token has expired";
    [
        ("no expiry", who.to_owned(), "the token has no expiry"),
        ("expired", format!(r#"{who},"exp":{gone}"#), expired),
        ("expired with a fraction", format!(r#"{who},"exp":{gone}.5"#), expired),
        ("exp 0", format!(r#"{who},"exp":0"#), expired),
        ("exp as text", format!(r#"{who},"exp":"{later}""#), TIME),
        ("exp null", format!(r#"{who},"exp":null"#), TIME),
        ("exp true", format!(r#"{who},"exp":true"#), TIME),
        ("exp a list", format!(r#"{who},"exp":[{later}]"#), TIME),
        ("exp below zero", format!(r#"{who},"exp":-{later}"#), TIME),
        ("exp 1e999", format!(r#"{who},"exp":1e999"#), TIME),
        ("exp 2^64", format!(r#"{who},"exp":18446744073709551616"#), TIME),
        ("exp in milliseconds", format!(r#"{who},"exp":{later}000"#), TIME),
        ("exp NaN", format!(r#"{who},"exp":NaN"#), MALFORMED),
        ("exp in hexadecimal", format!(r#"{who},"exp":0xFFFFFFFF"#), MALFORMED),
        ("exp twice", format!(r#"{who},"exp":{gone},"exp":{later}"#), MALFORMED),
        ("sub twice in disguise", format!(r#"{exp},"sub":"a","s\u0075b":"b""#), MALFORMED),
        ("not yet", format!(r#"{exp},"nbf":{}"#, seconds(120)), "the token is not valid yet"),
        ("nbf as text", format!(r#"{exp},"nbf":"0""#), TIME),
        (
            "from the future",
            format!(r#"{exp},"iat":{}"#, seconds(120)),
            "the token was issued in the future",
        ),
        (
            "another issuer",
            exp.replace("https://idp", "https://thief"),
            "the token's issuer is not accepted",
        ),
        (
            "an issuer's neighbour",
            exp.replace("https://idp", "https://idp.thief"),
            "the token's issuer is not accepted",
        ),
        (
            "no issuer",
            format!(r#""aud":"orders","exp":{later}"#),
            "the token's issuer is not accepted",
        ),
        (
            "issuers",
            exp.replace("\"https://idp\"", "[\"https://idp\"]"),
            "the token's issuer is not accepted",
        ),
        ("another audience", exp.replace("orders", "stock"), "the token is for another audience"),
        (
            "no audience",
            format!(r#""iss":"https://idp","exp":{later}"#),
            "the token is for another audience",
        ),
        (
            "an audience of objects",
            exp.replace("\"orders\"", "[{\"orders\":1}]"),
            "the token is for another audience",
        ),
    ]
    .into_iter()
    .map(|(what, claims, told)| {
        (what.to_owned(), issuer.token("RS256", "r1", &format!("{{{claims}}}")), told)
    })
    .chain(["", "null", "[]", "\"exp\"", "{\"exp\":1", "{}{}", "\u{feff}{}"].map(|payload| {
        (format!("payload {payload:?}"), issuer.token("RS256", "r1", payload), MALFORMED)
    }))
    .collect()
}

#[tokio::test]
async fn no_forged_or_odd_token_lets_in_and_each_is_told_why() {
    let (issuer, thief) = (Issuer::shared(), Issuer::new());
    let backend = Answering::with(OK).await;
    let provider = Answering::with(answer(&issuer.jwks())).await;
    let gateway = Setup::to(&[backend.address])
        .top("state_dir = false")
        .limits("header_bytes = \"64KiB\"")
        .route("auth = [\"staff\"]")
        .tables(&format!(
            "[auth.staff]\nkind = \"jwt\"\njwks = \"http://{}/keys\"\nissuer = \"https://idp\"\naudience = [\"orders\"]",
            provider.address
        ))
        .start()
        .await;
    let mut odd = forged_algorithms(issuer);
    odd.extend(forged_headers(issuer, &thief));
    odd.extend(forged_spellings(issuer));
    odd.extend(odd_claims(issuer));
    assert!(odd.len() >= 100, "{} tokens", odd.len());
    let mut client = Peer::connect(gateway.web()).await;
    for (what, token, told) in &odd {
        let ask = format!("GET / HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {token}\r\n\r\n");
        client.send(ask).await;
        let refused = client.answer().await;
        assert_eq!((refused.status(), refused.code()), (401, "unauthenticated"), "{what}");
        let said = format!("Bearer error=\"invalid_token\", error_description=\"{told}\"");
        assert_eq!(challenge(&refused), said, "{what}");
    }
    assert_eq!(backend.count(), 0);
    for (algorithm, kid) in
        [("RS256", "r1"), ("PS512", "r1"), ("ES256", "e1"), ("ES384", "f1"), ("EdDSA", "d1")]
    {
        let token = issuer.token(algorithm, kid, &claims(""));
        assert_eq!(with_token(&gateway, &token).await.status(), 200, "{algorithm}");
        let token = issuer.token_as(algorithm, &format!(r#"{{"alg":"{algorithm}"}}"#), &claims(""));
        assert_eq!(with_token(&gateway, &token).await.status(), 200, "{algorithm} without kid");
    }
    assert_eq!(with_token(&gateway, "").await.head.value("www-authenticate"), Some("Bearer"));
    // Whatever came, the provider was asked at the start and once more for all the names nobody knows.
    assert!(provider.count() <= 2, "{} fetches", provider.count());
}

#[tokio::test]
async fn a_token_that_allows_too_little_is_told_what_it_needs() {
    let backend = Answering::with(OK).await;
    let gateway = Setup::to(&[backend.address])
        .route("auth = [\"staff\"]")
        .tables(&format!(
            "[auth.staff]\nkind = \"jwt\"\nsecret = \"{SECRET}\"\nalgorithms = [\"HS256\"]\nrealm = \"shop\"\n\
             claims = {{ scope = [\"orders:read\"], admin = true }}"
        ))
        .start()
        .await;
    let token = |more: &str| Issuer::shared().token("HS256", "", &claims(more));
    let good = token(r#""scope":"profile orders:read","admin":true"#);
    assert_eq!(with_token(&gateway, &good).await.status(), 200);
    for short in ["", r#""scope":"orders:read""#, r#""scope":"orders","admin":true"#] {
        let answer = with_token(&gateway, &token(short)).await;
        assert_eq!((answer.status(), answer.code()), (403, "forbidden"), "{short}");
        assert_eq!(
            challenge(&answer),
            "Bearer realm=\"shop\", error=\"insufficient_scope\", error_description=\"the token does not allow this\", scope=\"orders:read\""
        );
    }
    assert_eq!(backend.count(), 1);
}

#[tokio::test]
async fn the_log_says_exactly_what_the_client_is_not_told() {
    let backend = Answering::with(OK).await;
    let gateway = Setup::to(&[backend.address])
        .route("auth = [\"staff\"]")
        .tables(&format!(
            "[auth.staff]\nkind = \"jwt\"\nsecret = \"{SECRET}\"\nalgorithms = [\"HS256\"]\nissuer = \"https://idp\""
        ))
        .start()
        .await;
    let claims = claims("").replace("https://idp", "https://thief");
    let answer = with_token(&gateway, &Issuer::shared().token("HS256", "", &claims)).await;
    assert_eq!(answer.status(), 401);
    assert!(!answer.head.raw.contains("thief") && !answer.text().contains("thief"));
    crate::support::wait::until("the log says so", crate::support::peer::SOON, async || {
        gateway.said().iter().any(|line| line.contains("https://thief")).then_some(())
    })
    .await;
    assert!(!gateway.said().join("\n").contains(SECRET));
}

#[tokio::test]
async fn a_token_stops_to_let_in_when_it_expires_though_it_was_seen() {
    let backend = Answering::with(OK).await;
    let gateway = Setup::to(&[backend.address])
        .route("auth = [\"staff\"]")
        .tables(&format!(
            "[auth.staff]\nkind = \"jwt\"\nsecret = \"{SECRET}\"\nalgorithms = [\"HS256\"]\nleeway = \"0s\""
        ))
        .start()
        .await;
    let token = Issuer::shared().token("HS256", "", &format!(r#"{{"exp":{}}}"#, seconds(3)));
    let first = with_token(&gateway, &token).await.status();
    // On a machine that is busy the token may be too old before it is seen.
    assert!(first == 200 || seconds(0) > 3);
    crate::support::wait::until("it expires", crate::support::peer::SOON, async || {
        (with_token(&gateway, &token).await.status() == 401).then_some(())
    })
    .await;
}

#[test]
fn keys_of_the_tests_are_what_they_seem() {
    let issuer = Issuer::shared();
    assert_eq!(issuer.rsa.public_modulus_len(), 256);
    let pkcs1 = issuer.rsa.public_key().as_ref();
    assert_eq!((&pkcs1[4..9], &pkcs1[265..]), (&[2, 130, 1, 1, 0][..], &[2, 3, 1, 0, 1][..]));
    let _: &rsa::PublicKey = issuer.rsa.public_key();
}
