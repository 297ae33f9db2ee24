//! The bytes of a connection on their way to HTTP/2: floods of frames end here.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::task::{ready, Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{sleep, Sleep};

use crate::transport::queue::permit::ConnectionPermit;
use crate::transport::queue::shared::{Counters, Shared};
use crate::transport::wire::frames::{calm_down, Frames, Strikes, GOAWAY, PREFACE};
use crate::transport::wire::latecomers::Latecomers;

/// How long, and how far, a client is read on that was asked to calm down: what was still unread
/// at the end of a connection would destroy the reason on its way.
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELL_BYTES: usize = 1 << 20;

/// What has been seen of a connection.
#[derive(Default)]
pub struct Seen {
    greeted: AtomicBool,
    opened: AtomicU64,
}

impl Seen {
    /// Whether the client has sent as much as HTTP/2's opening words.
    pub fn greeted(&self) -> bool {
        self.greeted.load(Relaxed)
    }

    /// How many calls were begun.
    pub fn opened(&self) -> u64 {
        self.opened.load(Relaxed)
    }
}

/// The last words to a client.
struct Farewell {
    words: Vec<u8>,
    written: usize,
    drained: usize,
    end: Pin<Box<Sleep>>,
}

impl Farewell {
    fn new(words: Vec<u8>) -> Self {
        Farewell {
            words,
            written: 0,
            drained: 0,
            end: Box::pin(sleep(FAREWELL)),
        }
    }
}

/// A stream whose frames are counted.
pub struct Watched<S> {
    stream: S,
    received: usize,
    strikes: Strikes,
    sent: Frames,
    farewell: Option<Farewell>,
    /// Without words: the end of a connection after a GOAWAY.
    lingering: Option<Farewell>,
    /// Only once a GOAWAY was sent.
    latecomers: Option<Latecomers>,
    pub seen: Arc<Seen>,
    permit: Arc<ConnectionPermit>,
    shared: Arc<Shared>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Watched<S> {
    pub fn new(stream: S, permit: Arc<ConnectionPermit>, shared: Arc<Shared>) -> Self {
        Watched {
            stream,
            received: 0,
            strikes: Strikes::default(),
            sent: Frames::after(0),
            farewell: None,
            lingering: None,
            latecomers: None,
            seen: Arc::default(),
            permit,
            shared,
        }
    }

    /// Take a place once the greeting is complete.
    fn greet(&mut self, count: usize) -> io::Result<()> {
        if self.received < PREFACE {
            self.received += count;
            if self.received >= PREFACE {
                if !self.permit.establish() {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                self.seen.greeted.store(true, Relaxed);
            }
        }
        Ok(())
    }

    /// Note what was sent to the client.
    fn sent(&mut self, bytes: &[u8]) {
        let (received, latecomers) = (&self.strikes.frames, &mut self.latecomers);
        self.sent.pass(bytes, |head, _| {
            if head.kind == GOAWAY {
                let late = latecomers.get_or_insert_with(|| Latecomers::after(received));
                late.leave_out_after(head.last);
            }
        });
    }

    /// Read, and count what came; the reason to end the connection, if there is one.
    fn poll_counted(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<Option<&'static str>>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let came = &buffer.filled()[before..];
        if came.is_empty() {
            return Poll::Ready(Ok(None));
        }
        self.greet(came.len())?;
        let excess = self.strikes.count(came, self.permit.load().taken());
        self.seen.opened.store(self.strikes.opened, Relaxed);
        Poll::Ready(Ok(excess))
    }

    /// The same after a GOAWAY: through `Latecomers`.
    fn poll_late(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<Option<&'static str>>> {
        while !self
            .latecomers
            .as_mut()
            .is_some_and(|late| late.take(buffer))
        {
            let mut space = [0; 8 << 10];
            let mut came = ReadBuf::new(&mut space);
            let excess = ready!(self.poll_counted(cx, &mut came))?;
            if excess.is_some() || came.filled().is_empty() {
                return Poll::Ready(Ok(excess));
            }
            if let Some(late) = self.latecomers.as_mut() {
                late.came(came.filled());
            }
        }
        Poll::Ready(Ok(None))
    }

    fn begin_farewell(&mut self, reason: &str) {
        Counters::add(&self.shared.counters.cut_for_floods, 1);
        let words = match self.sent.is_between() {
            true => calm_down(self.strikes.newest, reason),
            false => Vec::new(),
        };
        self.farewell = Some(Farewell::new(words));
    }
}

/// Write what there is to say, and read on for a while; it always ends in an error.
fn poll_farewell<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    farewell: &mut Farewell,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    let over = Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
    let mut stream = Pin::new(stream);
    while farewell.written < farewell.words.len() {
        let rest = &farewell.words[farewell.written..];
        match stream.as_mut().poll_write(cx, rest) {
            Poll::Ready(Ok(count)) if count > 0 => farewell.written += count,
            // Who does not read is not told.
            _ => return over,
        }
    }
    // Whether it ends the other direction properly or not, that is all there was to write.
    let _ = stream.as_mut().poll_shutdown(cx);
    let mut space = [0; 8 << 10];
    while farewell.drained < FAREWELL_BYTES {
        let mut buffer = ReadBuf::new(&mut space);
        match stream.as_mut().poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                farewell.drained += buffer.filled().len();
            }
            Poll::Ready(_) => return over,
            Poll::Pending => {
                return match farewell.end.as_mut().poll(cx) {
                    Poll::Ready(()) => over,
                    Poll::Pending => Poll::Pending,
                };
            }
        }
    }
    over
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let me = &mut *self;
        if let Some(farewell) = &mut me.farewell {
            return poll_farewell(&mut me.stream, farewell, cx);
        }
        let before = buffer.filled().len();
        let excess = match me.latecomers {
            None => ready!(me.poll_counted(cx, buffer))?,
            Some(_) => ready!(me.poll_late(cx, buffer))?,
        };
        if let Some(reason) = excess {
            buffer.set_filled(before);
            me.begin_farewell(reason);
            return self.poll_read(cx, buffer);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let me = &mut *self;
        if me.farewell.is_some() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let poll = Pin::new(&mut me.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = poll {
            me.sent(&bytes[..count]);
        }
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// After a GOAWAY the client may not know yet that this is the end: what it still sends is read
    /// for a while, or the reset that answers it would destroy answers on their way.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = &mut *self;
        if me.latecomers.is_none() || me.farewell.is_some() {
            return Pin::new(&mut me.stream).poll_shutdown(cx);
        }
        let lingering = me
            .lingering
            .get_or_insert_with(|| Farewell::new(Vec::new()));
        ready!(poll_farewell(&mut me.stream, lingering, cx)).ok();
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let me = &mut *self;
        if me.farewell.is_some() {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let poll = Pin::new(&mut me.stream).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(count)) = poll {
            let mut left = count;
            for slice in slices {
                let written = left.min(slice.len());
                me.sent(&slice[..written]);
                left -= written;
            }
        }
        poll
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
