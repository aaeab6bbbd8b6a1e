//! The handshake: fixed newstyle, options until one of them begins the transmission.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use tokio::runtime::Handle;

use super::{
    context::{Asking, Contexts},
    limits::{OPTION_BYTES_ABSURD, OPTION_BYTES_MAX, PAYLOAD_BYTES_MAX, STRING_BYTES_MAX},
    option::{self, ContextQuery, InfoQuery, Malformed},
    socket::Socket,
    wire::{self, answer, export_flag, handshake_flag, info},
};
use crate::{Device, Exports};

/// What was agreed on.
pub(crate) struct Session {
    pub(crate) name: String,
    pub(crate) device: Arc<dyn Device>,
    /// The size that the client was told; it stays that of the connection.
    pub(crate) size_bytes: u64,
    /// Structured replies.
    pub(crate) structured: bool,
    /// What was selected for this export.
    pub(crate) contexts: Contexts,
}

/// Why there is no session.
#[derive(Debug)]
pub(crate) enum NoSession {
    /// The client left, politely or by asking for an export that is not there.
    Left,
    /// The client broke the protocol.
    Broken(&'static str),
    /// The connection failed or the time was over.
    Lost(io::Error),
}

impl From<io::Error> for NoSession {
    fn from(error: io::Error) -> NoSession {
        NoSession::Lost(error)
    }
}

impl fmt::Display for NoSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoSession::Left => f.write_str("the client left"),
            NoSession::Broken(how) => f.write_str(how),
            NoSession::Lost(error) => error.fmt(f),
        }
    }
}

/// One handshake under way.
pub(crate) struct Handshake<'a> {
    pub(crate) socket: &'a Socket,
    pub(crate) exports: &'a dyn Exports,
    /// Where what has to be opened first is opened.
    pub(crate) runtime: &'a Handle,
    pub(crate) stopping: &'a AtomicBool,
    pub(crate) deadline: Instant,
}

/// What options have set so far.
#[derive(Default)]
struct Agreed {
    no_zeroes: bool,
    structured: bool,
    /// The export for which contexts were selected, and which.
    contexts_of: Option<(String, Contexts)>,
}

/// Replies to one option.
struct Answers {
    option: u32,
    bytes: Vec<u8>,
}

impl Answers {
    fn push(&mut self, kind: u32, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        self.bytes.extend(wire::OPTION_REPLY_MAGIC.to_be_bytes());
        self.bytes.extend(self.option.to_be_bytes());
        self.bytes.extend(kind.to_be_bytes());
        self.bytes.extend((length as u32).to_be_bytes());
        parts.iter().for_each(|part| self.bytes.extend(*part));
    }

    fn refuse(&mut self, kind: u32, why: &str) {
        self.push(kind, &[why.as_bytes()]);
    }
}

