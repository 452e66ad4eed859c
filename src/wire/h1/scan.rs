//! Where a head ends, looked for once per byte however slowly it arrives.

use memchr::memchr;

use super::Malformed;

/// How far the end of a head was looked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scan {
    looked: usize,
    line: usize,
}

impl Scan {
    /// The length of the head at the start of `bytes`, its empty line included, once it is all there.
    ///
    /// `bytes` begins with what earlier calls saw. A line that ends in a bare LF is refused at once: waiting for its
    /// CRLF would turn a bad request into a slow one.
    pub fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        while let Some(found) = bytes.get(self.looked..).and_then(|rest| memchr(b'\n', rest)) {
            let at = self.looked + found;
            if at == self.line || bytes.get(at - 1) != Some(&b'\r') {
                return Err(Malformed::BareLf);
            }
            if at - self.line == 1 {
                if self.line == 0 {
                    return Err(Malformed::BlankLine);
                }
                *self = Self::default();
                return Ok(Some(at + 1));
            }
            self.looked = at + 1;
            self.line = at + 1;
        }
        self.looked = bytes.len();
        Ok(None)
    }

    /// Whether the first line is complete.
    pub fn has_first_line(&self) -> bool {
        self.line > 0
    }
}

#[cfg(test)]
mod tests {
    use super::{Malformed, Scan};

    #[test]
    fn finds_the_same_end_whole_or_byte_by_byte() {
        let head = b"GET / HTTP/1.1\r\nhost: a\r\n\r\nrest";
        assert_eq!(Scan::default().end(head), Ok(Some(head.len() - 4)));
        let mut scan = Scan::default();
        for n in 0..head.len() - 4 {
            assert_eq!(scan.end(&head[..n]), Ok(None), "{n}");
        }
        assert_eq!(scan.end(&head[..head.len() - 4]), Ok(Some(head.len() - 4)));
    }

    #[test]
    fn refuses_bare_lf_and_blank_lines_at_once() {
        for (bytes, rule) in [
            (&b"GET / HTTP/1.1\n"[..], Malformed::BareLf),
            (b"GET / HTTP/1.1\r\na: b\n", Malformed::BareLf),
            (b"GET / HTTP/1.1\r\n\n", Malformed::BareLf),
            (b"\n", Malformed::BareLf),
            (b"\r\nGET / HTTP/1.1\r\n", Malformed::BlankLine),
        ] {
            assert_eq!(Scan::default().end(bytes), Err(rule));
        }
    }
}
