//! The official Python client, and an operator that is written with kopf: the scripts of `tests/python`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use crate::harness::Lab;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python");

/// The python of a virtual environment with the clients in it; it is made once for each list of requirements.
fn python() -> PathBuf {
    let requirements = fs::read_to_string(Path::new(SCRIPTS).join("requirements.txt")).unwrap();
    let tests = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (folder, installed) = (tests.join("python"), tests.join("python/installed.txt"));
    // One at a time: these tests run side by side.
    let turn = File::create(tests.join("python.lock")).unwrap();
    turn.lock().unwrap();
    if fs::read_to_string(&installed).ok().as_ref() != Some(&requirements) {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder));
        let mut install = Command::new(folder.join("bin/pip"));
        install.args(["install", "--disable-pip-version-check", "--quiet", "--requirement"]);
        run(install.arg(Path::new(SCRIPTS).join("requirements.txt")));
        fs::write(&installed, &requirements).unwrap();
    }
    folder.join("bin/python")
}

/// Runs these modules of tests on the lab.
fn passes(lab: &Lab, modules: &[&str]) {
    let mut tests = Command::new(python());
    tests.args(["-B", "-m", "unittest", "--verbose"]).args(modules).current_dir(SCRIPTS);
    run(tests.env("KUBECONFIG", lab.kubeconfig()));
}

fn run(command: &mut Command) {
    let output =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; these tests need python3 and PyPI"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} failed:\n{out}{err}");
}

#[test]
fn the_python_client_works() {
    let lab = Lab::start();
    passes(&lab, &["test_typed", "test_dynamic", "test_watch", "test_yaml", "test_streams", "test_leader"]);
}

#[test]
fn an_operator_of_kopf_works() {
    let lab = Lab::start();
    passes(&lab, &["test_operator"]);
}
