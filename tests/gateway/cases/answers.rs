//! Answers of a hostile backend: what its client sees, and whether its connection is ever used again.

use std::fmt::Write;

use frontgate::wire::h1::Malformed;
use frontgate::wire::h1::Malformed::{
    BareLf, BlankLine, Coding, CodingInOldVersion, FieldName, FieldValue, HeadTooLarge, Length,
    LengthAndCoding, NoColon, ObsFold, RepeatedLength, SpaceBeforeColon, StatusLine, TooManyFields,
    TooManyInterims, Unasked,
};

use super::Named;
use crate::support::backend::{Backend, OK};
use crate::support::gateway::{Gateway, Setup};
use crate::support::peer::{Message, Peer, SOON};
use crate::support::wait;

/// What a backend sends in answer to one request, and what comes of it.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    method: &'static str,
    sent: Vec<u8>,
    /// Sent once the client has its answer.
    late: &'static str,
    /// The backend closes behind it.
    leaves: bool,
    seen: Seen,
    /// The connection serves the next request, too.
    kept: bool,
}

/// What the client gets.
#[derive(Clone, Debug)]
enum Seen {
    /// 502 for a head that breaks this rule; the client's connection goes on.
    BadHead(Malformed),
    /// 502 for a body of which nothing was good; the connection closes.
    BadBody,
    /// An answer that begins and ends in a reset.
    Cut,
    /// Status line, field lines in order and body, divided by `\n`, without what the gateway adds.
    Passed(String),
}

fn reply(sent: impl AsRef<[u8]>, seen: Seen, kept: bool) -> Reply {
    let sent = sent.as_ref().to_vec();
    Reply { method: "GET", sent, late: "", leaves: false, seen, kept }
}

fn bad_head(sent: impl AsRef<[u8]>, rule: Malformed) -> Reply {
    reply(sent, Seen::BadHead(rule), false)
}

/// A good status line with these fields behind it.
fn fields(lines: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n")
}

/// A chunked answer with this after its head.
fn chunks(body: &str) -> String {
    fields("transfer-encoding: chunked") + body
}

/// Passed on; the connection serves the next request, too.
fn kept(sent: impl AsRef<[u8]>, seen: &str) -> Reply {
    reply(sent, Seen::Passed(seen.to_owned()), true)
}

/// Passed on; the connection closes.
fn passed(sent: impl AsRef<[u8]>, seen: &str) -> Reply {
    reply(sent, Seen::Passed(seen.to_owned()), false)
}

