//! Floods of HTTP/2 control frames, which h2 answers one by one for as long as they come.
//!
//! In: the bytes of a client's connection. Out: whether it sends more frames without content than
//! any honest client. Not here: resets, CONTINUATION and HPACK, which h2 limits itself.

use tokio::time::Instant;

/// Counts the frames of one connection.
#[derive(Debug)]
pub(crate) struct FrameGuard {
    /// Bytes of payload until the next frame header.
    skip: usize,
    header: [u8; HEADER],
    have: usize,
    window: Option<Instant>,
    counts: [u32; 5],
    /// Control frames that the traffic of this second excuses.
    excused: u32,
}

const HEADER: usize = 9;
/// Frames a second of PING, SETTINGS, empty DATA, WINDOW_UPDATE and PRIORITY.
const MOST: [u32; 5] = [100, 50, 100, 100, 100];
/// PING and WINDOW_UPDATE follow traffic: one is excused for so many bytes.
const BYTES_FOR_ONE: usize = 512;

impl FrameGuard {
    /// A guard that first skips the connection preface.
    pub(crate) fn after_preface(preface: usize) -> Self {
        Self {
            skip: preface,
            header: [0; HEADER],
            have: 0,
            window: None,
            counts: [0; 5],
            excused: 0,
        }
    }

    /// Notes bytes that went out to the client.
    pub(crate) fn wrote(&mut self, bytes: usize) {
        let excused = u32::try_from(bytes / BYTES_FOR_ONE).unwrap_or(u32::MAX);
        self.excused = self.excused.saturating_add(excused);
    }

    /// Takes the next bytes; false if the connection must end.
    #[must_use]
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let wanted = (HEADER - self.have).min(bytes.len());
            self.header[self.have..self.have + wanted].copy_from_slice(&bytes[..wanted]);
            self.have += wanted;
            bytes = &bytes[wanted..];
            if self.have == HEADER {
                self.have = 0;
                if !self.count() {
                    return false;
                }
            }
        }
        true
    }

    fn count(&mut self) -> bool {
        let [a, b, c, kind, flags, ..] = self.header;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        self.skip = length;
        self.excused =
            self.excused.saturating_add(u32::try_from(length / BYTES_FOR_ONE).unwrap_or(0));
        // Frame types of RFC 9113 section 6; a DATA frame that ends its stream has a purpose.
        let (place, excusable) = match kind {
            6 => (0, true),
            4 => (1, false),
            0 if length == 0 && flags & 1 == 0 => (2, false),
            8 => (3, true),
            2 => (4, false),
            _ => return true,
        };
        self.turn_window();
        self.counts[place] += 1;
        let allowed = MOST[place].saturating_add(if excusable { self.excused } else { 0 });
        self.counts[place] <= allowed
    }

    fn turn_window(&mut self) {
        let now = Instant::now();
        let over = |since: Instant| now.saturating_duration_since(since).as_secs() >= 1;
        if self.window.is_none_or(over) {
            self.window = Some(now);
            (self.counts, self.excused) = ([0; 5], 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::FrameGuard;

    fn frame(length: usize, kind: u8, flags: u8) -> Vec<u8> {
        let size = u32::try_from(length).expect("small").to_be_bytes();
        let mut frame = vec![size[1], size[2], size[3], kind, flags, 0, 0, 0, 1];
        frame.resize(9 + length, 0);
        frame
    }

    #[track_caller]
    fn check(frames: &[Vec<u8>], expect: bool) {
        let mut bytes = b"PREFACE".to_vec();
        bytes.extend(frames.concat());
        for step in [1, 5, bytes.len()] {
            let mut guard = FrameGuard::after_preface(7);
            let ok = bytes.chunks(step).all(|part| guard.take(part));
            assert_eq!(ok, expect, "in steps of {step}");
        }
    }

    #[test]
    fn floods_end_the_connection() {
        check(&vec![frame(8, 6, 0); 100], true);
        check(&vec![frame(8, 6, 0); 101], false);
        check(&vec![frame(0, 4, 1); 51], false);
        check(&vec![frame(0, 0, 0); 101], false);
        check(&vec![frame(4, 8, 0); 101], false);
        check(&vec![frame(5, 2, 0); 101], false);
    }

    #[test]
    fn traffic_is_no_flood() {
        check(&vec![frame(100, 0, 0); 500], true);
        check(&vec![frame(0, 0, 1); 500], true);
        check(&vec![frame(20, 1, 4); 500], true);
        let upload = [frame(16_384, 0, 0), frame(8, 6, 0)].concat();
        check(&vec![upload; 1000], true);
    }
}
