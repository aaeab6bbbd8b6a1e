//! The transmission: requests in, batches through the device, replies out. See the drawing in `nbd.rs`.

mod changes;
mod large;

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use super::{
    batch::{Batch, Next},
    handshake::Session,
    later::{Finished, Later},
    limits::{READ_PIECE_BYTES, REPLY_BYTES_FULL},
    receive::Receive,
    replies::{ReadPiece, Replies},
    request::Facts,
    socket::{self, Socket},
    spin::Spin,
    status::Status,
    wire::{Errno, Request, command, command_flag},
};
use crate::{Device, Extent, Failure, Step};

/// Why a transmission ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The client said goodbye or closed its side.
    Left,
    /// The client broke the protocol.
    Broken(&'static str),
    /// The connection failed, or the client did not read its replies in time.
    Lost(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        End::Lost(error)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Left => f.write_str("the client left"),
            End::Broken(how) => f.write_str(how),
            End::Lost(error) if error.kind() == io::ErrorKind::TimedOut => {
                f.write_str("the client did not read its replies")
            }
            End::Lost(error) => error.fmt(f),
        }
    }
}

/// What the server tells its connections.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// Requests that come from now on are refused.
    pub(crate) stopping: AtomicBool,
    /// Wait for nothing any more.
    pub(crate) abandon: AtomicBool,
}

/// One connection after its handshake.
pub(crate) struct Transmission<'a> {
    socket: &'a Socket,
    orders: &'a Orders,
    device: Arc<dyn Device>,
    structured: bool,
    allocation: bool,
    patience: Duration,
    replies: Replies,
    later: Later,
    spin: Spin,
    /// When the next change may be made.
    resume: Option<Instant>,
    /// Room, empty between batches.
    batch: Batch<'static>,
    steps: Vec<Step>,
    extents: Vec<Extent>,
}

