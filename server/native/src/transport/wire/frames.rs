//! HTTP/2 frames as they pass: where they begin, and which of them cost more than they carry.

use std::time::{Duration, Instant};

pub const HEADER: usize = 9;
/// The header of a GOAWAY and the last stream that it takes in.
const FAREWELL: usize = HEADER + 4;
pub const PREFACE: usize = 24;

const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const ENHANCE_YOUR_CALM: u32 = 11;
/// The largest number of a stream.
pub const LARGEST: u32 = 0x7fff_ffff;

/// The beginning of a frame.
#[derive(Clone, Copy)]
pub struct Head {
    pub kind: u8,
    pub stream: u32,
    /// The last stream that a GOAWAY takes in; of no meaning for other frames.
    pub last: u32,
}

/// Finds the headers of frames in bytes that come in pieces of any size.
#[derive(Clone)]
pub struct Frames {
    header: [u8; FAREWELL],
    seen: usize,
    /// What is left of the preface or of a payload.
    skip: usize,
}

impl Frames {
    pub fn after(preface: usize) -> Self {
        Frames {
            header: [0; FAREWELL],
            seen: 0,
            skip: preface,
        }
    }

    /// Call `found` for each frame whose header is complete now, with how many of the bytes had
    /// passed by then.
    pub fn pass(&mut self, bytes: &[u8], mut found: impl FnMut(Head, usize)) {
        let mut at = 0;
        loop {
            let skipped = self.skip.min(bytes.len() - at);
            self.skip -= skipped;
            at += skipped;
            if at == bytes.len() {
                return;
            }
            let taken = (self.wanted() - self.seen).min(bytes.len() - at);
            self.header[self.seen..self.seen + taken].copy_from_slice(&bytes[at..at + taken]);
            self.seen += taken;
            at += taken;
            if self.seen == self.wanted() {
                self.skip = self.length() + HEADER - self.seen;
                self.seen = 0;
                found(self.head(), at);
            }
        }
    }

    /// How many bytes of the next header have passed.
    pub fn begun(&self) -> usize {
        self.seen
    }

    /// How many bytes at the beginning of the frame say what it is.
    fn wanted(&self) -> usize {
        let farewell = self.seen >= HEADER && self.header[3] == GOAWAY && self.length() >= 4;
        if farewell {
            FAREWELL
        } else {
            HEADER
        }
    }

    fn length(&self) -> usize {
        let [a, b, c, ..] = self.header;
        u32::from_be_bytes([0, a, b, c]) as usize
    }

    fn head(&self) -> Head {
        let [_, _, _, kind, _, a, b, c, d, last @ ..] = self.header;
        Head {
            kind,
            stream: u32::from_be_bytes([a, b, c, d]) & LARGEST,
            last: u32::from_be_bytes(last) & LARGEST,
        }
    }

    /// Whether all that has passed is whole frames.
    pub fn is_between(&self) -> bool {
        self.seen == 0 && self.skip == 0
    }
}

/// So many at once, and so many a second after that.
struct Allowance {
    left: f64,
    burst: f64,
    each_second: f64,
    counted: Option<Instant>,
}

impl Allowance {
    fn new(burst: u32, each_second: u32) -> Self {
        Allowance {
            left: burst.into(),
            burst: burst.into(),
            each_second: each_second.into(),
            counted: None,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let since = self.counted.map_or(Duration::ZERO, |last| now - last);
        self.counted = Some(now);
        self.left = (self.left + since.as_secs_f64() * self.each_second).min(self.burst) - 1.0;
        self.left >= 0.0
    }
}

/// What a client may send that is no call, before it is told to calm down.
pub struct Strikes {
    pub frames: Frames,
    pings: Allowance,
    settings: Allowance,
    resets: Allowance,
    others: Allowance,
    /// How many bytes of answers the client had taken at its last ping.
    taken: u64,
    /// The newest stream, and how many there have been.
    pub newest: u32,
    pub opened: u64,
}

impl Default for Strikes {
    fn default() -> Self {
        Strikes {
            frames: Frames::after(PREFACE),
            pings: Allowance::new(100, 2),
            settings: Allowance::new(32, 1),
            // Clients whose deadlines pass together reset many calls at once; that is no attack.
            resets: Allowance::new(500, 500),
            others: Allowance::new(1000, 100),
            taken: 0,
            newest: 0,
            opened: 0,
        }
    }
}

impl Strikes {
    /// Count what came; the reason to close the connection, if there is one.
    ///
    /// A client that takes answers may ping more: some measure the delay of what they receive.
    pub fn count(&mut self, bytes: &[u8], taken: u64) -> Option<&'static str> {
        let mut excess = None;
        let Strikes {
            frames,
            pings,
            settings,
            resets,
            others,
            taken: before,
            newest,
            opened,
        } = self;
        frames.pass(bytes, |Head { kind, stream, .. }, _| {
            let (allowance, reason) = match kind {
                HEADERS if stream > *newest => {
                    *newest = stream;
                    *opened += 1;
                    return;
                }
                PING => {
                    if std::mem::replace(before, taken) != taken {
                        pings.left = pings.burst;
                    }
                    (&mut *pings, "too_many_pings")
                }
                SETTINGS => (&mut *settings, "too_many_settings"),
                RST_STREAM => (&mut *resets, "too_many_resets"),
                PRIORITY => (&mut *others, "too_many_priorities"),
                kind if kind > CONTINUATION => (&mut *others, "too_many_unknown_frames"),
                _ => return,
            };
            if !allowance.take(Instant::now()) {
                excess = Some(reason);
            }
        });
        excess
    }
}

