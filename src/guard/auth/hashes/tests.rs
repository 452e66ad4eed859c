//! Vectors by openssl, glibc, libxcrypt and the reference implementation of Argon2.

use super::*;

#[test]
fn every_form_knows_its_password_and_no_other() {
    for (password, hash) in [
        ("myPassword", "$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/"),
        ("", "$apr1$saltsalt$a8ml/vK5HEjiZ5oypDWA7/"),
        ("x", "$apr1$saltsalt$Q17bmANhIA7pctgRGqF/S0"),
        (LONG, "$apr1$saltsalt$Vw8j23GivDiVtfORvsnpp0"),
        ("pässwörd", "$apr1$saltsalt$i5XfNxJNeh2E8ljXycZFm0"),
        ("x", "$5$saltsalt$hcyDOxdIg0p3xyqtpHh/v8Ph.am06tQaovp1KpEklb7"),
        (LONG, "$5$saltsalt$mZaN9jgICbmBdHnEcGB.jYaL2dwZG/ADxDA5RfUooy4"),
        ("secret", "$5$rounds=77777$0123456789abcdef$O0Az4i0afh9FAdD8qiVLm5H8nM0VevSP43xNwX7jxh4"),
        (
            "x",
            "$6$saltsalt$8RWsOfwR6M6PpnoeQiEiWzNTPo1f0HjVYjDnLZhGx16aBFRkeqiHAzfXP/LgrOWMBMXqiU2pLrXsSOHNUyUm91",
        ),
        (
            "pässwörd",
            "$6$saltsalt$TQjRhpJdqmLx0U8it3EsUajwkmOMMvw5vhUFc7mohzFFoj/QHrfYUHU1oSkwyCEoTUCDOiAOW135nel3bqtKe.",
        ),
        (
            "secret",
            "$6$rounds=1000$abc$MqEcPZUYRGGcOeq7PhMpfjfu/F0HrVEI0OlZBijWvO8mSG77iNUDP5MqFceKpJTBc8iITVtNyLiNTRNCxv6oh0",
        ),
        ("secret", "$2a$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"),
        ("secret", "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"),
        ("secret", "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"),
        (
            "password",
            "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8",
        ),
        (
            "password",
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        ),
        ("secret", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="),
    ] {
        let read = Hash::parse(hash).unwrap_or_else(|unfit| panic!("{hash}: {unfit:?}"));
        assert!(read.is_of(password.as_bytes()), "{password:?} of {hash}");
        for wrong in ["wrong", &password[1.min(password.len())..], &format!("{password} ")] {
            assert!(wrong == password || !read.is_of(wrong.as_bytes()), "{wrong:?} of {hash}");
        }
    }
}

const LONG: &str = "a password with spaces and more than sixteen bytes";

#[test]
fn bcrypt_reads_72_bytes_of_a_password() {
    let hash = Hash::parse("$2b$04$abcdefghijklmnopqrstuuBzzIgyKkz7xMWYSzkIjUSnxEQFQ0WNe").unwrap();
    assert!(hash.is_of(&[b'a'; 80]) && hash.is_of(&[b'a'; 72]));
    assert!(!hash.is_of(&[b'a'; 71]));
}

#[test]
fn what_a_try_costs_is_told_and_bounded() {
    let cost = |text: &str| Hash::parse(text).map(|hash| hash.cost());
    let bcrypt = |cost| format!("$2y${cost}$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW");
    assert_eq!(cost(&bcrypt("16")), Ok(Cost::Bcrypt(16)));
    assert!(matches!(cost(&bcrypt("17")), Err(Unfit::Costly(_))));
    assert!(matches!(cost(&bcrypt("31")), Err(Unfit::Costly(_))));
    assert!(matches!(cost(&bcrypt("03")), Err(Unfit::Broken(_))));
    let argon2 = |params| {
        format!("$argon2id$v=19${params}$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4")
    };
    let most = Cost::Argon2 { memory: 262_144, passes: 16 };
    assert_eq!(cost(&argon2("m=262144,t=16,p=1")), Ok(most));
    for costly in ["m=262145,t=1,p=1", "m=4294967295,t=1,p=1", "m=256,t=17,p=1"] {
        assert!(matches!(cost(&argon2(costly)), Err(Unfit::Costly(_))), "{costly}");
    }
    let sha =
        |rounds| format!("$5$rounds={rounds}$saltsalt$hcyDOxdIg0p3xyqtpHh/v8Ph.am06tQaovp1KpEklb7");
    assert_eq!(cost(&sha("1000000")), Ok(Cost::Sha256(1_000_000)));
    assert!(matches!(cost(&sha("1000001")), Err(Unfit::Costly(_))));
    for broken in ["999", "0", "-1", "5000000000000", ""] {
        assert!(matches!(cost(&sha(broken)), Err(Unfit::Broken(_))), "{broken}");
    }
}

#[test]
fn what_is_no_hash_is_not_taken_and_not_repeated() {
    for (text, unfit) in [
        ("", Unfit::Unknown),
        ("secret", Unfit::Unknown),
        ("$1$saltsalt$abc", Unfit::Unknown),
        ("rl0GfBAAC/vqA", Unfit::Unknown),
        ("{SSHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", Unfit::Unknown),
        ("{SHA}5en6G6MezRroT3XKqkdPOmY/Bf", Unfit::Broken("{SHA}")),
        ("{SHA}", Unfit::Broken("{SHA}")),
        ("$apr1$", Unfit::Broken("$apr1$")),
        ("$apr1$saltsalt$", Unfit::Broken("$apr1$")),
        ("$apr1$saltsaltsalt$8ZVuJuE66YPuWXIA2kJ4D0", Unfit::Broken("$apr1$")),
        ("$2b$", Unfit::Broken("bcrypt")),
        ("$2b$04$äbcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIr", Unfit::Broken("bcrypt")),
        ("$2x$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW", Unfit::Unknown),
        ("$5$saltsalt$short", Unfit::Broken("SHA-crypt")),
        ("$6$", Unfit::Broken("SHA-crypt")),
        ("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ", Unfit::Broken("argon2")),
        ("$argon2x$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR", Unfit::Broken("argon2")),
        (
            "$argon2id$v=99$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            Unfit::Broken("argon2"),
        ),
    ] {
        assert_eq!(Hash::parse(text).map(|hash| hash.cost()), Err(unfit), "{text}");
    }
}

#[test]
fn hashes_of_other_makers_are_read_as_they_write_them() {
    use argon2::PasswordHasher;
    let made = Argon2::default().hash_password_with_salt(b"secret", b"saltsalt").unwrap();
    assert!(Hash::parse(&made.to_string()).unwrap().is_of(b"secret"));
    let made = bcrypt::hash("secret", 4).unwrap();
    assert!(Hash::parse(&made).unwrap().is_of(b"secret"));
}
