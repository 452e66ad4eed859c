//! A request that we accept and write: hyper, httparse and our own reader find in it the request that was meant.

#![no_main]

use frontgate::wire::h1::request::Bounds;
use frontgate_fuzz::pieces::WHOLE;
use frontgate_fuzz::sockets::{self, BOUNDS, Passed};
use frontgate_fuzz::{Fields, Message, Start, message, ours, theirs};
use libfuzzer_sys::fuzz_target;

/// What an upstream that is a gateway like ours must take: a client's most, and what we say of a body's end and of TE.
const WRITTEN: Bounds = Bounds { head: BOUNDS.head + 64, fields: BOUNDS.fields + 2, ..BOUNDS };

// What a client sends.
fuzz_target!(|wire: &[u8]| {
    let (all, refused) = ours::requests(wire, &BOUNDS, WHOLE);
    match sockets::run(sockets::request(wire)) {
        Passed::Refused(malformed) => assert!(all.is_empty() && refused == Some(malformed)),
        Passed::Nothing => assert!(all.is_empty() && refused.is_none()),
        Passed::Written { upstream, answered, parts } => {
            let read = &all[0];
            assert_eq!(answered, read.message.body.is_some(), "what is whole goes up whole");
            let mut meant = Message::request(&parts);
            meant.modern = true;
            meant.body.clone_from(&read.message.body);
            meant.fields.entry("host".to_owned()).or_insert_with(|| vec![Vec::new()]);
            // Of what breaks off, nothing may have left yet.
            if answered || !upstream.is_empty() {
                is_read_as(&meant, &upstream, answered);
            }
        }
    }
});

/// All readers find what was meant and nothing after it; what broke off is complete to none.
fn is_read_as(meant: &Message, upstream: &[u8], whole: bool) {
    let hyper = theirs::requests(upstream);
    assert!(hyper.len() == 1, "one request, to hyper: {hyper:?}");
    let (head, length) = theirs::request_head(upstream).expect("httparse reads it");
    let (ours, end) = ours::requests(upstream, &WRITTEN, WHOLE);
    // HTTP/1.0 without Host goes on with an empty one (RFC 9112 section 3.2), which no client may send to us.
    let named = meant.fields.get("host").is_some_and(|hosts| !hosts[0].is_empty());
    assert_eq!((ours.len(), end.is_none()), (usize::from(named), named), "one request, to us");
    assert!(ours.iter().all(|read| read.head == (0..length)));
    let said = framing(&head.fields);
    for read in hyper.iter().chain(ours.iter().map(|read| &read.message)) {
        assert_eq!(read.body.is_some(), whole);
        assert_eq!(said, framing(&read.fields));
        assert_eq!(bare(read), bare(meant));
        assert_eq!(read.body, meant.body);
    }
    assert_eq!(bare(&head), bare(meant));
    assert!(upstream.starts_with(first_lines(meant).as_bytes()), "Host comes first");
}

/// What is said of the body: once, and not in two ways.
fn framing(fields: &Fields) -> (Option<&Vec<u8>>, Option<&Vec<u8>>) {
    let one = |name: &str| {
        let values = fields.get(name)?;
        assert_eq!(values.len(), 1, "{name} once");
        values.first()
    };
    let (length, coding) = (one("content-length"), one("transfer-encoding"));
    assert!(length.is_none() || coding.is_none(), "one framing");
    (length, coding)
}

/// Without body and what is said of it.
fn bare(message: &Message) -> Message {
    let mut bare = message::Message { body: None, ..message.clone() };
    bare.fields.remove("content-length");
    bare.fields.remove("transfer-encoding");
    bare
}

fn first_lines(meant: &Message) -> String {
    let Start::Request { method, target, .. } = &meant.start else { unreachable!("a request") };
    format!("{method} {target} HTTP/1.1\r\nhost: ")
}
