//! The boxes behind instances. What is to be done follows from what is written down alone, so a
//! simulator that was ended goes on where it was.
//!
//! Every box is of this machine's own processor, whatever its instance type says.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use devbox::error::{Error, Kind, Result};
use devbox::events::Events;
use devbox::names::{BoxName, InstanceId, LaunchId, System, VolumeName, sanitize};
use devbox::provider::local::{LocalConfig, LocalProvider, Missing};
use devbox::provider::{LaunchRequest, Placement, Provider};
use devbox::ssh::keys::LoginKey;

use super::Shared;
use super::state::{Instance, Machine, MachineState, State};
use super::vm::Vms;

/// Where boxes come from.
#[derive(Clone, Debug)]
pub(crate) enum Boxes {
    /// The local provider.
    Local {
        /// Its cache: the root filesystem under every box.
        cache: PathBuf,
    },
    /// QEMU.
    Vms(Arc<Vms>),
}

impl Boxes {
    /// Starts the box of an instance: its id, and its address.
    async fn start(&self, state: &Path, instance: &Instance) -> Result<(String, String)> {
        match self {
            Self::Local { cache } => start(state, cache, instance).await,
            Self::Vms(vms) => vms.start(state, instance).await,
        }
    }

    async fn restart(&self, state: &Path, id: &str) -> Result<()> {
        match self {
            Self::Local { cache } => provider(state, cache, true).reboot(&InstanceId(id.to_owned())).await,
            Self::Vms(vms) => vms.reset(state, id),
        }
    }

    async fn mount(&self, state: &Path, id: &str) -> Result<()> {
        match self {
            Self::Local { cache } => {
                provider(state, cache, true).attach_volume(&InstanceId(id.to_owned())).await.map(drop)
            }
            // They mount it while they boot.
            Self::Vms(_) => Ok(()),
        }
    }

    /// The power goes, then what is left.
    async fn end(&self, state: &Path, id: Option<&str>, launch: LaunchId) -> Result<()> {
        match self {
            Self::Local { cache } => end(state, cache, id, launch).await,
            Self::Vms(vms) => vms.end(state, launch),
        }
    }
}

impl Boxes {
    /// Whether this machine can make boxes: nobody is to wait for one that never boots.
    ///
    /// # Errors
    /// When it lacks something.
    pub(crate) fn check(&self, state: &Path) -> Result<()> {
        match self {
            Self::Local { cache } => lacking(&provider(state, cache, false).missing()).map_or(Ok(()), Err),
            // Who made them had all that they need.
            Self::Vms(_) => Ok(()),
        }
    }
}

/// The error where something is missing.
fn lacking(missing: &[Missing]) -> Option<Error> {
    if missing.is_empty() {
        return None;
    }
    let what: Vec<_> = missing.iter().map(|lack| lack.what.as_str()).collect();
    let error = Error::new(Kind::Usage, format!("boxes need {}", what.join(", ")));
    let error = missing.iter().fold(error, |error, lack| error.hint(lack.fix.clone()));
    Some(error.hint("`--no-boxes` needs nothing of it: instances are words alone then"))
}

/// The next thing to do, for the instance with this id.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Deed {
    Start(Box<Instance>),
    Restart(String, String),
    Mount(String, String),
    End(String, Option<String>, LaunchId),
}

/// What is to be done at `now`; ends before starts, since they free things. Mounts are left out: they
/// are looked at again and again, for a box that restarts loses its own.
fn next(state: &State, now: f64) -> Option<Deed> {
    let with_box = || state.instances.iter().filter_map(|i| i.machine.as_ref().map(|m| (i, m)));
    let pulled = |i: &Instance| i.pulled().is_some_and(|at| now >= at);
    let end = with_box().find(|(i, m)| m.state != MachineState::Gone && pulled(i)).map(|(i, m)| {
        let local = match &m.state {
            MachineState::Running { id } => Some(id.clone()),
            _ => None,
        };
        Deed::End(i.id.clone(), local, m.launch)
    });
    let restart = || {
        with_box().find_map(|(i, m)| match &m.state {
            MachineState::Running { id } if m.restart => Some(Deed::Restart(i.id.clone(), id.clone())),
            _ => None,
        })
    };
    let start = || {
        let wanted = |i: &Instance, m: &Machine| m.state == MachineState::Wanted && !pulled(i);
        with_box().find(|(i, m)| wanted(i, m)).map(|(i, _)| Deed::Start(Box::new(i.clone())))
    };
    end.or_else(restart).or_else(start)
}

/// The boxes that are to have their volume now.
fn mounts(state: &State, now: f64) -> Vec<Deed> {
    let due = |i: &Instance| match &i.machine {
        Some(Machine { late: true, state: MachineState::Running { id }, .. }) => {
            i.mounted.is_some_and(|at| now >= at).then(|| Deed::Mount(i.id.clone(), id.clone()))
        }
        _ => None,
    };
    state.instances.iter().filter_map(due).collect()
}

/// Does one thing that is to be done. Whether there was one.
pub(crate) async fn step(shared: &Shared) -> bool {
    let Some(boxes) = &shared.boxes else { return false };
    let deed = shared.look(|world, now| next(&world.state, now));
    let Some(deed) = deed else { return false };
    work(shared, boxes, deed).await;
    true
}

