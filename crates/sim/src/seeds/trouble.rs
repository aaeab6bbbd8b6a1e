//! What goes wrong on purpose, and how the volume comes back.

use std::time::Duration;

use esker_engine::EngineError;

use super::{History, OPENINGS_MAX};
use crate::{
    Hold, Request, Side, StoreFault, Survival, SyncFault, When, WriteFault,
    lab::{Fall, Outcome, Stop, violation},
};

/// How many kinds of trouble there are.
pub(super) const KINDS: usize = 12;

impl History {
    pub(super) fn trouble(&mut self) -> Outcome {
        let total: u64 = self.plan.troubles.iter().sum();
        if total == 0 {
            return Ok(());
        }
        let mut at = self.random.below(total);
        let mut kind = 0;
        while at >= self.plan.troubles[kind] {
            at -= self.plan.troubles[kind];
            kind += 1;
        }
        let owner = self.lab.owner();
        match kind {
            0 | 1 => {
                // A crash at some coming step.
                let steps = self.random.between(1, 25);
                let side = *self.random.pick(&[Side::Before, Side::After]);
                let host = self.lab.host(owner);
                host.crash_at(host.steps() + steps, side);
                Ok(())
            }
            2 => self.down(owner),
            3 => self.take_over(),
            4 => self.stop_and_go(owner),
            5 => self.cut_off(owner),
            6 => {
                let length = Duration::from_millis(self.random.between(100, 40_000));
                self.lab.machine().store().outage(Duration::from_millis(self.random.below(500)), length);
                Ok(())
            }
            7 => self.request_fails(owner),
            8 => self.disk_fails(owner),
            9 => self.drain(),
            10 => {
                let by = self.random.between(0, 7_200_000) as i64 - 3_600_000;
                self.lab.host(owner).clock().jump_wall(by);
                Ok(())
            }
            _ => self.zombie_writes(),
        }
    }

    /// The owner crashes now.
    fn down(&mut self, site: usize) -> Outcome {
        let fall = self.fall();
        self.crashes += 1;
        self.lab.fall(site, fall);
        self.come_back(site, fall)
    }

    fn fall(&mut self) -> Fall {
        match self.random.below(10) {
            0..4 => Fall::Kill,
            4 => Fall::Directory,
            5 => Fall::Power(Survival::OnlySynced),
            6 => Fall::Power(Survival::Everything),
            _ => Fall::Power(Survival::Subset(self.random.next_u64())),
        }
    }

    fn come_back(&mut self, site: usize, fall: Fall) -> Outcome {
        if fall == Fall::Directory {
            let site = self.lab.add_site();
            return self.open(site);
        }
        // Some time may pass, in which late requests arrive.
        let ms = self.random.below(2) * self.random.below(70_000);
        match self.lab.run_ms(ms) {
            // A writer that lost the volume long ago.
            Err(Stop::Crashed) => drop(self.bury_crashed()),
            outcome => outcome?,
        }
        self.open(site)
    }

    /// A planned crash has come.
    pub(super) fn crashed(&mut self) -> Outcome {
        let owner = self.lab.owner();
        match self.bury_crashed().into_iter().find(|(site, _)| *site == owner) {
            Some((site, fall)) => self.come_back(site, fall),
            None => Ok(()),
        }
    }

    /// Says of all hosts that reached their crash point what kind of crash it was.
    fn bury_crashed(&mut self) -> Vec<(usize, Fall)> {
        let mut buried = Vec::new();
        while let Some(site) = self.lab.crashed_site() {
            let fall = self.fall();
            self.crashes += 1;
            self.lab.fall(site, fall);
            buried.push((site, fall));
        }
        buried
    }

    /// The volume has stopped itself: after a failed write or sync, or because it was fenced.
    pub(super) fn stopped(&mut self) -> Outcome {
        let site = self.lab.owner();
        self.lab.fall(site, Fall::Kill);
        self.come_back(site, Fall::Kill)
    }

    /// Opens the volume at a site, however often it takes.
    pub(super) fn open(&mut self, site: usize) -> Outcome {
        let mut site = site;
        for _ in 0..OPENINGS_MAX {
            match self.open_once(site) {
                Ok(true) => {
                    self.openings += 1;
                    return Ok(());
                }
                Ok(false) => {
                    self.lab.fall(site, Fall::Kill);
                    if self.lab.run_ms(20_000) == Err(Stop::Crashed) {
                        self.bury_crashed();
                    }
                }
                Err(Stop::Crashed) => {
                    // This host, or another one: then the opening has to be begun again too.
                    self.bury_crashed();
                    self.crashes += 1;
                    let fall = self.fall();
                    self.lab.fall(site, fall);
                    if fall == Fall::Directory {
                        site = self.lab.add_site();
                    }
                }
                Err(stop) => return Err(stop),
            }
        }
        Err(violation(format!("{OPENINGS_MAX} openings in a row fail")))
    }

