//! What a container's file system shows of the node's.

use std::{path::PathBuf, sync::Arc};

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::PodRef;

/// A folder or a file of the node in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where in the container.
    pub path: String,
    /// Where on the node. A folder that is not there is made when somebody looks.
    pub source: PathBuf,
    /// The mode of a folder that is made.
    pub mode: u32,
    /// Nothing can be written to it.
    pub read_only: bool,
    /// The volume whose files are written when somebody looks, if it is one of those.
    pub volume: Option<String>,
    /// It is a block device.
    #[serde(default)]
    pub device: bool,
}

impl Mount {
    /// A block device; a file on the node.
    pub fn device(path: &str, source: PathBuf, read_only: bool) -> Self {
        Self { mode: 0o660, read_only, device: true, ..Self::folder(path, source) }
    }

    /// A folder that can be written to.
    pub fn folder(path: &str, source: PathBuf) -> Self {
        Self { path: path.to_owned(), source, mode: 0o755, read_only: false, volume: None, device: false }
    }
}

/// Brings a volume of a pod up to date, before a program looks at it.
pub type Refresh = Arc<dyn Fn(PodRef, String) -> BoxFuture<'static, ()> + Send + Sync>;
