//! The seeds of `fuzz/seeds`, some mutations of each, and what is known to have been too much once.
#![allow(clippy::unwrap_used)]

mod hostile;

use std::{fs, panic, path::Path};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{TARGETS, mutate::mutate};

/// So many inputs of each target are made of its seeds.
const MUTATIONS: usize = 2_000;

/// The seeds of a target.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(name);
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Runs a target, and tells the input that it does not bear.
fn run(name: &str, input: &[u8]) {
    let (_, target) = TARGETS.into_iter().find(|(known, _)| *known == name).unwrap();
    let outcome = panic::catch_unwind(|| target(input));
    assert!(outcome.is_ok(), "{name} does not bear \"{}\"", input.escape_ascii());
}

fn replay(name: &str) {
    let seeds = seeds(name);
    assert!(seeds.len() >= 4, "{name} has only {} seeds", seeds.len());
    seeds.iter().for_each(|input| run(name, input));
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..MUTATIONS {
        let mut input = seeds[random.random_range(0..seeds.len())].clone();
        let other = &seeds[random.random_range(0..seeds.len())];
        mutate(&mut input, other, random.random());
        run(name, &input);
    }
}

macro_rules! replayed {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            replay(stringify!($name));
        }
    )*};
}

replayed!(rest json yaml protobuf patch selector continue_token cel custom);

/// Seeds are worth mutating: what they are meant to reach, they reach.
#[test]
fn seeds_are_accepted() {
    use crate::registry::decode::Validation;
    let ground = super::ground::Ground::get();
    for seed in seeds("json") {
        let text = String::from_utf8_lossy(&seed);
        ground.handler(&seed).decode(&seed, Validation::Strict).unwrap_or_else(|error| panic!("{error}: {text}"));
    }
    for seed in seeds("custom") {
        let (crd, _) = super::line(&seed);
        let text = String::from_utf8_lossy(crd);
        ground.handler(crd).decode(crd, Validation::Strict).unwrap_or_else(|error| panic!("{error}: {text}"));
    }
}

#[test]
fn every_target_has_its_file() {
    let mut names: Vec<_> = TARGETS.iter().map(|(name, _)| format!("{name}.rs")).collect();
    names.sort();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/fuzz_targets");
    let mut files: Vec<_> =
        fs::read_dir(directory).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, names);
}
