//! The script is run where it belongs, by a real server: see the tests of the whole gateway. Here: how it is asked for.

use super::*;

#[test]
fn a_request_is_an_array_of_strings() {
    let mut out = BytesMut::new();
    request(&mut out, &[b"AUTH", b"", b"p\r\n\xff"]);
    assert_eq!(&out[..], b"*3\r\n$4\r\nAUTH\r\n$0\r\n\r\n$4\r\np\r\n\xff\r\n");
    out.clear();
    let quota = Quota { interval: 10, burst: u64::MAX };
    take(&mut out, Script::Known, "k", Wish { quota, patience: 7, longest: 80 });
    let text = String::from_utf8(out.to_vec()).unwrap();
    let deepest = "$19\r\n4611686018427387904\r\n";
    let name = &*NAME;
    assert_eq!(
        text,
        format!(
            "*8\r\n$7\r\nEVALSHA\r\n$40\r\n{name}\r\n$1\r\n1\r\n$1\r\nk\r\n$2\r\n10\r\n{deepest}\
             $1\r\n7\r\n$2\r\n80\r\n"
        )
    );
}

#[test]
fn places_are_short_and_plain_and_never_shared() {
    let keys =
        ["", "a", "A", "a}", "{a}", "a{", "\0", "a b", "#", "#a", &"x".repeat(100_000), "ä\r\n"];
    let mut places: Vec<_> = keys.iter().map(|key| place("p:", key)).collect();
    for place in &places {
        assert!(place.len() <= 220, "{place}");
        let tag = place.strip_prefix("p:{").and_then(|rest| rest.strip_suffix('}')).unwrap();
        assert!(
            !tag.contains(['{', '}']) && tag.bytes().all(|b| matches!(b, b' '..=b'~')),
            "{place}"
        );
    }
    assert_eq!(place("p:", "all: 1/s #0:12"), "p:{all: 1/s #0:12}");
    let digest = "87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7";
    assert_eq!(place("", "a\n"), format!("{{#{digest}}}"));
    places.push(probe("p:"));
    places.sort();
    places.dedup();
    assert_eq!(places.len(), keys.len() + 1);
}

#[test]
fn numbers_are_written_in_decimal() {
    for number in [0, 9, 10, 1_234_567_890, u64::MAX] {
        assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
    }
}