impl<'a> Transmission<'a> {
    pub(crate) fn new(
        socket: &'a Socket,
        orders: &'a Orders,
        session: &Session,
        runtime: Handle,
        patience: Duration,
    ) -> io::Result<Transmission<'a>> {
        Ok(Transmission {
            socket,
            orders,
            device: session.device.clone(),
            structured: session.structured,
            allocation: session.allocation,
            patience,
            replies: Replies::default(),
            later: Later::new(runtime)?,
            spin: Spin::new(),
            resume: None,
            batch: Batch::default(),
            steps: Vec::new(),
            extents: Vec::new(),
        })
    }

    /// Serves until the client leaves or must be left.
    pub(crate) fn run(&mut self) -> End {
        match self.serve() {
            Ok(end) | Err(end) => end,
        }
    }

    fn serve(&mut self) -> Result<End, End> {
        let mut receive = Receive::new();
        loop {
            match self.receive(receive.room())? {
                0 => return self.finish(),
                bytes => receive.received(bytes),
            }
            let (used, next) = self.batch(receive.arrived())?;
            receive.consume(used);
            match next {
                Next::More => {}
                Next::Large(request) => self.large_write(request, &mut receive)?,
                Next::Drain { request, errno } => self.drain(request, errno, &mut receive)?,
                Next::Disconnect => return self.finish(),
                Next::Broken(how) => return Err(End::Broken(how)),
            }
        }
    }

    /// One receive; replies of tasks that finish while it waits are sent.
    fn receive(&mut self, room: &mut [u8]) -> Result<usize, End> {
        while !self.later.is_empty() {
            let ready = self.socket.wait(self.later.bell())?;
            if ready.bell {
                self.send_finished()?;
            }
            if ready.socket {
                break;
            }
        }
        let (socket, room) = (self.socket, std::cell::RefCell::new(room));
        let look = || socket.receive_now(&mut room.borrow_mut());
        let sleep = || socket.receive(&mut room.borrow_mut());
        Ok(self.spin.wait(look, sleep)?)
    }

    /// Serves all complete requests; says how many bytes they were and what comes next.
    fn batch(&mut self, input: &[u8]) -> Result<(usize, Next), End> {
        let facts = Facts {
            size_bytes: self.device.size_bytes(),
            read_only: self.device.read_only(),
            structured: self.structured,
            allocation: self.allocation,
            stopping: self.orders.stopping.load(Ordering::Acquire),
        };
        let mut batch: Batch<'_> = std::mem::take(&mut self.batch);
        let (used, next) = batch.parse(input, &facts);
        if batch.changes.is_empty() || self.may_change() {
            self.changes(&batch.changes, &batch.tickets, &mut batch.flushes)?;
            self.others(&batch)?;
        } else {
            // Requests that are out together have no order: reads need not wait.
            self.others(&batch)?;
            self.send()?;
            self.wait_out()?;
            self.changes(&batch.changes, &batch.tickets, &mut batch.flushes)?;
        }
        self.flush(&batch.flushes)?;
        self.send()?;
        self.pause(&batch.changes);
        self.batch = batch.emptied();
        Ok((used, next))
    }

    fn others(&mut self, batch: &Batch<'_>) -> Result<(), End> {
        for request in &batch.others {
            self.other(request)?;
        }
        for (request, errno) in &batch.refused {
            self.refuse(request, *errno);
        }
        Ok(())
    }

    fn refuse(&mut self, request: &Request, errno: Errno) {
        match request.command {
            command::READ | command::BLOCK_STATUS => {
                self.replies.failed_read(request.cookie, errno, self.structured);
            }
            _ => self.replies.simple(request.cookie, errno),
        }
    }

    fn other(&mut self, request: &Request) -> Result<(), End> {
        match request.command {
            command::READ => self.read(request),
            command::CACHE if request.length == 0 => {
                self.replies.simple(request.cookie, Errno::NONE);
                Ok(())
            }
            command::CACHE => {
                self.make_room(0)?;
                let length = request.length.into();
                self.later.cache(self.device.clone(), request.cookie, request.offset, length);
                Ok(())
            }
            command::BLOCK_STATUS => self.status(request),
            number => unreachable!("command {number} was let through"),
        }
    }

    /// A simple reply is made whole, so that an error can still be said; a structured one in pieces.
    fn read(&mut self, request: &Request) -> Result<(), End> {
        let structured = self.structured;
        let (cookie, end) = (request.cookie, request.offset + u64::from(request.length));
        if request.length == 0 {
            if structured {
                self.replies.nothing(cookie)
            } else {
                self.replies.simple(cookie, Errno::NONE)
            }
            return Ok(());
        }
        let whole = !structured || request.has(command_flag::DF);
        let mut offset = request.offset;
        while offset < end {
            let cut = if whole { end } else { (offset / READ_PIECE_BYTES + 1) * READ_PIECE_BYTES };
            let length = (cut.min(end) - offset) as usize;
            if self.replies.len() + length > REPLY_BYTES_FULL {
                self.send()?;
            }
            let last = cut >= end;
            let room = self.replies.read(ReadPiece { cookie, offset, length, structured, last });
            match self.device.read(offset, room) {
                Step::Done => offset += length as u64,
                Step::Failed(failure) => {
                    self.replies.take_back();
                    self.replies.failed_read(cookie, failure.into(), structured);
                    return Ok(());
                }
                Step::Later => {
                    self.replies.take_back();
                    // Everything that is left goes as one, so that what is far away comes in parallel.
                    let length = (end - offset) as usize;
                    self.make_room(length)?;
                    self.later.read(self.device.clone(), cookie, offset, length);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn status(&mut self, request: &Request) -> Result<(), End> {
        let mut status = Status::of(request);
        match status.ask(&*self.device, &mut self.extents) {
            Step::Done => self.replies.status(request.cookie, status.extents()),
            Step::Failed(failure) => {
                self.replies.failed_read(request.cookie, failure.into(), self.structured);
            }
            Step::Later => {
                self.make_room(0)?;
                self.later.status(self.device.clone(), request.cookie, status);
            }
        }
        Ok(())
    }

    /// One flush for all; what is ready already leaves before it.
    fn flush(&mut self, cookies: &[u64]) -> Result<(), End> {
        if cookies.is_empty() {
            return Ok(());
        }
        self.send()?;
        let errno = Errno::from(self.device.flush());
        cookies.iter().for_each(|cookie| self.replies.simple(*cookie, errno));
        Ok(())
    }

    /// Waits until a task that holds so many bytes may start.
    fn make_room(&mut self, bytes: usize) -> Result<(), End> {
        while !self.later.has_room(bytes) {
            self.send()?;
            self.wait_for_one(None)?;
        }
        Ok(())
    }

    /// The client sends nothing more: what is out is still answered, within the patience.
    fn finish(&mut self) -> Result<End, End> {
        let deadline = Instant::now() + self.patience;
        while !self.later.is_empty() {
            self.wait_for_one(Some(deadline))?;
        }
        Ok(End::Left)
    }

    /// Waits until at least one task has finished and its reply was sent.
    fn wait_for_one(&mut self, deadline: Option<Instant>) -> Result<(), End> {
        loop {
            // The socket is not waited for: half of it may be closed, and then it is always ready.
            if socket::wait_for_bell(self.later.bell(), Duration::from_millis(200))? {
                return self.send_finished();
            }
            let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if late || self.orders.abandon.load(Ordering::Acquire) {
                return Err(End::Lost(io::ErrorKind::ConnectionAborted.into()));
            }
        }
    }

    fn send_finished(&mut self) -> Result<(), End> {
        for finished in self.later.collect() {
            match finished {
                Finished::Status { cookie, result } => self.replies.simple(cookie, result.into()),
                Finished::Extents { cookie, result: Ok(status) } => {
                    self.replies.status(cookie, status.extents());
                }
                Finished::Extents { cookie, result: Err(failure) } => {
                    self.replies.failed_read(cookie, failure.into(), self.structured);
                }
                Finished::Read { cookie, offset, result } => self.read_finished(cookie, offset, result)?,
            }
        }
        self.send()
    }

    fn read_finished(
        &mut self,
        cookie: u64,
        offset: u64,
        result: Result<Vec<u8>, Failure>,
    ) -> Result<(), End> {
        let structured = self.structured;
        match result {
            Err(failure) => self.replies.failed_read(cookie, failure.into(), structured),
            Ok(data) => {
                let piece = ReadPiece { cookie, offset, length: data.len(), structured, last: true };
                if self.replies.len() + data.len() > REPLY_BYTES_FULL {
                    self.replies.read_head(piece);
                    self.send()?;
                    self.socket.send_all(&data)?;
                } else {
                    self.replies.read(piece).copy_from_slice(&data);
                }
            }
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), End> {
        if !self.replies.is_empty() {
            self.socket.send_all(self.replies.bytes())?;
            self.replies.clear();
        }
        Ok(())
    }
}
