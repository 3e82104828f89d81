//! Pulling images and starting containers.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Container as ContainerSpec, Pod};
use kubelab_client::clock;
use tokio::task::JoinSet;

use super::{Process, Program, Setup, Simulated, ending::Timer};
use crate::{
    behavior::{Behavior, Pull, Run, images},
    runtime::{Container, Exit, Image, Launch, PodRef, Runtime, StartError},
};

/// What containerd gives a container that could not be started as its exit code.
const CANNOT_START: i32 = 128;

impl Simulated {
    pub(super) async fn pull_image(&self, pod: &Pod, container: &ContainerSpec) -> Result<Image, String> {
        let name = container.image.as_deref().unwrap_or_default();
        match Behavior::of(pod, container, &self.shared.rules).pull {
            Pull::Succeeds { time, size } => {
                // What is here already is only asked for its digest.
                let time = if self.image(name).is_some() { time / 5 } else { time };
                clock::sleep(self.delay(time)).await;
                let image = Image { name: images::normalized(name), id: images::id(name), size };
                let mut state = self.shared.lock();
                if state.images.insert(image.name.clone(), image.clone()).is_none() {
                    self.shared.checkpoint.save_images(&state.images);
                }
                Ok(image)
            }
            Pull::Fails(error) => {
                clock::sleep(self.delay(Duration::from_millis(50))).await;
                Err(error)
            }
        }
    }

    pub(super) async fn start_container(&self, launch: Launch) -> Result<(), StartError> {
        let Launch { pod, container: spec, attempt, env, mounts } = launch;
        let behavior = Behavior::of(&pod, &spec, &self.shared.rules);
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let address = self.sandbox(uid).ok_or(StartError::NoSandbox)?.address;
        let setup = Setup::of(&pod, &spec, address, mounts);
        clock::sleep(self.delay(behavior.start_time)).await;
        let image = spec.image.unwrap_or_default();
        let started_at = clock::now_micro();
        let mut container = Container {
            id: (0..4).map(|_| format!("{:016x}", rand::random::<u64>())).collect(),
            name: spec.name,
            attempt,
            full_image: images::normalized(&image),
            image_id: images::id(&image),
            image,
            started_at: started_at.clone(),
            exit: None,
            retired: false,
        };
        let pod = PodRef::of(&pod);
        let run = behavior.run.clone();
        let mut process = Process {
            behavior,
            env,
            setup,
            end: None,
            timer: Timer(None),
            out_of_memory: Timer(None),
            console: None,
            program: Program::default(),
            add_on: super::add_on::Running::default(),
            connections: JoinSet::new(),
            told: Arc::default(),
        };
        let mut state = self.shared.lock();
        let room = state.pods.get_mut(&pod.uid).ok_or(StartError::NoSandbox)?;
        let folder = self.shared.container_folder(&pod.uid, &container.name);
        // Each run begins with its image's files.
        std::fs::remove_dir_all(folder).ok();
        if process.behavior.absent
            && let Some(why) = self.shared.cannot_start(&pod, address, &container, &process)
        {
            let (reason, message) = (Some("StartError".to_owned()), Some(why.clone()));
            container.exit = Some(Exit { code: CANNOT_START, finished_at: started_at, reason, message });
            Arc::make_mut(&mut room.sandbox).containers.push(container);
            room.forget_old_runs(&self.shared);
            self.shared.checkpoint.save_pod(&pod.uid, room);
            return Err(StartError::Program(why));
        }
        self.shared.begin(&pod, address, &container, &mut process);
        let process = room.processes.entry(container.id.clone()).or_insert(process);
        if let Run::For { time, exit_code } = run {
            process.end_at(&self.shared, &pod, &container.id, container.started_at.0 + time, exit_code);
        }
        process.watch_memory(&self.shared, &pod, &container);
        Arc::make_mut(&mut room.sandbox).containers.push(container);
        room.forget_old_runs(&self.shared);
        self.shared.checkpoint.save_pod(&pod.uid, room);
        Ok(())
    }
}
