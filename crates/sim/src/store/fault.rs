//! How requests go wrong, and which.

use std::time::Duration;

use esker_io::StoreErrorKind;

use crate::{Prng, StoreFaults};

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFault {
    /// It fails without an effect. `Exists` stands for a 409 that means something else.
    Before(StoreErrorKind),
    /// It has its effect and then times out.
    After,
    /// It times out, and a PUT or DELETE has its effect that much later, whatever became of its sender.
    Late(Duration),
    /// It times out, and a PUT or DELETE has its effect when [`super::FakeStore::deliver`] is called.
    Parked,
    /// Its answer takes that much longer.
    Stall(Duration),
    /// A GET's body has one bit flipped.
    Flip,
    /// A GET's body is cut, and the transport notices.
    Cut,
    /// A GET does not find an object that is there.
    Missing,
    /// A GET is answered with another object's body, where there is one that the range fits.
    OtherBody,
}

/// The kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Create-if-absent.
    Put,
    /// A read of an object or a part of it.
    Get,
    /// A listing.
    List,
    /// A deletion.
    Delete,
}

impl Request {
    pub(super) fn verb(self) -> &'static str {
        match self {
            Request::Put => "put",
            Request::Get => "get",
            Request::List => "list",
            Request::Delete => "delete",
        }
    }

    fn changes(self) -> bool {
        matches!(self, Request::Put | Request::Delete)
    }
}

/// Which coming request a planned fault is for.
#[derive(Debug, Clone, Default)]
pub struct When {
    kind: Option<Request>,
    part: String,
    host: Option<u32>,
    skip: u64,
    times: u64,
}

impl When {
    /// The next request of any kind.
    pub fn any() -> Self {
        Self { times: 1, ..Self::default() }
    }

    /// The next request of a kind whose name or prefix contains `part`.
    pub fn next(kind: Request, part: &str) -> Self {
        Self { kind: Some(kind), part: part.to_owned(), ..Self::any() }
    }

    /// Only requests of this host.
    pub fn host(self, number: u32) -> Self {
        Self { host: Some(number), ..self }
    }

    /// Lets that many pass first.
    pub fn skip(self, requests: u64) -> Self {
        Self { skip: requests, ..self }
    }

    /// That many in a row, not one.
    pub fn times(self, requests: u64) -> Self {
        Self { times: requests, ..self }
    }

    fn fits(&self, host: u32, kind: Request, name: &str) -> bool {
        self.kind.is_none_or(|wanted| wanted == kind)
            && self.host.is_none_or(|wanted| wanted == host)
            && name.contains(&self.part)
    }
}

/// The planned faults, in the order in which they were planned.
#[derive(Default)]
pub(super) struct Plan {
    entries: Vec<(When, StoreFault)>,
}

impl Plan {
    pub(super) fn add(&mut self, when: When, fault: StoreFault) {
        self.entries.push((when, fault));
    }

    /// The fault for this request: of the first entry that is due. All entries that it fits count it.
    pub(super) fn take(&mut self, host: u32, kind: Request, name: &str) -> Option<StoreFault> {
        let mut found = None;
        for (when, fault) in &mut self.entries {
            if !when.fits(host, kind, name) {
                continue;
            }
            if when.skip > 0 {
                when.skip -= 1;
            } else if found.is_none() {
                when.times = when.times.saturating_sub(1);
                found = Some(*fault);
            }
        }
        self.entries.retain(|(when, _)| when.times > 0);
        found
    }
}

/// A fault by chance.
pub(super) fn draw(faults: &StoreFaults, kind: Request, random: &mut Prng) -> Option<StoreFault> {
    let late = Duration::from_millis(random.below(60_000));
    let always = [
        (faults.error_before_ppm, StoreFault::Before(StoreErrorKind::Transient)),
        (faults.error_after_ppm, StoreFault::After),
        (faults.permanent_ppm, StoreFault::Before(StoreErrorKind::Permanent)),
        (faults.stall_ppm, StoreFault::Stall(Duration::from_secs(60))),
    ];
    let change = [(faults.late_ppm, StoreFault::Late(late))];
    let put = [(faults.false_exists_ppm, StoreFault::Before(StoreErrorKind::Exists))];
    let get = [
        (faults.flip_ppm, StoreFault::Flip),
        (faults.protocol_ppm, StoreFault::Cut),
        (faults.missing_ppm, StoreFault::Missing),
        (faults.other_body_ppm, StoreFault::OtherBody),
    ];
    let mut possible = always.to_vec();
    possible.extend(change.iter().filter(|_| kind.changes()));
    possible.extend(put.iter().filter(|_| kind == Request::Put));
    possible.extend(get.iter().filter(|_| kind == Request::Get));
    possible.into_iter().find(|(ppm, _)| random.chance(*ppm)).map(|(_, fault)| fault)
}
