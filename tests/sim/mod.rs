//! A Lambda Cloud to test against. `README.md` beside this file says how to use it.
//!
//! Pure: [`api`] answers a request from the [`state`], the [`scenario`] and the time. Around it are
//! the [`server`], which speaks HTTP, and [`boxes`], which makes instances real.

// Shared by the tests and an example: neither uses all of it, and clippy knows tests by their attribute.
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

pub(crate) mod api;
pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod boxes;
pub(crate) mod catalog;
pub(crate) mod check;
pub(crate) mod errors;
pub(crate) mod firewall;
pub(crate) mod launch;
pub(crate) mod limits;
pub(crate) mod notes;
pub(crate) mod reading;
pub(crate) mod scenario;
pub(crate) mod server;
pub(crate) mod state;
pub(crate) mod transcript;
pub(crate) mod vm;
pub(crate) mod wire;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use devbox::error::{Error, Kind, OrFail, Result, tick};
use serde_json::Value;

use api::{Reply, World};
pub(crate) use boxes::Boxes;
use limits::Limits;
pub(crate) use scenario::Scenario;
use state::{Instance, Machine, MachineState, State};
pub(crate) use transcript::Exchange;
use transcript::{Record, shown};

/// How to start one.
pub(crate) struct Options {
    /// Port 0 is any that is free.
    pub(crate) listen: SocketAddr,
    /// A folder of its own. One that a simulator used before is gone on with.
    pub(crate) state: PathBuf,
    pub(crate) scenario: Scenario,
    /// Without, instances are words alone.
    pub(crate) boxes: Option<Boxes>,
    pub(crate) api_key: String,
}

/// A simulator that runs, on a thread of its own.
pub(crate) struct Sim {
    shared: Arc<Shared>,
    address: SocketAddr,
    running: Option<(tokio::sync::oneshot::Sender<()>, JoinHandle<()>)>,
}

/// An instance as tests look at it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) tags: Vec<(String, String)>,
    /// In the API's words.
    pub(crate) status: String,
    pub(crate) instance_type: String,
    pub(crate) region: String,
    /// The how manieth launch made it, from 1.
    pub(crate) launch: u64,
    /// The local provider's id of its box.
    pub(crate) machine: Option<String>,
    pub(crate) ip: Option<String>,
    pub(crate) user_data: String,
}

/// What the threads share.
pub(crate) struct Shared {
    dir: PathBuf,
    boxes: Option<Boxes>,
    began: Instant,
    inside: Mutex<Inside>,
}

struct Inside {
    world: World,
    exchanges: Vec<Exchange>,
    record: Option<Record>,
    /// The state as it was written last.
    saved: Vec<u8>,
}

/// How often time is looked at where nobody asks.
const TICK: Duration = Duration::from_millis(50);
/// How many of them until boxes are looked into for volumes that come late.
const TICKS_TO_MOUNT: u64 = 10;
/// How long boxes may take to end.
const PATIENCE: Duration = Duration::from_secs(60);

fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

impl Shared {
    /// A panic elsewhere leaves nothing half done that matters to a test that fails anyway.
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time pass and looks at the world. Cheap: it writes only what time alone has changed.
    fn look<T>(&self, what: impl FnOnce(&World, f64) -> T) -> T {
        let mut inside = self.lock();
        let now = now();
        if inside.world.advance(now) {
            self.save(&mut inside);
        }
        what(&inside.world, now)
    }

    /// Lets time pass, does something to the world, and writes down what changed.
    fn with<T>(&self, what: impl FnOnce(&mut World, f64) -> T) -> T {
        let mut inside = self.lock();
        let now = now();
        inside.world.advance(now);
        let done = what(&mut inside.world, now);
        self.save(&mut inside);
        done
    }

    /// Before anybody hears of it: what was answered is remembered.
    fn save(&self, inside: &mut Inside) {
        let text = serde_json::to_vec(&inside.world.state).unwrap_or_default();
        if text != inside.saved {
            match state::save(&self.dir, &text) {
                Ok(()) => inside.saved = text,
                Err(e) => eprintln!("the state can't be kept: {e}"),
            }
        }
    }