impl Handshake<'_> {
    pub(crate) fn run(&self) -> Result<Session, NoSession> {
        let mut agreed = self.greet()?;
        loop {
            let mut header = [0; 16];
            self.socket.receive_exact(&mut header, self.deadline)?;
            if wire::u64_at(&header, 0) != wire::OPTION_MAGIC {
                return Err(NoSession::Broken("an option has a wrong magic number"));
            }
            let (number, length) = (wire::u32_at(&header, 8), wire::u32_at(&header, 12));
            if number == wire::option::EXPORT_NAME {
                return self.export_name(length, &agreed);
            }
            let mut answers = Answers { option: number, bytes: Vec::new() };
            let session = match self.data(length)? {
                None => {
                    answers.refuse(answer::TOO_BIG, "the option is longer than 64 KiB");
                    None
                }
                Some(data) => self.option(&data, &mut agreed, &mut answers),
            };
            let sent = self.socket.send_all(&answers.bytes);
            if number == wire::option::ABORT {
                // The client may be gone without having waited for the answer.
                return Err(NoSession::Left);
            }
            sent?;
            if let Some(session) = session {
                return Ok(session);
            }
        }
    }

    /// The export of this name, opened for this client if need be.
    fn find(&self, name: &str) -> Option<Arc<dyn Device>> {
        if let Some(device) = self.exports.find(name) {
            return Some(device);
        }
        let opening = self.exports.open(name)?;
        let left = self.deadline.saturating_duration_since(Instant::now());
        self.runtime.block_on(async { tokio::time::timeout(left, opening).await.ok().flatten() })
    }

    fn greet(&self) -> Result<Agreed, NoSession> {
        let mut hello = Vec::with_capacity(18);
        hello.extend(wire::HELLO_MAGIC.to_be_bytes());
        hello.extend(wire::OPTION_MAGIC.to_be_bytes());
        hello.extend((handshake_flag::FIXED_NEWSTYLE | handshake_flag::NO_ZEROES).to_be_bytes());
        self.socket.send_all(&hello)?;
        let mut flags = [0; 4];
        self.socket.receive_exact(&mut flags, self.deadline)?;
        let flags = u32::from_be_bytes(flags);
        let known = u32::from(handshake_flag::FIXED_NEWSTYLE | handshake_flag::NO_ZEROES);
        if flags & !known != 0 {
            return Err(NoSession::Broken("the client set handshake flags that were not offered"));
        }
        let no_zeroes = flags & u32::from(handshake_flag::NO_ZEROES) != 0;
        Ok(Agreed { no_zeroes, ..Agreed::default() })
    }

    /// An option's data; `None` if it was too long and thrown away.
    fn data(&self, length: u32) -> Result<Option<Vec<u8>>, NoSession> {
        if length > OPTION_BYTES_ABSURD {
            return Err(NoSession::Broken("an option claims more than 16 MiB"));
        }
        if length <= OPTION_BYTES_MAX {
            let mut data = vec![0; length as usize];
            self.socket.receive_exact(&mut data, self.deadline)?;
            return Ok(Some(data));
        }
        let mut left = length as usize;
        let mut waste = [0; 4096];
        while left > 0 {
            let step = left.min(waste.len());
            self.socket.receive_exact(&mut waste[..step], self.deadline)?;
            left -= step;
        }
        Ok(None)
    }

    /// The oldest way to begin: it cannot say no, only hang up.
    fn export_name(&self, length: u32, agreed: &Agreed) -> Result<Session, NoSession> {
        if length as usize > STRING_BYTES_MAX {
            return Err(NoSession::Broken("the name of an export is longer than 4096 bytes"));
        }
        let mut data = vec![0; length as usize];
        self.socket.receive_exact(&mut data, self.deadline)?;
        let name = option::name(&data).map_err(|Malformed(why)| NoSession::Broken(why))?;
        if self.stopping.load(Ordering::Acquire) {
            return Err(NoSession::Left);
        }
        let device = self.find(name).ok_or(NoSession::Left)?;
        let session = agreed.session(name, device);
        let mut reply = Vec::with_capacity(134);
        reply.extend(session.size_bytes.to_be_bytes());
        reply.extend(session.flags().to_be_bytes());
        if !agreed.no_zeroes {
            reply.resize(reply.len() + 124, 0);
        }
        self.socket.send_all(&reply)?;
        Ok(session)
    }

    fn option(&self, data: &[u8], agreed: &mut Agreed, answers: &mut Answers) -> Option<Session> {
        use wire::option::*;
        let number = answers.option;
        if self.stopping.load(Ordering::Acquire) && number != ABORT {
            answers.refuse(answer::SHUTDOWN, "the server is being stopped");
            return None;
        }
        match number {
            ABORT => answers.push(answer::ACK, &[]),
            LIST | STARTTLS | STRUCTURED_REPLY if !data.is_empty() => {
                answers.refuse(answer::INVALID, "this option takes no data");
            }
            LIST => {
                for name in self.exports.names() {
                    answers.push(answer::SERVER, &[&(name.len() as u32).to_be_bytes(), name.as_bytes()]);
                }
                answers.push(answer::ACK, &[]);
            }
            STARTTLS => answers.refuse(answer::POLICY, "this server does not offer TLS"),
            STRUCTURED_REPLY => {
                agreed.structured = true;
                answers.push(answer::ACK, &[]);
            }
            INFO | GO => return self.info(data, agreed, answers).filter(|_| number == GO),
            LIST_META_CONTEXT | SET_META_CONTEXT => self.contexts(data, agreed, answers),
            _ => answers.refuse(answer::UNSUPPORTED, "this option is not known here"),
        }
        None
    }

    fn info(&self, data: &[u8], agreed: &Agreed, answers: &mut Answers) -> Option<Session> {
        let query = match InfoQuery::parse(data) {
            Ok(query) => query,
            Err(Malformed(why)) => {
                answers.refuse(answer::INVALID, why);
                return None;
            }
        };
        let Some(device) = self.find(query.name) else {
            answers.refuse(answer::UNKNOWN, "there is no export of this name");
            return None;
        };
        let session = agreed.session(query.name, device);
        let size = session.size_bytes.to_be_bytes();
        let flags = session.flags().to_be_bytes();
        answers.push(answer::INFO, &[&info::EXPORT.to_be_bytes(), &size, &flags]);
        if query.wants(info::NAME) {
            answers.push(answer::INFO, &[&info::NAME.to_be_bytes(), query.name.as_bytes()]);
        }
        if query.wants(info::DESCRIPTION) {
            let text = if session.device.read_only() { "Esker volume, read-only" } else { "Esker volume" };
            answers.push(answer::INFO, &[&info::DESCRIPTION.to_be_bytes(), text.as_bytes()]);
        }
        if query.wants(info::BLOCK_SIZE) {
            let sizes = [1, 4096, PAYLOAD_BYTES_MAX].map(u32::to_be_bytes);
            answers.push(answer::INFO, &[&info::BLOCK_SIZE.to_be_bytes(), &sizes[0], &sizes[1], &sizes[2]]);
        }
        answers.push(answer::ACK, &[]);
        Some(session)
    }

    fn contexts(&self, data: &[u8], agreed: &mut Agreed, answers: &mut Answers) {
        let set = answers.option == wire::option::SET_META_CONTEXT;
        if set {
            // A new selection replaces the old one, also where it fails.
            agreed.contexts_of = None;
        }
        if !agreed.structured {
            return answers.refuse(answer::INVALID, "structured replies must be agreed on first");
        }
        let query = match ContextQuery::parse(data) {
            Ok(query) => query,
            Err(Malformed(why)) => return answers.refuse(answer::INVALID, why),
        };
        let Some(device) = self.find(query.name) else {
            return answers.refuse(answer::UNKNOWN, "there is no export of this name");
        };
        let asking = Asking { device, runtime: self.runtime, deadline: self.deadline };
        let told = if set {
            let (contexts, told) = asking.select(&query.queries);
            agreed.contexts_of = Some((query.name.to_owned(), contexts));
            told
        } else {
            asking.list(&query.queries).into_iter().map(|name| (0, name)).collect()
        };
        for (id, name) in told {
            answers.push(answer::META_CONTEXT, &[&id.to_be_bytes(), name.as_bytes()]);
        }
        answers.push(answer::ACK, &[]);
    }
}

impl Agreed {
    fn session(&self, name: &str, device: Arc<dyn Device>) -> Session {
        let selected = self.contexts_of.as_ref().filter(|(export, _)| export == name);
        let contexts = selected.map(|(_, contexts)| contexts.clone()).unwrap_or_default();
        let size_bytes = device.size_bytes();
        Session { name: name.to_owned(), device, size_bytes, structured: self.structured, contexts }
    }
}

impl Session {
    /// The transmission flags of this export.
    fn flags(&self) -> u16 {
        use export_flag::*;
        let mut flags = HAS_FLAGS | SEND_FLUSH | SEND_FUA | SEND_CACHE | CAN_MULTI_CONN;
        if self.structured {
            flags |= SEND_DF;
        }
        if self.device.read_only() {
            flags |= READ_ONLY;
        } else {
            flags |= SEND_TRIM | SEND_WRITE_ZEROES | SEND_FAST_ZERO;
        }
        flags
    }
}
