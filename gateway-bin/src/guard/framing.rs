//! Where a request ends: one answer, or the connection is closed.
//!
//! hyper settles some contradictions silently (it lets `Transfer-Encoding` win over
//! `Content-Length`, joins equal lengths, takes bare line feeds), which RFC 9112 allows for. A
//! gateway stands between two parsers and must not settle anything; so the bytes of heads are
//! looked at on their way to hyper.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use http::{Version, header, request};

use super::{Refusal, Seen};

/// What the bytes of one request head looked like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Framing {
    content_lengths: u8,
    transfer_encoding: bool,
    bare_line_feed: bool,
}

/// Refuses every request whose end is not beyond doubt.
///
/// SPEC: RFC 9112 sections 6.1, 6.3 and 11.2.
pub(super) fn check(head: &request::Parts, framing: Framing, seen: &Seen) -> Result<(), Refusal> {
    if framing.bare_line_feed {
        return Err(Refusal::bad("a line ends without carriage return"));
    }
    let coded = seen.transfer_encodings > 0 || framing.transfer_encoding;
    let lengths = seen.content_lengths.max(usize::from(framing.content_lengths));
    if lengths > 1 {
        return Err(Refusal::bad("more than one Content-Length"));
    }
    if !coded {
        return Ok(());
    }
    if lengths > 0 {
        return Err(Refusal::bad("both Content-Length and Transfer-Encoding"));
    }
    if head.version < Version::HTTP_11 {
        return Err(Refusal::bad("Transfer-Encoding in HTTP/1.0"));
    }
    let coding = head.headers.get(header::TRANSFER_ENCODING).map(|value| value.as_bytes());
    if seen.transfer_encodings > 1 || !coding.unwrap_or(b"").eq_ignore_ascii_case(b"chunked") {
        return Err(Refusal::bad("the Transfer-Encoding is not one chunked"));
    }
    Ok(())
}

/// Looks at the bytes of request heads as they arrive, line by line and over the borders of reads.
///
/// A request that was pipelined behind another in one read is not seen; for those hyper's own rule
/// holds, which lets the coding win and closes the connection.
#[derive(Debug, Default)]
pub(crate) struct HeadScan {
    /// Start of the line that the last read ended in, as far as names need it.
    line: [u8; LONGEST],
    line_length: usize,
    last: u8,
    ended: bool,
    any_line: bool,
}

/// Bytes of a line that tell whether it is one of those that matter, with the colon.
const LONGEST: usize = "transfer-encoding:".len();

impl HeadScan {
    /// Begins a new head.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Takes the next bytes and notes what it sees of the head in `found`.
    pub(crate) fn take(&mut self, mut bytes: &[u8], found: &FoundFraming) {
        while !self.ended && !bytes.is_empty() {
            let Some(end) = memchr::memchr(b'\n', bytes) else {
                self.keep(bytes);
                return;
            };
            let (line, rest) = bytes.split_at(end);
            bytes = &rest[1..];
            self.end_line(line, found);
        }
    }

    fn keep(&mut self, part: &[u8]) {
        let room = (LONGEST - self.line_length).min(part.len());
        self.line[self.line_length..self.line_length + room].copy_from_slice(&part[..room]);
        self.line_length += room;
        self.last = part.last().copied().unwrap_or(self.last);
    }

    fn end_line(&mut self, line: &[u8], found: &FoundFraming) {
        let last = line.last().copied().unwrap_or(self.last);
        let whole = self.line_length == 0;
        if !whole {
            self.keep(line);
        }
        let start = if whole { line } else { &self.line[..self.line_length] };
        let empty = start.is_empty() || start == b"\r";
        if last != b'\r' {
            found.note(BARE_LINE_FEED);
        }
        match start.first().map(u8::to_ascii_lowercase) {
            Some(b'c') if names(start, b"content-length:") => found.note_length(),
            Some(b't') if names(start, b"transfer-encoding:") => found.note(CODED),
            _ => {}
        }
        // Empty lines before the request line are allowed (RFC 9112 section 2.2).
        self.ended = empty && self.any_line;
        self.any_line |= !empty;
        (self.line_length, self.last) = (0, 0);
    }
}

fn names(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
}

const CODED: u8 = 1;
const BARE_LINE_FEED: u8 = 2;
const LENGTH: u8 = 4;
const LENGTHS: u8 = 8;

/// What was found, on its way from the socket to the request.
#[derive(Debug, Default)]
pub(crate) struct FoundFraming(AtomicU8);

impl FoundFraming {
    /// What was found since the last call.
    pub(crate) fn take(&self) -> Framing {
        let found = self.0.swap(0, Relaxed);
        let content_lengths = match (found & LENGTH, found & LENGTHS) {
            (_, LENGTHS) => 2,
            (LENGTH, _) => 1,
            _ => 0,
        };
        Framing {
            content_lengths,
            transfer_encoding: found & CODED != 0,
            bare_line_feed: found & BARE_LINE_FEED != 0,
        }
    }

    fn note(&self, what: u8) {
        self.0.store(self.0.load(Relaxed) | what, Relaxed);
    }

    fn note_length(&self) {
        self.note(if self.0.load(Relaxed) & LENGTH == 0 { LENGTH } else { LENGTHS });
    }
}

#[cfg(test)]
mod tests {
    use super::{FoundFraming, Framing, HeadScan};

    #[track_caller]
    fn check(head: &str, expect: Framing) {
        for step in [1, 2, 3, 7, head.len()] {
            let (mut scan, found) = (HeadScan::default(), FoundFraming::default());
            for part in head.as_bytes().chunks(step) {
                scan.take(part, &found);
            }
            assert_eq!(found.take(), expect, "in steps of {step}");
        }
    }

    #[test]
    fn heads_are_seen_in_any_pieces() {
        let (coded, length) = ("Transfer-Encoding: chunked\r\n", "content-LENGTH: 3\r\n");
        let head = |fields: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let none = Framing::default();
        check(&head(""), none);
        check(&head(coded), Framing { transfer_encoding: true, ..none });
        check(&head(length), Framing { content_lengths: 1, ..none });
        let both = Framing { transfer_encoding: true, content_lengths: 1, ..none };
        check(&head(&[coded, length].concat()), both);
        check(&head(&[length, coded].concat()), both);
        check(&head(&[length, length].concat()), Framing { content_lengths: 2, ..none });
        check(&head("X: y\n"), Framing { bare_line_feed: true, ..none });
        check("GET / HTTP/1.1\nHost: a\r\n\r\n", Framing { bare_line_feed: true, ..none });
    }

    #[test]
    fn a_body_is_no_head() {
        check("\r\nPOST / HTTP/1.1\r\n\r\ncontent-length: 3\n\r\n", Framing::default());
        let length = Framing { content_lengths: 1, ..Framing::default() };
        check("POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\ntransfer-encoding: x\n", length);
    }

    #[test]
    fn names_are_whole_names() {
        check("GET / HTTP/1.1\r\nx-content-length: 1\r\nte: x\r\n\r\n", Framing::default());
        check("GET / HTTP/1.1\r\ncontent-lengthy: 1\r\n\r\n", Framing::default());
    }
}
