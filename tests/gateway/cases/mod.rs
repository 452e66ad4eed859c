//! Bytes in, and everything that is seen of them on either side: each theme is one table against one gateway.

mod answers;
mod chunks;
mod connection;
mod fields;
mod forwarded;
mod framing;
mod hosts;
mod lines;
mod pipelines;
mod targets;
mod trailers;
mod versions;

use std::collections::HashSet;
use std::fmt::Write;

use frontgate::wire::h1::Malformed;
use tokio::time::timeout;

use crate::support::backend::Answering;
use crate::support::gateway::{Gateway, Setup};
use crate::support::peer::{End, Message, Peer, SOON};

/// What a client sends on a connection of its own, and what comes of it.
#[derive(Clone, Debug)]
pub(super) struct Case {
    sent: Vec<u8>,
    answers: Vec<Answer>,
    closes: bool,
    /// Its last body broke: of that request a part may arrive, never the whole.
    breaks: bool,
    /// What the backend gets, this and nothing else: request line, field lines and body, divided by `\n`. What every
    /// request gets on its way is added where the text does not name it. Without any, not even a connection is made.
    reaches: Vec<String>,
}

/// An answer, in the order they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The backend's.
    Passed,
    /// The gateway's own: status, code, and the rule that was broken.
    Refused(u16, &'static str, Malformed),
}

/// Refused with this status and code; the connection closes and the backend sees nothing.
fn refused(sent: impl AsRef<[u8]>, status: u16, code: &'static str, rule: Malformed) -> Case {
    Case {
        sent: sent.as_ref().to_vec(),
        answers: vec![Answer::Refused(status, code, rule)],
        closes: true,
        breaks: false,
        reaches: Vec::new(),
    }
}

/// Refused with 400.
fn bad(sent: impl AsRef<[u8]>, rule: Malformed) -> Case {
    refused(sent, 400, "bad_request", rule)
}

/// Refused with 400 for its body, when its head may have arrived.
fn broken(sent: impl AsRef<[u8]>, rule: Malformed) -> Case {
    Case { breaks: true, ..bad(sent, rule) }
}

/// Answered by the backend, which got exactly this; the connection goes on.
fn passes(sent: impl AsRef<[u8]>, reaches: impl Into<String>) -> Case {
    Case {
        sent: sent.as_ref().to_vec(),
        answers: vec![Answer::Passed],
        closes: false,
        breaks: false,
        reaches: vec![reaches.into()],
    }
}

impl Case {
    /// The connection closes.
    fn closing(self) -> Self {
        Self { closes: true, ..self }
    }

    /// The same, with another request that the backend answers before the last answer.
    fn after(mut self, reaches: impl Into<String>) -> Self {
        self.answers.insert(0, Answer::Passed);
        self.reaches.insert(0, reaches.into());
        self
    }

    fn name(&self) -> String {
        let shown = &self.sent[..self.sent.len().min(300)];
        let cut = if shown.len() < self.sent.len() { "…" } else { "" };
        format!("{}{cut} ({} bytes)", shown.escape_ascii(), self.sent.len())
    }

    /// The rules it breaks.
    fn rules(&self) -> impl Iterator<Item = Malformed> {
        self.answers.iter().filter_map(|answer| match answer {
            Answer::Passed => None,
            Answer::Refused(_, _, rule) => Some(*rule),
        })
    }
}

/// Names the case when what leads it panics.
struct Named(String);

#[expect(clippy::print_stderr, reason = "a test says why it fails")]
impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("within the case {}", self.0);
        }
    }
}

/// A gateway and its backend, before which the cases of a table are played.
struct Stage {
    gateway: Gateway,
    backend: Answering,
}

/// Plays a table before one gateway, and fails with every case that went otherwise.
async fn play(table: &[Case]) {
    play_before(table, usize::MAX, |setup| setup).await;
}