    fn exchange(&self, request: &api::Request, target: String) -> Reply {
        let mut inside = self.lock();
        let reply = inside.world.answer(request, now());
        self.save(&mut inside);
        let exchange = Exchange {
            at: self.began.elapsed().as_secs_f64(),
            method: request.method.clone(),
            path: target,
            status: reply.status,
            request: shown(&request.body),
            answer: shown(&reply.body),
            dropped: reply.drop,
            odd: reply.odd,
        };
        if let Some(record) = &mut inside.record {
            record.add(&exchange);
        }
        inside.exchanges.push(exchange);
        reply
    }

    /// Something about the box of an instance.
    fn machine(&self, id: &str, what: impl FnOnce(&mut Instance, &mut Machine)) {
        self.with(|world, now| {
            if let Some(instance) = world.state.instances.iter_mut().find(|i| i.id == id)
                && let Some(mut machine) = instance.machine.clone()
            {
                what(instance, &mut machine);
                instance.machine = Some(machine);
            }
            world.advance(now);
        });
    }

    fn left(&self) -> Vec<String> {
        self.look(|world, _| {
            let has = |i: &&Instance| {
                i.machine
                    .as_ref()
                    .is_some_and(|m| !matches!(m.state, MachineState::Gone | MachineState::Failed(_)))
            };
            world.state.instances.iter().filter(has).map(|i| i.id.clone()).collect()
        })
    }
}

impl Sim {
    /// Starts one; it answers when this returns.
    ///
    /// # Errors
    /// When the address is taken, another simulator has the state folder, or this machine can't make boxes.
    pub(crate) fn start(options: Options) -> Result<Self> {
        devbox::paths::make_private(&options.state)?;
        options.boxes.as_ref().map_or(Ok(()), |boxes| boxes.check(&options.state))?;
        let lock = lock(&options.state)?;
        let now = now();
        let mut scenario = options.scenario;
        let mut state = state::load(&options.state)?.unwrap_or_else(|| State::new(now));
        state.resume(&mut scenario);
        state.seed(&scenario, &api::time(now));
        let boxes = options.boxes.is_some();
        let world = World { state, scenario, limits: Limits::default(), key: options.api_key, boxes };
        let inside = Inside { world, exchanges: Vec::new(), record: None, saved: Vec::new() };
        let shared = Arc::new(Shared {
            dir: options.state,
            boxes: options.boxes,
            began: Instant::now(),
            inside: Mutex::new(inside),
        });
        // What it begins with.
        shared.with(|_, _| ());
        let listener = std::net::TcpListener::bind(options.listen)
            .or_kind(Kind::Usage, || format!("can't listen on {}", options.listen))?;
        let what = || "can't listen".to_owned();
        listener.set_nonblocking(true).or_fail(what)?;
        let address = listener.local_addr().or_fail(what)?;
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let on_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("lambda-sim".to_owned()).spawn(move || {
            serve(&on_thread, listener, stopped);
            drop(lock);
        });
        let running = Some((stop, thread.or_fail(|| "can't start a thread".to_owned())?));
        Ok(Self { shared, address, running })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the API.
    pub(crate) fn base(&self) -> String {
        format!("http://{}/api/v1", self.address)
    }

    /// Stops answering; boxes run on. One started on the same state folder goes on with it.
    pub(crate) fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            // It may have ended by itself.
            devbox::error::ignore(stop.send(()));
            devbox::error::ignore(thread.join());
        }
    }

    /// Changes the scenario from now on. A script of launches that is changed begins anew.
    pub(crate) fn edit(&self, what: impl FnOnce(&mut Scenario)) {
        self.shared.with(|world, now| {
            let before = world.scenario.launches.clone();
            what(&mut world.scenario);
            if world.scenario.launches != before {
                let whole = world.scenario.launches.clone();
                world.state.script = state::Script { left: whole.clone(), whole };
            }
            world.state.seed(&world.scenario, &api::time(now));
        });
    }

    /// Every call so far.
    pub(crate) fn requests(&self) -> Vec<Exchange> {
        self.shared.lock().exchanges.clone()
    }

    /// Every instance that there ever was.
    pub(crate) fn instances(&self) -> Vec<Snapshot> {
        self.shared.look(|world, now| {
            let snapshot = |i: &Instance| Snapshot {
                id: i.id.clone(),
                name: i.name.clone(),
                tags: i.tags.clone(),
                status: i.status(now).to_owned(),
                instance_type: i.instance_type.clone(),
                region: i.region.clone(),
                launch: i.launch,
                machine: match &i.machine {
                    Some(Machine { state: MachineState::Running { id }, .. }) => Some(id.clone()),
                    _ => None,
                },
                ip: i.address(now).map(str::to_owned),
                user_data: i.user_data.clone(),
            };
            world.state.instances.iter().map(snapshot).collect()
        })
    }

    /// The instances whose boxes run, or are to.
    pub(crate) fn left(&self) -> Vec<String> {
        self.shared.left()
    }

    /// Writes every call from now on to `file` as well.
    ///
    /// # Errors
    /// When it can't be written.
    pub(crate) fn record(&self, file: &Path) -> Result<()> {
        self.shared.lock().record = Some(Record::open(file)?);
        Ok(())
    }

    /// Ends every instance and its box now, and waits until they are gone.
    pub(crate) fn end_everything(&self) {
        self.shared.with(|world, now| {
            for instance in world.state.instances.iter_mut().filter(|i| i.gone.is_none()) {
                instance.ending = Some(now);
            }
            world.advance(now);
        });
        let until = Instant::now() + PATIENCE;
        while !self.shared.left().is_empty() && Instant::now() < until {
            if self.running.is_some() {
                std::thread::sleep(TICK);
            } else {
                let shared = Arc::clone(&self.shared);
                // A thread of its own, since a runtime may be running in this one.
                let step = std::thread::spawn(move || runtime().map(|r| r.block_on(boxes::step(&shared))));
                devbox::error::ignore(step.join());
            }
        }
        for id in self.shared.left() {
            eprintln!("the box of {id} is left");
        }
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.stop();
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_fail(|| "can't make a runtime".to_owned())
}

