//! A lab for one test, and the clients that speak to it.

use std::{
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;

/// The `kubelab` that was built with these tests.
pub const KUBELAB: &str = env!("CARGO_BIN_EXE_kubelab");

/// The kubectl versions that everything must work with.
pub const KUBECTLS: [&str; 2] = ["1.27", "1.33"];

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A running lab; stopped and removed at the end, its logs shown when the test failed.
pub struct Lab {
    folder: tempfile::TempDir,
    pub port: u16,
}

impl Lab {
    /// Three apiservers, three nodes.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// A lab with these flags for `up`.
    pub fn with(flags: &[&str]) -> Self {
        let lab = Self { folder: tempfile::Builder::new().prefix("lab").tempdir().unwrap(), port: free_port() };
        // Most tests want a cluster with nothing in it.
        let chosen = flags.contains(&"--add-ons");
        lab.up(&[flags, if chosen { &[] } else { &["--add-ons", "none"] }].concat());
        lab
    }

    /// Starts it, or resumes it.
    pub fn up(&self, flags: &[&str]) -> String {
        let port = self.port.to_string();
        let mut all = vec!["up", "--detach", "--port", &port];
        all.extend(flags);
        self.kubelab(&all)
    }

    pub fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.data_dir().join("kubeconfig")
    }

    /// Runs `kubelab` on this lab; it must succeed.
    pub fn kubelab(&self, arguments: &[&str]) -> String {
        succeed(&format!("kubelab {}", arguments.join(" ")), self.try_kubelab(arguments))
    }

    pub fn try_kubelab(&self, arguments: &[&str]) -> Output {
        Command::new(KUBELAB).args(arguments).arg("--data-dir").arg(self.data_dir()).output().unwrap()
    }

    /// The processes, as `kubelab status -o json` shows them.
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.kubelab(&["status", "-o", "json"])).unwrap()
    }

    /// A component's pid.
    pub fn pid(&self, component: &str) -> i32 {
        let status = self.status();
        let components = status["components"].as_array().unwrap();
        let found = components.iter().find(|c| c["name"] == component).unwrap_or_else(|| panic!("no {component}"));
        i32::try_from(found["pid"].as_i64().unwrap_or_else(|| panic!("{component} does not run"))).unwrap()
    }

    /// The component whose role says "leader", of those whose name begins with `prefix`.
    pub fn leader(&self, prefix: &str) -> String {
        wait_for(&format!("a leader among {prefix}"), || {
            let status = self.status();
            let components = status["components"].as_array().unwrap().clone();
            let leads = |c: &&Value| {
                c["name"].as_str().unwrap().starts_with(prefix) && c["role"].as_str().unwrap().contains("leader")
            };
            Ok(components.iter().find(leads).ok_or(Seen("none".into()))?["name"].as_str().unwrap().to_owned())
        })
    }

    /// `kill -9`, as from outside: the supervisor starts it again.
    pub fn kill(&self, component: &str) {
        let pid = rustix::process::Pid::from_raw(self.pid(component)).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    /// [`Self::kill`], and waits until its successor serves.
    pub fn kill_and_wait(&self, component: &str) {
        let pid = self.pid(component);
        self.kill(component);
        wait_for(&format!("{component} to be back"), || {
            let status = self.status();
            let found = status["components"].as_array().unwrap().iter().find(|c| c["name"] == component).cloned();
            let found = found.unwrap_or_default();
            if found["state"] == "ready" && found["pid"] != pid { Ok(()) } else { Err(Seen(found.to_string())) }
        });
    }

    /// The newest kubectl on this lab.
    pub fn kubectl(&self) -> Kubectl {
        self.kubectl_of("1.33")
    }

    /// A kubectl of this version.
    pub fn kubectl_of(&self, version: &str) -> Kubectl {
        Kubectl { program: kubectl_program(version), kubeconfig: self.kubeconfig(), namespace: None }
    }

    /// A kubectl that shows this token.
    pub fn kubectl_with_token(&self, version: &str, token: &str) -> Kubectl {
        self.kubectl_of_user(version, &format!("token: {token}"))
    }

    /// A kubectl that shows this certificate (PEM).
    pub fn kubectl_with_certificate(&self, version: &str, certificate: &[u8], key: &[u8]) -> Kubectl {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let [certificate, key] = [certificate, key].map(|pem| STANDARD.encode(pem));
        self.kubectl_of_user(version, &format!("client-certificate-data: {certificate}, client-key-data: {key}"))
    }

    fn kubectl_of_user(&self, version: &str, shows: &str) -> Kubectl {
        let (port, pki) = (self.port, self.data_dir().join("pki/ca.crt"));
        let server = format!("server: 'https://127.0.0.1:{port}', certificate-authority: '{}'", pki.display());
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: x\nclusters: [{{name: x, cluster: {{{server}}}}}]\n\
             users: [{{name: x, user: {{{shows}}}}}]\ncontexts: [{{name: x, context: {{cluster: x, user: x}}}}]\n"
        );
        let kubeconfig = self.data_dir().join(format!("kubeconfig-{:x}", rand::random::<u64>()));
        fs::write(&kubeconfig, text).unwrap();
        Kubectl { program: kubectl_program(version), kubeconfig, namespace: None }
    }

    /// The `kube` crate's client.
    pub async fn client(&self) -> kube::Client {
        let config = kube::config::Kubeconfig::read_from(self.kubeconfig()).unwrap();
        let config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await.unwrap();
        kube::Client::try_from(config).unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.try_kubelab(&["down"]);
        if std::thread::panicking() {
            for entry in fs::read_dir(self.data_dir().join("logs")).into_iter().flatten().flatten() {
                let text = fs::read_to_string(entry.path()).unwrap_or_default();
                let lines: Vec<_> = text.lines().collect();
                let last = lines[lines.len().saturating_sub(15)..].join("\n");
                eprintln!("--- {} ---\n{last}", entry.file_name().to_string_lossy());
            }
        }
    }
}