/// The same, in pieces of `step` bytes, before a gateway of another set-up.
async fn play_before(table: &[Case], step: usize, change: impl FnOnce(Setup) -> Setup) {
    let backend = Answering::by(|request| {
        let body = if request.head.start.starts_with("HEAD ") { "" } else { "ok" };
        format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{body}").into_bytes()
    })
    .await;
    let gateway = change(Setup::to(&[backend.address])).start().await;
    let stage = Stage { gateway, backend };
    stage.probe().await;
    let mut wrong = String::new();
    for case in table {
        let named = Named(case.name());
        let (seen, wanted) = (stage.seen(case, step).await, stage.wanted(case));
        if seen != wanted {
            writeln!(wrong, "--- {}\n{seen}--- instead of\n{wanted}", named.0).expect("memory");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    counted(&stage.gateway, table).await;
}

/// The gateway counts each case for what it was.
async fn counted(gateway: &Gateway, table: &[Case]) {
    let answers: Vec<_> = table.iter().flat_map(|case| &case.answers).collect();
    for counted in [
        "bad_request",
        "method_not_allowed",
        "target_too_long",
        "headers_too_large",
        "expectation",
        "version",
    ] {
        let of =
            |answer: &&&Answer| matches!(answer, Answer::Refused(_, code, _) if *code == counted);
        let count = answers.iter().filter(of).count() as f64;
        let code = format!("code=\"{counted}\"");
        gateway.metric_is("frontgate_refusals_total", &[&code], count).await;
    }
    let refused = answers.iter().filter(|answer| ***answer != Answer::Passed).count() as f64;
    gateway.metric_is("frontgate_requests_total", &["fate=\"refused\""], refused).await;
    let broke = table.iter().filter(|case| case.breaks).count() as f64;
    let broken = ["result=\"client_gone\""];
    gateway.metric_is("frontgate_attempts_total", &broken, broke).await;
}

/// Every case before the usual gateway.
fn all() -> Vec<Case> {
    let tables = [
        chunks::cases(),
        connection::cases(),
        fields::cases(),
        forwarded::cases(),
        framing::cases(),
        hosts::cases(),
        lines::cases(),
        pipelines::cases(),
        targets::cases(),
        trailers::cases(),
        versions::cases(),
    ];
    tables.concat()
}

#[test]
fn every_rule_is_broken_by_some_case() {
    let all = all();
    let mut broken: HashSet<_> = all.iter().flat_map(Case::rules).collect();
    broken.extend(answers::replies().iter().filter_map(answers::Reply::rule));
    let missing: Vec<_> = Malformed::all().filter(|rule| !broken.contains(rule)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test]
async fn every_case_goes_the_same_in_any_pieces() {
    let short: Vec<_> = all().into_iter().filter(|case| case.sent.len() < 300).collect();
    for (first, step) in [(0, 1), (1, 2), (2, 7), (3, 40)] {
        let some: Vec<_> = short.iter().skip(first).step_by(5).cloned().collect();
        play_before(&some, step, |setup| setup).await;
    }
}

const PROBE: &str = "GET /probe HTTP/1.1\r\nhost: probe\r\n\r\n";

impl Stage {
    /// A good request on a connection of its own; the gateway has an idle connection to the backend then.
    async fn probe(&self) {
        let answer = self.gateway.ask(PROBE).await.answer().await;
        assert_eq!(answer.text(), "ok", "a good request");
    }

    /// Plays one case; what was seen of it.
    async fn seen(&self, case: &Case, step: usize) -> String {
        let (requests, connections) = (self.backend.count(), self.backend.connections());
        let mut text = String::new();
        let mut client = Peer::connect(self.gateway.web()).await;
        for piece in case.sent.chunks(step) {
            // It may be refused before its end.
            if client.try_send(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let method = if case.sent.starts_with(b"HEAD ") { "HEAD" } else { "GET" };
        for _ in &case.answers {
            match client.try_answer_to(method).await {
                Some(answer) => text += &answered(&answer),
                None => text += "no answer\n",
            }
        }
        let made = self.backend.connections() - connections;
        if case.closes {
            let (rest, end) = match timeout(SOON / 2, client.rest()).await {
                Ok((rest, End::Closed)) => (rest, "closed"),
                Ok((rest, End::Reset)) => (rest, "reset"),
                Err(_) => (Vec::new(), "open for long"),
            };
            writeln!(text, "{}{end}", String::from_utf8_lossy(&rest)).expect("memory");
            self.probe().await;
        } else {
            client.try_send(PROBE).await.ok();
            match client.try_answer_to("GET").await {
                Some(answer) if answer.text() == "ok" => text += "open\n",
                other => writeln!(text, "not open: {other:?}").expect("memory"),
            }
        }
        let all = self.backend.requests();
        let mut arrived: Vec<_> = all[requests..].iter().map(|it| self.arrived(it)).collect();
        if arrived.pop() != Some(self.meant("GET /probe HTTP/1.1\nhost: probe")) {
            text += "a good request arrived otherwise or not at all\n";
        }
        if made > 0 && case.reaches.is_empty() && !case.breaks {
            text += "the backend was connected to\n";
        }
        arrived.iter().for_each(|request| text += request);
        text
    }

    fn wanted(&self, case: &Case) -> String {
        let mut text = String::new();
        for answer in &case.answers {
            match answer {
                Answer::Passed => text += "200\n",
                Answer::Refused(400, code, rule) => {
                    writeln!(text, "400 {code}: {}, close", rule.rule()).expect("memory");
                }
                Answer::Refused(status, code, _) => {
                    writeln!(text, "{status} {code}, close").expect("memory");
                }
            }
        }
        text += if case.closes { "closed\n" } else { "open\n" };
        case.reaches.iter().for_each(|it| text += &self.meant(it));
        text
    }

    /// A request as it arrived: every line of its head as it was, in order, and its body.
    fn arrived(&self, request: &Message) -> String {
        let raw = request.head.raw.trim_end_matches("\r\n");
        let (start, lines) = raw.split_once("\r\n").unwrap_or((raw, ""));
        let mut lines: Vec<_> = lines.split("\r\n").map(|line| self.without_chance(line)).collect();
        lines.sort();
        let trailers: Vec<_> =
            request.trailers.iter().map(|(name, value)| format!("\n{name}: {value}")).collect();
        let body = String::from_utf8_lossy(&request.body);
        format!("{start}\n{}\n\n{body}{}\n", lines.join("\n"), trailers.concat())
    }

    /// A line with names for what differs each time.
    fn without_chance(&self, line: &str) -> String {
        let port = format!("x-forwarded-port: {}", self.gateway.web().port());
        let is_id = |id: &str| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        match line.strip_prefix("x-request-id: ") {
            Some(id) if is_id(id) => "x-request-id: ID".to_owned(),
            _ if line == port => "x-forwarded-port: PORT".to_owned(),
            _ => line.replace(&self.backend.address.to_string(), "BACKEND"),
        }
    }

    /// A request as a case means it, with what every request gets on its way.
    fn meant(&self, text: &str) -> String {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let (start, lines) = head.split_once('\n').unwrap_or((head, ""));
        let mut lines: Vec<_> =
            lines.split('\n').filter(|line| !line.is_empty()).map(str::to_owned).collect();
        let host = lines.iter().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
        let usual = [
            "x-forwarded-for: 127.0.0.1".to_owned(),
            format!("x-forwarded-host: {host}"),
            "x-forwarded-port: PORT".to_owned(),
            "x-forwarded-proto: http".to_owned(),
            "x-real-ip: 127.0.0.1".to_owned(),
            "x-request-id: ID".to_owned(),
        ];
        for line in usual {
            let name = &line[..=line.find(':').unwrap_or_default()];
            // An old client names no host.
            if line != "x-forwarded-host: BACKEND" && !lines.iter().any(|it| it.starts_with(name)) {
                lines.push(line);
            }
        }
        lines.sort();
        format!("{start}\n{}\n\n{body}\n", lines.join("\n"))
    }
}

/// An answer in one line; the gateway's own with all that such a one must have.
fn answered(answer: &Message) -> String {
    let (status, code) = (answer.status(), answer.code());
    if code.is_empty() {
        let odd = if answer.text() == "ok" || answer.body.is_empty() { "" } else { " odd" };
        return format!("{status}{odd}\n");
    }
    let id = answer.head.value("x-request-id").unwrap_or_default();
    let has_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let line = answer.text();
    let said = line.strip_prefix(code).and_then(|line| line.strip_prefix(": "));
    let whole = said.is_some_and(|said| said.ends_with('\n') && said.lines().count() == 1);
    let odd = if has_id && whole { "" } else { " odd" };
    let rule = match status {
        400 => format!(": {}", said.unwrap_or_default().trim_end()),
        _ => String::new(),
    };
    let connection = answer.head.value("connection").unwrap_or("open");
    format!("{status} {code}{rule}, {connection}{odd}\n")
}
