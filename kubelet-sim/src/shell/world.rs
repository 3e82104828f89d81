//! What programs can find out about where they run.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kubelab_client::clock;
use tokio::{io::DuplexStream, sync::mpsc};

use super::{files::Files, traps::Signals};
use crate::{
    behavior::{Listener, foreign::Foreign, images::Userland},
    network::Dialer,
    pod::identity::Identity,
};

/// What a container is, as its programs see it.
pub struct World {
    /// Its files.
    pub files: Files,
    /// Its pod's host name.
    pub hostname: String,
    /// Its pod's address.
    pub address: String,
    /// Its pod's network.
    pub network: Arc<dyn Dialer>,
    /// Who its programs run as.
    pub identity: Identity,
    /// Its environment.
    pub env: Vec<(String, String)>,
    /// Where its programs start.
    pub working_dir: String,
    /// Which programs its image has.
    pub userland: Userland,
    /// What the container itself runs, as `ps` shows it.
    pub command: String,
    /// Ends the container, as a signal to its first process does.
    pub signal: Box<dyn Fn(Signal) + Send + Sync>,
    /// What programs do that are not played.
    pub foreign: Foreign,
    /// The container's own program runs here, not one beside it.
    pub is_own: bool,
    /// What was sent to the container's first process, if that is here.
    pub signals: Signals,
    /// Lets the container listen on these ports, and on no others.
    pub listen: Box<dyn Fn(&[Listener]) + Send + Sync>,
    /// The connections to a port, as long as they are waited for; nothing if somebody else listens there.
    pub accept: Box<dyn Fn(u16) -> Option<mpsc::Receiver<DuplexStream>> + Send + Sync>,
    /// What of the past is still to be lived through, after a restart of the kubelet.
    pub past: Arc<Past>,
}

/// What is sent to a container's first process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Signal {
    Term,
    Kill,
    None,
}

/// A container that goes on after a restart of the kubelet does again, in no time and without a word, what it had done.
#[derive(Default)]
pub struct Past {
    left: Mutex<Duration>,
    silent: AtomicBool,
}

impl Past {
    /// So much of the past.
    pub fn new(left: Duration) -> Self {
        Self { silent: AtomicBool::new(!left.is_zero()), left: Mutex::new(left) }
    }

    /// Whether it is still being lived through.
    pub fn is_present(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    /// Takes time from it; gives what is left of the time.
    fn spend(&self, time: Duration) -> Duration {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let spent = time.min(*left);
        *left -= spent;
        if left.is_zero() {
            self.silent.store(false, Ordering::Relaxed);
        }
        time - spent
    }
}

impl World {
    /// Waits.
    pub async fn sleep(&self, time: Duration) {
        let time = if self.past.is_present() { self.past.spend(time) } else { time };
        if time.is_zero() {
            tokio::task::yield_now().await;
        } else {
            clock::sleep(time).await;
        }
    }
}
