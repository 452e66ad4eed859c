//! Chunks: sizes, extensions, ends (RFC 9112 section 7.1).

use frontgate::wire::h1::Malformed::{
    BareLf, ChunkEnd, ChunkExtension, ChunkSize, FieldName, NoColon,
};

use super::{Case, broken, passes, play};

/// A POST with this after its head.
fn post(body: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n{body}")
}

const END: &str = "\r\nabc\r\n0\r\n\r\n";
const ABC: &str = "POST / HTTP/1.1\nhost: h\ntransfer-encoding: chunked\n\nabc";

fn sizes() -> Vec<Case> {
    let mut cases: Vec<_> = [
        "",
        "+3",
        "-3",
        "3 ",
        " 3",
        "\t3",
        "3\t",
        "0x3",
        "0X3",
        "3h",
        "x",
        "3.",
        "3,",
        "3_",
        "3 3",
        "00000000000000003",
        "10000000000000003",
        "fffffffffffffffff",
        "\u{663}",
        "3\0",
        "\u{b}3",
        "3\r",
        "3:",
    ]
    .map(|size| broken(post(&format!("{size}{END}")), ChunkSize))
    .into();
    cases.extend([
        broken(post("3\nabc\r\n0\r\n\r\n"), ChunkSize),
        broken(post("\n3\r\nabc\r\n0\r\n\r\n"), ChunkSize),
        broken(post("\r\n3\r\nabc\r\n0\r\n\r\n"), ChunkSize),
        broken(post("3\r\nabc\r\n\r\n"), ChunkSize),
        broken(post("3\r\nabc\r\n-0\r\n\r\n"), ChunkSize),
        broken(post("3\r\nabc\r\n0 \r\n\r\n"), ChunkSize),
        passes(post(&format!("3{END}")), ABC),
        passes(post(&format!("03{END}")), ABC),
        passes(post(&format!("0000000000000003{END}")), ABC),
        passes(post("1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n"), ABC),
        passes(post("3\r\nabc\r\n0000000000000000\r\n\r\n"), ABC),
        passes(
            post("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"),
            "POST / HTTP/1.1\nhost: h\ntransfer-encoding: chunked\n\n01234567890123456789",
        ),
        passes(post("0\r\n\r\n"), "POST / HTTP/1.1\nhost: h\ntransfer-encoding: chunked\n\n"),
        passes(
            post("6\r\n\r\n0\r\n\r\r\n0\r\n\r\n"),
            "POST / HTTP/1.1\nhost: h\ntransfer-encoding: chunked\n\n\r\n0\r\n\r",
        ),
    ]);
    cases
}

fn extensions() -> Vec<Case> {
    let extended = |extension: &str| post(&format!("3{extension}{END}"));
    let long = |bytes: usize| format!(";{}", "e".repeat(bytes - 1));
    let mut cases: Vec<_> = [
        ";",
        ";a",
        ";a=b",
        ";a=b;c=d",
        "; a = b",
        ";a=\"b;c\\\"\"",
        ";\u{e9}",
        ";a\tb",
        ";;;",
        ";0\\r",
    ]
    .map(|extension| passes(extended(extension), ABC))
    .into();
    cases.extend([
        passes(extended(&long(256)), ABC),
        passes(post("3\r\nabc\r\n0;last=1\r\n\r\n"), ABC),
        broken(extended(&long(257)), ChunkExtension),
        broken(extended(&long(5000)), ChunkExtension),
        broken(extended(&long(5000)).trim_end_matches(END), ChunkExtension),
        broken(post(&format!("3\r\nabc\r\n0{}\r\n\r\n", long(257))), ChunkExtension),
        broken(extended(";a\rb"), ChunkExtension),
        broken(extended(";a\r"), ChunkExtension),
        broken(extended(";a\0"), ChunkExtension),
        broken(extended(";a\x7f"), ChunkExtension),
        broken(extended(";\x1b"), ChunkExtension),
        broken(extended(";a\nb"), ChunkSize),
        broken(extended(";a=\"\n\""), ChunkSize),
        broken(extended(" ;a"), ChunkSize),
        broken(extended("\t;a"), ChunkSize),
        broken(extended("a=b"), ChunkSize),
    ]);
    cases
}

fn ends() -> Vec<Case> {
    vec![
        broken(post("3\r\nabc0\r\n\r\n"), ChunkEnd),
        broken(post("3\r\nabcd\r\n0\r\n\r\n"), ChunkEnd),
        broken(post("3\r\nabc\n0\r\n\r\n"), ChunkEnd),
        broken(post("3\r\nabc\r0\r\n\r\n"), ChunkEnd),
        broken(post("3\r\nabc \r\n0\r\n\r\n"), ChunkEnd),
        broken(post("2\r\nabc\r\n0\r\n\r\n"), ChunkEnd),
        broken(post("3\r\nabc\n\r\n0\r\n\r\n"), ChunkEnd),
        broken(post("3\r\nabc\r\n0\r\n\n"), BareLf),
        broken(post("3\r\nabc\r\n0\n\r\n"), ChunkSize),
        broken(post("3\r\nabc\r\n0\r\nabc\r\n\r\n"), NoColon),
        broken(post("0\r\nGET /admin HTTP/1.1\r\nhost: h\r\n\r\n"), NoColon),
        broken(post("0\r\nGET http://h/admin HTTP/1.1\r\n\r\n"), FieldName),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    [sizes(), extensions(), ends()].concat()
}

#[tokio::test]
async fn chunks_are_read_in_one_way_or_refused() {
    play(&cases()).await;
}
