//! Chunked bodies: the same data, trailers, end and verdict in any pieces, little held, and others read the same.

#![no_main]

use frontgate_fuzz::pieces::WHOLE;
use frontgate_fuzz::{message, ours, theirs};
use libfuzzer_sys::fuzz_target;

/// What stands before the body where a reader must be told how it is framed.
const HEAD: &[u8] = b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";

// A byte for the bound on trailers and one for the pieces, then the body and what comes after it.
fuzz_target!(|data: &[u8]| {
    let [trailers, seed, wire @ ..] = data else { return };
    let bound = usize::from(*trailers) << 4;
    let whole = ours::chunks(wire, bound, WHOLE);
    let pieces = ours::chunks(wire, bound, *seed);
    assert_eq!(whole.0, pieces.0, "in other pieces");
    let (Ok(Some((body, trailers))), taken) = whole else { return };
    assert_eq!(taken, pieces.1, "what comes after the end is left alone");
    let (their, their_trailers, length) = theirs::chunks(wire).expect("httparse reads it");
    assert_eq!(taken, length, "where the body ends");
    assert_eq!((&body[..], &trailers), (&their[..], &message::passing(their_trailers)));
    let hyper = theirs::requests(&[HEAD, wire].concat());
    let (their, their_trailers) = hyper[0].body.clone().expect("hyper reads it");
    assert_eq!((&body[..], trailers), (&their[..], message::passing(their_trailers)));
});