impl Reply {
    fn to(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    fn late(self, late: &'static str) -> Self {
        Self { late, ..self }
    }

    fn leaving(self) -> Self {
        Self { leaves: true, ..self }
    }

    /// The rule its head breaks.
    pub(super) fn rule(&self) -> Option<Malformed> {
        match self.seen {
            Seen::BadHead(rule) => Some(rule),
            Seen::BadBody | Seen::Cut | Seen::Passed(_) => None,
        }
    }

    fn wanted(&self) -> String {
        let connection = if self.kept { "kept" } else { "fresh" };
        match &self.seen {
            Seen::BadHead(rule) => {
                format!("502 upstream_error\nopen\n{connection}\n{}\n", rule.rule())
            }
            Seen::BadBody => format!("502 upstream_error\nclosed\n{connection}\n"),
            Seen::Cut => format!("200, then reset\n{connection}\n"),
            Seen::Passed(text) => format!("{text}\nopen\n{connection}\n"),
        }
    }
}

fn status_lines() -> Vec<Reply> {
    let mut replies: Vec<_> = [
        "HTTP/1.1 099 Odd",
        "HTTP/1.1 000 Odd",
        "HTTP/1.1 600 Odd",
        "HTTP/1.1 999 Odd",
        "HTTP/1.1 20 Odd",
        "HTTP/1.1 2000 Odd",
        "HTTP/1.1 2x0 Odd",
        "HTTP/1.1 -20 Odd",
        "HTTP/1.1 +20 Odd",
        "HTTP/1.1 200OK",
        "HTTP/1.1 200\tOK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1\t200 OK",
        "HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/1.1 OK",
        "HTTP/2.0 200 OK",
        "HTTP/2 200 OK",
        "HTTP/1.2 200 OK",
        "HTTP/0.9 200 OK",
        "http/1.1 200 OK",
        " HTTP/1.1 200 OK",
        "HTTPS/1.1 200 OK",
        "ICY 200 OK",
        "200 OK",
        "SSH-2.0-OpenSSH_9.2",
        "GET / HTTP/1.1",
        "<html>",
        "HTTP/1.1 200 O\0K",
        "HTTP/1.1 200 O\rK",
        "HTTP/1.1 200 O\x1bK",
        "HTTP/1.1 200 OK\r",
        "\x15\x03\x01\0\x02\x02\x46",
    ]
    .map(|line| bad_head(format!("{line}\r\ncontent-length: 2\r\n\r\nok"), StatusLine))
    .into();
    let ok = "HTTP/1.1 200 OK\ncontent-length: 2\n\nok";
    let answer = |line: &str| format!("{line}\r\ncontent-length: 2\r\n\r\nok");
    replies.extend([
        bad_head(answer("\r\nHTTP/1.1 200 OK"), BlankLine),
        bad_head(answer("\nHTTP/1.1 200 OK"), BareLf),
        bad_head("HTTP/1.1 200 OK\ncontent-length: 2\n\nok", BareLf),
        bad_head(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            Unasked,
        ),
        bad_head("HTTP/1.1 101 Switching Protocols\r\n\r\n", Unasked),
        bad_head("HTTP/1.1 100 Continue\r\n\r\n".repeat(17) + OK, TooManyInterims),
        bad_head(format!("HTTP/1.1 100 Continue\r\n\r\n{}", answer("HTTP/1.1 0")), StatusLine),
        kept("HTTP/1.1 100 Continue\r\n\r\n".repeat(16) + OK, ok),
        // The reason means nothing and leaves as the standard has it.
        kept(answer("HTTP/1.1 200"), ok),
        kept(answer("HTTP/1.1 200 "), ok),
        kept(answer("HTTP/1.1 200 Gr\u{fc}n\t(ja)"), ok),
        kept(answer("HTTP/1.1 599 Odd"), "HTTP/1.1 599 \ncontent-length: 2\n\nok"),
        passed(answer("HTTP/1.0 200 OK"), ok),
    ]);
    replies
}

fn framings() -> Vec<Reply> {
    let length = |value: &str| bad_head(fields(&format!("content-length: {value}")) + "ok", Length);
    let coding = |value: &str| {
        bad_head(fields(&format!("transfer-encoding: {value}")) + "2\r\nok\r\n0\r\n\r\n", Coding)
    };
    let ok = "HTTP/1.1 200 OK\ncontent-length: 2\n\nok";
    let mut replies: Vec<_> =
        ["+2", "-2", "0x2", "2 2", "2, 2", "2, 3", "2;", "", "two", "18446744073709551616"]
            .map(length)
            .into();
    replies.extend(
        [
            "gzip",
            "gzip, chunked",
            "chunked, gzip",
            "chunked, chunked",
            "chunked,",
            "chunked;q=1",
            "x-chunked",
            "identity",
            "",
        ]
        .map(coding),
    );
    let both = "content-length: 2\r\ntransfer-encoding: chunked";
    replies.extend([
        bad_head(fields(both) + "0\r\n\r\n", LengthAndCoding),
        bad_head(fields("transfer-encoding: chunked\r\ncontent-length: 2") + "ok", LengthAndCoding),
        bad_head(fields(both), LengthAndCoding).to("HEAD"),
        bad_head(
            "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\ntransfer-encoding: chunked\r\n\r\n",
            LengthAndCoding,
        ),
        bad_head(fields("content-length: 2\r\ncontent-length: 3") + "abc", RepeatedLength),
        bad_head(fields("content-length: 3\r\nx: y\r\ncontent-length: 0") + "abc", RepeatedLength),
        bad_head(fields("transfer-encoding: chunked\r\ntransfer-encoding: chunked"), Coding),
        bad_head(fields("transfer-encoding: \x0bchunked"), FieldValue),
        bad_head(
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            CodingInOldVersion,
        ),
        // The same length twice is one length (RFC 9112 section 6.3).
        kept(fields("content-length: 2\r\ncontent-length: 2") + "ok", ok),
        kept(fields("content-length: 02") + "ok", ok),
        kept(chunks("2\r\nok\r\n0\r\n\r\n"), "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\nok"),
        passed(fields("x: y") + "ok", "HTTP/1.1 200 OK\nx: y\ntransfer-encoding: chunked\n\nok")
            .leaving(),
        passed("HTTP/1.0 200 OK\r\n\r\nok", "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\nok")
            .leaving(),
        passed(fields("connection: close\r\ncontent-length: 2") + "ok", ok),
    ]);
    replies
}

fn lines() -> Vec<Reply> {
    let large = |bytes: usize| {
        let (head, end) = ("HTTP/1.1 200 OK\r\nx: ", "\r\ncontent-length: 0\r\n\r\n");
        format!("{head}{}{end}", "x".repeat(bytes - head.len() - end.len()))
    };
    let obs_text = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: \x80\xff\r\n\r\nok";
    vec![
        bad_head(fields("no colon"), NoColon),
        bad_head(fields("x : y\r\ncontent-length: 0"), SpaceBeforeColon),
        bad_head(fields(": y"), FieldName),
        bad_head(fields("x(y): z"), FieldName),
        bad_head(fields("x\0y: z"), FieldName),
        bad_head(fields("x: a\0b"), FieldValue),
        bad_head(fields("x: a\rb"), FieldValue),
        bad_head(fields("x: a\x7f"), FieldValue),
        bad_head(fields("x: a\nb"), BareLf),
        bad_head(fields("x: y\r\n z\r\ncontent-length: 0"), ObsFold),
        bad_head(fields(" x: y"), ObsFold),
        bad_head(fields("x: 1\r\n".repeat(257).trim_end()), TooManyFields),
        bad_head(large((64 << 10) + 1), HeadTooLarge),
        bad_head(large(70 << 10).trim_end(), HeadTooLarge),
        kept(large(64 << 10), &large(64 << 10).replace("\r\n", "\n")).to("OPTIONS"),
        kept(obs_text, "HTTP/1.1 200 OK\nx: \u{80}\u{ff}\ncontent-length: 2\n\nok"),
        // What is for this connection only goes, and what the gateway says itself is said by it.
        kept(
            fields(
                "connection: x, content-length\r\nx: 1\r\nkeep-alive: 5\r\ncontent-length: 2\r\nx-request-id: mine",
            ) + "ok",
            "HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
        ),
        kept(
            fields(
                "upgrade: h2c\r\ntrailer: x\r\nproxy-authenticate: x\r\nte: x\r\ncontent-length: 0",
            ),
            "HTTP/1.1 200 OK\ncontent-length: 0\n\n",
        ),
        // Only the gateway says that an answer is its own.
        kept(
            fields(
                "x-frontgate-code: no_route\r\nX-Frontgate-Code: x\r\nx-a: 1\r\ncontent-length: 0",
            ),
            "HTTP/1.1 200 OK\nx-a: 1\ncontent-length: 0\n\n",
        ),
        kept(
            fields("set-cookie: b=2\r\nset-cookie: a=1\r\ncontent-length: 0"),
            "HTTP/1.1 200 OK\nset-cookie: b=2\nset-cookie: a=1\ncontent-length: 0\n\n",
        ),
    ]
}

/// Bytes behind the end of an answer: the next request must not get them.
fn rests() -> Vec<Reply> {
    let evil = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let ok = "HTTP/1.1 200 OK\ncontent-length: 2\n\nok";
    let none = "HTTP/1.1 204 No Content\n\n";
    let head = "HTTP/1.1 200 OK\ncontent-length: 44\n\n";
    let old = "HTTP/1.1 304 Not Modified\ncontent-length: 44\n\n";
    vec![
        passed(format!("{OK}more"), ok),
        passed(format!("{OK}{evil}"), ok),
        passed(format!("{OK}\r\n"), ok),
        passed(OK, ok).late("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"),
        passed(chunks("0\r\n\r\n") + evil, "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n"),
        passed(format!("HTTP/1.1 204 No Content\r\n\r\n{evil}"), none),
        passed(format!("HTTP/1.1 204 No Content\r\ncontent-length: 44\r\n\r\n{evil}"), none),
        // A body was announced where none can be: what comes of it may come at any time.
        passed("HTTP/1.1 204 No Content\r\ncontent-length: 44\r\n\r\n", none),
        passed("HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n", none),
        kept("HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", none),
        kept("HTTP/1.1 204 No Content\r\n\r\n", none),
        passed(format!("HTTP/1.1 304 Not Modified\r\ncontent-length: 44\r\n\r\n{evil}"), old),
        passed("HTTP/1.1 304 Not Modified\r\ncontent-length: 44\r\n\r\n", old)
            .late("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"),
        kept("HTTP/1.1 304 Not Modified\r\ncontent-length: 44\r\n\r\n", old),
        passed(fields("content-length: 44") + evil, head).to("HEAD"),
        passed(fields("content-length: 44"), head).to("HEAD").late("HTTP/1.1 200 OK\r\n\r\nevil"),
        kept(fields("content-length: 44"), head).to("HEAD"),
        passed(chunks("4\r\nevil\r\n0\r\n\r\n"), "HTTP/1.1 200 OK\n\n").to("HEAD"),
    ]
}

fn bodies() -> Vec<Reply> {
    let bad = |body: &str| reply(chunks(body), Seen::BadBody, false);
    let cut = |body: &str| reply(chunks(&format!("3\r\nabc\r\n{body}")), Seen::Cut, false);
    let mut replies: Vec<_> = [
        "+3\r\nabc\r\n0\r\n\r\n",
        " 3\r\nabc\r\n0\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "00000000000000003\r\nabc\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "\r\nabc\r\n0\r\n\r\n",
        "3;a\0\r\nabc\r\n0\r\n\r\n",
        "zz\r\n",
        "<html>\r\n",
        "0\r\nno colon\r\n\r\n",
        "0\r\n\n",
    ]
    .map(bad)
    .into();
    replies.extend(
        [
            "-1\r\n",
            "3\r\nabcd\r\n",
            "3\r\nabc0\r\n\r\n",
            "0\r\nx : y\r\n\r\n",
            "0\r\nabc\r\n\r\n",
            "0\n\r\n",
            "0\r\nx: a\0\r\n\r\n",
            "0\r\nx: 1\r\n y\r\n\r\n",
        ]
        .map(cut),
    );
    let long = format!("3;{}\r\nabc\r\n0\r\n\r\n", "e".repeat(256));
    let large = format!("0\r\nx: {}\r\n\r\n", "t".repeat(64 << 10));
    let seen = "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\nabc";
    replies.extend([
        bad(&long),
        cut(&large),
        cut("0\r\n").leaving(),
        kept(chunks("3;a=b\r\nabc\r\n0;c\r\n\r\n"), seen),
        kept(
            chunks("3\r\nabc\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\nset-cookie: a=b\r\nx-request-id: mine\r\n\r\n"),
            &format!("{seen}\nx-sum: 1"),
        ),
    ]);
    replies
}

pub(super) fn replies() -> Vec<Reply> {
    [status_lines(), framings(), lines(), rests(), bodies()].concat()
}

#[tokio::test]
async fn a_hostile_answer_harms_no_client_but_its_own_and_no_request_after_it() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).top("log = { level = \"debug\" }").start().await;
    let (replies, mut wrong) = (replies(), String::new());
    for reply in &replies {
        let named = Named(format!("{} {}", reply.method, reply.sent.escape_ascii()));
        let seen = play(&gateway, &backend, reply).await;
        if seen != reply.wanted() {
            let (name, wanted) = (&named.0[..named.0.len().min(300)], reply.wanted());
            writeln!(wrong, "--- {name}\n{seen}--- instead of\n{wanted}").expect("memory");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let count = |of: fn(&Seen) -> bool| replies.iter().filter(|it| of(&it.seen)).count() as f64;
    let heads = count(|seen| matches!(seen, Seen::BadHead(_)));
    let failed = count(|seen| !matches!(seen, Seen::Passed(_)));
    gateway.metric_is("frontgate_attempts_total", &["result=\"malformed\""], heads).await;
    gateway.metric_is("frontgate_requests_total", &["fate=\"upstream_failed\""], failed).await;
    let bodies = count(|seen| matches!(seen, Seen::BadBody));
    let code = ["code=\"upstream_error\""];
    gateway.metric_is("frontgate_refusals_total", &code, heads + bodies).await;
}

/// Plays one reply; what the client got, and which connection the next request came on.
async fn play(gateway: &Gateway, backend: &Backend, reply: &Reply) -> String {
    let said = gateway.said().len();
    let ask = format!("{} / HTTP/1.1\r\nhost: h\r\nte: trailers\r\n\r\n", reply.method);
    let mut client = gateway.ask(&ask).await;
    let (mut upstream, _) = backend.request().await;
    // The gateway may have seen enough before its end.
    upstream.try_send(&reply.sent).await.ok();
    if reply.leaves {
        upstream.half_close().await;
    }
    let (mut text, goes_on) = match reply.seen {
        Seen::Cut => {
            let (head, (_, end)) = (client.head().await, client.rest().await);
            (format!("{}, then {end:?}\n", head.status()).to_lowercase(), false)
        }
        Seen::BadHead(_) | Seen::BadBody | Seen::Passed(_) => {
            let answer = client.answer_to(reply.method).await;
            upstream.try_send(reply.late).await.ok();
            let goes_on = answer.head.value("connection") != Some("close");
            (shown(&answer) + if goes_on { "open\n" } else { "closed\n" }, goes_on)
        }
    };
    if !goes_on {
        client.ended().await;
        client = Peer::connect(gateway.web()).await;
    }
    text += next(backend, &mut client, upstream).await;
    if let Seen::BadHead(_) = reply.seen {
        writeln!(text, "{}", rule_logged(gateway, said).await).expect("memory");
    }
    text
}

/// Sends the next request; on which of the backend's connections it came.
async fn next(backend: &Backend, client: &mut Peer, mut upstream: Peer) -> &'static str {
    client.send("GET /next HTTP/1.1\r\nhost: h\r\n\r\n").await;
    // It has to end unless it serves again.
    let way = match upstream.try_request().await {
        Some(_) => "kept\n",
        None => {
            upstream = backend.request().await.0;
            "fresh\n"
        }
    };
    upstream.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\ngood").await;
    match client.answer().await.text().as_str() {
        "good" => way,
        _ => "another answer\n",
    }
}

/// The rule that the gateway says the answer broke, behind its first `said` lines.
async fn rule_logged(gateway: &Gateway, said: usize) -> String {
    wait::until("it says why", SOON, async || {
        gateway.said()[said..].iter().find_map(|line| {
            let (_, rule) = line.split_once("at=the answer's head: ")?;
            Some(rule.split_once(" reused=")?.0.to_owned())
        })
    })
    .await
}

/// An answer as it came, without what the gateway adds to each.
fn shown(answer: &Message) -> String {
    if !answer.code().is_empty() {
        // Nothing of what went wrong inside.
        let odd = if answer.text().contains("RFC") { " and why" } else { "" };
        return format!("{} {}{odd}\n", answer.status(), answer.code());
    }
    let lines = answer.head.raw.trim_end_matches("\r\n").split("\r\n");
    let lines: Vec<_> = lines.filter(|line| !line.starts_with("x-request-id: ")).collect();
    let trailers = answer.trailers.iter().map(|(name, value)| format!("\n{name}: {value}"));
    format!("{}\n\n{}{}\n", lines.join("\n"), answer.text(), trailers.collect::<String>())
}
