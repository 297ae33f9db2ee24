//! Binding and accepting, on a thread of its own: neither a busy worker nor a slow handshake keeps
//! a connection waiting at the door.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};

use crate::transport::incoming::connection::Accepted;
use crate::transport::incoming::worker::{Order, Worker};
use crate::transport::queue::backlog::Load;
use crate::transport::queue::permit::ConnectionPermit;
use crate::transport::queue::shared::{Counters, Peer, Shared};
use crate::transport::tls::Material;

const BACKLOG: i32 = 1024;
/// How long to leave the door alone when the process has no descriptors left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// Bind to the first address of the name that can be bound.
pub fn bind(address: &str) -> io::Result<TcpListener> {
    let mut failure = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    for candidate in address.to_socket_addrs()? {
        match bind_to(candidate) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn bind_to(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What an accepting thread works with.
pub struct Door {
    pub shared: Arc<Shared>,
    pub workers: Arc<Vec<Worker>>,
    pub tls: Arc<Mutex<Option<Arc<Material>>>>,
}

/// The accepting thread. Dropping it leaves the thread to its socket: call `stop`.
pub struct Acceptor {
    socket: Arc<TcpListener>,
    stopping: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Acceptor {
    pub fn start(socket: TcpListener, door: Door) -> io::Result<Self> {
        let socket = Arc::new(socket);
        let stopping = Arc::new(AtomicBool::new(false));
        let (own, flag) = (socket.clone(), stopping.clone());
        let thread = thread::Builder::new()
            .name("amaters-grpc-accept".into())
            .spawn(move || accept(&own, &flag, &door))?;
        Ok(Acceptor {
            socket,
            stopping,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Close the door; connections inside stay.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        // SAFETY: a descriptor this struct keeps open; it makes a blocked accept return.
        unsafe {
            libc::shutdown(self.socket.as_raw_fd(), libc::SHUT_RDWR);
        }
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

fn accept(socket: &TcpListener, stopping: &AtomicBool, door: &Door) {
    let mut id = 0;
    while !stopping.load(Ordering::Acquire) {
        wait_for_a_client(socket);
        match socket.accept() {
            Ok((stream, address)) => {
                id += 1;
                admit(door, id, stream, address);
            }
            // The client gave up before it was let in, or a signal arrived.
            Err(error) if is_fleeting(&error) => {}
            Err(_) => thread::sleep(EXHAUSTED_PAUSE),
        }
    }
}

/// Accepting reserves a descriptor before it waits: its number would be that of an earlier time.
fn wait_for_a_client(socket: &TcpListener) {
    let mut waited_for = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one valid entry and an open descriptor. Accepting reports what is wrong.
    unsafe {
        libc::poll(&raw mut waited_for, 1, -1);
    }
}

fn is_fleeting(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

fn admit(door: &Door, id: u64, stream: TcpStream, address: SocketAddr) {
    let shared = &door.shared;
    let limit = shared.settings.max_descriptor;
    // The lowest free number is given out: from here on few are left for what must go on.
    if limit > 0 && stream.as_raw_fd() as u64 >= limit {
        Counters::add(&shared.counters.rejected_for_descriptors, 1);
        Counters::add(&shared.counters.rejected, 1);
        return;
    }
    let tls = door
        .tls
        .lock()
        .as_ref()
        .map(|material| material.config.clone());
    let peer = Peer {
        address: address.to_string(),
        tls: tls.is_some(),
        certificate: None,
        load: Arc::new(Load::new(shared.room.share())),
        client: Arc::default(),
    };
    let Some(permit) = ConnectionPermit::acquire(shared, id, address.ip(), peer) else {
        Counters::add(&shared.counters.rejected, 1);
        return;
    };
    if stream.set_nonblocking(true).is_err() {
        return;
    }
    let worker = &door.workers[id as usize % door.workers.len()];
    worker.order(Order::Serve(Accepted {
        id,
        stream,
        tls,
        permit,
    }));
}
