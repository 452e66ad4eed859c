//! An answer that we accept and write: hyper, httparse and our own reader find in it the answer that was meant.

#![no_main]

use frontgate::rewrite::hop_by_hop;
use frontgate::wire::h1::encode::Ending;
use frontgate::wire::h1::outbound::Failure;
use frontgate_fuzz::pieces::WHOLE;
use frontgate_fuzz::{Fields, Message, Start, message, ours, sockets, theirs};
use http::{Method, Version};
use libfuzzer_sys::fuzz_target;

const METHODS: [Method; 4] = [Method::GET, Method::HEAD, Method::POST, Method::OPTIONS];

// A byte for the method and the client's version, then what an upstream sends.
fuzz_target!(|data: &[u8]| {
    let [who, wire @ ..] = data else { return };
    let method = &METHODS[usize::from(*who >> 1) % METHODS.len()];
    let version = if who & 1 == 0 { Version::HTTP_11 } else { Version::HTTP_10 };
    let read = ours::answer(wire, method, WHOLE);
    let relayed = sockets::run(sockets::answer(wire, method, version));
    match (read, relayed) {
        (Ok(None), Err(Failure::Lost { .. })) | (Err(_), Err(Failure::Malformed(_))) => {}
        (Ok(Some(read)), Ok(relayed)) => {
            let whole = read.message.body.is_some();
            assert_eq!(whole, relayed.whole, "what is whole goes down whole");
            let Some(meant) = meant(&read.message, relayed.ending) else { return };
            is_read_as(&meant, &relayed.client, method, relayed.ending);
        }
        // A body that breaks after a good head.
        (Err(_), Ok(relayed)) => {
            assert!(!relayed.whole);
            if matches!(relayed.ending, Ending::Chunked | Ending::Length(_)) {
                let client = theirs::answer(&relayed.client, method);
                assert!(client.is_none_or(|client| client.body.is_none()), "it looks whole");
            }
        }
        (read, relayed) => panic!("{read:?}, but {:?}", relayed.map(|relayed| relayed.whole)),
    }
});

/// What the client is to read; none where only a reset tells it that something is missing.
fn meant(read: &Message, ending: Ending) -> Option<Message> {
    let mut headers = theirs::map(&read.fields);
    hop_by_hop::response(&mut headers);
    let mut meant = Message { modern: true, fields: message::fields(&headers), ..read.clone() };
    match &mut meant.body {
        None if ending == Ending::Close => return None,
        // Trailers have no place in any other framing.
        Some((_, trailers)) if ending != Ending::Chunked => trailers.clear(),
        Some(_) | None => {}
    }
    Some(meant)
}

fn is_read_as(meant: &Message, client: &[u8], method: &Method, ending: Ending) {
    let hyper = theirs::answer(client, method);
    let ours = ours::answer(client, method, WHOLE).expect("we read what we write");
    let Some(body) = &meant.body else {
        assert!(
            hyper.as_ref().is_none_or(|hyper| hyper.body.is_none()),
            "whole to hyper: {hyper:?}, {:?}",
            String::from_utf8_lossy(client)
        );
        assert!(ours.is_none_or(|ours| ours.message.body.is_none()), "it looks whole to us");
        return;
    };
    let (hyper, ours) = (hyper.expect("hyper reads it"), ours.expect("we read it"));
    // Interim answers may stand before it.
    let final_head = &client[ours.head.clone()];
    let (head, length) = theirs::answer_head(final_head).expect("httparse reads it");
    assert_eq!((ours.head.len(), ours.keep_alive), (length, false));
    for read in [&hyper, &ours.message, &head] {
        assert_eq!(bare(read), bare(meant));
    }
    // Our own reader keeps what is said of the body to itself.
    for read in [&hyper, &head] {
        assert_eq!(said(&read.fields), if ending == Ending::Close { Ending::None } else { ending });
    }
    for read in [&hyper, &ours.message] {
        assert_eq!(read.body.as_ref(), Some(body));
    }
    let Start::Answer(status) = meant.start else { unreachable!("an answer") };
    assert!(final_head.starts_with(format!("HTTP/1.1 {status} ").as_bytes()));
}

/// What is said of the body's end.
fn said(fields: &Fields) -> Ending {
    match (fields.get("content-length"), fields.get("transfer-encoding")) {
        (None, None) => Ending::None,
        (None, Some(coding)) => {
            assert_eq!(coding[..], [b"chunked"]);
            Ending::Chunked
        }
        (Some(length), None) => {
            let [length] = &length[..] else { panic!("one length") };
            let length = String::from_utf8_lossy(length).parse();
            Ending::Length(length.expect("a number"))
        }
        (Some(_), Some(_)) => panic!("two framings"),
    }
}

/// Without body and what is said of it and of the connection.
fn bare(message: &Message) -> Message {
    let mut bare = Message { body: None, ..message.clone() };
    for name in ["content-length", "transfer-encoding", "connection"] {
        bare.fields.remove(name);
    }
    bare
}
