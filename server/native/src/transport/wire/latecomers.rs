//! What a client sends for calls that a GOAWAY leaves out.
//!
//! Such calls were begun before the client knew of the GOAWAY, and their frames have to be ignored
//! (RFC 9113, section 6.8). The HTTP/2 library ignores all but WINDOW_UPDATE: that it takes for an
//! error of the whole connection, which ends every other call. So those pass as frames of an
//! unknown kind, which everybody ignores.

use tokio::io::ReadBuf;

use super::frames::{Frames, HEADER, LARGEST, WINDOW_UPDATE};

const IGNORED: u8 = 0xff;
/// Where the kind is in the header of a frame.
const KIND: usize = 3;

/// Makes windows of calls that are left out harmless, from the first GOAWAY on.
pub struct Latecomers {
    /// Where the bytes of the client are.
    frames: Frames,
    /// The last stream that the GOAWAY takes in.
    last: u32,
    /// What came and was not taken yet.
    waiting: Vec<u8>,
    /// How much of that is complete headers and payload.
    clear: usize,
}

impl Latecomers {
    /// Begin where the bytes of the client are now.
    pub fn after(frames: &Frames) -> Self {
        Latecomers {
            frames: frames.clone(),
            last: LARGEST,
            waiting: Vec::new(),
            clear: 0,
        }
    }

    /// The calls after this one are left out.
    pub fn leave_out_after(&mut self, last: u32) {
        self.last = last;
    }

    /// Note what came; a header that is not complete waits for its rest.
    pub fn came(&mut self, bytes: &[u8]) {
        let Latecomers {
            frames,
            last,
            waiting,
            clear,
        } = self;
        let before = waiting.len();
        waiting.extend_from_slice(bytes);
        frames.pass(bytes, |head, end| {
            // Of a header that had begun before, the kind has passed already.
            if let Some(start) = (before + end).checked_sub(HEADER) {
                if head.kind == WINDOW_UPDATE && head.stream > *last {
                    waiting[start + KIND] = IGNORED;
                }
            }
        });
        *clear = waiting.len() - frames.begun().min(waiting.len());
    }

    /// Move to the buffer what may pass; whether that was anything.
    pub fn take(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let count = self.clear.min(buffer.remaining());
        buffer.put_slice(&self.waiting[..count]);
        self.waiting.drain(..count);
        self.clear -= count;
        count > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(stream: u32) -> Vec<u8> {
        let mut frame = vec![0, 0, 4, WINDOW_UPDATE, 0];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(&1u32.to_be_bytes());
        frame
    }

    /// Let the bytes come in pieces, and take them in smaller ones.
    fn passed(late: &mut Latecomers, bytes: &[u8], width: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in bytes.chunks(width) {
            late.came(piece);
            let mut space = [0; 3];
            let mut buffer = ReadBuf::new(&mut space);
            while late.take(&mut buffer) {
                out.extend_from_slice(buffer.filled());
                buffer.clear();
            }
        }
        out
    }

    fn kinds(bytes: &[u8]) -> Vec<(u8, u32)> {
        let mut found = Vec::new();
        Frames::after(0).pass(bytes, |head, _| found.push((head.kind, head.stream)));
        found
    }

    #[test]
    fn windows_of_calls_that_are_left_out_pass_as_an_unknown_kind() {
        let bytes = [window(7), window(9), window(0), window(11)].concat();
        for width in 1..bytes.len() {
            let mut late = Latecomers::after(&Frames::after(0));
            assert_eq!(passed(&mut late, &bytes, width), bytes);
            late.leave_out_after(7);
            let found = kinds(&passed(&mut late, &bytes, width));
            let window = WINDOW_UPDATE;
            assert_eq!(
                found,
                [(window, 7), (IGNORED, 9), (window, 0), (IGNORED, 11)]
            );
        }
    }

    #[test]
    fn a_header_that_had_begun_passes_as_it_is() {
        let bytes = window(9);
        for begun in 1..bytes.len() {
            let mut frames = Frames::after(0);
            frames.pass(&bytes[..begun], |_, _| {});
            let mut late = Latecomers::after(&frames);
            late.leave_out_after(7);
            assert_eq!(passed(&mut late, &bytes[begun..], 2), bytes[begun..]);
        }
    }
}
