use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::*;
use crate::guard::auth::jws::Jws;

/// RFC 7515 appendices A.1 to A.3 and RFC 8037 appendix A.4.
const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const SECRET: &str =
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
const HS256: (&str, &str) =
    ("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
const MODULUS: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const RS256: (&str, &str) = (
    "eyJhbGciOiJSUzI1NiJ9",
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
);
const ES256: (&str, &str) = (
    "eyJhbGciOiJFUzI1NiJ9",
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
);
const POINT: (&str, &str) =
    ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
const EDDSA: (&str, &str, &str) = (
    "eyJhbGciOiJFZERTQSJ9",
    "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
);
const ED25519: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

fn public() -> Vec<Algorithm> {
    let all = Algorithm::ALL.into_iter().map(|(_, algorithm)| algorithm);
    all.filter(|algorithm| algorithm.family() != Family::Secret).collect()
}

fn rsa_jwk(extra: &str) -> String {
    format!(r#"{{"kty":"RSA","n":"{MODULUS}","e":"AQAB"{extra}}}"#)
}

fn ec_jwk(extra: &str) -> String {
    let (x, y) = POINT;
    format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"{extra}}}"#)
}

fn ed_jwk(extra: &str) -> String {
    format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{ED25519}"{extra}}}"#)
}

fn set(keys: &[String]) -> Result<(Keys, Vec<String>), String> {
    Keys::set(&format!(r#"{{"keys":[{}]}}"#, keys.join(",")), &public())
}

/// How often a token is found good.
fn good(keys: &Keys, token: &str) -> usize {
    let jws = Jws::parse(token).unwrap();
    let Lookup::Found(checks) = keys.find(jws.algorithm, jws.kid.as_deref()) else { return 0 };
    let signature = jws.signature().unwrap();
    checks.iter().flatten().filter(|one| one.holds(jws.signed.as_bytes(), &signature)).count()
}

fn vector((header, signature): (&str, &str)) -> String {
    format!("{header}.{PAYLOAD}.{signature}")
}

#[test]
fn the_vectors_of_the_standards_are_good_and_no_bit_may_differ() {
    let secret = Keys::secret(&URL_SAFE_NO_PAD.decode(SECRET).unwrap(), &[Algorithm::Hs256]);
    let (sets, skipped) = set(&[rsa_jwk(""), ec_jwk(""), ed_jwk("")]).unwrap();
    assert_eq!((sets.count(), skipped.len()), (3, 0));
    let (header, payload, signature) = EDDSA;
    let eddsa = format!("{header}.{payload}.{signature}");
    for (keys, token) in
        [(&secret, vector(HS256)), (&sets, vector(RS256)), (&sets, vector(ES256)), (&sets, eddsa)]
    {
        assert_eq!(good(keys, &token), 1, "{token}");
        let dot = token.rfind('.').unwrap();
        for at in [dot - 2, dot + 1, dot + 9, token.len() - 2] {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(good(keys, &String::from_utf8(other).unwrap()), 0, "{at} of {token}");
        }
    }
}

#[test]
fn each_algorithm_takes_its_own_family_of_keys_only() {
    let (rsa, _) = set(&[rsa_jwk("")]).unwrap();
    let (ec, _) = set(&[ec_jwk("")]).unwrap();
    let (ed, _) = set(&[ed_jwk("")]).unwrap();
    for (name, algorithm) in Algorithm::ALL {
        let found = [&rsa, &ec, &ed].map(|k| matches!(k.find(algorithm, None), Lookup::Found(_)));
        let family = algorithm.family();
        let fits = [Family::Rsa, Family::P256, Family::Ed25519].map(|one| one == family);
        assert_eq!(found, fits, "{name}");
    }
    let secret = Keys::secret(b"s", &[Algorithm::Hs256]);
    assert!(matches!(secret.find(Algorithm::Rs256, None), Lookup::Unfit));
    assert!(matches!(secret.find(Algorithm::Hs512, Some("x")), Lookup::Unfit));
    assert!(matches!(secret.find(Algorithm::Hs256, Some("x")), Lookup::Found(_)));
}

#[test]
fn a_name_looks_keys_up_and_two_of_a_name_are_both_tried() {
    let kid = |kid: &str| format!(r#","kid":"{kid}""#);
    let other = rsa_jwk(&kid("a")).replace("ofgWCu", "ofgWCv");
    let (keys, _) = set(&[other, rsa_jwk(&kid("a")), ec_jwk(&kid("b"))]).unwrap();
    let token = |kid: &str| {
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"RS256","kid":"{kid}"}}"#));
        format!("{header}.e30.AA")
    };
    let tried = |token: &str| {
        let jws = Jws::parse(token).unwrap();
        match keys.find(jws.algorithm, jws.kid.as_deref()) {
            Lookup::Found(found) => found.iter().flatten().count(),
            Lookup::Unknown => 100,
            Lookup::Unfit => 200,
        }
    };
    assert_eq!(tried(&token("a")), 2);
    assert_eq!(tried(&token("b")), 200);
    assert_eq!(tried(&token("c")), 100);
    assert_eq!(tried(&token("../a' OR 1=1")), 100);
    assert_eq!(good(&keys, &vector(RS256)), 1);
    // Keys without a name are for tokens of any name, as long as no key has it.
    let (keys, _) = set(&[rsa_jwk(""), rsa_jwk(&kid("a"))]).unwrap();
    assert!(matches!(keys.find(Algorithm::Rs256, Some("z")), Lookup::Found([Some(_), None, ..])));
    let (keys, _) =
        set(&(0..9).map(|n| rsa_jwk(&kid(&n.to_string()))).collect::<Vec<_>>()).unwrap();
    assert!(matches!(keys.find(Algorithm::Rs256, None), Lookup::Found([_, _, _, Some(_)])));
}

#[test]
fn an_odd_key_is_skipped_with_its_reason_and_the_rest_is_used() {
    let short = URL_SAFE_NO_PAD.encode([0x81; 128]);
    let even = rsa_jwk("").replace("AQAB", "Ag");
    let odd = [
        (r#"{"kty":"oct","k":"c2VjcmV0"}"#.to_owned(), "no secret once it was fetched"),
        (format!(r#"{{"kty":"RSA","n":"{short}","e":"AQAB"}}"#), "1024 bits"),
        (r#"{"kty":"RSA","e":"AQAB"}"#.to_owned(), "it has no n"),
        (rsa_jwk(r#","use":"enc""#), "its use is"),
        (rsa_jwk(r#","key_ops":["encrypt"]"#), "key_ops"),
        (rsa_jwk(r#","alg":"RSA-OAEP""#), "its alg is"),
        (rsa_jwk(r#","alg":"none""#), "its alg is"),
        (rsa_jwk(r#","alg":"ES256""#), "none of the algorithms"),
        (rsa_jwk(r#","alg":"HS256""#), "none of the algorithms"),
        (even, "exponent"),
        (rsa_jwk("").replace("AQAB", "AQ"), "exponent"),
        (ec_jwk("").replace("f83O", "f83P"), "not on its curve"),
        (ec_jwk("").replace("P-256", "P-384"), "its x has 32 bytes"),
        (ec_jwk("").replace("P-256", "secp256k1"), "secp256k1"),
        (r#"{"kty":"OKP","crv":"Ed448","x":"AA"}"#.to_owned(), "Ed448"),
        (r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#.to_owned(), "1 bytes"),
        (rsa_jwk(r#","kid":7"#), "invalid type"),
        ("7".to_owned(), "invalid type"),
        (r#"{"kid":"x"}"#.to_owned(), "missing field"),
    ];
    let mut all: Vec<_> = odd.iter().map(|(jwk, _)| jwk.clone()).collect();
    all.push(rsa_jwk(r#","kid":"good","d":"AA","x5c":["AA"]"#));
    let (keys, skipped) = set(&all).unwrap();
    assert_eq!((keys.count(), skipped.len()), (1, odd.len()), "{skipped:#?}");
    for (line, (jwk, why)) in skipped.iter().zip(&odd) {
        assert!(line.contains(why), "{jwk}: {line}");
    }
    let only: Vec<_> = odd.iter().map(|(jwk, _)| jwk.clone()).collect();
    assert!(set(&only).unwrap_err().contains("no key that can be used"));
    for garbage in ["", "<html>", "[]", "{}", r#"{"keys":7}"#, r#"{"keys":[{"kty":"RSA"#, "null"] {
        assert!(Keys::set(garbage, &public()).is_err(), "{garbage}");
    }
}

#[test]
fn no_more_than_64_keys_of_a_set_are_used() {
    let (keys, skipped) = set(&vec![ed_jwk(""); 70]).unwrap();
    assert_eq!((keys.count(), skipped.len()), (64, 1));
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

#[test]
fn a_pem_file_holds_public_keys_and_says_what_else_it_is() {
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let ed = Ed25519KeyPair::generate().unwrap();
    let (rsa, ec, ed) = (
        rsa.public_key().as_der().unwrap(),
        ec.public_key().as_der().unwrap(),
        ed.public_key().as_der().unwrap(),
    );
    let file = |der: &[u8]| pem("PUBLIC KEY", der);
    let read = |text: &str, algorithms: &[Algorithm]| Keys::pem(text.as_bytes(), algorithms);
    assert_eq!(
        read(&file(rsa.as_ref()), &[Algorithm::Rs256, Algorithm::Ps512]).unwrap().count(),
        1
    );
    assert!(read(&file(ec.as_ref()), &[Algorithm::Es256]).is_ok());
    assert!(read(&file(ed.as_ref()), &[Algorithm::EdDsa]).is_ok());
    let two = file(rsa.as_ref()) + &file(ed.as_ref());
    assert_eq!(read(&two, &[Algorithm::Rs256, Algorithm::EdDsa]).unwrap().count(), 2);
    for (text, algorithm, why) in [
        (file(rsa.as_ref()), Algorithm::Es256, "ES256 needs a key on the curve P-256"),
        (file(ec.as_ref()), Algorithm::Rs256, "RS256 needs an RSA key"),
        (file(ec.as_ref()), Algorithm::Es384, "ES384 needs a key on the curve P-384"),
        (file(ed.as_ref()), Algorithm::Hs256, "HS256 needs a secret"),
        (file(&[0x30, 0]), Algorithm::Rs256, "not known here"),
        (pem("CERTIFICATE", b"x"), Algorithm::Rs256, "this is a certificate"),
        (pem("PRIVATE KEY", b"x"), Algorithm::Rs256, "this is a private key"),
        (pem("ENCRYPTED PRIVATE KEY", b"x"), Algorithm::Rs256, "this is a private key"),
        (pem("RSA PUBLIC KEY", b"x"), Algorithm::Rs256, "PKCS#1"),
        ("hello".to_owned(), Algorithm::Rs256, "no public key"),
        (file(rsa.as_ref()).repeat(5), Algorithm::Rs256, "more than 4"),
    ] {
        let message = read(&text, &[algorithm]).expect_err(&text).message;
        assert!(message.contains(why), "{text}: {message}");
    }
}

#[test]
fn an_rsa_key_of_1024_bits_is_refused_with_its_size() {
    // openssl genrsa 1024 | openssl pkey -pubout
    let text = "-----BEGIN PUBLIC KEY-----\nMIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDNEWCVrQIXD3U4DzA7i+fRHC7mvxw/M80FOdQrUVlq4f07t8CC0d9/YAQ75QqTw7CXX9/vq7ZX5LpFf68QMKFuqPtyFMEBZi/giTJF8Xax1BmqVUlWPZUrauczr5wRYP+3CiUx0uSc5yxGhyCbW1MgSJ+k08n80wuU/Bk4nIqxgwIDAQAB\n-----END PUBLIC KEY-----\n";
    let message = Keys::pem(text.as_bytes(), &[Algorithm::Rs256]).unwrap_err().message;
    assert!(message.contains("1024 bits"), "{message}");
}
