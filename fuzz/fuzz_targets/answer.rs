//! Answers to each method: the same in any pieces, and hyper and httparse read what we read.

#![no_main]

use frontgate::wire::h1::Framing;
use frontgate_fuzz::pieces::WHOLE;
use frontgate_fuzz::{Message, message, ours, theirs};
use http::Method;
use libfuzzer_sys::fuzz_target;

const METHODS: [Method; 4] = [Method::GET, Method::HEAD, Method::POST, Method::OPTIONS];

// One byte for the method and one for the pieces, then what an upstream sends.
fuzz_target!(|data: &[u8]| {
    let [method, seed, wire @ ..] = data else { return };
    let method = &METHODS[usize::from(*method) % METHODS.len()];
    let answer = ours::answer(wire, method, WHOLE);
    assert_eq!(answer, ours::answer(wire, method, *seed));
    let Ok(Some(read)) = answer else { return };
    let bare = Message { body: None, ..read.message.clone() };
    let (mut theirs, length) =
        theirs::answer_head(&wire[read.head.clone()]).expect("httparse reads it");
    theirs.fields = message::kept(theirs.fields);
    assert_eq!((&bare, read.head.len()), (&theirs, length));
    agrees_with_hyper(wire, method, &read);
});

fn agrees_with_hyper(wire: &[u8], method: &Method, read: &ours::Read) {
    let mut their = theirs::answer(wire, method).expect("hyper reads what we read");
    their.fields = message::kept(their.fields);
    match (&read.message.body, &mut their.body) {
        (Some(_), Some((_, trailers))) => *trailers = message::passing(std::mem::take(trailers)),
        (None, body) => *body = None,
        (Some(_), None) => {}
    }
    assert_eq!(read.message, their, "{:?}", read.framing);
    if read.framing == Framing::None {
        assert_eq!(read.message.body, Some(Default::default()));
    }
}
