//! The whole simulated world: hosts around one store, on one executor, from one seed.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use esker_io::{World, objects::Sheltered};

use crate::{
    Config, FakeDisk, FakeStore, Halt, Hold, Prng, Side, SimClock, SimCpu, SimRandom, Survival, Task, Trace,
    disk::Device,
    executor::Executor,
    run::{Run, Steps},
    store::Connection,
};

/// A simulation: what a seed and a configuration make. Dropping it drops all its tasks.
pub struct Machine {
    seed: u64,
    config: Config,
    executor: Executor,
    store: FakeStore,
    random: Mutex<Prng>,
    hosts: Mutex<Vec<Host>>,
}

impl Machine {
    /// A store and one running host with an empty disk.
    pub fn new(seed: u64, config: Config) -> Self {
        let mut random = Prng::new(seed);
        let executor = Executor::new(random.fork(), Trace::new(config.trace_lines), config.steps_max);
        let store = FakeStore::new(executor.clone(), random.fork(), &config);
        let machine =
            Self { seed, config, executor, store, random: Mutex::new(random), hosts: Mutex::new(Vec::new()) };
        machine.add_host();
        machine
    }

    /// The first host.
    pub fn host(&self) -> Host {
        self.hosts()[0].clone()
    }

    /// A further host with an empty disk of its own and the same store; its wall clock may be off.
    pub fn second_host(&self) -> Host {
        self.add_host()
    }

    /// The first host's edges, in its current run.
    pub fn world(&self) -> World {
        self.host().world()
    }

    /// The store.
    pub fn store(&self) -> &FakeStore {
        &self.store
    }

    /// The executor.
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// A generator for a scenario's own draws, decided by the seed and the number of earlier draws.
    pub fn random(&self) -> Prng {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).fork()
    }

    /// Runs until `future` has its answer. It must not wait inside the engine for a host that may crash:
    /// spawn that on the host, and wait for the task.
    pub fn run_until<F: Future>(&self, future: F) -> Result<F::Output, Halt> {
        self.executor.run_until(future)
    }

    /// Runs all tasks for a stretch of virtual time.
    pub fn run_for(&self, duration: Duration) -> Result<(), Halt> {
        self.executor.run_for(duration)
    }

    /// The digest of everything that happened so far.
    pub fn digest(&self) -> String {
        self.executor.trace().digest()
    }

    fn hosts(&self) -> MutexGuard<'_, Vec<Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add_host(&self) -> Host {
        let mut random = self.random();
        let mut hosts = self.hosts();
        let number = hosts.len() as u32 + 1;
        let skew = if number == 1 { 0 } else { self.config.wall_skew_ms };
        let wall_ms = (self.config.wall_ms + random.between(0, 2 * skew)).saturating_sub(skew);
        let clock = SimClock::new(self.executor.clone(), wall_ms);
        // The wall time is given for the start of the simulation, not for the birth of the host.
        clock.jump_wall(self.executor.now().as_millis() as i64);
        let device = Device::new(self.executor.clone(), random.fork(), self.config.disk);
        let base = Base {
            number,
            executor: self.executor.clone(),
            store: self.store.clone(),
            device: Arc::new(device),
            clock,
            steps: Arc::default(),
            cpu_delay_max: self.config.cpu_delay_max,
        };
        let running = base.start(&mut random);
        let host = Host { base: Arc::new(base), state: Arc::new(Mutex::new(State { random, running })) };
        hosts.push(host.clone());
        host
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}, {}", self.seed, self.config)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.executor.close();
    }
}

/// A host: a disk, a clock, and one run at a time. Cheap to clone; all clones are the same host.
#[derive(Clone)]
pub struct Host {
    base: Arc<Base>,
    state: Arc<Mutex<State>>,
}

/// What outlives a host's runs.
struct Base {
    number: u32,
    executor: Executor,
    store: FakeStore,
    device: Arc<Device>,
    clock: SimClock,
    steps: Arc<Mutex<Steps>>,
    cpu_delay_max: Duration,
}

struct State {
    random: Prng,
    running: Running,
}

struct Running {
    run: Arc<Run>,
    world: World,
}

impl Base {
    fn start(&self, random: &mut Prng) -> Running {
        let run = Arc::new(Run::new(self.number, self.executor.clone(), self.steps.clone()));
        let chance = Arc::new(SimRandom::new(random.fork()));
        let clock = Arc::new(self.clock.clone());
        // The decorators of production are part of what is simulated.
        let connection = Arc::new(Connection::new(self.store.clone(), run.clone()));
        let objects = Arc::new(Sheltered::new(connection, clock.clone(), chance.clone()));
        let world = World {
            disk: Arc::new(FakeDisk::new(self.device.clone(), run.clone())),
            objects,
            clock,
            random: chance,
            cpu: Arc::new(SimCpu::new(self.executor.clone(), run.group, random.fork(), self.cpu_delay_max)),
        };
        Running { run, world }
    }

    fn steps(&self) -> MutexGuard<'_, Steps> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) -> Arc<Run> {
        self.lock().running.run.clone()
    }

    /// Its number: the first host is 1.
    pub fn number(&self) -> u32 {
        self.base.number
    }

    /// The edges of the current run.
    pub fn world(&self) -> World {
        self.lock().running.world.clone()
    }

    /// Its disk, for faults.
    pub fn disk(&self) -> FakeDisk {
        FakeDisk::new(self.base.device.clone(), self.run())
    }

    /// Its clock, for jumps of the wall time.
    pub fn clock(&self) -> &SimClock {
        &self.base.clock
    }

    /// Starts a task that dies with the current run.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &'static str,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Task<T> {
        self.base.executor.spawn(self.run().group, name, future)
    }

    /// How many steps it has taken: effects on its disk and on the store, over all its runs.
    pub fn steps(&self) -> u64 {
        self.base.steps().taken
    }

    /// Makes the run end at a step, counted from 1 over all the host's runs. The running call of the machine
    /// then returns [`Halt::Crashed`], and whatever the run does has no effect any more.
    /// [`Host::crash`] or [`Host::kill`] says what kind of crash it was.
    pub fn crash_at(&self, step: u64, side: Side) {
        self.base.steps().crash = Some((step, side));
    }

    /// Takes a crash point back that was not reached.
    pub fn forget_crash(&self) {
        self.base.steps().crash = None;
    }

    /// Whether the current run is over.
    pub fn is_crashed(&self) -> bool {
        self.run().is_dead()
    }

    /// The power fails.
    pub fn crash(&self, survival: Survival) {
        self.kill();
        self.base.device.lose_power(survival);
        if self.base.number == 1 {
            self.base.store.lose_power(survival);
        }
    }

    /// The process is killed; the kernel lives on, and with it all that was written.
    pub fn kill(&self) {
        let run = self.run();
        run.die();
        self.base.executor.cancel(run.group);
    }

    /// Starts a new run over what is on the disk. The old run, if it is not over, is killed.
    pub fn restart(&self) -> World {
        self.kill();
        let mut state = self.lock();
        state.running = self.base.start(&mut state.random);
        state.running.world.clone()
    }

    /// Stops the process (SIGSTOP): its tasks do not run. Requests under way go on.
    pub fn pause(&self) {
        self.base.executor.pause(self.run().group, true);
    }

    /// Lets a stopped process go on.
    pub fn resume(&self) {
        self.base.executor.pause(self.run().group, false);
    }

    /// Holds up its requests or the answers to them, or lets all go.
    pub fn hold(&self, hold: Hold) {
        self.run().hold(hold);
    }
}

#[cfg(test)]
mod tests;