/// The frame that asks a client to calm down.
pub fn calm_down(newest: u32, reason: &str) -> Vec<u8> {
    let length = 8 + reason.len() as u32;
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[GOAWAY, 0, 0, 0, 0, 0]);
    frame.extend_from_slice(&newest.to_be_bytes());
    frame.extend_from_slice(&ENHANCE_YOUR_CALM.to_be_bytes());
    frame.extend_from_slice(reason.as_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, stream: u32, payload: usize) -> Vec<u8> {
        let mut frame = (payload as u32).to_be_bytes()[1..].to_vec();
        frame.extend_from_slice(&[kind, 0]);
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.resize(HEADER + payload, 0xff);
        frame
    }

    fn begun() -> Strikes {
        let mut strikes = Strikes::default();
        assert_eq!(strikes.count(&[b'P'; PREFACE], 0), None);
        strikes
    }

    #[test]
    fn frames_are_found_in_pieces_of_any_size() {
        let bytes = [
            vec![0; PREFACE],
            frame(SETTINGS, 0, 6),
            frame(HEADERS, 7, 40),
            frame(PING, 0, 8),
            frame(0, 7, 0),
        ]
        .concat();
        for width in 1..bytes.len() {
            let (mut frames, mut found) = (Frames::after(PREFACE), Vec::new());
            for piece in bytes.chunks(width) {
                frames.pass(piece, |head, _| found.push((head.kind, head.stream)));
            }
            assert_eq!(found, [(SETTINGS, 0), (HEADERS, 7), (PING, 0), (0, 7)]);
            assert!(frames.is_between());
        }
    }

    #[test]
    fn a_frame_is_not_over_before_its_payload_is() {
        let mut frames = Frames::after(0);
        frames.pass(&frame(PING, 0, 8)[..16], |_, _| {});
        assert!(!frames.is_between());
        frames.pass(&[0], |_, _| {});
        assert!(frames.is_between());
    }

    #[test]
    fn each_kind_of_flood_has_its_reason() {
        for (kind, most, reason) in [
            (PING, 100, "too_many_pings"),
            (SETTINGS, 32, "too_many_settings"),
            (RST_STREAM, 500, "too_many_resets"),
            (PRIORITY, 1000, "too_many_priorities"),
            (0x42, 1000, "too_many_unknown_frames"),
        ] {
            let mut strikes = begun();
            assert_eq!(strikes.count(&frame(kind, 1, 4).repeat(most), 0), None);
            let twice_more = frame(kind, 1, 4).repeat(most);
            assert_eq!(strikes.count(&twice_more, 0), Some(reason));
        }
    }

    #[test]
    fn calls_and_windows_are_no_strikes() {
        let mut strikes = begun();
        let window_update = 8;
        for kind in [0, HEADERS, window_update, CONTINUATION] {
            assert_eq!(strikes.count(&frame(kind, 1, 4).repeat(10_000), 0), None);
        }
        assert_eq!((strikes.newest, strikes.opened), (1, 1));
    }

    #[test]
    fn a_client_that_takes_answers_may_ping() {
        let mut strikes = begun();
        for taken in 1..10 {
            assert_eq!(strikes.count(&frame(PING, 0, 8).repeat(100), taken), None);
        }
    }

    #[test]
    fn an_allowance_comes_back_with_time() {
        let (mut allowance, start) = (Allowance::new(2, 10), Instant::now());
        assert!(allowance.take(start) && allowance.take(start) && !allowance.take(start));

        assert!(allowance.take(start + Duration::from_millis(200)));
    }

    #[test]
    fn the_last_frame_names_the_newest_stream_and_the_reason() {
        let mut found = Vec::new();
        let last = calm_down(5, "too_many_pings");
        Frames::after(0).pass(&last, |head, _| found.push((head.kind, head.stream)));

        assert_eq!(found, [(GOAWAY, 0)]);
        assert_eq!(last[HEADER..][..8], [0, 0, 0, 5, 0, 0, 0, 11]);
        assert!(last.ends_with(b"too_many_pings"));
    }
}
