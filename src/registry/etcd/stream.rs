//! A watch of the prefix: lines of JSON that come whenever something changes.

use super::Core;
use super::cluster::{BODY, Failure, No, PROMPT};
use super::json::{self, Event, Line, Told};
use crate::fetch::Stream;
use crate::registry::trouble::Trouble;

const PATH: &str = "/v3/watch";

/// A watch that etcd has confirmed.
pub(super) struct Watch {
    member: usize,
    stream: Stream,
    lines: Lines,
}

impl Watch {
    /// Watches everything from this revision on; good only once etcd has said so.
    pub(super) async fn open(core: &Core, member: usize, revision: i64) -> Result<Self, Failure> {
        let (from, end) = core.prefix.range();
        let body = json::watch(&from, &end, revision);
        let stream = core.cluster.open(member, PATH, body).await?;
        let mut watch = Self { member, stream, lines: Lines::default() };
        let confirmed = async {
            loop {
                watch.fill(core).await?;
                if let Some(line) = watch.lines.next() {
                    return match told(core, member, &line)? {
                        Told { created: true, .. } => Ok(()),
                        Told { .. } => {
                            Err(core.cluster.broken(member, "the watch is not confirmed"))
                        }
                    };
                }
            }
        };
        let late = || Trouble::Away(format!("{PATH} is not answered within {PROMPT:?}"));
        let confirmed = tokio::time::timeout(PROMPT, confirmed).await;
        confirmed.unwrap_or_else(|_| Err(core.cluster.of(member, &late())))?;
        Ok(watch)
    }

    /// What has changed, in order, as soon as anything has; nothing as well when etcd only shows that it lives. Dropped
    /// unfinished it loses nothing.
    pub(super) async fn changes(&mut self, core: &Core) -> Result<Vec<Event>, Failure> {
        if !self.lines.has_next() {
            self.fill(core).await?;
        }
        let mut events = Vec::new();
        while let Some(line) = self.lines.next() {
            events.append(&mut told(core, self.member, &line)?.events);
        }
        Ok(events)
    }

    async fn fill(&mut self, core: &Core) -> Result<(), Failure> {
        let chunk = self.stream.chunk().await;
        let chunk = chunk.map_err(|error| core.cluster.of(self.member, &error.into()))?;
        let ended = || Trouble::Away("the watch has ended".into());
        let chunk = chunk.ok_or_else(|| core.cluster.of(self.member, &ended()))?;
        self.lines.add(&chunk).map_err(|why| core.cluster.broken(self.member, &why))
    }
}

/// What a line tells, unless it is the last one.
fn told(core: &Core, member: usize, line: &[u8]) -> Result<Told, Failure> {
    let line: Line<Told> = json::read(line).map_err(|why| core.cluster.broken(member, &why))?;
    if let Some(error) = line.error {
        return Err(core.cluster.ended(member, &error));
    }
    let Some(told) = line.result else {
        return Err(core.cluster.broken(member, "a line of the watch says nothing"));
    };
    if told.compact_revision > 0 {
        return Err(Failure::Cluster(No::Compacted, "the changes are no longer known".into()));
    }
    if told.canceled {
        return Err(core.cluster.refused(member, None, &told.cancel_reason));
    }
    Ok(told)
}

/// Lines of what comes in pieces.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    /// Taken already.
    begin: usize,
    /// Holds no end of a line, from `begin` on.
    searched: usize,
}

impl Lines {
    fn add(&mut self, bytes: &[u8]) -> Result<(), String> {
        // Only what is unfinished is left here.
        self.bytes.drain(..self.begin);
        (self.begin, self.searched) = (0, self.searched - self.begin);
        if self.bytes.len() + bytes.len() > BODY {
            return Err(format!("a line of the watch is longer than {BODY} bytes"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn has_next(&mut self) -> bool {
        let end = memchr::memchr(b'\n', &self.bytes[self.searched..]);
        self.searched = end.map_or(self.bytes.len(), |end| self.searched + end);
        end.is_some()
    }

    /// The next line that is not empty.
    fn next(&mut self) -> Option<Vec<u8>> {
        while self.has_next() {
            let line = self.bytes[self.begin..self.searched].to_vec();
            self.searched += 1;
            self.begin = self.searched;
            if !line.trim_ascii().is_empty() {
                return Some(line);
            }
        }
        // A large line's room is not kept for ever.
        if self.begin == self.bytes.len() {
            *self = Self::default();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(lines: &mut Lines) -> Vec<String> {
        std::iter::from_fn(|| lines.next()).map(|l| String::from_utf8(l).unwrap()).collect()
    }

    #[test]
    fn lines_come_out_whole_however_they_come_in() {
        let mut lines = Lines::default();
        for (piece, expected) in [
            ("", &[][..]),
            ("{a", &[]),
            ("}\n{b}\n\n{", &["{a}", "{b}"]),
            ("c", &[]),
            ("}", &[]),
            ("\n", &["{c}"]),
            ("\r\n", &[]),
            ("d\n", &["d"]),
        ] {
            lines.add(piece.as_bytes()).unwrap();
            assert_eq!(drain(&mut lines), expected, "{piece:?}");
        }
        assert!(lines.bytes.capacity() == 0, "nothing is kept");
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let mut lines = Lines::default();
        let piece = vec![b' '; BODY / 4];
        for _ in 0..4 {
            lines.add(&piece).unwrap();
            assert!(lines.next().is_none());
        }
        assert!(lines.add(b"x").is_err());
    }
}
