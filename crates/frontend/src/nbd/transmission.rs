//! The transmission: requests in, batches through the device, replies out. See the drawing in `nbd.rs`.

mod changes;
mod large;
mod waiting;

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
    context::Contexts,
    handshake::Session,
    later::Later,
    limits::{READ_PIECE_BYTES, REPLY_BYTES_FULL},
    receive::Receive,
    replies::{ReadPiece, Replies},
    request::Facts,
    socket::Socket,
    spin::Spin,
    status::{Question, Status},
    traffic::{Kind, Meter, Tally, Timed},
    wire::{self, Errno, Request, command, command_flag},
};
use crate::{Device, Extent, Step};

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
    size_bytes: u64,
    structured: bool,
    contexts: Contexts,
    patience: Duration,
    replies: Replies,
    later: Later,
    spin: Spin,
    tally: Tally,
    meter: Arc<Meter>,
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
        meter: Arc<Meter>,
        runtime: Handle,
        patience: Duration,
    ) -> io::Result<Transmission<'a>> {
        Ok(Transmission {
            socket,
            orders,
            device: session.device.clone(),
            size_bytes: session.size_bytes,
            structured: session.structured,
            contexts: session.contexts.clone(),
            patience,
            replies: Replies::default(),
            later: Later::new(runtime)?,
            spin: Spin::new(),
            tally: Tally::new(),
            meter,
            resume: None,
            batch: Batch::default(),
            steps: Vec::new(),
            extents: Vec::new(),
        })
    }

    /// Serves until the client leaves or must be left.
    pub(crate) fn run(&mut self) -> End {
        let (Ok(end) | Err(end)) = self.serve();
        self.settle(Instant::now());
        end
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

    /// One receive; replies of tasks that finish while it waits are sent. What was received before is done.
    fn receive(&mut self, room: &mut [u8]) -> Result<usize, End> {
        let mut begun = Instant::now();
        self.settle(begun);
        while !self.later.is_empty() {
            let ready = self.socket.wait(self.later.bell())?;
            if ready.bell {
                self.send_finished()?;
            }
            begun = Instant::now();
            if ready.socket {
                break;
            }
        }
        let (socket, room) = (self.socket, std::cell::RefCell::new(room));
        let look = || socket.receive_now(&mut room.borrow_mut());
        let sleep = || socket.receive(&mut room.borrow_mut());
        let received = self.spin.wait((begun, self.device.background_jobs()), look, sleep)?;
        self.tally.came = self.spin.found();
        Ok(received)
    }

    /// What was served until now goes to the meter.
    fn settle(&mut self, now: Instant) {
        self.tally.settle(now, self.replies.take_errors(), &self.meter);
    }

    /// Serves all complete requests; says how many bytes they were and what comes next.
    fn batch(&mut self, input: &[u8]) -> Result<(usize, Next), End> {
        let facts = Facts {
            // A device that grew is larger for those who connect from then on; one that shrank, for nobody.
            size_bytes: self.size_bytes.min(self.device.size_bytes()),
            read_only: self.device.read_only(),
            structured: self.structured,
            contexts: !self.contexts.is_empty(),
            stopping: self.orders.stopping.load(Ordering::Acquire),
        };
        let mut batch: Batch<'_> = std::mem::take(&mut self.batch);
        let (used, next) = batch.parse(input, &facts);
        batch.flushes.iter().for_each(|_| self.tally.request(Kind::Flush, 0));
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
        let kind = match request.command {
            command::READ => Kind::Read,
            command::CACHE => Kind::Cache,
            _ => Kind::Status,
        };
        self.tally.request(kind, request.length.into());
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
            self.tally.answered(Timed::Read, 1);
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
                    break;
                }
                Step::Later => {
                    self.replies.take_back();
                    // Everything that is left goes as one, so that what is far away comes in parallel.
                    let length = (end - offset) as usize;
                    self.make_room(length)?;
                    self.later.read(self.device.clone(), cookie, offset, length, self.tally.came);
                    return Ok(());
                }
            }
        }
        self.tally.answered(Timed::Read, 1);
        Ok(())
    }

    fn status(&mut self, request: &Request) -> Result<(), End> {
        let mut status = Status::of(request);
        if !self.contexts.since.is_empty() {
            self.make_room(0)?;
            let question = Question { contexts: self.contexts.clone(), request: *request, status };
            self.later.statuses(self.device.clone(), question);
            return Ok(());
        }
        match status.ask(&*self.device, &mut self.extents) {
            Step::Done => {
                self.replies.status(request.cookie, wire::ALLOCATION_ID, true, status.extents());
            }
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
        // What waited for no flush took until now.
        self.tally.time(&[Timed::Read, Timed::Write], Instant::now(), &self.meter);
        let errno = match self.device.flush() {
            Step::Done => Errno::NONE,
            Step::Failed(failure) => failure.into(),
            Step::Later => {
                for cookie in cookies {
                    self.make_room(0)?;
                    self.later.stored(self.device.clone(), *cookie, self.tally.came);
                }
                return Ok(());
            }
        };
        self.tally.answered(Timed::Flush, cookies.len());
        cookies.iter().for_each(|cookie| self.replies.simple(*cookie, errno));
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