/// kubectl, pointed at a lab.
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    namespace: Option<String>,
}

impl Kubectl {
    /// The same in a namespace of its own, which it makes.
    pub fn within(self, namespace: &str) -> Self {
        self.run(&format!("create namespace {namespace}"));
        self.wait_until(&format!("get serviceaccounts -n {namespace}"), |text| text.contains("default"));
        Self { namespace: Some(namespace.to_owned()), ..self }
    }

    /// Runs it; it must succeed. Gives what it prints.
    pub fn run(&self, arguments: &str) -> String {
        succeed(&format!("kubectl {arguments}"), self.output(&words(arguments), ""))
    }

    /// The same, with something on standard input: `-f -`.
    pub fn run_with(&self, arguments: &str, input: &str) -> String {
        succeed(&format!("kubectl {arguments}"), self.output(&words(arguments), input))
    }

    /// Runs it; it must fail. Gives what it says.
    pub fn fail(&self, arguments: &str, input: &str) -> String {
        let output = self.output(&words(arguments), input);
        assert!(!output.status.success(), "kubectl {arguments} should have failed: {output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Runs it; gives all that it says, whether it succeeds or not.
    pub fn says(&self, arguments: &str) -> String {
        let output = self.output(&words(arguments), "");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    /// Runs it; its exit code, what it prints and what it says.
    pub fn exit(&self, arguments: &str, input: &str) -> (Option<i32>, String, String) {
        let output = self.output(&words(arguments), input);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    /// Runs it and parses the JSON that it prints.
    pub fn json(&self, arguments: &str) -> Value {
        serde_json::from_str(&self.run(&format!("{arguments} -o json"))).unwrap()
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command.args(self.namespace.iter().flat_map(|namespace| ["--namespace", namespace]));
        // Discovery caches must not outlive the lab.
        command.env("KUBECACHEDIR", self.kubeconfig.with_file_name("kubectl-cache"));
        command
    }

    fn output(&self, arguments: &[String], input: &str) -> Output {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // kubectl may fail before it reads.
        let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Waits until what kubectl prints has `wanted` in it.
    pub fn wait_until(&self, arguments: &str, wanted: impl Fn(&str) -> bool) -> String {
        wait_for(&format!("kubectl {arguments}"), || {
            let output = self.output(&words(arguments), "");
            let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            if wanted(&text) { Ok(text) } else { Err(Seen(text)) }
        })
    }
}

/// Splits at spaces; a part in single quotes is one word.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (i, part) in text.split('\'').enumerate() {
        if i % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(String::from));
        }
    }
    words
}

fn kubectl_program(version: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let kubectl = std::env::split_paths(&path).map(|folder| folder.join("kubectl")).find(|file| file.exists());
    let kubectl = kubectl.expect("these tests need kubectl on PATH; install it");
    let program = fs::canonicalize(kubectl).unwrap().with_file_name(format!("kubectl.{version}"));
    assert!(program.exists(), "these tests need kubectl {version} at {}; put it there", program.display());
    program
}

fn succeed(what: &str, output: Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what} failed:\n{out}{err}");
    out.into_owned()
}

/// Asks until the answer is `Ok`; panics with the last answer when patience ends.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Result<T, Seen>) -> T {
    let begun = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(Seen(last)) if begun.elapsed() > PATIENCE => panic!("waited too long for {what}; last seen: {last}"),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// What was seen instead of what was waited for.
pub struct Seen(pub String);

/// A port below the range that the system hands to clients; each test gets another.
pub fn free_port() -> u16 {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(rand::random_range(12000..20000)));
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// `count` ConfigMaps as one YAML stream.
pub fn config_maps(prefix: &str, count: usize) -> String {
    (0..count).fold(String::new(), |mut text, i| {
        let _ =
            write!(text, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {prefix}-{i}\ndata:\n  i: '{i}'\n---\n");
        text
    })
}

impl Kubectl {
    /// Runs `kubectl edit` with `sed` as the editor.
    pub fn edit(&self, object: &str, expression: &str) -> String {
        let mut command = self.command();
        command.args(["edit", object]).env("KUBE_EDITOR", format!("sed -i '{expression}'"));
        succeed(&format!("kubectl edit {object}"), command.output().unwrap())
    }

    /// `kubectl diff` exits with 1 when there is a difference, which is what it prints.
    pub fn fail_with_output(&self, arguments: &str, input: &str) -> String {
        let output = self.output(&words(arguments), input);
        assert_eq!(output.status.code(), Some(1), "kubectl {arguments}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