    fn open_once(&mut self, site: usize) -> Outcome<bool> {
        match self.lab.try_open(site)? {
            Ok(()) => {}
            Err(
                EngineError::Store(_)
                | EngineError::Unknown { .. }
                | EngineError::Disk(_)
                | EngineError::Stopped { .. },
            ) => {
                return Ok(false);
            }
            Err(error) => return Err(violation(format!("the volume does not open: {error}"))),
        }
        match self.lab.try_read(0, self.lab.blocks())? {
            Ok(found) => self.lab.compare(0, &found)?,
            Err(EngineError::Store(_)) => {}
            Err(error) => return Err(violation(format!("reading after opening fails: {error}"))),
        }
        Ok(true)
    }

    /// Another host opens the volume while this one goes on.
    fn take_over(&mut self) -> Outcome {
        let owner = self.lab.owner();
        let others: Vec<usize> =
            (0..self.lab.sites()).filter(|site| *site != owner && !self.lab.is_gone(*site)).collect();
        let site = match others.is_empty() {
            true => self.lab.add_site(),
            false => *self.random.pick(&others),
        };
        if self.lab.has_open(site) {
            self.lab.fall(site, Fall::Kill);
        }
        self.open(site)
    }

    /// SIGSTOP, and SIGCONT much later; maybe somebody takes over meanwhile.
    fn stop_and_go(&mut self, site: usize) -> Outcome {
        self.lab.host(site).pause();
        let ms = self.random.below(600_000);
        let moved = if self.random.chance(500_000) { self.take_over() } else { self.lab.run_ms(ms) };
        self.lab.host(site).resume();
        moved
    }

    /// Requests or answers are held up for a while.
    fn cut_off(&mut self, site: usize) -> Outcome {
        let hold = *self.random.pick(&[Hold::Requests, Hold::Answers]);
        self.lab.host(site).hold(hold);
        let ms = self.random.below(20_000);
        let moved = if self.random.chance(400_000) { self.take_over() } else { self.lab.run_ms(ms) };
        self.lab.host(site).hold(Hold::Nothing);
        moved
    }

    fn request_fails(&mut self, owner: usize) -> Outcome {
        let late = Duration::from_millis(self.random.below(60_000));
        let fault = *self.random.pick(&[
            StoreFault::Before(esker_io::StoreErrorKind::Transient),
            StoreFault::Before(esker_io::StoreErrorKind::Exists),
            StoreFault::Before(esker_io::StoreErrorKind::Permanent),
            StoreFault::After,
            StoreFault::Late(late),
            StoreFault::Stall(late),
        ]);
        let part = *self.random.pick(&["heads/", "segments/", "pages/", "writers/"]);
        let when = When::next(Request::Put, part).host(self.lab.host(owner).number());
        self.lab.machine().store().fail(when.times(self.random.between(1, 4)), fault);
        Ok(())
    }

    fn disk_fails(&mut self, owner: usize) -> Outcome {
        let number = self.random.between(1, 20);
        let disk = self.lab.host(owner).disk();
        match self.random.below(3) {
            0 => disk.fail_write(number, WriteFault::Error),
            1 => disk.fail_write(number, WriteFault::NoSpace),
            _ => disk.fail_sync(number.min(5), SyncFault::Once),
        }
        Ok(())
    }

    fn drain(&mut self) -> Outcome {
        match self.lab.try_drain()? {
            Ok(()) => {
                self.lab.check_drained()?;
                if self.random.chance(500_000) {
                    return self.take_over();
                }
                let owner = self.lab.owner();
                self.open(owner)
            }
            Err(_) => Ok(()),
        }
    }

    /// Fenced writers still get writes.
    fn zombie_writes(&mut self) -> Outcome {
        let owner = self.lab.owner();
        for site in 0..self.lab.sites() {
            if site != owner && self.lab.has_open(site) {
                let lba = self.random.below(24);
                let _ = self.lab.stray_write(site, lba)?;
            }
        }
        Ok(())
    }
}