/// Answers until it is told to stop. The boxes have a thread of their own: starting one takes a while.
fn serve(shared: &Arc<Shared>, listener: std::net::TcpListener, stopped: tokio::sync::oneshot::Receiver<()>) {
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let for_boxes = Arc::clone(shared);
    let worker = std::thread::spawn(move || {
        let Ok(runtime) = runtime() else { return };
        let mut ticks = 0_u64;
        while ended.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            let busy = runtime.block_on(async {
                let busy = boxes::step(&for_boxes).await;
                for_boxes.look(|_, _| ());
                if !busy && ticks.is_multiple_of(TICKS_TO_MOUNT) {
                    boxes::mount(&for_boxes).await;
                }
                busy
            });
            ticks += 1;
            if !busy {
                std::thread::sleep(TICK);
            }
        }
    });
    if let Ok(runtime) = runtime() {
        runtime.block_on(async {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            tokio::select! {
                ended = axum::serve(listener, server::router(Arc::clone(shared))) => {
                    if let Err(e) = ended {
                        eprintln!("the simulator ended: {e}");
                    }
                }
                // An error is a simulator that was dropped.
                _ = stopped => {}
            }
        });
    }
    drop(done);
    devbox::error::ignore(worker.join());
}

/// One simulator to a state folder.
fn lock(dir: &Path) -> Result<std::fs::File> {
    use rustix::fs::{FlockOperation, flock};
    let path = dir.join("lock");
    let what = || format!("can't lock {}", tick(&path));
    let file = std::fs::File::options().create(true).append(true).open(&path).or_fail(what)?;
    // A child that was forked and has not yet become another program holds it for a moment.
    for _ in 0..40 {
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Ok(file);
        }
        std::thread::sleep(TICK);
    }
    Err(Error::new(Kind::Usage, format!("another simulator uses {}", tick(dir))))
}

/// What a call was about, for tests: `requests()` of one method and path.
pub(crate) fn calls<'a>(all: &'a [Exchange], method: &str, path: &str) -> Vec<&'a Exchange> {
    all.iter().filter(|e| e.method == method && scenario::matches(path, &e.path)).collect()
}

/// The `data` of an answer.
pub(crate) fn data(exchange: &Exchange) -> &Value {
    &exchange.answer["data"]
}
