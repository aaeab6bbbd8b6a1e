//! A connected stream socket, unix or TCP, with blocking calls.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown, sockopt},
};

/// The connection's socket.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

/// What [`Socket::wait`] saw.
pub(crate) struct Ready {
    pub(crate) socket: bool,
    pub(crate) bell: bool,
}

impl Socket {
    pub(crate) fn new(fd: OwnedFd) -> Socket {
        Socket(fd)
    }

    /// One receive; 0 is the end of the stream.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match recv(&self.0, &mut *buffer, RecvFlags::empty()) {
                Err(Errno::INTR) => {}
                other => return Ok(other?.1),
            }
        }
    }

    /// As [`Socket::receive`], but none when there is nothing yet.
    pub(crate) fn receive_now(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match recv(&self.0, &mut *buffer, RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            other => Ok(Some(other?.1)),
        }
    }

    /// Receives exactly `buffer`, or fails at the deadline. Leaves a receive time-out set.
    pub(crate) fn receive_exact(&self, buffer: &mut [u8], deadline: Instant) -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            // The kernel counts in microseconds and takes zero for "for ever".
            self.receive_timeout(Some(left.max(Duration::from_millis(1))))?;
            match self.receive(&mut buffer[filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(more) => filled += more,
                // The deadline is looked at above.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends everything, or fails once nothing could be sent for the send time-out.
    pub(crate) fn send_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match send(&self.0, bytes, SendFlags::NOSIGNAL) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => bytes = &bytes[sent..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    pub(crate) fn receive_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        Ok(sockopt::set_socket_timeout(&self.0, sockopt::Timeout::Recv, timeout)?)
    }

    pub(crate) fn send_timeout(&self, timeout: Duration) -> io::Result<()> {
        Ok(sockopt::set_socket_timeout(&self.0, sockopt::Timeout::Send, Some(timeout))?)
    }

    /// Waits until there is something to receive (or the end of the stream), or the bell rings.
    pub(crate) fn wait(&self, bell: BorrowedFd<'_>) -> io::Result<Ready> {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN), PollFd::from_borrowed_fd(bell, PollFlags::IN)];
        poll_some(&mut fds, None)?;
        Ok(Ready { socket: !fds[0].revents().is_empty(), bell: !fds[1].revents().is_empty() })
    }

    /// No more is received than what has arrived. A receive that waits returns.
    pub(crate) fn close_receiving(&self) {
        // It fails where the peer is gone, and then there is nothing to wake.
        let _ = shutdown(&self.0, Shutdown::Read);
    }

    /// Neither direction works any more. Whoever waits for the socket returns.
    pub(crate) fn close(&self) {
        let _ = shutdown(&self.0, Shutdown::Both);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits for the bell alone; false when the time is over.
pub(crate) fn wait_for_bell(bell: BorrowedFd<'_>, time: Duration) -> io::Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(bell, PollFlags::IN)];
    Ok(poll_some(&mut fds, Some(time))? > 0)
}

/// `poll` that goes on after a signal.
pub(crate) fn poll_some(fds: &mut [PollFd<'_>], time: Option<Duration>) -> io::Result<usize> {
    let time = time.and_then(|time| Timespec::try_from(time).ok());
    loop {
        match poll(fds, time.as_ref()) {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}
