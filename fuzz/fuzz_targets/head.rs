//! Request heads and what follows them: the same in any pieces, and hyper and httparse read what we read.

#![no_main]

use frontgate::wire::h1::Framing;
use frontgate::wire::h1::request::Bounds;
use frontgate_fuzz::pieces::WHOLE;
use frontgate_fuzz::{Start, message, ours, theirs};
use libfuzzer_sys::fuzz_target;

// Three bytes of bounds and one of pieces, then what a client sends.
fuzz_target!(|data: &[u8]| {
    let [head, target, fields, seed, wire @ ..] = data else { return };
    let bounds = Bounds {
        head: usize::from(*head) << 5,
        target: usize::from(*target) << 3,
        fields: usize::from(*fields),
    };
    let whole = ours::requests(wire, &bounds, WHOLE);
    assert_eq!(whole, ours::requests(wire, &bounds, *seed), "in other pieces");
    let (all, end) = whole;
    for read in &all {
        agrees_with_httparse(&wire[read.head.clone()], read);
    }
    agrees_with_hyper(wire, &all, end.is_some());
});

fn agrees_with_httparse(head: &[u8], read: &ours::Read) {
    let (mut theirs, length) = theirs::request_head(head).expect("httparse reads what we read");
    assert_eq!(length, head.len());
    let mut ours = message::Message { body: None, ..read.message.clone() };
    without_idle_expectation(read, &mut theirs);
    let (Start::Request { target: our, .. }, Start::Request { target: their, .. }) =
        (&ours.start, &mut theirs.start)
    else {
        unreachable!("requests")
    };
    if their != "*" && !their.starts_with('/') {
        // Absolute: what it names replaced Host.
        let host = &ours.fields["host"];
        let (_, rest) = their.split_once("://").expect("a scheme");
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        assert_eq!(host, &[authority.as_bytes()], "one Host, the target's");
        let path = &rest[authority.len()..];
        assert_eq!(*our, if path.starts_with('/') { path.to_owned() } else { format!("/{path}") });
        their.clone_from(our);
        ours.fields.remove("host");
        theirs.fields.remove("host");
    }
    assert_eq!(ours, theirs);
}

/// We drop `Expect` where it asks for nothing (RFC 9110 section 10.1.1): no body follows, or no 100 may be sent.
fn without_idle_expectation(ours: &ours::Read, theirs: &mut message::Message) {
    if !ours.message.modern || matches!(ours.framing, Framing::None | Framing::Length(0)) {
        theirs.fields.remove("expect");
    }
}

fn agrees_with_hyper(wire: &[u8], all: &[ours::Read], refused: bool) {
    let theirs = theirs::requests(wire);
    for (at, read) in all.iter().enumerate() {
        let Some(mut their) = theirs.get(at).cloned() else {
            // Whether it keeps an HTTP/1.0 connection is its own choice: it ignores what Connection says beside other
            // than ASCII (RFC 9112 section 9.3). Closing earlier than we do leads nobody astray.
            assert!(at > 0 && !all[at - 1].message.modern, "hyper does not read {read:?}");
            return;
        };
        let mut our = read.message.clone();
        without_idle_expectation(read, &mut their);
        let Start::Request { authority, .. } = &mut their.start else { unreachable!("requests") };
        if let Some(authority) = authority.take() {
            assert_eq!(our.fields["host"], [authority.as_bytes()], "the target's host counts");
            our.fields.remove("host");
            their.fields.remove("host");
        }
        match (&our.body, &mut their.body) {
            (Some(_), Some((_, trailers))) => {
                *trailers = message::passing(std::mem::take(trailers))
            }
            // What we do not take as complete, another may.
            (None, body) => *body = None,
            (Some(_), None) => {}
        }
        assert_eq!(our, their, "message {at}");
    }
    let over = all.last().is_some_and(|read| !read.keep_alive || read.message.body.is_none());
    assert!(refused || over || theirs.len() == all.len(), "hyper reads more: {theirs:?}");
}
