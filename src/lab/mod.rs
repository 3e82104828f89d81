//! A lab on disk: where everything lies, what it consists of, its certificates.
//!
//! ```text
//! D/lab.json           what the lab consists of          D/logs/<component>.log
//! D/kubeconfig         how to reach it                   D/<component>/   what it must not forget
//! D/pki/               the certificate authority, a      D/control.sock   the supervisor's ear
//!                      certificate for each component    D/<apiserver>.sock   where it takes connections over
//! D/supervisor.pid
//! ```

pub mod add_ons;
pub mod addresses;
pub mod kubeconfig;
pub mod pki;
pub mod plan;
pub mod spec;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};

pub use spec::Spec;

/// A lab's folder.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The folder of the lab called `name`: `data_dir` if given, else `$KUBELAB_HOME/<name>`, else `~/.kubelab/<name>`.
    pub fn locate(name: &str, data_dir: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(root) = data_dir {
            return Ok(Self { root: std::path::absolute(root)? });
        }
        let home = match (std::env::var_os("KUBELAB_HOME"), std::env::home_dir()) {
            (Some(home), _) => PathBuf::from(home),
            (None, Some(home)) => home.join(".kubelab"),
            (None, None) => bail!("there is no home directory to keep the lab in; say where with --data-dir"),
        };
        Ok(Self { root: std::path::absolute(home.join(name))? })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the lab consists of.
    pub fn spec(&self) -> PathBuf {
        self.root.join("lab.json")
    }

    /// What its containers do, if a behaviour file was given.
    pub fn behaviors(&self) -> PathBuf {
        self.root.join("behaviors.yaml")
    }

    /// How kubectl reaches it.
    pub fn kubeconfig(&self) -> PathBuf {
        self.root.join("kubeconfig")
    }

    /// The certificates.
    pub fn pki(&self) -> PathBuf {
        self.root.join("pki")
    }

    /// What a component must not forget.
    pub fn state_of(&self, component: &str) -> PathBuf {
        self.root.join(component)
    }

    /// The content of persistent volumes, which all nodes see.
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// What a component says.
    pub fn log_of(&self, component: &str) -> PathBuf {
        self.root.join("logs").join(format!("{component}.log"))
    }

    /// What the apiservers record in their audit logs; nothing where it is missing.
    pub fn audit_policy(&self) -> PathBuf {
        self.root.join("audit-policy.yaml")
    }

    /// How pods are scheduled; as in every cluster where it is missing.
    pub fn scheduler_config(&self) -> PathBuf {
        self.root.join("scheduler.yaml")
    }

    /// What was asked of a component, as the audit policy wants it.
    pub fn audit_log_of(&self, component: &str) -> PathBuf {
        self.root.join("logs").join(format!("{component}-audit.log"))
    }

    /// Where the supervisor listens for commands.
    pub fn control_socket(&self) -> PathBuf {
        self.root.join("control.sock")
    }

    /// Where an apiserver takes over the connections that the front door accepted.
    pub fn handoff_of(&self, apiserver: &str) -> PathBuf {
        self.root.join(format!("{apiserver}.sock"))
    }

    /// Held locked, and holding the supervisor's pid, for as long as the lab runs.
    pub fn pid_file(&self) -> PathBuf {
        self.root.join("supervisor.pid")
    }

    /// The lab's description, if there is a lab here.
    pub fn load(&self) -> anyhow::Result<Option<Spec>> {
        let path = self.spec();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let spec = serde_json::from_slice(&text).with_context(|| {
            format!("{} is damaged; start afresh with `kubelab down --delete`, or another --name", path.display())
        })?;
        Ok(Some(spec))
    }

    /// The lab's description, or an error that says how to make one.
    pub fn require(&self) -> anyhow::Result<Spec> {
        self.load()?.with_context(|| {
            format!(
                "there is no lab in {}; start one with `kubelab up`, or name another with --name or --data-dir",
                self.root.display()
            )
        })
    }

    /// Writes the lab's description.
    pub fn save(&self, spec: &Spec) -> anyhow::Result<()> {
        write(&self.spec(), &serde_json::to_vec_pretty(spec)?, 0o644)
    }

    /// Takes the lab for this process: one supervisor a lab. The lock goes with the process, so a pid that a dead one left
    /// in the file hurts nobody.
    pub fn lock(&self) -> anyhow::Result<File> {
        let path = self.pid_file();
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let pid = fs::read_to_string(&path).unwrap_or_default();
            bail!(
                "this lab is already running (supervisor pid {}); `kubelab status` shows it, `kubelab down` stops it, \
                 and `kubelab up --name OTHER --port PORT` starts another beside it",
                pid.trim()
            );
        }
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id()).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(file)
    }

    /// Waits until the supervisor's process is gone, so that whoever comes next finds the lab free.
    pub async fn until_free(&self) -> anyhow::Result<()> {
        let Ok(file) = File::open(self.pid_file()) else { return Ok(()) };
        let begun = Instant::now();
        while flock(&file, FlockOperation::NonBlockingLockShared).is_err() {
            if begun.elapsed() > Duration::from_secs(10) {
                bail!(
                    "the supervisor has stopped the lab and does not end itself; {} holds its pid",
                    self.pid_file().display()
                );
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Makes the folders.
    pub fn create(&self) -> anyhow::Result<()> {
        // A Unix socket's path may have 107 bytes.
        let socket = self.handoff_of("apiserver-1");
        if socket.as_os_str().len() > 107 {
            bail!("the path {} is too long for a socket; choose a shorter --data-dir", socket.display());
        }
        for folder in [self.root.join("logs"), self.pki()] {
            fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        Ok(())
    }
}

/// Replaces a file at once, so that no reader sees half of it.
pub fn write(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, content)
        .and_then(|()| fs::set_permissions(&temporary, fs::Permissions::from_mode(mode)))
        .and_then(|()| fs::rename(&temporary, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