/// Mounts what is due. Looks into every box that has its volume late, so not to be done all the time.
pub(crate) async fn mount(shared: &Shared) {
    let Some(boxes) = &shared.boxes else { return };
    for due in shared.look(|world, now| mounts(&world.state, now)) {
        work(shared, boxes, due).await;
    }
}

async fn work(shared: &Shared, boxes: &Boxes, deed: Deed) {
    match deed {
        Deed::Start(instance) => {
            let started = boxes.start(&shared.dir, &instance).await;
            shared.machine(&instance.id, |instance, machine| match started {
                Ok((id, ip)) => {
                    machine.state = MachineState::Running { id };
                    instance.ip = ip;
                }
                Err(e) => {
                    eprintln!("no box for {}: {}", instance.id, told(&e));
                    machine.state = MachineState::Failed(told(&e));
                }
            });
        }
        Deed::Restart(instance, local) => {
            say(boxes.restart(&shared.dir, &local).await);
            shared.machine(&instance, |_, machine| machine.restart = false);
        }
        Deed::Mount(_, local) => say(boxes.mount(&shared.dir, &local).await),
        Deed::End(instance, local, launch) => match boxes.end(&shared.dir, local.as_deref(), launch).await {
            Ok(()) => shared.machine(&instance, |_, machine| machine.state = MachineState::Gone),
            // It is tried again: the next step finds it not gone.
            Err(e) => {
                eprintln!("the box of {instance} is left: {}", told(&e));
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            }
        },
    }
}

fn say(done: Result<()>) {
    if let Err(e) = done {
        eprintln!("{}", told(&e));
    }
}

/// An error with all it has to say, in one line.
fn told(e: &Error) -> String {
    let rest = e.causes().into_iter().chain(e.detail_lines().iter().cloned());
    std::iter::once(e.message().to_owned()).chain(rest).collect::<Vec<_>>().join("; ")
}

/// The local provider for the boxes of this state folder. Like a cloud's images they have no Nix.
fn provider(state: &Path, cache: &Path, volume: bool) -> LocalProvider {
    LocalProvider::new(LocalConfig {
        state: state.join("boxes"),
        cache: cache.to_owned(),
        // A box of the local provider has a volume always.
        volumes: state.join(if volume { "volumes" } else { "no-volume" }),
        nix: false,
    })
}

async fn start(state: &Path, cache: &Path, instance: &Instance) -> Result<(String, String)> {
    let machine = instance.machine.as_ref();
    let (launch, late) = machine
        .map(|m| (m.launch, m.late))
        .ok_or_else(|| Error::new(Kind::Failed, "the instance is to have no box"))?;
    let mount = instance.mounts.first();
    let local = provider(state, cache, mount.is_some());
    let local = if late { local.with_late_volume() } else { local };
    let volume = sanitize(mount.map_or("none", |m| m.name.as_str())).unwrap_or_else(|| "none".to_owned());
    let volume: VolumeName = volume.parse()?;
    let mut volume = local.create_volume(&volume, None).await?;
    if let Some(mount) = mount {
        volume.mount_point.clone_from(&mount.mount_point);
    }
    let name = sanitize(&instance.hostname).unwrap_or_else(|| "instance".to_owned());
    let name: BoxName = name.parse()?;
    let user_data = match instance.user_data.as_str() {
        "" => "#cloud-config\n{}\n".to_owned(),
        given => given.to_owned(),
    };
    let request = LaunchRequest {
        name,
        launch,
        asked: jiff::Timestamp::now(),
        placement: Placement {
            instance_type: instance.instance_type.clone(),
            region: instance.region.clone(),
            system: System::of_machine(std::env::consts::ARCH)
                .ok_or_else(|| Error::new(Kind::Provider, "no boxes on this processor"))?,
            cents_per_hour: 0,
            image_family: None,
            volume: volume.name.clone(),
        },
        volume,
        login: LoginKey { private: PathBuf::new(), public: instance.public_key.clone() },
        user_data,
    };
    let launched = local.launch(&request, &Events::silent()).await?.launched();
    let made = launched.ok_or_else(|| Error::new(Kind::Provider, "the local provider made no box"))?.keep();
    let address = made.address.ok_or_else(|| Error::new(Kind::Provider, "the box has no address"))?;
    Ok((made.id.0, address.to_string()))
}

/// The power goes, then what is left. A start that was cut off may have left something under the
/// launch's id.
async fn end(state: &Path, cache: &Path, local: Option<&str>, launch: LaunchId) -> Result<()> {
    let provider = provider(state, cache, true);
    let all = provider.list().await?;
    for one in all.into_iter().filter(|i| i.launch == Some(launch) || local == Some(&*i.id.0)) {
        provider.kill(&one.id).await?;
        provider.terminate(&one.id, &Events::silent()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_root_there_are_no_boxes_and_it_says_so() {
        assert!(lacking(&[]).is_none());
        let root = Missing { what: "root".into(), why: "mounts are root's", fix: "run as root".into() };
        let error = lacking(&[root]).unwrap();
        assert_eq!(error.message(), "boxes need root");
        let hints = error.hints();
        assert!(hints[0] == "run as root" && hints[1].contains("`--no-boxes`"), "{hints:?}");
    }
}
